// SPDX-License-Identifier: GPL-2.0

//! What an author has written says nothing of the kernel.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: [
                mine::cmdline_proc_show => new_one, //~ ERROR: a function is given as its declaration, or as `bindings::<name>` if a header has it
            ],
        },
    },
}

mod mine {
    pub(super) extern "C" fn cmdline_proc_show(_: u64) {}
}

extern "C" fn _new_one(_: u64) {}
