// SPDX-License-Identifier: GPL-2.0

//! There is no such replacement.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => no_such_function, //~ ERROR: cannot find value `no_such_function`
            ],
        },
    },
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
