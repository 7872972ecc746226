// SPDX-License-Identifier: GPL-2.0

//! The type of a function in a header is known.

use kernel::{bindings, livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: [
                bindings::sysfs_streq => new_streq,
            ],
        },
    },
}

/// # Safety
///
/// Any.
unsafe extern "C" fn new_streq(_a: *const c_char, _b: *const c_char) -> bool {
    true
}
