// SPDX-License-Identifier: GPL-2.0

//! A patch in Rust, one of whose functions sleeps until another one is called.

use kernel::{
    livepatch::{
        livepatch,
        Access,
        Patch, //
    },
    prelude::*,
    sync::{
        Arc,
        Completion, //
    }, //
};

livepatch! {
    type: Sleepers,
    name: "klpr_rust_sleep",
    description: "Livepatch test: a function in Rust that sleeps",
    license: "GPL",
    objects: {
        klpr_target: {
            // SAFETY: As in klpr_target_main.c.
            functions: unsafe [
                extern "C" fn klpr_target_sleep_hard() -> c_int => sleep,
                extern "C" fn klpr_target_one() -> c_int => wake,
            ],
        },
    },
}

struct Sleepers {
    awake: Arc<Completion>,
}

impl Patch for Sleepers {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        Ok(Sleepers {
            awake: Arc::pin_init(Completion::new(), GFP_KERNEL)?,
        })
    }
}

/// The RCU read lock is released before the task sleeps.
fn awake() -> Option<Arc<Completion>> {
    Sleepers::access().map(|sleepers| sleepers.awake.clone())
}

/// The compiler turns this call into a jump.
extern "C" fn sleep() -> c_int {
    sleep_inside()
}

#[inline(never)]
extern "C" fn sleep_inside() -> c_int {
    if let Some(awake) = awake() {
        pr_info!("asleep\n");
        awake.wait_for_completion();
    }
    pr_info!("awake\n");
    0
}

extern "C" fn wake() -> c_int {
    if let Some(awake) = awake() {
        awake.complete_all();
    }
    401
}
