// SPDX-License-Identifier: GPL-2.0

//! What the core does, step by step, in the order of `kernel/livepatch/`. Tasks may do theirs
//! between any two of these steps.

use crate::{
    model::Model,
    mutation::Mutation,
    route::Route,
    target::Target,
    world::{
        At, Code, Entry, Func, Funcs, Index, Kind, Life, Look, Module, Patch, Patches, Slot, Stage,
        Task, Transition, World, IDLE,
    },
};

/// Whether something is for the tasks on the list of tasks and the idle ones, or for those on the
/// list of exiting tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    Tasks,
    Exiting,
}

impl List {
    fn has(self, task: &Task) -> bool {
        match self {
            List::Tasks => task.is_listed() || (task.kind == Kind::Idle && task.runs()),
            List::Exiting => task.is_exiting(),
        }
    }
}

/// What is done to one task after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Each {
    /// It gets its flag, if it has yet to switch.
    Mark,
    /// It loses its flag.
    Clear,
    /// It is switched, whatever it does.
    Force,
    /// It is asked whether it has arrived, as [`Mutation::NotAskedAgain`] does.
    Ask,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    RemoveJump(Func),
    InstallJump(Func),
    Begin(Transition),
    Target,
    States(List, i8),
    /// The function depends on the task from now on, or no longer.
    InTransition(Patch, Func, bool),
    Register(Func),
    Push(Patch, Func),
    Pop(Patch, Func),
    Destinations(Func),
    Slot(Func),
    Unregister(Func),
    FreeNops(Patch),
    Publish,
    Unpublish,
    /// What is not published is freed.
    FreeSpare,
    /// Half of [`Mutation::LooksAtRunning`].
    Switch(usize),
    BeginEach(Each, List),
    Each(Each, List),
    Enabled(Patch, bool),
    Start,
    AskListed,
    AskExiting,
    Arrived,
    Complete,
    Sync,
    Await,
    Reverse,
    SetForced,
    End,
    GiveBack(Patch),
    SetModule(Module),
}

impl Step {
    /// Whether no task can see that it was done, so that it need not be a step of its own.
    fn is_private(self) -> bool {
        matches!(
            self,
            Step::InTransition(..)
                | Step::Push(..)
                | Step::Pop(..)
                | Step::BeginEach(..)
                | Step::FreeNops(_)
                | Step::Enabled(..)
                | Step::Start
                | Step::Arrived
                | Step::Complete
                | Step::SetForced
                | Step::GiveBack(_)
        )
    }
}

impl Model {
    /// Makes the core do all of `steps` next.
    fn then(world: &mut World, steps: impl IntoIterator<Item = Step>) {
        let at = world.steps.len();
        world.steps.extend(steps);
        world.steps[at..].reverse();
    }

    /// The functions of a patch that are there to be patched.
    fn loaded(world: &World, funcs: Funcs) -> Vec<Func> {
        funcs.iter().filter(|&func| world.is_loaded(func)).collect()
    }

    fn on_stack(world: &World, patch: Patch, funcs: Funcs) -> Vec<Func> {
        let patched = |func: &Func| world.func(*func).stack.has(patch);
        funcs.iter().filter(patched).collect()
    }

    /// The slot follows what is on the function stack.
    fn update(&self, func: Func) -> [Step; 2] {
        if self.is(Mutation::DestinationsLate) {
            [Step::Slot(func), Step::Destinations(func)]
        } else {
            [Step::Destinations(func), Step::Slot(func)]
        }
    }

    fn remove_jumps(&self, world: &World, funcs: Funcs) -> Vec<Step> {
        let jump = |func: &Func| matches!(world.func(*func).entry, Entry::Jump(_));
        let jumps = funcs.iter().filter(jump);
        if self.is(Mutation::JumpsStay) {
            return Vec::new();
        }
        jumps.map(Step::RemoveJump).collect()
    }

    /// Prepares a transition up to where tasks can switch; `redirect` is done on the way.
    fn prepare(&self, world: &World, transition: Transition, redirect: Vec<Step>) -> Vec<Step> {
        let patch = transition.patch;
        let initial = transition.target().opposite().state().raw() as i8;
        let funcs = world.patch(patch).funcs;

        let mut steps = self.remove_jumps(world, funcs);
        steps.push(Step::Begin(transition));
        if !self.is(Mutation::TargetLate) {
            steps.push(Step::Target);
        }
        let mut states = vec![Step::States(List::Tasks, initial)];
        if !self.is(Mutation::ExitingWithoutState) {
            states.push(Step::States(List::Exiting, initial));
        }
        let mut update = Vec::new();
        for func in funcs.iter() {
            update.push(Step::InTransition(patch, func, true));
            if world.func(func).stack.has(patch) {
                update.extend(self.update(func));
            }
        }
        update.extend(redirect);
        if self.is(Mutation::TransitionBeforeStates) {
            steps.extend(update);
            steps.extend(states);
        } else {
            steps.extend(states);
            steps.extend(update);
        }
        steps
    }

    /// Lets tasks switch.
    fn start(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.is(Mutation::IndexLate) {
            steps.push(Step::Publish);
        }
        if !self.is(Mutation::NotMarked) {
            steps.push(Step::BeginEach(Each::Mark, List::Tasks));
            steps.push(Step::BeginEach(Each::Mark, List::Exiting));
        }
        if self.is(Mutation::IndexLate) {
            steps.push(Step::Publish);
        }
        if self.is(Mutation::TargetLate) {
            steps.push(Step::Target);
        }
        steps.push(Step::Start);
        steps
    }

    /// Puts functions of a patch on their stacks.
    fn patch_funcs(&self, world: &World, patch: Patch, funcs: &[Func]) -> Vec<Step> {
        let mut steps = Vec::new();
        for &func in funcs {
            if world.func(func).entry == Entry::Plain {
                steps.push(Step::Register(func));
            }
        }
        for &func in funcs {
            steps.push(Step::Push(patch, func));
            steps.extend(self.update(func));
        }
        steps
    }

    fn unpatch_funcs(&self, patch: Patch, funcs: &[Func]) -> Vec<Step> {
        let mut steps = Vec::new();
        for &func in funcs {
            steps.push(Step::Pop(patch, func));
            steps.extend(self.update(func));
        }
        steps.extend(funcs.iter().map(|&func| Step::Unregister(func)));
        steps
    }

    /// `klp_enable_patch()`. If `fails` is set, an error follows once the functions are on their
    /// stacks.
    pub fn enable(&self, world: &mut World, patch: Patch, fails: bool) {
        let mut funcs = self.funcs(patch);
        let mut nops = Funcs::default();
        if self.is_replacing(patch) && !self.is(Mutation::NoNops) {
            for old in world.accepted() {
                nops = nops.with(world.patch(old).funcs.without(funcs));
            }
        }
        funcs = funcs.with(nops);
        let accepted = world.patch_mut(patch);
        accepted.stage = Stage::Accepted;
        accepted.funcs = funcs;
        accepted.nops = nops;

        let redirect = self.patch_funcs(world, patch, &Self::loaded(world, funcs));
        let mut steps = self.prepare(world, Transition::new(patch, true), redirect);
        if fails {
            steps.push(Step::Complete);
        } else {
            steps.extend(self.start());
            steps.push(Step::Enabled(patch, true));
            if self.is(Mutation::FreesEarly) && self.is_replacing(patch) {
                let old = world.accepted().filter(|&old| old != patch);
                steps.extend(old.map(Step::GiveBack));
            }
        }
        Self::then(world, steps);
    }

    /// `echo 0 > enabled`.
    pub fn disable(&self, world: &mut World, patch: Patch) {
        let mut steps = self.prepare(world, Transition::new(patch, false), Vec::new());
        steps.extend(self.start());
        steps.push(Step::Enabled(patch, false));
        Self::then(world, steps);
    }

    /// Writing to `enabled` during a transition.
    pub fn reverse(&self, world: &mut World) {
        let mut steps = Vec::new();
        if !self.is(Mutation::FlagsStayAtReversal) {
            steps.push(Step::BeginEach(Each::Clear, List::Tasks));
            steps.push(Step::BeginEach(Each::Clear, List::Exiting));
        }
        if !self.is(Mutation::NoSyncAtReversal) {
            steps.extend([Step::Sync, Step::Await]);
        }
        steps.push(Step::Reverse);
        if !self.is(Mutation::TargetLate) {
            steps.push(Step::Target);
        }
        let start = self.start();
        let keep = |step: &Step| *step != Step::Publish || !self.is(Mutation::OldIndex);
        steps.extend(start.into_iter().filter(keep));
        Self::then(world, steps);
    }

    /// Writing to `force`.
    pub fn force(&self, world: &mut World) {
        world.forced = true;
        Self::then(
            world,
            [
                Step::BeginEach(Each::Force, List::Tasks),
                Step::BeginEach(Each::Force, List::Exiting),
                Step::SetForced,
            ],
        );
    }

    /// The target module is about to run.
    pub fn module_coming(&self, world: &mut World) {
        world.module = Module::Coming;
        let mut steps = Vec::new();
        let patches: Vec<_> = world.accepted().collect();
        for patch in patches {
            if !world.patch(patch).funcs.has(Func::G) {
                continue;
            }
            if self.is(Mutation::ComingIsFixed) {
                steps.push(Step::InTransition(patch, Func::G, false));
            }
            steps.extend(self.patch_funcs(world, patch, &[Func::G]));
            if world.transition.is_some_and(|t| t.patch == patch) {
                // Both indexes need room for more.
                steps.push(Step::FreeSpare);
                steps.extend(self.refresh_index());
                steps.push(Step::FreeSpare);
            }
        }
        if world.transition.is_none() || self.is(Mutation::JumpsWithComing) {
            steps.extend(Func::ALL.map(Step::InstallJump));
        }
        steps.push(Step::SetModule(Module::Live));
        Self::then(world, steps);
    }

    /// The target module is unloaded: none of its code runs.
    pub fn module_going(&self, world: &mut World) {
        world.module = Module::Going;
        let mut steps = Vec::new();
        let patches: Vec<_> = world.accepted().collect();
        for patch in patches {
            if !world.func(Func::G).stack.has(patch) {
                continue;
            }
            steps.extend(self.remove_jumps(world, Funcs::only(Func::G)));
            steps.extend(self.unpatch_funcs(patch, &[Func::G]));
            if world.transition.is_some_and(|t| t.patch == patch) {
                steps.extend(self.refresh_index());
            }
        }
        steps.push(Step::SetModule(Module::Gone));
        Self::then(world, steps);
    }

    fn refresh_index(&self) -> Vec<Step> {
        if self.is(Mutation::NoIndexForComing) {
            return Vec::new();
        }
        let mut steps = vec![Step::Publish];
        if !self.is(Mutation::NoSyncAtRefresh) {
            steps.extend([Step::Sync, Step::Await]);
        }
        steps
    }

    /// `Registry::try_complete_transition()`, when no task remains.
    pub fn try_complete(&self, world: &mut World) {
        let mut steps = vec![Step::AskListed];
        if self.is(Mutation::NotAskedAgain) {
            steps = vec![Step::BeginEach(Each::Ask, List::Tasks)];
        }
        if !self.is(Mutation::NoExiting) {
            steps.push(Step::AskExiting);
        }
        if self.is(Mutation::ExitingFirst) {
            steps.reverse();
        }
        steps.extend([Step::Arrived, Step::Complete]);
        Self::then(world, steps);
    }

    /// `Transition::complete()`.
    fn complete(&self, world: &mut World) {
        let Some(transition) = &mut world.transition else {
            return;
        };
        if !transition.started {
            // Enabling has failed: tasks go nowhere.
            transition.patching = false;
        }
        let transition = *transition;
        let mut steps = match transition.target() {
            Target::Patched => self.finish_patching(world, transition.patch),
            Target::Unpatched => self.finish_unpatching(world, transition.patch),
        };
        if self.is(Mutation::StatesGoFirst) {
            steps.splice(0..0, self.clear_states());
        }
        let failed = !transition.started;
        if !(self.is(Mutation::NoSyncAtEnd) || (failed && self.is(Mutation::NoSyncAtCancel))) {
            steps.extend([Step::Sync, Step::Await]);
        }
        if !self.is(Mutation::IndexStays) {
            steps.push(Step::Unpublish);
        }
        if !self.is(Mutation::StatesGoFirst) {
            steps.extend(self.clear_states());
        }
        // Only then is it known which of them become jumps.
        steps.extend(Func::ALL.map(Step::InstallJump));
        steps.push(Step::End);
        // What tasks have left for good.
        for other in Patch::ALL {
            if world.patch(other).stage == Stage::Accepted && self.leaves(transition, other) {
                steps.push(Step::GiveBack(other));
            }
        }
        Self::then(world, steps);
    }

    /// All tasks are patched: the functions no longer depend on the task.
    fn finish_patching(&self, world: &World, patch: Patch) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut remaining = world.patch(patch).funcs;
        if self.is_replacing(patch) {
            steps.extend(self.unpatch_replaced(world, patch));
            if !self.is(Mutation::NopsStay) {
                steps.extend(self.discard_nops(world, patch));
                remaining = remaining.without(world.patch(patch).nops);
            }
        }
        for func in remaining.iter() {
            steps.push(Step::InTransition(patch, func, false));
            steps.extend(self.update(func));
        }
        steps
    }

    /// All tasks are unpatched: the functions of the patch are taken off their stacks.
    fn finish_unpatching(&self, world: &World, patch: Patch) -> Vec<Step> {
        let funcs = world.patch(patch).funcs;
        let mut steps = self.unpatch_funcs(patch, &Self::on_stack(world, patch, funcs));
        let fixed = |func| Step::InTransition(patch, func, false);
        steps.extend(funcs.iter().map(fixed));
        steps
    }

    /// Disables the patches that `patch` replaces.
    fn unpatch_replaced(&self, world: &World, patch: Patch) -> Vec<Step> {
        let mut steps = Vec::new();
        for old in world.accepted().take_while(|&old| old != patch) {
            steps.push(Step::Enabled(old, false));
            if !self.is(Mutation::KeepsStacks) {
                let on_stack = Self::on_stack(world, old, Funcs::BOTH);
                steps.extend(self.unpatch_funcs(old, &on_stack));
            }
        }
        steps
    }

    /// Takes the nops of a patch off their stacks, and frees them.
    fn discard_nops(&self, world: &World, patch: Patch) -> Vec<Step> {
        let on_stack = Self::on_stack(world, patch, world.patch(patch).nops);
        let mut steps = self.unpatch_funcs(patch, &on_stack);
        steps.push(Step::FreeNops(patch));
        steps
    }

    /// Takes the state from all tasks.
    fn clear_states(&self) -> Vec<Step> {
        let mut steps = vec![Step::States(List::Tasks, IDLE)];
        if !self.is(Mutation::ExitingNotIdle) {
            steps.push(Step::States(List::Exiting, IDLE));
        }
        steps
    }

    /// Whether tasks leave a patch for good: as the kernel decides it.
    fn leaves(&self, transition: Transition, patch: Patch) -> bool {
        let moving = transition.patch == patch;
        transition
            .target()
            .leaves(moving, self.is_replacing(transition.patch))
    }

    /// Does the next step. `task` is for steps that take one task after the other. Returns whether
    /// the step was possible.
    pub fn step(&self, world: &mut World, task: Option<usize>) -> bool {
        if !self.one_step(world, task) {
            return false;
        }
        while world.steps.last().is_some_and(|step| step.is_private()) {
            if !self.one_step(world, None) {
                return false;
            }
        }
        true
    }

    /// The tasks that the next step may be for, if it takes one after the other.
    pub fn due(&self, world: &World) -> Option<Vec<usize>> {
        match world.steps.last() {
            Some(Step::Each(..)) => Some(
                (0..world.tasks.len())
                    .filter(|&task| world.tasks[task].due)
                    .collect(),
            ),
            _ => None,
        }
    }

    fn one_step(&self, world: &mut World, task: Option<usize>) -> bool {
        let Some(step) = world.steps.pop() else {
            return false;
        };
        match step {
            Step::RemoveJump(func) => world.func_mut(func).entry = Entry::Hook,
            Step::InstallJump(func) => self.install_jump(world, func),
            Step::Begin(transition) => self.begin_transition(world, transition),
            Step::Target => world.target = world.transition.map_or(IDLE, Transition::state),
            Step::States(list, state) => Self::set_states(world, list, state),
            Step::InTransition(patch, func, yes) => {
                world.func_mut(func).set_in_transition(patch, yes);
            }
            Step::Register(func) => world.func_mut(func).hook(),
            Step::Push(patch, func) => world.func_mut(func).push(patch),
            Step::Pop(patch, func) => world.func_mut(func).pop(patch),
            Step::Destinations(func) => Self::write_destinations(world, func),
            Step::Slot(func) => Self::write_slot(world, func),
            Step::Unregister(func) => world.func_mut(func).unhook(),
            Step::FreeNops(patch) => world.free_nops(patch),
            Step::Publish => self.publish(world),
            Step::Unpublish => world.index = None,
            Step::FreeSpare => world.indexes[world.spare as usize] = None,
            Step::Switch(task) => self.switch(world, task),
            Step::BeginEach(each, list) => self.begin_each(world, each, list),
            Step::Each(each, list) => return self.each(world, each, list, task),
            Step::Enabled(patch, enabled) => world.patch_mut(patch).enabled = enabled,
            Step::Start => Self::set_started(world),
            Step::AskListed => return self.ask(world, List::Tasks),
            Step::AskExiting => return self.ask(world, List::Exiting),
            Step::Arrived => Self::update_idle_promise(world),
            Step::Complete => self.complete(world),
            Step::Sync => self.begin_wait(world),
            Step::Await => return !world.tasks.iter().any(|task| task.awaited),
            Step::Reverse => Self::reverse_transition(world),
            Step::SetForced => self.set_forced(world),
            Step::End => Self::end_transition(world),
            Step::GiveBack(patch) => world.patch_mut(patch).give_back(),
            Step::SetModule(module) => world.module = module,
        }
        true
    }

    fn set_states(world: &mut World, list: List, state: i8) {
        for task in world.tasks.iter_mut().filter(|task| list.has(task)) {
            task.state = state;
        }
    }

    /// Writes both destinations, if the function depends on the task.
    fn write_destinations(world: &mut World, func: Func) {
        if let Route::PerTask { patched, unpatched } = world.route(func) {
            let redirect = world.func_mut(func);
            redirect.patched = World::version(func, patched);
            redirect.unpatched = World::version(func, unpatched);
        }
    }

    fn write_slot(world: &mut World, func: Func) {
        world.func_mut(func).slot = match world.route(func) {
            Route::Fixed(destination) => Slot::To(World::version(func, destination)),
            Route::PerTask { .. } => Slot::InTransition,
        };
    }

    /// Begins to do something to each task of a list.
    fn begin_each(&self, world: &mut World, each: Each, list: List) {
        for task in &mut world.tasks {
            task.due = list.has(task);
        }
        world.locked =
            list == List::Tasks && each != Each::Ask && !self.is(Mutation::ForkWithoutLock);
        Self::next_task(world, each, list);
    }

    fn set_started(world: &mut World) {
        if let Some(transition) = &mut world.transition {
            transition.started = true;
        }
    }

    /// All tasks have arrived: new ones are promised the same.
    fn update_idle_promise(world: &mut World) {
        if let Some(transition) = world.transition {
            world.promise.idle = match transition.target() {
                Target::Patched => world.promise.patched,
                Target::Unpatched => world.promise.unpatched,
            };
        }
    }

    /// `synchronize()` waits for the tasks that cannot be preempted now.
    fn begin_wait(&self, world: &mut World) {
        for task in &mut world.tasks {
            task.awaited = task.runs() && !self.is_not_awaited(task);
        }
    }

    fn reverse_transition(world: &mut World) {
        if let Some(transition) = &mut world.transition {
            transition.patching = !transition.patching;
            let Transition {
                patch, patching, ..
            } = *transition;
            world.patch_mut(patch).enabled = patching;
        }
    }

    /// Marks the patches that tasks were forced to leave.
    fn set_forced(&self, world: &mut World) {
        if let Some(transition) = world.transition {
            for patch in Patch::ALL {
                let forced = self.leaves(transition, patch)
                    && world.patch(patch).stage == Stage::Accepted
                    && !self.is(Mutation::FreesForced);
                world.patch_mut(patch).forced |= forced;
            }
        }
    }

    fn end_transition(world: &mut World) {
        world.target = IDLE;
        world.transition = None;
        world.promise.patched = world.promise.idle;
        world.promise.unpatched = world.promise.idle;
        // What can no longer be read makes no difference.
        world.indexes = Default::default();
        world.spare = 0;
        for redirect in &mut world.funcs {
            (redirect.patched, redirect.unpatched) = (None, None);
        }
    }

    fn install_jump(&self, world: &mut World, func: Func) {
        let redirect = world.func_mut(func);
        if redirect.entry != Entry::Hook {
            return;
        }
        match redirect.slot {
            Slot::To(Some(patch)) => redirect.entry = Entry::Jump(patch),
            Slot::InTransition if self.is(Mutation::JumpsWithComing) => {
                if let Some(patch) = redirect.patched {
                    redirect.entry = Entry::Jump(patch);
                }
            }
            _ => {}
        }
    }

    fn begin_transition(&self, world: &mut World, transition: Transition) {
        let patch = transition.patch;
        world.transition = Some(transition);
        let idle = world.promise.idle;
        match transition.target() {
            Target::Patched => {
                world.promise.unpatched = idle;
                world.promise.patched = if self.is_replacing(patch) {
                    Patches::only(patch)
                } else {
                    idle.with(patch)
                };
            }
            Target::Unpatched => {
                world.promise.patched = idle;
                world.promise.unpatched = idle.without(patch);
            }
        }
    }

    /// `Indexes::update()`, and `switch::publish()`.
    fn publish(&self, world: &mut World) {
        let Some(transition) = world.transition else {
            return;
        };
        let patch = transition.patch;
        let mut target = transition.target();
        if self.is(Mutation::OtherRanges) {
            target = target.opposite();
        }
        let funcs = Self::on_stack(world, patch, world.patch(patch).funcs);
        let mut codes = Vec::new();
        for &func in &funcs {
            let replaced = world.replaced(patch, func);
            let version = target.left(|| world.replacement(patch, func), || replaced);
            codes.push(Code::Body(func, version));
            // Of the original: what it replaces, or what a nop leads to.
            let has_part = func == Func::F && version.is_none();
            let forgotten = match target {
                Target::Patched => self.is(Mutation::NoParts),
                Target::Unpatched => self.is(Mutation::NoPartsOfNops),
            };
            if has_part && !forgotten {
                codes.push(Code::Cold);
            }
        }
        let hooks = funcs.iter().copied();
        let hooks = hooks.filter(|_| !self.is(Mutation::NoHooks));
        let modules = world
            .accepted()
            .filter(|&other| self.leaves(transition, other));
        let modules: Vec<_> = modules.filter(|_| !self.is(Mutation::NoModules)).collect();
        let index = Index::new(codes.into_iter(), hooks, modules.into_iter());

        let spare = world.spare;
        // It is overwritten while a task uses it.
        let in_use = |task: &Task| matches!(task.look, Look::Index(_, used) if used == spare);
        world.dangling |= world.tasks.iter().any(in_use);
        world.indexes[spare as usize] = Some(index);
        world.index = Some(spare);
        world.spare = 1 - spare;
    }

    fn each(&self, world: &mut World, each: Each, list: List, task: Option<usize>) -> bool {
        let Some(index) = task else {
            // The remaining ones have died.
            Self::next_task(world, each, list);
            return true;
        };
        let target = world.target;
        let state = world.transition.map_or(IDLE, Transition::state);
        let task = &mut world.tasks[index];
        if !task.due {
            return false;
        }
        task.due = false;
        match each {
            Each::Mark => {
                if task.state != state {
                    task.pending = true;
                }
            }
            Each::Clear => task.pending = false,
            Each::Force => {
                if task.pending {
                    task.pending = false;
                    task.state = target;
                }
            }
            Each::Ask => {
                if task.state != state {
                    self.give_up(world);
                    return true;
                }
            }
        }
        Self::next_task(world, each, list);
        true
    }

    /// Continues with the next task of the list, or unlocks it at its end.
    fn next_task(world: &mut World, each: Each, list: List) {
        if world.tasks.iter().any(|task| task.due) {
            world.steps.push(Step::Each(each, list));
        } else {
            world.locked = false;
        }
    }

    /// The transition continues: there will be another attempt.
    fn give_up(&self, world: &mut World) {
        world.steps.clear();
        for task in &mut world.tasks {
            task.due = false;
        }
        world.locked = false;
    }

    fn ask(&self, world: &mut World, list: List) -> bool {
        let state = world.transition.map_or(IDLE, Transition::state);
        let asked = |task: &&Task| {
            list.has(task) && !(task.kind == Kind::Idle && self.is(Mutation::IdleTasksForgotten))
        };
        if world
            .tasks
            .iter()
            .filter(asked)
            .any(|task| task.state != state)
        {
            self.give_up(world);
        }
        true
    }

    /// Searches the stack of a task that does not run, and switches the task if it is in nothing
    /// that tasks must not be in. Returns whether it did.
    pub fn look(&self, world: &mut World, index: usize) -> bool {
        let (Some(transition), Some(published)) = (world.transition, world.index) else {
            return false;
        };
        let Some(ranges) = world.indexes[published as usize] else {
            return false;
        };
        let task = &world.tasks[index];
        if !task.runs() || task.state == transition.state() {
            return false;
        }
        if task.stack().any(|word| ranges.has(word)) {
            return false;
        }
        if self.is(Mutation::LooksAtRunning) {
            world.steps.push(Step::Switch(index));
        } else if task.is_preemptible() {
            self.switch(world, index);
        } else {
            return false;
        }
        true
    }

    fn switch(&self, world: &mut World, index: usize) {
        let state = world.transition.map_or(IDLE, Transition::state);
        let task = &mut world.tasks[index];
        task.pending = false;
        task.state = state;
    }

    /// Whether `synchronize()` does not wait for a task where it is.
    pub fn is_not_awaited(&self, task: &Task) -> bool {
        if task.is_preemptible() {
            return true;
        }
        match task.at {
            At::PerTask(_) => self.is(Mutation::NoSyncWithHandlers),
            At::Cleared | At::Read(_) => self.is(Mutation::NoSyncWithExits),
            _ => self.is(Mutation::NoSyncWithLooks),
        }
    }

    /// Whether a child may be put on the list of tasks, or a task be taken off it.
    pub fn list_may_change(world: &World) -> bool {
        !world.locked
    }

    /// Whether no task uses `G`, so that its module can be unloaded.
    pub fn module_is_unused(world: &World) -> bool {
        let of_g = |code: Code| code.version().is_some_and(|(func, _)| func == Func::G);
        world
            .tasks
            .iter()
            .filter(|task| task.life != Life::Unborn)
            .all(|task| {
                let hooked = matches!(task.at, At::Entered(Func::G) | At::PerTask(Func::G));
                !hooked && !task.uses().any(of_g)
            })
    }
}
