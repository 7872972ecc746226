// SPDX-License-Identifier: GPL-2.0

//! A livepatch that replaces `rust_livepatch_shadow_fix1`, and does more.
//!
//! It takes over the other one's shadow variables, so that nothing leaks that was allocated under
//! it. Besides, it counts how often each structure was looked at, in a shadow variable that is
//! made when it is needed first, also for structures that are older than the patch.

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

/// The memory that was forgotten.
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

    /// Nobody has taken over what is left. Had enabling the patch failed, it would be the other
    /// one's, and had a patch taken the place of this one, it would be that one's.
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

/// Takes the place of `dummy_alloc()`.
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

/// Takes the place of `dummy_free()`.
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

/// Takes the place of `dummy_check()`.
///
/// # Safety
///
/// As for the function that it replaces: `d` must be of `dummy_alloc()`.
unsafe extern "C" fn live_check(d: *mut Dummy, jiffies: c_ulong) -> bool {
    // Called under a spinlock. Without memory there is no count, which is no harm.
    if let Ok(checks) = CHECKS.get_or_try_init(d, Ok::<_, Error>(Atomic::new(0)), GFP_NOWAIT) {
        checks.add(1, Relaxed);
    }
    // SAFETY: By the requirement of this function.
    let expire = unsafe { (*d).jiffies_expire };
    // As `time_after()`: jiffies wrap.
    (expire.wrapping_sub(jiffies) as isize) < 0
}
