// SPDX-License-Identifier: GPL-2.0

//! Redirecting functions.
//!
//! Each function that is patched has an [`Entry`], with the *function stack*: the replacements that
//! the patches have for it, the newest first. What follows from the stack is written to the entry's
//! [`Slot`], where the ftrace handler finds it at once: the address to go on at, or that a
//! transition is going on and it depends on the task.
//!
//! Entries are made in batches, one for the functions of an object that no patch had before. A
//! batch is one `ftrace_ops`: it is registered in one go, and dropped when no entry is left in it.
//!
//! While no transition concerns a batch, ftrace makes each function a jump to its replacement, and
//! calls the handler only where the function has another user of ftrace, too
//! ([`Redirects::install_jumps`]). Jumps are removed before a slot of the batch changes
//! ([`Redirects::remove_jumps`]), which can fail, and therefore comes before anything else does.
//!
//! # Tasks on their way
//!
//! Between the moment when the handler has chosen a destination and the moment when the task gets
//! there, the task can be preempted: in another handler, or in ftrace's trampoline. The destination
//! is in saved registers then, where no unwinder sees it. What a reliable stack trace does show is
//! that the task is in a call of ftrace from the entry of the function: it has the return address
//! of that call, [`ftrace::return_address`], until the trampoline puts the destination in its
//! place. A transition checks for these addresses, too ([`Redirects::ftrace_return_address`]).
//!
//! # Concurrency
//!
//! All changes are made with `klp_mutex` held. The handler takes no lock; it runs with preemption
//! disabled, where RCU may not be watching, so that what waits for it waits for each CPU to
//! schedule ([`synchronize`](crate::synchronize::synchronize), or dropping an `Ops`).
//!
//! [`Slot::destination`] is written by release stores and read by an acquire load. So a handler
//! that sees [`IN_TRANSITION`] sees the two destinations, and the initial `patch_state` of all
//! tasks, that were written before. That it sees an address does not tell it anything about tasks,
//! and it does not ask for their states.
//!
//! A handler that has seen `IN_TRANSITION` may read the two destinations after they are not in
//! force any more. They stay as they were until after a synchronization, which comes before
//! `patch_state` loses its meaning, too.

use crate::{
    abi::{Func, FuncStack, Object, Patch},
    lock::Locked,
    route::{self, Layer, Route, ORIGINAL},
    sort::sort_by_key,
    target::PatchState,
    task,
    trace,
    warn::warn_on_once, //
};
use kernel::{
    bindings,
    ftrace::{self, Flags, Handler, NonRecursive, Ops, Regs},
    prelude::*,
    sync::atomic::{Atomic, Relaxed, Release},
    warn_on, //
};

use core::ptr;

/// What [`Slot::destination`] says while it depends on the task. No function is at this address.
const IN_TRANSITION: usize = 1;

/// Where calls of a function go, for the handler.
struct Slot {
    /// Where ftrace hooks the function, or 0 if the slot is empty. Never written after the slot's
    /// table is in use.
    ip: usize,
    /// The address to go on at, [`ORIGINAL`] or [`IN_TRANSITION`].
    destination: Atomic<usize>,
    /// The index of the entry.
    entry: usize,
}

/// A function that is patched.
struct Entry {
    /// The address of the function.
    old_func: usize,
    /// The index of its slot.
    slot: usize,
    /// Where tasks go that have switched to the patch in transition.
    patched: Atomic<usize>,
    /// Where the other tasks go.
    unpatched: Atomic<usize>,
    /// The function stack.
    stack: FuncStack,
    /// Whether ftrace still calls the handler for it.
    hooked: Atomic<bool>,
}

/// The functions of a batch, and where calls of them go.
///
/// # Invariants
///
/// - `slots` has `mask + 1` elements, `mask + 1` being a power of two; at least one is empty.
/// - The `entry` of each slot that is not empty is an index into `entries`.
/// - `entries` is sorted by `old_func`, and never reallocated.
pub(crate) struct Table {
    mask: usize,
    slots: KVVec<Slot>,
    entries: KVVec<Entry>,
}

impl Handler for Table {
    #[inline(always)]
    fn call(&self, ip: usize, _parent_ip: usize, regs: &mut Regs) {
        let slots = self.slots.as_ptr();
        // SAFETY: `probe` stays within `mask`, and by the invariants `slots` has that many.
        let found = route::probe(self.mask, ip, |index| unsafe { (*slots.add(index)).ip });
        let Ok(index) = found else {
            return;
        };
        // SAFETY: As above.
        let slot = unsafe { &*slots.add(index) };

        // Pairs with the release stores in `Table::update`. Not by `Atomic::load()`, which the
        // tracer may hook where helpers are not inlined.
        //
        // SAFETY: The pointer is valid and aligned.
        let mut destination =
            unsafe { bindings::klp_load_acquire(slot.destination.as_ptr().cast()) };
        if destination == IN_TRANSITION {
            // SAFETY: By the invariants the index is one of an entry.
            let entry = unsafe { &*self.entries.as_ptr().add(slot.entry) };
            let state = task::current_patch_state();
            warn_on_once!(state == PatchState::Idle.raw());
            let chosen = if state == PatchState::Unpatched.raw() {
                &entry.unpatched
            } else {
                &entry.patched
            };
            // SAFETY: The pointer is valid and aligned.
            destination = unsafe { ptr::read_volatile(chosen.as_ptr()) };
        }

        if destination != ORIGINAL {
            // SAFETY: It is the replacement in a patch that is on the function stack, or was until
            // a moment ago; its author promises the type. The code of a patch that is taken off
            // stays until no task can be in it.
            unsafe { regs.set_instruction_pointer(destination) };
        }
    }
}

// SAFETY: `call` calls nothing, as `make check` sees in the object code. Should there be a task
// without a state, the trap of the warning is not a call, and is taken once only.
unsafe impl NonRecursive for Table {}

/// A function that has no entry yet.
#[derive(Clone, Copy)]
struct Unhooked<'a> {
    old_func: usize,
    ip: usize,
    func: &'a Func,
}

impl Table {
    /// Makes a table in which all calls go to the original.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: ftrace hooks two different functions at the same address.
    /// - `ENOMEM`.
    fn new(funcs: &[Unhooked<'_>]) -> Result<Self> {
        let mut sorted = KVVec::with_capacity(funcs.len(), GFP_KERNEL)?;
        for func in funcs {
            sorted.push((func.old_func, func.ip), GFP_KERNEL)?;
        }
        sort_by_key(&mut sorted, |&pair| pair);

        let size = route::table_size(funcs.len()).ok_or(ENOMEM)?;
        let mut slots = KVVec::with_capacity(size, GFP_KERNEL)?;
        for _ in 0..size {
            let empty = Slot {
                ip: 0,
                destination: Atomic::new(ORIGINAL),
                entry: 0,
            };
            slots.push(empty, GFP_KERNEL)?;
        }

        let mut table = Self {
            mask: size - 1,
            slots,
            entries: KVVec::with_capacity(funcs.len(), GFP_KERNEL)?,
        };
        for &(old_func, ip) in sorted.iter() {
            table.insert(old_func, ip)?;
        }
        // INVARIANT: There is a power of two of slots, at least twice as many as entries; the
        // index of each entry was written to its slot; `sorted` is.
        Ok(table)
    }

    /// Adds an entry with its slot, for [`Self::new`].
    fn insert(&mut self, old_func: usize, ip: usize) -> Result {
        let last = self.entries.last();
        if last.is_some_and(|last| last.old_func == old_func) {
            // A function that the patch names twice has one entry.
            return Ok(());
        }
        let key = |index: usize| self.slots.get(index).map_or(0, |slot: &Slot| slot.ip);
        let Err(index) = route::probe(self.mask, ip, key) else {
            return Err(EBUSY);
        };
        if let Some(slot) = self.slots.get_mut(index) {
            slot.ip = ip;
            slot.entry = self.entries.len();
        }
        let entry = Entry {
            old_func,
            slot: index,
            patched: Atomic::new(ORIGINAL),
            unpatched: Atomic::new(ORIGINAL),
            stack: FuncStack::new(),
            hooked: Atomic::new(true),
        };
        Ok(self.entries.push(entry, GFP_KERNEL)?)
    }

    /// Returns the entry of the function at `old_func`, if ftrace calls the handler for it.
    fn find(&self, old_func: usize) -> Option<&Entry> {
        let index = self
            .entries
            .binary_search_by_key(&old_func, |entry| entry.old_func)
            .ok()?;
        self.entries
            .get(index)
            .filter(|entry| entry.hooked.load(Relaxed))
    }

    /// Writes what follows from the function stack of `entry` to its slot.
    fn update(&self, locked: &Locked, entry: &Entry) {
        let route = route::decide(entry.stack.iter(locked).map(|func| Layer {
            destination: if func.is_nop() {
                ORIGINAL
            } else {
                func.new_func()
            },
            in_transition: func.in_transition(locked),
        }));
        let Some(slot) = self.slots.get(entry.slot) else {
            return;
        };
        // The release stores pair with the acquire load in the handler. During a transition that
        // makes it see both destinations, and the `patch_state` that `Transition::new` has given to
        // all tasks.
        match route {
            Route::Fixed(destination) => slot.destination.store(destination, Release),
            Route::PerTask { patched, unpatched } => {
                entry.patched.store(patched, Relaxed);
                entry.unpatched.store(unpatched, Relaxed);
                slot.destination.store(IN_TRANSITION, Release);
            }
        }
    }

    /// The functions that have one destination for all tasks: where ftrace hooks them, and where
    /// they go.
    #[cfg(CONFIG_LIVEPATCH_RUST_JUMP)]
    fn jumps(&self) -> Result<(KVVec<usize>, KVVec<usize>)> {
        let mut ips = KVVec::with_capacity(self.entries.len(), GFP_KERNEL)?;
        let mut addrs = KVVec::with_capacity(self.entries.len(), GFP_KERNEL)?;
        for entry in self.entries.iter() {
            if !entry.hooked.load(Relaxed) {
                continue;
            }
            let Some(slot) = self.slots.get(entry.slot) else {
                continue;
            };
            let destination = slot.destination.load(Relaxed);
            let jumps = destination != ORIGINAL && destination != IN_TRANSITION;
            // One that ftrace cannot jump to is left to the handler.
            if jumps && ftrace::can_jump_to(destination) {
                ips.push(slot.ip, GFP_KERNEL)?;
                addrs.push(destination, GFP_KERNEL)?;
            }
        }
        Ok((ips, addrs))
    }

    /// Whether no patch has a replacement for any function.
    fn is_unused(&self, locked: &Locked) -> bool {
        self.entries
            .iter()
            .all(|entry| entry.stack.is_empty(locked))
    }

    /// The entries that ftrace calls the handler for in vain.
    fn unused<'a>(&'a self, locked: &'a Locked) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.hooked.load(Relaxed) && entry.stack.is_empty(locked))
    }
}

/// A handler that lets all calls go where they went.
struct Noop;

impl Handler for Noop {
    #[inline(always)]
    fn call(&self, _ip: usize, _parent_ip: usize, _regs: &mut Regs) {}
}

// SAFETY: `call` does nothing.
unsafe impl NonRecursive for Noop {}

/// Which step of [`register`] has failed.
#[derive(Clone, Copy)]
enum RegisterError {
    Memory(Error),
    Filter(Error),
    Register(Error),
}

impl RegisterError {
    fn error(self) -> Error {
        match self {
            Self::Memory(error) | Self::Filter(error) | Self::Register(error) => error,
        }
    }

    /// Whether one function may be what ftrace refuses, and others not.
    fn is_about_a_function(self) -> bool {
        !matches!(self, Self::Memory(_)) && !matches!(self.error(), ENOMEM | ENODEV)
    }

    fn log(self, func: &Func) {
        let errno = self.error().to_errno();
        match self {
            Self::Memory(_) => (),
            Self::Filter(_) => pr_err!(
                "failed to set ftrace filter for function '{}' ({})\n",
                func.name(),
                errno
            ),
            Self::Register(_) => pr_err!(
                "failed to register ftrace handler for function '{}' ({})\n",
                func.name(),
                errno
            ),
        }
    }
}

/// The handler changes where calls go, and the administrator must not switch it off.
const FLAGS: Flags = Flags::IPMODIFY.union(Flags::PERMANENT);

/// Registers `handler` with ftrace for these functions.
fn register<H: NonRecursive>(handler: H, funcs: &[Unhooked<'_>]) -> Result<Ops<H>, RegisterError> {
    let memory = |_| RegisterError::Memory(ENOMEM);
    let mut ips = KVVec::with_capacity(funcs.len(), GFP_KERNEL).map_err(memory)?;
    for func in funcs {
        ips.push(func.ip, GFP_KERNEL).map_err(memory)?;
    }
    let mut ops =
        Ops::new_nonrecursive(handler, FLAGS, GFP_KERNEL).map_err(RegisterError::Memory)?;
    ops.add(&ips).map_err(RegisterError::Filter)?;
    ops.register().map_err(RegisterError::Register)?;
    Ok(ops)
}

/// Finds out which function made ftrace refuse the whole batch, and names it in the log.
///
/// Halves are tried, so that it takes some registrations even for a thousand functions.
fn log_refused(funcs: &[Unhooked<'_>], refused: RegisterError) -> Error {
    let mut suspects = funcs;
    let mut refused = refused;
    while refused.is_about_a_function() && suspects.len() > 1 {
        let (first, second) = suspects.split_at(suspects.len() / 2);
        let found = [first, second]
            .into_iter()
            .find_map(|half| match register(Noop, half) {
                Ok(ops) => {
                    ops.unregister_nowait();
                    None
                }
                Err(refused) => Some((half, refused)),
            });
        let Some(half) = found else {
            // It was refused for a moment only.
            pr_err!(
                "failed to register ftrace handler for {} functions ({})\n",
                funcs.len(),
                refused.error().to_errno()
            );
            return refused.error();
        };
        (suspects, refused) = half;
    }
    if let Some(suspect) = suspects.first() {
        refused.log(suspect.func);
    }
    refused.error()
}

/// All functions that are patched.
pub(crate) struct Redirects {
    batches: KVec<Ops<Table>>,
}

impl Redirects {
    /// No function is patched.
    pub(crate) const fn new() -> Self {
        Self {
            batches: KVec::new(),
        }
    }

    fn find(&self, old_func: usize) -> Option<(&Table, &Entry)> {
        self.batches.iter().find_map(|ops| {
            let table = ops.handler();
            Some((table, table.find(old_func)?))
        })
    }

    /// Makes functions whose destination does not depend on the task jump to their replacements,
    /// without a call of the handler. No transition may be going on.
    ///
    /// What fails here leaves things as they are: the handler is called.
    #[cfg(CONFIG_LIVEPATCH_RUST_JUMP)]
    pub(crate) fn install_jumps(&mut self, _locked: &Locked) {
        for ops in self.batches.iter_mut().filter(|ops| !ops.has_jumps()) {
            let Ok((ips, addrs)) = ops.handler().jumps() else {
                continue;
            };
            if ips.is_empty() {
                continue;
            }
            // SAFETY: The addresses are those of replacements in patches that are on the function
            // stacks; their authors promise the types. Before a patch is taken off, `remove_jumps`
            // clears the jumps, and its code stays until no task can be in it.
            let done = unsafe { ops.set_jumps(&ips, &addrs) };
            // ftrace has said so itself if it is out of order.
            warn_on!(done.is_err_and(|error| error != ENODEV));
        }
    }

    /// As above, where ftrace cannot do this.
    #[cfg(not(CONFIG_LIVEPATCH_RUST_JUMP))]
    pub(crate) fn install_jumps(&mut self, _locked: &Locked) {}

    /// Makes all calls of functions of `object` go through the handler, so that changes of their
    /// slots take effect.
    ///
    /// Tasks that have come to a replacement by a jump are found there like those that the handler
    /// has sent.
    ///
    /// # Errors
    ///
    /// `ENODEV`: ftrace has disabled itself after a bug. Some functions may still be jumps.
    pub(crate) fn remove_jumps(&mut self, locked: &Locked, object: &Object) -> Result {
        for ops in self.batches.iter_mut().filter(|ops| ops.has_jumps()) {
            let table = ops.handler();
            if object
                .funcs(locked)
                .any(|func| table.find(func.old_func(locked)).is_some())
            {
                ops.clear_jumps()?;
            }
        }
        Ok(())
    }

    /// The address that the stack of a task shows while ftrace is at work at the entry of `func`,
    /// and the task has yet to go where the handler may have sent it.
    pub(crate) fn ftrace_return_address(&self, locked: &Locked, func: &Func) -> Option<usize> {
        let (table, entry) = self.find(func.old_func(locked))?;
        let slot = table.slots.get(entry.slot)?;
        Some(ftrace::return_address(slot.ip))
    }

    /// Puts all functions of `object` of `patch`, which is loaded, on their function stacks.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a function cannot be hooked; or the object is patched already.
    /// - `EBUSY`: another user of ftrace changes where calls of a function go.
    /// - `ENODEV`: ftrace has disabled itself after a bug.
    /// - `ENOMEM`.
    ///
    /// After an error, which the log explains, nothing has changed.
    pub(crate) fn patch_object(
        &mut self,
        locked: &Locked,
        patch: &Patch,
        object: &Object,
    ) -> Result {
        if warn_on!(object.is_patched()) {
            return Err(EINVAL);
        }
        self.remove_jumps(locked, object)?;
        self.hook(locked, object)?;

        // Nothing can fail from here on: each function has an entry.
        for func in object.funcs(locked) {
            if let Some((table, entry)) = self.find(func.old_func(locked)) {
                // SAFETY: A function that is not patched is on no stack. It is taken off by
                // `unpatch_object`, before it is released or the entry goes.
                unsafe { entry.stack.push_front(locked, func) };
                func.set_patched(locked, true);
                table.update(locked, entry);
            }
        }
        object.set_patched(locked, true);
        trace::object(patch.name(), object.label(), true);
        Ok(())
    }

    /// Makes a batch of the functions of `object` that have no entry yet, for
    /// [`Self::patch_object`].
    fn hook(&mut self, locked: &Locked, object: &Object) -> Result {
        let mut unhooked = KVVec::new();
        for func in object.funcs(locked) {
            let old_func = func.old_func(locked);
            if warn_on!(old_func == 0) || warn_on!(func.is_patched(locked)) {
                return Err(EINVAL);
            }
            if self.find(old_func).is_some() {
                continue;
            }
            let Some(ip) = ftrace::location(old_func) else {
                pr_err!("failed to find location for function '{}'\n", func.name());
                return Err(EINVAL);
            };
            unhooked.push(Unhooked { old_func, ip, func }, GFP_KERNEL)?;
        }
        if unhooked.is_empty() {
            return Ok(());
        }

        self.batches.reserve(1, GFP_KERNEL)?;
        let ops = register(Table::new(&unhooked)?, &unhooked)
            .map_err(|refused| log_refused(&unhooked, refused))?;
        Ok(self.batches.push(ops, GFP_KERNEL)?)
    }

    /// Takes functions of `object` of `patch` off their function stacks: all, or only the nops.
    ///
    /// No jump may lead to them: see [`Self::remove_jumps`]. A handler may still be running that
    /// has chosen one of them, and the task that runs it be on the way there.
    pub(crate) fn unpatch_object(
        &mut self,
        locked: &Locked,
        patch: &Patch,
        object: &Object,
        nops_only: bool,
    ) {
        for func in object.funcs(locked) {
            if (nops_only && !func.is_nop()) || !func.is_patched(locked) {
                continue;
            }
            if let Some((table, entry)) = self.find(func.old_func(locked)) {
                // SAFETY: It is patched, so that it is on the stack of its entry.
                unsafe { entry.stack.remove(locked, func) };
                func.set_patched(locked, false);
                table.update(locked, entry);
            } else {
                warn_on!(true);
            }
        }
        if object.is_dynamic() || !nops_only {
            if object.is_patched() {
                trace::object(patch.name(), object.label(), false);
            }
            object.set_patched(locked, false);
        }
        self.unhook_unused(locked);
    }

    /// Writes what follows from the function stacks of the functions of `object` to their slots,
    /// after [`Func::in_transition`] has changed for them. They must not be jumps.
    pub(crate) fn update_object(&self, locked: &Locked, object: &Object) {
        for func in object.funcs(locked).filter(|func| func.is_patched(locked)) {
            if let Some((table, entry)) = self.find(func.old_func(locked)) {
                table.update(locked, entry);
            }
        }
    }

    /// The function that `func` replaces, which tasks run that have not switched to its patch, and
    /// its size in bytes. `func` need not be on the function stack yet.
    pub(crate) fn replaced(&self, locked: &Locked, func: &Func) -> (usize, usize) {
        let original = (func.old_func(locked), func.old_size(locked));
        let Some((_, entry)) = self.find(func.old_func(locked)) else {
            return original;
        };
        let mut stack = entry.stack.iter(locked);
        if func.is_patched(locked) {
            let _ = stack.find(|other| ptr::eq(*other, func));
        }
        stack
            .next()
            .map_or(original, |older| (older.new_func(), older.new_size(locked)))
    }

    /// Makes ftrace forget the functions that no patch has a replacement for any more.
    fn unhook_unused(&mut self, locked: &Locked) {
        // The table stays for as long as a handler may use it: nothing has to wait here. An `Ops`
        // that ftrace cannot let go of stays for good, and leads to the originals.
        let mut index = 0;
        while let Some(ops) = self.batches.get(index) {
            if !ops.handler().is_unused(locked) {
                index += 1;
            } else if let Ok(ops) = self.batches.remove(index) {
                ops.unregister_nowait();
            }
        }

        for ops in self.batches.iter_mut() {
            let table = ops.handler();
            // If this fails, the entries stay hooked, lead to the original, and are there for the
            // next patch.
            let mut ips = KVVec::new();
            for entry in table.unused(locked) {
                if let Some(slot) = table.slots.get(entry.slot) {
                    if ips.push(slot.ip, GFP_KERNEL).is_err() {
                        break;
                    }
                }
            }
            if !ips.is_empty() && ops.remove(&ips).is_ok() {
                for entry in ops.handler().unused(locked).take(ips.len()) {
                    entry.hooked.store(false, Relaxed);
                }
            }
        }
    }
}
