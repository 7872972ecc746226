// SPDX-License-Identifier: GPL-2.0

//! The argument of the replacement has another type.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_long) -> c_int => new_one, //~ ERROR: expected fn pointer `extern "C" fn(isize) -> _`
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
