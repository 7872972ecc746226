// SPDX-License-Identifier: GPL-2.0

//! A livepatch that stops a leak, with shadow variables.
//!
//! `livepatch-shadow-mod`, one of the C samples, allocates some memory with each of its structures
//! and forgets where. This keeps the memory in a shadow variable of the structure, and frees it
//! with the structure. Structures that are older than the patch still leak theirs.
//!
//! `rust_livepatch_shadow_fix2` replaces this patch, and takes over its shadow variables.

use kernel::{
    bindings,
    livepatch::{
        livepatch,
        Handover,
        SharedShadow, //
    },
    prelude::*, //
};

livepatch! {
    name: "rust_livepatch_shadow_fix1",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: a leak that is stopped by shadow variables",
    license: "GPL",
    shadow: [
        LEAK: SharedShadow<Leak> = 1,
    ],
    objects: {
        livepatch_shadow_mod: {
            // SAFETY: As in livepatch-shadow-mod.c.
            functions: unsafe [
                extern "C" fn dummy_alloc() -> *mut Dummy => live_alloc,
                unsafe extern "C" fn dummy_free(d: *mut Dummy) => live_free,
            ],
        },
    },
}

/// `struct dummy` of the module.
#[repr(C)]
struct Dummy {
    list: bindings::list_head,
    jiffies_expire: c_ulong,
}

/// How long a dummy lives, in seconds, as in the module.
const EXPIRE_PERIOD: u32 = 12;

/// The memory that the module forgets.
#[repr(C)]
struct Leak(KBox<c_int>);

// SAFETY: A pointer to an `int` of `kmalloc()`, in all patches of these samples.
unsafe impl Handover for Leak {
    const NAME: &'static str = "samples/leak";
}

impl Drop for Leak {
    fn drop(&mut self) {
        pr_info!("prevented leak @ {:p}\n", &*self.0);
    }
}

/// Makes a dummy as the module does, and keeps what it forgets.
fn new_dummy() -> Result<KBox<Dummy>> {
    // SAFETY: A counter that the kernel writes; its address is valid.
    let now = unsafe { (&raw const bindings::jiffies).read_volatile() };
    let dummy = KBox::new(
        Dummy {
            list: bindings::list_head::default(),
            jiffies_expire: now.wrapping_add(kernel::time::msecs_to_jiffies(EXPIRE_PERIOD * 1000)),
        },
        GFP_KERNEL,
    )?;
    let leak = Leak(KBox::new(0, GFP_KERNEL)?);
    LEAK.get_or_try_init(&raw const *dummy, Ok::<_, Error>(leak), GFP_KERNEL)?;
    Ok(dummy)
}

/// Replaces `dummy_alloc()`.
extern "C" fn live_alloc() -> *mut Dummy {
    let Ok(dummy) = new_dummy() else {
        return core::ptr::null_mut();
    };
    pr_info!(
        "dummy @ {:p}, expires @ {:x}\n",
        &*dummy,
        dummy.jiffies_expire
    );
    KBox::into_raw(dummy)
}

/// Replaces `dummy_free()`.
///
/// # Safety
///
/// As for the function that it replaces: `d` must be of `dummy_alloc()`, and not used any more.
unsafe extern "C" fn live_free(d: *mut Dummy) {
    if LEAK.get(d).is_some() {
        LEAK.free(d);
    } else {
        pr_info!("dummy @ {:p} leaked!\n", d);
    }
    // SAFETY: By the requirement of this function. Both versions of `dummy_alloc()` use
    // `kmalloc()`.
    drop(unsafe { KBox::from_raw(d) });
}
