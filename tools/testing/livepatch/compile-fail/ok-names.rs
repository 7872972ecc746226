// SPDX-License-Identifier: GPL-2.0

//! Names of the kernel that are none of Rust.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        "8021q": {
            // SAFETY: As in the kernel.
            functions: unsafe [
                #[symbol("one.isra.0")]
                extern "C" fn one(x: c_int) -> c_int => new_one,
                #[symbol("one.isra.0")]
                #[sympos(2)]
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
        r#mod: {},
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
