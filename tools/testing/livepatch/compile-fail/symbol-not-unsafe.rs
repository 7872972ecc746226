// SPDX-License-Identifier: GPL-2.0

//! Nobody checks how a function is used that is not exported.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in fs/proc/uptime.c.
            symbols: unsafe [
                extern "C" fn one(x: c_int) -> c_int, //~ ERROR: what the kernel does not export is called at the caller's risk: write `unsafe`
            ],
        },
    },
}
