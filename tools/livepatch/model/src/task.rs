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
    /// The handler looks at the slot.
    Handle,
    /// The handler looks at the task's state, and at the ways.
    Choose,
    /// On to where the handler has chosen.
    Go,
    /// To and from the part of a function that the compiler has put elsewhere.
    ToPart,
    FromPart,
    /// To a function that the replacement ends in a call of.
    TailCall,
    Return,
    /// On the way to user mode, or in the idle loop.
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
            // Before they sleep in a freezable state; some always.
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

    /// Does a step of a task.
    pub fn do_move(&self, world: &mut World, index: usize, step: Move) -> bool {
        match step {
            Move::BeginFork => {
                return Self::move_child(world, index, Life::Unborn, Life::Embryo, true);
            }
            // `klp_copy_process()`, and the child is put on the list.
            Move::EndFork => {
                let copies = !self.is(Mutation::ForkCopiesEarly);
                return Self::move_child(world, index, Life::Embryo, Life::Alive, copies);
            }
            Move::BeginExit => world.budget.exits -= 1,
            _ => {}
        }
        let (target, published, indexes) = (world.target, world.index, world.indexes);
        let funcs = world.funcs;
        let (mut confused, mut dangling) = (false, false);
        let kind = world.tasks[index].kind;
        let task = &mut world.tasks[index];
        match step {
            Move::Call(func) => {
                if let At::In(code) = task.at {
                    task.caller = Some(code);
                }
                task.at = match funcs[func as usize].entry {
                    Entry::Plain => At::In(Code::Body(func, None)),
                    Entry::Jump(patch) => At::In(Code::Body(func, Some(patch))),
                    Entry::Hook => At::Entered(func),
                };
            }
            Move::Handle => {
                if let At::Entered(func) = task.at {
                    task.at = match funcs[func as usize].slot {
                        Slot::To(version) => At::Chosen(func, version),
                        Slot::InTransition => At::PerTask(func),
                    };
                }
            }
            Move::Choose => {
                if let At::PerTask(func) = task.at {
                    let redirect = &funcs[func as usize];
                    confused = task.state == IDLE;
                    let version = if task.state == 0 {
                        redirect.unpatched
                    } else {
                        redirect.patched
                    };
                    task.at = At::Chosen(func, version);
                }
            }
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
            Move::Return => {
                task.at = match task.caller.take() {
                    Some(code) => At::In(code),
                    None => At::Away,
                };
            }
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
            Move::SeeIndex => {
                if let Look::Target(state) = task.look {
                    task.look = match published {
                        None => Look::None,
                        Some(place) => Look::Index(state, place),
                    };
                }
            }
            Move::SearchStack => {
                if let Look::Index(state, place) = task.look {
                    dangling = indexes[place as usize].is_none();
                    let clear = indexes[place as usize]
                        .is_some_and(|index| !task.stack().any(|word| index.has(word)));
                    let arrived = task.state == state;
                    task.look = Look::None;
                    if !arrived && (clear || self.is(Mutation::LooksAtNothing)) {
                        task.pending = false;
                        task.state = state;
                    }
                }
            }
            Move::BeginExit => task.life = Life::Exiting,
            Move::Release => task.life = Life::Released,
            Move::Die => *task = Task::absent(kind, Life::Dead),
            Move::BeginFork | Move::EndFork => return false,
        }
        if self.is_not_awaited(&world.tasks[index]) {
            world.tasks[index].awaited = false;
        }
        world.confused |= confused;
        world.dangling |= dangling;
        true
    }

    /// The child that is the one becomes the other, and, if `copies`, a copy of its parent.
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
