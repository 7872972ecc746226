// SPDX-License-Identifier: GPL-2.0

//! Entries may be there under conditions, so that two are for the same function.

use kernel::{
    livepatch::{livepatch, Shadow, State, StateId},
    prelude::*,
};

livepatch! {
    name: "test",
    license: "GPL",
    states: [
        #[cfg(MODULE)]
        #[cfg(not(MODULE))]
        Nothing,
        #[cfg(MODULE)]
        Something,
    ],
    shadow: [
        #[cfg(MODULE)]
        _COUNT: Shadow<u32> = 1,
        #[cfg(not(MODULE))]
        _COUNT: Shadow<u64> = 1,
    ],
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                #[cfg(MODULE)]
                extern "C" fn one(x: c_int) -> c_int => new_one,
                #[cfg(not(MODULE))]
                extern "C" fn one() => other_one,
            ],
            // SAFETY: As in the kernel.
            symbols: unsafe [
                #[cfg(not(MODULE))]
                static two: Missing,
            ],
        },
        #[cfg(not(MODULE))]
        some_module: {
            functions: [
                bindings::missing => missing,
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    x
}

struct Something;

impl State for Something {
    const ID: StateId = StateId::new("test/something");
    const VERSION: u32 = 1;
    type Data = ();

    fn prepare() -> Result {
        Ok(())
    }
    fn apply(_data: &()) {}
    fn revert(_data: &()) {}
}
