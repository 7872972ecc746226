// SPDX-License-Identifier: GPL-2.0

//! A call of a function whose arguments the patch does not say.

use kernel::{livepatch::livepatch, prelude::*};

livepatch! {
    name: "test",
    license: "GPL",
    objects: {
        vmlinux: {
            functions: [
                #[original(old_streq)] //~ ERROR: to be called, the function is to be declared
                bindings::sysfs_streq => new_streq,
            ],
        },
    },
}

unsafe extern "C" fn _new_streq(_a: *const c_char, _b: *const c_char) -> bool {
    true
}
