// SPDX-License-Identifier: GPL-2.0

//! There are no objects.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test", //~ ERROR: missing required key "objects"
    license: "GPL",
}

extern "C" fn _new_one(x: c_int) -> c_int {
    x
}
