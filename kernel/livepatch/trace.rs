// SPDX-License-Identifier: GPL-2.0

//! The trace event `livepatch:klp_task_switch`.
//!
//! While it is off it costs a branch that is patched out of the code.
//!
//! C header: [`include/trace/events/livepatch.h`](srctree/include/trace/events/livepatch.h)

use crate::target::PatchState;
use kernel::{
    bindings,
    ffi::c_uint,
    task::Task,
    tracepoint::declare_trace, //
};

declare_trace! {
    /// # Safety
    ///
    /// `task` must be valid, and RCU be watching.
    unsafe fn klp_task_switch(task: *mut bindings::task_struct, patched: bool, reason: c_uint);
}

/// Why a task could switch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SwitchReason {
    /// It was on its way to user mode.
    ExitToUser,
    /// It did not run, or was the one that checks, and no word of its stack was an address in a
    /// function concerned.
    StackScan,
    /// The same, but for a word, or something that words do not tell: a reliable stack trace has
    /// allowed it.
    StackCheck,
    /// It was in the scheduler, about to sleep in a freezable state or a kernel thread, and its
    /// stack allowed it.
    Scheduler,
    /// It was in the idle loop, or its CPU was offline.
    Idle,
    /// Its parent had switched when it was forked.
    Fork,
    /// The administrator has forced all tasks.
    Forced,
}

impl SwitchReason {
    #[inline(always)]
    fn raw(self) -> c_uint {
        use bindings::*;
        match self {
            SwitchReason::ExitToUser => klp_switch_reason_KLP_SWITCH_EXIT_TO_USER,
            SwitchReason::StackScan => klp_switch_reason_KLP_SWITCH_STACK_SCAN,
            SwitchReason::StackCheck => klp_switch_reason_KLP_SWITCH_STACK_CHECK,
            SwitchReason::Scheduler => klp_switch_reason_KLP_SWITCH_SCHEDULER,
            SwitchReason::Idle => klp_switch_reason_KLP_SWITCH_IDLE,
            SwitchReason::Fork => klp_switch_reason_KLP_SWITCH_FORK,
            SwitchReason::Forced => klp_switch_reason_KLP_SWITCH_FORCED,
        }
    }
}

/// Reports that `task` has switched to `state`.
///
/// RCU must be watching, which it is in all places where tasks switch: on the way to user mode the
/// context is still that of the kernel, and in the idle loop it is between two rounds.
#[inline(always)]
pub(crate) fn task_switch(task: &Task, state: PatchState, reason: SwitchReason) {
    let patched = state == PatchState::Patched;
    // SAFETY: A reference to a task is valid; RCU is watching, as the caller has to see to.
    unsafe { klp_task_switch(task.as_ptr(), patched, reason.raw()) };
}
