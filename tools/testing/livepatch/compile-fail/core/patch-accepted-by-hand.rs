// SPDX-License-Identifier: GPL-2.0

//! A patch is taken for an accepted one, without a reference to its module.

use crate::abi::{Accepted, Patch};
use kernel::sync::atomic::Atomic;

pub(crate) fn test(patch: &Patch) -> Accepted {
    Accepted {
        free: None, //~ ERROR: field `free` of struct `Accepted` is private
        patch: patch.into(),
        transition_millis: Atomic::new(0),
    }
}
