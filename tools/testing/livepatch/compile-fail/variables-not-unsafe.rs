// SPDX-License-Identifier: GPL-2.0

//! What a variable of the kernel is, is a promise.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            symbols: [
                static one: c_int, //~ ERROR: write `symbols: unsafe [`
            ],
        },
    },
}
