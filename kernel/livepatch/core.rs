// SPDX-License-Identifier: GPL-2.0

//! Patches and their life: from `klp_enable_patch()` to the last reference.
//!
//! [`KLP_MUTEX`] owns the [`Registry`], which is all that the core knows: the patches, the
//! transition, the redirected functions. What must not wait for it (the ftrace handler, tasks that
//! switch by themselves, sysfs files that only show a flag) uses what is published for that.

use crate::{
    abi::{self, Func, Object, Patch, PatchRef},
    names,
    patch::Redirects,
    phase::Target,
    relocs, state, symbols, sysfs,
    transition::{self, Transition},
};
use kernel::{
    bindings,
    ffi::c_int,
    prelude::*,
    sync::{
        global_lock,
        rcu, //
    },
    types::Opaque,
    warn_on, //
};

use core::ptr;

/// Reports a warning, the first time only, if the condition is true.
macro_rules! warn_on_once {
    ($cond:expr) => {{
        let cond = $cond;
        if cond {
            const ONCE_FLAGS: u32 = ::kernel::bug::bugflag_taint(::kernel::bindings::TAINT_WARN)
                | ::kernel::bindings::BUGFLAG_ONCE;
            ::kernel::warn_flags!(::core::file!(), ONCE_FLAGS);
        }
        cond
    }};
}
pub(crate) use warn_on_once;

/// All that the core knows.
pub(crate) struct Registry {
    /// The patches that are enabled or in transition, the oldest first. One that was disabled or
    /// replaced is not here any more, even if its module still is.
    pub(crate) patches: KVec<PatchRef>,
    /// The transition that is going on.
    pub(crate) transition: Option<Transition>,
    /// The functions that are redirected.
    pub(crate) redirects: Redirects,
}

global_lock! {
    // SAFETY: `init` is called at boot, before there can be a module.
    /// Serialises all changes, and owns what they change.
    pub(crate) unsafe(uninit) static KLP_MUTEX: Mutex<Registry> = Registry {
        patches: KVec::new(),
        transition: None,
        redirects: Redirects::new(),
    };
}

/// A list of patches that can be read without the mutex, under RCU.
struct List(Opaque<bindings::list_head>);

// SAFETY: Changed with the mutex held, by functions that RCU readers get along with.
unsafe impl Sync for List {}

/// The patches of the registry, the oldest first, for those who cannot take the mutex: a patch's
/// callback runs with the mutex held, and may wait for a work item or a thread that asks.
///
/// Patches are taken off it before [`free_finish`] waits for its readers.
static PATCHES: List = List(Opaque::uninit());

/// Initialises the lock and the list.
///
/// # Safety
///
/// Must be called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: By the requirement of this function.
    unsafe { KLP_MUTEX.init() };
    // SAFETY: As above, nobody uses it yet.
    unsafe { bindings::INIT_LIST_HEAD(PATCHES.0.get()) };
}

/// The patches that are enabled or in transition, the oldest first. Needs no lock but RCU's, and
/// may be called in any context; patches may come and go meanwhile.
pub(crate) fn patches_rcu(_rcu: &rcu::Guard) -> impl Iterator<Item = &Patch> {
    let head = PATCHES.0.get();
    let mut last = head;
    core::iter::from_fn(move || {
        // The address of what is read next depends on what is read here, which orders the two.
        // Pairs with the release store in `list_add_tail_rcu()`.
        //
        // SAFETY: The head, or an element that was on the list under this read side of RCU.
        last = unsafe { ptr::read_volatile(&raw const (*last).next) };
        // SAFETY: What is on the list is the `list` of a patch, which stays until readers are done.
        (!ptr::eq(last, head)).then(|| unsafe { Patch::from_list(last) })
    })
}

impl Registry {
    /// The patches that are enabled or in transition, the oldest first.
    pub(crate) fn patches(&self) -> impl Iterator<Item = PatchRef> + '_ {
        self.patches.iter().copied()
    }

    /// The patch that is in transition.
    pub(crate) fn transition_patch(&self) -> Option<PatchRef> {
        self.transition.as_ref().map(|transition| transition.patch)
    }

    /// Whether `patch` is the one in transition.
    pub(crate) fn is_in_transition(&self, patch: &Patch) -> bool {
        self.transition_patch()
            .is_some_and(|other| ptr::eq(&*other, patch))
    }

    /// The position of `patch` among the patches, from 1; the number of patches if it is not one
    /// of them.
    pub(crate) fn stack_order(&self, patch: &Patch) -> usize {
        self.position(patch)
            .map_or(self.patches.len(), |index| index + 1)
    }

    fn position(&self, patch: &Patch) -> Option<usize> {
        self.patches
            .iter()
            .position(|other| ptr::eq(&**other, patch))
    }

    /// Makes what can fail of a patch: the sysfs tree, nops, addresses.
    fn init_patch(&mut self, patch: PatchRef) -> Result {
        self.patches.reserve(1, GFP_KERNEL)?;
        sysfs::add_patch(&patch)?;
        if patch.is_replacing() {
            self.add_nops(&patch)?;
        }
        for object in patch.objects() {
            init_object(&patch, object)?;
        }
        self.patches.push(patch, GFP_KERNEL)?;
        // SAFETY: `init` has initialised the list, and `init_early` the node, which is in no list.
        unsafe { bindings::list_add_tail_rcu(patch.list_node(), PATCHES.0.get()) };
        Ok(())
    }

    /// Adds to `patch`, which replaces all others, a nop for each function that is patched now and
    /// not by it.
    fn add_nops(&self, patch: &Patch) -> Result {
        for old_patch in self.patches() {
            for old_object in old_patch.objects() {
                let object = match patch.objects().find(|object| object.is_same(old_object)) {
                    Some(object) => object,
                    None => Object::new_dynamic(old_object, patch)?,
                };
                for old_func in old_object.funcs() {
                    let has = object.funcs().any(|func| {
                        func.name() == old_func.name()
                            && names::same_sympos(func.sympos(), old_func.sympos())
                    });
                    if !has {
                        Func::new_nop(old_func, object)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Redirects the functions of `patch` and starts to move the tasks.
    fn enable(&mut self, patch: PatchRef) -> Result {
        if self.transition.is_some() {
            return Err(EBUSY);
        }
        if warn_on!(patch.is_enabled()) {
            return Err(EINVAL);
        }

        pr_notice!("enabling patch '{}'\n", patch.name());

        let patched = self
            .remove_jumps(patch)
            .and_then(|()| self.init_transition(patch, Target::Patched))
            .and_then(|()| {
                patch
                    .objects()
                    .filter(|object| object.is_loaded())
                    .try_for_each(|object| self.enable_object(object))
            });
        if let Err(error) = patched {
            pr_warn!("failed to enable patch '{}'\n", patch.name());
            self.cancel_transition();
            self.install_jumps();
            return Err(error);
        }

        self.start_transition();
        patch.set_enabled(true);
        self.try_complete_transition();
        Ok(())
    }

    fn enable_object(&mut self, object: &Object) -> Result {
        object.pre_patch().inspect_err(|_| {
            pr_warn!(
                "pre-patch callback failed for object '{}'\n",
                object.label()
            );
        })?;
        self.redirects.patch_object(object).inspect_err(|_| {
            pr_warn!("failed to patch object '{}'\n", object.label());
        })
    }

    /// Starts to move the tasks off `patch`.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: there is a transition.
    /// - `EINVAL`: it is not enabled.
    /// - `ENODEV`: ftrace has disabled itself after a bug.
    /// - `ENOMEM`.
    ///
    /// After an error nothing has changed.
    pub(crate) fn disable(&mut self, patch: PatchRef) -> Result {
        if warn_on!(!patch.is_enabled()) {
            return Err(EINVAL);
        }
        if self.transition.is_some() {
            return Err(EBUSY);
        }

        self.remove_jumps(patch)
            .and_then(|()| self.init_transition(patch, Target::Unpatched))
            .inspect_err(|_| self.install_jumps())?;
        for object in patch.objects().filter(|object| object.is_patched()) {
            object.pre_unpatch();
        }
        self.start_transition();
        patch.set_enabled(false);
        self.try_complete_transition();
        Ok(())
    }

    /// The part of freeing a patch that needs the mutex. [`free_finish`] is to follow without it.
    fn free_start(&mut self, patch: PatchRef) {
        if self.position(&patch).is_some() {
            self.patches.retain(|other| *other != patch);
            // SAFETY: The node is on the list, as `init_patch` put it there.
            unsafe { bindings::list_del_rcu(patch.list_node()) };
        }
        free_objects(&patch, false);
    }

    /// Frees a patch that is not in use any more, soon: the caller may be writing to one of its
    /// files, which must be closed first.
    pub(crate) fn free_async(&mut self, patch: PatchRef) {
        self.free_start(patch);
        patch.schedule_free_work();
    }

    /// Takes the functions of the patches that `patch` replaces off their stacks.
    ///
    /// No task uses them any more, unless the transition was forced; then they stay in memory.
    pub(crate) fn unpatch_replaced(&mut self, patch: PatchRef) {
        for old in self.patches.iter().take_while(|old| **old != patch) {
            old.set_enabled(false);
            for object in old.objects().filter(|object| object.is_patched()) {
                self.redirects.unpatch_object(object, false);
            }
        }
    }

    /// Takes the nops of `patch` off, which have nothing to hide any more.
    pub(crate) fn discard_nops(&mut self, patch: PatchRef) {
        for object in patch.objects().filter(|object| object.is_patched()) {
            self.redirects.unpatch_object(object, true);
        }
        free_objects(&patch, true);
    }

    /// A module is about to run: patches it.
    fn module_coming(&mut self, module: &Module) -> Result {
        for index in 0.. {
            let Some(&patch) = self.patches.get(index) else {
                break;
            };
            let object = patch.objects().find(|object| module.is_of(object));
            let Some(object) = object else {
                continue;
            };
            object.set_module(module.0);
            if let Err(error) = self.patch_coming_object(patch, object) {
                pr_warn!(
                    "patch '{}' failed for module '{}', refusing to load module '{}'\n",
                    patch.name(),
                    object.label(),
                    object.label()
                );
                module.set_alive(false);
                object.set_module(ptr::null_mut());
                self.clean_up_module(module, Some(patch));
                return Err(error);
            }
        }
        self.install_jumps();
        Ok(())
    }

    /// Lets patched functions be jumps, unless a transition is under way.
    fn install_jumps(&mut self) {
        if self.transition.is_none() {
            self.redirects.install_jumps();
        }
    }

    /// Has the handler called for all functions of `patch`, which is to be in transition.
    ///
    /// # Errors
    ///
    /// `ENODEV`: ftrace has disabled itself after a bug. What tasks use stays as it is.
    fn remove_jumps(&mut self, patch: PatchRef) -> Result {
        patch
            .objects()
            .try_for_each(|object| self.redirects.remove_jumps(object))
            .inspect_err(|error| {
                pr_err!(
                    "patch '{}': ftrace is out of order ({})\n",
                    patch.name(),
                    error.to_errno()
                );
            })
    }

    fn patch_coming_object(&mut self, patch: PatchRef, object: &Object) -> Result {
        init_object_loaded(&patch, object).inspect_err(|error| {
            pr_warn!(
                "failed to initialize patch '{}' for module '{}' ({})\n",
                patch.name(),
                object.label(),
                error.to_errno()
            );
        })?;

        pr_notice!(
            "applying patch '{}' to loading module '{}'\n",
            patch.name(),
            object.label()
        );

        if let Err(error) = object.pre_patch() {
            pr_warn!(
                "pre-patch callback failed for object '{}'\n",
                object.label()
            );
            relocs::clear_object(&patch, object);
            return Err(error);
        }

        if let Err(error) = self.redirects.patch_object(object) {
            pr_warn!(
                "failed to apply patch '{}' to module '{}' ({})\n",
                patch.name(),
                object.label(),
                error.to_errno()
            );
            object.post_unpatch();
            relocs::clear_object(&patch, object);
            return Err(error);
        }

        if !self.is_in_transition(&patch) {
            object.post_patch();
            return Ok(());
        }
        // The module does not run yet: its functions are on no stack before this is known.
        self.add_to_index(object).inspect_err(|_| {
            self.redirects.unpatch_object(object, false);
            object.post_unpatch();
            relocs::clear_object(&patch, object);
        })
    }

    /// Reverts what the patches have done to a module, up to the patch `limit`.
    fn clean_up_module(&mut self, module: &Module, limit: Option<PatchRef>) {
        for index in 0.. {
            let Some(&patch) = self.patches.get(index) else {
                break;
            };
            if limit == Some(patch) {
                break;
            }
            let object = patch.objects().find(|object| module.is_of(object));
            let Some(object) = object else {
                continue;
            };
            let in_transition = self.is_in_transition(&patch);
            if !in_transition {
                object.pre_unpatch();
            }
            pr_notice!(
                "reverting patch '{}' on unloading module '{}'\n",
                patch.name(),
                object.label()
            );
            // If ftrace is out of order, the functions stay jumps. Nobody calls them any more, and
            // with the module they go.
            let _ = self.redirects.remove_jumps(object);
            self.redirects.unpatch_object(object, false);
            if in_transition {
                self.drop_from_index(object);
            }
            object.post_unpatch();
            relocs::clear_object(&patch, object);
            object.set_module(ptr::null_mut());
            for func in object.funcs() {
                func.forget_addresses();
            }
        }
        self.install_jumps();
    }
}

/// Takes the functions and objects of `patch` off its lists and lets go of them: all, or only
/// those that were made for nops.
fn free_objects(patch: &Patch, nops_only: bool) {
    for object in patch.objects() {
        for func in object.funcs() {
            if !nops_only || func.is_nop() {
                func.unlink();
            }
        }
        if !nops_only || object.is_dynamic() {
            object.unlink();
        }
    }
}

/// The part of freeing a patch that waits for its users. The patch must not be used after it.
///
/// This is where the code of a patch is given back, and the only place. No task can be in it, be on
/// its way into it, or come back to it:
///
/// - When the transition that took the patch out of use was complete, each task had been seen
///   outside of it, at a moment from which on the handler sent the task elsewhere: tasks on the
///   list of all tasks, idle ones, and those that were exiting (`tasklist`). "Outside" is: in none
///   of the replacements, and in no call of ftrace from the entry of one of the functions, where
///   the handler may have chosen a replacement that the task has yet to get to. See
///   `Registry::publish_index`.
/// - No jump led to it when that transition began ([`Registry::remove_jumps`]).
/// - A patch that could not be enabled was never chosen: no task had the patched state.
/// - Replacements for a module that has gone were called by that module only.
/// - Where tasks were forced, none of this is known, and the code stays for good.
///
/// What remains are those who read the list of patches.
fn free_finish(patch: PatchRef) {
    patch.wait_for_release();
    // SAFETY: May sleep here.
    unsafe { bindings::synchronize_rcu() };
    // The code must stay where tasks were forced to leave it: some may be in it.
    if !patch.is_forced() {
        patch.put_module();
    }
}

/// The work that finishes the freeing of a patch.
///
/// # Safety
///
/// `work` must be the `free_work` of an accepted patch for which `free_start` was called.
pub(crate) unsafe extern "C" fn free_work(work: *mut bindings::work_struct) {
    // SAFETY: By the requirement of this function.
    let patch = unsafe { Patch::from_free_work(work) };
    // SAFETY: The reference to the module is what `free_finish` gives back.
    free_finish(unsafe { PatchRef::new(patch) });
}

/// The space for the name of a module, its nul included.
const MODULE_NAME_LEN: usize = {
    const fn len<const N: usize>(_: fn(&bindings::module) -> &[c_char; N]) -> usize {
        N
    }
    len(|module| &module.name)
};

/// Finds out whether the module that `object` is for is there.
fn find_module(object: &Object) {
    object.set_module(ptr::null_mut());
    let Some(name) = object.module_name() else {
        return;
    };
    // No reference is taken: a patch does not keep its target from being unloaded.
    // `klp_module_going()` takes the patch off then.
    let _rcu = rcu::read_lock();
    // SAFETY: RCU's read side is held, and the name is nul-terminated.
    let module = unsafe { bindings::find_module(name.as_char_ptr()) };
    // SAFETY: If not null, the module is valid under RCU. One that is coming or going is left to
    // `klp_module_coming()` and `klp_module_going()`.
    if !module.is_null() && unsafe { (*module).klp_alive } {
        object.set_module(module);
    }
}

fn init_object(patch: &Patch, object: &Object) -> Result {
    if let Some(name) = object.module_name() {
        if name.count_bytes() >= MODULE_NAME_LEN {
            return Err(EINVAL);
        }
    }
    object.set_patched(false);
    find_module(object);
    sysfs::add_object(patch, object)?;
    for func in object.funcs() {
        init_func(object, func)?;
    }
    if object.is_loaded() {
        init_object_loaded(patch, object)?;
    }
    Ok(())
}

fn init_func(object: &Object, func: &Func) -> Result {
    // The author gives a replacement; a nop gets its address when the object is loaded.
    if func.new_func() == 0 && !func.is_nop() {
        return Err(EINVAL);
    }
    if func.name().count_bytes() >= bindings::KSYM_NAME_LEN as usize {
        return Err(EINVAL);
    }
    func.init();
    sysfs::add_func(object, func)
}

/// Does what needs the object to be loaded: relocations and addresses.
fn init_object_loaded(patch: &Patch, object: &Object) -> Result {
    if object.module_name().is_some() {
        // Those for vmlinux were written when the module of the patch was loaded.
        relocs::apply_object(patch, object)?;
    }
    let found = symbols::find_funcs(patch, object);
    if found.is_err() && object.module_name().is_some() {
        relocs::clear_object(patch, object);
    }
    found
}

/// A module that is coming or going.
struct Module(*mut bindings::module);

impl Module {
    fn name(&self) -> &CStr {
        // SAFETY: The module is valid for the call that we are in, its name nul-terminated.
        unsafe { CStr::from_char_ptr((&raw const (*self.0).name).cast()) }
    }

    fn state(&self) -> bindings::module_state {
        // SAFETY: As above; the caller is who changes the state.
        unsafe { (*self.0).state }
    }

    /// Notes whether patches that come now are to look at the module.
    fn set_alive(&self, alive: bool) {
        // SAFETY: As above; the field is protected by `klp_mutex`, which is held.
        unsafe { (*self.0).klp_alive = alive };
    }

    /// Whether `object` is for this module.
    fn is_of(&self, object: &Object) -> bool {
        object.module_name() == Some(self.name())
    }
}

fn enable_patch(patch: &Patch) -> Result {
    patch.check()?;

    // SAFETY: The module is not null; it is the caller's.
    if !unsafe { bindings::is_livepatch_module(patch.module()) } {
        pr_err!(
            "module {} is not marked as a livepatch module\n",
            patch.name()
        );
        return Err(EINVAL);
    }
    if !sysfs::is_initialised() {
        return Err(ENODEV);
    }
    if !kernel::stacktrace::have_reliable() {
        pr_warn!("This architecture doesn't have support for the livepatch consistency model.\n");
        pr_warn!("The livepatch transition may never complete.\n");
    }

    let mut registry = KLP_MUTEX.lock();

    if registry.position(patch).is_some() {
        pr_err!("patch '{}' is already enabled\n", patch.name());
        return Err(EEXIST);
    }
    if !state::is_compatible(&registry, patch) {
        pr_err!(
            "Livepatch patch ({}) is not compatible with the already installed livepatches.\n",
            patch.name()
        );
        return Err(EINVAL);
    }
    relocs::check(patch)?;
    patch.get_module()?;
    // SAFETY: The reference was just taken; `free_finish` gives it back.
    let patch = unsafe { PatchRef::new(patch) };
    patch.init_early();

    let enabled = registry
        .init_patch(patch)
        .and_then(|()| registry.enable(patch));
    if let Err(error) = enabled {
        registry.free_start(patch);
        drop(registry);
        free_finish(patch);
        return Err(error);
    }
    Ok(())
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
/// - `EBUSY`: there is a transition; somebody else redirects one of the functions.
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
    match unsafe { Patch::from_ptr(patch) } {
        Some(patch) => abi::errno(enable_patch(patch)),
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
    let module = Module(module);
    if warn_on!(module.state() != bindings::module_state_MODULE_STATE_COMING) {
        return EINVAL.to_errno();
    }
    if module.name() == c"vmlinux" {
        pr_err!("vmlinux.ko: invalid module name\n");
        return EINVAL.to_errno();
    }

    let mut registry = KLP_MUTEX.lock();
    // From now on patches that come look at the module by themselves.
    module.set_alive(true);
    abi::errno(registry.module_coming(&module))
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
    let module = Module(module);
    let state = module.state();
    if warn_on!(
        state != bindings::module_state_MODULE_STATE_GOING
            && state != bindings::module_state_MODULE_STATE_COMING
    ) {
        return;
    }

    let mut registry = KLP_MUTEX.lock();
    module.set_alive(false);
    registry.clean_up_module(&module, None);
}

/// Initialises what must be there before the first module is loaded. Called once, at boot.
#[no_mangle]
extern "C" fn klp_core_init_early() {
    // SAFETY: Called once, by `exports.c`, before there is a module.
    unsafe { init() };
    // SAFETY: As above.
    unsafe { crate::shadow::init() };
    // SAFETY: As above.
    unsafe { transition::init() };
}
