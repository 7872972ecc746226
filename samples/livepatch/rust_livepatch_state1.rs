// SPDX-License-Identifier: GPL-2.0

//! A livepatch with a state: it lets all messages through to the console while it is enabled.
//!
//! `rust_livepatch_state2` replaces it, and takes over the state with the level that there was
//! before this one was loaded.
//!
//! ```text
//! # cut -f1 /proc/sys/kernel/printk
//! 7
//! # insmod rust_livepatch_state1.ko
//! # cut -f1 /proc/sys/kernel/printk
//! 15
//! # insmod rust_livepatch_state2.ko
//! # cut -f1 /proc/sys/kernel/printk
//! 8
//! # echo 0 > /sys/kernel/livepatch/rust_livepatch_state2/enabled
//! # cut -f1 /proc/sys/kernel/printk
//! 7
//! ```

use kernel::{
    bindings,
    livepatch::{
        livepatch,
        State,
        StateId, //
    },
    prelude::*, //
};

livepatch! {
    name: "rust_livepatch_state1",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: a state",
    license: "GPL",
    states: [ConsoleLevel],
    objects: {
        vmlinux: {},
    },
}

/// The level below which messages go to the console.
fn console_level() -> *mut c_int {
    (&raw mut bindings::console_printk).cast()
}

/// A change of the console's level.
struct ConsoleLevel;

impl State for ConsoleLevel {
    const ID: StateId = StateId::new("samples/console-level");
    const VERSION: u32 = 1;

    /// The level that there was before.
    type Data = i32;

    fn prepare() -> Result<i32> {
        // SAFETY: An integer that others may be writing.
        Ok(unsafe { console_level().read_volatile() })
    }

    fn apply(old_level: &i32) {
        pr_info!("console level: {} becomes 15\n", old_level);
        // SAFETY: An integer that others may be reading.
        unsafe { console_level().write_volatile(15) };
    }

    fn revert(old_level: &i32) {
        pr_info!("console level: back to {}\n", old_level);
        // SAFETY: An integer that others may be reading.
        unsafe { console_level().write_volatile(*old_level) };
    }
}
