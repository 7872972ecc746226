// SPDX-License-Identifier: GPL-2.0

//! The type has no callbacks.

use kernel::{livepatch::{livepatch, Patch}, prelude::*};

livepatch! {
    type: Mine,
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            callbacks: Watch, //~ ERROR: the trait bound `Watch: Callbacks` is not satisfied
        },
    },
}

struct Mine;

impl Patch for Mine {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        Ok(Self)
    }
}

struct Watch;
