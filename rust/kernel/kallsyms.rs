// SPDX-License-Identifier: GPL-2.0

//! Symbols of the kernel and of its modules, by name and by address.
//!
//! Names need not be unique: files of the kernel have static functions of the same name. The
//! functions here report each match, in the order of addresses in vmlinux and of the symbol table
//! in a module, so that the caller can count.
//!
//! C headers: [`include/linux/kallsyms.h`](srctree/include/linux/kallsyms.h),
//! [`include/linux/module.h`](srctree/include/linux/module.h)
//!
//! # Examples
//!
//! ```
//! use core::ops::ControlFlow;
//! use kernel::kallsyms;
//!
//! # #[cfg(CONFIG_KALLSYMS)]
//! # {
//! let mut count = 0;
//! kallsyms::for_each_match(c"_printk", |_addr| {
//!     count += 1;
//!     ControlFlow::Continue(())
//! });
//! assert_eq!(count, 1);
//! # }
//! ```

use crate::{
    bindings,
    ffi::{c_int, c_ulong, c_void},
    str::{CStr, CStrExt as _},
};
use core::{
    ops::ControlFlow,
    ptr, //
};

/// Calls `f` with the address of each symbol of vmlinux that is called `name`, until it breaks.
///
/// A binary search over the sorted names. May sleep: it must not be called in atomic context.
pub fn for_each_match<F: FnMut(usize) -> ControlFlow<()>>(name: &CStr, mut f: F) {
    /// # Safety
    ///
    /// `data` must point to an `F` that no other code uses.
    unsafe extern "C" fn found<F: FnMut(usize) -> ControlFlow<()>>(
        data: *mut c_void,
        addr: c_ulong,
    ) -> c_int {
        // SAFETY: By the requirement of this function.
        let f = unsafe { &mut *data.cast::<F>() };
        c_int::from(f(addr).is_break())
    }

    // SAFETY: `found` gets a pointer to `f`, which outlives the call; `name` is nul-terminated.
    unsafe {
        bindings::kallsyms_on_each_match_symbol(
            Some(found::<F>),
            name.as_char_ptr(),
            (&raw mut f).cast(),
        )
    };
}

/// Calls `f` with name and address of each symbol of the module `module`, until it breaks.
///
/// Does nothing if no module of this name is loaded. A walk over the whole symbol table: search for
/// several names in one walk. `f` must not sleep: the list of modules is locked.
#[cfg(CONFIG_MODULES)]
pub fn for_each_in_module<F: FnMut(&CStr, usize) -> ControlFlow<()>>(module: &CStr, mut f: F) {
    /// # Safety
    ///
    /// `data` must point to an `F` that no other code uses, `name` to a nul-terminated string.
    unsafe extern "C" fn found<F: FnMut(&CStr, usize) -> ControlFlow<()>>(
        data: *mut c_void,
        name: *const crate::ffi::c_char,
        addr: c_ulong,
    ) -> c_int {
        // SAFETY: By the requirement of this function.
        let f = unsafe { &mut *data.cast::<F>() };
        // SAFETY: By the requirement of this function; the borrow ends with the call.
        let name = unsafe { CStr::from_char_ptr(name) };
        c_int::from(f(name, addr).is_break())
    }

    // SAFETY: `found` gets a pointer to `f`, which outlives the call, and names out of the symbol
    // table; `module` is nul-terminated.
    unsafe {
        bindings::module_kallsyms_on_each_symbol(
            module.as_char_ptr(),
            Some(found::<F>),
            (&raw mut f).cast(),
        )
    };
}

/// Returns the size in bytes of the symbol that `addr` lies in, up to the next symbol.
///
/// May be called in any context.
#[inline]
pub fn symbol_size(addr: usize) -> Option<usize> {
    let mut size: c_ulong = 0;
    // SAFETY: Takes any address; `size` is valid for the write, and the offset is optional.
    let found =
        unsafe { bindings::kallsyms_lookup_size_offset(addr, &raw mut size, ptr::null_mut()) };
    (found != 0).then_some(size)
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_kallsyms)]
mod tests {
    use super::*;

    fn count(name: &CStr) -> usize {
        let mut count = 0;
        for_each_match(name, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        count
    }

    #[test]
    fn finds_what_is_there() {
        assert_eq!(count(c"klp_enable_patch"), 1);
        assert_eq!(count(c"klp_no_such_symbol"), 0);
    }

    #[test]
    fn address_and_size_agree() {
        let mut found = None;
        for_each_match(c"klp_enable_patch", |addr| {
            found = Some(addr);
            ControlFlow::Break(())
        });
        assert_eq!(
            found,
            Some(bindings::klp_enable_patch as *const () as usize)
        );
        assert!(found.and_then(symbol_size).is_some_and(|size| size > 0));
        assert_eq!(symbol_size(0), None);
    }

    #[test]
    fn unknown_module_has_no_symbols() {
        let mut seen = false;
        for_each_in_module(c"klp_no_such_module", |_, _| {
            seen = true;
            ControlFlow::Continue(())
        });
        assert!(!seen);
    }
}
