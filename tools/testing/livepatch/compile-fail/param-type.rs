// SPDX-License-Identifier: GPL-2.0

//! A parameter that no string can be read as.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    params: {
        one: Atomic<char> { //~ ERROR: the trait bound `char: Param` is not satisfied
            default: 'x', //~ ERROR: the trait bound `char: AtomicType` is not satisfied
            description: "one",
        },
    },
    objects: {
        vmlinux: {},
    },
}
