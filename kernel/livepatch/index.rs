// SPDX-License-Identifier: GPL-2.0

//! The code that tasks must not be in when they switch.
//!
//! It is, for each function of the patch in transition:
//!
//! - what tasks leave: the replacement, or what it replaces;
//! - the parts of that which the compiler has put elsewhere;
//! - the return address of the call of ftrace from the function's entry. A task with this address
//!   on its stack is in the handler, or has left it and was preempted before it got where the
//!   handler has sent it. It has chosen what it is about to leave, so that it has not left it.
//!
//! And, for each patch that tasks leave for good, all code of its module: a replacement that ends
//! in the call of another function of the module, or goes on in a part that the compiler has split
//! off, is not on the stack, and the task is in what is about to be given back.

use crate::{
    abi::{Func, Object, Patch, PatchRef},
    lock::Locked,
    ranges::{self, Range},
    redirect::Redirects,
    symbols::{self, Part},
    target::Target,
    task::TaskExt,
    test_params,
    warn::warn_on_once, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    task::Task, //
};

use core::ops;

/// What a range belongs to.
#[derive(Clone, Copy)]
enum Tag {
    /// A function of the patch in transition.
    Func(*const Func),
    /// The module of a patch that tasks leave for good.
    Module(*const Patch),
}

/// Code that a task is in.
#[derive(Clone, Copy)]
pub(crate) enum Region<'a> {
    /// A function of the patch in transition, or the call of ftrace from it.
    Func(&'a Func),
    /// The module of a patch that tasks leave for good.
    Module(&'a Patch),
}

/// Ranges of code, for being searched.
struct Ranges {
    /// As many of them as `len` says are sorted and do not overlap.
    list: KVVec<Range<Tag>>,
    len: usize,
}

impl Ranges {
    fn with_capacity(capacity: usize) -> Result<Self> {
        let list = KVVec::with_capacity(capacity, GFP_KERNEL)?;
        Ok(Self { list, len: 0 })
    }

    fn clear(&mut self) {
        self.list.clear();
        self.len = 0;
    }

    fn push(&mut self, start: usize, len: usize, tag: Tag) {
        // There is room for all functions of the patch, and for all modules.
        let pushed = self.list.push_within_capacity(Range { start, len, tag });
        warn_on_once!(pushed.is_err());
    }

    fn prepare(&mut self) {
        self.len = ranges::prepare(&mut self.list);
    }

    #[inline]
    fn sorted(&self) -> &[Range<Tag>] {
        self.list.get(..self.len).unwrap_or(&[])
    }
}

/// Ranges of code that tasks must not be in.
///
/// # Invariants
///
/// The functions and patches that the tags point to outlive the index.
pub(crate) struct Index {
    /// Functions, their parts elsewhere, and the calls of ftrace from them.
    funcs: Ranges,
    /// All code of the modules that tasks leave for good. No thread that such a module has started
    /// itself is concerned: it is the module's own affair.
    modules: Ranges,
    /// From the beginning of the lowest to the end of the highest.
    within: ops::Range<usize>,
}

// SAFETY: The pointers are to functions of the patch in transition, and to patches that it makes
// tasks leave, all of which outlive the index.
unsafe impl Send for Index {}
// SAFETY: As above; an index that is shared is not written to.
unsafe impl Sync for Index {}

impl Index {
    /// Makes one with room for so many functions, parts of functions, and modules.
    fn with_capacity(funcs: usize, parts: usize, modules: usize) -> Result<KBox<Self>> {
        // Two ranges for each function.
        let funcs = funcs
            .checked_mul(2)
            .and_then(|funcs| funcs.checked_add(parts));
        let index = Self {
            funcs: Ranges::with_capacity(funcs.ok_or(ENOMEM)?)?,
            modules: Ranges::with_capacity(modules)?,
            within: 0..0,
        };
        Ok(KBox::new(index, GFP_KERNEL)?)
    }

    /// From the beginning of the lowest range to the end of the highest.
    #[inline]
    pub(crate) fn within(&self) -> ops::Range<usize> {
        self.within.clone()
    }

    /// Returns what `addr`, on the stack of `task`, is in.
    #[inline]
    pub(crate) fn find(&self, task: &Task, addr: usize) -> Option<Region<'_>> {
        let in_module = || {
            ranges::find(self.modules.sorted(), addr)
                .filter(|range| !range.contains(task.thread_func()))
        };
        let range = ranges::find(self.funcs.sorted(), addr).or_else(in_module)?;
        // SAFETY: By the invariants of the index.
        Some(unsafe {
            match range.tag {
                Tag::Func(func) => Region::Func(&*func),
                Tag::Module(patch) => Region::Module(&*patch),
            }
        })
    }
}

/// A part of a function that the compiler has put elsewhere.
struct LeftPart {
    part: Part,
    /// What it was found for.
    object: *const Object,
    /// In which direction tasks leave it.
    target: Target,
}

// SAFETY: The pointers are to parts of the patch in transition, and used while `klp_mutex` is held.
unsafe impl Send for LeftPart {}

/// The patches that a transition is between.
#[derive(Clone, Copy)]
pub(crate) struct Patches<'a> {
    /// The one in transition.
    pub(crate) moving: &'a PatchRef,
    /// All that are enabled or in transition, the oldest first.
    pub(crate) all: &'a [PatchRef],
}

impl<'a> Patches<'a> {
    /// Those that tasks leave for good.
    pub(crate) fn left(self, target: Target) -> impl Iterator<Item = &'a PatchRef> {
        self.split(target, true)
    }

    fn split(self, target: Target, left: bool) -> impl Iterator<Item = &'a PatchRef> {
        let is_replacing = self.moving.is_replacing();
        self.all.iter().filter(move |patch| {
            target.leaves(Arc::ptr_eq(patch, self.moving), is_replacing) == left
        })
    }
}

/// The indexes of a transition: the published one, room for the next, and what they are made from.
pub(crate) struct Indexes {
    /// The published index, and room for the next, or the one before.
    pair: [KBox<Index>; 2],
    /// The parts elsewhere of what tasks leave, in both directions.
    parts: KVVec<LeftPart>,
}

impl Indexes {
    /// Finds the parts of what tasks leave for the functions of a patch, and makes room for all
    /// ranges. For both directions, as reversing a transition must not fail.
    ///
    /// # Errors
    ///
    /// - `ENOENT`: the size of a part is not known. The log says so.
    /// - `ENOMEM`.
    pub(crate) fn new(
        locked: &Locked,
        patches: Patches<'_>,
        redirects: &Redirects,
    ) -> Result<Self> {
        let mut parts = KVVec::new();
        let loaded = |object: &&Object| object.is_loaded(locked);
        for object in patches.moving.objects(locked).filter(loaded) {
            find_parts(locked, patches, redirects, object, &mut parts)?;
        }
        let pair = new_pair(locked, patches, parts.len())?;
        Ok(Self { pair, parts })
    }

    /// Returns the ranges that are published.
    pub(crate) fn current(&self) -> &Index {
        &self.pair[0]
    }

    /// Writes the ranges of a transition to `target`, and returns them. The ones before stay as
    /// they are, until the next call.
    pub(crate) fn update(
        &mut self,
        locked: &Locked,
        patches: Patches<'_>,
        redirects: &Redirects,
        target: Target,
    ) -> &Index {
        self.pair.swap(0, 1);
        let index = &mut *self.pair[0];
        index.funcs.clear();
        index.modules.clear();
        // INVARIANT: The transition has a reference to its patch, and those that tasks leave are
        // given back after it.
        for patch in patches.left(target) {
            let text = patch.module().text();
            let tag = Tag::Module(&raw const ***patch);
            index.modules.push(text.start, text.len(), tag);
        }
        for object in patches.moving.patched_objects(locked) {
            for func in object.funcs(locked) {
                let (start, len) = target.left(
                    || (func.new_func(), func.new_size(locked)),
                    || redirects.replaced(locked, func),
                );
                index.funcs.push(start, len, Tag::Func(func));
                let hook = redirects.ftrace_return_address(locked, func);
                if let Some(addr) = hook.filter(|_| test_params::check_for_hooks()) {
                    index.funcs.push(addr, 1, Tag::Func(func));
                }
            }
        }
        for left in self.parts.iter().filter(|left| left.target == target) {
            let Range { start, len, tag } = left.part;
            index.funcs.push(start, len, Tag::Func(tag));
        }
        index.funcs.prepare();
        index.modules.prepare();
        index.within = ranges::hull(
            ranges::within(index.funcs.sorted()),
            ranges::within(index.modules.sorted()),
        );
        index
    }

    /// Takes in what tasks leave for `object`, which has come, so that the next [`Self::update`]
    /// knows it. The ranges that are published stay in place until the `KBox` that is returned is
    /// put in by [`Self::make_room`].
    ///
    /// # Errors
    ///
    /// As for [`Self::new`]; nothing has changed then.
    pub(crate) fn add(
        &mut self,
        locked: &Locked,
        patches: Patches<'_>,
        redirects: &Redirects,
        object: &Object,
    ) -> Result<KBox<Index>> {
        let known = self.parts.len();
        let found = find_parts(locked, patches, redirects, object, &mut self.parts);
        let index = found.and_then(|()| new_pair(locked, patches, self.parts.len()));
        match index {
            Ok([next, room]) => {
                self.pair[1] = next;
                Ok(room)
            }
            Err(error) => {
                self.parts.truncate(known);
                Err(error)
            }
        }
    }

    /// Puts in room for the next ranges. Those before the published ones must not be used any more.
    pub(crate) fn make_room(&mut self, room: KBox<Index>) {
        self.pair[1] = room;
    }

    /// Forgets what tasks leave for `object`, which goes.
    pub(crate) fn remove(&mut self, object: &Object) {
        self.parts
            .retain(|left| !core::ptr::eq(left.object, object));
    }
}

/// Makes room for the ranges of a transition, twice: for all functions, whether their modules are
/// there or not, so many parts of them, and as many modules as may be left.
fn new_pair(locked: &Locked, patches: Patches<'_>, parts: usize) -> Result<[KBox<Index>; 2]> {
    let objects = patches.moving.objects(locked);
    let funcs = objects.map(|object| object.funcs(locked).count()).sum();
    let new = || Index::with_capacity(funcs, parts, patches.all.len() + 1);
    Ok([new()?, new()?])
}

/// Adds the parts elsewhere of what tasks leave for the functions of `object`: of what those
/// replace, and, when tasks come back, of the originals that its nops lead to. (The parts of its
/// replacements are in its module, all of which tasks leave.)
fn find_parts(
    locked: &Locked,
    patches: Patches<'_>,
    redirects: &Redirects,
    object: &Object,
    parts: &mut KVVec<LeftPart>,
) -> Result {
    let mut add = |target, found: Result<KVVec<Part>>| {
        let found = found.inspect_err(|error| {
            pr_err!(
                "parts of functions of '{}' cannot be found ({})\n",
                object.label(),
                error.to_errno()
            );
        })?;
        for part in found {
            let left = LeftPart {
                part,
                object,
                target,
            };
            parts.push(left, GFP_KERNEL)?;
        }
        Ok::<_, Error>(())
    };

    let replaced = |func: &Func| Some(redirects.replaced(locked, func).0);
    // Where tasks leave all other patches for good, these are left with their modules.
    let others = patches
        .split(Target::Patched, false)
        .filter(|patch| !Arc::ptr_eq(patch, patches.moving))
        .map(|patch| patch.module());
    let found = symbols::find_parts(locked, object, replaced, others);
    add(Target::Patched, found)?;

    if object.funcs(locked).any(Func::is_nop) {
        let original = |func: &Func| func.is_nop().then(|| func.old_func(locked));
        let found = symbols::find_parts(locked, object, original, core::iter::empty());
        add(Target::Unpatched, found)?;
    }
    Ok(())
}
