// SPDX-License-Identifier: GPL-2.0

//! A key that there is not.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    replaces: true, //~ ERROR: unknown key "replaces"
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
