// SPDX-License-Identifier: GPL-2.0

//! Callbacks are given the patch's own state.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            callbacks: Watch, //~ ERROR: callbacks are given the patch's own state: say `type: <its type>` first
        },
    },
}

struct Watch;
