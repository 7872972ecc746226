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
        WithCallbacks,
        WithPatch, //
    },
    original::{
        by_pointer,
        forget,
        resolve,
        unknown,
        Behind,
        Originals,
        WithOriginals, //
    },
    patch::{
        Enabled,
        Slot, //
    },
    shadow::{
        check_shadow_id,
        Owner,
        Pending, //
    },
    state::{
        check_id,
        declare as state,
        Placed,
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
pub unsafe trait Declared: Sized + Owner {
    /// Where the state of the patch is.
    fn slot() -> &'static Slot<Self>
    where
        Self: Patch;

    /// The patch that C knows.
    fn patch() -> *mut bindings::klp_patch;

    /// Checks whether the addresses of all symbols of vmlinux are known.
    fn check_symbols() -> Result;

    /// Frees the shadow variables that only this patch can find.
    fn free_shadow();
}

/// A part of the declaration. It belongs to the core from when the patch is enabled.
#[repr(transparent)]
pub struct Part<T>(Opaque<T>);

// SAFETY: The core protects its parts by a lock of its own; before the patch is enabled only the
// module's initialisation uses them.
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

/// A replacement that an author has written.
///
/// # Safety
///
/// To be implemented by [`livepatch!`](super::livepatch): `target` must return the function whose
/// type is passed to [`wrapper`].
pub unsafe trait Replacement: 'static {
    /// Its number in the patch.
    const NUMBER: usize;

    /// The function.
    fn target() -> *const ();
}

/// A type of functions in C, with what the kernel calls for the replacement `M` of that type.
pub trait Signature<M>: Copy {
    /// Calls the replacement, and keeps a frame on the stack until that returns.
    ///
    /// If the last thing that the replacement does is to call another function, the compiler makes
    /// a jump of that, and the replacement has no frame any more while the task is in there, and
    /// counts as having left the patch. The wrapper ends with something else.
    const WRAPPER: Self;
}

/// Keeps the caller from ending in a jump, and from being merged with others that do the same.
#[inline(always)]
fn keep_frame<M: Replacement>() {
    // SAFETY: Only a comment for the assembler; it just has to be there.
    unsafe {
        core::arch::asm!(
            "/* {} */",
            const M::NUMBER,
            options(nomem, nostack, preserves_flags)
        )
    };
}

macro_rules! signatures {
    ($($type:ident $arg:ident)*) => {
        signatures!(@one
            [#[doc = "# Safety\n\nAs for the replacement."]]
            [unsafe extern "C" fn] $($type $arg)*);
        signatures!(@one [] [extern "C" fn] $($type $arg)*);
        signatures!(@rest $($type $arg)*);
    };
    (@rest) => {};
    (@rest $first:ident $first_arg:ident $($type:ident $arg:ident)*) => {
        signatures!($($type $arg)*);
    };
    (@one [$($docs:tt)*] [$($fn:tt)*] $($type:ident $arg:ident)*) => {
        impl<M: Replacement, R, $($type),*> Signature<M> for $($fn)* ($($type),*) -> R {
            const WRAPPER: Self = {
                $($docs)*
                $($fn)* wrapper<M: Replacement, R, $($type),*>($($arg: $type),*) -> R {
                    type Target<R, $($type),*> = unsafe extern "C" fn($($type),*) -> R;
                    let target = M::target();
                    // SAFETY: By the contract of `Replacement` it has this type.
                    let target: Target<R, $($type),*> = unsafe { core::mem::transmute(target) };
                    // SAFETY: By the requirement of this function, if it is unsafe.
                    let result = unsafe { target($($arg),*) };
                    keep_frame::<M>();
                    result
                }
                wrapper::<M, R, $($type),*>
            };
        }
    };
}
signatures!(A a B b C c D d E e F f G g H h I i J j K k L l);

/// What the kernel is to call for the replacement `M`, whose type is that of `_replacement`.
pub const fn wrapper<M: Replacement, F: Signature<M>>(_replacement: F) -> F {
    F::WRAPPER
}

/// A replaced function, in the form that C expects. `sympos` of 0: the name is unique.
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

/// An object, in the form that C expects. `name` of `None`: vmlinux.
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

/// A patch, in the form that C expects.
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

/// The relocation that writes the distance to a symbol, behind the code of a jump.
#[cfg(target_arch = "x86_64")]
pub const JUMP_RELOC_TYPE: u32 = 4; // R_X86_64_PLT32

/// The address of a symbol that is not exported. A livepatch relocation writes it: for vmlinux
/// before the module is initialised, for a module while it is loaded.
#[repr(transparent)]
pub struct Address(Atomic<usize>);

impl Address {
    /// Returns the address, or 0 if there is none.
    #[inline]
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Checks whether there is an address.
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
