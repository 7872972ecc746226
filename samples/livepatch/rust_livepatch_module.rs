// SPDX-License-Identifier: GPL-2.0

//! A livepatch for a function of a module, which may be loaded before or after the patch.
//!
//! The module is `livepatch-callbacks-busymod`, one of the C samples, which has a work item that
//! keeps a worker busy. This replaces what the work item does.
//!
//! ```text
//! # insmod rust_livepatch_module.ko
//! # insmod livepatch-callbacks-busymod.ko
//! # dmesg | tail -1
//! rust_livepatch_module: busymod_work_func() has been live patched
//! ```

use kernel::{
    bindings,
    livepatch::livepatch,
    prelude::*, //
};

livepatch! {
    name: "rust_livepatch_module",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: a function of a module",
    license: "GPL",
    objects: {
        livepatch_callbacks_busymod: {
            // SAFETY: As in livepatch-callbacks-busymod.c.
            functions: unsafe [
                extern "C" fn busymod_work_func(work: *mut bindings::work_struct) => idle_work_func,
            ],
        },
    },
}

/// Replaces `busymod_work_func()`, which sleeps for a long time: does nothing.
extern "C" fn idle_work_func(_work: *mut bindings::work_struct) {
    pr_info!("busymod_work_func() has been live patched\n");
}
