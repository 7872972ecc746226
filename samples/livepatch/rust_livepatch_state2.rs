// SPDX-License-Identifier: GPL-2.0

//! A cumulative livepatch: replaces all others, and takes over the state that
//! `rust_livepatch_state1` has, if it is there.

use kernel::{
    bindings,
    livepatch::{
        livepatch,
        Conversion,
        Old,
        State,
        StateId, //
    },
    prelude::*, //
};

livepatch! {
    name: "rust_livepatch_state2",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: a state that is taken over",
    license: "GPL",
    replace: true,
    states: [ConsoleLevel],
    objects: {
        vmlinux: {},
    },
}

/// The level below which messages go to the console.
fn console_level() -> *mut c_int {
    (&raw mut bindings::console_printk).cast()
}

/// A change of the console's level. Version 1 let debug messages through, too.
struct ConsoleLevel;

impl State for ConsoleLevel {
    const ID: StateId = StateId::new("samples/console-level");
    const VERSION: u32 = 2;

    /// The level that there was before.
    type Data = i32;

    /// Version 1 kept the same.
    const EARLIER: &'static [Conversion<i32>] =
        &[Conversion::of_word(1, |old_level: i32| old_level)];

    fn prepare() -> Result<i32> {
        // SAFETY: An integer that others may be writing.
        Ok(unsafe { console_level().read_volatile() })
    }

    fn apply(old_level: &i32) {
        pr_info!("console level: {} becomes 8\n", old_level);
        // SAFETY: An integer that others may be reading.
        unsafe { console_level().write_volatile(8) };
    }

    fn take_over(new: i32, old: Old<i32>) -> i32 {
        // The level to restore is that before the other patch, not the one that it has set.
        let old_level = old.data.unwrap_or(new);
        pr_info!(
            "taking over version {}, old level {}\n",
            old.version,
            old_level
        );
        Self::apply(&old_level);
        old_level
    }

    fn revert(old_level: &i32) {
        pr_info!("console level: back to {}\n", old_level);
        // SAFETY: An integer that others may be reading.
        unsafe { console_level().write_volatile(*old_level) };
    }
}
