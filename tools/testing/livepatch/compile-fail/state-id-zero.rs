// SPDX-License-Identifier: GPL-2.0

//! C takes 0 for the end of the states.

use kernel::{livepatch::{livepatch, State, StateId}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    states: [Change],
    objects: {
        vmlinux: {},
    },
}

struct Change;

impl State for Change {
    // SAFETY: No other patch has it.
    const ID: StateId = unsafe { StateId::shared_with_c(0) }; //~ ERROR: the id of a state must not be 0
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_: &()) {}
    fn revert(_: &()) {}
}
