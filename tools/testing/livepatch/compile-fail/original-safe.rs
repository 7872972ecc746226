// SPDX-License-Identifier: GPL-2.0

//! The original is called only where it is known to be there.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                #[original(old_one)]
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    old_one(x) //~ ERROR: call to unsafe function `old_one` is unsafe
}
