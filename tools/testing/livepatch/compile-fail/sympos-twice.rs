// SPDX-License-Identifier: GPL-2.0

//! Two positions for one function.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                #[sympos(1)]
                #[sympos(2)] //~ ERROR: this is given twice
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
