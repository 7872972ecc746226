// SPDX-License-Identifier: GPL-2.0

//! What [`livepatch!`](super::livepatch) expands to. Not for use by hand.

use super::{
    callbacks::{
        table,
        Hooks, //
    },
    patch::Patch,
};
pub use super::{
    callbacks::{
        NoHooks,
        WithCallbacks, //
    },
    patch::{
        Enabled,
        Slot, //
    },
    state::{
        declare as state,
        WithStates, //
    },
};
use crate::{
    bindings,
    error::{
        code::*,
        Result, //
    },
    ffi::{
        c_ulong,
        c_void, //
    },
    prelude::*,
    str::CStr,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

/// What was declared for the patch whose own state this is.
///
/// # Safety
///
/// To be implemented by [`livepatch!`](super::livepatch): both functions must return what is
/// declared for this patch, and for no other.
pub unsafe trait Declared: Sized + 'static {
    /// Where the state of the patch is.
    fn slot() -> &'static Slot<Self>
    where
        Self: Patch;

    /// The patch that C knows.
    fn patch() -> *mut bindings::klp_patch;

    /// Looks whether the addresses of all symbols of vmlinux are known.
    fn check_symbols() -> Result;

    /// Frees the shadow variables that only this patch can find.
    fn free_shadow();
}

/// A part of the declaration. It belongs to the core from when the patch is enabled.
#[repr(transparent)]
pub struct Part<T>(Opaque<T>);

// SAFETY: The core protects its parts by a lock of its own; before the patch is enabled nobody but
// the module's initialisation uses them.
unsafe impl<T> Sync for Part<T> {}

impl<T> Part<T> {
    /// Declares a part.
    pub const fn new(value: T) -> Self {
        Self(Opaque::new(value))
    }

    /// The part, for C.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// A replaced function, in the form that C wants. `sympos` of 0: the name is unique.
pub const fn func(
    old_name: &'static CStr,
    new_func: *mut c_void,
    sympos: usize,
) -> bindings::klp_func {
    let mut func: bindings::klp_func = pin_init::zeroed();
    func.old_name = crate::str::as_char_ptr_in_const_context(old_name);
    func.new_func = new_func;
    func.old_sympos = sympos as c_ulong;
    func
}

/// An object, in the form that C wants. `name` of `None`: vmlinux.
pub const fn object<H: Hooks>(
    name: Option<&'static CStr>,
    funcs: *mut bindings::klp_func,
) -> bindings::klp_object {
    let mut object: bindings::klp_object = pin_init::zeroed();
    if let Some(name) = name {
        object.name = crate::str::as_char_ptr_in_const_context(name);
    }
    object.funcs = funcs;
    object.callbacks = table::<H>();
    object
}

/// A patch, in the form that C wants.
pub const fn patch(
    objs: *mut bindings::klp_object,
    states: *mut bindings::klp_state,
    replace: bool,
) -> bindings::klp_patch {
    let mut patch: bindings::klp_patch = pin_init::zeroed();
    patch.objs = objs;
    patch.states = states;
    patch.replace = replace;
    patch
}

/// The relocation that writes the address of a symbol, as a word.
pub const RELOC_TYPE: u32 = if cfg!(target_arch = "x86_64") {
    1 // R_X86_64_64
} else if cfg!(target_arch = "s390x") {
    22 // R_390_64
} else if cfg!(target_arch = "powerpc64") {
    38 // R_PPC64_ADDR64
} else if cfg!(target_arch = "aarch64") {
    257 // R_AARCH64_ABS64
} else {
    2 // R_LARCH_64
};

/// Where the address of a symbol is that is not exported. A livepatch relocation writes it: for
/// vmlinux before the module is initialised, for a module while it is loaded.
#[repr(transparent)]
pub struct Address(Atomic<usize>);

impl Address {
    /// Returns the address, or 0 if there is none.
    #[inline]
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Looks whether there is an address.
    pub fn check(&self, name: &str) -> Result {
        if self.get() != 0 {
            return Ok(());
        }
        pr_err!(
            "livepatch: '{}' has no address: give the patch's module to `objtool klp post-link`\n",
            name
        );
        Err(ENOENT)
    }
}
