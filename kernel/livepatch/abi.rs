// SPDX-License-Identifier: GPL-2.0

//! The structures that livepatch modules fill in.
//!
//! `struct klp_patch`, `klp_object` and `klp_func` belong to the module that defines them; the core
//! links them and keeps its own data in their internal fields. Here they are as Rust sees them: the
//! same layouts, with types that say who may use a field.
//!
//! - What the author has filled in does not change.
//! - What `klp_mutex` protects is [`Protected`], or a [`List`].
//! - What is read without a lock, by sysfs for one, is [`Atomic`]. It is written with `klp_mutex`
//!   held.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)

use crate::{
    list::{Link, List},
    lock::{Locked, Protected},
    module::Module,
    trace::{self, Fate}, //
};
use kernel::{
    bindings,
    ffi::{c_char, c_int, c_uint, c_ulong, c_void},
    kobject::{HasKobject, KobjType, Kobject},
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        rcu,
        Arc,
        Completion,
        UniqueArc, //
    },
    types::Opaque,
    workqueue::{impl_has_work, new_work, system_dfl, Work, WorkItem},
};
use pin_init::Zeroable;

use core::{
    cell::UnsafeCell,
    mem::offset_of,
    ops::Deref,
    ptr::{self, NonNull},
};

/// Where a [`Func`] is linked into the list of its object.
const FUNC_NODE: usize = offset_of!(Func, node);
/// Where a [`Func`] is linked into the function stack.
const FUNC_STACK_NODE: usize = offset_of!(Func, stack_node);
/// Where an [`Object`] is linked into the list of its patch.
const OBJECT_NODE: usize = offset_of!(Object, node);
/// Where a [`Patch`] is linked into the list of patches.
pub(crate) const PATCH_LIST: usize = offset_of!(Patch, list);

/// A function stack: the replacements of one function, the newest first.
pub(crate) type FuncStack = List<Func, FUNC_STACK_NODE>;

/// A replacement of one function: `struct klp_func`.
#[repr(C)]
pub(crate) struct Func {
    old_name: *const c_char,
    new_func: Atomic<usize>,
    old_sympos: usize,
    old_func: Protected<usize>,
    kobj: Kobject,
    node: Link,
    stack_node: Link,
    old_size: Protected<usize>,
    new_size: Protected<usize>,
    nop: bool,
    patched: Protected<bool>,
    transition: Protected<bool>,
}

/// The replacements in one object, which is vmlinux or a module: `struct klp_object`.
#[repr(C)]
pub(crate) struct Object {
    name: *const c_char,
    static_funcs: *const Func,
    callbacks: Callbacks,
    kobj: Kobject,
    funcs: List<Func, FUNC_NODE>,
    node: Link,
    module: Protected<*const Module>,
    dynamic: bool,
    patched: Atomic<bool>,
}

type Callback = Option<unsafe extern "C" fn(*const Object)>;

/// The author's callbacks: `struct klp_callbacks`.
#[repr(C)]
struct Callbacks {
    pre_patch: Option<unsafe extern "C" fn(*const Object) -> c_int>,
    post_patch: Callback,
    pre_unpatch: Callback,
    post_unpatch: Callback,
    post_unpatch_enabled: Protected<bool>,
}

/// What a patch does to the system besides replacing functions: `struct klp_state`.
#[repr(C)]
pub(crate) struct State {
    id: c_ulong,
    version: c_uint,
    data: UnsafeCell<*mut c_void>,
}

/// A livepatch: `struct klp_patch`.
#[repr(C)]
pub(crate) struct Patch {
    module: *const Module,
    static_objects: *const Object,
    states: *const State,
    replace: bool,
    list: Link,
    kobj: Kobject,
    objects: List<Object, OBJECT_NODE>,
    enabled: Atomic<bool>,
    forced: Atomic<bool>,
    free_work: Opaque<bindings::work_struct>,
    finish: Completion,
}

/// Fails to compile if a structure is not laid out as the one of C. So that the latter is laid out
/// as the C compiler does it, sizes are compared with what that says.
macro_rules! same_layout {
    ($ours:ty, $theirs:ty, $size:expr, { $($field:ident: $c:ident),* $(,)? }) => {
        const _: () = {
            assert!(size_of::<$ours>() == $size && size_of::<$theirs>() == $size);
            $(assert!(offset_of!($ours, $field) == offset_of!($theirs, $c));)*
        };
    };
}

same_layout!(Func, bindings::klp_func, bindings::KLP_FUNC_SIZE, {
    old_name: old_name, new_func: new_func, old_sympos: old_sympos, old_func: old_func, kobj: kobj,
    node: node, stack_node: stack_node, old_size: old_size, new_size: new_size, nop: nop,
    patched: patched, transition: transition,
});
same_layout!(Object, bindings::klp_object, bindings::KLP_OBJECT_SIZE, {
    name: name, static_funcs: funcs, callbacks: callbacks, kobj: kobj, funcs: func_list,
    node: node, module: mod_, dynamic: dynamic, patched: patched,
});
same_layout!(Callbacks, bindings::klp_callbacks, size_of::<bindings::klp_callbacks>(), {
    pre_patch: pre_patch, post_patch: post_patch, pre_unpatch: pre_unpatch,
    post_unpatch: post_unpatch, post_unpatch_enabled: post_unpatch_enabled,
});
same_layout!(State, bindings::klp_state, size_of::<bindings::klp_state>(), {
    id: id, version: version, data: data,
});
same_layout!(Patch, bindings::klp_patch, bindings::KLP_PATCH_SIZE, {
    module: mod_, static_objects: objs, states: states, replace: replace, list: list, kobj: kobj,
    objects: obj_list, enabled: enabled, forced: forced, free_work: free_work, finish: finish,
});
const _: () = assert!(offset_of!(bindings::klp_patch, finish) == bindings::KLP_PATCH_FINISH);

// SAFETY: What can change is protected as the fields' types say; the rest is only read.
unsafe impl Sync for Func {}
// SAFETY: As above.
unsafe impl Sync for Object {}
// SAFETY: As above.
unsafe impl Sync for Patch {}

// SAFETY: Zeroed, it is what a module has before its author fills it in.
unsafe impl Zeroable for Func {}
// SAFETY: As above.
unsafe impl Zeroable for Object {}

/// The types of the kobjects, which say what files there are.
pub(crate) struct KobjTypes {
    pub(crate) patch: &'static KobjType<Patch>,
    pub(crate) object: &'static KobjType<Object>,
    pub(crate) func: &'static KobjType<Func>,
}

// SAFETY: `OFFSET` is that of `kobj`.
unsafe impl HasKobject for Func {
    const OFFSET: usize = offset_of!(Func, kobj);

    unsafe fn release(this: &Self) {
        if this.nop {
            // SAFETY: `Object::add_nop` has made both; no other code uses them.
            unsafe { free_named(this, this.old_name) };
        }
    }
}

// SAFETY: `OFFSET` is that of `kobj`.
unsafe impl HasKobject for Object {
    const OFFSET: usize = offset_of!(Object, kobj);

    unsafe fn release(this: &Self) {
        if this.dynamic {
            // SAFETY: `Patch::add_dynamic` has made both; no other code uses them.
            unsafe { free_named(this, this.name) };
        }
    }
}

// SAFETY: `OFFSET` is that of `kobj`.
unsafe impl HasKobject for Patch {
    const OFFSET: usize = offset_of!(Patch, kobj);

    unsafe fn release(this: &Self) {
        // `Free::finish` waits for this.
        this.finish.complete_all();
    }
}

/// Frees a function or object that was made for nops, and its name.
///
/// # Safety
///
/// `this` must be a leaked `KBox`, and `name` null or from [`copy_name`]. No code uses them any
/// more.
unsafe fn free_named<T>(this: *const T, name: *const c_char) {
    // SAFETY: By the requirements of this function.
    unsafe { bindings::kfree(name.cast()) };
    // SAFETY: As above.
    drop(unsafe { KBox::from_raw(this.cast_mut()) });
}

/// Returns a copy of a name, to be freed by `kfree()`.
fn copy_name(name: &CStr) -> Result<*const c_char> {
    // SAFETY: The name is nul-terminated.
    let copy = unsafe { bindings::kstrdup(name.as_char_ptr(), bindings::GFP_KERNEL) };
    if copy.is_null() {
        return Err(ENOMEM);
    }
    Ok(copy)
}

/// The elements of an array that ends with one for which `is_end` returns true.
///
/// # Safety
///
/// `next` must be null or point into such an array, which is there for `'a`.
unsafe fn until<'a, T: 'a>(
    mut next: *const T,
    is_end: impl Fn(&T) -> bool,
) -> impl Iterator<Item = &'a T> {
    core::iter::from_fn(move || {
        // SAFETY: By the requirement of this function: the end has not been seen yet.
        let item = unsafe { next.as_ref() }.filter(|item| !is_end(item))?;
        next = next.wrapping_add(1);
        Some(item)
    })
}

impl Func {
    /// The function's name in the object's symbol table, which [`Declared::check`] has made sure
    /// of.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: A nul-terminated string that the patch keeps.
        unsafe { CStr::from_char_ptr(self.old_name) }
    }

    /// Which of the functions of that name, from 1; 0 if there is just one.
    pub(crate) fn sympos(&self) -> usize {
        self.old_sympos
    }

    /// Whether it only leads back to the original, for a patch that replaces all others.
    pub(crate) fn is_nop(&self) -> bool {
        self.nop
    }

    /// The address of the function, or 0 while its object is not loaded.
    pub(crate) fn old_func(&self, locked: &Locked) -> usize {
        self.old_func.get(locked)
    }

    /// The address of the replacement. For a nop it is that of the function itself, and 0 while its
    /// object is not loaded.
    pub(crate) fn new_func(&self) -> usize {
        self.new_func.load(Relaxed)
    }

    /// The size in bytes of the function.
    pub(crate) fn old_size(&self, locked: &Locked) -> usize {
        self.old_size.get(locked)
    }

    /// The size in bytes of the replacement.
    pub(crate) fn new_size(&self, locked: &Locked) -> usize {
        self.new_size.get(locked)
    }

    /// Whether it is on the function stack.
    pub(crate) fn is_patched(&self, locked: &Locked) -> bool {
        self.patched.get(locked)
    }

    /// Sets whether it is on the function stack.
    pub(crate) fn set_patched(&self, locked: &Locked, patched: bool) {
        self.patched.set(locked, patched);
    }

    /// Whether tasks are being moved to or from it.
    pub(crate) fn in_transition(&self, locked: &Locked) -> bool {
        self.transition.get(locked)
    }

    /// Sets whether tasks are being moved to or from it.
    pub(crate) fn set_in_transition(&self, locked: &Locked, transition: bool) {
        self.transition.set(locked, transition);
    }

    /// Sets where the function is.
    pub(crate) fn set_old(&self, locked: &Locked, addr: usize, size: usize) {
        self.old_func.set(locked, addr);
        self.old_size.set(locked, size);
    }

    /// Sets the size of the replacement.
    pub(crate) fn set_new_size(&self, locked: &Locked, size: usize) {
        self.new_size.set(locked, size);
    }

    /// Makes a nop lead to the function, whose address and size are known.
    pub(crate) fn set_new_to_old(&self, locked: &Locked) {
        self.new_func.store(self.old_func.get(locked), Relaxed);
        self.new_size.set(locked, self.old_size.get(locked));
    }

    /// Forgets the addresses in an object that is being unloaded.
    pub(crate) fn forget_addresses(&self, locked: &Locked) {
        self.old_func.set(locked, 0);
        if self.nop {
            self.new_func.store(0, Relaxed);
        }
    }

    /// Prepares the internal fields.
    pub(crate) fn init(&self, locked: &Locked) {
        self.set_patched(locked, false);
        self.set_in_transition(locked, false);
    }

    /// Makes the function's folder in that of `object`.
    ///
    /// # Errors
    ///
    /// `EEXIST`: there is one of that name; `ENOMEM`.
    pub(crate) fn add_folder(&self, object: &Object) -> Result {
        // The only function of a name is its first.
        let number = self.old_sympos.max(1);
        self.kobj.add_numbered(&object.kobj, self.name(), number)
    }
}

impl Object {
    /// The module's name, or `None` for vmlinux.
    pub(crate) fn module_name(&self) -> Option<&CStr> {
        // SAFETY: If not null, a nul-terminated string that the patch keeps.
        (!self.name.is_null()).then(|| unsafe { CStr::from_char_ptr(self.name) })
    }

    /// What the object is called in the log and in sysfs.
    pub(crate) fn label(&self) -> &CStr {
        self.module_name().unwrap_or(c"vmlinux")
    }

    /// Whether both are for the same vmlinux or module.
    pub(crate) fn is_same(&self, other: &Object) -> bool {
        self.module_name() == other.module_name()
    }

    /// Whether the code that it patches is there.
    pub(crate) fn is_loaded(&self, locked: &Locked) -> bool {
        self.name.is_null() || !self.module.get(locked).is_null()
    }

    /// Whether its functions are patched. Without `klp_mutex` the answer may be out of date.
    pub(crate) fn is_patched(&self) -> bool {
        self.patched.load(Relaxed)
    }

    /// Sets whether its functions are patched.
    pub(crate) fn set_patched(&self, _locked: &Locked, patched: bool) {
        self.patched.store(patched, Relaxed);
    }

    /// The module, while it is loaded.
    pub(crate) fn module<'a>(&'a self, locked: &'a Locked) -> Option<&'a Module> {
        // SAFETY: Null, or a module that is there: before one goes, `klp_module_going()` sets this
        // to null, which takes the mutex.
        unsafe { self.module.get(locked).as_ref() }
    }

    /// Sets which module it is for.
    pub(crate) fn set_module(&self, locked: &Locked, module: Option<&Module>) {
        self.module
            .set(locked, module.map_or(ptr::null(), ptr::from_ref));
    }

    /// Whether it exists only for nops.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// The functions, nops included.
    pub(crate) fn funcs<'a>(&'a self, locked: &'a Locked) -> impl Iterator<Item = &'a Func> {
        self.funcs.iter(locked)
    }

    /// The functions that the module's author gave.
    fn static_funcs(&self) -> impl Iterator<Item = &Func> {
        // SAFETY: The author's array, which ends so. A dynamic object has none.
        unsafe {
            until(self.static_funcs, |func| {
                func.old_name.is_null() && func.new_func() == 0 && func.old_sympos == 0
            })
        }
    }

    /// Makes the object's folder in that of `patch`.
    ///
    /// # Errors
    ///
    /// `EEXIST`: there is one of that name; `ENOMEM`.
    pub(crate) fn add_folder(&self, patch: &Patch) -> Result {
        self.kobj.add(&patch.kobj, self.label())
    }

    /// Puts a function on the list.
    ///
    /// # Safety
    ///
    /// The function must be valid until it was released, and new.
    unsafe fn adopt(&self, locked: &Locked, types: &KobjTypes, func: *const Func) {
        // SAFETY: By the requirements of this function.
        let func = unsafe { Kobject::init(func, types.func) };
        // SAFETY: As above; `Patch::unlink` takes it off before it is released.
        unsafe { self.funcs.push_back(locked, func) };
    }

    /// Adds a nop for `old`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add_nop(&self, locked: &Locked, types: &KobjTypes, old: &Func) -> Result {
        let mut func = KBox::<Func>::zeroed(GFP_KERNEL)?;
        func.old_name = copy_name(old.name())?;
        func.old_sympos = old.old_sympos;
        func.nop = true;
        // SAFETY: It is new. `Func::release` frees it, as it is a nop.
        unsafe { self.adopt(locked, types, KBox::into_raw(func)) };
        Ok(())
    }

    /// Calls the author's `pre_patch`.
    ///
    /// # Errors
    ///
    /// What that returns.
    pub(crate) fn pre_patch(&self, locked: &Locked) -> Result {
        let ret = match self.callbacks.pre_patch {
            // SAFETY: The author's function takes the object.
            Some(callback) => unsafe { callback(self) },
            None => 0,
        };
        self.callbacks.post_unpatch_enabled.set(locked, ret == 0);
        if ret == 0 {
            return Ok(());
        }
        // The author may return any number; what is no errno is handed on as one.
        Err(Error::from_errno(ret))
    }

    /// Calls the author's `post_patch`.
    pub(crate) fn post_patch(&self, _locked: &Locked) {
        self.call(self.callbacks.post_patch);
    }

    /// Calls the author's `pre_unpatch`.
    pub(crate) fn pre_unpatch(&self, _locked: &Locked) {
        self.call(self.callbacks.pre_unpatch);
    }

    /// Calls the author's `post_unpatch`, unless its `pre_patch` refused or was not called.
    pub(crate) fn post_unpatch(&self, locked: &Locked) {
        let enabled = &self.callbacks.post_unpatch_enabled;
        if enabled.get(locked) {
            self.call(self.callbacks.post_unpatch);
        }
        enabled.set(locked, false);
    }

    fn call(&self, callback: Callback) {
        if let Some(callback) = callback {
            // SAFETY: The author's function takes the object.
            unsafe { callback(self) };
        }
    }
}

impl State {
    /// What patches call the state.
    pub(crate) fn id(&self) -> c_ulong {
        self.id
    }

    /// Which patches can deal with the state: those that have it in this version or a later one.
    pub(crate) fn version(&self) -> c_uint {
        self.version
    }

    /// Returns the pointer that C code uses.
    pub(crate) fn as_ptr(&self) -> *mut bindings::klp_state {
        ptr::from_ref(self).cast_mut().cast()
    }
}

impl Patch {
    /// Returns the pointer that C code uses.
    pub(crate) fn as_ptr(&self) -> *mut bindings::klp_patch {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// The module that the patch comes in.
    pub(crate) fn module(&self) -> &Module {
        // SAFETY: A patch is part of its module, and valid for as long as that is.
        unsafe { &*self.module }
    }

    /// The name of the module, which is the one of the patch.
    pub(crate) fn name(&self) -> &CStr {
        self.module().name()
    }

    /// Whether it replaces all patches that there are.
    pub(crate) fn is_replacing(&self) -> bool {
        self.replace
    }

    /// Whether it is, or is becoming, enabled. Without `klp_mutex` the answer may be out of date.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Sets whether it is enabled.
    pub(crate) fn set_enabled(&self, _locked: &Locked, enabled: bool) {
        self.enabled.store(enabled, Relaxed);
    }

    /// Sets that tasks were forced off it, so that its code must stay for good.
    pub(crate) fn set_forced(&self, _locked: &Locked) {
        self.forced.store(true, Relaxed);
    }

    /// The objects, those for nops included.
    pub(crate) fn objects<'a>(&'a self, locked: &'a Locked) -> impl Iterator<Item = &'a Object> {
        self.objects.iter(locked)
    }

    /// The objects whose functions are patched.
    pub(crate) fn patched_objects<'a>(
        &'a self,
        locked: &'a Locked,
    ) -> impl Iterator<Item = &'a Object> {
        self.objects(locked).filter(|object| object.is_patched())
    }

    /// The objects that the author gave.
    fn static_objects(&self) -> impl Iterator<Item = &Object> {
        // SAFETY: The author's array, which ends so.
        unsafe {
            until(self.static_objects, |object| {
                object.static_funcs.is_null() && object.name.is_null()
            })
        }
    }

    /// The states that the patch brings.
    pub(crate) fn states(&self) -> impl Iterator<Item = &State> {
        // SAFETY: The author's array, which ends so, or null.
        unsafe { until(self.states, |state| state.id == 0) }
    }

    /// Makes the patch's folder in `root`.
    ///
    /// # Errors
    ///
    /// `EEXIST`: there is one of that name; `ENOMEM`.
    pub(crate) fn add_folder(&self, root: &Kobject) -> Result {
        self.kobj.add(root, self.name())
    }

    /// Adds an object for nops, with the name of `old`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add_dynamic<'a>(
        &'a self,
        locked: &'a Locked,
        types: &KobjTypes,
        old: &Object,
    ) -> Result<&'a Object> {
        let mut object = KBox::<Object>::zeroed(GFP_KERNEL)?;
        if let Some(name) = old.module_name() {
            object.name = copy_name(name)?;
        }
        object.dynamic = true;
        // SAFETY: It is new. `Object::release` frees it, as it is dynamic.
        Ok(unsafe { self.adopt(locked, types, KBox::into_raw(object)) })
    }

    /// Puts an object on the list.
    ///
    /// # Safety
    ///
    /// The object must be valid until it was released, and new.
    unsafe fn adopt<'a>(
        &'a self,
        locked: &'a Locked,
        types: &KobjTypes,
        object: *const Object,
    ) -> &'a Object {
        // SAFETY: By the requirements of this function.
        let object = unsafe { Kobject::init(object, types.object) };
        // SAFETY: As above; `unlink` takes it off before it is released.
        unsafe { self.objects.push_back(locked, object) };
        object
    }

    /// Takes the functions and objects off their lists and gives up the references to them: all, or
    /// only those that were made for nops.
    pub(crate) fn unlink(&self, locked: &mut Locked, nops_only: bool) {
        // SAFETY: The reference of `Kobject::init`, given back once: it was on the list.
        let put = |kobj: &Kobject| unsafe { kobj.put() };
        let object_goes = |object: &Object, locked: &mut Locked| {
            let func_goes = |func: &Func, _: &mut Locked| !nops_only || func.nop;
            object
                .funcs
                .drain(locked, func_goes, |func| put(&func.kobj));
            !nops_only || object.dynamic
        };
        self.objects
            .drain(locked, object_goes, |object| put(&object.kobj));
    }
}

/// A patch that its module wants to have enabled: what the author has filled in, and no more.
#[derive(Clone, Copy)]
pub(crate) struct Declared<'a>(&'a Patch);

impl<'a> Declared<'a> {
    /// Returns the patch at `patch`.
    ///
    /// # Safety
    ///
    /// `patch` must be null or point to a `klp_patch` that is valid for `'a`, and whose author
    /// keeps to what `include/linux/livepatch.h` says.
    pub(crate) unsafe fn from_ptr(patch: *mut bindings::klp_patch) -> Option<Self> {
        // SAFETY: By the requirement of this function.
        unsafe { patch.cast::<Patch>().as_ref() }.map(Self)
    }

    /// Checks that the author has given all that is needed.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the module, the objects, the functions of an object or a name is missing.
    pub(crate) fn check(self) -> Result {
        let Self(patch) = self;
        let lacks_func = |object: &Object| {
            object.static_funcs.is_null()
                || object.static_funcs().any(|func| func.old_name.is_null())
        };
        if patch.module.is_null()
            || patch.static_objects.is_null()
            || patch.static_objects().any(lacks_func)
        {
            return Err(EINVAL);
        }
        Ok(())
    }
}

impl Deref for Declared<'_> {
    type Target = Patch;

    fn deref(&self) -> &Patch {
        self.0
    }
}

/// A patch that the core has accepted.
///
/// While it exists, the module of the patch is referenced, and the patch is valid. Dropping it
/// gives the patch back, by a work item: its last user may be writing to one of the patch's files,
/// which must be closed first.
pub(crate) struct Accepted {
    /// `None` once it was given back.
    free: Option<Pin<KBox<Free>>>,
    patch: NonNull<Patch>,
    /// How many milliseconds its last transition took.
    transition_millis: Atomic<u64>,
}

/// A reference to a patch that the core has accepted.
pub(crate) type PatchRef = Arc<Accepted>;

// SAFETY: A pointer to a patch, which is `Sync`, and what can be used by any thread.
unsafe impl Send for Accepted {}
// SAFETY: As above.
unsafe impl Sync for Accepted {}

impl Accepted {
    /// Accepts a patch: takes a reference to its module, and prepares the internal fields of the
    /// patch, its objects and their functions.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the module is being unloaded; `ENOMEM`. Nothing has changed then.
    pub(crate) fn new(patch: Declared<'_>, locked: &Locked, types: &KobjTypes) -> Result<PatchRef> {
        let Declared(patch) = patch;
        let free = KBox::pin_init(Free::new(NonNull::from(patch)), GFP_KERNEL)?;
        let accepted = UniqueArc::new_uninit(GFP_KERNEL)?;
        if !patch.module().try_get() {
            return Err(ENODEV);
        }

        // SAFETY: The kobject is zeroed; the patch is valid until `Free::finish` has waited.
        unsafe { Kobject::init(patch, types.patch) };
        // SAFETY: The completion is not in use, and stays in place.
        unsafe { pin_init::raw_init(ptr::from_ref(&patch.finish).cast_mut(), Completion::new()) };
        patch.enabled.store(false, Relaxed);
        patch.forced.store(false, Relaxed);
        for object in patch.static_objects() {
            // SAFETY: As for the patch. Its first use.
            let object = unsafe { patch.adopt(locked, types, object) };
            for func in object.static_funcs() {
                // SAFETY: As for the object.
                unsafe { object.adopt(locked, types, func) };
            }
        }
        let accepted = accepted.write(Self {
            free: Some(free),
            patch: NonNull::from(patch),
            transition_millis: Atomic::new(0),
        });
        Ok(accepted.into())
    }

    /// How many milliseconds its last transition took, or 0 if there was none.
    pub(crate) fn transition_millis(&self) -> u64 {
        self.transition_millis.load(Relaxed)
    }

    /// Sets how many milliseconds its last transition took.
    pub(crate) fn set_transition_millis(&self, millis: u64) {
        self.transition_millis.store(millis, Relaxed);
    }

    /// Gives the patch back, if this is the only reference. May sleep; must not be called under
    /// `klp_mutex`, which a writer of `enabled` waits for. Returns whether it was.
    pub(crate) fn give_back(this: PatchRef) -> bool {
        let Some(mut this) = Arc::into_unique_or_drop(this) else {
            return false;
        };
        if let Some(free) = this.as_mut().get_mut().free.take() {
            free.finish();
        }
        true
    }
}

impl Deref for Accepted {
    type Target = Patch;

    fn deref(&self) -> &Patch {
        // SAFETY: The module is referenced, and the patch a part of it.
        unsafe { self.patch.as_ref() }
    }
}

impl Drop for Accepted {
    #[inline(never)]
    fn drop(&mut self) {
        if let Some(free) = self.free.take() {
            system_dfl().enqueue(free);
        }
    }
}

/// The giving back of a patch.
///
/// This is where the code of a patch is given back, and the only place. No task can be in it, be on
/// its way into it, or come back to it:
///
/// - When the transition that took the patch out of use was complete, each task had been seen
///   outside of it, at a moment from which on the handler sent the task elsewhere: tasks on the
///   list of all tasks, idle ones, and those that were exiting (`tasklist`). "Outside" is: in none
///   of the replacements, and in no call of ftrace from the entry of one of the functions, where
///   the handler may have chosen a replacement that the task has yet to get to. See
///   `Index`.
/// - No jump led to it when that transition began (`Redirects::remove_jumps`).
/// - A patch that could not be enabled was never chosen: no task had the patched state.
/// - Replacements for a module that has gone were called by that module only.
/// - Where tasks were forced, none of this is known, and the code stays for good.
///
/// What remains are readers of the list of patches, and of the patch's files.
#[pin_data]
struct Free {
    patch: NonNull<Patch>,
    #[pin]
    work: Work<Free>,
}

// SAFETY: A pointer to a patch, which is `Sync`.
unsafe impl Send for Free {}

impl_has_work! {
    impl HasWork<Self> for Free { self.work }
}

impl WorkItem for Free {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        this.finish();
    }
}

impl Free {
    fn new(patch: NonNull<Patch>) -> impl PinInit<Self> {
        pin_init!(Self {
            patch,
            work <- new_work!("livepatch::Free::work"),
        })
    }

    /// Waits until the patch is unused, and gives back the reference to its module.
    fn finish(self: Pin<KBox<Self>>) {
        // SAFETY: The module is referenced until the end of this.
        let patch = unsafe { self.patch.as_ref() };
        // SAFETY: The reference of `Accepted::new`, of which there is one `Free`.
        unsafe { patch.kobj.put() };
        patch.finish.wait_for_completion();
        rcu::synchronize_rcu();
        trace::patch(patch.name(), Fate::Freed);
        // The code must stay where tasks were forced to leave it: some may be in it.
        if !patch.forced.load(Relaxed) {
            // SAFETY: As for the kobject. The patch is not used after it.
            unsafe { patch.module().put() };
        }
    }
}

/// Turns what a Rust function returns into what C expects.
pub(crate) fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
