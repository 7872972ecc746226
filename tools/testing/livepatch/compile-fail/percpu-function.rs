// SPDX-License-Identifier: GPL-2.0

//! Each CPU has its own variables, and no functions.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            symbols: unsafe [
                #[percpu] //~ ERROR: this is for variables
                unsafe extern "C" fn one(x: c_int) -> c_int,
            ],
        },
    },
}
