// SPDX-License-Identifier: GPL-2.0

//! What is declared may have doc comments.

use kernel::{bindings, livepatch::{livepatch, Shadow}, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    shadow: [
        /// What is counted.
        COUNT: Shadow<u32> = 1,
    ],
    objects: {
        vmlinux: {
            // SAFETY: As in the kernel.
            functions: unsafe [
                /// What is wrong with it.
                #[sympos(2)]
                extern "C" fn one(x: c_int) -> c_int => new_one,
                /// The same.
                kernel::bindings::sysfs_streq => new_streq,
            ],
            // SAFETY: As in the kernel.
            symbols: unsafe [
                /// What it is for.
                ///
                /// And more.
                unsafe extern "C" fn two(x: c_int) -> c_int,
            ],
        },
        some_module: {
            // SAFETY: As in the module.
            symbols: unsafe [
                unsafe extern "C" fn three(x: c_int),
            ],
        },
    },
}

extern "C" fn new_one(x: c_int) -> c_int {
    // SAFETY: Any number will do.
    if unsafe { three(x) }.is_none() {
        return 0;
    }
    // SAFETY: Any number will do.
    unsafe { two(x) }
}

/// # Safety
///
/// Any.
unsafe extern "C" fn new_streq(_a: *const c_char, _b: *const c_char) -> bool {
    COUNT.get(&raw const bindings::init_task).is_some()
}
