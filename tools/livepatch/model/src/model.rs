// SPDX-License-Identifier: GPL-2.0

//! The model: where it begins, what can happen, and what must hold.

use crate::{
    mutation::Mutation,
    task::Move,
    world::{
        Accepted, Budget, Code, Entry, Func, Funcs, Kind, Life, Module, Owner, Patch, Patches,
        Promise, Redirect, Slot, Stage, Task, Version, World, IDLE, TASKS,
    },
};
use stateright::Property;

/// What a world contains.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The tasks that there are at the beginning.
    pub tasks: Vec<Kind>,
    /// How many more can be forked.
    pub unborn: usize,
    /// The functions of the two patches.
    pub funcs: [Funcs; 2],
    /// Whether `B` replaces `A`.
    pub replaces: bool,
    /// Whether the replacements of `F` end in calls of other functions of their modules.
    pub helpers: bool,
    /// Whether a part of the original of `F` is elsewhere.
    pub parts: bool,
    /// Whether `F` calls `G`.
    pub nested: bool,
    /// Whether user tasks search their own stacks in the scheduler, too.
    pub users_look: bool,
    /// Whether the target module is loaded and unloaded. Otherwise it is always there.
    pub module_comes: bool,
    /// Whether enabling a patch may fail.
    pub fails: bool,
    pub budget: Budget,
}

/// A model, of a protocol that may have been changed.
#[derive(Clone, Debug)]
pub struct Model {
    pub setup: Setup,
    pub mutation: Option<Mutation>,
    /// Whether worlds that differ in the numbers of tasks only are the same.
    pub symmetric: bool,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The administrator.
    Enable(Patch),
    FailToEnable(Patch),
    Disable(Patch),
    Unload(Patch),
    Reverse,
    Force,
    LoadModule,
    UnloadModule,
    /// The core, in a transition.
    Look(usize),
    TryComplete,
    /// The core, in the middle of something; with a task if the step takes one after the other.
    Step(Option<usize>),
    /// A task.
    Task(usize, Move),
}

impl Action {
    /// Whether it is a decision of the administrator: no progress may depend on one.
    pub fn is_a_decision(self) -> bool {
        matches!(
            self,
            Action::Enable(_)
                | Action::FailToEnable(_)
                | Action::Disable(_)
                | Action::Unload(_)
                | Action::Reverse
                | Action::Force
                | Action::LoadModule
                | Action::UnloadModule
        )
    }
}

impl Model {
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn funcs(&self, patch: Patch) -> Funcs {
        self.setup.funcs[patch as usize]
    }

    pub fn is_replacing(&self, patch: Patch) -> bool {
        patch == Patch::B && self.setup.replaces
    }

    fn begin(&self) -> World {
        let setup = &self.setup;
        let mut tasks = [Task::absent(Kind::User, Life::Dead); TASKS];
        for (task, &kind) in tasks.iter_mut().zip(&setup.tasks) {
            *task = Task::new(kind);
        }
        for task in tasks.iter_mut().skip(setup.tasks.len()).take(setup.unborn) {
            task.life = Life::Unborn;
        }
        let func = Redirect {
            entry: Entry::Plain,
            slot: Slot::To(None),
            patched: None,
            unpatched: None,
            stack: Patches::default(),
            in_transition: Patches::default(),
        };
        let patch = Accepted {
            stage: Stage::Absent,
            enabled: false,
            forced: false,
            funcs: Funcs::default(),
            nops: Funcs::default(),
        };
        World {
            tasks,
            funcs: [func; 2],
            patches: [patch; 2],
            module: if setup.module_comes {
                Module::Absent
            } else {
                Module::Live
            },
            transition: None,
            steps: Vec::new(),
            target: IDLE,
            index: None,
            indexes: Default::default(),
            spare: 0,
            locked: false,
            promise: Promise::default(),
            budget: setup.budget,
            forced: false,
            confused: false,
            dangling: false,
        }
    }

    /// What the administrator can do, and the core at its next attempt.
    fn decisions(&self, world: &World, actions: &mut Vec<Action>) {
        let [a, b] = &world.patches;
        if let Some(transition) = world.transition {
            if transition.started {
                actions.push(Action::TryComplete);
                if world.budget.reversals > 0 {
                    actions.push(Action::Reverse);
                }
                if world.budget.forces > 0 {
                    actions.push(Action::Force);
                }
            }
        } else {
            let next = match (a.stage, b.stage) {
                (Stage::Absent, _) => Some(Patch::A),
                (_, Stage::Absent) => Some(Patch::B),
                _ => None,
            };
            if let Some(patch) = next {
                actions.push(Action::Enable(patch));
                if self.setup.fails {
                    actions.push(Action::FailToEnable(patch));
                }
            }
            for patch in world.accepted() {
                if world.patch(patch).enabled && world.budget.disables > 0 {
                    actions.push(Action::Disable(patch));
                }
            }
        }
        for patch in Patch::ALL {
            if world.patch(patch).stage == Stage::GivenBack {
                actions.push(Action::Unload(patch));
            }
        }
        match world.module {
            Module::Absent => actions.push(Action::LoadModule),
            Module::Live if self.setup.module_comes && Self::module_is_unused(world) => {
                actions.push(Action::UnloadModule);
            }
            _ => {}
        }
    }

    /// The version that a task in this state is to use.
    fn promised(&self, world: &World, state: i8, func: Func) -> Version {
        let patches = match state {
            0 => world.promise.unpatched,
            1 => world.promise.patched,
            _ => world.promise.idle,
        };
        let newest_first = Patch::ALL.into_iter().rev();
        newest_first
            .filter(|&patch| patches.has(patch))
            .find(|&patch| self.funcs(patch).has(func))
    }

    /// No task is in a version that it has left or has yet to switch to, on the way to one, or will
    /// return to one.
    fn is_consistent(&self, world: &World) -> bool {
        world.forced
            || world.tasks.iter().filter(|task| task.runs()).all(|task| {
                task.uses()
                    .filter_map(Code::version)
                    .all(|(func, version)| self.promised(world, task.state, func) == version)
            })
    }

    /// No code is gone that a task is in, on the way to, or returns to.
    fn is_safe(&self, world: &World) -> bool {
        world.tasks.iter().filter(|task| task.runs()).all(|task| {
            task.uses().all(|code| match code.owner() {
                Owner::Kernel => true,
                Owner::Target => world.module != Module::Gone,
                Owner::Patch(patch) => world.patch(patch).stage != Stage::Freed,
            })
        })
    }

    /// Nothing is left behind when there is no transition, and all is as it was promised.
    fn is_clean(&self, world: &World) -> bool {
        if world.transition.is_some() || !world.steps.is_empty() {
            return true;
        }
        let tasks = world.tasks.iter().filter(|task| task.runs());
        let mut tasks = tasks.filter(|task| task.is_preemptible());
        tasks.all(|task| !task.pending && task.state == IDLE)
            && world.target == IDLE
            && world.index.is_none()
            && Func::ALL
                .into_iter()
                .all(|func| self.is_as_promised(world, func))
            && Patch::ALL
                .into_iter()
                .all(|patch| world.patch(patch).enabled == world.promise.idle.has(patch))
    }

    /// The function leads to what all tasks are to use, and is a jump if it can be.
    fn is_as_promised(&self, world: &World, func: Func) -> bool {
        let redirect = world.func(func);
        if !world.is_loaded(func) {
            return redirect.entry == Entry::Plain && redirect.stack == Patches::default();
        }
        let version = self.promised(world, IDLE, func);
        let entry = match version {
            None => Entry::Plain,
            Some(patch) => Entry::Jump(patch),
        };
        let stack = Patch::ALL.into_iter().all(|patch| {
            let on_stack = world.promise.idle.has(patch) && self.funcs(patch).has(func);
            redirect.stack.has(patch) == on_stack
        });
        stack && redirect.entry == entry && redirect.in_transition == Patches::default()
    }

    /// The same for all worlds that differ in the numbers of tasks only.
    fn representative(&self, mut world: World) -> World {
        if self.symmetric {
            world.tasks.sort_unstable();
        }
        world
    }
}

/// A property, and what is wrong when it does not hold.
type Rule = (fn(&Model, &World) -> bool, &'static str);

/// What must hold at all times.
const RULES: [Rule; 5] = [
    (
        Model::is_consistent,
        "a task uses a version of a function that it has left, or has yet to come to",
    ),
    (Model::is_safe, "a task uses code that is gone"),
    (
        |_, world| !world.confused,
        "the handler asks a task for a state that it does not have",
    ),
    (
        |_, world| !world.dangling,
        "a task searches an index that is gone",
    ),
    (
        Model::is_clean,
        "something is left behind when there is no transition",
    ),
];

impl Model {
    /// What is wrong in a world.
    pub fn fault(&self, world: &World) -> Option<&'static str> {
        let broken = RULES.iter().find(|(holds, _)| !holds(self, world));
        broken.map(|(_, meaning)| *meaning)
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.representative(self.begin())]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.steps.is_empty() {
            self.decisions(world, actions);
            if world.transition.is_some() {
                actions.extend((0..TASKS).map(Action::Look));
            }
        } else {
            match self.due(world) {
                Some(tasks) if !tasks.is_empty() => {
                    actions.extend(tasks.into_iter().map(|task| Action::Step(Some(task))));
                }
                _ => actions.push(Action::Step(None)),
            }
        }
        let mut moves = Vec::new();
        for task in 0..TASKS {
            self.moves(world, task, &mut moves);
            actions.extend(moves.drain(..).map(|step| Action::Task(task, step)));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        let world = &mut next;
        let changed = match action {
            Action::Task(task, step) => self.do_move(world, task, step),
            Action::Look(task) => self.look(world, task),
            Action::Step(task) => self.step(world, task),
            decision => {
                self.decide(world, decision);
                // The first step, unless it is one of those that wait.
                self.due(world).is_some() || world.steps.is_empty() || self.step(world, None)
            }
        };
        changed.then(|| self.representative(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // The search ends when no property holds any more. There is only one, so it ends with the
        // first fault.
        vec![Property::always("holds", |model: &Model, world| {
            model.fault(world).is_none()
        })]
    }
}

impl Model {
    fn decide(&self, world: &mut World, decision: Action) {
        match decision {
            Action::Enable(patch) => self.enable(world, patch, false),
            Action::FailToEnable(patch) => self.enable(world, patch, true),
            Action::Disable(patch) => {
                world.budget.disables -= 1;
                self.disable(world, patch);
            }
            Action::Unload(patch) => world.patch_mut(patch).stage = Stage::Freed,
            Action::Reverse => {
                world.budget.reversals -= 1;
                self.reverse(world);
            }
            Action::Force => {
                world.budget.forces -= 1;
                self.force(world);
            }
            Action::LoadModule => self.module_coming(world),
            Action::UnloadModule => self.module_going(world),
            Action::TryComplete => self.try_complete(world),
            Action::Look(_) | Action::Step(_) | Action::Task(..) => {}
        }
    }
}
