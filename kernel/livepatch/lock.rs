// SPDX-License-Identifier: GPL-2.0

//! `klp_mutex`, as far as types can carry it.
//!
//! The mutex owns the `Registry`, and in it the one [`Locked`]. A
//! reference to that shows that the mutex is held. Fields of patches that the mutex protects are
//! [`Protected`], and ask for it.

use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    marker::PhantomData, //
};

/// A reference to this shows that `klp_mutex` is held.
///
/// A shared reference is enough to read and to write values, one at a time. Elements of lists are
/// taken off and freed by functions that take an exclusive one, so that no references to them are
/// left.
///
/// It is not [`Sync`]: another thread has no use for a reference.
///
/// # Invariants
///
/// There is one, which `klp_mutex` protects.
pub(crate) struct Locked(PhantomData<Cell<()>>);

impl Locked {
    /// Makes the one that there is.
    ///
    /// # Safety
    ///
    /// To be called once, for what `klp_mutex` protects.
    pub(crate) const unsafe fn new() -> Self {
        // INVARIANT: By the requirement of this function.
        Self(PhantomData)
    }
}

/// A value that `klp_mutex` protects.
#[repr(transparent)]
pub(crate) struct Protected<T>(UnsafeCell<T>);

// SAFETY: Only a holder of the `Locked` uses the value: one thread at a time.
unsafe impl<T: Send> Sync for Protected<T> {}

impl<T: Copy> Protected<T> {
    /// Returns the value.
    #[inline(always)]
    pub(crate) fn get(&self, _locked: &Locked) -> T {
        // SAFETY: The mutex is held, and references to the value are not handed out.
        unsafe { *self.0.get() }
    }

    /// Replaces the value.
    #[inline(always)]
    pub(crate) fn set(&self, _locked: &Locked, value: T) {
        // SAFETY: As in `get`.
        unsafe { *self.0.get() = value };
    }
}
