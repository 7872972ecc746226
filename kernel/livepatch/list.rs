// SPDX-License-Identifier: GPL-2.0

//! Lists of patches, objects and functions, linked by fields of these: `struct list_head`.
//!
//! C header: [`include/linux/list.h`](srctree/include/linux/list.h)

use crate::lock::Locked;
use kernel::{
    bindings,
    sync::rcu,
    types::Opaque, //
};

use core::{
    marker::PhantomData,
    ptr, //
};

/// A link in a list. Zeroed memory is one that is in no list.
#[repr(transparent)]
pub(crate) struct Link(Opaque<bindings::list_head>);

// SAFETY: Links are used by the functions of lists only, which say who may call them.
unsafe impl Send for Link {}
// SAFETY: As above.
unsafe impl Sync for Link {}

impl Link {
    pub(crate) const fn zeroed() -> Self {
        Self(Opaque::zeroed())
    }

    /// Makes this the head of an empty list. It must stay in place from now on.
    fn init(&self) {
        // SAFETY: The memory is valid; a head that is not in use yet is the caller's alone.
        unsafe { bindings::INIT_LIST_HEAD(self.0.get()) };
    }

    /// Returns the next link of the list of `self`, or `None` at its end.
    ///
    /// # Safety
    ///
    /// `link` must be the head of the list, or a link on it that stays valid, with its successor.
    unsafe fn after(&self, link: *mut bindings::list_head) -> Option<*mut bindings::list_head> {
        // Under RCU the address of what is read next depends on what is read here, which orders the
        // two. Pairs with the release store in `list_add_tail_rcu()`.
        //
        // SAFETY: By the requirement of this function.
        let next = unsafe { (&raw const (*link).next).read_volatile() };
        (!next.is_null() && !ptr::eq(next, self.0.get())).then_some(next)
    }
}

/// The head of a list of `T`s, which are linked by their [`Link`] at `OFFSET`. `klp_mutex` protects
/// it. Zeroed memory is an empty list.
///
/// # Invariants
///
/// The head is zeroed, or that of an initialised list on which are links at `OFFSET` of valid `T`s.
#[repr(transparent)]
pub(crate) struct List<T, const OFFSET: usize> {
    head: Link,
    _items: PhantomData<*const T>,
}

// SAFETY: Only a holder of the `Locked` uses the list: one thread at a time.
unsafe impl<T: Sync, const OFFSET: usize> Send for List<T, OFFSET> {}
// SAFETY: As above.
unsafe impl<T: Sync, const OFFSET: usize> Sync for List<T, OFFSET> {}

impl<T, const OFFSET: usize> List<T, OFFSET> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: Link::zeroed(),
            _items: PhantomData,
        }
    }

    /// The link of an item.
    fn link(item: *const T) -> *mut bindings::list_head {
        item.wrapping_byte_add(OFFSET).cast_mut().cast()
    }

    fn head(&self) -> *mut bindings::list_head {
        self.head.0.get()
    }

    /// Whether nothing is on the list.
    pub(crate) fn is_empty(&self, locked: &Locked) -> bool {
        self.iter(locked).next().is_none()
    }

    /// The item that a link is part of.
    ///
    /// # Safety
    ///
    /// The link must be on the list, or have been, and the item be valid for `'a`.
    unsafe fn item<'a>(link: *mut bindings::list_head) -> &'a T {
        // SAFETY: By the type's invariants there is a `T` around the link.
        unsafe { &*link.byte_sub(OFFSET).cast::<T>() }
    }

    /// The items, from the first to the last.
    ///
    /// # Safety
    ///
    /// What is on the list must stay valid for `'a`. An item that is
    /// taken off must not be the one that the iterator has returned last.
    unsafe fn iter_unlocked<'a>(&self) -> impl Iterator<Item = &'a T> + use<'a, '_, T, OFFSET>
    where
        T: 'a,
    {
        let mut last = self.head();
        core::iter::from_fn(move || {
            // SAFETY: The head, or the link of an item that is on the list.
            last = unsafe { self.head.after(last) }?;
            // SAFETY: By the requirement of this function.
            Some(unsafe { Self::item(last) })
        })
    }

    /// The items, from the first to the last.
    pub(crate) fn iter<'a>(&'a self, _locked: &'a Locked) -> impl Iterator<Item = &'a T> {
        // SAFETY: The mutex is held, and items are freed by `drain` only, which takes it
        // exclusively.
        unsafe { self.iter_unlocked() }
    }

    /// Puts an item at the beginning of the list.
    ///
    /// # Safety
    ///
    /// The item must be on no list by this link, and be valid until it was taken off. The list must
    /// stay in place for as long as it is not empty.
    pub(crate) unsafe fn push_front(&self, locked: &Locked, item: &T) {
        self.init_if_empty(locked);
        // SAFETY: By the requirements of this function; the list is initialised.
        unsafe { bindings::list_add(Self::link(item), self.head()) };
    }

    /// Puts an item at the end of the list.
    ///
    /// # Safety
    ///
    /// As for [`Self::push_front`].
    pub(crate) unsafe fn push_back(&self, locked: &Locked, item: &T) {
        self.init_if_empty(locked);
        // SAFETY: As in `push_front`.
        unsafe { bindings::list_add_tail(Self::link(item), self.head()) };
    }

    fn init_if_empty(&self, locked: &Locked) {
        if self.is_empty(locked) {
            self.head.init();
        }
    }

    /// Takes an item off the list.
    ///
    /// # Safety
    ///
    /// The item must be on this list, and no iterator over the list have returned it last.
    pub(crate) unsafe fn remove(&self, _locked: &Locked, item: &T) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::list_del(Self::link(item)) };
    }

    /// Takes the items off the list for which `remove` returns true, and hands each to `free`,
    /// which may free it. Neither may use the list.
    pub(crate) fn drain(
        &self,
        locked: &mut Locked,
        mut remove: impl FnMut(&T, &mut Locked) -> bool,
        mut free: impl FnMut(&T),
    ) {
        // SAFETY: The head; the mutex is held.
        let mut next = unsafe { self.head.after(self.head()) };
        while let Some(link) = next {
            // SAFETY: It is on the list, and the mutex is held.
            next = unsafe { self.head.after(link) };
            // SAFETY: It is on the list. References that are older have ended, as the token is
            // borrowed exclusively.
            let item = unsafe { Self::item(link) };
            if remove(item, locked) {
                // SAFETY: It is on the list.
                unsafe { bindings::list_del(link) };
                free(item);
            }
        }
    }
}

/// The head of a list as [`List`], whose items can be read under RCU as well.
#[repr(transparent)]
pub(crate) struct RcuList<T, const OFFSET: usize>(List<T, OFFSET>);

impl<T, const OFFSET: usize> RcuList<T, OFFSET> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    /// Initialises the list. To be called before anything else.
    pub(crate) fn init(&'static self) {
        self.0.head.init();
    }

    /// The items, from the first to the last. They may come and go meanwhile.
    pub(crate) fn iter<'a>(&'static self, _rcu: &'a rcu::Guard) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        // SAFETY: An item that is taken off keeps its link, and stays valid until readers are done.
        unsafe { self.0.iter_unlocked() }
    }

    /// Puts an item at the end of the list.
    ///
    /// # Safety
    ///
    /// The item must be on no list by this link. It must be valid until it was taken off and a
    /// grace period of RCU is over.
    pub(crate) unsafe fn push_back(&'static self, _locked: &Locked, item: &T) {
        // SAFETY: By the requirements of this function; `init` was called.
        unsafe { bindings::list_add_tail_rcu(List::<T, OFFSET>::link(item), self.0.head()) };
    }

    /// Takes an item off the list. Readers may still use it.
    ///
    /// # Safety
    ///
    /// The item must be on this list.
    pub(crate) unsafe fn remove(&'static self, _locked: &Locked, item: &T) {
        // SAFETY: By the requirement of this function.
        unsafe { bindings::list_del_rcu(List::<T, OFFSET>::link(item)) };
    }
}
