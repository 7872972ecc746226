// SPDX-License-Identifier: GPL-2.0

//! Redirecting functions.
//!
//! Each function that is patched has an [`Entry`], with the *function stack*: the replacements that
//! the patches have for it, the newest first. What follows from the stack is written to the entry's
//! [`Slot`], where the ftrace handler finds it with one look: the address to go on at, or that a
//! transition is going on and it depends on the task.
//!
//! Entries are made in batches, one for the functions of an object that no patch had before. A
//! batch is one `ftrace_ops`: it is registered in one go, and dropped when no entry is left in it.
//!
//! While no transition concerns a batch, ftrace makes each function a jump to its replacement, and
//! calls the handler only where somebody else hooks the function, too
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
//! place. A transition looks for these addresses, too ([`Redirects::hook_return`]).
//!
//! # Concurrency
//!
//! All changes are made with `klp_mutex` held. The handler takes no lock; it runs with preemption
//! disabled, where RCU may not be watching, so that who waits for it waits for each CPU to
//! schedule ([`synchronize`](crate::transition::synchronize), or dropping an `Ops`).
//!
//! [`Slot::steady`] is written by release stores and read by an acquire load. So a handler that
//! sees [`SPLIT`] sees the two ways, and the initial `patch_state` of all tasks, that were written
//! before. That it sees a steady address does not tell it anything about tasks, and it does not
//! look at any.
//!
//! A handler that has seen `SPLIT` may read the two ways after they are not in force any more. They
//! stay as they were until after a synchronization, which comes before `patch_state` loses its
//! meaning, too.

use crate::{
    abi::{self, Func, Object},
    klp::warn_on_once,
    phase::PatchState,
    route::{self, Layer, Route, ORIGINAL},
    sort::sort_by_key, //
};
use kernel::{
    bindings,
    ftrace::{self, Flags, Handler, Leaf, Ops, Regs},
    prelude::*,
    sync::atomic::{Atomic, Relaxed, Release},
    types::Opaque,
    warn_on, //
};

use core::ptr;

/// What [`Slot::steady`] says while the way depends on the task. No function is at this address.
const SPLIT: usize = 1;

/// Where calls of a function go, for the handler.
struct Slot {
    /// Where ftrace hooks the function, or 0 if the slot is empty. Never written after the slot's
    /// table is in use.
    ip: usize,
    /// The address to go on at, [`ORIGINAL`] or [`SPLIT`].
    steady: Atomic<usize>,
    /// The index of the entry.
    entry: usize,
}

/// A function that is patched.
struct Entry {
    /// The address of the function.
    old_func: usize,
    /// Where it has its slot.
    slot: usize,
    /// Where tasks go that have the patch in transition.
    patched: Atomic<usize>,
    /// Where the other tasks go.
    unpatched: Atomic<usize>,
    /// The function stack: the head of a list of `klp_func::stack_node`.
    stack: Opaque<bindings::list_head>,
    /// Whether ftrace still calls the handler for it.
    hooked: Atomic<bool>,
}

impl Entry {
    /// Returns whether no patch has a replacement.
    fn is_empty(&self) -> bool {
        // SAFETY: `Table::new` has initialised the list.
        unsafe { abi::list_is_empty(self.stack.get()) }
    }

    /// The function stack, from the newest patch to the oldest.
    fn stack(&self) -> impl Iterator<Item = &Func> {
        let head = self.stack.get();
        let mut last = head;
        core::iter::from_fn(move || {
            // SAFETY: The list is initialised, and `klp_mutex` held.
            last = unsafe { (*last).next };
            if ptr::eq(last, head) {
                return None;
            }
            // SAFETY: What is on the list is the `stack_node` of a function of an accepted patch.
            Some(unsafe { Func::from_stack_node(last) })
        })
    }
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

// SAFETY: The lists are used with `klp_mutex` held, whoever holds it; the rest is plain data.
unsafe impl Send for Table {}
// SAFETY: As above; what the handler uses is atomic or never written.
unsafe impl Sync for Table {}

impl Handler for Table {
    #[inline(always)]
    fn call(&self, ip: usize, _parent_ip: usize, regs: &mut Regs) {
        let slots = self.slots.as_ptr();
        // SAFETY: `probe` stays within `mask`, and by the invariants `slots` has that many.
        let found = route::probe(self.mask, ip, |place| unsafe { (*slots.add(place)).ip });
        let Ok(place) = found else {
            return;
        };
        // SAFETY: As above.
        let slot = unsafe { &*slots.add(place) };

        // Pairs with the release stores in `Table::update`.
        //
        // SAFETY: The pointer is valid and aligned.
        let mut destination = unsafe { bindings::klp_load_acquire(slot.steady.as_ptr().cast()) };
        if destination == SPLIT {
            // SAFETY: By the invariants the index is one of an entry.
            let entry = unsafe { &*self.entries.as_ptr().add(slot.entry) };
            // SAFETY: Reads a field of the current task, which only this task writes while it runs,
            // but for a forced end of the transition.
            let state = unsafe { bindings::klp_current_patch_state() };
            warn_on_once!(state == PatchState::Idle.raw());
            let way = if state == PatchState::Unpatched.raw() {
                &entry.unpatched
            } else {
                &entry.patched
            };
            // SAFETY: The pointer is valid and aligned.
            destination = unsafe { ptr::read_volatile(way.as_ptr()) };
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
unsafe impl Leaf for Table {}

/// A function that has no entry yet.
#[derive(Clone, Copy)]
struct Fresh<'a> {
    old_func: usize,
    ip: usize,
    func: &'a Func,
}

impl Table {
    /// Makes a table in which all calls go to the original.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: ftrace hooks two different functions at the same place.
    /// - `ENOMEM`.
    fn new(fresh: &[Fresh<'_>]) -> Result<Self> {
        let mut sorted = KVVec::with_capacity(fresh.len(), GFP_KERNEL)?;
        for one in fresh {
            sorted.push((one.old_func, one.ip), GFP_KERNEL)?;
        }
        sort_by_key(&mut sorted, |&pair| pair);

        let size = route::table_size(fresh.len()).ok_or(ENOMEM)?;
        let mut slots = KVVec::with_capacity(size, GFP_KERNEL)?;
        for _ in 0..size {
            slots.push(
                Slot {
                    ip: 0,
                    steady: Atomic::new(ORIGINAL),
                    entry: 0,
                },
                GFP_KERNEL,
            )?;
        }

        let mask = size - 1;
        let mut entries: KVVec<Entry> = KVVec::with_capacity(fresh.len(), GFP_KERNEL)?;
        for &(old_func, ip) in sorted.iter() {
            if entries.last().is_some_and(|last| last.old_func == old_func) {
                // A function that the patch names twice has one entry.
                continue;
            }
            let key = |place: usize| slots.get(place).map_or(0, |slot: &Slot| slot.ip);
            let Err(place) = route::probe(mask, ip, key) else {
                return Err(EBUSY);
            };
            if let Some(slot) = slots.get_mut(place) {
                slot.ip = ip;
                slot.entry = entries.len();
            }
            entries.push(
                Entry {
                    old_func,
                    slot: place,
                    patched: Atomic::new(ORIGINAL),
                    unpatched: Atomic::new(ORIGINAL),
                    stack: Opaque::uninit(),
                    hooked: Atomic::new(true),
                },
                GFP_KERNEL,
            )?;
        }
        // Only now have the entries their final addresses, which the heads point to.
        for entry in entries.iter() {
            // SAFETY: The memory is valid, and not in use.
            unsafe { bindings::INIT_LIST_HEAD(entry.stack.get()) };
        }

        // INVARIANT: There is a power of two of slots, at least twice as many as entries; the
        // index of each entry was written to its slot; `sorted` is.
        Ok(Self {
            mask,
            slots,
            entries,
        })
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

    /// Writes down what follows from the function stack of `entry`.
    fn update(&self, entry: &Entry) {
        let route = route::decide(entry.stack().map(|func| Layer {
            destination: if func.is_nop() {
                ORIGINAL
            } else {
                func.new_func()
            },
            in_transition: func.in_transition(),
        }));
        let Some(slot) = self.slots.get(entry.slot) else {
            return;
        };
        // The release stores pair with the acquire load in the handler. Where the way splits, that
        // makes it see both ways, and the `patch_state` that `transition::start` has given to all
        // tasks.
        match route {
            Route::Steady(destination) => slot.steady.store(destination, Release),
            Route::Split { patched, unpatched } => {
                entry.patched.store(patched, Relaxed);
                entry.unpatched.store(unpatched, Relaxed);
                slot.steady.store(SPLIT, Release);
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
            let destination = slot.steady.load(Relaxed);
            let jumps = destination != ORIGINAL && destination != SPLIT;
            // One that ftrace cannot jump to is left to the handler.
            if jumps && ftrace::can_jump_to(destination) {
                ips.push(slot.ip, GFP_KERNEL)?;
                addrs.push(destination, GFP_KERNEL)?;
            }
        }
        Ok((ips, addrs))
    }

    /// Whether no patch has a replacement for any function.
    fn is_empty(&self) -> bool {
        self.entries.iter().all(Entry::is_empty)
    }

    /// The entries that ftrace calls the handler for in vain.
    fn idle_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.is_empty() && entry.hooked.load(Relaxed))
    }
}

/// A handler that lets all calls go where they went.
struct Nothing;

impl Handler for Nothing {
    #[inline(always)]
    fn call(&self, _ip: usize, _parent_ip: usize, _regs: &mut Regs) {}
}

// SAFETY: `call` does nothing.
unsafe impl Leaf for Nothing {}

/// Which step ftrace has refused.
#[derive(Clone, Copy)]
enum Refused {
    Filter(Error),
    Register(Error),
}

impl Refused {
    fn error(self) -> Error {
        match self {
            Refused::Filter(error) | Refused::Register(error) => error,
        }
    }

    fn log(self, func: &Func) {
        match self {
            Refused::Filter(error) => pr_err!(
                "failed to set ftrace filter for function '{}' ({})\n",
                func.name(),
                error.to_errno()
            ),
            Refused::Register(error) => pr_err!(
                "failed to register ftrace handler for function '{}' ({})\n",
                func.name(),
                error.to_errno()
            ),
        }
    }
}

/// The handler changes where calls go, and must not be switched off behind our back.
const FLAGS: Flags = Flags::IPMODIFY.union(Flags::PERMANENT);

/// Hands `handler` and the functions to ftrace.
fn register<H: Leaf>(handler: H, fresh: &[Fresh<'_>]) -> Result<Result<Ops<H>, Refused>> {
    let mut ips = KVVec::with_capacity(fresh.len(), GFP_KERNEL)?;
    for one in fresh {
        ips.push(one.ip, GFP_KERNEL)?;
    }
    let mut ops = Ops::new_leaf(handler, FLAGS, GFP_KERNEL)?;
    if let Err(error) = ops.add(&ips) {
        return Ok(Err(Refused::Filter(error)));
    }
    if let Err(error) = ops.register() {
        return Ok(Err(Refused::Register(error)));
    }
    Ok(Ok(ops))
}

/// Finds out which function made ftrace refuse the whole batch, and names it in the log.
///
/// Halves are tried, so that it takes some registrations even for a thousand functions.
fn log_offender(fresh: &[Fresh<'_>], refused: Refused) -> Error {
    let mut suspects = fresh;
    let mut refused = refused;
    // Whatever function it is, without memory, or when ftrace has disabled itself.
    if !matches!(refused.error(), ENOMEM | ENODEV) {
        while suspects.len() > 1 {
            let (first, second) = suspects.split_at(suspects.len() / 2);
            let mut found = None;
            for half in [first, second] {
                match register(Nothing, half) {
                    Ok(Err(refused)) => {
                        found = Some((half, refused));
                        break;
                    }
                    Ok(Ok(ops)) => ops.retire(),
                    Err(error) => return error,
                }
            }
            let Some(half) = found else {
                // It was refused for a moment only.
                pr_err!(
                    "failed to register ftrace handler for {} functions ({})\n",
                    fresh.len(),
                    refused.error().to_errno()
                );
                return refused.error();
            };
            (suspects, refused) = half;
        }
    }
    if let Some(offender) = suspects.first() {
        refused.log(offender.func);
    }
    refused.error()
}

/// All functions that are patched.
pub(crate) struct Redirects {
    batches: KVec<Ops<Table>>,
}

impl Redirects {
    /// No function is.
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

    /// Lets functions whose way does not depend on the task jump to their replacements, without a
    /// call of the handler. No transition may be going on.
    ///
    /// What fails here leaves things as they are: the handler is called.
    #[cfg(CONFIG_LIVEPATCH_RUST_JUMP)]
    pub(crate) fn install_jumps(&mut self) {
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
    pub(crate) fn install_jumps(&mut self) {}

    /// Has all calls of functions of `object` go by the handler, so that changes of their slots
    /// take effect.
    ///
    /// Tasks that have come to a replacement by a jump are found there like those that the handler
    /// has sent.
    ///
    /// # Errors
    ///
    /// `ENODEV`: ftrace has disabled itself after a bug. Some functions may still be jumps.
    pub(crate) fn remove_jumps(&mut self, object: &Object) -> Result {
        for ops in self.batches.iter_mut().filter(|ops| ops.has_jumps()) {
            let table = ops.handler();
            if object
                .funcs()
                .any(|func| table.find(func.old_func()).is_some())
            {
                ops.clear_jumps()?;
            }
        }
        Ok(())
    }

    /// The address that the stack of a task shows while ftrace is at work at the entry of `func`,
    /// and the task has yet to go where the handler may have sent it.
    pub(crate) fn hook_return(&self, func: &Func) -> Option<usize> {
        let (table, entry) = self.find(func.old_func())?;
        let slot = table.slots.get(entry.slot)?;
        Some(ftrace::return_address(slot.ip))
    }

    /// Puts all functions of `object`, which is loaded, on their function stacks.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a function cannot be hooked; or the object is patched already.
    /// - `EBUSY`: somebody else changes where calls of a function go.
    /// - `ENODEV`: ftrace has disabled itself after a bug.
    /// - `ENOMEM`.
    ///
    /// After an error, which the log explains, nothing has changed.
    pub(crate) fn patch_object(&mut self, object: &Object) -> Result {
        if warn_on!(object.is_patched()) {
            return Err(EINVAL);
        }

        self.remove_jumps(object)?;
        let mut fresh = KVVec::new();
        for func in object.funcs() {
            let old_func = func.old_func();
            if warn_on!(old_func == 0) || warn_on!(func.is_patched()) {
                return Err(EINVAL);
            }
            if self.find(old_func).is_some() {
                continue;
            }
            let Some(ip) = ftrace::location(old_func) else {
                pr_err!("failed to find location for function '{}'\n", func.name());
                return Err(EINVAL);
            };
            fresh.push(Fresh { old_func, ip, func }, GFP_KERNEL)?;
        }

        if !fresh.is_empty() {
            self.batches.reserve(1, GFP_KERNEL)?;
            let ops = match register(Table::new(&fresh)?, &fresh)? {
                Ok(ops) => ops,
                Err(refused) => return Err(log_offender(&fresh, refused)),
            };
            self.batches.push(ops, GFP_KERNEL)?;
        }

        // Nothing can fail from here on: each function has an entry.
        for func in object.funcs() {
            if let Some((table, entry)) = self.find(func.old_func()) {
                // SAFETY: The node is in no list, and the head is initialised.
                unsafe { bindings::list_add(func.stack_node(), entry.stack.get()) };
                func.set_patched(true);
                table.update(entry);
            }
        }
        object.set_patched(true);
        Ok(())
    }

    /// Takes functions of `object` off their function stacks: all, or only the nops.
    ///
    /// No jump may lead to them: see [`Self::remove_jumps`]. A handler may still be running that
    /// has chosen one of them, and the task that runs it be on the way there.
    pub(crate) fn unpatch_object(&mut self, object: &Object, nops_only: bool) {
        for func in object.funcs() {
            if (nops_only && !func.is_nop()) || !func.is_patched() {
                continue;
            }
            if let Some((table, entry)) = self.find(func.old_func()) {
                // SAFETY: The node is on the entry's stack, as `patch_object` put it there.
                unsafe { bindings::list_del(func.stack_node()) };
                func.set_patched(false);
                table.update(entry);
            } else {
                warn_on!(true);
            }
        }
        if object.is_dynamic() || !nops_only {
            object.set_patched(false);
        }
        self.retire();
    }

    /// Writes down again what follows from the function stacks of the functions of `object`, after
    /// [`Func::in_transition`] has changed for them. They must not be jumps.
    pub(crate) fn update_object(&self, object: &Object) {
        for func in object.funcs().filter(|func| func.is_patched()) {
            if let Some((table, entry)) = self.find(func.old_func()) {
                table.update(entry);
            }
        }
    }

    /// The function that tasks run which do not have `func`, and its size in bytes. `func` need not
    /// be on the function stack yet.
    pub(crate) fn below(&self, func: &Func) -> (usize, usize) {
        let original = (func.old_func(), func.sizes().0);
        let Some((_, entry)) = self.find(func.old_func()) else {
            return original;
        };
        let mut stack = entry.stack();
        if func.is_patched() {
            let _ = stack.find(|other| ptr::eq(*other, func));
        }
        stack
            .next()
            .map_or(original, |below| (below.new_func(), below.sizes().1))
    }

    /// Has ftrace forget the functions that no patch has a replacement for any more.
    fn retire(&mut self) {
        // The table stays for as long as a handler may use it: nobody has to wait here. An `Ops`
        // that ftrace cannot let go of stays for good, and leads to the originals.
        let mut place = 0;
        while let Some(ops) = self.batches.get(place) {
            if !ops.handler().is_empty() {
                place += 1;
            } else if let Ok(ops) = self.batches.remove(place) {
                ops.retire();
            }
        }

        for ops in self.batches.iter_mut() {
            let table = ops.handler();
            // If this does not work out, the entries stay hooked, lead to the original, and are
            // there for the next patch.
            let mut ips = KVVec::new();
            for entry in table.idle_entries() {
                if let Some(slot) = table.slots.get(entry.slot) {
                    if ips.push(slot.ip, GFP_KERNEL).is_err() {
                        break;
                    }
                }
            }
            if !ips.is_empty() && ops.remove(&ips).is_ok() {
                for entry in ops.handler().idle_entries().take(ips.len()) {
                    entry.hooked.store(false, Relaxed);
                }
            }
        }
    }
}
