// SPDX-License-Identifier: GPL-2.0

//! Shadow variables are used by several CPUs at once.

use kernel::{livepatch::{livepatch, Shadow}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    shadow: [
        A: Shadow<core::cell::Cell<u32>> = 1, //~ ERROR: `Cell<u32>` cannot be shared between threads safely
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
