// SPDX-License-Identifier: GPL-2.0

//! Nothing is wrong with this one: it shows that the others fail for their reason.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => new_one,
                #[sympos(2)]
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
