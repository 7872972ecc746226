// SPDX-License-Identifier: GPL-2.0

//! The structures that livepatch modules fill in, fenced.
//!
//! `struct klp_patch`, `klp_object` and `klp_func` belong to the module that defines them; the core
//! links them and keeps its notes in their internal fields. Here is all code that looks into them.
//!
//! The methods, unless they say otherwise, are for callers that hold `klp_mutex`: a patch that was
//! accepted is reached through the [`Registry`](crate::klp::Registry), which the mutex owns, and
//! one that was not yet is its caller's own.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)

use kernel::{
    bindings,
    container_of,
    ffi::{c_int, c_void},
    prelude::*,
    types::Opaque, //
};

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
};

// The layouts are those that the C compiler sees.
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<bindings::klp_func>() == bindings::KLP_FUNC_SIZE);
    assert!(size_of::<bindings::klp_object>() == bindings::KLP_OBJECT_SIZE);
    assert!(size_of::<bindings::klp_patch>() == bindings::KLP_PATCH_SIZE);
    assert!(offset_of!(bindings::klp_patch, finish) == bindings::KLP_PATCH_FINISH);
    assert!(offset_of!(bindings::module, core_kallsyms) == bindings::MODULE_CORE_KALLSYMS);
    assert!(offset_of!(bindings::module, klp_info) == bindings::MODULE_KLP_INFO);
};

/// A replacement of one function: `struct klp_func`.
#[repr(transparent)]
pub(crate) struct Func(Opaque<bindings::klp_func>);

/// The replacements in one object, which is vmlinux or a module: `struct klp_object`.
#[repr(transparent)]
pub(crate) struct Object(Opaque<bindings::klp_object>);

/// A livepatch: `struct klp_patch`.
#[repr(transparent)]
pub(crate) struct Patch(Opaque<bindings::klp_patch>);

/// A pointer to a patch that the core has accepted.
///
/// # Invariants
///
/// The patch is valid: its module has been referenced, and stays so until the last step of freeing
/// the patch, after which nobody uses the pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PatchRef(NonNull<Patch>);

// SAFETY: A pointer to data that `klp_mutex` protects, whoever holds it.
unsafe impl Send for PatchRef {}

impl PatchRef {
    /// Makes a pointer to `patch`.
    ///
    /// # Safety
    ///
    /// The module of `patch` must be referenced for as long as the type's invariants say.
    pub(crate) unsafe fn new(patch: &Patch) -> Self {
        // INVARIANT: By the requirement of this function.
        Self(NonNull::from(patch))
    }
}

impl Deref for PatchRef {
    type Target = Patch;

    fn deref(&self) -> &Patch {
        // SAFETY: By the type's invariants the patch is valid. `Patch` is an `Opaque`, so that
        // others may write to it.
        unsafe { self.0.as_ref() }
    }
}

/// A structure that is linked into a list of C's.
///
/// # Safety
///
/// `OFFSET` must be that of a `list_head` in `Self`.
unsafe trait Linked {
    /// Where in the structure the `list_head` is.
    const OFFSET: usize;
}

// SAFETY: `node` is a `list_head`.
unsafe impl Linked for Func {
    const OFFSET: usize = core::mem::offset_of!(bindings::klp_func, node);
}

// SAFETY: `node` is a `list_head`.
unsafe impl Linked for Object {
    const OFFSET: usize = core::mem::offset_of!(bindings::klp_object, node);
}

/// The elements of a list. The element that was returned last may be taken off and freed.
struct Elements<'a, T> {
    head: *mut bindings::list_head,
    next: *mut bindings::list_head,
    _list: PhantomData<&'a T>,
}

impl<'a, T: Linked> Elements<'a, T> {
    /// # Safety
    ///
    /// `head` must be the head of an initialised list of `T` that stays valid for `'a`, and that
    /// loses no element in that time but the one that was returned last.
    unsafe fn new(head: *mut bindings::list_head) -> Self {
        Self {
            head,
            // SAFETY: By the requirement of this function.
            next: unsafe { (*head).next },
            _list: PhantomData,
        }
    }
}

impl<'a, T: Linked> Iterator for Elements<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if ptr::eq(self.next, self.head) {
            return None;
        }
        let node = self.next;
        // SAFETY: `node` is in the list, by the requirement of `new`.
        self.next = unsafe { (*node).next };
        // SAFETY: `node` is the `list_head` at that offset of a `T`.
        Some(unsafe { &*node.byte_sub(T::OFFSET).cast::<T>() })
    }
}

/// Returns whether a list is empty.
///
/// # Safety
///
/// `head` must be that of an initialised list.
pub(crate) unsafe fn list_is_empty(head: *const bindings::list_head) -> bool {
    // SAFETY: By the requirement of this function.
    ptr::eq(unsafe { (*head).next }, head)
}

impl Func {
    /// Returns the pointer that C code uses.
    pub(crate) fn as_ptr(&self) -> *mut bindings::klp_func {
        self.0.get()
    }

    /// Returns the structure that has this kobject.
    ///
    /// # Safety
    ///
    /// `kobj` must be the one of a `klp_func`.
    pub(crate) unsafe fn from_kobj<'a>(kobj: *mut bindings::kobject) -> &'a Self {
        // SAFETY: By the requirement of this function.
        unsafe { &*container_of!(kobj, bindings::klp_func, kobj).cast::<Self>() }
    }

    /// The function's name in the object's symbol table, which [`Patch::check`] has made sure of.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: A nul-terminated string that the patch keeps.
        unsafe { CStr::from_char_ptr((*self.as_ptr()).old_name) }
    }

    /// Which of the functions of that name, from 1; 0 if there is just one.
    pub(crate) fn sympos(&self) -> usize {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).old_sympos }
    }

    /// The address of the function, or 0 while its object is not loaded.
    pub(crate) fn old_func(&self) -> usize {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).old_func as usize }
    }

    /// The address of the replacement. For a nop it is that of the function itself.
    pub(crate) fn new_func(&self) -> usize {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).new_func as usize }
    }

    /// The sizes in bytes of the function and of its replacement.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        unsafe { ((*this).old_size, (*this).new_size) }
    }

    /// Whether it only leads back to the original, for a patch that replaces all others.
    pub(crate) fn is_nop(&self) -> bool {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).nop }
    }

    /// Whether it is on the function stack.
    pub(crate) fn is_patched(&self) -> bool {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).patched }
    }

    /// Notes whether it is on the function stack.
    pub(crate) fn set_patched(&self, patched: bool) {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).patched = patched };
    }

    /// Whether tasks are being moved to or from it.
    pub(crate) fn in_transition(&self) -> bool {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).transition }
    }

    /// Notes whether tasks are being moved to or from it.
    pub(crate) fn set_in_transition(&self, transition: bool) {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).transition = transition };
    }

    /// Notes where the function is.
    pub(crate) fn set_old(&self, addr: usize, size: usize) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        unsafe { (*this).old_func = addr as *mut c_void };
        // SAFETY: The structure is valid.
        unsafe { (*this).old_size = size };
    }

    /// Notes where the replacement is.
    pub(crate) fn set_new(&self, addr: usize, size: usize) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        unsafe { (*this).new_func = addr as *mut c_void };
        // SAFETY: The structure is valid.
        unsafe { (*this).new_size = size };
    }

    /// Forgets the addresses in an object that is being unloaded.
    pub(crate) fn forget_addresses(&self) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        unsafe { (*this).old_func = ptr::null_mut() };
        if self.is_nop() {
            // SAFETY: The structure is valid.
            unsafe { (*this).new_func = ptr::null_mut() };
        }
    }

    /// Prepares the internal fields.
    pub(crate) fn init(&self) {
        // SAFETY: The structure is valid, and `stack_node` not in use.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*self.as_ptr()).stack_node) };
        self.set_patched(false);
        self.set_in_transition(false);
    }

    /// The link in the function stack.
    pub(crate) fn stack_node(&self) -> *mut bindings::list_head {
        // SAFETY: The structure is valid; no reference is made.
        unsafe { &raw mut (*self.as_ptr()).stack_node }
    }

    /// Returns the function whose link in a function stack is `node`.
    ///
    /// # Safety
    ///
    /// `node` must be the `stack_node` of a `klp_func` that is valid for `'a`.
    pub(crate) unsafe fn from_stack_node<'a>(node: *mut bindings::list_head) -> &'a Self {
        // SAFETY: By the requirement of this function.
        unsafe { &*container_of!(node, bindings::klp_func, stack_node).cast::<Self>() }
    }

    /// Returns the kobject.
    pub(crate) fn kobj(&self) -> *mut bindings::kobject {
        // SAFETY: The structure is valid; no reference is made.
        unsafe { &raw mut (*self.as_ptr()).kobj }
    }

    /// Makes the kobject and puts the function on the list of `object`.
    pub(crate) fn init_early(&self, object: &Object) {
        // SAFETY: The kobject is zeroed memory that nobody uses; the type outlives it.
        unsafe { bindings::kobject_init(self.kobj(), crate::sysfs::func_type()) };
        // SAFETY: The list is initialised, and the node not in any.
        unsafe {
            bindings::list_add_tail(
                &raw mut (*self.as_ptr()).node,
                &raw mut (*object.as_ptr()).func_list,
            )
        };
    }

    /// Takes the function off the list of its object and lets go of it. A nop is freed by this.
    pub(crate) fn unlink(&self) {
        // SAFETY: The node is in the list of the object, as `init_early` put it there.
        unsafe { bindings::list_del(&raw mut (*self.as_ptr()).node) };
        // SAFETY: The reference is that of `kobject_init`.
        unsafe { bindings::kobject_put(self.kobj()) };
    }

    /// Makes a nop for `old` in `object`.
    pub(crate) fn new_nop(old: &Func, object: &Object) -> Result {
        let func = KBox::<Opaque<bindings::klp_func>>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
        let func = KBox::into_raw(func).cast::<bindings::klp_func>();

        // SAFETY: `old` has a nul-terminated name.
        let name = unsafe { bindings::kstrdup((*old.as_ptr()).old_name, bindings::GFP_KERNEL) };
        if name.is_null() {
            // SAFETY: It was allocated above, by `kmalloc()`.
            unsafe { bindings::kfree(func.cast()) };
            return Err(ENOMEM);
        }
        // SAFETY: `func` is ours, and all its bytes are zero, which is valid.
        unsafe { (*func).old_name = name };
        // SAFETY: As above.
        unsafe { (*func).old_sympos = (*old.as_ptr()).old_sympos };
        // SAFETY: As above.
        unsafe { (*func).nop = true };

        // From here on the kobject's release function frees it.
        //
        // SAFETY: `Func` is a transparent wrapper, and `func` lives until it is released.
        unsafe { &*func.cast::<Func>() }.init_early(object);
        Ok(())
    }

    /// Frees a function that [`Self::new_nop`] made; others are the module's.
    ///
    /// # Safety
    ///
    /// Nobody may use the function any more.
    pub(crate) unsafe fn free_if_nop(&self) {
        if self.is_nop() {
            // SAFETY: Made by `kstrdup()` in `new_nop`.
            unsafe { bindings::kfree((*self.as_ptr()).old_name.cast()) };
            // SAFETY: Made by `kmalloc()` in `new_nop`; the caller promises that it is unused.
            unsafe { bindings::kfree(self.as_ptr().cast()) };
        }
    }
}

impl Object {
    /// Returns the pointer that C code uses.
    pub(crate) fn as_ptr(&self) -> *mut bindings::klp_object {
        self.0.get()
    }

    /// Returns the structure that has this kobject.
    ///
    /// # Safety
    ///
    /// `kobj` must be the one of a `klp_object`.
    pub(crate) unsafe fn from_kobj<'a>(kobj: *mut bindings::kobject) -> &'a Self {
        // SAFETY: By the requirement of this function.
        unsafe { &*container_of!(kobj, bindings::klp_object, kobj).cast::<Self>() }
    }

    /// The module's name, or `None` for vmlinux.
    pub(crate) fn module_name(&self) -> Option<&CStr> {
        // SAFETY: The structure is valid.
        let name = unsafe { (*self.as_ptr()).name };
        // SAFETY: If not null, a nul-terminated string that the patch keeps.
        (!name.is_null()).then(|| unsafe { CStr::from_char_ptr(name) })
    }

    /// What the object is called in the log and in sysfs.
    pub(crate) fn label(&self) -> &CStr {
        self.module_name().unwrap_or(c"vmlinux")
    }

    /// Whether the code that it patches is there.
    pub(crate) fn is_loaded(&self) -> bool {
        self.module_name().is_none() || !self.module().is_null()
    }

    /// Whether its functions are patched. Needs no lock, but the answer may be out of date.
    pub(crate) fn is_patched(&self) -> bool {
        // SAFETY: The structure is valid; a `bool` that others may be writing.
        unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).patched) }
    }

    /// Notes whether its functions are patched.
    pub(crate) fn set_patched(&self, patched: bool) {
        // SAFETY: The structure is valid; sysfs may read the field now.
        unsafe { ptr::write_volatile(&raw mut (*self.as_ptr()).patched, patched) };
    }

    /// The module, or null while it is not loaded.
    pub(crate) fn module(&self) -> *mut bindings::module {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).mod_ }
    }

    /// Notes which module it is for.
    pub(crate) fn set_module(&self, module: *mut bindings::module) {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).mod_ = module };
    }

    /// Whether it exists only for nops.
    pub(crate) fn is_dynamic(&self) -> bool {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).dynamic }
    }

    /// Returns the kobject.
    pub(crate) fn kobj(&self) -> *mut bindings::kobject {
        // SAFETY: The structure is valid; no reference is made.
        unsafe { &raw mut (*self.as_ptr()).kobj }
    }

    /// The functions, nops included.
    pub(crate) fn funcs(&self) -> impl Iterator<Item = &Func> {
        // SAFETY: `init_early` has initialised the list, on which are `Func`s; `klp_mutex` is held,
        // and who takes elements off takes the last one that was returned.
        unsafe { Elements::new(&raw mut (*self.as_ptr()).func_list) }
    }

    /// The functions that the module's author gave.
    fn static_funcs(&self) -> impl Iterator<Item = &Func> {
        // SAFETY: The structure is valid.
        let mut next = unsafe { (*self.as_ptr()).funcs };
        core::iter::from_fn(move || {
            // SAFETY: The array goes on up to an element whose fields are all zero.
            let func = unsafe { &*next.cast::<Func>() };
            // SAFETY: As above.
            let raw = unsafe { &*next };
            if raw.old_name.is_null() && raw.new_func.is_null() && raw.old_sympos == 0 {
                return None;
            }
            // SAFETY: It was not the last element.
            next = unsafe { next.add(1) };
            Some(func)
        })
    }

    /// Makes the kobject and puts the object on the list of `patch`.
    fn init_early(&self, patch: &Patch) {
        // SAFETY: The structure is valid.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*self.as_ptr()).func_list) };
        // SAFETY: The kobject is zeroed memory that nobody uses; the type outlives it.
        unsafe { bindings::kobject_init(self.kobj(), crate::sysfs::object_type()) };
        // SAFETY: The list is initialised, and the node not in any.
        unsafe {
            bindings::list_add_tail(
                &raw mut (*self.as_ptr()).node,
                &raw mut (*patch.as_ptr()).obj_list,
            )
        };
    }

    /// Takes the object off the list of its patch and lets go of it. A dynamic one is freed by
    /// this.
    pub(crate) fn unlink(&self) {
        // SAFETY: The node is in the list of the patch, as `init_early` put it there.
        unsafe { bindings::list_del(&raw mut (*self.as_ptr()).node) };
        // SAFETY: The reference is that of `kobject_init`.
        unsafe { bindings::kobject_put(self.kobj()) };
    }

    /// Makes an object for nops, with the name of `old`, in `patch`.
    pub(crate) fn new_dynamic<'a>(old: &Object, patch: &'a Patch) -> Result<&'a Object> {
        let object = KBox::<Opaque<bindings::klp_object>>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
        let object = KBox::into_raw(object).cast::<bindings::klp_object>();

        // SAFETY: The structure is valid.
        let old_name = unsafe { (*old.as_ptr()).name };
        if !old_name.is_null() {
            // SAFETY: A nul-terminated string.
            let name = unsafe { bindings::kstrdup(old_name, bindings::GFP_KERNEL) };
            if name.is_null() {
                // SAFETY: It was allocated above, by `kmalloc()`.
                unsafe { bindings::kfree(object.cast()) };
                return Err(ENOMEM);
            }
            // SAFETY: `object` is ours, and all its bytes are zero, which is valid.
            unsafe { (*object).name = name };
        }
        // SAFETY: As above.
        unsafe { (*object).dynamic = true };

        // From here on the kobject's release function frees it.
        //
        // SAFETY: `Object` is a transparent wrapper; it lives until the patch lets go of it.
        let object = unsafe { &*object.cast::<Object>() };
        object.init_early(patch);
        Ok(object)
    }

    /// Frees an object that [`Self::new_dynamic`] made; others are the module's.
    ///
    /// # Safety
    ///
    /// Nobody may use the object any more.
    pub(crate) unsafe fn free_if_dynamic(&self) {
        if self.is_dynamic() {
            // SAFETY: Made by `kstrdup()` in `new_dynamic`, or null.
            unsafe { bindings::kfree((*self.as_ptr()).name.cast()) };
            // SAFETY: Made by `kmalloc()` in `new_dynamic`; the caller promises that it is unused.
            unsafe { bindings::kfree(self.as_ptr().cast()) };
        }
    }

    /// Whether both are for the same vmlinux or module.
    pub(crate) fn is_same(&self, other: &Object) -> bool {
        self.module_name() == other.module_name()
    }

    /// Calls the author's `pre_patch`, which may refuse.
    pub(crate) fn pre_patch(&self) -> Result {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        let ret = match unsafe { (*this).callbacks.pre_patch } {
            // SAFETY: The author's function takes the object.
            Some(callback) => unsafe { callback(this) },
            None => 0,
        };
        // SAFETY: The structure is valid.
        unsafe { (*this).callbacks.post_unpatch_enabled = ret == 0 };
        if ret == 0 {
            return Ok(());
        }
        // The author may return any number; what is no errno is handed on as one.
        Err(Error::from_errno(ret))
    }

    /// Calls the author's `post_patch`.
    pub(crate) fn post_patch(&self) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        if let Some(callback) = unsafe { (*this).callbacks.post_patch } {
            // SAFETY: The author's function takes the object.
            unsafe { callback(this) };
        }
    }

    /// Calls the author's `pre_unpatch`.
    pub(crate) fn pre_unpatch(&self) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        if let Some(callback) = unsafe { (*this).callbacks.pre_unpatch } {
            // SAFETY: The author's function takes the object.
            unsafe { callback(this) };
        }
    }

    /// Calls the author's `post_unpatch`, unless its `pre_patch` refused or was not called.
    pub(crate) fn post_unpatch(&self) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        let callbacks = unsafe { &raw mut (*this).callbacks };
        // SAFETY: As above.
        if unsafe { (*callbacks).post_unpatch_enabled } {
            // SAFETY: As above.
            if let Some(callback) = unsafe { (*callbacks).post_unpatch } {
                // SAFETY: The author's function takes the object.
                unsafe { callback(this) };
            }
        }
        // SAFETY: As above.
        unsafe { (*callbacks).post_unpatch_enabled = false };
    }
}

impl Patch {
    /// Returns the pointer that C code uses.
    pub(crate) fn as_ptr(&self) -> *mut bindings::klp_patch {
        self.0.get()
    }

    /// Returns the patch at `ptr`.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or point to a `klp_patch` that is valid for `'a`.
    pub(crate) unsafe fn from_ptr<'a>(ptr: *mut bindings::klp_patch) -> Option<&'a Self> {
        // SAFETY: By the requirement of this function; `Patch` is a transparent wrapper.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    /// Returns the structure that has this kobject.
    ///
    /// # Safety
    ///
    /// `kobj` must be the one of a `klp_patch`.
    pub(crate) unsafe fn from_kobj<'a>(kobj: *mut bindings::kobject) -> &'a Self {
        // SAFETY: By the requirement of this function.
        unsafe { &*container_of!(kobj, bindings::klp_patch, kobj).cast::<Self>() }
    }

    /// Returns the patch whose `list` is at `node`.
    ///
    /// # Safety
    ///
    /// `node` must be the one of a `klp_patch`.
    pub(crate) unsafe fn from_list<'a>(node: *mut bindings::list_head) -> &'a Self {
        // SAFETY: By the requirement of this function.
        unsafe { &*container_of!(node, bindings::klp_patch, list).cast::<Self>() }
    }

    /// The node in the list of patches.
    pub(crate) fn list_node(&self) -> *mut bindings::list_head {
        // SAFETY: No reference is made; `self` is a `klp_patch`.
        unsafe { &raw mut (*self.as_ptr()).list }
    }

    /// Returns the patch whose `free_work` is at `work`.
    ///
    /// # Safety
    ///
    /// `work` must be the one of a `klp_patch`.
    pub(crate) unsafe fn from_free_work<'a>(work: *mut bindings::work_struct) -> &'a Self {
        // SAFETY: By the requirement of this function.
        unsafe { &*container_of!(work, bindings::klp_patch, free_work).cast::<Self>() }
    }

    /// Looks whether the author has given all that is needed.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the module, the objects, the functions of an object or a name is missing.
    pub(crate) fn check(&self) -> Result {
        let this = self.as_ptr();
        // SAFETY: The structure is valid.
        if unsafe { (*this).mod_.is_null() || (*this).objs.is_null() } {
            return Err(EINVAL);
        }
        for object in self.static_objects() {
            // SAFETY: The structure is valid.
            if unsafe { (*object.as_ptr()).funcs.is_null() } {
                return Err(EINVAL);
            }
            for func in object.static_funcs() {
                // SAFETY: The structure is valid.
                if unsafe { (*func.as_ptr()).old_name.is_null() } {
                    return Err(EINVAL);
                }
            }
        }
        Ok(())
    }

    /// The module that the patch comes in.
    pub(crate) fn module(&self) -> *mut bindings::module {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).mod_ }
    }

    /// The name of the module, which is the one of the patch.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: The module is valid for as long as the patch is, and its name nul-terminated.
        unsafe { CStr::from_char_ptr((&raw const (*self.module()).name).cast()) }
    }

    /// Whether it replaces all patches that there are.
    pub(crate) fn is_replacing(&self) -> bool {
        // SAFETY: The structure is valid; nobody writes the field.
        unsafe { (*self.as_ptr()).replace }
    }

    /// Whether it is, or is becoming, enabled. Needs no lock, but the answer may be out of date.
    pub(crate) fn is_enabled(&self) -> bool {
        // SAFETY: The structure is valid; a `bool` that others may be writing.
        unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).enabled) }
    }

    /// Notes whether it is enabled.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        // SAFETY: The structure is valid; sysfs may read the field now.
        unsafe { ptr::write_volatile(&raw mut (*self.as_ptr()).enabled, enabled) };
    }

    /// Whether tasks were forced off it, so that its code must stay for good.
    pub(crate) fn is_forced(&self) -> bool {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).forced }
    }

    /// Notes that tasks were forced off it.
    pub(crate) fn set_forced(&self) {
        // SAFETY: The structure is valid.
        unsafe { (*self.as_ptr()).forced = true };
    }

    /// Returns the kobject.
    pub(crate) fn kobj(&self) -> *mut bindings::kobject {
        // SAFETY: The structure is valid; no reference is made.
        unsafe { &raw mut (*self.as_ptr()).kobj }
    }

    /// The objects, those for nops included.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        // SAFETY: `init_early` has initialised the list, on which are `Object`s; `klp_mutex` is
        // held, and who takes elements off takes the last one that was returned.
        unsafe { Elements::new(&raw mut (*self.as_ptr()).obj_list) }
    }

    /// The objects that the author gave. `objs` must not be null.
    fn static_objects(&self) -> impl Iterator<Item = &Object> {
        // SAFETY: The structure is valid.
        let mut next = unsafe { (*self.as_ptr()).objs };
        core::iter::from_fn(move || {
            // SAFETY: The array goes on up to an element with neither name nor functions.
            let object = unsafe { &*next.cast::<Object>() };
            // SAFETY: As above.
            if unsafe { (*next).funcs.is_null() && (*next).name.is_null() } {
                return None;
            }
            // SAFETY: It was not the last element.
            next = unsafe { next.add(1) };
            Some(object)
        })
    }

    /// Prepares the internal fields of the patch, its objects and their functions, as far as it
    /// cannot fail.
    pub(crate) fn init_early(&self) {
        let this = self.as_ptr();
        // SAFETY: The structure is valid, and the list not in use.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*this).list) };
        // SAFETY: As above.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*this).obj_list) };
        // SAFETY: The kobject is zeroed memory that nobody uses; the type outlives it.
        unsafe { bindings::kobject_init(self.kobj(), crate::sysfs::patch_type()) };
        self.set_enabled(false);
        // SAFETY: The structure is valid.
        unsafe { (*this).forced = false };
        // SAFETY: The work is not in use.
        unsafe { bindings::klp_init_work(&raw mut (*this).free_work, Some(crate::klp::free_work)) };
        // SAFETY: The completion is not in use.
        unsafe { bindings::init_completion(&raw mut (*this).finish) };

        for object in self.static_objects() {
            object.init_early(self);
            for func in object.static_funcs() {
                func.init_early(object);
            }
        }
    }

    /// Has the work run that finishes the freeing.
    pub(crate) fn schedule_free_work(&self) {
        // SAFETY: `init_early` has initialised the work.
        unsafe { bindings::klp_schedule_work(&raw mut (*self.as_ptr()).free_work) };
    }

    /// The last reference to the kobject is gone.
    pub(crate) fn released(&self) {
        // SAFETY: `init_early` has initialised the completion.
        unsafe { bindings::complete(&raw mut (*self.as_ptr()).finish) };
    }

    /// Lets go of the kobject, and waits until everybody else has. May sleep; must not be called
    /// under `klp_mutex`, which a writer of `enabled` waits for.
    pub(crate) fn wait_for_release(&self) {
        // SAFETY: The reference is that of `kobject_init`.
        unsafe { bindings::kobject_put(self.kobj()) };
        // SAFETY: `init_early` has initialised the completion.
        unsafe { bindings::wait_for_completion(&raw mut (*self.as_ptr()).finish) };
    }

    /// Takes a reference to the module.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the module is being unloaded.
    pub(crate) fn get_module(&self) -> Result {
        // SAFETY: The module is valid.
        if unsafe { bindings::try_module_get(self.module()) } {
            Ok(())
        } else {
            Err(ENODEV)
        }
    }

    /// Lets go of the reference to the module.
    pub(crate) fn put_module(&self) {
        // SAFETY: `get_module` was called.
        unsafe { bindings::module_put(self.module()) };
    }

    /// The states that the patch brings, up to the terminating one.
    pub(crate) fn states(&self) -> impl Iterator<Item = *mut bindings::klp_state> + '_ {
        // SAFETY: The structure is valid; nobody writes the field.
        let mut next = unsafe { (*self.as_ptr()).states };
        core::iter::from_fn(move || {
            // SAFETY: Null, or in an array that goes on up to an element whose id is 0.
            if next.is_null() || unsafe { (*next).id } == 0 {
                return None;
            }
            let state = next;
            // SAFETY: It was not the last element.
            next = unsafe { next.add(1) };
            Some(state)
        })
    }
}

/// Turns what a Rust function returns into what C expects.
pub(crate) fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
