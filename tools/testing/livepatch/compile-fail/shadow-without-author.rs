// SPDX-License-Identifier: GPL-2.0

//! Two authors might think of this name.

use kernel::{livepatch::{livepatch, Handover, SharedShadow}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    shadow: [
        A: SharedShadow<Uses> = 1, //~ ERROR: a name of what patches hand over begins with its author's
    ],
    objects: {
        vmlinux: {},
    },
}

struct Uses(u32);

// SAFETY: An integer.
unsafe impl Handover for Uses {
    const NAME: &'static str = "uses";
}
