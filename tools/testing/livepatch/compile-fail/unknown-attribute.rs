// SPDX-License-Identifier: GPL-2.0

//! An attribute that there is not.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                #[inline] //~ ERROR: a function may have `#[sympos(<number>)]`, `#[symbol("<name>")]`, `#[original(<name>)]`, `#[cfg(<predicate>)]` and doc comments
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
