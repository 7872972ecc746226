// SPDX-License-Identifier: GPL-2.0

//! A patch in Rust that leaves something to another one, `klpr_rust_keep2`.

use kernel::{
    livepatch::{
        livepatch,
        Patch,
        SharedShadow, //
    },
    prelude::*, //
};

#[path = "klpr_rust_value.rs"]
mod value;

use value::{
    key,
    Value, //
};

livepatch! {
    type: Keep,
    name: "klpr_rust_keep1",
    description: "Livepatch test: what one patch leaves to another",
    license: "GPL",
    shadow: [
        VALUE: SharedShadow<Value> = 1,
    ],
    objects: {
        klpr_target: {
            // SAFETY: As in klpr_target_main.c.
            functions: unsafe [
                extern "C" fn klpr_target_one() -> c_int => one,
                extern "C" fn klpr_target_two() -> c_int => two,
            ],
        },
    },
}

struct Keep;

impl Patch for Keep {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        VALUE.get_or_try_init(key(), Ok::<_, Error>(Value(1)), GFP_KERNEL)?;
        Ok(Keep)
    }

    fn disabled(&self) {
        pr_info!("disabled\n");
        VALUE.free(key());
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        pr_info!("dropped\n");
    }
}

extern "C" fn one() -> c_int {
    500 + VALUE.get(key()).map_or(90, |value| value.0)
}

/// Does the same: the compiler may merge both into one function.
extern "C" fn two() -> c_int {
    500 + VALUE.get(key()).map_or(90, |value| value.0)
}
