// SPDX-License-Identifier: GPL-2.0

//! The replacement returns something else.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> bool => new_one, //~ ERROR: expected fn pointer `extern "C" fn(_) -> bool`
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
