// SPDX-License-Identifier: GPL-2.0

//! One id for two types of shadow variables.

use kernel::{livepatch::{livepatch, Shadow}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    shadow: [
        A: Shadow<u32> = 1, //~ ERROR: it is here for the first time
        B: Shadow<u64> = 0x1, //~ ERROR: the id 0x1 stands for two types of shadow variables
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

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
