// SPDX-License-Identifier: GPL-2.0

//! Two states of one id would have each other's data.

use kernel::{livepatch::{livepatch, State, StateId}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    states: [One, Two, Three], //~ ERROR: the patch has two states of this id
    objects: {
        vmlinux: {},
    },
}

struct One;

impl State for One {
    const ID: StateId = StateId::new("test/same");
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_: &()) {}
    fn revert(_: &()) {}
}

struct Two;

impl State for Two {
    const ID: StateId = StateId::new("test/other");
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_: &()) {}
    fn revert(_: &()) {}
}

struct Three;

impl State for Three {
    const ID: StateId = StateId::new("test/same");
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_: &()) {}
    fn revert(_: &()) {}
}
