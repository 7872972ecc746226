// SPDX-License-Identifier: GPL-2.0

//! Variables of the kernel of which each CPU has its own.

use crate::{
    bindings,
    cpu::CpuId, //
};
use core::ptr::NonNull;

/// A variable of which each CPU has its own: `T __percpu *` in C.
///
/// Returned for a `#[percpu]` variable in the `symbols` of [`livepatch!`](super::livepatch). Where
/// the variables are is all that is known here. Whether one may be read or written, and under which
/// lock, is for the author of the patch to know, as for any other variable of the kernel.
pub struct PerCpu<T>(NonNull<T>);

impl<T> PerCpu<T> {
    /// Those of which `base` is the per-CPU address.
    ///
    /// # Safety
    ///
    /// `base` must be what C has as `T __percpu *`.
    #[doc(hidden)]
    pub const unsafe fn new(base: NonNull<T>) -> Self {
        Self(base)
    }

    /// Where `cpu` has its own. May be called in any context. Of a CPU that is not possible the
    /// result must not be used.
    ///
    /// With [`CpuId::current`] it is that of this CPU for as long as the task does not move to
    /// another one.
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
