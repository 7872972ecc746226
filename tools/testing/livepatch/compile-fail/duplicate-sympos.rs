// SPDX-License-Identifier: GPL-2.0

//! The first of a name is the one that is unique.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => new_one, //~ ERROR: it is here for the first time
                #[sympos(1)]
                extern "C" fn one(x: c_int) -> c_int => new_one, //~ ERROR: `one` of `vmlinux` is replaced twice
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
