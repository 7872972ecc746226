// SPDX-License-Identifier: GPL-2.0

//! Positions are counted from 1, also where 0 is said twice.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                #[sympos(0)] //~ ERROR: `sympos` counts from 1; leave it out where the name is unique
                extern "C" fn one(x: c_int) -> c_int => new_one,
                #[sympos(0)]
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
