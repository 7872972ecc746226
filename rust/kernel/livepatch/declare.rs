// SPDX-License-Identifier: GPL-2.0

//! What [`livepatch!`](super::livepatch) expands to. Not for use by hand.

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
use super::{
    callbacks::{
        table,
        Hooks, //
    },
    patch::Patch,
};
use crate::{
    bindings,
    ffi::{
        c_ulong,
        c_void, //
    },
    str::CStr,
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
