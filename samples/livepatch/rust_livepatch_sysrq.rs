// SPDX-License-Identifier: GPL-2.0

//! A livepatch that adds a missing check: `/proc/sys/kernel/sysrq` takes any number.
//!
//! The number is a set of flags, of which nine have a meaning
//! (`Documentation/admin-guide/sysrq.rst`), and 1 for all of them. The handler of the file,
//! `sysrq_sysctl_handler()` of `drivers/tty/sysrq.c`, has no limits: an
//! administrator who mistypes the number gets no error, and ends up with unwanted flags.
//!
//! ```text
//! # echo 4096 > /proc/sys/kernel/sysrq
//! # insmod rust_livepatch_sysrq.ko
//! # echo 4096 > /proc/sys/kernel/sysrq
//! sh: write error: Invalid argument
//! ```

use kernel::{
    bindings,
    livepatch::livepatch,
    prelude::*, //
};

livepatch! {
    name: "rust_livepatch_sysrq",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: limits for kernel.sysrq",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in drivers/tty/sysrq.c.
            functions: unsafe [
                unsafe extern "C" fn sysrq_sysctl_handler(
                    table: *const bindings::ctl_table,
                    write: c_int,
                    buffer: *mut c_void,
                    lenp: *mut usize,
                    ppos: *mut bindings::loff_t,
                ) -> c_int => checked_sysrq_handler,
            ],
        },
    },
}

// These are in no header that `bindings` has. The kernel exports both.
extern "C" {
    fn sysrq_mask() -> c_int;
    fn sysrq_toggle_support(enable_mask: c_int) -> c_int;
}

/// No flags.
static LOWEST: c_int = 0;

/// All flags that are known.
static HIGHEST: c_int = 0x1ff;

/// Replaces `sysrq_sysctl_handler()`.
///
/// # Safety
///
/// As for the function that it replaces, which is a `proc_handler`.
unsafe extern "C" fn checked_sysrq_handler(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    lenp: *mut usize,
    ppos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: Takes nothing.
    let mut mask = unsafe { sysrq_mask() };
    // SAFETY: By the requirement of this function, the table is valid. The copy is not linked to
    // anything.
    let mut table = unsafe { table.read() };
    table.data = (&raw mut mask).cast();
    // The checks that were missing.
    table.extra1 = (&raw const LOWEST).cast_mut().cast();
    table.extra2 = (&raw const HIGHEST).cast_mut().cast();

    // SAFETY: `table` has the address of a number and its limits. The rest are our own arguments.
    let ret = unsafe { bindings::proc_dointvec_minmax(&table, write, buffer, lenp, ppos) };
    if ret == 0 && write != 0 {
        // SAFETY: Takes any number.
        unsafe { sysrq_toggle_support(mask) };
    }
    ret
}
