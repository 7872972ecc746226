// SPDX-License-Identifier: GPL-2.0

//! A state of no patch cannot be read.

use kernel::{
    livepatch::{livepatch, ReadState, State, StateId},
    prelude::*,
};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                extern "C" fn one(x: c_int) -> c_int => new_one,
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    Something::read(|data| *data).unwrap_or(x) //~ ERROR: no function or associated item named `read` found
}

struct Something;

impl State for Something {
    const ID: StateId = StateId::new("test/something");
    const VERSION: u32 = 1;
    type Data = i32;

    fn prepare() -> Result<i32> {
        Ok(1)
    }
    fn apply(_data: &i32) {}
    fn revert(_data: &i32) {}
}
