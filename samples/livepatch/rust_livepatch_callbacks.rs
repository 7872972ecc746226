// SPDX-License-Identifier: GPL-2.0

//! A livepatch with callbacks, which count in the patch's own state.
//!
//! It has callbacks for vmlinux and for `livepatch-callbacks-mod`, one of the C samples, and
//! replaces no function. With the parameter `refuse=1` the patch, or the module if it is loaded
//! later, cannot be loaded.
//!
//! ```text
//! # insmod rust_livepatch_callbacks.ko
//! # insmod livepatch-callbacks-mod.ko
//! # dmesg | grep rust_livepatch_callbacks:
//! rust_livepatch_callbacks: vmlinux: about to be patched
//! rust_livepatch_callbacks: vmlinux: patched, 1 at present
//! rust_livepatch_callbacks: livepatch_callbacks_mod: about to be patched
//! rust_livepatch_callbacks: livepatch_callbacks_mod: patched, 2 at present
//! ```

use kernel::{
    livepatch::{
        livepatch,
        Callbacks,
        Object,
        Patch, //
    },
    prelude::*,
    sync::{
        new_mutex,
        Mutex, //
    }, //
};

livepatch! {
    type: Objects,
    name: "rust_livepatch_callbacks",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: callbacks and a state of the patch's own",
    license: "GPL",
    params: {
        refuse: u8 {
            default: 0,
            description: "Refuse to patch anything",
        },
    },
    objects: {
        vmlinux: {
            callbacks: Count,
        },
        livepatch_callbacks_mod: {
            callbacks: Count,
        },
    },
}

/// The patch's own state.
#[pin_data(PinnedDrop)]
struct Objects {
    /// How many objects are patched.
    #[pin]
    patched: Mutex<usize>,
}

impl Patch for Objects {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            patched <- new_mutex!(0),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Objects {
    fn drop(self: Pin<&mut Self>) {
        pr_info!("dropped, {} at present\n", *self.patched.lock());
    }
}

/// Counts the objects that are patched.
struct Count;

#[vtable]
impl Callbacks for Count {
    type Patch = Objects;

    fn pre_patch(_objects: &Objects, object: &Object) -> Result {
        if module_parameters::refuse.value() != 0 {
            pr_info!("{}: refused\n", object.name());
            return Err(EPERM);
        }
        pr_info!("{}: about to be patched\n", object.name());
        Ok(())
    }

    fn post_patch(objects: &Objects, object: &Object) {
        let mut patched = objects.patched.lock();
        *patched += 1;
        pr_info!("{}: patched, {} at present\n", object.name(), *patched);
    }

    fn pre_unpatch(objects: &Objects, object: &Object) {
        let mut patched = objects.patched.lock();
        *patched -= 1;
        pr_info!(
            "{}: about to be unpatched, {} at present\n",
            object.name(),
            *patched
        );
    }

    fn post_unpatch(_objects: &Objects, object: &Object) {
        pr_info!("{}: unpatched\n", object.name());
    }
}
