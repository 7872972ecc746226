// SPDX-License-Identifier: GPL-2.0

//! What C code calls: patches, the module loader, and the kernel at boot.
//!
//! What tasks call when they switch is in `switch.rs`, and shadow variables are in `shadow.rs`.

use crate::{
    abi::{self, Declared},
    debugfs,
    elf::Sections,
    module::Module,
    progress,
    registry::{self, KLP_MUTEX},
    relocs,
    shadow,
    state,
    switch,
    sysfs,
    transition, //
};
use kernel::{
    bindings,
    ffi::{c_char, c_int, c_uint, c_ulong, c_void},
    prelude::*,
    warn_on, //
};

use core::ptr;

/// Initialises what must be there before the first module is loaded. Called once, at boot.
#[no_mangle]
extern "C" fn klp_core_init_early() {
    // SAFETY: Called once, by `exports.c`, before there is a module.
    unsafe { registry::init() };
    // SAFETY: As above.
    unsafe { shadow::init() };
    // SAFETY: As above.
    unsafe { progress::init() };
}

/// Makes what patches need: the workqueue of transitions, and then `/sys/kernel/livepatch`, without
/// which no patch is accepted. Called once, at boot.
#[no_mangle]
extern "C" fn klp_core_init() -> c_int {
    // What can be seen of transitions is not needed for any.
    if debugfs::init().is_err() {
        pr_warn!("no memory for the files in debugfs\n");
    }
    abi::errno(switch::init_attempts(registry::attempt).and_then(|()| sysfs::init()))
}

/// Enables a patch, once the C side has called it from the patch's module.
///
/// Makes the patch's tree in sysfs, finds the functions, redirects them, and starts the
/// transition. May sleep.
///
/// # Errors
///
/// As negative numbers:
///
/// - `EINVAL`: something is missing in the structure; the module is not marked as a livepatch; the
///   patch cannot deal with the states of the patches that are there; a function is not found, or
///   cannot be hooked; what `pre_patch` says.
/// - `ENOEXEC`: relocations of the module are for a section that is not loaded.
/// - `EEXIST`: the patch is enabled, or one of its names exists twice.
/// - `EBUSY`: there is a transition; another user of ftrace redirects one of the functions.
/// - `ENOENT`, `ENOMEM`, `ENODEV`: the size of a function is not known; no memory; the module goes
///   away, or sysfs is not there.
///
/// After an error nothing has changed.
///
/// # Safety
///
/// `patch` must be null or a patch of the module that is calling, which stays until the core has
/// let go of the module.
#[export]
unsafe extern "C" fn klp_enable_patch(patch: *mut bindings::klp_patch) -> c_int {
    // SAFETY: The caller gives its own patch, which it does not touch any more.
    match unsafe { Declared::from_ptr(patch) } {
        Some(patch) => abi::errno(registry::enable_patch(patch, sysfs::tree())),
        None => EINVAL.to_errno(),
    }
}

/// Patches a module that is about to run. May sleep.
///
/// Called by the module loader in the state `MODULE_STATE_COMING`; refuses the module if a patch
/// cannot be applied.
///
/// # Safety
///
/// To be called by the module loader, once for each module.
#[export]
unsafe extern "C" fn klp_module_coming(module: *mut bindings::module) -> c_int {
    // SAFETY: The loader gives a module that it is loading.
    let module = unsafe { Module::from_ptr(module) };
    if warn_on!(!module.is_coming()) {
        return EINVAL.to_errno();
    }
    if module.name() == c"vmlinux" {
        pr_err!("vmlinux.ko: invalid module name\n");
        return EINVAL.to_errno();
    }
    abi::errno(KLP_MUTEX.lock().module_coming(module))
}

/// Takes the patches off a module that has run for the last time. May sleep.
///
/// Called by the module loader in the state `MODULE_STATE_GOING`, or `MODULE_STATE_COMING` if
/// loading has failed.
///
/// # Safety
///
/// To be called by the module loader, once for each module that `klp_module_coming` was called for.
#[export]
unsafe extern "C" fn klp_module_going(module: *mut bindings::module) {
    // SAFETY: The loader gives a module that it has loaded.
    let module = unsafe { Module::from_ptr(module) };
    if warn_on!(!module.is_going() && !module.is_coming()) {
        return;
    }
    KLP_MUTEX.lock().module_going(module);
}

/// Returns the state of `patch` that has this id, or null.
///
/// For callbacks and for code of the patch itself. Takes no lock; may be called in any context.
///
/// # Safety
///
/// `patch` must be null or a patch of the module that is calling.
#[export]
unsafe extern "C" fn klp_get_state(
    patch: *mut bindings::klp_patch,
    id: c_ulong,
) -> *mut bindings::klp_state {
    // SAFETY: The caller gives its own patch.
    let patch = unsafe { Declared::from_ptr(patch) };
    let state = patch.as_ref().and_then(|patch| state::find(patch, id));
    state.map_or(ptr::null_mut(), |state| state.as_ptr())
}

/// Returns the newest state of this id that the patches which are already installed have brought,
/// or null.
///
/// For callbacks, and for those that a callback waits for. Takes no lock but RCU's; may be called
/// in any context. Outside of a transition it warns and returns null.
///
/// The state belongs to the patch that has brought it, and may go with it when the transition ends.
///
/// # Safety
///
/// May be called with any id.
#[export]
unsafe extern "C" fn klp_get_prev_state(id: c_ulong) -> *mut bindings::klp_state {
    state::find_previous(transition::patch(), id, |state| {
        state.map_or(ptr::null_mut(), |state| state.as_ptr())
    })
}

/// Checks section `secndx` of livepatch relocations, and applies it if it is for the object
/// `objname`, or for vmlinux if that is null. May sleep.
///
/// Called by the module loader for vmlinux, before the module's own relocations are applied.
///
/// # Errors
///
/// As a negative number, those of [`relocs::apply_object`]. The loader is to free the module then.
///
/// # Safety
///
/// To be called by the module loader, with what it knows of `pmod`, once it has checked that the
/// section's `sh_info` is the index of a section.
#[export]
unsafe extern "C" fn klp_apply_section_relocs(
    pmod: *mut bindings::module,
    sechdrs: *mut bindings::Elf64_Shdr,
    shstrtab: *const c_char,
    strtab: *const c_char,
    symndx: c_uint,
    secndx: c_uint,
    objname: *const c_char,
) -> c_int {
    let object = if objname.is_null() {
        c"vmlinux"
    } else {
        // SAFETY: The caller gives a nul-terminated string.
        unsafe { CStr::from_char_ptr(objname) }
    };
    // SAFETY: The loader gives a module that it is loading.
    let module = unsafe { Module::from_ptr(pmod) };
    // SAFETY: The loader gives what it knows of the module.
    let sections = unsafe { Sections::loading(module, sechdrs, shstrtab, strtab, symndx, secndx) };
    abi::errno(sections.and_then(|sections| relocs::load(&sections, secndx, object.to_bytes())))
}

/// Returns where the section `name` of a livepatch module is in memory, and writes its size in
/// bytes to `sec_size`; or returns null and writes 0 if there is none.
///
/// # Safety
///
/// `module` must be a livepatch module, `name` nul-terminated, and `sec_size` valid for writes.
#[export]
unsafe extern "C" fn klp_find_section_by_name(
    module: *const bindings::module,
    name: *const c_char,
    sec_size: *mut usize,
) -> *mut c_void {
    // SAFETY: The caller gives a livepatch module.
    let module = unsafe { Module::from_ptr(module.cast_mut()) };
    // SAFETY: The caller gives a nul-terminated name.
    let name = unsafe { CStr::from_char_ptr(name) };
    let sections = Sections::of(module).ok().flatten();
    let found = sections.and_then(|sections| {
        let mut indices = sections.indices();
        let index = indices.find(|&index| sections.name(index) == Some(name))?;
        sections.header(index)
    });
    // SAFETY: The caller gives a place for the size.
    unsafe { *sec_size = found.map_or(0, |header| header.size as usize) };
    found.map_or(ptr::null_mut(), |header| header.addr as *mut c_void)
}
