// SPDX-License-Identifier: GPL-2.0

//! A function in a header has another type.

use kernel::{bindings, livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: [
                bindings::sysfs_streq => new_streq, //~ ERROR: mismatched types
            ],
        },
    },
}

/// # Safety
///
/// Any.
unsafe extern "C" fn new_streq(_a: *const c_char, _b: *const c_void) -> bool {
    true
}
