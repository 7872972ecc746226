// SPDX-License-Identifier: GPL-2.0

//! A function with `self`.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(&self) -> c_int => new_one, //~ ERROR: a function of the kernel has no `self`
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
