// SPDX-License-Identifier: GPL-2.0

//! A patch in Rust that replaces `livepatch-shadow-fix1`, which is in C, and takes over its shadow
//! variables.

use kernel::{
    bindings,
    livepatch::{
        livepatch,
        CShadow, //
    },
    prelude::*, //
};

livepatch! {
    name: "klpr_rust_leaks",
    description: "Livepatch test: shadow variables of a patch in C",
    license: "GPL",
    replace: true,
    objects: {
        livepatch_shadow_mod: {
            // SAFETY: As in samples/livepatch/livepatch-shadow-mod.c.
            functions: unsafe [
                #[original(free)]
                unsafe extern "C" fn dummy_free(dummy: *mut c_void) => free_all_of_it,
            ],
        },
    },
}

/// The memory that the module forgets.
#[repr(transparent)]
struct Leak(*mut c_void);

// SAFETY: Any task may free it.
unsafe impl Send for Leak {}

impl Drop for Leak {
    fn drop(&mut self) {
        pr_info!("prevented leak\n");
        // SAFETY: The patch in C has allocated it by `kzalloc()`, and it is not used elsewhere.
        unsafe { bindings::kfree(self.0) };
    }
}

// SAFETY: The patch in C has a pointer to such memory under this number.
static LEAKS: CShadow<Leak> = unsafe { CShadow::new(1) };

/// # Safety
///
/// As for `dummy_free()`.
unsafe extern "C" fn free_all_of_it(dummy: *mut c_void) {
    LEAKS.free(dummy);
    // SAFETY: As this function.
    unsafe { free(dummy) };
}
