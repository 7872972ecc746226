// SPDX-License-Identifier: GPL-2.0

//! The patch's own state, and enabling the patch.

use super::declare::Declared;
use crate::{
    bindings,
    error::{
        code::*,
        to_result,
        Error,
        Result, //
    },
    prelude::*,
    revocable::{
        Revocable,
        RevocableGuard, //
    },
    str::CStr,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    types::Opaque,
    ThisModule, //
};
use core::marker::PhantomData;
use pin_init::PinInit;

/// A patch's own state: it replaces a module's global variables.
///
/// It is initialised when the module is loaded, before the patch is enabled, and dropped when the
/// module is unloaded, when no task uses the patch any more. [`Callbacks`](super::Callbacks) get
/// it as an argument; functions of the patch find it by [`Access::access`].
///
/// # Examples
///
/// ```
/// use kernel::{
///     livepatch::Patch,
///     new_mutex,
///     prelude::*,
///     sync::Mutex, //
/// };
///
/// /// What the patch counts.
/// #[pin_data]
/// struct Counts {
///     #[pin]
///     by_user: Mutex<KVec<(u32, usize)>>,
/// }
///
/// impl Patch for Counts {
///     fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
///         try_pin_init!(Self {
///             by_user <- new_mutex!(KVec::with_capacity(16, GFP_KERNEL)?),
///         })
///     }
/// }
/// ```
pub trait Patch: Sized + Send + Sync + 'static {
    /// Initialises the state. If it returns an error, the module is not loaded.
    ///
    /// May sleep.
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error>;

    /// Called when the patch has been disabled and no other patch has replaced it: after all tasks
    /// have used it, and all have left it again. Undo here what a later patch would otherwise take
    /// over, for example [`SharedShadow`](super::SharedShadow) variables.
    ///
    /// Not called when enabling the patch fails or is reversed, nor when another patch replaces it:
    /// these things belong to another patch then. `Drop`, which follows in any case when the module
    /// is unloaded, is for what belongs to this patch alone.
    ///
    /// May sleep. It runs with C's `klp_mutex` held, so it must not wait for a patch to be loaded
    /// or disabled.
    fn disabled(&self) {}
}

/// Access to the state of a patch from anywhere in its module.
///
/// Implemented for the `type` of [`livepatch!`](super::livepatch).
///
/// # Examples
///
/// ```ignore
/// use kernel::livepatch::Access;
///
/// /// Replaces a function of the kernel.
/// extern "C" fn live_function() -> c_int {
///     if let Some(counts) = Counts::access() {
///         counts.calls.add(1, Relaxed);
///     }
///     0
/// }
/// ```
pub trait Access: Patch + Declared {
    /// Returns the patch's state, or `None` while it is being initialised or dropped.
    ///
    /// The result holds the RCU read lock: its owner must not sleep. May be called wherever RCU is
    /// watching. Costs a few instructions, and writes nothing that other CPUs would have to fetch.
    fn access() -> Option<RevocableGuard<'static, Self>> {
        Self::slot().access()
    }
}

impl<P: Patch + Declared> Access for P {}

/// Where the state of a patch is.
///
/// # Invariants
///
/// `state` is initialised if `ready` is set, and never moves.
#[doc(hidden)]
pub struct Slot<P> {
    ready: Atomic<bool>,
    state: Opaque<Revocable<P>>,
    /// Whether all tasks have used the patch, and it is being disabled.
    leaving: Atomic<bool>,
}

// SAFETY: `state` is written once, before `ready` is set, and is `Sync` then if `P` is.
unsafe impl<P: Send + Sync> Sync for Slot<P> {}

impl<P: Patch> Slot<P> {
    /// A slot without a state.
    pub const fn empty() -> Self {
        Self {
            ready: Atomic::new(false),
            state: Opaque::uninit(),
            leaving: Atomic::new(false),
        }
    }

    /// Initialises the state.
    ///
    /// # Safety
    ///
    /// Must be called at most once.
    unsafe fn init(&'static self, module: &'static ThisModule) -> Result {
        let init = Revocable::new(P::init(module));
        // SAFETY: The memory is valid, static and not in use yet. If this fails, it counts as
        // uninitialised.
        unsafe { pin_init::raw_try_init(self.state.get(), init) }?;
        // INVARIANT: It is initialised now. Pairs with the load in `access`.
        self.ready.store(true, Release);
        Ok(())
    }

    fn access(&'static self) -> Option<RevocableGuard<'static, P>> {
        // Pairs with the store in `init`: a reader that sees the flag sees the state.
        if !self.ready.load(Acquire) {
            return None;
        }
        // SAFETY: By the invariants it is initialised.
        unsafe { &*self.state.get() }.try_access()
    }

    /// Returns the state.
    ///
    /// # Safety
    ///
    /// Only for as long as the patch is enabled, or being enabled.
    pub(super) unsafe fn get(&'static self) -> &'static P {
        // SAFETY: The state was initialised before the patch was enabled.
        let state = unsafe { &*self.state.get() };
        // SAFETY: It is dropped after the patch was disabled.
        unsafe { state.access() }
    }

    /// Sets whether all tasks have used the patch, and it is being disabled. For callbacks.
    pub(super) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Relaxed);
    }

    /// Returns what [`Self::set_leaving`] has set. For callbacks, which run one at a time.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Drops the state if there is one, once it is not in use any more. May sleep.
    fn revoke(&'static self) {
        if self.ready.load(Acquire) {
            // SAFETY: By the invariants it is initialised.
            unsafe { &*self.state.get() }.revoke();
        }
    }
}

/// A patch that is enabled, or about to be. Dropped when its module is unloaded, and when loading
/// it fails.
#[doc(hidden)]
pub struct Enabled<P: Patch + Declared>(PhantomData<P>);

impl<P: Patch + Declared> Enabled<P> {
    /// Initialises the patch's state and enables the patch. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Patch::init`] and of C's `klp_enable_patch()`, and `EINVAL`: the module is not
    /// called `name`.
    ///
    /// # Safety
    ///
    /// Must be called once, by the initialisation of `module`, which must be the patch's.
    pub unsafe fn new(module: &'static ThisModule, name: &CStr) -> Result<Self> {
        // No two loaded modules have the same name. The ids of shadow variables rely on that, and
        // on the name being the declared one.
        //
        // SAFETY: The module is valid, its name nul-terminated.
        let real = unsafe { CStr::from_char_ptr((&raw const (*module.as_ptr()).name).cast()) };
        if real != name {
            pr_err!(
                "livepatch: module {} was declared as '{}': give it the name of its file\n",
                real,
                name
            );
            return Err(EINVAL);
        }
        P::check_symbols()?;
        // From here on `drop` cleans up, including what a state made before its `init` failed.
        let this = Self(PhantomData);
        // SAFETY: Called once, by the requirement of this function.
        unsafe { P::slot().init(module) }?;
        let patch = P::patch();
        // SAFETY: No other code knows the patch before it is enabled.
        unsafe { (*patch).mod_ = module.as_ptr() };
        // SAFETY: What was declared is valid and static, and belongs to the core from now on. The
        // module cannot be unloaded before the core has released it.
        to_result(unsafe { bindings::klp_enable_patch(patch) })?;
        Ok(this)
    }
}

impl<P: Patch + Declared> Drop for Enabled<P> {
    fn drop(&mut self) {
        // First what may still run on the patch's behalf and make shadow variables.
        P::slot().revoke();
        P::pending().close(P::free_shadow);
    }
}
