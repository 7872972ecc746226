// SPDX-License-Identifier: GPL-2.0

//! The patch is for no object.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test", //~ ERROR: the patch is for nothing: name `vmlinux` or a module in `objects`
    license: "GPL",
    objects: {},
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
