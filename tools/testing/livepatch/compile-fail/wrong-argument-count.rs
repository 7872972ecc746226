// SPDX-License-Identifier: GPL-2.0

//! The replacement has fewer arguments.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int, y: c_int) -> c_int => new_one, //~ ERROR: mismatched types
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
