// SPDX-License-Identifier: GPL-2.0

//! States: what patches have done to the system besides replacing functions.
//!
//! A patch may name states that it brings about, each with an id and a version. A later patch can
//! look up what is there, and one that replaces all others must know how to deal with each of
//! their states.

use crate::{
    abi::Patch,
    klp::{self, Registry},
    transition,
};
use kernel::{
    bindings,
    ffi::c_ulong,
    prelude::*,
    sync::rcu, //
};

use core::ptr;

/// Returns the state of `patch` that has this id.
fn find(patch: &Patch, id: c_ulong) -> Option<*mut bindings::klp_state> {
    // SAFETY: The state is one of the patch's.
    patch.states().find(|&state| unsafe { (*state).id } == id)
}

/// Returns whether `patch` can deal with all states that the accepted patches have brought.
///
/// It can deal with a state that it has in the same or a later version. One that it does not have
/// stays as it is, unless the patch replaces all others.
pub(crate) fn is_compatible(registry: &Registry, patch: &Patch) -> bool {
    registry.patches().all(|old| {
        old.states().all(|old_state| {
            // SAFETY: The state is one of an accepted patch's.
            let (id, version) = unsafe { ((*old_state).id, (*old_state).version) };
            match find(patch, id) {
                // SAFETY: The state is one of the patch's.
                Some(state) => unsafe { (*state).version >= version },
                None => !patch.is_replacing(),
            }
        })
    })
}

/// Returns the state of the newest patch that has this id, among those older than the one in
/// transition.
fn find_previous(id: c_ulong) -> *mut bindings::klp_state {
    let rcu = rcu::read_lock();
    let in_transition = transition::patch();
    if klp::warn_on_once!(in_transition.is_null()) {
        // Outside of a transition there is no patch that could be older than another.
        return ptr::null_mut();
    }
    klp::patches_rcu(&rcu)
        .take_while(|patch| !ptr::eq(patch.as_ptr(), in_transition))
        .filter_map(|patch| find(patch, id))
        .last()
        .unwrap_or(ptr::null_mut())
}

/// Returns the state of `patch` that has this id, or null.
///
/// For callbacks and for code of the patch itself. Takes no lock; may be called in any context.
///
/// # Safety
///
/// `patch` must be null or a patch of the module that is calling.
#[export]
unsafe extern "C" fn klp_get_state(
    patch: *mut bindings::klp_patch,
    id: c_ulong,
) -> *mut bindings::klp_state {
    // SAFETY: The caller gives its own patch.
    let Some(patch) = (unsafe { Patch::from_ptr(patch) }) else {
        return ptr::null_mut();
    };
    find(patch, id).unwrap_or(ptr::null_mut())
}

/// Returns the newest state of this id that the patches which are already installed have brought,
/// or null.
///
/// For callbacks, and for those that a callback waits for. Takes no lock but RCU's; may be called
/// in any context. Outside of a transition it warns and returns null.
///
/// The state belongs to the patch that has brought it, and may go with it when the transition ends.
///
/// # Safety
///
/// May be called with any id.
#[export]
unsafe extern "C" fn klp_get_prev_state(id: c_ulong) -> *mut bindings::klp_state {
    find_previous(id)
}
