// SPDX-License-Identifier: GPL-2.0

//! That a function of another name looks the same is the author's promise.

use kernel::{bindings, livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: [
                #[symbol("sysfs_streq.cold")]
                bindings::sysfs_streq => new_streq, //~^ ERROR: no compiler can check what a function of the kernel looks like
            ],
        },
    },
}

/// # Safety
///
/// Any.
unsafe extern "C" fn _new_streq(_a: *const c_char, _b: *const c_char) -> bool {
    true
}
