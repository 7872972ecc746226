// SPDX-License-Identifier: GPL-2.0

//! A livepatch that replaces `rust_livepatch_shadow_fix1`, and does more.
//!
//! It takes over the shadow variables of that patch, so that nothing leaks that was allocated
//! under it. It also counts how often each structure was checked, in a shadow variable that is
//! made when it is first needed, also for structures that are older than the patch.

use kernel::{
    bindings,
    livepatch::{
        livepatch,
        Handover,
        Patch,
        Shadow,
        SharedShadow, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

livepatch! {
    type: Fix,
    name: "rust_livepatch_shadow_fix2",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: shadow variables that are taken over",
    license: "GPL",
    replace: true,
    shadow: [
        LEAK: SharedShadow<Leak> = 1,
        CHECKS: Shadow<Atomic<u32>> = 2,
    ],
    objects: {
        livepatch_shadow_mod: {
            // SAFETY: As in livepatch-shadow-mod.c.
            functions: unsafe [
                extern "C" fn dummy_alloc() -> *mut Dummy => live_alloc,
                unsafe extern "C" fn dummy_free(d: *mut Dummy) => live_free,
                unsafe extern "C" fn dummy_check(d: *mut Dummy, jiffies: c_ulong) -> bool
                    => live_check,
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

/// The patch has nothing of its own to remember.
struct Fix;

impl Patch for Fix {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        Ok(Self)
    }

    /// No patch has taken over the remaining variables. If enabling this patch had failed, they
    /// would belong to the earlier patch; if a patch had replaced this one, to the later patch.
    fn disabled(&self) {
        LEAK.free_all();
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
    if let Some(checks) = CHECKS.get(d) {
        pr_info!("dummy @ {:p}, checked {} times\n", d, checks.load(Relaxed));
    }
    CHECKS.free(d);
    // SAFETY: By the requirement of this function. All versions of `dummy_alloc()` use
    // `kmalloc()`.
    drop(unsafe { KBox::from_raw(d) });
}

/// Replaces `dummy_check()`.
///
/// # Safety
///
/// As for the function that it replaces: `d` must be of `dummy_alloc()`.
unsafe extern "C" fn live_check(d: *mut Dummy, jiffies: c_ulong) -> bool {
    // Called under a spinlock. Without memory there is no count, which does no harm.
    if let Ok(checks) = CHECKS.get_or_try_init(d, Ok::<_, Error>(Atomic::new(0)), GFP_NOWAIT) {
        checks.add(1, Relaxed);
    }
    // SAFETY: By the requirement of this function.
    let expire = unsafe { (*d).jiffies_expire };
    // Like `time_after()`: jiffies wrap.
    (expire.wrapping_sub(jiffies) as isize) < 0
}
