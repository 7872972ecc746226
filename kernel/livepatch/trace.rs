// SPDX-License-Identifier: GPL-2.0

//! The trace event `livepatch:klp_task_switch`.
//!
//! While it is off it costs a branch that is patched out of the code.
//!
//! C header: [`include/trace/events/livepatch.h`](srctree/include/trace/events/livepatch.h)

use crate::phase::PatchState;
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
    unsafe fn klp_task_switch(task: *mut bindings::task_struct, patched: bool, way: c_uint);
}

/// How a task came to switch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By itself, on its way to user mode.
    ExitToUser,
    /// It did not run, or was the one that checks, and no word of its stack was an address in a
    /// function concerned.
    StackScan,
    /// The same, but for a word, or something that words do not tell: a reliable stack trace has
    /// allowed it.
    StackCheck,
    /// By itself, in the scheduler: about to sleep in a freezable state, or a kernel thread.
    Scheduler,
    /// In the idle loop, or because its CPU was offline.
    Idle,
    /// It was made by a task that had switched.
    Fork,
    /// The administrator had all tasks switch.
    Forced,
}

impl Way {
    #[inline(always)]
    fn raw(self) -> c_uint {
        match self {
            Way::ExitToUser => bindings::klp_switch_way_KLP_WAY_EXIT_TO_USER,
            Way::StackScan => bindings::klp_switch_way_KLP_WAY_STACK_SCAN,
            Way::StackCheck => bindings::klp_switch_way_KLP_WAY_STACK_CHECK,
            Way::Scheduler => bindings::klp_switch_way_KLP_WAY_SCHEDULER,
            Way::Idle => bindings::klp_switch_way_KLP_WAY_IDLE,
            Way::Fork => bindings::klp_switch_way_KLP_WAY_FORK,
            Way::Forced => bindings::klp_switch_way_KLP_WAY_FORCED,
        }
    }
}

/// Tells the tracer, if it listens, that `task` has switched to `state`.
///
/// RCU must be watching, which it does in all places where tasks switch: on the way to user mode
/// the context is still that of the kernel, and the idle loop comes by when it has been left for
/// another task.
#[inline(always)]
pub(crate) fn task_switch(task: &Task, state: i32, way: Way) {
    // SAFETY: The task is valid; RCU is watching, as the caller has to see to.
    unsafe { klp_task_switch(task.as_ptr(), state == PatchState::Patched.raw(), way.raw()) };
}
