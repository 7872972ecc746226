// SPDX-License-Identifier: GPL-2.0

//! A function with variable arguments.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                unsafe extern "C" fn one(x: c_int, ...) -> c_int => new_one, //~ ERROR: a function with variable arguments cannot be replaced by one in Rust
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
