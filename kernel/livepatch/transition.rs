// SPDX-License-Identifier: GPL-2.0

//! The transition: moving each task from the old functions to the new ones, or back.
//!
//! A transition is prepared ([`Transition::new`]), then the functions are redirected, and it starts
//! ([`Transition::start`]). From then on tasks switch, each for itself (`switch.rs`) or by
//! [`Transition::attempt`], which is repeated until none remains. Then it is completed
//! ([`Transition::complete`]). Until then it may be reversed, or forced.
//!
//! # All tasks
//!
//! All tasks are those on the list of tasks, the idle ones, and those that are exiting: they are
//! taken off the list while they still run, and sleep, in functions of the kernel.
//!
//! `tasklist_lock` is held to set and to test flags of all tasks, which takes a few instructions
//! each, and never over a stack. Stacks are walked under RCU, in batches. So a task may be forked
//! while the walk is going on, and be missed by it; at the end the states of all tasks are checked
//! once more, with the lock held. A new task has its parent's state, as of a moment when the parent
//! holds the lock for writing. So once all tasks have arrived while the lock is held, all that come
//! later have, too. Exiting tasks come last, each time: a task that has left the list of tasks by
//! then is among them, or does not run any more.

use crate::{
    abi::{Func, Object, Patch, PatchRef},
    backoff::Backoff,
    index::{Indexes, Patches},
    lock::Locked,
    progress::{self, Outcome},
    redirect::Redirects,
    switch,
    target::{PatchState, Target},
    task::{self, TaskExt},
    tasklist,
    trace::{self, Fate, Step, SwitchReason},
    warn::warn_on_once, //
};
use kernel::{
    cpu::HotplugLock,
    dynamic_pr_debug,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    time::{msecs_to_jiffies, Instant, Monotonic}, //
};

use core::{
    ops::ControlFlow,
    ptr, //
};

/// The patch in transition, for code that holds no lock and only compares it.
///
/// Debuggers find it under the name that it has in the core in C.
#[export_name = "klp_transition_patch"]
static PATCH: Atomic<*mut Patch> = Atomic::new(ptr::null_mut());

/// The patch in transition, or null. Without `klp_mutex` the answer may be out of date.
pub(crate) fn patch() -> *const Patch {
    PATCH.load(Relaxed)
}

/// A transition that is going on.
pub(crate) struct Transition {
    patch: PatchRef,
    /// Where tasks are taken.
    target: Target,
    /// When to try again to switch the tasks that remain.
    backoff: Backoff,
    /// When it was started, or reversed.
    started: Instant<Monotonic>,
    /// How many tasks had to switch then.
    tasks: u32,
    /// The code that tasks must not be in.
    indexes: Indexes,
}

/// How many ticks a second has. The constant `HZ` that bindgen finds is that of user space.
fn ticks_per_second() -> usize {
    msecs_to_jiffies(1000)
}

/// Returns whether each thread, and each that is exiting, is in this state.
///
/// Idle tasks are left out: their number does not change.
fn all_are_in(state: PatchState) -> bool {
    let listed = tasklist::for_each_thread(|task| {
        if task.is_in(state) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let mut all = listed.is_continue();
    // After the others: see the head of this file.
    tasklist::for_each_exiting(|task| all &= task.is_in(state));
    all
}

/// How many tasks are in this state. Those that are exiting may be missing.
fn tasks_in(state: PatchState) -> u32 {
    let mut tasks = 0;
    let _ = tasklist::for_each_thread(|task| {
        tasks += u32::from(task.is_in(state));
        ControlFlow::<()>::Continue(())
    });
    tasklist::for_each_idle(|_, task| tasks += u32::from(task.is_in(state)));
    tasks
}

/// Sends a fake signal to each task that has yet to switch, and returns how many those are.
///
/// A task may switch by itself between the test and the signal. Then it passes the exit to user
/// mode once more, or wakes up and goes back to sleep, which does no harm.
fn send_fake_signals() -> u32 {
    let mut tasks = 0;
    let _ = tasklist::for_each_thread(|task| {
        if task.is_pending() {
            task.send_fake_signal();
            tasks += 1;
        }
        ControlFlow::<()>::Continue(())
    });
    tasks
}

/// Makes the functions of `patch` depend on the task, or not any more.
fn set_in_transition(locked: &Locked, patch: &Patch, redirects: &Redirects, in_transition: bool) {
    for object in patch.objects(locked) {
        for func in object.funcs(locked) {
            func.set_in_transition(locked, in_transition);
        }
        if object.is_patched() {
            redirects.update_object(locked, object);
        }
    }
}

impl Transition {
    /// Prepares a transition of `patches.moving`: all tasks get the state that they start from, and
    /// the patch's functions that are on function stacks, or come to be, depend on it.
    ///
    /// # Errors
    ///
    /// - `ENOENT`: the size of a function's part is not known.
    /// - `ENOMEM`.
    ///
    /// Nothing has happened then.
    pub(crate) fn new(
        locked: &Locked,
        patches: Patches<'_>,
        redirects: &Redirects,
        target: Target,
    ) -> Result<Self> {
        let indexes = Indexes::new(locked, patches, redirects)?;
        let patch = patches.moving.clone();

        PATCH.store(ptr::from_ref::<Patch>(&patch).cast_mut(), Relaxed);
        // Has no effect before the flags are set.
        switch::set_target(target.state());

        dynamic_pr_debug!(
            "klp_init_transition",
            "'{}': initializing {} transition\n",
            patch.name(),
            target.verb()
        );

        let initial = target.opposite().state();
        let mut tasks = 0;
        tasklist::for_each_task(|task| {
            // One that is exiting may come twice.
            tasks += u32::from(!task.is_in(initial));
            warn_on_once!(!task.is_in(PatchState::Idle) && !task.is_in(initial));
            task.set_patch_state(initial);
        });

        // A handler that sees that a destination depends on the task also sees the states:
        // `Table::update` writes it by a release store.
        set_in_transition(locked, &patch, redirects, true);
        // All of them, from the moment when the patch is seen to be in transition.
        switch::set_remaining(i32::try_from(tasks).unwrap_or(i32::MAX));
        Ok(Self {
            patch,
            target,
            backoff: Backoff::new(ticks_per_second()),
            started: Instant::now(),
            tasks,
            indexes,
        })
    }

    /// The patch in transition.
    pub(crate) fn patch(&self) -> &PatchRef {
        &self.patch
    }

    fn patches<'a>(patch: &'a PatchRef, all: &'a [PatchRef]) -> Patches<'a> {
        Patches { moving: patch, all }
    }

    /// Publishes the code that tasks must not be in.
    fn publish(&mut self, locked: &Locked, all: &[PatchRef], redirects: &Redirects) {
        let patches = Self::patches(&self.patch, all);
        let index = self.indexes.update(locked, patches, redirects, self.target);
        // SAFETY: `Indexes` keeps the two that were published last, and `synchronize` is called
        // before the next `update`: in `refresh`, in `reverse`, and at the end.
        unsafe { switch::publish(index) };
    }

    /// Lets tasks begin to switch. `all` are the patches, that of the transition among them.
    pub(crate) fn start(&mut self, locked: &Locked, all: &[PatchRef], redirects: &Redirects) {
        trace::transition(self.patch.name(), self.target, Step::Start, self.tasks);
        self.begin(locked, all, redirects);
    }

    /// Lets tasks begin to switch to the target.
    fn begin(&mut self, locked: &Locked, all: &[PatchRef], redirects: &Redirects) {
        // After all else that tasks are to see once their flags are set.
        self.publish(locked, all, redirects);
        self.backoff = Backoff::new(ticks_per_second());
        self.started = Instant::now();
        progress::start(&self.patch, self.target);
        // Shown until the first attempt is over.
        switch::set_remaining(i32::try_from(self.tasks).unwrap_or(i32::MAX));

        pr_notice!(
            "'{}': starting {} transition\n",
            self.patch.name(),
            self.target.verb()
        );

        let arrived = self.target.state();
        tasklist::for_each_task(|task| {
            if !task.is_in(arrived) {
                // One interrupt for each CPU that is in user mode, and no lock: short enough for
                // `tasklist_lock`.
                task.set_pending_and_kick();
            }
        });

        task::check_in_scheduler(true);
    }

    /// Switches the tasks that can be switched, and returns whether all have arrived.
    ///
    /// If not, the next attempt is scheduled. May sleep.
    pub(crate) fn attempt(&mut self, locked: &Locked, redirects: &Redirects) -> bool {
        let arrived = self.target.state();
        let index = self.indexes.current();
        let is_in_ftrace =
            |func: &Func, addr| redirects.ftrace_return_address(locked, func) == Some(addr);
        progress::begin_attempt();
        let try_switch = |task: &_| switch::try_switch(task, arrived, index, is_in_ftrace);

        let mut remaining: i32 = tasklist::walk_threads(|remaining, task| {
            *remaining += i32::from(!try_switch(task));
        });
        // After the others: see the head of this file.
        tasklist::walk_exiting(|task| remaining += i32::from(!try_switch(task)));

        let hotplug = HotplugLock::new();
        tasklist::for_each_idle(|cpu, task| {
            if !cpu.is_online() {
                // It does not run anything, and cannot before the lock is released.
                switch::switch_offline(task, arrived);
            } else if !try_switch(task) {
                remaining += 1;
                // In the idle loop it switches.
                task::wake_idle(cpu);
            }
        });
        drop(hotplug);
        progress::end_attempt();

        // Tasks that were forked, or began to exit, meanwhile may have been missed.
        if remaining == 0 && all_are_in(arrived) {
            switch::set_remaining(0);
            return true;
        }

        let waited = usize::try_from(self.started.elapsed().as_millis()).unwrap_or(0);
        let retry = self.backoff.next(waited);
        if retry.signal {
            if retry.announce {
                pr_notice!("signaling remaining tasks\n");
            }
            progress::signal(&self.patch, self.target, send_fake_signals());
        }
        switch::attempt_in(retry.delay);
        // Not before, so that this attempt does not take the place of an earlier one.
        switch::set_remaining(remaining);
        false
    }

    /// Ends the transition: all tasks have arrived. Returns those of the patches `all` that tasks
    /// have left for good. May sleep.
    pub(crate) fn complete(
        self,
        locked: &mut Locked,
        all: &[PatchRef],
        redirects: &mut Redirects,
    ) -> impl Fn(&PatchRef) -> bool {
        task::check_in_scheduler(false);
        self.end(locked, all, redirects);
        let millis = progress::end(&self.patch, Outcome::Completed);
        self.patch.set_transition_millis(millis);
        self.report_fates(all);
        // Only now: who sees that the transition is over sees what was noted of it, too.
        PATCH.store(ptr::null_mut(), Relaxed);
        let (moving, target) = (self.patch.as_ptr(), self.target);
        let is_replacing = self.patch.is_replacing();
        move |patch| target.leaves(ptr::eq(patch.as_ptr(), moving), is_replacing)
    }

    /// Reports what has become of the patches.
    fn report_fates(&self, all: &[PatchRef]) {
        let fate_of_left = match self.target {
            Target::Patched => {
                trace::patch(self.patch.name(), Fate::Enabled);
                Fate::Replaced
            }
            Target::Unpatched => Fate::Disabled,
        };
        for patch in Self::patches(&self.patch, all).left(self.target) {
            trace::patch(patch.name(), fate_of_left);
        }
    }

    /// Ends a transition that was prepared and not started, as enabling its patch has failed.
    pub(crate) fn cancel(
        mut self,
        locked: &mut Locked,
        all: &[PatchRef],
        redirects: &mut Redirects,
    ) {
        if warn_on_once!(self.target != Target::Patched) {
            return;
        }
        dynamic_pr_debug!(
            "klp_cancel_transition",
            "'{}': canceling patching transition, going to unpatch\n",
            self.patch.name()
        );
        self.target = Target::Unpatched;
        self.end(locked, all, redirects);
        PATCH.store(ptr::null_mut(), Relaxed);
    }

    fn end(&self, locked: &mut Locked, all: &[PatchRef], redirects: &mut Redirects) {
        let (patch, target) = (&self.patch, self.target);
        dynamic_pr_debug!(
            "klp_complete_transition",
            "'{}': completing {} transition\n",
            patch.name(),
            target.verb()
        );

        // Functions are taken off their stacks while they are still in transition: as soon as they
        // are not, the handler takes the newest on the stack for all tasks.
        match target {
            Target::Patched if patch.is_replacing() => {
                unpatch_replaced(locked, Self::patches(patch, all), redirects);
                for object in patch.patched_objects(locked) {
                    redirects.unpatch_object(locked, patch, object, true);
                }
            }
            Target::Patched => (),
            Target::Unpatched => {
                for object in patch.patched_objects(locked) {
                    redirects.unpatch_object(locked, patch, object, false);
                }
            }
        }
        set_in_transition(locked, patch, redirects, false);

        // A handler may have seen that a destination depends on the task, and be about to read the
        // task's state, which loses its meaning below. A task may be using the index.
        switch::synchronize();
        switch::withdraw_index();
        // The index has pointed to the nops, which have nothing to hide any more.
        if target == Target::Patched && patch.is_replacing() {
            patch.unlink(locked, true);
        }

        tasklist::for_each_task(|task| {
            warn_on_once!(task.is_pending());
            task.set_patch_state(PatchState::Idle);
        });

        for object in patch
            .objects(locked)
            .filter(|object| object.is_loaded(locked))
        {
            match target {
                Target::Patched => object.post_patch(locked),
                Target::Unpatched => object.post_unpatch(locked),
            }
        }

        pr_notice!("'{}': {} complete\n", patch.name(), target.verb());

        redirects.install_jumps(locked);
        switch::set_target(PatchState::Idle);
    }

    /// Reverses the transition: tasks go back to the state that they came from. May sleep.
    pub(crate) fn reverse(&mut self, locked: &Locked, all: &[PatchRef], redirects: &Redirects) {
        dynamic_pr_debug!(
            "klp_reverse_transition",
            "'{}': reversing transition from {}\n",
            self.patch.name(),
            match self.target {
                Target::Patched => "patching to unpatching",
                Target::Unpatched => "unpatching to patching",
            }
        );

        // No task switches any more, once those are done that have found the flag set.
        tasklist::for_each_task(|task| task.clear_pending());
        switch::synchronize();
        self.tasks = tasks_in(self.target.state());

        progress::end(&self.patch, Outcome::Reversed);
        self.target = self.target.opposite();
        self.patch.set_enabled(locked, !self.patch.is_enabled());
        switch::set_target(self.target.state());
        trace::transition(self.patch.name(), self.target, Step::Reverse, self.tasks);
        self.begin(locked, all, redirects);
        switch::attempt_in(0);
    }

    /// Switches all tasks at once, whatever they are doing, on the administrator's responsibility.
    ///
    /// Code that tasks were forced to leave stays in memory for good.
    pub(crate) fn force(&self, locked: &Locked, all: &[PatchRef]) {
        pr_warn!("forcing remaining tasks to the patched state\n");

        let mut tasks = 0;
        tasklist::for_each_task(|task| {
            tasks += u32::from(switch::switch_pending(task, SwitchReason::Forced));
        });
        progress::force(&self.patch, self.target, tasks);

        for patch in Self::patches(&self.patch, all).left(self.target) {
            patch.set_forced(locked);
        }
        switch::attempt_in(0);
    }

    /// Takes in an object of the patch that has come, and is patched. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`]; nothing has changed then.
    pub(crate) fn add_object(
        &mut self,
        locked: &Locked,
        all: &[PatchRef],
        redirects: &Redirects,
        object: &Object,
    ) -> Result {
        let patches = Self::patches(&self.patch, all);
        let room = self.indexes.add(locked, patches, redirects, object)?;
        self.refresh(locked, all, redirects);
        self.indexes.make_room(room);
        Ok(())
    }

    /// Forgets an object of the patch that goes, and is not patched any more. May sleep.
    pub(crate) fn remove_object(
        &mut self,
        locked: &Locked,
        all: &[PatchRef],
        redirects: &Redirects,
        object: &Object,
    ) {
        self.indexes.remove(object);
        self.refresh(locked, all, redirects);
    }

    /// Publishes the code that tasks must not be in anew, while they may be switching.
    fn refresh(&mut self, locked: &Locked, all: &[PatchRef], redirects: &Redirects) {
        self.publish(locked, all, redirects);
        // The old one may be written to the next time, or be freed.
        switch::synchronize();
    }
}

/// Takes the functions of the patches that are replaced off their stacks.
///
/// No task uses them any more, unless the transition was forced; then they stay in memory.
fn unpatch_replaced(locked: &Locked, patches: Patches<'_>, redirects: &mut Redirects) {
    for old in patches.left(Target::Patched) {
        old.set_enabled(locked, false);
        for object in old.patched_objects(locked) {
            redirects.unpatch_object(locked, old, object, false);
        }
    }
}
