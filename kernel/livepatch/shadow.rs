// SPDX-License-Identifier: GPL-2.0

//! Shadow variables: data that patches attach to structures of the kernel.
//!
//! A variable is found by the address of the structure that it belongs to and an id that the patch
//! chooses. All of them are in one hash table. Readers take no lock; writers take turns.
//!
//! Concurrency: a variable is published by the release store of [`Bucket::push`] and found by the
//! acquire loads of [`Bucket::find`], so that who finds it sees what the constructor wrote. One
//! that was unlinked is freed after a grace period of RCU, which readers hold off.

use kernel::{
    bindings,
    ffi::{c_ulong, c_void},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        global_lock,
        rcu, //
    },
};

use core::{mem::offset_of, ptr};

/// 2 to the power of this is the number of buckets.
const BUCKET_BITS: u32 = 12;

/// A shadow variable, which its data follow.
///
/// The four words before the data keep these as aligned as `kmalloc()` aligns the whole.
#[repr(C)]
struct Shadow {
    /// The next one in the bucket. Written with the lock held.
    next: Atomic<*mut Shadow>,
    /// For the freeing.
    rcu: bindings::kvfree_rcu_head,
    /// The structure that the variable belongs to.
    obj: *mut c_void,
    /// What the patch calls it.
    id: c_ulong,
    /// The data.
    data: [u8; 0],
}

impl Shadow {
    /// Returns the data of a variable, or null for null.
    ///
    /// # Safety
    ///
    /// `this` must be null or point to a variable.
    unsafe fn data(this: *mut Shadow) -> *mut c_void {
        if this.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: The allocation goes on with the data.
        unsafe { this.byte_add(offset_of!(Shadow, data)).cast() }
    }
}

/// The variables whose structure's address has the same hash.
struct Bucket(Atomic<*mut Shadow>);

static TABLE: [Bucket; 1 << BUCKET_BITS] =
    [const { Bucket(Atomic::new(ptr::null_mut())) }; 1 << BUCKET_BITS];

global_lock! {
    // SAFETY: `init` is called at boot, before there can be a module.
    /// Writers of the table take turns.
    unsafe(uninit) static WRITERS: SpinLockIrq<()> = ();
}

/// Initialises the lock.
///
/// # Safety
///
/// Must be called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: By the requirement of this function.
    unsafe { WRITERS.init() };
}

impl Bucket {
    /// Returns the bucket for variables of `obj`.
    fn of(obj: *mut c_void) -> &'static Bucket {
        const GOLDEN: u64 = 0x61c8_8646_80b5_83eb;
        let hash = (obj as u64).wrapping_mul(GOLDEN) >> (u64::BITS - BUCKET_BITS);
        // The index is below the length: it has `BUCKET_BITS` bits.
        &TABLE[hash as usize % TABLE.len()]
    }

    /// Returns the variable, or null. The result is valid as long as both RCU's read side and the
    /// caller's own rules keep it.
    ///
    /// # Safety
    ///
    /// RCU's read side or the lock must be held.
    unsafe fn find(&self, obj: *mut c_void, id: c_ulong) -> *mut Shadow {
        // Pairs with the release store in `push`.
        let mut shadow = self.0.load(Acquire);
        while !shadow.is_null() {
            // SAFETY: What is linked is valid, and RCU or the lock keeps it.
            let this = unsafe { &*shadow };
            if ptr::eq(this.obj, obj) && this.id == id {
                break;
            }
            // As above: the successor may have been pushed when it was the first.
            shadow = this.next.load(Acquire);
        }
        shadow
    }

    /// Links a variable.
    ///
    /// # Safety
    ///
    /// The lock must be held; `shadow` must be initialised, and not linked.
    unsafe fn push(&self, shadow: *mut Shadow) {
        // SAFETY: By the requirement of this function.
        unsafe { (*shadow).next.store(self.0.load(Relaxed), Relaxed) };
        // Pairs with the acquire loads in `find`.
        self.0.store(shadow, Release);
    }

    /// Unlinks the variables that `matches` says, up to `limit`, and frees them.
    ///
    /// # Safety
    ///
    /// The lock must be held; `dtor` must be fit for their data.
    unsafe fn free(
        &self,
        limit: usize,
        dtor: bindings::klp_shadow_dtor_t,
        matches: impl Fn(&Shadow) -> bool,
    ) {
        let mut count = 0;
        let mut link = &self.0;
        while count < limit {
            // The lock is held, so that what is linked does not change.
            let shadow = link.load(Relaxed);
            if shadow.is_null() {
                break;
            }
            // SAFETY: It is linked, and only who holds the lock frees.
            let this = unsafe { &*shadow };
            if !matches(this) {
                link = &this.next;
                continue;
            }
            // Readers that are at `this` go on by its link. `Release` since this publishes the
            // successor at a new place; pairs with the acquire loads in `find`.
            link.store(this.next.load(Relaxed), Release);
            count += 1;
            if let Some(dtor) = dtor {
                // SAFETY: The author's function takes the structure and the data.
                unsafe { dtor(this.obj, Shadow::data(shadow)) };
            }
            // SAFETY: It was made by `kmalloc()` and is unlinked. `rcu` is not in use.
            unsafe { bindings::kvfree_call_rcu(&raw mut (*shadow).rcu, shadow.cast()) };
        }
    }
}

/// Returns the data of the variable, or null.
fn get(obj: *mut c_void, id: c_ulong) -> *mut c_void {
    let _rcu = rcu::read_lock();
    // SAFETY: RCU's read side is held.
    let shadow = unsafe { Bucket::of(obj).find(obj, id) };
    // SAFETY: As above.
    unsafe { Shadow::data(shadow) }
}

/// What came of an attempt to make a variable.
enum Made {
    /// It was made; its data.
    New(*mut c_void),
    /// There was one; its data.
    Old(*mut c_void),
    /// There is none: no memory, or the constructor refused.
    None,
}

/// Makes a variable, unless there is one.
///
/// # Safety
///
/// `ctor` must be fit for `size` bytes of data, `obj` and `ctor_data`.
unsafe fn make(
    obj: *mut c_void,
    id: c_ulong,
    size: usize,
    gfp_flags: bindings::gfp_t,
    ctor: bindings::klp_shadow_ctor_t,
    ctor_data: *mut c_void,
) -> Made {
    let old = get(obj, id);
    if !old.is_null() {
        return Made::Old(old);
    }

    let Some(size) = size.checked_add(offset_of!(Shadow, data)) else {
        return Made::None;
    };
    // SAFETY: Takes any size.
    let new = unsafe { bindings::kzalloc(size, gfp_flags) }.cast::<Shadow>();
    if new.is_null() {
        return Made::None;
    }

    let bucket = Bucket::of(obj);
    let guard = WRITERS.lock();

    // Somebody else may have been first.
    //
    // SAFETY: The lock is held.
    let old = unsafe { Shadow::data(bucket.find(obj, id)) };
    if !old.is_null() {
        drop(guard);
        // SAFETY: `new` is ours alone.
        unsafe { bindings::kfree(new.cast()) };
        return Made::Old(old);
    }

    // SAFETY: `new` is ours; its bytes are zero.
    unsafe { (*new).obj = obj };
    // SAFETY: As above.
    unsafe { (*new).id = id };
    // SAFETY: As above.
    let data = unsafe { Shadow::data(new) };

    if let Some(ctor) = ctor {
        // SAFETY: By the requirement of this function.
        let ret = unsafe { ctor(obj, data, ctor_data) };
        if ret != 0 {
            drop(guard);
            // SAFETY: `new` is ours alone.
            unsafe { bindings::kfree(new.cast()) };
            pr_err!(
                "Failed to construct shadow variable <{:p}, {:x}> ({})\n",
                obj,
                id,
                ret
            );
            return Made::None;
        }
    }

    // SAFETY: The lock is held, and `new` is initialised.
    unsafe { bucket.push(new) };
    drop(guard);
    Made::New(data)
}

/// Returns the data of the shadow variable `id` of `obj`, or null if there is none.
///
/// Takes no lock; may be called wherever RCU is watching.
///
/// # Safety
///
/// May be called with any values. What is returned is valid for as long as nobody frees the
/// variable.
#[export]
unsafe extern "C" fn klp_shadow_get(obj: *mut c_void, id: c_ulong) -> *mut c_void {
    get(obj, id)
}

/// Makes the shadow variable `id` of `obj`, with `size` bytes that are zero or what `ctor` makes
/// of them, and returns its data.
///
/// Returns null if there is no memory, if `ctor` returns other than 0, or, with a warning, if the
/// variable exists. `ctor` runs with a spinlock held and interrupts off. May be called where
/// `gfp_flags` allow it, but not from NMIs.
///
/// # Safety
///
/// `ctor` must be fit for `size` bytes of data and for `ctor_data`.
#[export]
unsafe extern "C" fn klp_shadow_alloc(
    obj: *mut c_void,
    id: c_ulong,
    size: usize,
    gfp_flags: bindings::gfp_t,
    ctor: bindings::klp_shadow_ctor_t,
    ctor_data: *mut c_void,
) -> *mut c_void {
    // SAFETY: The caller's constructor fits its data.
    match unsafe { make(obj, id, size, gfp_flags, ctor, ctor_data) } {
        Made::New(data) => data,
        Made::Old(_) => {
            // SAFETY: Takes any values.
            unsafe { bindings::klp_warn_duplicate_shadow(obj, id) };
            ptr::null_mut()
        }
        Made::None => ptr::null_mut(),
    }
}

/// Returns the data of the shadow variable `id` of `obj`, which it makes, as [`klp_shadow_alloc`]
/// does, if there is none.
///
/// # Safety
///
/// `ctor` must be fit for `size` bytes of data and for `ctor_data`.
#[export]
unsafe extern "C" fn klp_shadow_get_or_alloc(
    obj: *mut c_void,
    id: c_ulong,
    size: usize,
    gfp_flags: bindings::gfp_t,
    ctor: bindings::klp_shadow_ctor_t,
    ctor_data: *mut c_void,
) -> *mut c_void {
    // SAFETY: The caller's constructor fits its data.
    match unsafe { make(obj, id, size, gfp_flags, ctor, ctor_data) } {
        Made::New(data) | Made::Old(data) => data,
        Made::None => ptr::null_mut(),
    }
}

/// Frees the shadow variable `id` of `obj`, if there is one, once `dtor` was called for it.
///
/// The memory stays until readers under RCU are done. `dtor` runs with a spinlock held and
/// interrupts off. May be called in any context but NMIs.
///
/// # Safety
///
/// `dtor` must be fit for the data of the variable.
#[export]
unsafe extern "C" fn klp_shadow_free(
    obj: *mut c_void,
    id: c_ulong,
    dtor: bindings::klp_shadow_dtor_t,
) {
    let _guard = WRITERS.lock();
    // SAFETY: The lock is held; the caller's destructor fits its data.
    unsafe {
        Bucket::of(obj).free(1, dtor, |shadow| {
            ptr::eq(shadow.obj, obj) && shadow.id == id
        })
    };
}

/// Frees the shadow variables `id` of all structures, as [`klp_shadow_free`] does.
///
/// # Safety
///
/// `dtor` must be fit for the data of the variables.
#[export]
unsafe extern "C" fn klp_shadow_free_all(id: c_ulong, dtor: bindings::klp_shadow_dtor_t) {
    let _guard = WRITERS.lock();
    for bucket in &TABLE {
        // SAFETY: The lock is held; the caller's destructor fits its data.
        unsafe { bucket.free(usize::MAX, dtor, |shadow| shadow.id == id) };
    }
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[kunit_tests(livepatch_shadow)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use kernel::ffi::c_int;

    const ID: c_ulong = 0x6b6c7074;

    /// # Safety
    ///
    /// `data` must have room for a word.
    unsafe extern "C" fn store(
        _obj: *mut c_void,
        data: *mut c_void,
        ctor_data: *mut c_void,
    ) -> c_int {
        // SAFETY: The tests give 8 bytes.
        unsafe { *data.cast::<usize>() = ctor_data as usize };
        0
    }

    /// # Safety
    ///
    /// May be called with anything.
    unsafe extern "C" fn refuse(_: *mut c_void, _: *mut c_void, _: *mut c_void) -> c_int {
        ENOSPC.to_errno()
    }

    static DESTROYED: AtomicUsize = AtomicUsize::new(0);

    /// # Safety
    ///
    /// May be called with anything.
    unsafe extern "C" fn count(_obj: *mut c_void, _data: *mut c_void) {
        DESTROYED.fetch_add(1, Ordering::Relaxed);
    }

    fn alloc(obj: usize, value: usize) -> *mut c_void {
        // SAFETY: `store` writes as much as is there.
        unsafe {
            klp_shadow_get_or_alloc(
                obj as *mut c_void,
                ID,
                size_of::<usize>(),
                bindings::GFP_KERNEL,
                Some(store),
                value as *mut c_void,
            )
        }
    }

    fn value(obj: usize) -> Option<usize> {
        // SAFETY: Takes any values; nobody else frees variables of this id.
        unsafe {
            klp_shadow_get(obj as *mut c_void, ID)
                .cast::<usize>()
                .as_ref()
        }
        .copied()
    }

    #[test]
    fn life_of_a_variable() {
        assert_eq!(value(16), None);
        let data = alloc(16, 1);
        assert!(!data.is_null());
        assert_eq!(data as usize % 16, 0);
        assert_eq!(value(16), Some(1));
        // The second does not construct.
        assert!(ptr::eq(alloc(16, 2), data));
        assert_eq!(value(16), Some(1));
        // SAFETY: No destructor.
        unsafe { klp_shadow_free(16 as *mut c_void, ID, None) };
        assert_eq!(value(16), None);
    }

    #[test]
    fn constructor_may_refuse() {
        // SAFETY: `refuse` uses no data.
        let data = unsafe {
            klp_shadow_alloc(
                16 as *mut c_void,
                ID + 1,
                8,
                bindings::GFP_KERNEL,
                Some(refuse),
                ptr::null_mut(),
            )
        };
        assert!(data.is_null());
    }

    #[test]
    fn absurd_size_is_refused() {
        // SAFETY: No constructor.
        let data = unsafe {
            klp_shadow_alloc(
                16 as *mut c_void,
                ID + 1,
                usize::MAX,
                bindings::GFP_KERNEL,
                None,
                ptr::null_mut(),
            )
        };
        assert!(data.is_null());
    }

    #[test]
    fn free_all_frees_all_of_an_id() {
        let before = DESTROYED.load(Ordering::Relaxed);
        // More than there are buckets, so that some share one.
        for obj in 1..=5000 {
            assert!(!alloc(obj * 64, obj).is_null());
        }
        for obj in 1..=5000 {
            assert_eq!(value(obj * 64), Some(obj));
        }
        // SAFETY: `count` uses no data.
        unsafe { klp_shadow_free_all(ID, Some(count)) };
        assert_eq!(DESTROYED.load(Ordering::Relaxed) - before, 5000);
        assert!((1..=5000).all(|obj| value(obj * 64).is_none()));
    }
}
