// SPDX-License-Identifier: GPL-2.0

//! States come and go with vmlinux.

use kernel::{livepatch::{livepatch, State, StateId}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    states: [Change], //~ ERROR: states come and go with vmlinux: add `vmlinux: {}` to `objects`
    objects: {
        ext4: {},
    },
}

struct Change;

impl State for Change {
    const ID: StateId = StateId::new("test/change");
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_: &()) {}
    fn revert(_: &()) {}
}
