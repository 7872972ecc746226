// SPDX-License-Identifier: GPL-2.0

//! A livepatch that calls a function that the kernel does not export.
//!
//! `/proc/cmdline` shows what `/proc/uptime` shows, by a call of `uptime_proc_show()`, a static
//! function of `fs/proc/uptime.c`.
//!
//! A livepatch relocation provides the address of the function. An extra step after the build makes
//! it; without that step the module cannot be loaded.
//!
//! ```text
//! $ tools/objtool/objtool klp post-link rust_livepatch_unexported.ko
//! # insmod rust_livepatch_unexported.ko
//! # cat /proc/cmdline
//! 12.34 21.43
//! ```

use kernel::{
    bindings,
    livepatch::livepatch,
    prelude::*, //
};

livepatch! {
    name: "rust_livepatch_unexported",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: a function that is not exported",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in fs/proc/cmdline.c.
            functions: unsafe [
                unsafe extern "C" fn cmdline_proc_show(
                    seq: *mut bindings::seq_file,
                    v: *mut c_void,
                ) -> c_int => show_uptime,
            ],
            // SAFETY: As in fs/proc/uptime.c.
            symbols: unsafe [
                unsafe extern "C" fn uptime_proc_show(
                    seq: *mut bindings::seq_file,
                    v: *mut c_void,
                ) -> c_int,
            ],
        },
    },
}

/// Replaces `cmdline_proc_show()` of `fs/proc/cmdline.c`.
///
/// # Safety
///
/// As for the function that it replaces: `seq` is a file that this call alone writes to.
unsafe extern "C" fn show_uptime(seq: *mut bindings::seq_file, v: *mut c_void) -> c_int {
    // SAFETY: By the requirement of this function, which `uptime_proc_show()` has, too.
    unsafe { uptime_proc_show(seq, v) }
}
