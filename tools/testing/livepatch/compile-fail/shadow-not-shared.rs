// SPDX-License-Identifier: GPL-2.0

//! What is handed over to another patch has to be made for it.

use kernel::{livepatch::{livepatch, SharedShadow}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    shadow: [
        A: SharedShadow<u32> = 1, //~ ERROR: the trait bound `u32: Handover` is not satisfied
    ],
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
