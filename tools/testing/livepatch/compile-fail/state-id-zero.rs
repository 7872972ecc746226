// SPDX-License-Identifier: GPL-2.0

//! C takes 0 for the end of the states.

use kernel::{livepatch::{livepatch, State}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    states: [Change], //~ ERROR: the id of a state must not be 0
    objects: {
        vmlinux: {},
    },
}

struct Change;

impl State for Change {
    const ID: usize = 0;
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_: &()) {}
    fn revert(_: &()) {}
}
