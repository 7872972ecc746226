// SPDX-License-Identifier: GPL-2.0

//! Modules of the kernel: those of patches, and those that are patched.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::{
    lock::Protected,
    names, //
};
use kernel::{
    bindings,
    ffi::c_char,
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

use core::ops::Range;

/// The space for the name of a module, its nul included.
pub(crate) const NAME_LEN: usize = {
    const fn len<const N: usize>(_: fn(&bindings::module) -> &[c_char; N]) -> usize {
        N
    }
    len(|module| &module.name)
};

// What livepatch's names can hold is no more than what modules and symbols can be called.
const _: () = {
    assert!(names::OBJECT_NAME_MAX < NAME_LEN);
    assert!(names::SYMBOL_NAME_MAX + 1 == bindings::KSYM_NAME_LEN as usize);
};

// The layout is the one that the C compiler sees.
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(bindings::module, core_kallsyms) == bindings::MODULE_CORE_KALLSYMS);
    assert!(offset_of!(bindings::module, klp_info) == bindings::MODULE_KLP_INFO);
};

/// A module: `struct module`.
///
/// # Invariants
///
/// What there is a reference to is a module that the loader has at least begun to load, and that is
/// not freed for as long as the reference is used.
#[repr(transparent)]
pub(crate) struct Module(Opaque<bindings::module>);

// SAFETY: Modules are not tied to a thread.
unsafe impl Send for Module {}
// SAFETY: The fields that change while a module is there are protected as the methods say.
unsafe impl Sync for Module {}

impl Module {
    /// Returns the pointer that C code uses.
    pub(crate) fn as_ptr(&self) -> *mut bindings::module {
        self.0.get()
    }

    /// Returns the module at `ptr`.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a module that is valid for `'a`.
    pub(crate) unsafe fn from_ptr<'a>(ptr: *mut bindings::module) -> &'a Self {
        // SAFETY: By the requirement of this function; `Module` is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// Returns the module of this name, if there is one, for as long as RCU keeps it.
    pub(crate) fn find<'a>(name: &CStr, _rcu: &'a rcu::Guard) -> Option<&'a Self> {
        // SAFETY: RCU's read side is held, and the name is nul-terminated.
        unsafe {
            bindings::find_module(name.as_char_ptr())
                .cast::<Self>()
                .as_ref()
        }
    }

    /// The name of the module, which is that of the patch if it has one.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: The loader has written the name, with its nul, before anybody can find the
        // module.
        unsafe { CStr::from_char_ptr((&raw const (*self.as_ptr()).name).cast()) }
    }

    fn state(&self) -> bindings::module_state {
        // SAFETY: A word that the loader writes.
        unsafe { (&raw const (*self.as_ptr()).state).read_volatile() }
    }

    /// Whether the module is about to run. For the loader's notifications: it changes by itself.
    pub(crate) fn is_coming(&self) -> bool {
        self.state() == bindings::module_state_MODULE_STATE_COMING
    }

    /// Whether the module has run for the last time. As [`Self::is_coming`].
    pub(crate) fn is_going(&self) -> bool {
        self.state() == bindings::module_state_MODULE_STATE_GOING
    }

    /// Whether the module is marked as a livepatch.
    pub(crate) fn is_livepatch(&self) -> bool {
        // SAFETY: The loader has set the mark before the module runs.
        unsafe { bindings::is_livepatch_module(self.as_ptr()) }
    }

    /// Whether patches that come now find the module by themselves.
    pub(crate) fn alive(&self) -> &Protected<bool> {
        // SAFETY: The field is a `bool`, which `klp_mutex` protects.
        unsafe { &*(&raw const (*self.as_ptr()).klp_alive).cast::<Protected<bool>>() }
    }

    /// Takes a reference to the module, unless it is being unloaded. It is to be given back by
    /// [`Self::put`].
    pub(crate) fn try_get(&self) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { bindings::try_module_get(self.as_ptr()) }
    }

    /// Gives a reference back.
    ///
    /// # Safety
    ///
    /// To be called once for each reference that [`Self::try_get`] has taken. The module may be
    /// gone after it.
    pub(crate) unsafe fn put(&self) {
        // SAFETY: By the requirement of this function.
        unsafe { bindings::module_put(self.as_ptr()) };
    }

    /// The number of kinds of memory that a module has.
    pub(crate) const MEMORIES: usize = bindings::mod_mem_type_MOD_MEM_NUM_TYPES as usize;

    /// The first kind that a module has only until it has run its init function.
    pub(crate) const FIRST_INIT_MEMORY: usize = bindings::mod_mem_type_MOD_INIT_TEXT as usize;

    /// The addresses of one kind of memory. That of the init function is for the loader to ask for.
    pub(crate) fn memory(&self, kind: usize) -> Range<usize> {
        if kind >= Self::MEMORIES {
            return 0..0;
        }
        // SAFETY: There are that many. No reference to all is made, as the loader frees some.
        let memory = unsafe {
            &*(&raw const (*self.as_ptr()).mem)
                .cast::<bindings::module_memory>()
                .add(kind)
        };
        let start = memory.base as usize;
        start..start.saturating_add(memory.size as usize)
    }

    /// The addresses of the code that stays when the module is initialised.
    pub(crate) fn text(&self) -> Range<usize> {
        self.memory(bindings::mod_mem_type_MOD_TEXT as usize)
    }

    /// The copy of the file's headers that a livepatch module has.
    pub(crate) fn elf_info(&self) -> Option<&bindings::klp_modinfo> {
        // SAFETY: Null, or made by the loader, and there for as long as the module is.
        unsafe { (*self.as_ptr()).klp_info.as_ref() }
    }

    /// The symbols of the module, all of them if it is a livepatch.
    pub(crate) fn symbols(&self) -> &bindings::mod_kallsyms {
        // SAFETY: The loader has written it before the module's init function runs.
        unsafe { &(*self.as_ptr()).core_kallsyms }
    }
}
