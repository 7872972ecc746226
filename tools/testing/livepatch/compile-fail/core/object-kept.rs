// SPDX-License-Identifier: GPL-2.0

//! An object is used after those of its patch were freed.

use crate::{abi::Patch, lock::Locked};

pub(crate) fn test(locked: &mut Locked, patch: &Patch) -> bool {
    let first = patch.objects(locked).next();
    patch.unlink(locked, false); //~ ERROR: cannot borrow `*locked` as mutable
    first.is_some_and(|object| object.is_patched())
}
