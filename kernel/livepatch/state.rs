// SPDX-License-Identifier: GPL-2.0

//! States: what patches have done to the system besides replacing functions.
//!
//! A patch may name states that it brings about, each with an id and a version. A later patch can
//! look up what is there, and one that replaces all others must know how to deal with each of
//! their states.

use crate::{
    abi::{Patch, State, PATCH_LIST},
    list::RcuList,
    warn::warn_on_once, //
};
use kernel::{
    ffi::c_ulong,
    sync::rcu, //
};

use core::ptr;

/// The patches that are enabled or in transition, the oldest first, for code that cannot take
/// `klp_mutex`: a patch's callback runs with the mutex held, and may wait for a work item or a
/// thread that asks for a state.
///
/// The registry keeps it. A patch is taken off it before it is given back, which waits for readers.
///
/// Debuggers find it under the name that it has in the core in C, as a `struct list_head` of
/// `struct klp_patch`, linked by `list`.
#[export_name = "klp_patches"]
pub(crate) static PATCHES: RcuList<Patch, PATCH_LIST> = RcuList::new();

/// Returns the state of `patch` that has this id.
pub(crate) fn find(patch: &Patch, id: c_ulong) -> Option<&State> {
    patch.states().find(|state| state.id() == id)
}

/// Returns whether `patch` can deal with all states that `installed` patches have brought.
///
/// It can deal with a state that it has in the same or a later version. One that it does not have
/// stays as it is, unless the patch replaces all others.
pub(crate) fn is_compatible<'a>(
    patch: &Patch,
    mut installed: impl Iterator<Item = &'a Patch>,
) -> bool {
    installed.all(|old| {
        old.states().all(|old| match find(patch, old.id()) {
            Some(new) => new.version() >= old.version(),
            None => !patch.is_replacing(),
        })
    })
}

/// Calls `f` with the state of the newest patch that has this id, among those older than
/// `in_transition`, or with `None`. Without a transition it warns.
pub(crate) fn find_previous<R>(
    in_transition: *const Patch,
    id: c_ulong,
    f: impl FnOnce(Option<&State>) -> R,
) -> R {
    let rcu = rcu::read_lock();
    if warn_on_once!(in_transition.is_null()) {
        // Outside of a transition there is no patch that could be older than another.
        return f(None);
    }
    let older = PATCHES
        .iter(&rcu)
        .take_while(|patch| !ptr::eq(*patch, in_transition));
    f(older.filter_map(|patch| find(patch, id)).last())
}
