// SPDX-License-Identifier: GPL-2.0

//! The transition: moving each task from the old functions to the new ones, or back.
//!
//! While a patch is in transition, `task_struct::patch_state` says for each task which functions it
//! uses, and `TIF_PATCH_PENDING` that it has yet to switch. A task switches when it is known to be
//! in none of the functions concerned:
//!
//! - on its way to user mode, or in the idle loop: `klp_update_patch_state()`. Tasks that run in
//!   user mode when they are marked are made to pass there, by `klp_arch_set_pending()`;
//! - when it goes to sleep in a freezable state, or is a kernel thread that calls the scheduler or
//!   is preempted, and its stack is free of them: `__klp_sched_try_switch()`;
//! - while it does not run, and its stack is free of them: [`Registry::try_complete_transition`].
//!
//! A task that ftrace's handler has sent to one of these functions is in it from that moment on,
//! even if it has yet to get there: a stack is searched for the calls of ftrace, too
//! ([`Registry::publish_index`]).
//!
//! All tasks are those on the list of tasks, the idle ones, and those that are exiting: they are
//! taken off the list while they still run, and sleep, in functions of the kernel.
//!
//! # Concurrency
//!
//! The transition belongs to the [`Registry`], thus to `klp_mutex`. What tasks read when they
//! switch by themselves is published: [`TARGET`] and [`INDEX`]. Both are written while no task has
//! `TIF_PATCH_PENDING` set; the write barrier in [`Registry::start_transition`] orders them before
//! the flags are set, and whoever finds the flag set reads them after it.
//!
//! They change or go away only after the flags were cleared, and after [`synchronize`], which waits
//! until each CPU has scheduled: those who read them do so with preemption disabled.
//!
//! `tasklist_lock` is held to set and to test flags of all tasks, which takes a few instructions
//! each, and never over a stack. Stacks are walked under RCU, in batches. So a task may be forked
//! while the walk is going on, and be missed by it; at the end all tasks are looked at once more,
//! with the lock held. A new task has its parent's state, as of a moment when the parent holds the
//! lock for writing. So once all tasks have arrived while the lock is held, all that come later
//! have, too. Exiting tasks are looked at last, each time: a task that has left the list of tasks
//! by then is among them, or does not run any more.

use crate::{
    abi::{Func, Object, PatchRef},
    klp::{warn_on_once, Registry, KLP_MUTEX},
    phase::{Backoff, PatchState, Target},
    ranges::{self, Range},
    symbols::{self, Part},
    trace::{self, Way},
};
use kernel::{
    bindings,
    dynamic_pr_debug,
    ffi::{c_int, c_ulong},
    prelude::*,
    stacktrace,
    sync::{
        atomic::{Atomic, Relaxed},
        barrier::{smp_mb, Read, Write},
    },
    task::Task,
    tasklist::{self, Held, PreemptDisabled},
    time::{msecs_to_jiffies, Instant, Monotonic},
    types::Opaque, //
};

use core::{
    ops::{self, ControlFlow},
    ptr, //
};

/// A transition that is going on.
pub(crate) struct Transition {
    /// The patch.
    pub(crate) patch: PatchRef,
    /// Where tasks are taken.
    target: Target,
    /// When to look again at the tasks that are left.
    backoff: Backoff,
    /// When it has started, or was turned round.
    started: Instant<Monotonic>,
    /// The ranges of code that tasks must not be in, and room to write down others.
    index: [KBox<Index>; 2],
    /// The parts elsewhere of what tasks leave, in both directions.
    parts: KVVec<LeftPart>,
}

/// A part of a function that the compiler has put elsewhere.
struct LeftPart {
    part: Part,
    /// What it was found for.
    object: *const Object,
    /// In which direction tasks leave it.
    target: Target,
}

// SAFETY: The pointers are to parts of the patch, which outlives the transition. They are used with
// `klp_mutex` held only, which the registry and the transition belong to.
unsafe impl Send for Transition {}

/// The state of a task that has arrived, for those who hold no lock.
static TARGET: Atomic<i32> = Atomic::new(PatchState::Idle.raw());

/// The ranges of code that tasks must not be in, for those who hold no lock.
static INDEX: Atomic<*const Index> = Atomic::new(ptr::null());

/// How many tasks the last attempt has left over, less those that have switched by themselves
/// since.
///
/// Only a hint: tasks that exit are not subtracted, and those that switch while the attempt goes on
/// may be or not. When it comes to zero, it is worth to try again at once.
static LEFT: Atomic<i32> = Atomic::new(0);

/// The patch in transition, for those who hold no lock and only compare it.
static PATCH: Atomic<*mut bindings::klp_patch> = Atomic::new(ptr::null_mut());

/// The work that looks again at the tasks that are left.
struct Work(Opaque<bindings::delayed_work>);

// SAFETY: Made for being used by several threads.
unsafe impl Sync for Work {}

static WORK: Work = Work(Opaque::uninit());

/// The workqueue for it. Null until [`init_queue`] has made it.
static QUEUE: Atomic<*mut bindings::workqueue_struct> = Atomic::new(ptr::null_mut());

/// Initialises the work.
///
/// # Safety
///
/// Must be called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: By the requirement of this function, the work is not in use.
    unsafe { bindings::klp_init_delayed_work(WORK.0.get(), Some(retry)) };
}

/// Makes the workqueue of transitions. Called at boot, before any patch can be enabled. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init_queue() -> Result {
    // SAFETY: May sleep here.
    let queue = unsafe { bindings::klp_alloc_workqueue() };
    if queue.is_null() {
        return Err(ENOMEM);
    }
    QUEUE.store(queue, Relaxed);
    Ok(())
}

/// How many ticks a second has. The constant `HZ` that bindgen finds is that of user space.
fn ticks_per_second() -> usize {
    msecs_to_jiffies(1000)
}

/// Has the work run after `delay` ticks, whatever it was waiting for.
fn retry_in(delay: usize) {
    // SAFETY: `init` has initialised the work, and `init_queue` has made the workqueue: there is a
    // transition, and no patch is accepted before.
    unsafe {
        bindings::mod_delayed_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            QUEUE.load(Relaxed),
            WORK.0.get(),
            delay,
        )
    };
}

/// # Safety
///
/// To be called by the workqueue only.
unsafe extern "C" fn retry(_work: *mut bindings::work_struct) {
    let mut registry = KLP_MUTEX.lock();
    if registry.transition.is_some() {
        registry.try_complete_transition();
    }
}

/// The patch in transition, or null. Needs no lock, but the answer may be out of date.
pub(crate) fn patch() -> *mut bindings::klp_patch {
    PATCH.load(Relaxed)
}

/// Whether `patch` is in transition. Needs no lock, but the answer may be out of date.
pub(crate) fn is_patch(patch: *mut bindings::klp_patch) -> bool {
    ptr::eq(self::patch(), patch)
}

/// What a range belongs to.
#[derive(Clone, Copy)]
enum Tag {
    /// A function of the patch in transition.
    Func(*const Func),
    /// The module of a patch that tasks leave for good.
    Module(PatchRef),
}

/// Whether transitions look for tasks in calls of ftrace. Tests can leave that out, to show what
/// happens then.
fn look_for_hooks() -> bool {
    // SAFETY: Reads a parameter.
    unsafe { bindings::klp_look_for_hooks() }
}

/// Whether a scan that could not say that a stack is clear, for this reason, is taken as if it had.
/// Tests can have that, to show what the rules of the scan are for.
#[cold]
fn skip_rule(reason: Error) -> bool {
    // SAFETY: Reads parameters.
    unsafe { bindings::klp_skip_scan_rule(reason.to_errno()) }
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

    fn push(&mut self, range: Range<Tag>) {
        // There is room for all functions of the patch, and for all modules.
        warn_on_once!(self.list.push_within_capacity(range).is_err());
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
struct Index {
    /// Functions, their parts elsewhere, and the calls of ftrace from them.
    funcs: Ranges,
    /// All code of the modules that tasks leave for good. No thread that such a module has started
    /// itself is concerned: it is the module's own affair.
    modules: Ranges,
    /// From the beginning of the lowest to the end of the highest.
    within: ops::Range<usize>,
}

// SAFETY: The pointers are to functions of the patch in transition, which outlive the index.
unsafe impl Send for Index {}

impl Index {
    /// Makes two of them with room for so many functions, parts of functions, and modules.
    fn new_pair(funcs: usize, parts: usize, modules: usize) -> Result<[KBox<Self>; 2]> {
        let new = || {
            // Two ranges for each function.
            let funcs = funcs.checked_mul(2).ok_or(ENOMEM)?;
            let index = Self {
                funcs: Ranges::with_capacity(funcs.checked_add(parts).ok_or(ENOMEM)?)?,
                modules: Ranges::with_capacity(modules)?,
                within: 0..0,
            };
            Ok::<_, Error>(KBox::new(index, GFP_KERNEL)?)
        };
        Ok([new()?, new()?])
    }

    fn clear(&mut self) {
        self.funcs.clear();
        self.modules.clear();
    }

    /// Sorts the ranges, so that they can be searched.
    fn prepare(&mut self) {
        self.funcs.prepare();
        self.modules.prepare();
        self.within = ranges::hull(
            ranges::within(self.funcs.sorted()),
            ranges::within(self.modules.sorted()),
        );
    }

    /// Returns what `addr`, on the stack of `task`, is in.
    #[inline]
    fn find(&self, task: &Task, addr: usize) -> Option<Tag> {
        if let Some(range) = ranges::find(self.funcs.sorted(), addr) {
            return Some(range.tag);
        }
        ranges::find(self.modules.sorted(), addr)
            .filter(|range| !range.contains(thread_func(task)))
            .map(|range| range.tag)
    }
}

// Tasks.

fn patch_state(task: &Task) -> i32 {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_task_patch_state(task.as_ptr()) }
}

fn set_patch_state(task: &Task, state: i32) {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_task_set_patch_state(task.as_ptr(), state) };
}

fn is_pending(task: &Task) -> bool {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_patch_pending(task.as_ptr()) }
}

fn set_pending(task: &Task) {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_set_patch_pending(task.as_ptr()) };
}

/// As [`set_pending`], and has the task pass the kernel's exit soon if it runs in user mode on
/// another CPU.
fn set_pending_and_kick(task: &Task) {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_set_pending_and_kick(task.as_ptr()) };
}

fn is_idle(task: &Task) -> bool {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_task_is_idle(task.as_ptr()) }
}

/// The function that a kernel thread was started with, or 0.
fn thread_func(task: &Task) -> usize {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_thread_func(task.as_ptr()) }
}

fn clear_pending(task: &Task) {
    // SAFETY: The task is valid.
    unsafe { bindings::klp_clear_patch_pending(task.as_ptr()) };
}

/// Calls `f` for all tasks: each thread, each that is exiting, and each idle task. Some may be seen
/// twice. `f` may be called with a raw spinlock held.
fn each_task(f: impl Fn(&Task)) {
    let _ = tasklist::for_each_thread(|task| {
        f(task);
        ControlFlow::<()>::Continue(())
    });
    tasklist::for_each_exiting(&f);
    tasklist::for_each_idle(|_, task| f(task));
}

/// Returns whether each thread, and each that is exiting, is in the state `target`.
///
/// Idle tasks are not asked: their number does not change.
fn all_arrived(target: PatchState) -> bool {
    let listed = tasklist::for_each_thread(|task| {
        if patch_state(task) == target.raw() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let mut arrived = listed.is_continue();
    // After the others: see the head of this file.
    tasklist::for_each_exiting(|task| arrived &= patch_state(task) == target.raw());
    arrived
}

/// Does nothing: that it has run says that the CPU has scheduled.
///
/// # Safety
///
/// To be called by the workqueue only.
unsafe extern "C" fn nothing(_work: *mut bindings::work_struct) {}

/// Waits until each CPU has scheduled.
///
/// What ran with preemption disabled when this was called is done then, also where RCU was not
/// watching it: in the idle loop, and on the way from and to user mode. May sleep.
///
/// Isolated CPUs are not to be disturbed. They are waited for by RCU, where the architecture
/// promises that what can be hooked runs only while RCU is watching (`ARCH_WANTS_NO_INSTR`).
pub(crate) fn synchronize() {
    while schedule_on_cpus().is_err() {
        // No memory for the works. To go on without having waited would not be safe.
        kernel::time::delay::fsleep(kernel::time::Delta::from_millis(10));
    }
}

/// Runs [`nothing`] on each CPU that is not isolated, and waits for a grace period of RCU if there
/// is one that is.
fn schedule_on_cpus() -> Result {
    let mut works: KVVec<Opaque<bindings::work_struct>> = KVVec::new();
    // SAFETY: Set at boot.
    let cpus = unsafe { bindings::nr_cpu_ids };
    works.reserve(cpus as usize, GFP_KERNEL)?;
    let mut spared = false;

    // SAFETY: May sleep here; of its own locks the caller holds `klp_mutex` only, which is taken
    // first.
    unsafe { bindings::cpus_read_lock() };
    for cpu in 0..cpus {
        // SAFETY: The number is one of a CPU that there may be.
        if !unsafe { bindings::cpu_online(cpu) } {
            continue;
        }
        // SAFETY: As above.
        if cfg!(CONFIG_ARCH_WANTS_NO_INSTR) && unsafe { bindings::klp_cpu_is_isolated(cpu) } {
            spared = true;
            continue;
        }
        if works.push_within_capacity(Opaque::uninit()).is_err() {
            break;
        }
        if let Some(work) = works.last() {
            // SAFETY: The memory is valid and not in use. It stays where it is, as there is room
            // for all CPUs, until all works were waited for.
            unsafe { bindings::klp_init_work(work.get(), Some(nothing)) };
            // SAFETY: The work is initialised, and the CPU online, as hotplug is locked out.
            unsafe { bindings::klp_queue_work_on(cpu, work.get()) };
        }
    }
    for work in works.iter() {
        // SAFETY: The work was queued above.
        unsafe { bindings::flush_work(work.get()) };
    }
    // SAFETY: Taken above.
    unsafe { bindings::cpus_read_unlock() };

    if spared {
        // SAFETY: May sleep here.
        unsafe { bindings::synchronize_rcu() };
    }
    Ok(())
}

// Switching one task.

/// Why a task was not switched.
#[derive(Clone, Copy)]
enum Refusal {
    /// It runs.
    Running,
    /// Its stack cannot be relied on.
    Unreliable,
    /// It is in a function of the patch.
    Asleep(Tag),
    /// It could not be looked at.
    Unknown,
}

/// Looks at the words of a task's stack, and returns whether they say that it is in none of the
/// functions concerned. If not, they say nothing.
///
/// `frame` is where to begin if the task is the current one.
#[inline]
fn is_clear(task: &Held<'_>, frame: Option<usize>, index: &Index) -> bool {
    let find = |addr| match index.find(task, addr) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    };
    match stacktrace::scan_held(task, frame, index.within.clone(), find) {
        Ok(None) => true,
        Ok(Some(())) => false,
        Err(error) => skip_rule(error),
    }
}

/// Switches a task if its stack allows, and returns how that was found out.
///
/// The words of the stack are looked at first. They clear most tasks for a fraction of what a stack
/// trace costs, and all that were preempted in functions which the unwinder cannot make out. Where
/// they do not, a trace decides: the word may be left over from an earlier call. Or it is a pointer
/// that the task has loaded and is about to call, which is no reason to wait: a call of a function
/// by its beginning goes where the task's state says then, and who has pointers into the module of
/// a patch handed out by the patch has them called back by the patch, before it goes.
///
/// `frame` is as for [`is_clear`].
#[inline]
fn check_and_switch(
    task: &Held<'_>,
    target: PatchState,
    frame: Option<usize>,
    index: &Index,
) -> Result<Way, Refusal> {
    let way = if is_clear(task, frame, index) {
        Way::StackScan
    } else {
        let found = stacktrace::walk_held(task, |addr| match index.find(task, addr) {
            Some(tag) => ControlFlow::Break(tag),
            None => ControlFlow::Continue(()),
        });
        match found {
            Ok(None) => Way::StackCheck,
            Ok(Some(tag)) => return Err(Refusal::Asleep(tag)),
            Err(error) if error == EBUSY => return Err(Refusal::Running),
            Err(_) => return Err(Refusal::Unreliable),
        }
    };
    clear_pending(task);
    set_patch_state(task, target.raw());
    Ok(way)
}

/// Says in the log, if the user wants to know, why a task was not switched.
#[cold]
fn explain(task: &Task, refusal: Refusal) {
    // SAFETY: The name is nul-terminated at all times, and part of the task.
    let comm = unsafe { CStr::from_char_ptr(bindings::klp_task_comm(task.as_ptr())) };
    // SAFETY: The task is valid.
    let pid = unsafe { bindings::klp_task_pid(task.as_ptr()) };
    match refusal {
        Refusal::Running => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} is running\n",
            comm,
            pid
        ),
        Refusal::Unreliable => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} has an unreliable stack\n",
            comm,
            pid
        ),
        Refusal::Asleep(Tag::Func(func)) => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} is sleeping on function {}\n",
            comm,
            pid,
            // SAFETY: The function belongs to the patch in transition.
            unsafe { &*func }.name()
        ),
        Refusal::Asleep(Tag::Module(patch)) => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} is sleeping in the module of '{}'\n",
            comm,
            pid,
            patch.name()
        ),
        Refusal::Unknown => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: Unknown error when trying to switch {}:{}\n",
            comm,
            pid
        ),
    }
}

/// Switches a task if it is in none of the functions concerned, and returns whether it has arrived.
///
/// `index` must be that of the transition to `target`. `frame` is for the current task in the
/// scheduler, and says where on its stack that begins.
#[inline]
fn try_switch(task: &Task, target: PatchState, frame: Option<usize>, index: &Index) -> bool {
    if patch_state(task) == target.raw() {
        return true;
    }
    // Without reliable stacks, tasks switch on their way to user mode only.
    if !stacktrace::have_reliable() {
        return false;
    }

    match tasklist::hold(task, |task| check_and_switch(task, target, frame, index)) {
        // Only now, as nothing can be printed while the task is held, and what is traced may be.
        Some(Ok(found)) => {
            let way = frame.map_or(found, |_| Way::Scheduler);
            trace::task_switch(task, target.raw(), way);
            true
        }
        // In the scheduler nobody is told: a kernel thread that prints would never come to rest.
        // The next look says the same.
        Some(Err(_)) if frame.is_some() => false,
        Some(Err(refusal)) => {
            explain(task, refusal);
            false
        }
        None => {
            explain(task, Refusal::Unknown);
            false
        }
    }
}

/// Has the transition end soon if the task that has just switched by itself was the last one.
#[inline(always)]
fn one_less() {
    // No ordering is needed: the look takes locks before it reads the states, and should it read an
    // old one, it comes again.
    if LEFT.fetch_add(-1, Relaxed) == 1 {
        retry_in(0);
    }
}

/// Switches a task to the state that the transition leads to, if it has yet to, and returns whether
/// it had. Takes no lock.
#[inline(always)]
fn switch_pending(task: &Task, way: Way) -> bool {
    // `synchronize` waits for this.
    //
    // SAFETY: Enabled again below.
    unsafe { bindings::preempt_disable_notrace() };

    // If the flag was set, this is a full barrier. It orders the flag before `TARGET`, and, on this
    // CPU, before what the ftrace handler reads of the redirected functions. Pairs with the write
    // barrier in `start_transition`.
    //
    // SAFETY: The task is valid.
    let pending = unsafe { bindings::klp_test_and_clear_patch_pending(task.as_ptr()) };
    if pending {
        let state = TARGET.load(Relaxed);
        set_patch_state(task, state);
        trace::task_switch(task, state, way);
    }

    // SAFETY: Disabled above.
    unsafe { bindings::preempt_enable_notrace() };
    pending
}

/// As [`switch_pending`], and ends the transition soon if the task was the last one. Does not
/// sleep; takes the locks of a workqueue at most.
#[inline(always)]
fn update(task: &Task, way: Way) {
    if switch_pending(task, way) {
        one_less();
    }
}

/// Switches the current task if it has yet to.
///
/// Called by the architecture's hook on the way to user mode, and by the idle loop between two
/// rounds. Both are places where RCU is watching, and where the task is in no function that can be
/// patched.
///
/// # Safety
///
/// `task` must be valid, and be the current one.
#[export]
unsafe extern "C" fn klp_update_patch_state(task: *mut bindings::task_struct) {
    // SAFETY: The caller gives a valid task; `Task` is a transparent wrapper.
    let task = unsafe { &*task.cast::<Task>() };
    if is_idle(task) {
        update(task, Way::Idle);
    } else {
        update(task, Way::ExitToUser);
    }
}

/// Switches the current task, if its stack allows: one that is about to sleep in a freezable state,
/// or a kernel thread that goes through the scheduler for whatever reason.
///
/// Called by the scheduler, with preemption disabled, and only while there is a transition. This is
/// how kernel threads get switched that are found running whenever somebody looks at them. `frame`
/// is where on the stack it begins: what is below belongs to nobody but this look.
///
/// # Safety
///
/// To be called by `__klp_sched_try_switch()` only, with preemption disabled.
#[no_mangle]
unsafe extern "C" fn klp_core_sched_try_switch(frame: c_ulong) {
    // SAFETY: An assertion.
    unsafe { bindings::lockdep_assert_preemption_disabled() };

    // SAFETY: The current task is valid for as long as it runs this.
    let task = unsafe { &*Task::current_raw().cast::<Task>() };
    if !is_pending(task) {
        return;
    }

    // Orders the flag before `TARGET` and `INDEX`. Pairs with the write barrier in
    // `start_transition`.
    smp_mb(Read);

    let target = match TARGET.load(Relaxed) {
        0 => PatchState::Unpatched,
        1 => PatchState::Patched,
        _ => return,
    };
    // SAFETY: The flag was set, so that there is an index, that of a transition to `target`. It is
    // valid until `synchronize` has waited for us, who run with preemption disabled.
    if let Some(index) = unsafe { INDEX.load(Relaxed).as_ref() } {
        if try_switch(task, target, Some(frame), index) {
            one_less();
        }
    }
}

/// Gives a task that is being forked the state of its parent, which is current.
///
/// Called with `tasklist_lock` held for writing, which all who change flags of all tasks hold for
/// reading. The parent itself switches in its own context only.
///
/// # Safety
///
/// To be called by `fork()`, for a child that nobody else knows yet.
#[export]
unsafe extern "C" fn klp_copy_process(child: *mut bindings::task_struct) {
    // SAFETY: The child is valid, and nobody else knows it yet.
    let child = unsafe { &*child.cast::<Task>() };
    // SAFETY: The current task is valid for as long as it runs this.
    let parent = unsafe { &*Task::current_raw().cast::<Task>() };

    let state = {
        // The parent is switched by others only while it does not run. That the lock is held does
        // not keep it running on PREEMPT_RT. Forcing, which does not wait for that, holds the lock
        // for reading, so that it sees the child, or comes first.
        let _running = PreemptDisabled::new();
        // The flags were copied earlier; the parent may have switched since.
        if is_pending(parent) {
            set_pending(child);
        } else {
            clear_pending(child);
        }
        let state = patch_state(parent);
        set_patch_state(child, state);
        state
    };
    if state != PatchState::Idle.raw() && state == TARGET.load(Relaxed) {
        trace::task_switch(child, state, Way::Fork);
    }
}

/// Asks the tasks that have yet to switch to come by the kernel's exit: user tasks by a signal that
/// is none, kernel threads by waking them up.
fn send_signals() {
    let _ = tasklist::for_each_thread(|task| {
        if is_pending(task) {
            let raw = task.as_ptr();
            // SAFETY: The task is valid.
            if unsafe { bindings::klp_task_is_kthread(raw) } {
                // SAFETY: As above.
                unsafe { bindings::wake_up_state(raw, bindings::TASK_INTERRUPTIBLE) };
            } else {
                // SAFETY: As above.
                unsafe { bindings::set_notify_signal(raw) };
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Whether tasks leave `patch` for good in a transition of `moving`.
fn leaves(moving: PatchRef, target: Target, patch: PatchRef) -> bool {
    target.leaves(patch == moving, moving.is_replacing())
}

/// All code of the module of `patch` that stays when it is initialised.
fn module_range(patch: PatchRef) -> Range<Tag> {
    let (mut start, mut len) = (0, 0);
    // SAFETY: The module is there for as long as the patch is.
    unsafe { bindings::klp_module_text(patch.module(), &raw mut start, &raw mut len) };
    Range {
        start,
        len,
        tag: Tag::Module(patch),
    }
}

impl Registry {
    /// Prepares a transition of `patch`: all tasks get the state that they start from, and the
    /// patch's functions that are on function stacks, or come to be, depend on it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: nothing has happened, and there is no transition.
    pub(crate) fn init_transition(&mut self, patch: PatchRef, target: Target) -> Result {
        warn_on_once!(self.transition.is_some());

        // For both directions, as reversing a transition must not fail.
        let mut parts = KVVec::new();
        for object in patch.objects().filter(|object| object.is_loaded()) {
            self.find_parts(patch, object, &mut parts)?;
        }
        let index = self.new_index(patch, parts.len())?;

        self.transition = Some(Transition {
            patch,
            target,
            backoff: Backoff::new(ticks_per_second()),
            started: Instant::now(),
            index,
            parts,
        });
        PATCH.store(patch.as_ptr(), Relaxed);
        // Has no effect before the flags are set.
        TARGET.store(target.state().raw(), Relaxed);

        dynamic_pr_debug!(
            "klp_init_transition",
            "'{}': initializing {} transition\n",
            patch.name(),
            target.verb()
        );

        let initial = target.opposite().state().raw();
        each_task(|task| {
            let state = patch_state(task);
            // One that is exiting may come twice.
            warn_on_once!(state != PatchState::Idle.raw() && state != initial);
            set_patch_state(task, initial);
        });

        // Whoever sees that a way splits also sees the states: `Table::update` writes it by a
        // release store.
        self.set_in_transition(patch, true);
        Ok(())
    }

    /// Adds the parts elsewhere of what tasks leave for the functions of `patch` in `object`: of
    /// what those replace, and, when tasks come back, of the originals that its nops lead to. (The
    /// parts of its replacements are in its module, all of which tasks leave.)
    ///
    /// # Errors
    ///
    /// - `ENOENT`: the size of one is not known. The log says so.
    /// - `ENOMEM`.
    fn find_parts(&self, patch: PatchRef, object: &Object, parts: &mut KVVec<LeftPart>) -> Result {
        // Where tasks leave all other patches for good, these are left with their modules.
        let others = self
            .patches()
            .filter(|other| *other != patch && !leaves(patch, Target::Patched, *other));
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

        let replaced = |func: &Func| Some(self.redirects.below(func).0);
        add(
            Target::Patched,
            symbols::find_parts(object, replaced, others),
        )?;
        if object.funcs().any(Func::is_nop) {
            let original = |func: &Func| func.is_nop().then(|| func.old_func());
            add(
                Target::Unpatched,
                symbols::find_parts(object, original, core::iter::empty()),
            )?;
        }
        Ok(())
    }

    /// Makes room for the ranges of a transition of `patch`: for all functions, whether their
    /// modules are there or not, so many parts of them, and as many modules as may be left.
    fn new_index(&self, patch: PatchRef, parts: usize) -> Result<[KBox<Index>; 2]> {
        let funcs = patch.objects().map(|object| object.funcs().count()).sum();
        Index::new_pair(funcs, parts, self.patches().count() + 1)
    }

    /// Has the functions of `patch` depend on the task, or not any more.
    fn set_in_transition(&self, patch: PatchRef, in_transition: bool) {
        for object in patch.objects() {
            for func in object.funcs() {
                func.set_in_transition(in_transition);
            }
            if object.is_patched() {
                self.redirects.update_object(object);
            }
        }
    }

    /// Writes down the ranges of code that tasks must not be in, and publishes them.
    ///
    /// They are, for each function of the patch:
    ///
    /// - what tasks leave: the replacement, or what it replaces;
    /// - the parts of that which the compiler has put elsewhere;
    /// - the return address of the call of ftrace from the function's entry. A task with this
    ///   address on its stack is in the handler, or has left it and was preempted before it got
    ///   where the handler has sent it. It has chosen what it is about to leave, so that it has not
    ///   left it.
    ///
    /// And, for each patch that tasks leave for good, all code of its module: a replacement that
    /// ends in the call of another function of the module, or goes on in a part that the compiler
    /// has split off, is not on the stack, and the task is in what is about to be given back.
    fn publish_index(&mut self) {
        let Some(transition) = &mut self.transition else {
            return;
        };
        let [current, spare] = &mut transition.index;
        let index = &mut **spare;
        index.clear();
        for &patch in self.patches.iter() {
            if leaves(transition.patch, transition.target, patch) {
                index.modules.push(module_range(patch));
            }
        }
        for object in transition.patch.objects() {
            if !object.is_patched() {
                continue;
            }
            for func in object.funcs() {
                // Tasks leave what they use now: the replacement, or what it replaces.
                let (start, len) = transition.target.left(
                    || (func.new_func(), func.sizes().1),
                    || self.redirects.below(func),
                );
                let range = Range {
                    start,
                    len,
                    tag: Tag::Func(func),
                };
                let hook = self.redirects.hook_return(func).map(|start| Range {
                    start,
                    len: 1,
                    tag: Tag::Func(func),
                });
                index.funcs.push(range);
                if let Some(hook) = hook.filter(|_| look_for_hooks()) {
                    index.funcs.push(hook);
                }
            }
        }
        let target = transition.target;
        for left in transition.parts.iter().filter(|left| left.target == target) {
            index.funcs.push(Range {
                start: left.part.start,
                len: left.part.len,
                tag: Tag::Func(left.part.tag),
            });
        }
        index.prepare();
        // Readers come to the data by the pointer. Who publishes when there may be readers has a
        // barrier before they look, or waits for those who have the old one.
        smp_mb(Write);
        INDEX.store(index, Relaxed);
        core::mem::swap(current, spare);
    }

    /// Publishes the ranges anew after `object` of the patch in transition has come. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::init_transition`]; the ranges stay as they are.
    pub(crate) fn add_to_index(&mut self, object: &Object) -> Result {
        let Some(transition) = &mut self.transition else {
            return Ok(());
        };
        let patch = transition.patch;
        let mut parts = core::mem::take(&mut transition.parts);
        let known = parts.len();
        let found = self.find_parts(patch, object, &mut parts);
        let index = found.and_then(|()| self.new_index(patch, parts.len()));
        if index.is_err() {
            parts.truncate(known);
        }
        if let Some(transition) = &mut self.transition {
            transition.parts = parts;
            let [one, other] = index?;
            transition.index[1] = one;
            self.refresh_index(Some(other));
        }
        Ok(())
    }

    /// Publishes the ranges anew after `object` of the patch in transition has gone. May sleep.
    pub(crate) fn drop_from_index(&mut self, object: &Object) {
        if let Some(transition) = &mut self.transition {
            transition
                .parts
                .retain(|left| !ptr::eq(left.object, object));
        }
        self.refresh_index(None);
    }

    /// Publishes the ranges anew. `room` is for the next time, if the one that there is may be too
    /// small.
    fn refresh_index(&mut self, room: Option<KBox<Index>>) {
        self.publish_index();
        // The old ones may be written over the next time, or be freed.
        synchronize();
        if let (Some(transition), Some(room)) = (&mut self.transition, room) {
            transition.index[1] = room;
        }
    }

    /// Lets tasks begin to switch.
    pub(crate) fn start_transition(&mut self) {
        self.publish_index();
        let Some(transition) = &mut self.transition else {
            warn_on_once!(true);
            return;
        };
        let target = transition.target;
        transition.backoff = Backoff::new(ticks_per_second());
        transition.started = Instant::now();
        LEFT.store(0, Relaxed);

        pr_notice!(
            "'{}': starting {} transition\n",
            transition.patch.name(),
            target.verb()
        );

        // Orders `TARGET`, `INDEX` and the redirected functions before the flags. Pairs with the
        // barriers between the flag and what they say in `klp_update_patch_state` and
        // `klp_core_sched_try_switch`.
        smp_mb(Write);

        each_task(|task| {
            if patch_state(task) != target.state().raw() {
                // One interrupt for each CPU that is in user mode, and no lock: short enough for
                // `tasklist_lock`.
                set_pending_and_kick(task);
            }
        });

        // SAFETY: May sleep here.
        unsafe { bindings::klp_sched_check(true) };
    }

    /// Switches the tasks that can be, and ends the transition if none is left.
    ///
    /// Otherwise it will be called again later.
    pub(crate) fn try_complete_transition(&mut self) {
        let Some(transition) = &mut self.transition else {
            warn_on_once!(true);
            return;
        };
        let (patch, target) = (transition.patch, transition.target);
        let arrived = target.state();
        let [index, _] = &transition.index;

        let mut left: i32 = tasklist::walk_threads(|left, task| {
            if !try_switch(task, arrived, None, index) {
                *left += 1;
            }
        });
        // After the others: see the head of this file.
        tasklist::walk_exiting(|task| {
            if !try_switch(task, arrived, None, index) {
                left += 1;
            }
        });

        // SAFETY: May sleep here.
        unsafe { bindings::cpus_read_lock() };
        tasklist::for_each_idle(|cpu, task| {
            // SAFETY: The number is one of a CPU.
            if unsafe { bindings::cpu_online(cpu) } {
                if !try_switch(task, arrived, None, index) {
                    left += 1;
                    // Has it pass the idle loop, where it switches.
                    //
                    // SAFETY: The number is one of a CPU.
                    unsafe { bindings::wake_up_if_idle(cpu as c_int) };
                }
            } else if patch_state(task) != arrived.raw() {
                // It does not run anything, and cannot before the lock is released.
                clear_pending(task);
                set_patch_state(task, arrived.raw());
                trace::task_switch(task, arrived.raw(), Way::Idle);
            }
        });
        // SAFETY: Taken above.
        unsafe { bindings::cpus_read_unlock() };

        // Tasks that were forked, or began to exit, meanwhile may have been missed.
        if left != 0 || !all_arrived(arrived) {
            let waited = usize::try_from(transition.started.elapsed().as_millis()).unwrap_or(0);
            let retry = transition.backoff.next(waited);
            if retry.signal {
                if retry.announce {
                    pr_notice!("signaling remaining tasks\n");
                }
                send_signals();
            }
            retry_in(retry.delay);
            // Not before, so that this retry does not take the place of an earlier one.
            LEFT.store(left, Relaxed);
            return;
        }
        LEFT.store(0, Relaxed);

        // SAFETY: May sleep here.
        unsafe { bindings::klp_sched_check(false) };
        self.complete_transition();

        // What tasks have left for good is given back. The patch itself may be gone then.
        let is_replacing = patch.is_replacing();
        let is_left = |other: &PatchRef| target.leaves(*other == patch, is_replacing);
        let next = |registry: &Self| registry.patches().find(is_left);
        while let Some(left) = next(self) {
            self.free_async(left);
        }
    }

    /// Cleans up: all tasks have arrived.
    fn complete_transition(&mut self) {
        let Some(transition) = &self.transition else {
            return;
        };
        let patch = transition.patch;
        let target = transition.target;

        dynamic_pr_debug!(
            "klp_complete_transition",
            "'{}': completing {} transition\n",
            patch.name(),
            target.verb()
        );

        match target {
            Target::Patched => {
                if patch.is_replacing() {
                    self.unpatch_replaced(patch);
                    self.discard_nops(patch);
                }
                self.set_in_transition(patch, false);
            }
            Target::Unpatched => {
                for object in patch.objects().filter(|object| object.is_patched()) {
                    self.redirects.unpatch_object(object, false);
                }
                self.set_in_transition(patch, false);
            }
        }

        // A handler may have seen that the way splits, and be about to look at the task's state,
        // which loses its meaning below. A task may be using the index.
        synchronize();
        INDEX.store(ptr::null(), Relaxed);

        each_task(|task| {
            warn_on_once!(is_pending(task));
            set_patch_state(task, PatchState::Idle.raw());
        });

        for object in patch.objects().filter(|object| object.is_loaded()) {
            match target {
                Target::Patched => object.post_patch(),
                Target::Unpatched => object.post_unpatch(),
            }
        }

        pr_notice!("'{}': {} complete\n", patch.name(), target.verb());

        self.redirects.install_jumps();
        TARGET.store(PatchState::Idle.raw(), Relaxed);
        PATCH.store(ptr::null_mut(), Relaxed);
        self.transition = None;
    }

    /// Ends a transition that was prepared and not started, as enabling its patch has failed.
    pub(crate) fn cancel_transition(&mut self) {
        let Some(transition) = &mut self.transition else {
            // It was not even prepared.
            return;
        };
        if warn_on_once!(transition.target != Target::Patched) {
            return;
        }
        dynamic_pr_debug!(
            "klp_cancel_transition",
            "'{}': canceling patching transition, going to unpatch\n",
            transition.patch.name()
        );
        transition.target = Target::Unpatched;
        self.complete_transition();
    }

    /// Turns a transition round: tasks go back to the state that they came from.
    pub(crate) fn reverse_transition(&mut self) {
        let Some(transition) = &mut self.transition else {
            return;
        };
        dynamic_pr_debug!(
            "klp_reverse_transition",
            "'{}': reversing transition from {}\n",
            transition.patch.name(),
            match transition.target {
                Target::Patched => "patching to unpatching",
                Target::Unpatched => "unpatching to patching",
            }
        );

        // Nobody switches any more, once those are done who have found the flag set.
        each_task(clear_pending);
        synchronize();

        transition.target = transition.target.opposite();
        transition.patch.set_enabled(!transition.patch.is_enabled());
        TARGET.store(transition.target.state().raw(), Relaxed);
        self.start_transition();
        retry_in(0);
    }

    /// Switches all tasks at once, whatever they are doing, on the administrator's responsibility.
    ///
    /// Code that tasks were forced to leave stays in memory for good.
    pub(crate) fn force_transition(&mut self) {
        let Some(transition) = &self.transition else {
            return;
        };
        pr_warn!("forcing remaining tasks to the patched state\n");

        each_task(|task| {
            switch_pending(task, Way::Forced);
        });

        let (moving, target) = (transition.patch, transition.target);
        self.patches()
            .filter(|patch| leaves(moving, target, *patch))
            .for_each(|patch| patch.set_forced());
        retry_in(0);
    }
}
