// SPDX-License-Identifier: GPL-2.0

//! The registry is changed without taking the mutex.

use crate::{abi::Patch, registry::KLP_MUTEX};

pub(crate) fn test(patch: &Patch) {
    let _ = KLP_MUTEX.force(patch); //~ ERROR: no method named `force` found
}
