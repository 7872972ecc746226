// SPDX-License-Identifier: GPL-2.0

//! A condition for what is always there.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        #[cfg(MODULE)] //~ ERROR: vmlinux is always there: write `#[cfg]` before what it has
        vmlinux: {},
    },
}
