// SPDX-License-Identifier: GPL-2.0

//! Switching one task: when, and by whom.
//!
//! While a patch is in transition, `task_struct::patch_state` says for each task which functions it
//! uses, and `TIF_PATCH_PENDING` that it has yet to switch. A task switches when it is known to be
//! in none of the functions concerned:
//!
//! - at the exit to user mode, or in the idle loop: `klp_update_patch_state()`. Tasks that run in
//!   user mode when they are marked are made to pass there, by `klp_arch_set_pending()`;
//! - when it goes to sleep in a freezable state, or is a kernel thread that calls the scheduler or
//!   is preempted, and its stack is free of them: `__klp_sched_try_switch()`;
//! - while it does not run, and its stack is free of them: [`try_switch`], for the transition.
//!
//! A task that ftrace's handler has sent to one of these functions is in it from that moment on,
//! even if it has yet to get there: a stack is searched for the calls of ftrace, too (`index.rs`).
//!
//! # Concurrency
//!
//! What tasks read when they switch by themselves is published here: [`TARGET`] and [`INDEX`]. Both
//! are written while no task has `TIF_PATCH_PENDING` set, or by a pointer whose old value stays
//! valid; the write barrier in [`publish`] orders them before the flags are set, and a task that
//! finds its flag set reads them after it.
//!
//! They change or go away only after the flags were cleared, and after [`synchronize`], which waits
//! until each CPU has scheduled: they are read with preemption disabled.

use crate::{
    abi::Func,
    index::{Index, Region},
    progress,
    target::PatchState,
    task::{self, TaskExt},
    test_params,
    trace::{Obstacle, SwitchReason}, //
};
use kernel::{
    bindings,
    ffi::c_ulong,
    new_delayed_work,
    preempt::PreemptDisabled,
    prelude::*,
    stacktrace::{
        self,
        StoppedTask, //
    },
    sync::{
        atomic::{Atomic, Relaxed},
        barrier::{smp_mb, Read, Write},
        SetOnce, //
    },
    task::Task,
    workqueue::{
        impl_has_delayed_work,
        DelayedWork,
        OwnedQueue,
        WorkItem, //
    },
};

use core::{
    ops::ControlFlow,
    ptr, //
};

pub(crate) use crate::synchronize::synchronize;

/// The state that the transition leads to.
static TARGET: Atomic<i32> = Atomic::new(PatchState::Idle.raw());

/// The ranges of code that tasks must not be in.
static INDEX: Atomic<*const Index> = Atomic::new(ptr::null());

/// How many tasks remained after the last attempt, less those that have switched by themselves
/// since.
///
/// Only a hint: tasks that exit are not subtracted, and those that switch while the attempt goes on
/// may be or not. When it comes to zero, it is worth to try again at once.
static REMAINING: Remaining = Remaining(Atomic::new(0));

/// In a cache line of its own: all tasks write to it, and to none that others read.
#[repr(align(64))]
struct Remaining(Atomic<i32>);

/// The next attempt at switching the tasks that remain.
#[pin_data]
struct Attempt {
    queue: OwnedQueue,
    #[pin]
    work: DelayedWork<Attempt>,
    attempt: fn(),
}

static ATTEMPT: SetOnce<Pin<KBox<Attempt>>> = SetOnce::new();

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Attempt { self.work }
}

impl WorkItem for Attempt {
    type Pointer = &'static Self;

    fn run(this: &'static Self) {
        (this.attempt)();
    }
}

/// Makes the workqueue of transitions, for calls of `attempt`. Called at boot, before any patch can
/// be enabled. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init_attempts(attempt: fn()) -> Result {
    // Unbound: the task that switches last may be on a CPU that is isolated, and the work is not to
    // run there. Of high priority: on a machine whose CPUs are all busy, attempts would wait for
    // their turn otherwise.
    let queue = OwnedQueue::new_unbound(c"livepatch", true)?;
    let init = pin_init!(Attempt {
        queue,
        work <- new_delayed_work!("livepatch::Attempt::work"),
        attempt,
    });
    ATTEMPT.populate(KBox::pin_init(init, GFP_KERNEL)?);
    Ok(())
}

/// Schedules the next attempt `delay` ticks from now, in the place of one that is scheduled.
pub(crate) fn attempt_in(delay: usize) {
    // No patch is accepted before there is a queue.
    if let Some(attempt) = ATTEMPT.as_ref() {
        let attempt: &'static Attempt = attempt;
        attempt.queue.modify_delayed(attempt, delay);
    }
}

/// Publishes the state that the transition leads to. No task may have the flag set, or be about to
/// use what was published before.
pub(crate) fn set_target(state: PatchState) {
    TARGET.store(state.raw(), Relaxed);
}

/// Publishes the ranges of code that tasks must not be in, and what was published before, for tasks
/// whose flags are set from now on.
///
/// # Safety
///
/// The ranges must stay as they are until [`synchronize`] has returned that was called after others
/// were published, or after [`withdraw_index`].
pub(crate) unsafe fn publish(index: &Index) {
    // Readers come to the data by the pointer. Where there may be readers already, the old ranges
    // stay until they are done.
    smp_mb(Write);
    INDEX.store(index, Relaxed);
    // Orders `TARGET`, `INDEX` and the redirected functions before the flags. Pairs with the
    // barriers between the flag and what follows in `switch_pending` and
    // `klp_core_sched_try_switch`.
    smp_mb(Write);
}

/// Takes back the ranges. No task may have the flag set.
pub(crate) fn withdraw_index() {
    INDEX.store(ptr::null(), Relaxed);
}

/// Sets how many tasks remain after an attempt.
pub(crate) fn set_remaining(remaining: i32) {
    REMAINING.0.store(remaining, Relaxed);
}

/// How many tasks remain, about: see [`REMAINING`].
pub(crate) fn remaining() -> i32 {
    REMAINING.0.load(Relaxed).max(0)
}

/// Schedules an attempt at once if the task that has just switched by itself was the last one.
#[inline(always)]
fn count_switched() {
    // No ordering is needed: the attempt takes locks before it reads the states, and should it read
    // an old one, another follows.
    if REMAINING.0.fetch_add(-1, Relaxed) == 1 {
        attempt_in(0);
    }
}

/// Why a task was not switched.
#[derive(Clone, Copy)]
enum NotSwitched<'a> {
    /// It runs.
    Running,
    /// Its stack cannot be relied on.
    UnreliableStack,
    /// It is in this code, at this address.
    Inside(Region<'a>, usize),
}

/// Returns whether the words of a task's stack show that it is in none of the functions concerned.
/// If not, they show nothing.
///
/// `frame` is where to begin if the task is the current one.
#[inline]
fn is_clear(task: &StoppedTask<'_>, frame: Option<usize>, index: &Index) -> bool {
    let find = |addr| match index.find(task, addr) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    };
    match stacktrace::scan(task, frame, index.within(), find) {
        Ok(None) => true,
        Ok(Some(())) => false,
        Err(error) => test_params::skip_scan_rule(error),
    }
}

/// Switches a task if its stack allows, and returns how that was found out; nothing if the task has
/// switched by itself, just before it was stopped.
///
/// The words of the stack come first. They clear most tasks for a fraction of what a stack trace
/// costs, and all that were preempted in functions which the unwinder cannot make out. Where they
/// do not, a trace decides: the word may be left over from an earlier call. Or it is a pointer that
/// the task has loaded and is about to call, which is no reason to wait: a call of a function by
/// its beginning goes where the task's state says then, and a patch that has handed out pointers
/// into its module takes them back before it goes.
///
/// `frame` is as for [`is_clear`].
#[inline]
fn check_and_switch<'a>(
    task: &StoppedTask<'_>,
    target: PatchState,
    frame: Option<usize>,
    index: &'a Index,
) -> Result<Option<SwitchReason>, NotSwitched<'a>> {
    if task.is_in(target) {
        return Ok(None);
    }
    let reason = if is_clear(task, frame, index) {
        SwitchReason::StackScan
    } else {
        let found = stacktrace::walk_reliable(task, |addr| match index.find(task, addr) {
            Some(region) => ControlFlow::Break((region, addr)),
            None => ControlFlow::Continue(()),
        });
        match found {
            Ok(None) => SwitchReason::StackCheck,
            Ok(Some((region, addr))) => return Err(NotSwitched::Inside(region, addr)),
            Err(_) => return Err(NotSwitched::UnreliableStack),
        }
    };
    task.clear_pending();
    task.set_patch_state(target);
    Ok(Some(reason))
}

/// Switches a task if it is in none of the functions concerned, and returns whether it has arrived.
/// `frame` is as for [`is_clear`].
#[inline]
fn switch_by_stack<'a>(
    task: &Task,
    target: PatchState,
    frame: Option<usize>,
    index: &'a Index,
) -> Result<(), NotSwitched<'a>> {
    if task.is_in(target) {
        return Ok(());
    }
    // Without reliable stacks, tasks switch on their way to user mode only.
    if !stacktrace::have_reliable() {
        return Err(NotSwitched::UnreliableStack);
    }
    let switched =
        stacktrace::with_stopped(task, |task| check_and_switch(task, target, frame, index));
    // Only now, as what is traced may print, and nothing can be printed while the task is stopped.
    if let Some(found) = switched.unwrap_or(Err(NotSwitched::Running))? {
        let reason = frame.map_or(found, |_| SwitchReason::Scheduler);
        progress::switched(task, target, reason);
    }
    Ok(())
}

/// Switches a task that does not run, if it is in none of the functions concerned, and returns
/// whether it has arrived. If not, that is noted.
///
/// `index` is that of the transition to `target`; `is_in_ftrace` says whether an address is the
/// return address of the call of ftrace from a function.
#[inline]
pub(crate) fn try_switch(
    task: &Task,
    target: PatchState,
    index: &Index,
    is_in_ftrace: impl Fn(&Func, usize) -> bool,
) -> bool {
    let (obstacle, name) = match switch_by_stack(task, target, None, index) {
        Ok(()) => return true,
        Err(NotSwitched::Running) => (Obstacle::Running, c""),
        Err(NotSwitched::UnreliableStack) => (Obstacle::UnreliableStack, c""),
        Err(NotSwitched::Inside(Region::Func(func), addr)) if is_in_ftrace(func, addr) => {
            (Obstacle::Ftrace, func.name())
        }
        Err(NotSwitched::Inside(Region::Func(func), _)) => (Obstacle::Function, func.name()),
        Err(NotSwitched::Inside(Region::Module(patch), _)) => (Obstacle::Module, patch.name()),
    };
    progress::blocked(task, target, obstacle, name);
    false
}

/// Switches the idle task of a CPU that is offline, and stays so.
pub(crate) fn switch_offline(task: &Task, target: PatchState) {
    if !task.is_in(target) {
        task.clear_pending();
        task.set_patch_state(target);
        progress::switched(task, target, SwitchReason::Idle);
    }
}

/// Switches a task to the state that the transition leads to, if it has yet to, and returns whether
/// it had. Takes no lock.
///
/// The task must be the current one, or one that does not run: a handler that the task runs reads
/// its state, and may have read it already. Only a forced transition ignores that. A running task
/// may then go on in what it was forced to leave, which is why that code stays in memory.
#[inline(always)]
pub(crate) fn switch_pending(task: &Task, reason: SwitchReason) -> bool {
    // `synchronize` waits for this.
    let _preempt = PreemptDisabled::new();

    // If the flag was set, this is a full barrier. It orders the flag before `TARGET`, and, on this
    // CPU, before what the ftrace handler reads of the redirected functions. Pairs with the write
    // barrier in `publish`.
    let pending = task.take_pending();
    if pending {
        let state = PatchState::from_raw(TARGET.load(Relaxed));
        task.set_patch_state(state);
        progress::switched(task, state, reason);
    }
    pending
}

/// Switches the current task if it has yet to.
///
/// Called by the architecture's hook at the exit to user mode, and by the idle loop between two
/// rounds. Both are places where RCU is watching, and where the task is in no function that can be
/// patched. Does not sleep; takes the locks of a workqueue at most.
///
/// # Safety
///
/// `task` must be valid, and be the current one.
#[export]
unsafe extern "C" fn klp_update_patch_state(task: *mut bindings::task_struct) {
    // SAFETY: The caller gives a valid task; `Task` is a transparent wrapper.
    let task = unsafe { &*task.cast::<Task>() };
    let switched = if task.is_idle() {
        switch_pending(task, SwitchReason::Idle)
    } else {
        switch_pending(task, SwitchReason::ExitToUser)
    };
    if switched {
        count_switched();
    }
}

/// Switches the current task, if its stack allows: one that is about to sleep in a freezable state,
/// or a kernel thread that goes through the scheduler for whatever reason.
///
/// Called by the scheduler, with preemption disabled, and only while there is a transition. This is
/// how kernel threads get switched that run at each attempt. `frame` is where on the stack it
/// begins: what is below belongs to this check only.
///
/// # Safety
///
/// To be called by `__klp_sched_try_switch()` only, with preemption disabled.
#[no_mangle]
unsafe extern "C" fn klp_core_sched_try_switch(frame: c_ulong) {
    task::assert_preemption_disabled();

    let task = task::current();
    if !task.is_pending() {
        return;
    }

    // Orders the flag before `TARGET` and `INDEX`. Pairs with the write barrier in `publish`.
    smp_mb(Read);

    let target = PatchState::from_raw(TARGET.load(Relaxed));
    if target == PatchState::Idle {
        return;
    }
    // SAFETY: The flag was set, so that there is an index, that of a transition to `target`. It is
    // valid until `synchronize` has waited for this, which runs with preemption disabled.
    if let Some(index) = unsafe { INDEX.load(Relaxed).as_ref() } {
        // Nothing is said of obstacles here: a kernel thread that prints would never come to rest.
        // The next attempt says the same.
        if switch_by_stack(task, target, Some(frame), index).is_ok() {
            count_switched();
        }
    }
}

/// Gives a task that is being forked the state of its parent, which is current.
///
/// Called with `tasklist_lock` held for writing, which code that changes flags of all tasks holds
/// for reading. The parent itself switches in its own context only.
///
/// # Safety
///
/// To be called by `fork()`, for a child that is on no list yet.
#[export]
unsafe extern "C" fn klp_copy_process(child: *mut bindings::task_struct) {
    // SAFETY: The child is valid, and on no list yet.
    let child = unsafe { &*child.cast::<Task>() };
    let parent = task::current();

    let state = {
        // The parent is switched by others only while it does not run. That the lock is held does
        // not keep it running on PREEMPT_RT. Forcing, which does not wait for that, holds the lock
        // for reading, so that it sees the child, or comes first.
        let _running = PreemptDisabled::new();
        // The flags were copied earlier; the parent may have switched since.
        if parent.is_pending() {
            child.set_pending();
        } else {
            child.clear_pending();
        }
        let state = parent.patch_state();
        child.set_patch_state(state);
        state
    };
    if state != PatchState::Idle && state == PatchState::from_raw(TARGET.load(Relaxed)) {
        progress::switched(child, state, SwitchReason::Fork);
    }
}
