// SPDX-License-Identifier: GPL-2.0

//! A condition for a parameter that `module!` makes.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    params: {
        #[cfg(MODULE)] //~ ERROR: parameters have attributes here if they are `Atomic`
        one: u32 {
            default: 1,
            description: "one",
        },
    },
    objects: {
        vmlinux: {},
    },
}
