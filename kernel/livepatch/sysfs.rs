// SPDX-License-Identifier: GPL-2.0

//! The tree in `/sys/kernel/livepatch`.
//!
//! ```text
//! /sys/kernel/livepatch/<patch>/enabled
//! /sys/kernel/livepatch/<patch>/transition
//! /sys/kernel/livepatch/<patch>/transition_ms
//! /sys/kernel/livepatch/<patch>/remaining_tasks
//! /sys/kernel/livepatch/<patch>/force
//! /sys/kernel/livepatch/<patch>/replace
//! /sys/kernel/livepatch/<patch>/stack_order
//! /sys/kernel/livepatch/<patch>/<object>/patched
//! /sys/kernel/livepatch/<patch>/<object>/<function,sympos>/new_func
//! ```
//!
//! See `Documentation/ABI/testing/sysfs-kernel-livepatch`.

use crate::{
    abi::{Func, KobjTypes, Object, Patch},
    progress,
    registry::{Sysfs, KLP_MUTEX},
    switch,
    transition, //
};
use kernel::{
    kobject::{Attribute, Attributes, Group, Groups, KobjType, Kobject, Page, Show, Store},
    prelude::*,
    str::kstrtobool,
    sync::{
        aref::ARef,
        SetOnce, //
    },
};

use core::ptr;

/// `/sys/kernel/livepatch`, once it is there.
static ROOT: SetOnce<ARef<Kobject>> = SetOnce::new();

/// Makes `/sys/kernel/livepatch`, without which no patch is accepted. Called once, at boot.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init() -> Result {
    ROOT.populate(Kobject::create_in_kernel(c"livepatch")?);
    Ok(())
}

/// What patches get in sysfs, once [`init`] was called.
pub(crate) fn tree() -> Option<Sysfs<'static>> {
    Some(Sysfs {
        root: ROOT.as_ref()?,
        types: KobjTypes {
            patch: &PATCH_TYPE,
            object: &OBJECT_TYPE,
            func: &FUNC_TYPE,
        },
    })
}

static PATCH_ATTRIBUTES: Attributes<Patch, 7> = Attributes::new([
    &const { Attribute::read_write::<Enabled>(c"enabled") },
    &const { Attribute::read_only::<InTransition>(c"transition") },
    &const { Attribute::write_only::<Force>(c"force") },
    &const { Attribute::read_only::<Replace>(c"replace") },
    &const { Attribute::read_only::<StackOrder>(c"stack_order") },
    &const { Attribute::read_only::<RemainingTasks>(c"remaining_tasks") },
    &const { Attribute::read_only::<TransitionMillis>(c"transition_ms") },
]);
static PATCH_GROUP: Group<Patch> = Group::new(&PATCH_ATTRIBUTES);
static PATCH_GROUPS: Groups<Patch> = Groups::new(&PATCH_GROUP);
static PATCH_TYPE: KobjType<Patch> = KobjType::new(&PATCH_GROUPS);

static OBJECT_ATTRIBUTES: Attributes<Object, 1> =
    Attributes::new([&const { Attribute::read_only::<Patched>(c"patched") }]);
static OBJECT_GROUP: Group<Object> = Group::new(&OBJECT_ATTRIBUTES);
static OBJECT_GROUPS: Groups<Object> = Groups::new(&OBJECT_GROUP);
static OBJECT_TYPE: KobjType<Object> = KobjType::new(&OBJECT_GROUPS);

static FUNC_ATTRIBUTES: Attributes<Func, 1> =
    Attributes::new([&const { Attribute::read_only::<NewFunc>(c"new_func") }]);
static FUNC_GROUP: Group<Func> = Group::new(&FUNC_ATTRIBUTES);
static FUNC_GROUPS: Groups<Func> = Groups::new(&FUNC_GROUP);
static FUNC_TYPE: KobjType<Func> = KobjType::new(&FUNC_GROUPS);

/// Whether a patch is, or is becoming, enabled. Writing disables it, or reverses its transition.
struct Enabled;

impl Show<Patch> for Enabled {
    fn show(patch: &Patch, page: &mut Page) -> Result<usize> {
        Ok(page.emit_number(patch.is_enabled().into()))
    }
}

impl Store<Patch> for Enabled {
    fn store(patch: &Patch, value: &CStr) -> Result {
        let enabled = kstrtobool(value)?;
        KLP_MUTEX.lock().set_enabled(patch, enabled)
    }
}

/// Whether a patch is in transition.
struct InTransition;

impl Show<Patch> for InTransition {
    fn show(patch: &Patch, page: &mut Page) -> Result<usize> {
        Ok(page.emit_number(ptr::eq(transition::patch(), patch).into()))
    }
}

/// Writing forces all tasks to switch.
struct Force;

impl Store<Patch> for Force {
    fn store(patch: &Patch, value: &CStr) -> Result {
        if kstrtobool(value)? {
            KLP_MUTEX.lock().force(patch)?;
        }
        Ok(())
    }
}

/// Whether a patch replaces all others.
struct Replace;

impl Show<Patch> for Replace {
    fn show(patch: &Patch, page: &mut Page) -> Result<usize> {
        Ok(page.emit_number(patch.is_replacing().into()))
    }
}

/// The position of a patch among those that are enabled, from 1, the oldest first.
struct StackOrder;

impl Show<Patch> for StackOrder {
    fn show(patch: &Patch, page: &mut Page) -> Result<usize> {
        let order = KLP_MUTEX.lock().stack_order(patch);
        Ok(page.emit_number(order))
    }
}

/// How many tasks have yet to switch, about: 0 if the patch is not in transition.
struct RemainingTasks;

impl Show<Patch> for RemainingTasks {
    fn show(patch: &Patch, page: &mut Page) -> Result<usize> {
        let moving = ptr::eq(transition::patch(), patch);
        let remaining = if moving { switch::remaining() } else { 0 };
        Ok(page.emit_number(usize::try_from(remaining)?))
    }
}

/// How many milliseconds the patch's last transition took; while one is going on, how many have
/// passed since it started or was reversed.
struct TransitionMillis;

impl Show<Patch> for TransitionMillis {
    fn show(patch: &Patch, page: &mut Page) -> Result<usize> {
        let millis = match progress::running_millis(patch) {
            Some(millis) => millis,
            None => KLP_MUTEX.lock().transition_millis(patch),
        };
        Ok(page.emit_number(usize::try_from(millis)?))
    }
}

/// Whether the functions of an object are patched.
struct Patched;

impl Show<Object> for Patched {
    fn show(object: &Object, page: &mut Page) -> Result<usize> {
        Ok(page.emit_number(object.is_patched().into()))
    }
}

/// Where calls of a function go, by name: the replacement, and its module. For a nop it is the
/// function itself. Empty if that is not loaded.
struct NewFunc;

impl Show<Func> for NewFunc {
    fn show(func: &Func, page: &mut Page) -> Result<usize> {
        Ok(page.emit_symbol(func.new_func()))
    }
}
