// SPDX-License-Identifier: GPL-2.0

//! What a task does, step by step.

use crate::{
    model::Model,
    mutation::Mutation,
    world::{At, Code, Entry, Func, Kind, Life, Look, Slot, Task, World, IDLE},
};

/// A step of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    Call(Func),
    /// The handler reads the slot.
    Handle,
    /// The handler reads the task's state, and the destinations.
    Choose,
    /// To the destination that the handler has chosen.
    Go,
    /// To and from the part of a function that the compiler has put elsewhere.
    ToPart,
    FromPart,
    /// To a function that the replacement ends in a call of.
    TailCall,
    Return,
    /// At the exit to user mode, or in the idle loop.
    TestFlag,
    ReadTarget,
    WriteState,
    /// In the scheduler.
    SeeFlag,
    SeeTarget,
    SeeIndex,
    SearchStack,
    BeginFork,
    EndFork,
    BeginExit,
    Release,
    Die,
}

impl Model {
    /// The steps that a task can do now.
    pub fn moves(&self, world: &World, index: usize, moves: &mut Vec<Move>) {
        let task = &world.tasks[index];
        if !task.runs() {
            return;
        }
        match task.look {
            Look::None => {}
            Look::Flag => return moves.push(Move::SeeTarget),
            Look::Target(_) => return moves.push(Move::SeeIndex),
            Look::Index(..) => return moves.push(Move::SearchStack),
        }
        match task.at {
            At::Away => self.moves_away(world, task, moves),
            At::In(code) => self.moves_in(world, task, code, moves),
            At::Entered(_) => moves.push(Move::Handle),
            At::PerTask(_) => moves.push(Move::Choose),
            At::Chosen(..) => moves.push(Move::Go),
            At::Cleared => moves.push(Move::ReadTarget),
            At::Read(_) => moves.push(Move::WriteState),
        }
        let looks = match task.kind {
            Kind::Kthread => true,
            // Before a freezable sleep; some of them always.
            Kind::User => self.setup.users_look,
            Kind::Idle => false,
        };
        if looks && task.is_preemptible() && task.pending {
            moves.push(Move::SeeFlag);
        }
    }

    fn moves_away(&self, world: &World, task: &Task, moves: &mut Vec<Move>) {
        if task.forks {
            if Self::list_may_change(world) || self.is(Mutation::ForkWithoutLock) {
                moves.push(Move::EndFork);
            }
            return;
        }
        for func in Func::ALL {
            // The idle loop is not in the module.
            let calls = func == Func::F || task.kind != Kind::Idle;
            if calls && world.can_be_called(func) {
                moves.push(Move::Call(func));
            }
        }
        let alive = task.life == Life::Alive;
        if task.kind != Kind::Kthread && alive && task.pending {
            moves.push(Move::TestFlag);
        }
        if task.kind == Kind::User && alive {
            let unborn = world.tasks.iter().any(|task| task.life == Life::Unborn);
            let embryo = world.tasks.iter().any(|task| task.life == Life::Embryo);
            if unborn && !embryo {
                moves.push(Move::BeginFork);
            }
            if world.budget.exits > 0 {
                moves.push(Move::BeginExit);
            }
        }
        match task.life {
            Life::Exiting if Self::list_may_change(world) => moves.push(Move::Release),
            Life::Released => moves.push(Move::Die),
            _ => {}
        }
    }

    fn moves_in(&self, world: &World, task: &Task, code: Code, moves: &mut Vec<Move>) {
        match code {
            Code::Cold => return moves.push(Move::FromPart),
            Code::Body(Func::F, version) => {
                if self.setup.nested && task.caller.is_none() && world.can_be_called(Func::G) {
                    moves.push(Move::Call(Func::G));
                }
                if version.is_some() && self.setup.helpers {
                    moves.push(Move::TailCall);
                }
                if version.is_none() && self.setup.parts {
                    moves.push(Move::ToPart);
                }
            }
            _ => {}
        }
        moves.push(Move::Return);
    }

    /// Does a step of a task. Returns whether it was possible.
    pub fn do_move(&self, world: &mut World, index: usize, step: Move) -> bool {
        let target = world.target;
        let task = &mut world.tasks[index];
        match step {
            Move::Call(func) => Self::call(world, index, func),
            Move::Handle => Self::read_slot(world, index),
            Move::Choose => Self::choose_destination(world, index),
            Move::Go => {
                if let At::Chosen(func, version) = task.at {
                    task.at = At::In(Code::Body(func, version));
                }
            }
            Move::ToPart => task.at = At::In(Code::Cold),
            Move::FromPart => task.at = At::In(Code::Body(Func::F, None)),
            Move::TailCall => {
                if let At::In(Code::Body(_, Some(patch))) = task.at {
                    task.at = At::In(Code::Helper(patch));
                }
            }
            Move::Return => task.at = task.caller.take().map_or(At::Away, At::In),
            Move::TestFlag => {
                if !self.is(Mutation::FlagStays) {
                    task.pending = false;
                }
                task.at = At::Cleared;
            }
            Move::ReadTarget => task.at = At::Read(target),
            Move::WriteState => {
                if let At::Read(state) = task.at {
                    task.state = state;
                    task.at = At::Away;
                }
            }
            Move::SeeFlag => task.look = Look::Flag,
            Move::SeeTarget => {
                task.look = match target {
                    IDLE => Look::None,
                    state => Look::Target(state),
                };
            }
            Move::SeeIndex => Self::read_index(world, index),
            Move::SearchStack => self.search_own_stack(world, index),
            Move::BeginFork => {
                return Self::move_child(world, index, Life::Unborn, Life::Embryo, true)
            }
            Move::EndFork => return self.end_fork(world, index),
            Move::BeginExit => {
                task.life = Life::Exiting;
                world.budget.exits -= 1;
            }
            Move::Release => task.life = Life::Released,
            Move::Die => *task = Task::absent(task.kind, Life::Dead),
        }
        if self.is_not_awaited(&world.tasks[index]) {
            world.tasks[index].awaited = false;
        }
        true
    }

    fn call(world: &mut World, index: usize, func: Func) {
        let entry = world.func(func).entry;
        let task = &mut world.tasks[index];
        if let At::In(code) = task.at {
            task.caller = Some(code);
        }
        task.at = match entry {
            Entry::Plain => At::In(Code::Body(func, None)),
            Entry::Jump(patch) => At::In(Code::Body(func, Some(patch))),
            Entry::Hook => At::Entered(func),
        };
    }

    /// The handler takes the destination from the slot, unless it depends on the task.
    fn read_slot(world: &mut World, index: usize) {
        if let At::Entered(func) = world.tasks[index].at {
            world.tasks[index].at = match world.func(func).slot {
                Slot::To(version) => At::Chosen(func, version),
                Slot::InTransition => At::PerTask(func),
            };
        }
    }

    /// The handler takes one of both destinations by the state of the task.
    fn choose_destination(world: &mut World, index: usize) {
        let Task { at, state, .. } = world.tasks[index];
        if let At::PerTask(func) = at {
            let redirect = world.func(func);
            let version = if state == 0 {
                redirect.unpatched
            } else {
                redirect.patched
            };
            world.tasks[index].at = At::Chosen(func, version);
            world.confused |= state == IDLE;
        }
    }

    /// The task reads `INDEX` in the scheduler.
    fn read_index(world: &mut World, index: usize) {
        let published = world.index;
        let task = &mut world.tasks[index];
        if let Look::Target(state) = task.look {
            task.look = match published {
                None => Look::None,
                Some(published) => Look::Index(state, published),
            };
        }
    }

    /// The task searches its own stack in the scheduler, and switches if it can.
    fn search_own_stack(&self, world: &mut World, index: usize) {
        let task = &mut world.tasks[index];
        if let Look::Index(state, published) = task.look {
            let ranges = world.indexes[published as usize];
            let clear = ranges.is_some_and(|ranges| !task.stack().any(|word| ranges.has(word)));
            let arrived = task.state == state;
            task.look = Look::None;
            if !arrived && (clear || self.is(Mutation::LooksAtNothing)) {
                task.pending = false;
                task.state = state;
            }
            world.dangling |= ranges.is_none();
        }
    }

    /// `klp_copy_process()`, and the child is put on the list.
    fn end_fork(&self, world: &mut World, parent: usize) -> bool {
        let copies = !self.is(Mutation::ForkCopiesEarly);
        Self::move_child(world, parent, Life::Embryo, Life::Alive, copies)
    }

    /// Moves the child from one stage of its life to the next. If `copies` is set, it gets the flag
    /// and the state of its parent.
    fn move_child(world: &mut World, parent: usize, from: Life, to: Life, copies: bool) -> bool {
        let Task { pending, state, .. } = world.tasks[parent];
        let Some(child) = world.task_mut(from) else {
            return false;
        };
        child.life = to;
        if copies {
            (child.pending, child.state) = (pending, state);
        }
        world.tasks[parent].forks = to == Life::Embryo;
        true
    }
}
