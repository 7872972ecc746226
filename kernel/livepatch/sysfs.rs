// SPDX-License-Identifier: GPL-2.0

//! The tree in `/sys/kernel/livepatch`.
//!
//! ```text
//! /sys/kernel/livepatch/<patch>/enabled
//! /sys/kernel/livepatch/<patch>/transition
//! /sys/kernel/livepatch/<patch>/force
//! /sys/kernel/livepatch/<patch>/replace
//! /sys/kernel/livepatch/<patch>/stack_order
//! /sys/kernel/livepatch/<patch>/<object>/patched
//! /sys/kernel/livepatch/<patch>/<object>/<function,sympos>/
//! ```
//!
//! See `Documentation/ABI/testing/sysfs-kernel-livepatch`.

use crate::{
    abi::{Func, Object, Patch, PatchRef},
    klp::KLP_MUTEX,
    transition,
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{c_char, c_int, c_ulong, c_ushort},
    prelude::*,
    sync::atomic::{Acquire, Atomic, Release},
};

use core::ptr;

/// `/sys/kernel/livepatch`, once it is there. Set at boot.
static ROOT: Atomic<*mut bindings::kobject> = Atomic::new(ptr::null_mut());

/// Whether `/sys/kernel/livepatch` is there.
pub(crate) fn is_initialised() -> bool {
    !ROOT.load(Acquire).is_null()
}

/// Makes what patches need: the workqueue of transitions, and then `/sys/kernel/livepatch`, without
/// which no patch is accepted. Called once, at boot.
#[no_mangle]
extern "C" fn klp_core_init() -> c_int {
    if let Err(error) = transition::init_queue() {
        return error.to_errno();
    }
    // SAFETY: `kernel_kobj` was made earlier.
    let root = unsafe {
        bindings::kobject_create_and_add(c"livepatch".as_char_ptr(), bindings::kernel_kobj)
    };
    if root.is_null() {
        return ENOMEM.to_errno();
    }
    ROOT.store(root, Release);
    0
}

/// What the C side reads and never writes, or writes under locks of its own.
#[repr(transparent)]
struct Static<T>(T);

// SAFETY: See the type.
unsafe impl<T> Sync for Static<T> {}

type Show = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *mut c_char,
) -> isize;
type Store = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *const c_char,
    usize,
) -> isize;

/// Makes a file. The mode follows from what can be done with it.
const fn attribute(
    name: &'static CStr,
    show: Option<Show>,
    store: Option<Store>,
) -> Static<bindings::kobj_attribute> {
    let mode: c_ushort = match (&show, &store) {
        (Some(_), Some(_)) => 0o644,
        (None, Some(_)) => 0o200,
        _ => 0o444,
    };
    let mut attribute: bindings::kobj_attribute = pin_init::zeroed();
    attribute.attr.name = kernel::str::as_char_ptr_in_const_context(name);
    attribute.attr.mode = mode;
    attribute.__bindgen_anon_1.show = show;
    attribute.__bindgen_anon_2.store = store;
    Static(attribute)
}

static ENABLED: Static<bindings::kobj_attribute> =
    attribute(c"enabled", Some(enabled_show), Some(enabled_store));
static TRANSITION: Static<bindings::kobj_attribute> =
    attribute(c"transition", Some(transition_show), None);
static FORCE: Static<bindings::kobj_attribute> = attribute(c"force", None, Some(force_store));
static REPLACE: Static<bindings::kobj_attribute> = attribute(c"replace", Some(replace_show), None);
static STACK_ORDER: Static<bindings::kobj_attribute> =
    attribute(c"stack_order", Some(stack_order_show), None);
static PATCHED: Static<bindings::kobj_attribute> = attribute(c"patched", Some(patched_show), None);

/// The pointer that a list of attributes has.
const fn entry(attribute: &'static Static<bindings::kobj_attribute>) -> *mut bindings::attribute {
    ptr::from_ref(&attribute.0.attr).cast_mut()
}

static PATCH_ATTRIBUTES: Static<[*mut bindings::attribute; 6]> = Static([
    entry(&ENABLED),
    entry(&TRANSITION),
    entry(&FORCE),
    entry(&REPLACE),
    entry(&STACK_ORDER),
    ptr::null_mut(),
]);
static OBJECT_ATTRIBUTES: Static<[*mut bindings::attribute; 2]> =
    Static([entry(&PATCHED), ptr::null_mut()]);

const fn group<const N: usize>(
    attributes: &'static Static<[*mut bindings::attribute; N]>,
) -> Static<bindings::attribute_group> {
    let mut group: bindings::attribute_group = pin_init::zeroed();
    group.__bindgen_anon_2.attrs = ptr::from_ref(&attributes.0).cast_mut().cast();
    Static(group)
}

static PATCH_GROUP: Static<bindings::attribute_group> = group(&PATCH_ATTRIBUTES);
static OBJECT_GROUP: Static<bindings::attribute_group> = group(&OBJECT_ATTRIBUTES);
static PATCH_GROUPS: Static<[*const bindings::attribute_group; 2]> =
    Static([&raw const PATCH_GROUP.0, ptr::null()]);
static OBJECT_GROUPS: Static<[*const bindings::attribute_group; 2]> =
    Static([&raw const OBJECT_GROUP.0, ptr::null()]);

type ReleaseFn = unsafe extern "C" fn(*mut bindings::kobject);

const fn kobj_type(
    release: ReleaseFn,
    groups: *const *const bindings::attribute_group,
) -> Static<bindings::kobj_type> {
    let mut kobj_type: bindings::kobj_type = pin_init::zeroed();
    kobj_type.release = Some(release);
    kobj_type.sysfs_ops = &raw const bindings::kobj_sysfs_ops;
    kobj_type.default_groups = groups.cast_mut();
    Static(kobj_type)
}

static PATCH_TYPE: Static<bindings::kobj_type> =
    kobj_type(patch_release, (&raw const PATCH_GROUPS.0).cast());
static OBJECT_TYPE: Static<bindings::kobj_type> =
    kobj_type(object_release, (&raw const OBJECT_GROUPS.0).cast());
static FUNC_TYPE: Static<bindings::kobj_type> = kobj_type(func_release, ptr::null());

/// The type of the kobjects of patches.
pub(crate) fn patch_type() -> *const bindings::kobj_type {
    &raw const PATCH_TYPE.0
}

/// The type of the kobjects of objects.
pub(crate) fn object_type() -> *const bindings::kobj_type {
    &raw const OBJECT_TYPE.0
}

/// The type of the kobjects of functions.
pub(crate) fn func_type() -> *const bindings::kobj_type {
    &raw const FUNC_TYPE.0
}

/// # Safety
///
/// `kobj` must be that of a patch; nobody uses it any more.
unsafe extern "C" fn patch_release(kobj: *mut bindings::kobject) {
    // SAFETY: By the requirement of this function.
    unsafe { Patch::from_kobj(kobj) }.released();
}

/// # Safety
///
/// `kobj` must be that of an object; nobody uses it any more.
unsafe extern "C" fn object_release(kobj: *mut bindings::kobject) {
    // SAFETY: By the requirement of this function.
    let object = unsafe { Object::from_kobj(kobj) };
    // SAFETY: As above.
    unsafe { object.free_if_dynamic() };
}

/// # Safety
///
/// `kobj` must be that of a function; nobody uses it any more.
unsafe extern "C" fn func_release(kobj: *mut bindings::kobject) {
    // SAFETY: By the requirement of this function.
    let func = unsafe { Func::from_kobj(kobj) };
    // SAFETY: As above.
    unsafe { func.free_if_nop() };
}

/// Adds the patch's folder.
///
/// # Errors
///
/// `EEXIST`: there is one of that name; `ENOMEM`.
pub(crate) fn add_patch(patch: &Patch) -> Result {
    // SAFETY: The kobject is initialised; the format takes a string.
    to_result(unsafe {
        bindings::kobject_add(
            patch.kobj(),
            ROOT.load(Acquire),
            c"%s".as_char_ptr(),
            patch.name().as_char_ptr(),
        )
    })
}

/// Adds the object's folder. Errors are as for [`add_patch`].
pub(crate) fn add_object(patch: &Patch, object: &Object) -> Result {
    // SAFETY: The kobject is initialised; the format takes a string.
    to_result(unsafe {
        bindings::kobject_add(
            object.kobj(),
            patch.kobj(),
            c"%s".as_char_ptr(),
            object.label().as_char_ptr(),
        )
    })
}

/// Adds the function's folder. Errors are as for [`add_patch`].
pub(crate) fn add_func(object: &Object, func: &Func) -> Result {
    // The only function of a name is its first.
    let sympos = func.sympos().max(1) as c_ulong;
    // SAFETY: The kobject is initialised; the format takes a string and an `unsigned long`.
    to_result(unsafe {
        bindings::kobject_add(
            func.kobj(),
            object.kobj(),
            c"%s,%lu".as_char_ptr(),
            func.name().as_char_ptr(),
            sympos,
        )
    })
}

/// Writes a number to the page that a reader gets.
///
/// # Safety
///
/// `buf` must be the page that sysfs gave to a `show`.
unsafe fn emit(buf: *mut c_char, value: usize) -> isize {
    // SAFETY: By the requirement of this function; the format takes an `unsigned long`.
    unsafe { bindings::sysfs_emit(buf, c"%lu\n".as_char_ptr(), value as c_ulong) as isize }
}

/// What a writer gets to know: that all was taken, or an error.
fn written(result: Result, count: usize) -> isize {
    match result {
        Ok(()) => count as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// Reads what was written as a yes or no.
///
/// # Safety
///
/// `buf` must be nul-terminated.
unsafe fn parse_bool(buf: *const c_char) -> Result<bool> {
    let mut value = false;
    // SAFETY: By the requirement of this function.
    to_result(unsafe { bindings::kstrtobool(buf, &raw mut value) })?;
    Ok(value)
}

/// # Safety
///
/// To be called by sysfs, for a file of a patch's folder, with a page to write to.
unsafe extern "C" fn enabled_show(
    kobj: *mut bindings::kobject,
    _attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The file is one of a patch's folder.
    let patch = unsafe { Patch::from_kobj(kobj) };
    // SAFETY: `buf` is from sysfs.
    unsafe { emit(buf, usize::from(patch.is_enabled())) }
}

/// # Safety
///
/// To be called by sysfs, for a file of a patch's folder, with what was written, nul-terminated.
unsafe extern "C" fn enabled_store(
    kobj: *mut bindings::kobject,
    _attr: *mut bindings::kobj_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: The file is one of a patch's folder.
    let patch = unsafe { Patch::from_kobj(kobj) };
    // SAFETY: sysfs terminates what was written by a nul.
    let enabled = unsafe { parse_bool(buf) };
    written(
        enabled.and_then(|enabled| set_enabled(patch, enabled)),
        count,
    )
}

/// Enables or disables a patch at the request of the user, or turns its transition round.
fn set_enabled(patch: &Patch, enabled: bool) -> Result {
    let mut registry = KLP_MUTEX.lock();
    if patch.is_enabled() == enabled {
        return Err(EINVAL);
    }
    if registry.is_in_transition(patch) {
        registry.reverse_transition();
        return Ok(());
    }
    if enabled {
        // A patch that was disabled is done with: its module is to be loaded again.
        return Err(EINVAL);
    }
    // SAFETY: The patch is enabled, so that it is accepted and its module referenced. The open
    // file keeps the patch until this returns.
    registry.disable(unsafe { PatchRef::new(patch) })
}

/// # Safety
///
/// To be called by sysfs, for a file of a patch's folder, with a page to write to.
unsafe extern "C" fn transition_show(
    kobj: *mut bindings::kobject,
    _attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The file is one of a patch's folder.
    let patch = unsafe { Patch::from_kobj(kobj) };
    // SAFETY: `buf` is from sysfs.
    unsafe { emit(buf, usize::from(transition::is_patch(patch.as_ptr()))) }
}

/// # Safety
///
/// To be called by sysfs, for a file of a patch's folder, with what was written, nul-terminated.
unsafe extern "C" fn force_store(
    kobj: *mut bindings::kobject,
    _attr: *mut bindings::kobj_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: The file is one of a patch's folder.
    let patch = unsafe { Patch::from_kobj(kobj) };
    // SAFETY: sysfs terminates what was written by a nul.
    let force = unsafe { parse_bool(buf) };
    let forced = force.and_then(|force| if force { self::force(patch) } else { Ok(()) });
    written(forced, count)
}

fn force(patch: &Patch) -> Result {
    let mut registry = KLP_MUTEX.lock();
    if !registry.is_in_transition(patch) {
        return Err(EINVAL);
    }
    registry.force_transition();
    Ok(())
}

/// # Safety
///
/// To be called by sysfs, for a file of a patch's folder, with a page to write to.
unsafe extern "C" fn replace_show(
    kobj: *mut bindings::kobject,
    _attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The file is one of a patch's folder.
    let patch = unsafe { Patch::from_kobj(kobj) };
    // SAFETY: `buf` is from sysfs.
    unsafe { emit(buf, usize::from(patch.is_replacing())) }
}

/// # Safety
///
/// To be called by sysfs, for a file of a patch's folder, with a page to write to.
unsafe extern "C" fn stack_order_show(
    kobj: *mut bindings::kobject,
    _attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The file is one of a patch's folder.
    let patch = unsafe { Patch::from_kobj(kobj) };
    let order = KLP_MUTEX.lock().stack_order(patch);
    // SAFETY: `buf` is from sysfs.
    unsafe { emit(buf, order) }
}

/// # Safety
///
/// To be called by sysfs, for a file of an object's folder, with a page to write to.
unsafe extern "C" fn patched_show(
    kobj: *mut bindings::kobject,
    _attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The file is one of an object's folder.
    let object = unsafe { Object::from_kobj(kobj) };
    // SAFETY: `buf` is from sysfs.
    unsafe { emit(buf, usize::from(object.is_patched())) }
}
