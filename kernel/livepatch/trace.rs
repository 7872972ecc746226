// SPDX-License-Identifier: GPL-2.0

//! The trace events, `livepatch:*`.
//!
//! While an event is off it costs a branch that is patched out of the code.
//!
//! C header: [`include/trace/events/livepatch.h`](srctree/include/trace/events/livepatch.h)

use crate::target::{PatchState, Target};
use kernel::{
    bindings,
    ffi::{c_char, c_uint},
    prelude::*,
    task::Task,
    tracepoint::declare_trace, //
};

declare_trace! {
    /// # Safety
    ///
    /// `task` must be valid, and RCU be watching.
    unsafe fn klp_task_switch(task: *mut bindings::task_struct, patched: bool, reason: c_uint);

    /// # Safety
    ///
    /// As above; `name` must be nul-terminated.
    unsafe fn klp_task_blocked(
        task: *mut bindings::task_struct, patched: bool, obstacle: c_uint, name: *const c_char,
    );

    /// # Safety
    ///
    /// `patch` must be nul-terminated, and RCU be watching.
    unsafe fn klp_transition_start(patch: *const c_char, patched: bool, tasks: c_uint);

    /// # Safety
    ///
    /// As above.
    unsafe fn klp_transition_reverse(patch: *const c_char, patched: bool, tasks: c_uint);

    /// # Safety
    ///
    /// As above.
    unsafe fn klp_transition_signal(patch: *const c_char, patched: bool, tasks: c_uint);

    /// # Safety
    ///
    /// As above.
    unsafe fn klp_transition_force(patch: *const c_char, patched: bool, tasks: c_uint);

    /// # Safety
    ///
    /// As above; `switched` must point to [`SWITCH_REASONS`] numbers.
    unsafe fn klp_transition_complete(
        patch: *const c_char, patched: bool, duration_us: u64, attempts: c_uint,
        switched: *const u32,
    );

    /// # Safety
    ///
    /// As above, but for `switched`.
    unsafe fn klp_patch_enabled(patch: *const c_char);

    /// # Safety
    ///
    /// As above.
    unsafe fn klp_patch_disabled(patch: *const c_char);

    /// # Safety
    ///
    /// As above.
    unsafe fn klp_patch_replaced(patch: *const c_char);

    /// # Safety
    ///
    /// As above.
    unsafe fn klp_patch_freed(patch: *const c_char);

    /// # Safety
    ///
    /// As above; `object`, too.
    unsafe fn klp_object_patched(patch: *const c_char, object: *const c_char);

    /// # Safety
    ///
    /// As above.
    unsafe fn klp_object_unpatched(patch: *const c_char, object: *const c_char);
}

/// How many reasons there are in [`SwitchReason`].
pub(crate) const SWITCH_REASONS: usize = bindings::klp_switch_reason_KLP_SWITCH_REASONS as usize;

/// Their names, in the order of their numbers.
pub(crate) const SWITCH_REASON_NAMES: [&str; SWITCH_REASONS] = [
    "exit_to_user",
    "stack_scan",
    "stack_check",
    "scheduler",
    "idle",
    "fork",
    "forced",
];

/// Why a task could switch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SwitchReason {
    /// It was at the exit to user mode.
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
    /// The number that C knows.
    #[inline(always)]
    pub(crate) fn raw(self) -> c_uint {
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

/// What keeps a task from being switched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It runs.
    Running,
    /// It is in a function concerned.
    Function,
    /// It is on its way into such a function, or back from it, by ftrace.
    Ftrace,
    /// It is in the module of a patch that tasks leave for good.
    Module,
    /// Its stack cannot be relied on.
    UnreliableStack,
}

impl Obstacle {
    fn raw(self) -> c_uint {
        use bindings::*;
        match self {
            Obstacle::Running => klp_obstacle_KLP_OBSTACLE_RUNNING,
            Obstacle::Function => klp_obstacle_KLP_OBSTACLE_FUNCTION,
            Obstacle::Ftrace => klp_obstacle_KLP_OBSTACLE_FTRACE,
            Obstacle::Module => klp_obstacle_KLP_OBSTACLE_MODULE,
            Obstacle::UnreliableStack => klp_obstacle_KLP_OBSTACLE_UNRELIABLE_STACK,
        }
    }

    /// What the trace event calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Obstacle::Running => "running",
            Obstacle::Function => "function",
            Obstacle::Ftrace => "ftrace",
            Obstacle::Module => "module",
            Obstacle::UnreliableStack => "unreliable_stack",
        }
    }
}

/// Reports that `task` has switched to `state`.
///
/// RCU must be watching, which it is in all places where tasks switch: at the exit to user mode the
/// context is still that of the kernel, and in the idle loop it is between two rounds.
#[inline(always)]
pub(crate) fn task_switch(task: &Task, state: PatchState, reason: SwitchReason) {
    let patched = state == PatchState::Patched;
    // SAFETY: A reference to a task is valid; RCU is watching, as the caller has to see to.
    unsafe { klp_task_switch(task.as_ptr(), patched, reason.raw()) };
}

/// Reports that an attempt could not switch `task` to `state`, and what it is in, if anything.
pub(crate) fn task_blocked(task: &Task, state: PatchState, obstacle: Obstacle, name: &CStr) {
    let patched = state == PatchState::Patched;
    // SAFETY: A reference to a task is valid; attempts are made in process context.
    unsafe { klp_task_blocked(task.as_ptr(), patched, obstacle.raw(), name.as_char_ptr()) };
}

/// A step of a transition that is reported.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// It starts.
    Start,
    /// It goes in the other direction from now on.
    Reverse,
    /// Fake signals are sent.
    Signal,
    /// The administrator forces all tasks.
    Force,
}

/// Reports a step of the transition of `patch`, which so many tasks are concerned by. To be called
/// in process context.
pub(crate) fn transition(patch: &CStr, target: Target, step: Step, tasks: u32) {
    let (patch, patched) = (patch.as_char_ptr(), target == Target::Patched);
    // SAFETY: The name is nul-terminated; process context.
    unsafe {
        match step {
            Step::Start => klp_transition_start(patch, patched, tasks),
            Step::Reverse => klp_transition_reverse(patch, patched, tasks),
            Step::Signal => klp_transition_signal(patch, patched, tasks),
            Step::Force => klp_transition_force(patch, patched, tasks),
        }
    }
}

/// Reports that the transition of `patch` is complete. To be called in process context.
pub(crate) fn complete(
    patch: &CStr,
    target: Target,
    micros: u64,
    attempts: u32,
    switched: &[u32; SWITCH_REASONS],
) {
    let (patch, patched) = (patch.as_char_ptr(), target == Target::Patched);
    // SAFETY: The name is nul-terminated, and there are as many numbers; process context.
    unsafe { klp_transition_complete(patch, patched, micros, attempts, switched.as_ptr()) };
}

/// What becomes of a patch.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// All tasks use it.
    Enabled,
    /// No task uses it any more.
    Disabled,
    /// No task uses it any more, as another has replaced it.
    Replaced,
    /// It was given back.
    Freed,
}

/// Reports what becomes of `patch`. To be called in process context.
pub(crate) fn patch(patch: &CStr, fate: Fate) {
    let patch = patch.as_char_ptr();
    // SAFETY: The name is nul-terminated; process context.
    unsafe {
        match fate {
            Fate::Enabled => klp_patch_enabled(patch),
            Fate::Disabled => klp_patch_disabled(patch),
            Fate::Replaced => klp_patch_replaced(patch),
            Fate::Freed => klp_patch_freed(patch),
        }
    }
}

/// Reports that the functions of `patch` in `object` are redirected, or not any more. To be called
/// in process context.
pub(crate) fn object(patch: &CStr, object: &CStr, patched: bool) {
    let (patch, object) = (patch.as_char_ptr(), object.as_char_ptr());
    // SAFETY: The names are nul-terminated; process context.
    unsafe {
        if patched {
            klp_object_patched(patch, object);
        } else {
            klp_object_unpatched(patch, object);
        }
    }
}
