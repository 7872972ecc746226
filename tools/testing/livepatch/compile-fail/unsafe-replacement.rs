// SPDX-License-Identifier: GPL-2.0

//! The replacement has requirements that the declaration has not.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => new_one, //~ ERROR: expected safe fn, found unsafe fn
            ],
        },
    },
}

/// # Safety
///
/// Never call it.
unsafe extern "C" fn new_one(x: c_int) -> c_int {
    x
}
