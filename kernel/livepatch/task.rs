// SPDX-License-Identifier: GPL-2.0

//! What a task has to do with livepatch: its patch state, and whether it has yet to switch.
//!
//! The methods of [`TaskExt`] take no lock and may be called in any context, unless they say
//! otherwise. The patch state of a task that runs is written by the task itself; of others by code
//! that keeps them from running, or that holds off all that would use it.

use crate::target::PatchState;
use kernel::{
    bindings,
    cpu::CpuId,
    ffi::c_char,
    prelude::*,
    task::Task, //
};

/// What livepatch wants of tasks.
pub(crate) trait TaskExt {
    /// Which functions the task uses.
    fn patch_state(&self) -> PatchState;

    /// Whether the task uses these functions.
    fn is_in(&self, state: PatchState) -> bool;

    /// Sets which functions the task uses.
    fn set_patch_state(&self, state: PatchState);

    /// Whether the task has yet to switch.
    fn is_pending(&self) -> bool;

    /// Marks the task as one that has yet to switch.
    fn set_pending(&self);

    /// As [`Self::set_pending`], and makes the task pass the exit to user mode soon if it runs in
    /// user mode on another CPU. Sends at most an interrupt.
    fn set_pending_and_kick(&self);

    /// Takes the mark away.
    fn clear_pending(&self);

    /// Takes the mark away and returns whether there was one. If so, this is a full barrier.
    fn take_pending(&self) -> bool;

    /// Whether it is the idle task of a CPU.
    fn is_idle(&self) -> bool;

    /// Makes the task pass the exit to user mode soon, by a fake signal, or wakes it up if it is a
    /// kernel thread. Takes the locks of the scheduler.
    fn send_fake_signal(&self);

    /// The function that a kernel thread was started with, or 0.
    fn thread_func(&self) -> usize;

    /// The task's number.
    fn number(&self) -> i32;

    /// A copy of the task's name.
    fn comm(&self) -> Comm;
}

/// The name of a task.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Comm([c_char; COMM_LEN]);

const COMM_LEN: usize = bindings::TASK_COMM_LEN as usize;

impl Comm {
    pub(crate) fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

#[inline(always)]
fn raw_patch_state(task: &Task) -> i32 {
    // SAFETY: A reference to a task is valid.
    unsafe { bindings::klp_task_patch_state(task.as_ptr()) }
}

impl TaskExt for Task {
    #[inline(always)]
    fn patch_state(&self) -> PatchState {
        PatchState::from_raw(raw_patch_state(self))
    }

    #[inline(always)]
    fn is_in(&self, state: PatchState) -> bool {
        raw_patch_state(self) == state.raw()
    }

    #[inline(always)]
    fn set_patch_state(&self, state: PatchState) {
        // SAFETY: As above.
        unsafe { bindings::klp_task_set_patch_state(self.as_ptr(), state.raw()) };
    }

    #[inline(always)]
    fn is_pending(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::klp_patch_pending(self.as_ptr()) }
    }

    #[inline(always)]
    fn set_pending(&self) {
        // SAFETY: As above.
        unsafe { bindings::klp_set_patch_pending(self.as_ptr()) };
    }

    #[inline(always)]
    fn set_pending_and_kick(&self) {
        // SAFETY: As above.
        unsafe { bindings::klp_set_pending_and_kick(self.as_ptr()) };
    }

    #[inline(always)]
    fn clear_pending(&self) {
        // SAFETY: As above.
        unsafe { bindings::klp_clear_patch_pending(self.as_ptr()) };
    }

    #[inline(always)]
    fn take_pending(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::klp_test_and_clear_patch_pending(self.as_ptr()) }
    }

    #[inline(always)]
    fn is_idle(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::klp_task_is_idle(self.as_ptr()) }
    }

    fn send_fake_signal(&self) {
        // SAFETY: As above.
        unsafe { bindings::klp_send_fake_signal(self.as_ptr()) };
    }

    fn thread_func(&self) -> usize {
        // SAFETY: As above.
        unsafe { bindings::klp_thread_func(self.as_ptr()) }
    }

    fn number(&self) -> i32 {
        // SAFETY: As above.
        unsafe { bindings::klp_task_pid(self.as_ptr()) }
    }

    fn comm(&self) -> Comm {
        let mut comm = Comm::default();
        // SAFETY: As above; there is room for the name.
        unsafe { bindings::klp_copy_comm(self.as_ptr(), comm.0.as_mut_ptr()) };
        comm
    }
}

/// Returns the current task, for as long as the caller runs.
#[inline(always)]
pub(crate) fn current<'a>() -> &'a Task {
    // SAFETY: The current task is valid for as long as it runs this; the caller does not hand the
    // reference to another task.
    unsafe { &*Task::current_raw().cast::<Task>() }
}

/// Turns on or off that the scheduler calls `klp_core_sched_try_switch()` for tasks. May sleep.
pub(crate) fn check_in_scheduler(on: bool) {
    // SAFETY: May sleep here.
    unsafe { bindings::klp_sched_check(on) };
}

/// Complains, if lockdep is there, about a caller that can be preempted.
#[inline(always)]
pub(crate) fn assert_preemption_disabled() {
    // SAFETY: An assertion.
    unsafe { bindings::klp_assert_preemption_disabled() };
}

/// Whether a CPU is not to be disturbed.
pub(crate) fn is_isolated(cpu: CpuId) -> bool {
    // SAFETY: It is the number of a CPU.
    unsafe { bindings::klp_cpu_is_isolated(cpu.as_u32()) }
}

/// Makes a CPU pass the idle loop if it is in there.
pub(crate) fn wake_idle(cpu: CpuId) {
    // SAFETY: It is the number of a CPU.
    unsafe { bindings::wake_up_if_idle(cpu.into()) };
}

/// Returns the patch state of the current task, for the ftrace handler: it calls nothing.
#[inline(always)]
pub(crate) fn current_patch_state() -> i32 {
    // SAFETY: A field of the current task, which only this task writes while it runs, but for a
    // forced end of the transition.
    unsafe { bindings::klp_current_patch_state() }
}
