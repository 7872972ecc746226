// SPDX-License-Identifier: GPL-2.0

//! Two authors might think of this name.

use kernel::{livepatch::{livepatch, State, StateId}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    states: [One],
    objects: {
        vmlinux: {},
    },
}

struct One;

impl State for One {
    const ID: StateId = StateId::new("limit"); //~ ERROR: a name of what patches hand over begins with its author's
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_: &()) {}
    fn revert(_: &()) {}
}
