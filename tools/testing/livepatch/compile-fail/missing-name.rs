// SPDX-License-Identifier: GPL-2.0

//! There is no name.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    license: "GPL", //~ ERROR: missing required key "name"
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
