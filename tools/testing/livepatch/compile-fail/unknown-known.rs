// SPDX-License-Identifier: GPL-2.0

//! No header has the function.

use kernel::{bindings, livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: [
                bindings::no_such_function => new_one, //~ ERROR: cannot find value `no_such_function`
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}
