// SPDX-License-Identifier: GPL-2.0

//! States: what a patch does to the system besides replacing functions.

use super::{
    callbacks::{
        Hooks,
        Object, //
    },
    declare::Declared,
    Handover,
};
use crate::{
    bindings,
    error::{
        code::*,
        Result, //
    },
    ffi::c_ulong,
    prelude::*, //
};
use core::marker::PhantomData;

/// Data that fit where C keeps those of a state: one word.
///
/// Implemented for integers, for `()`, and for a [`KBox`] of what can be handed over. A patch in C
/// that has the state finds an integer, or a pointer of `kmalloc()`, in `klp_state::data`.
///
/// # Safety
///
/// `take` must be sound for each word that `into_word` has returned in any patch that has the same
/// state, and for any other word a patch in C may have left there.
pub unsafe trait StateData: Sized {
    /// Gives the data away.
    fn into_word(self) -> usize;

    /// Takes the data, if there are any, and leaves what stands for none.
    ///
    /// # Safety
    ///
    /// `word` must be the data of a state of this type, and nobody else use it.
    unsafe fn take(word: &mut usize) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        // SAFETY: All words make sense.
        unsafe impl StateData for $type {
            fn into_word(self) -> usize {
                self as usize
            }
            unsafe fn take(word: &mut usize) -> Option<Self> {
                Some(*word as $type)
            }
        }
    )*};
}
integers!(u8, u16, u32, usize, i8, i16, i32, isize);

// SAFETY: The word is not looked at.
unsafe impl StateData for () {
    fn into_word(self) -> usize {
        0
    }
    unsafe fn take(_word: &mut usize) -> Option<Self> {
        Some(())
    }
}

// SAFETY: The word is a pointer that `into_word` has made or null; that other patches with the
// state do the same is what `Handover` promises.
unsafe impl<T: Handover> StateData for KBox<T> {
    fn into_word(self) -> usize {
        KBox::into_raw(self) as usize
    }
    unsafe fn take(word: &mut usize) -> Option<Self> {
        let data = core::mem::replace(word, 0) as *mut T;
        // SAFETY: If not null, it was made by `into_word`, or by `kmalloc()` in C.
        (!data.is_null()).then(|| unsafe { KBox::from_raw(data) })
    }
}

/// What the patch that is replaced has left of a state.
pub struct Old<D> {
    /// The version of the state in that patch.
    pub version: u32,
    /// The data, if it has left any. Of integers it always has: what it did not write is 0.
    pub data: Option<D>,
}

/// A change of the system that a patch brings about besides replacing functions.
///
/// The functions here are called together with the callbacks of vmlinux, one after the other:
///
/// - before functions are replaced, [`prepare`](Self::prepare) gets together what is needed;
/// - when all tasks use the patch, [`apply`](Self::apply) makes the change, or, if the patch
///   replaces one that has made it, [`take_over`](Self::take_over) takes it over;
/// - before tasks begin to leave the patch, [`revert`](Self::revert) undoes it. The data are
///   dropped when all have.
///
/// A patch that replaces others must have their states, in the same or a later version; else it is
/// refused. One that does not replace what is there cannot have a state that is there already.
///
/// All may sleep. They must not wait for a patch to be loaded or disabled.
///
/// Wraps C's `struct klp_state` and `klp_get_prev_state()`.
///
/// # Examples
///
/// ```
/// use kernel::{
///     livepatch::{Old, State},
///     prelude::*,
///     sync::atomic::{Atomic, Relaxed},
/// };
///
/// /// Something that others use.
/// static LIMIT: Atomic<i32> = Atomic::new(7);
///
/// /// Raises the limit for as long as the patch is enabled.
/// struct HigherLimit;
///
/// impl State for HigherLimit {
///     const ID: usize = 1;
///     const VERSION: u32 = 2;
///     /// What the limit was before.
///     type Data = i32;
///
///     fn prepare() -> Result<i32> {
///         Ok(LIMIT.load(Relaxed))
///     }
///
///     fn apply(_before: &i32) {
///         LIMIT.store(15, Relaxed);
///     }
///
///     fn take_over(new: i32, old: Old<i32>) -> i32 {
///         if old.version < 2 {
///             // It was raised less.
///             LIMIT.store(15, Relaxed);
///         }
///         old.data.unwrap_or(new)
///     }
///
///     fn revert(before: &i32) {
///         LIMIT.store(*before, Relaxed);
///     }
/// }
///
/// // What happens when the patch is enabled and disabled:
/// let before = HigherLimit::prepare()?;
/// HigherLimit::apply(&before);
/// assert_eq!(LIMIT.load(Relaxed), 15);
/// HigherLimit::revert(&before);
/// assert_eq!(LIMIT.load(Relaxed), 7);
/// # let old = Old { version: 1, data: Some(3) };
/// # assert_eq!(HigherLimit::take_over(7, old), 3);
/// # Ok::<(), Error>(())
/// ```
pub trait State: 'static {
    /// What the state is called, in this patch and those that follow. Not 0.
    const ID: usize;

    /// The version of the state. A later version knows how to deal with all earlier ones.
    const VERSION: u32;

    /// What it takes to make and to undo the change.
    type Data: StateData;

    /// Gets together what is needed to make the change, and to undo it, without making it.
    ///
    /// An error refuses the patch.
    fn prepare() -> Result<Self::Data>;

    /// Makes the change.
    fn apply(data: &Self::Data);

    /// Takes over the change that a patch has made which is replaced, and returns the data with
    /// which it is undone. `new` is what [`prepare`](Self::prepare) has made.
    ///
    /// Unless it is overridden, nothing is to be changed, and the old data remain.
    fn take_over(new: Self::Data, old: Old<Self::Data>) -> Self::Data {
        old.data.unwrap_or(new)
    }

    /// Undoes the change.
    fn revert(data: &Self::Data);
}

/// The structure that C wants.
#[doc(hidden)]
pub const fn declare<S: State>() -> bindings::klp_state {
    assert!(S::ID != 0, "the id of a state must not be 0");
    let mut state: bindings::klp_state = pin_init::zeroed();
    state.id = S::ID as c_ulong;
    state.version = S::VERSION;
    state
}

/// Where the data of the state `S` of `patch` are.
///
/// # Safety
///
/// `patch` must be a patch that has the state, and a callback of it must be running.
unsafe fn word<'a, S: State>(patch: *mut bindings::klp_patch) -> &'a mut usize {
    // SAFETY: The patch is valid.
    let state = unsafe { bindings::klp_get_state(patch, S::ID as c_ulong) };
    // SAFETY: The patch has the state. Callbacks run one at a time, and nobody else uses the data.
    // A pointer can be looked at as a word.
    unsafe { &mut *(&raw mut (*state).data).cast::<usize>() }
}

/// Looks at data without taking them.
///
/// # Safety
///
/// As for [`StateData::take`].
unsafe fn look<D: StateData>(word: &mut usize, f: impl FnOnce(&D)) {
    // SAFETY: By the requirement of this function.
    if let Some(data) = unsafe { D::take(word) } {
        f(&data);
        *word = data.into_word();
    }
}

/// The states of a patch, `(A, (B, ()))`.
///
/// # Safety
///
/// For all functions: `patch` must be a patch that has these states, and a callback of its vmlinux
/// object must be running.
#[doc(hidden)]
pub trait States {
    /// Before functions are replaced.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn prepare(patch: *mut bindings::klp_patch) -> Result;

    /// When all tasks use the patch.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn apply(patch: *mut bindings::klp_patch);

    /// Before tasks begin to leave the patch.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn revert(patch: *mut bindings::klp_patch);

    /// When all tasks have left the patch.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn discard(patch: *mut bindings::klp_patch);
}

impl States for () {
    unsafe fn prepare(_patch: *mut bindings::klp_patch) -> Result {
        Ok(())
    }
    unsafe fn apply(_patch: *mut bindings::klp_patch) {}
    unsafe fn revert(_patch: *mut bindings::klp_patch) {}
    unsafe fn discard(_patch: *mut bindings::klp_patch) {}
}

impl<S: State, Rest: States> States for (S, Rest) {
    unsafe fn prepare(patch: *mut bindings::klp_patch) -> Result {
        // SAFETY: A callback is running, in the transition that enables the patch.
        let old = unsafe { bindings::klp_get_prev_state(S::ID as c_ulong) };
        // SAFETY: The patch is valid; nobody writes the field.
        if !old.is_null() && !unsafe { (*patch).replace } {
            pr_err!(
                "livepatch: state {} is there; only a patch that replaces can take it over\n",
                S::ID
            );
            return Err(EBUSY);
        }
        let data = S::prepare()?;
        // SAFETY: By the requirement of this function.
        let word = unsafe { word::<S>(patch) };
        *word = data.into_word();
        // SAFETY: By the requirement of this function.
        unsafe { Rest::prepare(patch) }.inspect_err(|_| {
            // SAFETY: They were put there above.
            drop(unsafe { S::Data::take(word) });
        })
    }

    unsafe fn apply(patch: *mut bindings::klp_patch) {
        // SAFETY: By the requirement of this function.
        let word = unsafe { word::<S>(patch) };
        // SAFETY: `prepare` put them there, or `apply`.
        if let Some(data) = unsafe { S::Data::take(word) } {
            // SAFETY: A callback is running, in a transition of the patch.
            let old = unsafe { bindings::klp_get_prev_state(S::ID as c_ulong).as_mut() };
            let data = match old {
                None => {
                    S::apply(&data);
                    data
                }
                Some(old) => {
                    let version = old.version;
                    // SAFETY: A pointer can be looked at as a word. The patch that the state is of
                    // is replaced: no callback of it will run any more.
                    let left = unsafe { S::Data::take(&mut *(&raw mut old.data).cast::<usize>()) };
                    S::take_over(
                        data,
                        Old {
                            version,
                            data: left,
                        },
                    )
                }
            };
            *word = data.into_word();
        }
        // SAFETY: By the requirement of this function.
        unsafe { Rest::apply(patch) };
    }

    unsafe fn revert(patch: *mut bindings::klp_patch) {
        // In the order that is opposite to that of `apply`.
        //
        // SAFETY: By the requirement of this function.
        unsafe { Rest::revert(patch) };
        // SAFETY: `apply` put the data there.
        unsafe { look::<S::Data>(word::<S>(patch), S::revert) };
    }

    unsafe fn discard(patch: *mut bindings::klp_patch) {
        // SAFETY: By the requirement of this function.
        unsafe { Rest::discard(patch) };
        // SAFETY: `prepare` put them there, or `apply`.
        drop(unsafe { S::Data::take(word::<S>(patch)) });
    }
}

/// vmlinux, in a patch `P` that has the states `L`, and the hooks `H` besides.
#[doc(hidden)]
pub struct WithStates<P, L, H>(PhantomData<(P, L, H)>);

impl<P: Declared, L: States, H: Hooks> Hooks for WithStates<P, L, H> {
    const HAS: [bool; 4] = [true; 4];

    unsafe fn pre_patch(object: &Object) -> Result {
        // SAFETY: By the requirement of this function.
        unsafe { L::prepare(P::patch()) }?;
        // SAFETY: As above.
        unsafe { H::pre_patch(object) }.inspect_err(|_| {
            // SAFETY: As above. Nobody will call `post_unpatch`.
            unsafe { L::discard(P::patch()) };
        })
    }

    unsafe fn post_patch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { L::apply(P::patch()) };
        // SAFETY: As above.
        unsafe { H::post_patch(object) };
    }

    unsafe fn pre_unpatch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::pre_unpatch(object) };
        // SAFETY: As above.
        unsafe { L::revert(P::patch()) };
    }

    unsafe fn post_unpatch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::post_unpatch(object) };
        // SAFETY: As above.
        unsafe { L::discard(P::patch()) };
    }
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_livepatch_state)]
mod tests {
    use super::*;

    fn round<D: StateData>(data: D) -> Option<D> {
        let mut word = data.into_word();
        // SAFETY: The word is that of the data.
        unsafe { D::take(&mut word) }
    }

    #[test]
    fn integers_come_back() {
        assert_eq!(round(-7i32), Some(-7));
        assert_eq!(round(i32::MIN), Some(i32::MIN));
        assert_eq!(round(200u8), Some(200));
        assert_eq!(round(usize::MAX), Some(usize::MAX));
        assert_eq!(round(-1isize), Some(-1));
        assert_eq!(round(()), Some(()));
    }

    #[repr(C)]
    struct Pair(u32, u64);

    // SAFETY: No patch uses it.
    unsafe impl Handover for Pair {}

    #[test]
    fn boxes_are_taken_once() -> Result {
        let mut word = KBox::new(Pair(1, 2), GFP_KERNEL)?.into_word();
        let mut seen = 0;
        // SAFETY: The word is that of the data.
        unsafe { look::<KBox<Pair>>(&mut word, |pair| seen = pair.1) };
        assert_eq!(seen, 2);
        // SAFETY: As above.
        let taken = unsafe { KBox::<Pair>::take(&mut word) };
        assert!(taken.is_some_and(|pair| pair.0 == 1));
        // SAFETY: As above.
        assert!(unsafe { KBox::<Pair>::take(&mut word) }.is_none());
        // SAFETY: As above.
        unsafe { look::<KBox<Pair>>(&mut word, |_| seen = 0) };
        assert_eq!(seen, 2);
        Ok(())
    }

    struct Sample;

    impl State for Sample {
        const ID: usize = 5;
        const VERSION: u32 = 3;
        type Data = u32;

        fn prepare() -> Result<u32> {
            Ok(1)
        }
        fn apply(_data: &u32) {}
        fn revert(_data: &u32) {}
    }

    #[test]
    fn old_data_are_kept() {
        const STATE: bindings::klp_state = declare::<Sample>();
        assert_eq!((STATE.id, STATE.version), (5, 3));
        let old = |data| Old { version: 1, data };
        assert_eq!(Sample::take_over(1, old(Some(9))), 9);
        assert_eq!(Sample::take_over(1, old(None)), 1);
    }
}
