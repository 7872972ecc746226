// SPDX-License-Identifier: GPL-2.0

//! Per-CPU variables of the kernel.

use crate::{
    bindings,
    cpu::CpuId, //
};
use core::ptr::NonNull;

/// A per-CPU variable: `T __percpu *` in C.
///
/// Returned for a `#[percpu]` variable in the `symbols` of [`livepatch!`](super::livepatch). Only
/// the addresses of the variables are known here. The author of the patch has to know whether one
/// may be read or written, and under which lock, as for any other variable of the kernel.
pub struct PerCpu<T>(NonNull<T>);

impl<T> PerCpu<T> {
    /// The variable with the per-CPU address `base`.
    ///
    /// # Safety
    ///
    /// `base` must be a `T __percpu *` of C.
    #[doc(hidden)]
    pub const unsafe fn new(base: NonNull<T>) -> Self {
        Self(base)
    }

    /// Returns the address of the variable of `cpu`. May be called in any context. The result for a
    /// CPU that is not possible must not be used.
    ///
    /// With [`CpuId::current`] it is the variable of this CPU as long as the task does not migrate.
    ///
    /// Wraps C's `per_cpu_ptr()`.
    pub fn of(&self, cpu: CpuId) -> NonNull<T> {
        let base = self.0.as_ptr().cast();
        // SAFETY: By the promise of `new` it is a per-CPU address. The number of the CPU is one
        // that has an offset.
        let own = unsafe { bindings::klp_per_cpu_ptr(base, cpu.as_u32()) };
        // SAFETY: The sum of both is an address of the kernel.
        unsafe { NonNull::new_unchecked(own.cast()) }
    }
}
