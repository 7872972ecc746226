// SPDX-License-Identifier: GPL-2.0

//! Keys in another order.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    objects: { //~ ERROR: keys are not ordered as expected
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
    license: "GPL",
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
