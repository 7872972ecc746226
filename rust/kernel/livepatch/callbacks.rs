// SPDX-License-Identifier: GPL-2.0

//! Callbacks: what a patch does when one of its objects is patched and unpatched.

use super::{
    declare::Declared,
    patch::Patch, //
};
use crate::{
    bindings,
    error::Result,
    ffi::c_int,
    prelude::*,
    str::CStr,
    types::Opaque, //
};
use core::marker::PhantomData;
use macros::vtable;

/// An object that a patch is for: vmlinux, or a module.
///
/// Wraps C's `struct klp_object`.
#[repr(transparent)]
pub struct Object(Opaque<bindings::klp_object>);

impl Object {
    /// The name of the module, or `None` for vmlinux.
    pub fn module_name(&self) -> Option<&CStr> {
        // SAFETY: The structure is valid; the field is never written.
        let name = unsafe { (*self.0.get()).name };
        // SAFETY: If not null, a nul-terminated string that the patch keeps.
        (!name.is_null()).then(|| unsafe { CStr::from_char_ptr(name) })
    }

    /// What the object is called in the log and in sysfs.
    pub fn name(&self) -> &CStr {
        self.module_name().unwrap_or(c"vmlinux")
    }
}

/// Functions that are called when an object is patched and unpatched.
///
/// They are called if the object is loaded when the patch is enabled or disabled, or when it is
/// loaded and unloaded while the patch is enabled. All of them may sleep, and run with C's
/// `klp_mutex` held, so they must not wait for a patch to be loaded or disabled. All are optional.
///
/// Wraps C's `struct klp_callbacks`.
///
/// # Examples
///
/// ```
/// use kernel::{
///     livepatch::{Callbacks, Object, Patch},
///     prelude::*,
///     sync::atomic::{Atomic, Relaxed},
/// };
///
/// /// The patch's own state, the `type` of its `livepatch!`.
/// struct MyPatch {
///     objects: Atomic<u32>,
/// }
/// # impl Patch for MyPatch {
/// #     fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
/// #         Ok(Self { objects: Atomic::new(0) })
/// #     }
/// # }
///
/// /// The `callbacks` of an object.
/// struct Watch;
///
/// #[vtable]
/// impl Callbacks for Watch {
///     type Patch = MyPatch;
///
///     fn pre_patch(patch: &MyPatch, object: &Object) -> Result {
///         if patch.objects.load(Relaxed) == 10 {
///             return Err(EBUSY);
///         }
///         pr_info!("about to patch {}\n", object.name());
///         Ok(())
///     }
///
///     fn post_patch(patch: &MyPatch, _object: &Object) {
///         patch.objects.add(1, Relaxed);
///     }
/// }
/// # assert!(Watch::HAS_PRE_PATCH && Watch::HAS_POST_PATCH);
/// # assert!(!Watch::HAS_PRE_UNPATCH && !Watch::HAS_POST_UNPATCH);
/// ```
#[vtable]
pub trait Callbacks {
    /// The patch's own state, the `type` of [`livepatch!`](super::livepatch).
    type Patch: Patch;

    /// Called before the object is patched.
    ///
    /// If it returns an error, the patch is not enabled, or, if the object is a module that is
    /// being loaded, that module is not loaded. None of the other callbacks is called for the
    /// object then.
    fn pre_patch(_patch: &Self::Patch, _object: &Object) -> Result {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Called when all tasks use the object's new functions.
    fn post_patch(_patch: &Self::Patch, _object: &Object) {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Called before tasks begin to leave the object's new functions.
    ///
    /// Not called if the patch was never in use by all tasks, or is replaced.
    fn pre_unpatch(_patch: &Self::Patch, _object: &Object) {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Called when no task uses the object's new functions any more.
    ///
    /// Called whenever `pre_patch` has succeeded and what follows has not, and after `pre_unpatch`;
    /// not if the patch is replaced.
    fn post_unpatch(_patch: &Self::Patch, _object: &Object) {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }
}

/// What an object does at the four points, and at which of them it does nothing.
#[doc(hidden)]
pub trait Hooks {
    /// Which of them do something.
    const HAS: [bool; 4];

    /// # Safety
    ///
    /// For all four: `object` must be one of the patch's, and the caller must be the core.
    unsafe fn pre_patch(object: &Object) -> Result;
    /// # Safety
    ///
    /// As for `pre_patch`.
    unsafe fn post_patch(object: &Object);
    /// # Safety
    ///
    /// As for `pre_patch`.
    unsafe fn pre_unpatch(object: &Object);
    /// # Safety
    ///
    /// As for `pre_patch`.
    unsafe fn post_unpatch(object: &Object);
}

/// An object without callbacks.
#[doc(hidden)]
pub struct NoHooks;

impl Hooks for NoHooks {
    const HAS: [bool; 4] = [false; 4];

    unsafe fn pre_patch(_object: &Object) -> Result {
        Ok(())
    }
    unsafe fn post_patch(_object: &Object) {}
    unsafe fn pre_unpatch(_object: &Object) {}
    unsafe fn post_unpatch(_object: &Object) {}
}

/// An object with the callbacks `C`.
#[doc(hidden)]
pub struct WithCallbacks<C>(PhantomData<C>);

/// The patch's state, for a callback.
///
/// # Safety
///
/// The caller must be the core.
unsafe fn state<C: Callbacks>() -> &'static C::Patch
where
    C::Patch: Declared,
{
    // SAFETY: The core calls only while the patch is enabled or being enabled.
    unsafe { C::Patch::slot().get() }
}

impl<C: Callbacks> Hooks for WithCallbacks<C>
where
    C::Patch: Declared,
{
    const HAS: [bool; 4] = [
        C::HAS_PRE_PATCH,
        C::HAS_POST_PATCH,
        C::HAS_PRE_UNPATCH,
        C::HAS_POST_UNPATCH,
    ];

    unsafe fn pre_patch(object: &Object) -> Result {
        if !C::HAS_PRE_PATCH {
            return Ok(());
        }
        // SAFETY: By the requirement of this function.
        C::pre_patch(unsafe { state::<C>() }, object)
    }

    unsafe fn post_patch(object: &Object) {
        if C::HAS_POST_PATCH {
            // SAFETY: By the requirement of this function.
            C::post_patch(unsafe { state::<C>() }, object);
        }
    }

    unsafe fn pre_unpatch(object: &Object) {
        if C::HAS_PRE_UNPATCH {
            // SAFETY: By the requirement of this function.
            C::pre_unpatch(unsafe { state::<C>() }, object);
        }
    }

    unsafe fn post_unpatch(object: &Object) {
        if C::HAS_POST_UNPATCH {
            // SAFETY: By the requirement of this function.
            C::post_unpatch(unsafe { state::<C>() }, object);
        }
    }
}

/// vmlinux, in a patch with a state of its own, `P`, and the hooks `H`.
#[doc(hidden)]
pub struct WithPatch<P, H>(PhantomData<(P, H)>);

impl<P: Patch + Declared, H: Hooks> Hooks for WithPatch<P, H> {
    const HAS: [bool; 4] = [H::HAS[0], true, true, true];

    unsafe fn pre_patch(object: &Object) -> Result {
        // SAFETY: By the requirement of this function.
        unsafe { H::pre_patch(object) }
    }

    unsafe fn post_patch(object: &Object) {
        // Or in use again: disabling it was reversed.
        P::slot().set_leaving(false);
        // SAFETY: By the requirement of this function.
        unsafe { H::post_patch(object) };
    }

    unsafe fn pre_unpatch(object: &Object) {
        P::slot().set_leaving(true);
        // SAFETY: By the requirement of this function.
        unsafe { H::pre_unpatch(object) };
    }

    unsafe fn post_unpatch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::post_unpatch(object) };
        if P::slot().is_leaving() {
            P::slot().set_leaving(false);
            // SAFETY: The core calls this, so the patch has been enabled until now.
            unsafe { P::slot().get() }.disabled();
        }
    }
}

/// What C calls.
///
/// # Safety
///
/// For all four: must be called by the core, with an object of a patch that has these hooks.
unsafe extern "C" fn pre_patch<H: Hooks>(object: *mut bindings::klp_object) -> c_int {
    // SAFETY: The core passes a valid object; `Object` is a transparent wrapper.
    let object = unsafe { &*object.cast::<Object>() };
    // SAFETY: The caller is the core.
    match unsafe { H::pre_patch(object) } {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// As for `pre_patch`.
unsafe extern "C" fn post_patch<H: Hooks>(object: *mut bindings::klp_object) {
    // SAFETY: As in `pre_patch`.
    unsafe { H::post_patch(&*object.cast::<Object>()) };
}

/// # Safety
///
/// As for `pre_patch`.
unsafe extern "C" fn pre_unpatch<H: Hooks>(object: *mut bindings::klp_object) {
    // SAFETY: As in `pre_patch`.
    unsafe { H::pre_unpatch(&*object.cast::<Object>()) };
}

/// # Safety
///
/// As for `pre_patch`.
unsafe extern "C" fn post_unpatch<H: Hooks>(object: *mut bindings::klp_object) {
    // SAFETY: As in `pre_patch`.
    unsafe { H::post_unpatch(&*object.cast::<Object>()) };
}

/// The structure that C expects.
pub(super) const fn table<H: Hooks>() -> bindings::klp_callbacks {
    let mut callbacks: bindings::klp_callbacks = pin_init::zeroed();
    let [has_pre_patch, has_post_patch, has_pre_unpatch, has_post_unpatch] = H::HAS;
    if has_pre_patch {
        callbacks.pre_patch = Some(pre_patch::<H>);
    }
    if has_post_patch {
        callbacks.post_patch = Some(post_patch::<H>);
    }
    if has_pre_unpatch {
        callbacks.pre_unpatch = Some(pre_unpatch::<H>);
    }
    if has_post_unpatch {
        callbacks.post_unpatch = Some(post_unpatch::<H>);
    }
    callbacks
}
