// SPDX-License-Identifier: GPL-2.0

//! An id for two types, one of which is there under a condition.

use kernel::{livepatch::{livepatch, Shadow}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    shadow: [
        _NUMBER: Shadow<usize> = 1,
        #[cfg(MODULE)]
        _POINTER: Shadow<&'static u8> = 1, //~ ERROR: the id stands for two types of shadow variables
    ],
    objects: {
        vmlinux: {},
    },
}
