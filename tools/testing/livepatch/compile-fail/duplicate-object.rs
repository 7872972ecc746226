// SPDX-License-Identifier: GPL-2.0

//! An object is there twice.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        ext4: {}, //~ ERROR: it is here for the first time
        ext4: {}, //~ ERROR: the object `ext4` is there twice
    },
}
