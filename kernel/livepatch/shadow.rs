// SPDX-License-Identifier: GPL-2.0

//! Shadow variables: data that patches attach to structures of the kernel.
//!
//! A variable is found by the address of the structure that it belongs to and an id that the patch
//! chooses. All of them are in one hash table. Readers take no lock; writers take turns.
//!
//! Concurrency: a variable is published by the release store of [`Bucket::push`] and found by the
//! acquire loads of [`Bucket::find`], so that a reader that finds it sees what the constructor
//! wrote. One that was unlinked is freed after a grace period of RCU, which readers hold off.

use kernel::{
    bindings,
    ffi::{c_int, c_ulong, c_void},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        global_lock,
        rcu, //
    },
};

use core::{
    mem::{
        offset_of,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};

type Ctor = bindings::klp_shadow_ctor_t;
type Dtor = bindings::klp_shadow_dtor_t;

/// 2 to the power of this is the number of buckets.
const BUCKET_BITS: u32 = 12;

/// What a variable is found by: the structure that it belongs to, and what the patch calls it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    obj: *mut c_void,
    id: c_ulong,
}

/// A shadow variable, which its data follow.
///
/// The four words before the data keep these as aligned as `kmalloc()` aligns the whole.
#[repr(C)]
struct Shadow {
    /// The next one in the bucket. Written with the lock held.
    next: Link,
    /// For the freeing.
    rcu: bindings::kvfree_rcu_head,
    key: Key,
    /// The data.
    data: [u8; 0],
}

const _: () = assert!(offset_of!(Shadow, data) == 4 * size_of::<usize>());

/// A variable as the links have it: a pointer to all of it, with the data.
type ShadowPtr = *mut Shadow;

/// Returns the data of a variable.
fn data_of(shadow: ShadowPtr) -> *mut c_void {
    shadow.wrapping_byte_add(offset_of!(Shadow, data)).cast()
}

/// A pointer to the next variable, or null.
///
/// # Invariants
///
/// What it points to is initialised, and linked until the lock was held to unlink it. It is not
/// freed before a grace period of RCU has passed since.
struct Link(Atomic<ShadowPtr>);

impl Link {
    /// Returns the variable, which RCU keeps.
    fn get<'a>(&self, _rcu: &'a rcu::Guard) -> Option<(ShadowPtr, &'a Shadow)> {
        // Pairs with the release stores in `Bucket::push` and `Bucket::free`.
        let shadow = self.0.load(Acquire);
        // SAFETY: By the invariants; RCU's read side is held.
        unsafe { shadow.as_ref() }.map(|this| (shadow, this))
    }
}

/// A variable that was made and is not linked.
struct Unlinked(NonNull<Shadow>);

impl Unlinked {
    /// Makes a variable with `size` bytes of data, all zero.
    fn new(key: Key, size: usize, gfp: bindings::gfp_t) -> Option<Self> {
        let size = size.checked_add(offset_of!(Shadow, data))?;
        // SAFETY: Takes any size.
        let shadow = NonNull::new(unsafe { bindings::kzalloc(size, gfp) })?.cast::<Shadow>();
        let header = Shadow {
            next: Link(Atomic::new(ptr::null_mut())),
            rcu: Default::default(),
            key,
            data: [],
        };
        // SAFETY: The memory is ours, and large enough.
        unsafe { shadow.write(header) };
        Some(Self(shadow))
    }
}

impl Drop for Unlinked {
    fn drop(&mut self) {
        // SAFETY: `new` has allocated it, and there is no other pointer to it.
        unsafe { bindings::kfree(self.0.as_ptr().cast()) };
    }
}

/// The variables whose structure's address has the same hash.
struct Bucket(Link);

static TABLE: [Bucket; 1 << BUCKET_BITS] =
    [const { Bucket(Link(Atomic::new(ptr::null_mut()))) }; 1 << BUCKET_BITS];

/// Shows that the lock of writers is held.
struct Writer(());

global_lock! {
    // SAFETY: `init` is called at boot, before there can be a module.
    /// Writers of the table take turns.
    unsafe(uninit) static WRITERS: SpinLockIrq<Writer> = Writer(());
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

    /// Returns the data of a variable. They are there for as long as both RCU's read side and the
    /// caller's own rules keep them.
    fn find(&self, key: Key, rcu: &rcu::Guard) -> Option<*mut c_void> {
        let mut link = &self.0;
        while let Some((shadow, this)) = link.get(rcu) {
            if this.key == key {
                return Some(data_of(shadow));
            }
            link = &this.next;
        }
        None
    }

    /// Links a variable.
    fn push(&self, _writer: &mut Writer, new: Unlinked) {
        let new = ManuallyDrop::new(new);
        let Self(Link(first)) = self;
        // SAFETY: It is initialised, and not linked yet.
        let Link(next) = unsafe { &new.0.as_ref().next };
        next.store(first.load(Relaxed), Relaxed);
        // Pairs with the acquire load in `Link::get`.
        //
        // INVARIANT: It is initialised, and was allocated by `Unlinked::new`.
        first.store(new.0.as_ptr(), Release);
    }

    /// Unlinks the variables for which `matches` returns true, up to `limit`, and frees them, each
    /// after a call of `dtor` with its structure and its data.
    fn free(
        &self,
        _writer: &mut Writer,
        limit: usize,
        matches: impl Fn(Key) -> bool,
        dtor: impl Fn(*mut c_void, *mut c_void),
    ) {
        let rcu = rcu::read_lock();
        let mut count = 0;
        let mut link = &self.0;
        while let Some((shadow, this)) = link.get(&rcu).filter(|_| count < limit) {
            if !matches(this.key) {
                link = &this.next;
                continue;
            }
            // Readers that are at `this` go on by its link. `Release` since this publishes the
            // successor anew; pairs with the acquire load in `Link::get`.
            link.0.store(this.next.0.load(Relaxed), Release);
            count += 1;
            dtor(this.key.obj, data_of(shadow));
            // SAFETY: `Unlinked::new` has made it by `kzalloc()`, and it is unlinked. `rcu`
            // is for this.
            unsafe { bindings::kvfree_call_rcu(&raw mut (*shadow).rcu, shadow.cast()) };
        }
    }
}

/// Returns the data of the variable, or null.
fn get(key: Key) -> *mut c_void {
    let rcu = rcu::read_lock();
    let data = Bucket::of(key.obj).find(key, &rcu);
    data.unwrap_or(ptr::null_mut())
}

/// What came of an attempt to make a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// It was made; its data.
    New(*mut c_void),
    /// There was one; its data.
    Existing(*mut c_void),
    /// There is none: no memory, or the constructor refused.
    None,
}

/// Makes a variable, unless there is one. `ctor` gets `size` bytes.
fn make(
    key: Key,
    size: usize,
    gfp: bindings::gfp_t,
    ctor: impl FnOnce(*mut c_void) -> c_int,
) -> Made {
    let bucket = Bucket::of(key.obj);
    let find = || bucket.find(key, &rcu::read_lock());
    if let Some(data) = find() {
        return Made::Existing(data);
    }
    let Some(new) = Unlinked::new(key, size, gfp) else {
        return Made::None;
    };

    let mut writer = WRITERS.lock();
    // Another caller may have been first.
    if let Some(data) = find() {
        drop(writer);
        return Made::Existing(data);
    }
    let data = data_of(new.0.as_ptr());
    let ret = ctor(data);
    if ret != 0 {
        drop(writer);
        pr_err!(
            "Failed to construct shadow variable <{:p}, {:x}> ({})\n",
            key.obj,
            key.id,
            ret
        );
        return Made::None;
    }
    bucket.push(&mut writer, new);
    Made::New(data)
}

/// Returns the constructor that an author gives, as [`make`] wants it.
///
/// # Safety
///
/// `ctor` must be fit for the data that it gets, `obj` and `ctor_data`.
unsafe fn constructor(
    ctor: Ctor,
    obj: *mut c_void,
    ctor_data: *mut c_void,
) -> impl FnOnce(*mut c_void) -> c_int {
    move |data| match ctor {
        // SAFETY: By the requirement of the function around this.
        Some(ctor) => unsafe { ctor(obj, data, ctor_data) },
        None => 0,
    }
}

/// Returns the destructor that an author gives, as [`Bucket::free`] wants it.
///
/// # Safety
///
/// `dtor` must be fit for the structures and the data that it gets.
unsafe fn destructor(dtor: Dtor) -> impl Fn(*mut c_void, *mut c_void) {
    move |obj, data| {
        if let Some(dtor) = dtor {
            // SAFETY: By the requirement of the function around this.
            unsafe { dtor(obj, data) };
        }
    }
}

/// Frees the variables `id` of all structures.
fn free_all(id: c_ulong, dtor: impl Fn(*mut c_void, *mut c_void)) {
    let mut writer = WRITERS.lock();
    for bucket in &TABLE {
        bucket.free(&mut writer, usize::MAX, |key| key.id == id, &dtor);
    }
}

/// Returns the data of the shadow variable `id` of `obj`, or null if there is none.
///
/// Takes no lock; may be called wherever RCU is watching.
///
/// # Safety
///
/// May be called with any values. What is returned is valid until the variable is
/// freed.
#[export]
unsafe extern "C" fn klp_shadow_get(obj: *mut c_void, id: c_ulong) -> *mut c_void {
    get(Key { obj, id })
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
    ctor: Ctor,
    ctor_data: *mut c_void,
) -> *mut c_void {
    // SAFETY: The caller's constructor fits its data.
    let ctor = unsafe { constructor(ctor, obj, ctor_data) };
    match make(Key { obj, id }, size, gfp_flags, ctor) {
        Made::New(data) => data,
        Made::Existing(_) => {
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
    ctor: Ctor,
    ctor_data: *mut c_void,
) -> *mut c_void {
    // SAFETY: The caller's constructor fits its data.
    let ctor = unsafe { constructor(ctor, obj, ctor_data) };
    match make(Key { obj, id }, size, gfp_flags, ctor) {
        Made::New(data) | Made::Existing(data) => data,
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
unsafe extern "C" fn klp_shadow_free(obj: *mut c_void, id: c_ulong, dtor: Dtor) {
    // SAFETY: The caller's destructor fits its data.
    let dtor = unsafe { destructor(dtor) };
    let matches = |key| key == Key { obj, id };
    Bucket::of(obj).free(&mut WRITERS.lock(), 1, matches, dtor);
}

/// Frees the shadow variables `id` of all structures, as [`klp_shadow_free`] does.
///
/// # Safety
///
/// `dtor` must be fit for the data of the variables.
#[export]
unsafe extern "C" fn klp_shadow_free_all(id: c_ulong, dtor: Dtor) {
    // SAFETY: The caller's destructor fits its data.
    free_all(id, unsafe { destructor(dtor) });
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[kunit_tests(livepatch_shadow)]
mod tests {
    use super::*;

    const ID: c_ulong = 0x6b6c7074;

    fn key(obj: usize) -> Key {
        Key {
            obj: obj as *mut c_void,
            id: ID,
        }
    }

    fn alloc(obj: usize, value: usize) -> Made {
        let ctor = |data: *mut c_void| {
            // SAFETY: There are as many bytes.
            unsafe { *data.cast::<usize>() = value };
            0
        };
        make(key(obj), size_of::<usize>(), bindings::GFP_KERNEL, ctor)
    }

    fn value(obj: usize) -> Option<usize> {
        // SAFETY: A variable that `alloc` has made, and that only the test frees.
        unsafe { get(key(obj)).cast::<usize>().as_ref() }.copied()
    }

    #[test]
    fn life_of_a_variable() {
        assert_eq!(value(16), None);
        let made = alloc(16, 1);
        let Made::New(data) = made else {
            assert!(false);
            return;
        };
        assert_eq!(data as usize % 16, 0);
        assert_eq!(value(16), Some(1));
        // The second does not construct.
        assert!(alloc(16, 2) == Made::Existing(data));
        assert_eq!(value(16), Some(1));
        Bucket::of(key(16).obj).free(&mut WRITERS.lock(), 1, |k| k == key(16), |_, _| ());
        assert_eq!(value(16), None);
    }

    #[test]
    fn constructor_may_refuse() {
        let made = make(key(16), 8, bindings::GFP_KERNEL, |_| ENOSPC.to_errno());
        assert!(made == Made::None);
        assert_eq!(value(16), None);
    }

    #[test]
    fn absurd_size_is_refused() {
        let made = make(key(16), usize::MAX, bindings::GFP_KERNEL, |_| 0);
        assert!(made == Made::None);
    }

    #[test]
    fn free_all_frees_all_of_an_id() {
        // More than there are buckets, so that some share one.
        for obj in 1..=5000 {
            assert!(matches!(alloc(obj * 64, obj), Made::New(_)));
        }
        for obj in 1..=5000 {
            assert_eq!(value(obj * 64), Some(obj));
        }
        let destroyed = Atomic::<i32>::new(0);
        free_all(ID, |_, _| destroyed.add(1, Relaxed));
        assert_eq!(destroyed.load(Relaxed), 5000);
        assert!((1..=5000).all(|obj| value(obj * 64).is_none()));
    }
}
