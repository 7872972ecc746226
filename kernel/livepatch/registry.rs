// SPDX-License-Identifier: GPL-2.0

//! Patches and their life: from `klp_enable_patch()` to the last reference.
//!
//! [`KLP_MUTEX`] owns the [`Registry`], which is all that the core knows: the patches, the
//! transition, the redirected functions. What must not wait for it (the ftrace handler, tasks that
//! switch by themselves, sysfs files that only show a flag) uses what is published for that.

use crate::{
    abi::{Accepted, Declared, KobjTypes, Object, Patch, PatchRef},
    index::Patches,
    lock::Locked,
    module::{self, Module},
    names,
    redirect::Redirects,
    relocs,
    state,
    symbols,
    target::Target,
    transition::Transition,
    warn::warn_on_once, //
};
use kernel::{
    kobject::Kobject,
    prelude::*,
    stacktrace,
    sync::{
        global_lock,
        rcu,
        Arc, //
    },
    warn_on, //
};

use core::ptr;

/// All that the core knows.
pub(crate) struct Registry {
    /// Shows that the mutex is held.
    locked: Locked,
    /// The patches that are enabled or in transition, the oldest first. One that was disabled or
    /// replaced is not here any more, even if its module still is.
    patches: KVec<PatchRef>,
    /// The transition that is going on.
    transition: Option<Transition>,
    /// The functions that are redirected.
    redirects: Redirects,
}

global_lock! {
    // SAFETY: `init` is called at boot, before there can be a module.
    /// Serialises all changes, and owns what they change.
    pub(crate) unsafe(uninit) static KLP_MUTEX: Mutex<Registry> = Registry::empty();
}

/// Initialises the mutex, and the list of patches that needs none.
///
/// # Safety
///
/// Must be called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: By the requirement of this function.
    unsafe { KLP_MUTEX.init() };
    state::PATCHES.init();
}

/// What patches get in sysfs.
pub(crate) struct Sysfs<'a> {
    /// `/sys/kernel/livepatch`.
    pub(crate) root: &'a Kobject,
    /// The types of the kobjects of patches.
    pub(crate) types: KobjTypes,
}

/// Enables `patch`, which is to appear in `sysfs`, and starts the transition. May sleep.
///
/// # Errors
///
/// Those of `klp_enable_patch()`. Nothing has changed then.
pub(crate) fn enable_patch(patch: Declared<'_>, sysfs: Option<Sysfs<'_>>) -> Result {
    patch.check()?;
    if !patch.module().is_livepatch() {
        pr_err!(
            "module {} is not marked as a livepatch module\n",
            patch.name()
        );
        return Err(EINVAL);
    }
    let sysfs = sysfs.ok_or(ENODEV)?;
    if !stacktrace::have_reliable() {
        pr_warn!("This architecture doesn't have support for the livepatch consistency model.\n");
        pr_warn!("The livepatch transition may never complete.\n");
    }

    let mut registry = KLP_MUTEX.lock();
    let accepted = registry.accept(patch, &sysfs)?;
    let enabled = registry
        .init_patch(&accepted, &sysfs)
        .and_then(|()| registry.enable(&accepted));
    if enabled.is_err() {
        registry.forget(&accepted);
        drop(registry);
        // The module's init function is about to fail, and its memory to be freed: not by a work
        // item.
        warn_on!(!Accepted::give_back(accepted));
    }
    enabled
}

/// Tries once more to switch the tasks that remain. May sleep.
pub(crate) fn attempt() {
    let mut registry = KLP_MUTEX.lock();
    if registry.transition.is_some() {
        registry.try_complete_transition();
    }
}

impl Registry {
    /// No patch, for [`KLP_MUTEX`].
    const fn empty() -> Self {
        Self {
            // SAFETY: Called once, for what the mutex protects.
            locked: unsafe { Locked::new() },
            patches: KVec::new(),
            transition: None,
            redirects: Redirects::new(),
        }
    }

    /// The position of `patch` among the patches, from 1; the number of patches if it is not one
    /// of them.
    pub(crate) fn stack_order(&self, patch: &Patch) -> usize {
        self.position(patch)
            .map_or(self.patches.len(), |index| index + 1)
    }

    /// How many milliseconds the last transition of `patch` took, or 0 if there was none.
    pub(crate) fn transition_millis(&self, patch: &Patch) -> u64 {
        self.find(patch)
            .map_or(0, |patch| patch.transition_millis())
    }

    /// `patch`, if it is one of the patches.
    fn find(&self, patch: &Patch) -> Option<&PatchRef> {
        self.patches.get(self.position(patch)?)
    }

    fn position(&self, patch: &Patch) -> Option<usize> {
        self.patches
            .iter()
            .position(|other| ptr::eq::<Patch>(&***other, patch))
    }

    /// Takes a reference to the module of a patch that may be enabled.
    fn accept(&mut self, patch: Declared<'_>, sysfs: &Sysfs<'_>) -> Result<PatchRef> {
        if self.position(&patch).is_some() {
            pr_err!("patch '{}' is already enabled\n", patch.name());
            return Err(EEXIST);
        }
        if !state::is_compatible(&patch, self.patches.iter().map(|old| &***old)) {
            pr_err!(
                "Livepatch patch ({}) is not compatible with the already installed livepatches.\n",
                patch.name()
            );
            return Err(EINVAL);
        }
        relocs::check(&patch)?;
        Accepted::new(patch, &self.locked, &sysfs.types)
    }

    /// Does what can fail of initialising a patch: the sysfs tree, nops, addresses.
    fn init_patch(&mut self, patch: &PatchRef, sysfs: &Sysfs<'_>) -> Result {
        self.patches.reserve(1, GFP_KERNEL)?;
        patch.add_folder(sysfs.root)?;
        if patch.is_replacing() {
            self.add_nops(patch, &sysfs.types)?;
        }
        for object in patch.objects(&self.locked) {
            init_object(&self.locked, patch, object)?;
        }
        self.patches.push(patch.clone(), GFP_KERNEL)?;
        // SAFETY: It is new. It is given back after `forget`, which takes it off, and waits for
        // readers then.
        unsafe { state::PATCHES.push_back(&self.locked, patch) };
        Ok(())
    }

    /// Adds to `patch`, which replaces all others, a nop for each function that is patched now and
    /// not by it.
    fn add_nops(&self, patch: &Patch, types: &KobjTypes) -> Result {
        let locked = &self.locked;
        for old_object in self.patches.iter().flat_map(|old| old.objects(locked)) {
            let object = match patch
                .objects(locked)
                .find(|object| object.is_same(old_object))
            {
                Some(object) => object,
                None => patch.add_dynamic(locked, types, old_object)?,
            };
            for old_func in old_object.funcs(locked) {
                let is_patched = object.funcs(locked).any(|func| {
                    func.name() == old_func.name()
                        && names::same_sympos(func.sympos(), old_func.sympos())
                });
                if !is_patched {
                    object.add_nop(locked, types, old_func)?;
                }
            }
        }
        Ok(())
    }

    /// Redirects the functions of `patch` and starts to move the tasks.
    fn enable(&mut self, patch: &PatchRef) -> Result {
        if self.transition.is_some() {
            return Err(EBUSY);
        }
        if warn_on!(patch.is_enabled()) {
            return Err(EINVAL);
        }

        pr_notice!("enabling patch '{}'\n", patch.name());

        if let Err(error) = self.redirect(patch) {
            pr_warn!("failed to enable patch '{}'\n", patch.name());
            if let Some(transition) = self.transition.take() {
                transition.cancel(&mut self.locked, &self.patches, &mut self.redirects);
            }
            self.install_jumps();
            return Err(error);
        }
        self.start_transition(patch, true);
        Ok(())
    }

    /// Prepares the transition to `patch`, and redirects its functions.
    fn redirect(&mut self, patch: &PatchRef) -> Result {
        self.init_transition(patch, Target::Patched)?;
        let locked = &self.locked;
        patch
            .objects(locked)
            .filter(|object| object.is_loaded(locked))
            .try_for_each(|object| {
                object.pre_patch(locked).inspect_err(|_| {
                    pr_warn!(
                        "pre-patch callback failed for object '{}'\n",
                        object.label()
                    );
                })?;
                self.redirects
                    .patch_object(locked, patch, object)
                    .inspect_err(|_| {
                        pr_warn!("failed to patch object '{}'\n", object.label());
                    })
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
    fn disable(&mut self, patch: &PatchRef) -> Result {
        if self.transition.is_some() {
            return Err(EBUSY);
        }
        self.init_transition(patch, Target::Unpatched)
            .inspect_err(|_| self.install_jumps())?;
        for object in patch.patched_objects(&self.locked) {
            object.pre_unpatch(&self.locked);
        }
        self.start_transition(patch, false);
        Ok(())
    }

    /// Prepares a transition of `patch`.
    ///
    /// # Errors
    ///
    /// `ENODEV`: ftrace has disabled itself after a bug. What tasks use stays as it is. And those
    /// of [`Transition::new`].
    fn init_transition(&mut self, patch: &PatchRef, target: Target) -> Result {
        patch
            .objects(&self.locked)
            .try_for_each(|object| self.redirects.remove_jumps(&self.locked, object))
            .inspect_err(|error| {
                pr_err!(
                    "patch '{}': ftrace is out of order ({})\n",
                    patch.name(),
                    error.to_errno()
                );
            })?;
        let patches = Patches {
            moving: patch,
            all: &self.patches,
        };
        let transition = Transition::new(&self.locked, patches, &self.redirects, target)?;
        self.transition = Some(transition);
        Ok(())
    }

    /// Starts the transition of `patch` that was prepared.
    fn start_transition(&mut self, patch: &Patch, enabled: bool) {
        if let Some(transition) = &mut self.transition {
            transition.start(&self.locked, &self.patches, &self.redirects);
        }
        patch.set_enabled(&self.locked, enabled);
        self.try_complete_transition();
    }

    /// Switches the tasks that can be switched, and ends the transition if none remains. What tasks
    /// have left for good is given back then, soon.
    fn try_complete_transition(&mut self) {
        let Some(mut transition) = self.transition.take() else {
            warn_on_once!(true);
            return;
        };
        if !transition.attempt(&self.locked, &self.redirects) {
            self.transition = Some(transition);
            return;
        }
        let is_left = transition.complete(&mut self.locked, &self.patches, &mut self.redirects);
        while let Some(left) = self.patches.iter().find(|patch| is_left(patch)) {
            let left = left.clone();
            self.forget(&left);
        }
    }

    /// Enables or disables a patch at the request of the user, or reverses its transition.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is so already; a patch that was disabled is to be enabled, for which its module
    /// is to be loaded again. And those of [`Self::disable`].
    pub(crate) fn set_enabled(&mut self, patch: &Patch, enabled: bool) -> Result {
        if patch.is_enabled() == enabled {
            return Err(EINVAL);
        }
        if let Some(transition) = transition_of(&mut self.transition, patch) {
            transition.reverse(&self.locked, &self.patches, &self.redirects);
            return Ok(());
        }
        let accepted = self.find(patch).filter(|_| !enabled);
        let accepted = accepted.ok_or(EINVAL)?.clone();
        self.disable(&accepted)
    }

    /// Forces all tasks to switch, at the request of the user.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `patch` is not in transition.
    pub(crate) fn force(&mut self, patch: &Patch) -> Result {
        let transition = transition_of(&mut self.transition, patch).ok_or(EINVAL)?;
        transition.force(&self.locked, &self.patches);
        Ok(())
    }

    /// Takes a patch that is not in use any more off all lists, and lets go of its functions. It is
    /// given back with the last reference to it.
    fn forget(&mut self, patch: &PatchRef) {
        if self.position(patch).is_some() {
            self.patches.retain(|other| !Arc::ptr_eq(other, patch));
            // SAFETY: `init_patch` has put it on the list when it became one of the patches.
            unsafe { state::PATCHES.remove(&self.locked, patch) };
        }
        patch.unlink(&mut self.locked, false);
    }

    /// Lets patched functions be jumps, unless a transition is under way.
    fn install_jumps(&mut self) {
        if self.transition.is_none() {
            self.redirects.install_jumps(&self.locked);
        }
    }

    /// Patches a module that is about to run.
    ///
    /// # Errors
    ///
    /// What has failed, which the log explains. The module is not patched then.
    pub(crate) fn module_coming(&mut self, module: &Module) -> Result {
        // From now on patches that come find the module by themselves.
        module.alive().set(&self.locked, true);
        for index in 0..self.patches.len() {
            let Some(patch) = self.patches.get(index).cloned() else {
                break;
            };
            if let Err((label, error)) = self.patch_coming(&patch, module) {
                pr_warn!(
                    "patch '{}' failed for module '{}', refusing to load module '{}'\n",
                    patch.name(),
                    label,
                    label
                );
                module.alive().set(&self.locked, false);
                self.clean_up_module(module, index);
                return Err(error);
            }
        }
        self.install_jumps();
        Ok(())
    }

    /// Applies one patch to a module that is about to run, if it has an object for it.
    fn patch_coming<'a>(
        &mut self,
        patch: &'a PatchRef,
        module: &'a Module,
    ) -> Result<(), (&'a CStr, Error)> {
        let Self {
            locked,
            patches,
            transition,
            redirects,
        } = self;
        let Some(object) = object_for(locked, patch, module) else {
            return Ok(());
        };
        object.set_module(locked, Some(module));
        let transition = transition_of(transition, patch);
        patch_coming_object(locked, patch, redirects, object)
            .and_then(|()| match transition {
                None => {
                    object.post_patch(locked);
                    Ok(())
                }
                // The module does not run yet: its functions are on no stack before this is known.
                Some(transition) => transition
                    .add_object(locked, patches, redirects, object)
                    .inspect_err(|_| {
                        redirects.unpatch_object(locked, patch, object, false);
                        object.post_unpatch(locked);
                        relocs::clear_object(patch, object);
                    }),
            })
            .map_err(|error| {
                object.set_module(locked, None);
                (module.name(), error)
            })
    }

    /// Reverts what the patches have done to a module that has run for the last time.
    pub(crate) fn module_going(&mut self, module: &Module) {
        module.alive().set(&self.locked, false);
        self.clean_up_module(module, self.patches.len());
    }

    /// Reverts what the first `count` patches have done to a module.
    fn clean_up_module(&mut self, module: &Module, count: usize) {
        let Self {
            locked,
            patches,
            transition,
            redirects,
        } = self;
        for patch in patches.iter().take(count) {
            let Some(object) = object_for(locked, patch, module) else {
                continue;
            };
            let transition = transition_of(transition, patch);
            if transition.is_none() {
                object.pre_unpatch(locked);
            }
            pr_notice!(
                "reverting patch '{}' on unloading module '{}'\n",
                patch.name(),
                object.label()
            );
            // If ftrace is out of order, the functions stay jumps. Nothing calls them any more, and
            // with the module they go.
            let _ = redirects.remove_jumps(locked, object);
            redirects.unpatch_object(locked, patch, object, false);
            if let Some(transition) = transition {
                transition.remove_object(locked, patches, redirects, object);
            }
            object.post_unpatch(locked);
            relocs::clear_object(patch, object);
            object.set_module(locked, None);
            for func in object.funcs(locked) {
                func.forget_addresses(locked);
            }
        }
        self.install_jumps();
    }
}

/// The object of `patch` that is for `module`.
fn object_for<'a>(locked: &'a Locked, patch: &'a Patch, module: &Module) -> Option<&'a Object> {
    patch
        .objects(locked)
        .find(|object| object.module_name() == Some(module.name()))
}

/// The transition, if it is one of `patch`.
fn transition_of<'a>(
    transition: &'a mut Option<Transition>,
    patch: &Patch,
) -> Option<&'a mut Transition> {
    transition
        .as_mut()
        .filter(|transition| ptr::eq::<Patch>(&***transition.patch(), patch))
}

/// Finds out whether the module that `object` is for is there.
fn find_module(locked: &Locked, object: &Object) {
    let Some(name) = object.module_name() else {
        return;
    };
    // No reference is taken: a patch does not keep its target from being unloaded.
    // `klp_module_going()` takes the patch off then. A module that is coming or going is left to
    // `klp_module_coming()` and `klp_module_going()`.
    let rcu = rcu::read_lock();
    let module = Module::find(name, &rcu).filter(|module| module.alive().get(locked));
    object.set_module(locked, module);
}

fn init_object(locked: &Locked, patch: &Patch, object: &Object) -> Result {
    let too_long = |name: &CStr| name.count_bytes() >= module::NAME_LEN;
    if object.module_name().is_some_and(too_long) {
        return Err(EINVAL);
    }
    object.set_patched(locked, false);
    find_module(locked, object);
    object.add_folder(patch)?;
    for func in object.funcs(locked) {
        // The author gives a replacement; a nop gets its address when the object is loaded.
        if func.new_func() == 0 && !func.is_nop() {
            return Err(EINVAL);
        }
        if func.name().count_bytes() > names::SYMBOL_NAME_MAX {
            return Err(EINVAL);
        }
        func.init(locked);
        func.add_folder(object)?;
    }
    if object.is_loaded(locked) {
        init_object_loaded(locked, patch, object)?;
    }
    Ok(())
}

/// Does what needs the object to be loaded: relocations and addresses.
fn init_object_loaded(locked: &Locked, patch: &Patch, object: &Object) -> Result {
    if object.module_name().is_some() {
        // Those for vmlinux were written when the module of the patch was loaded.
        relocs::apply_object(patch, object)?;
    }
    let found = symbols::find_funcs(locked, patch, object);
    if found.is_err() && object.module_name().is_some() {
        relocs::clear_object(patch, object);
    }
    found
}

/// Applies a patch to a module that is about to run.
fn patch_coming_object(
    locked: &Locked,
    patch: &Patch,
    redirects: &mut Redirects,
    object: &Object,
) -> Result {
    init_object_loaded(locked, patch, object).inspect_err(|error| {
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

    object.pre_patch(locked).inspect_err(|_| {
        pr_warn!(
            "pre-patch callback failed for object '{}'\n",
            object.label()
        );
        relocs::clear_object(patch, object);
    })?;

    redirects
        .patch_object(locked, patch, object)
        .inspect_err(|error| {
            pr_warn!(
                "failed to apply patch '{}' to module '{}' ({})\n",
                patch.name(),
                object.label(),
                error.to_errno()
            );
            object.post_unpatch(locked);
            relocs::clear_object(patch, object);
        })
}
