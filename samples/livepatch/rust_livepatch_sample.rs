// SPDX-License-Identifier: GPL-2.0

//! A livepatch written in Rust: replaces the function behind `/proc/cmdline`.
//!
//! ```text
//! # insmod rust_livepatch_sample.ko
//! # cat /proc/cmdline
//! this has been live patched
//! # echo 0 > /sys/kernel/livepatch/rust_livepatch_sample/enabled
//! # cat /proc/cmdline
//! (what it was before)
//! # rmmod rust_livepatch_sample
//! ```

use kernel::{
    bindings,
    livepatch::livepatch,
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};

livepatch! {
    name: "rust_livepatch_sample",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: /proc/cmdline",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in fs/proc/cmdline.c.
            functions: unsafe [
                unsafe extern "C" fn cmdline_proc_show(
                    seq: *mut bindings::seq_file,
                    v: *mut c_void,
                ) -> c_int => live_cmdline,
            ],
        },
    },
}

/// Replaces `cmdline_proc_show()` of `fs/proc/cmdline.c`.
///
/// # Safety
///
/// As for the function that it replaces: `seq` is a file that this call alone writes to.
unsafe extern "C" fn live_cmdline(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
    // SAFETY: By the requirement of this function.
    let seq = unsafe { SeqFile::from_raw(seq) };
    seq_print!(seq, "this has been live patched\n");
    0
}
