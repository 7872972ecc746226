// SPDX-License-Identifier: GPL-2.0

//! What a function of the kernel looks like is the author's promise.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: [
                extern "C" fn one(x: c_int) -> c_int => new_one, //~ ERROR: no compiler can check what a function of the kernel looks like: write `functions: unsafe [`
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
