// SPDX-License-Identifier: GPL-2.0

//! A patch in Rust that takes over what `klpr_rust_keep1` has left.

use kernel::{
    livepatch::{
        livepatch,
        Access,
        Patch,
        Shadow,
        SharedShadow, //
    },
    prelude::*,
    sync::{
        Arc,
        Completion, //
    }, //
};

#[path = "klpr_rust_value.rs"]
mod value;

use value::{
    key,
    Value, //
};

livepatch! {
    type: Keep,
    name: "klpr_rust_keep2",
    description: "Livepatch test: what one patch leaves to another",
    license: "GPL",
    params: {
        fail: u8 {
            default: 0,
            description: "Fail when half of it is done",
        },
    },
    replace: true,
    shadow: [
        VALUE: SharedShadow<Value> = 1,
        FIRST: Shadow<First> = 2,
        SECOND: Shadow<Second> = 3,
    ],
    objects: {
        klpr_target: {
            // SAFETY: As in klpr_target_main.c.
            functions: unsafe [
                extern "C" fn klpr_target_one() -> c_int => one,
                extern "C" fn klpr_target_sleep_hard() -> c_int => sleep,
            ],
        },
    },
}

/// Frees another variable when it is dropped.
struct First;

impl Drop for First {
    fn drop(&mut self) {
        pr_info!("first dropped\n");
        SECOND.free(key());
    }
}

struct Second;

impl Drop for Second {
    fn drop(&mut self) {
        pr_info!("second dropped\n");
    }
}

struct Keep {
    awake: Arc<Completion>,
}

impl Patch for Keep {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        SECOND.get_or_try_init(key(), Ok::<_, Error>(Second), GFP_KERNEL)?;
        FIRST.get_or_try_init(key(), Ok::<_, Error>(First), GFP_KERNEL)?;
        if module_parameters::fail.value() != 0 {
            FIRST.free(key());
            return Err(ENOSPC);
        }
        VALUE.get_or_try_init(key(), Ok::<_, Error>(Value(2)), GFP_KERNEL)?;
        Ok(Keep {
            awake: Arc::pin_init(Completion::new(), GFP_KERNEL)?,
        })
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

/// The RCU read lock is released before the task sleeps.
fn awake() -> Option<Arc<Completion>> {
    Keep::access().map(|keep| keep.awake.clone())
}

/// Wakes up the sleeping tasks.
extern "C" fn one() -> c_int {
    if let Some(awake) = awake() {
        awake.complete_all();
    }
    600 + VALUE.get(key()).map_or(90, |value| value.0)
}

extern "C" fn sleep() -> c_int {
    if let Some(awake) = awake() {
        pr_info!("asleep\n");
        awake.wait_for_completion();
    }
    0
}
