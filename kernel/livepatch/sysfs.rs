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
    abi::{Func, KobjTypes, Object, Patch},
    registry::{Sysfs, KLP_MUTEX},
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

static PATCH_ATTRIBUTES: Attributes<Patch, 5> = Attributes::new([
    &const { Attribute::read_write::<Enabled>(c"enabled") },
    &const { Attribute::read_only::<InTransition>(c"transition") },
    &const { Attribute::write_only::<Force>(c"force") },
    &const { Attribute::read_only::<Replace>(c"replace") },
    &const { Attribute::read_only::<StackOrder>(c"stack_order") },
]);
static PATCH_GROUP: Group<Patch> = Group::new(&PATCH_ATTRIBUTES);
static PATCH_GROUPS: Groups<Patch> = Groups::new(&PATCH_GROUP);
static PATCH_TYPE: KobjType<Patch> = KobjType::new(&PATCH_GROUPS);

static OBJECT_ATTRIBUTES: Attributes<Object, 1> =
    Attributes::new([&const { Attribute::read_only::<Patched>(c"patched") }]);
static OBJECT_GROUP: Group<Object> = Group::new(&OBJECT_ATTRIBUTES);
static OBJECT_GROUPS: Groups<Object> = Groups::new(&OBJECT_GROUP);
static OBJECT_TYPE: KobjType<Object> = KobjType::new(&OBJECT_GROUPS);

static FUNC_TYPE: KobjType<Func> = KobjType::without_files();

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

/// Whether the functions of an object are patched.
struct Patched;

impl Show<Object> for Patched {
    fn show(object: &Object, page: &mut Page) -> Result<usize> {
        Ok(page.emit_number(object.is_patched().into()))
    }
}
