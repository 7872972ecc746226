// SPDX-License-Identifier: GPL-2.0

//! Shadow variables: a patch's own data that belong to a structure of the kernel.

use super::Handover;
use crate::{
    alloc::Flags,
    bindings,
    container_of,
    error::{
        code::*,
        Error, //
    },
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        rcu, //
    },
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use pin_init::PinInit;

/// What a module has to wait for before it can be unloaded: values that RCU has yet to drop, by
/// functions of the module.
#[doc(hidden)]
pub struct Pending {
    drops: Atomic<usize>,
    closing: Atomic<bool>,
}

impl Pending {
    /// Nothing is pending.
    pub const fn none() -> Self {
        Self {
            drops: Atomic::new(0),
            closing: Atomic::new(false),
        }
    }

    /// Frees what only this module can free, by `free_all`, and waits until all values that it has
    /// freed are dropped. No variable can be made from here on. May sleep.
    ///
    /// Only values that are being dropped may use variables of the module meanwhile.
    pub(super) fn close(&self, free_all: impl Fn()) {
        self.closing.store(true, Relaxed);
        loop {
            // A value that is dropped may free other variables, or make one if it has not seen
            // `closing`. After this it has been dropped, so that what it made is found.
            rcu::rcu_barrier();
            free_all();
            // Pairs with the release in `drop_node`: what that has freed was counted before.
            if self.drops.load(Acquire) == 0 {
                break;
            }
        }
        // The callback that has counted down last may still run in the module.
        rcu::rcu_barrier();
    }
}

/// A module that has shadow variables.
///
/// # Safety
///
/// To be implemented by [`livepatch!`](super::livepatch): [`Pending::close`] of what `pending`
/// returns must be called before the module is unloaded.
#[doc(hidden)]
pub unsafe trait Owner: 'static {
    /// What the module waits for.
    fn pending() -> &'static Pending;
}

/// The memory of a variable, to which its shadow variable in C points.
///
/// The value is separate from C's memory: that is freed as soon as RCU's readers are done, when
/// the value has yet to be dropped.
#[pin_data]
#[repr(C)]
struct Node<T> {
    /// For dropping the value.
    rcu: Opaque<bindings::callback_head>,
    #[pin]
    value: T,
}

/// A shadow variable that was found.
///
/// The value stays as long as this exists. It holds the RCU read lock: its owner must not sleep.
pub struct Ref<'a, T> {
    value: *const T,
    _rcu: rcu::Guard,
    _variable: PhantomData<&'a T>,
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The value was found under the RCU read lock, which is still held; freeing it
        // drops it only once readers are done.
        unsafe { &*self.value }
    }
}

/// What C calls for a new variable: links `ctor_data`, a pointer to a `*mut Node<T>`, and takes it.
///
/// # Safety
///
/// To be called by C with the space for a pointer, and with `ctor_data` as said.
unsafe extern "C" fn link<T>(
    _obj: *mut c_void,
    shadow_data: *mut c_void,
    ctor_data: *mut c_void,
) -> c_int {
    let node = ctor_data.cast::<*mut Node<T>>();
    // SAFETY: By the requirement of this function.
    unsafe { *shadow_data.cast::<*mut Node<T>>() = node.replace(ptr::null_mut()) };
    0
}

/// What C calls for a variable that a module of `P` has unlinked.
///
/// # Safety
///
/// To be called by C with the data of a variable that `link::<T>` has made.
unsafe extern "C" fn unlink<T, P: Owner>(_obj: *mut c_void, shadow_data: *mut c_void) {
    P::pending().drops.add(1, Relaxed);
    // SAFETY: By the requirement of this function.
    let node = unsafe { *shadow_data.cast::<*mut Node<T>>() };
    // SAFETY: The node is valid; no reference is made.
    let head = unsafe { &raw const (*node).rcu };
    // SAFETY: The variable was unlinked, which happens once, so that `rcu` is not in use.
    unsafe { bindings::call_rcu(Opaque::cast_into(head), Some(drop_node::<T, P>)) };
}

/// What RCU calls when the last reader of a variable is done.
///
/// # Safety
///
/// To be called by RCU, with the `rcu` of a node that is not in use any more.
unsafe extern "C" fn drop_node<T, P: Owner>(head: *mut bindings::callback_head) {
    let head: *mut Opaque<bindings::callback_head> = head.cast();
    // SAFETY: By the requirement of this function it lies in a node.
    let node = unsafe { container_of!(head, Node<T>, rcu) };
    // SAFETY: The node was made by `KBox`, and is ours.
    drop(unsafe { KBox::from_raw(node) });
    // Orders what was freed by this before the count. Pairs with the acquire in `close`.
    P::pending().drops.fetch_sub(1, Release);
}

/// The variables of one id, whose values are `T`.
struct Variables<T> {
    id: c_ulong,
    pending: fn() -> &'static Pending,
    unlink: unsafe extern "C" fn(*mut c_void, *mut c_void),
    _value: PhantomData<fn(T) -> T>,
}

impl<T: Send + Sync + 'static> Variables<T> {
    /// The variables of a module of `P`, by an id that no other variables have.
    const fn new<P: Owner>(id: c_ulong) -> Self {
        Self {
            id,
            pending: P::pending,
            unlink: unlink::<T, P>,
            _value: PhantomData,
        }
    }

    fn get<O: ?Sized>(&self, obj: *const O) -> Option<Ref<'_, T>> {
        let rcu = rcu::read_lock();
        // SAFETY: Takes any address.
        let data = unsafe { bindings::klp_shadow_get(address(obj), self.id) };
        // SAFETY: If there is one, `link::<T>` has made it, and RCU keeps it.
        let node = unsafe { data.cast::<*mut Node<T>>().as_ref() }?;
        Some(Ref {
            // SAFETY: As above; no reference is made.
            value: unsafe { &raw const (**node).value },
            _rcu: rcu,
            _variable: PhantomData,
        })
    }

    fn get_or_try_init<O: ?Sized, E>(
        &self,
        obj: *const O,
        init: impl PinInit<T, E>,
        flags: Flags,
    ) -> Result<Ref<'_, T>>
    where
        Error: From<E>,
    {
        if let Some(found) = self.get(obj) {
            return Ok(found);
        }
        if (self.pending)().closing.load(Relaxed) {
            return Err(ENODEV);
        }

        let node: Pin<KBox<Node<T>>> = KBox::try_pin_init(
            try_pin_init!(Node {
                rcu: Opaque::zeroed(),
                value <- init,
            }? Error),
            flags,
        )?;
        // SAFETY: The value is not moved: it stays where it is until it is dropped.
        let mut node = KBox::into_raw(unsafe { Pin::into_inner_unchecked(node) });

        let found = loop {
            // SAFETY: `link` takes a pointer to a pointer to a node.
            let data = unsafe {
                bindings::klp_shadow_get_or_alloc(
                    address(obj),
                    self.id,
                    size_of::<*mut Node<T>>(),
                    flags.as_raw(),
                    Some(link::<T>),
                    (&raw mut node).cast(),
                )
            };
            if data.is_null() {
                break Err(ENOMEM);
            }
            // It is used under the RCU read lock, which could not be held before.
            if let Some(found) = self.get(obj) {
                break Ok(found);
            }
            // It was freed at once. If it was another task's, ours can be tried again.
            if node.is_null() {
                break Err(ENOENT);
            }
        };
        if !node.is_null() {
            // SAFETY: It was not linked, so it is ours.
            drop(unsafe { KBox::from_raw(node) });
        }
        found
    }

    fn free<O: ?Sized>(&self, obj: *const O) {
        // SAFETY: Variables of this id were made by `link::<T>`.
        unsafe { bindings::klp_shadow_free(address(obj), self.id, Some(self.unlink)) };
    }

    fn free_all(&self) {
        // SAFETY: Variables of this id were made by `link::<T>`.
        unsafe { bindings::klp_shadow_free_all(self.id, Some(self.unlink)) };
    }
}

/// The address, which is all that C needs of an object.
fn address<O: ?Sized>(obj: *const O) -> *mut c_void {
    obj.cast::<c_void>().cast_mut()
}

/// Mixes bytes into a hash (FNV-1a).
pub(super) const fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        rest = tail;
    }
    hash
}

/// The initial hash for [`mix`].
pub(super) const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// C's id of the variables `id`, in all modules that use the same `domain` and type `T`.
///
/// It is a hash, so two of them are equal with a probability of one in 2^63. Ids of patches in C
/// are small numbers by convention; these are large.
const fn id_for_c<T>(domain: &[u8], id: u64) -> c_ulong {
    let mut hash = mix(SEED, domain);
    hash = mix(hash, &id.to_le_bytes());
    hash = mix(hash, &size_of::<T>().to_le_bytes());
    hash = mix(hash, &align_of::<T>().to_le_bytes());
    (hash | 1 << 63) as c_ulong
}

macro_rules! variables {
    ($name:ident, $($bound:tt)*) => {
        impl<T: $($bound)*> $name<T> {
            /// Returns the variable of the structure at `obj`, if there is one.
            ///
            /// Takes no lock. May be called wherever RCU is watching.
            pub fn get<O: ?Sized>(&self, obj: *const O) -> Option<Ref<'_, T>> {
                self.0.get(obj)
            }

            /// Returns the variable of the structure at `obj`, and makes it if there is none.
            ///
            /// `init` is not run if there is one; if another task makes it at the same time, one
            /// of the two values is dropped at once. May be called where `flags` and `init` allow
            /// it, but not from NMIs; on PREEMPT_RT only where a spinlock may be taken, which
            /// sleeps there. The result holds the RCU read lock.
            ///
            /// # Errors
            ///
            /// `ENOMEM`; the error of `init`; `ENOENT`: it was freed as soon as it was made;
            /// `ENODEV`: there is none, and the patch's module is being unloaded.
            pub fn get_or_try_init<O: ?Sized, E>(
                &self,
                obj: *const O,
                init: impl PinInit<T, E>,
                flags: Flags,
            ) -> Result<Ref<'_, T>>
            where
                Error: From<E>,
            {
                self.0.get_or_try_init(obj, init, flags)
            }

            /// Frees the variable of the structure at `obj`, if it has one.
            ///
            /// It cannot be found any more when this returns. Its value is dropped, once, when
            /// readers that have found it before are done: by RCU, in atomic context, so dropping
            /// it must not sleep. May be called in any context but NMIs; on PREEMPT_RT only where
            /// a spinlock may be taken.
            pub fn free<O: ?Sized>(&self, obj: *const O) {
                self.0.free(obj);
            }

            /// Frees the variables of all structures, as [`Self::free`] does.
            pub fn free_all(&self) {
                self.0.free_all();
            }
        }
    };
}

variables!(Shadow, Send + Sync + 'static);
variables!(SharedShadow, Handover);

/// Shadow variables that only one patch knows.
///
/// A shadow variable attaches a value to a structure of the kernel that has no room for it. It is
/// found by the structure's address; nothing is known about the structure itself, so the patch has
/// to free the variable when the structure is freed.
///
/// Declared by [`livepatch!`](super::livepatch), which makes sure that an id has one type.
/// Variables that remain when the patch's module is unloaded are freed then: no other code could
/// free them. For variables that a later patch should find, use [`SharedShadow`].
///
/// Wraps C's `klp_shadow_get()`, `klp_shadow_get_or_alloc()`, `klp_shadow_free()` and
/// `klp_shadow_free_all()`.
pub struct Shadow<T: Send + Sync + 'static>(Variables<T>);

impl<T: Send + Sync + 'static> Shadow<T> {
    /// Declares the variables `id` of the patch `module`, whose owner is `P`.
    ///
    /// # Safety
    ///
    /// The module must have no variables of another type under this id, and free all of them
    /// before it is unloaded.
    #[doc(hidden)]
    pub const unsafe fn declare<P: Owner>(module: &[u8], id: u64) -> Self {
        Self(Variables::new::<P>(id_for_c::<T>(module, id)))
    }

    /// Frees the remaining variables when the module is unloaded.
    #[doc(hidden)]
    pub fn unload(&self) {
        self.free_all();
    }
}

/// Shadow variables that patches hand over to one another.
///
/// They are like [`Shadow`] variables, but stay when the patch's module is unloaded. Another patch
/// that has a type of the same [`Handover::NAME`], and the id, finds them. The last patch has to
/// free them: [`Patch::disabled`](super::Patch::disabled) is called when there is no patch to take
/// them over. A type of another size or alignment makes other variables. Patches in C do not find
/// them.
///
/// # Examples
///
/// ```ignore
/// use kernel::{
///     livepatch::{livepatch, Handover, SharedShadow},
///     prelude::*,
///     sync::atomic::{Atomic, Relaxed},
/// };
///
/// livepatch! {
///     name: "count_uses",
///     license: "GPL",
///     shadow: [
///         USES: SharedShadow<Uses> = 1,
///     ],
///     objects: { /* … */ },
/// }
///
/// /// How often a structure was used.
/// #[repr(C)]
/// struct Uses(Atomic<u64>);
///
/// // SAFETY: It is the same in all of our patches.
/// unsafe impl Handover for Uses {
///     const NAME: &'static str = "example.org/uses";
/// }
///
/// fn count<T>(structure: &T) -> Result {
///     let uses = USES.get_or_try_init(structure, Uses(Atomic::new(0)), GFP_KERNEL)?;
///     uses.0.add(1, Relaxed);
///     // The variable is released here: it holds the RCU read lock.
///     Ok(())
/// }
/// ```
pub struct SharedShadow<T: Handover>(Variables<T>);

impl<T: Handover> SharedShadow<T> {
    /// Declares the variables `id`, which other modules know, too. The owner of this module is `P`.
    ///
    /// # Safety
    ///
    /// That of [`Handover`] is enough: all modules that have the type's name and the id may free
    /// the variables.
    #[doc(hidden)]
    pub const unsafe fn declare<P: Owner>(_module: &[u8], id: u64) -> Self {
        check_name(T::NAME);
        Self(Variables::new::<P>(id_for_c::<T>(T::NAME.as_bytes(), id)))
    }

    /// Leaves the variables to other modules.
    #[doc(hidden)]
    pub fn unload(&self) {}
}

/// Shadow variables that patches in C have, too, by their number.
///
/// With these a patch in Rust can replace a patch in C, and the other way round. They do no more
/// than C does: a variable is a `T`, in C's memory. Only its address is returned, as another patch
/// may free it meanwhile, and it is not freed when the patch's module is unloaded. Freeing a
/// variable drops its `T`, at once, where a patch in C has a destructor; the memory stays until
/// RCU's readers are done.
///
/// # Examples
///
/// ```
/// use kernel::{
///     livepatch::CShadow,
///     prelude::*, //
/// };
///
/// /// What samples/livepatch/livepatch-shadow-fix1.c keeps: memory that leaks otherwise.
/// #[repr(transparent)]
/// struct Leak(*mut c_void);
///
/// // SAFETY: It can be freed by any task.
/// unsafe impl Send for Leak {}
///
/// impl Drop for Leak {
///     fn drop(&mut self) {
///         // SAFETY: It was allocated by `kmalloc()`, and is not used elsewhere.
///         unsafe { kernel::bindings::kfree(self.0) };
///     }
/// }
///
/// // SAFETY: Patches in C have this under this number.
/// static LEAKS: CShadow<Leak> = unsafe { CShadow::new(1) };
///
/// # let structure = 0u32;
/// LEAKS.get_or_alloc(&structure, || Leak(core::ptr::null_mut()), GFP_KERNEL)?;
/// assert!(LEAKS.get(&structure).is_some());
/// LEAKS.free(&structure);
/// assert!(LEAKS.get(&structure).is_none());
/// # Ok::<(), Error>(())
/// ```
///
/// Wraps C's `klp_shadow_get()`, `klp_shadow_get_or_alloc()`, `klp_shadow_free()` and
/// `klp_shadow_free_all()`.
pub struct CShadow<T: Send + 'static> {
    id: c_ulong,
    _value: PhantomData<fn(T) -> T>,
}

impl<T: Send + 'static> CShadow<T> {
    /// The variables with the number `id`.
    ///
    /// # Safety
    ///
    /// All variables of this number must be a `T`, whichever patch has made them, and other patches
    /// must need no more to free one than dropping the `T`.
    pub const unsafe fn new(id: usize) -> Self {
        Self {
            id: id as c_ulong,
            _value: PhantomData,
        }
    }

    /// Returns the address of the variable of the structure at `obj`, if there is one.
    ///
    /// It is valid until a patch frees it, and its memory until RCU's readers are done then. Takes
    /// no lock. May be called wherever RCU is watching.
    pub fn get<O: ?Sized>(&self, obj: *const O) -> Option<NonNull<T>> {
        // SAFETY: Takes any address.
        let found = unsafe { bindings::klp_shadow_get(address(obj), self.id) };
        NonNull::new(found.cast())
    }

    /// Returns the address of the variable of the structure at `obj`, and makes it if there is
    /// none.
    ///
    /// `init` is called if there is none, with a lock held and interrupts disabled: it must not
    /// sleep, nor use shadow variables. The variable is valid as for [`Self::get`]. May be called
    /// where `flags` allow it, but not from NMIs; on PREEMPT_RT only where a spinlock may be taken.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn get_or_alloc<O: ?Sized, F: FnOnce() -> T>(
        &self,
        obj: *const O,
        init: F,
        flags: Flags,
    ) -> Result<NonNull<T>> {
        /// # Safety
        ///
        /// To be called by C, once, with the memory for a `T` and a pointer to an `Option<F>`.
        unsafe extern "C" fn construct<T, F: FnOnce() -> T>(
            _obj: *mut c_void,
            shadow_data: *mut c_void,
            ctor_data: *mut c_void,
        ) -> c_int {
            // SAFETY: By the requirement of this function.
            let init = unsafe { &mut *ctor_data.cast::<Option<F>>() };
            match init.take() {
                // SAFETY: As above.
                Some(init) => unsafe { shadow_data.cast::<T>().write(init()) },
                None => return EINVAL.to_errno(),
            }
            0
        }

        const {
            // The alignment of C's structure, behind which the data begin.
            assert!(align_of::<T>() <= align_of::<c_ulong>());
        }
        let mut init = Some(init);
        // SAFETY: `construct` gets what it requires. A variable that exists already is a `T`, too.
        let found = unsafe {
            bindings::klp_shadow_get_or_alloc(
                address(obj),
                self.id,
                size_of::<T>(),
                flags.as_raw(),
                Some(construct::<T, F>),
                (&raw mut init).cast(),
            )
        };
        NonNull::new(found.cast()).ok_or(ENOMEM)
    }

    /// Frees the variable of the structure at `obj`, if it has one.
    ///
    /// Its value is dropped with a lock held and interrupts disabled, so dropping it must not
    /// sleep, nor use shadow variables. May be called in any context but NMIs; on PREEMPT_RT only
    /// where a spinlock may be taken.
    pub fn free<O: ?Sized>(&self, obj: *const O) {
        // SAFETY: Variables of this number are a `T`.
        unsafe { bindings::klp_shadow_free(address(obj), self.id, Some(Self::destruct)) };
    }

    /// Frees the variables of all structures, as [`Self::free`] does.
    pub fn free_all(&self) {
        // SAFETY: Variables of this number are a `T`.
        unsafe { bindings::klp_shadow_free_all(self.id, Some(Self::destruct)) };
    }

    /// What C calls for a variable that it has unlinked.
    ///
    /// # Safety
    ///
    /// To be called by C, once, with the data of a variable.
    unsafe extern "C" fn destruct(_obj: *mut c_void, shadow_data: *mut c_void) {
        // SAFETY: By the requirement of this function. It cannot be found any more.
        unsafe { shadow_data.cast::<T>().drop_in_place() };
    }
}

/// Refuses an id that is one of `others`, too.
#[doc(hidden)]
pub const fn check_shadow_id(id: u64, others: &[u64]) {
    let mut rest = others;
    while let [other, tail @ ..] = rest {
        assert!(
            id != *other,
            "the id stands for two types of shadow variables"
        );
        rest = tail;
    }
}

/// Refuses a name that two authors might choose.
pub(super) const fn check_name(name: &str) {
    let mut rest = name.as_bytes();
    while let [byte, tail @ ..] = rest {
        if *byte == b'/' {
            return;
        }
        rest = tail;
    }
    panic!("a name of what patches hand over begins with its author's, as in \"example.org/uses\"");
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_livepatch_shadow)]
mod tests {
    use super::*;
    use crate::sync::atomic::{Atomic, Relaxed};

    static DROPPED: Atomic<usize> = Atomic::new(0);

    /// Counts how often one is dropped.
    struct Counted(usize);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.add(1, Relaxed);
        }
    }

    /// Is never unloaded.
    struct Kunit;

    // SAFETY: It is never unloaded.
    unsafe impl Owner for Kunit {
        fn pending() -> &'static Pending {
            static PENDING: Pending = Pending::none();
            &PENDING
        }
    }

    // SAFETY: Freed below, by the only user.
    static COUNTED: Shadow<Counted> = unsafe { Shadow::declare::<Kunit>(b"kunit", 1) };
    // SAFETY: As above. The id is that of another patch.
    static OTHER: Shadow<Counted> = unsafe { Shadow::declare::<Kunit>(b"kunit_other", 1) };
    // SAFETY: As above. The id is the same, the type has another size.
    static SMALL: Shadow<u8> = unsafe { Shadow::declare::<Kunit>(b"kunit", 1) };

    fn init(value: usize) -> impl PinInit<Counted, Error> {
        Ok(Counted(value))
    }

    /// Waits until what was freed is dropped; returns how many were since this was called last.
    fn dropped() -> usize {
        rcu::rcu_barrier();
        DROPPED.xchg(0, Relaxed)
    }

    #[test]
    fn life_of_a_variable() {
        let obj = 0u64;
        dropped();
        assert!(COUNTED.get(&obj).is_none());
        let made = COUNTED.get_or_try_init(&obj, init(7), GFP_KERNEL);
        assert!(made.is_ok_and(|found| found.0 == 7));
        assert!(COUNTED.get(&obj).is_some_and(|found| found.0 == 7));
        // The second is not made.
        let again = COUNTED.get_or_try_init(&obj, init(8), GFP_KERNEL);
        assert!(again.is_ok_and(|found| found.0 == 7));
        COUNTED.free(&obj);
        assert!(COUNTED.get(&obj).is_none());
        // The value that was not needed was dropped without being made.
        assert!((1..=2).contains(&dropped()));
        // There is nothing left to free.
        COUNTED.free(&obj);
        assert_eq!(dropped(), 0);
    }

    #[test]
    fn what_was_found_stays() {
        let obj = 0u64;
        assert!(COUNTED.get_or_try_init(&obj, init(1), GFP_KERNEL).is_ok());
        dropped();
        let found = COUNTED.get(&obj);
        COUNTED.free(&obj);
        let gone = COUNTED.get(&obj).is_none();
        // The RCU read lock is held: nothing is dropped. An assert that fails ends this thread, so
        // there is none until the lock is released.
        let early = DROPPED.load(Relaxed);
        let value = found.as_ref().map(|found| found.0);
        drop(found);
        assert!(gone);
        assert_eq!(early, 0);
        assert_eq!(value, Some(1));
        assert_eq!(dropped(), 1);
    }

    #[test]
    fn errors_of_the_initialiser_are_handed_on() {
        let obj = 0u64;
        let made = COUNTED.get_or_try_init(&obj, Err::<Counted, Error>(ENOSPC), GFP_KERNEL);
        assert_eq!(made.err(), Some(ENOSPC));
        assert!(COUNTED.get(&obj).is_none());
    }

    #[test]
    fn patches_and_types_are_told_apart() {
        let obj = 0u64;
        assert!(COUNTED.get_or_try_init(&obj, init(1), GFP_KERNEL).is_ok());
        assert!(OTHER.get(&obj).is_none());
        assert!(SMALL.get(&obj).is_none());
        assert!(SMALL
            .get_or_try_init(&obj, Ok::<u8, Error>(9), GFP_KERNEL)
            .is_ok_and(|found| *found == 9));
        COUNTED.free(&obj);
        assert!(SMALL.get(&obj).is_some());
        SMALL.free_all();
        assert!(SMALL.get(&obj).is_none());
    }

    #[test]
    fn all_are_freed_once() {
        let objects = [0u64; 50];
        dropped();
        for obj in &objects {
            assert!(COUNTED.get_or_try_init(obj, init(1), GFP_KERNEL).is_ok());
        }
        let other = OTHER.get_or_try_init(&objects[0], init(1), GFP_KERNEL);
        assert!(other.is_ok());
        drop(other);
        COUNTED.free_all();
        assert!(objects.iter().all(|obj| COUNTED.get(obj).is_none()));
        assert_eq!(dropped(), 50);
        assert!(OTHER.get(&objects[0]).is_some());
        OTHER.unload();
        assert_eq!(dropped(), 1);
    }

    /// A value that frees the next one when it is dropped, and tries to make one more.
    struct Chained(usize);

    static STEPS: [u8; 4] = [0; 4];
    static REFUSED: Atomic<usize> = Atomic::new(0);

    /// Is unloaded, as the module of a patch is.
    struct Going;

    // SAFETY: Closed below, by the only user.
    unsafe impl Owner for Going {
        fn pending() -> &'static Pending {
            static PENDING: Pending = Pending::none();
            &PENDING
        }
    }

    // SAFETY: As above.
    static CHAIN: Shadow<Chained> = unsafe { Shadow::declare::<Going>(b"kunit_chain", 1) };

    impl Drop for Chained {
        fn drop(&mut self) {
            // The one more, which was not made.
            if self.0 >= STEPS.len() {
                return;
            }
            DROPPED.add(1, Relaxed);
            if let Some(next) = STEPS.get(self.0 + 1) {
                CHAIN.free(next);
            }
            let more = CHAIN.get_or_try_init(&STEPS, Ok::<_, Error>(Chained(9)), GFP_ATOMIC);
            REFUSED.add(usize::from(more.err() == Some(ENODEV)), Relaxed);
        }
    }

    #[test]
    fn unloading_waits_for_all_that_follows() {
        dropped();
        for (number, step) in STEPS.iter().enumerate() {
            let made = CHAIN.get_or_try_init(step, Ok::<_, Error>(Chained(number)), GFP_KERNEL);
            assert!(made.is_ok());
        }
        // Each is freed by the one before: one grace period after the other.
        let calls = Atomic::new(0usize);
        Going::pending().close(|| {
            if calls.fetch_add(1, Relaxed) == 0 {
                CHAIN.free(&STEPS[0]);
            }
        });
        // Nothing has waited since.
        assert_eq!(DROPPED.xchg(0, Relaxed), 4);
        assert_eq!(REFUSED.load(Relaxed), 4);
        assert!(CHAIN.get(&STEPS).is_none());
        let late = CHAIN.get_or_try_init(&STEPS, Ok::<_, Error>(Chained(9)), GFP_KERNEL);
        assert_eq!(late.err(), Some(ENODEV));
        assert_eq!(dropped(), 0);
    }

    #[test]
    fn names_are_of_somebody() {
        check_name("example.org/x");
        assert!(id_for_c::<u64>(b"a/x", 1) != id_for_c::<u64>(b"b/x", 1));
        assert!(id_for_c::<u64>(b"a/x", 1) != id_for_c::<u64>(b"a/x", 2));
        assert!(id_for_c::<u64>(b"a/x", 1) != id_for_c::<u32>(b"a/x", 1));
    }
}
