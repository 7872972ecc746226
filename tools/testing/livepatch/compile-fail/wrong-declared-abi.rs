// SPDX-License-Identifier: GPL-2.0

//! The declaration has the ABI of Rust.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                fn one(x: c_int) -> c_int => new_one, //~ ERROR: functions of the kernel have the ABI of C: write `extern "C" fn`
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
