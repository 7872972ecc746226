// SPDX-License-Identifier: GPL-2.0

//! A function with generic parameters.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one<T>(x: c_int) -> c_int => new_one, //~ ERROR: a function of the kernel has no generic parameters
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
