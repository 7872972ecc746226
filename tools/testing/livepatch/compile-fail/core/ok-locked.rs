// SPDX-License-Identifier: GPL-2.0

//! With the lock, fields can be read and written while a list is walked.

use crate::{abi::Patch, lock::Locked};

pub(crate) fn test(locked: &mut Locked, patch: &Patch) {
    for object in patch.objects(locked) {
        for func in object.funcs(locked) {
            func.set_patched(locked, !func.is_patched(locked));
        }
    }
    patch.unlink(locked, true);
}
