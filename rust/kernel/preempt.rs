// SPDX-License-Identifier: GPL-2.0

//! Preemption.
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use crate::{
    bindings,
    types::NotThreadSafe, //
};

/// A guard that disables preemption.
///
/// It calls nothing that the function tracer can hook, so that it can be used in ftrace handlers
/// and on the way from and to user mode.
///
/// # Examples
///
/// ```
/// use kernel::{cpu::CpuId, preempt::PreemptDisabled};
///
/// let guard = PreemptDisabled::new();
/// // The task stays on this CPU for as long as there is the guard.
/// assert_eq!(CpuId::current(), CpuId::current());
/// drop(guard);
/// ```
pub struct PreemptDisabled(NotThreadSafe);

impl PreemptDisabled {
    /// Disables preemption. May be called in any context.
    #[inline(always)]
    pub fn new() -> Self {
        // SAFETY: The guard enables preemption again when it is dropped.
        unsafe { bindings::preempt_disable_notrace() };
        Self(NotThreadSafe)
    }
}

impl Default for PreemptDisabled {
    #[inline(always)]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PreemptDisabled {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: `new` has disabled preemption, on this CPU.
        unsafe { bindings::preempt_enable_notrace() };
    }
}
