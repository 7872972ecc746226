// SPDX-License-Identifier: GPL-2.0

//! Where the type is known, nothing is promised.

use kernel::{bindings, livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: unsafe [ //~ ERROR: nothing is declared here: write `functions: [`
                bindings::sysfs_streq => new_streq,
            ],
        },
    },
}

/// # Safety
///
/// Any.
unsafe extern "C" fn _new_streq(_a: *const c_char, _b: *const c_char) -> bool {
    true
}
