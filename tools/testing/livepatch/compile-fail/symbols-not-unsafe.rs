// SPDX-License-Identifier: GPL-2.0

//! What a function that is not exported looks like is the author's promise, too.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            symbols: [
                unsafe extern "C" fn one(x: c_int) -> c_int, //~ ERROR: no compiler can check what a function of the kernel looks like: write `symbols: unsafe [`
            ],
        },
    },
}
