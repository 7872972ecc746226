// SPDX-License-Identifier: GPL-2.0

//! The progress of transitions: what `/sys/kernel/debug/livepatch` shows.
//!
//! What is shown is kept here, apart from the transition itself. So reading it waits for no
//! attempt, and holds one up for no longer than it takes to format it.
//!
//! # Concurrency
//!
//! [`PROGRESS`] is a spinlock, as attempts note what they find under RCU. Changes are made with
//! `klp_mutex` held as well; no other lock is taken under it. The number of tasks that have
//! switched is counted without a lock, by the tasks themselves; it is set to 0 while none can
//! switch.

use crate::{
    abi::Patch,
    blocked::BlockedTasks,
    target::{PatchState, Target},
    task::{Comm, TaskExt},
    trace::{self, Obstacle, SwitchReason, SWITCH_REASONS, SWITCH_REASON_NAMES}, //
};
use kernel::{
    alloc::Flags,
    dynamic_pr_debug,
    fmt,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{Atomic, Relaxed},
        global_lock, //
    },
    task::Task,
    time::{BootTime, Instant, Monotonic}, //
};

use core::ptr;

/// How many transitions of the past are kept.
const HISTORY: usize = 16;

/// How many tasks have switched in the transition that is going on, by reason. In a cache line of
/// its own: all tasks write to it, and to none that others read.
#[repr(align(64))]
struct Switched([Atomic<u32>; SWITCH_REASONS]);

static SWITCHED: Switched = Switched([const { Atomic::new(0) }; SWITCH_REASONS]);

fn switched_so_far() -> [u32; SWITCH_REASONS] {
    SWITCHED.0.each_ref().map(|switched| switched.load(Relaxed))
}

global_lock! {
    // SAFETY: `init` is called at boot, before there can be a transition.
    /// The progress of the transition that is going on, and those of the past.
    unsafe(uninit) static PROGRESS: SpinLock<Progress> = Progress::new();
}

/// Initialises what this file keeps.
///
/// # Safety
///
/// To be called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: By the requirement of this function.
    unsafe { PROGRESS.init() };
}

/// A name of the kernel's. Empty if there was no memory for it.
#[derive(Default)]
struct Name(KVec<u8>);

impl Name {
    /// Copies `name`, unless this is it already.
    fn set(&mut self, name: &CStr, flags: Flags) {
        let name = name.to_bytes();
        if *self.0 != *name {
            self.0.clear();
            // Tracing and the log have the name in any case.
            let _ = self.0.extend_from_slice(name, flags);
        }
    }

    fn get(&self) -> &BStr {
        BStr::from_bytes(&self.0)
    }
}

/// What an attempt has found of a task that it could not switch.
struct Found {
    pid: i32,
    comm: Comm,
    /// What the last attempt has found.
    obstacle: Obstacle,
    /// What the last attempt has found that did not find it running: that it runs tells little of
    /// what it waited for before.
    inside: Obstacle,
    /// The function, or the patch whose module it is.
    name: Name,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            pid: 0,
            comm: Comm::default(),
            obstacle: Obstacle::Running,
            inside: Obstacle::Running,
            name: Name::default(),
        }
    }
}

impl Found {
    /// Writes the task, and this obstacle, with `prefix` before each key.
    fn write(&self, f: &mut fmt::Formatter<'_>, prefix: &str, obstacle: Obstacle) -> fmt::Result {
        let comm = BStr::from_bytes(self.comm.as_cstr().to_bytes());
        write!(f, " {prefix}pid={} {prefix}comm={comm:?}", self.pid)?;
        write!(f, " {prefix}obstacle={}", obstacle.name())?;
        let key = match obstacle {
            Obstacle::Function | Obstacle::Ftrace => "function",
            Obstacle::Module => "patch",
            Obstacle::Running | Obstacle::UnreliableStack => return Ok(()),
        };
        write!(f, " {prefix}{key}={:?}", self.name.get())
    }
}

/// A transition that is going on.
struct Current {
    /// Only compared.
    patch: *const Patch,
    name: Name,
    target: Target,
    started: Instant<Monotonic>,
    /// Fake signals were sent.
    signaled: bool,
    forced: bool,
}

impl Current {
    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0)
    }
}

/// How a transition has ended.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// All tasks have switched.
    Completed,
    /// It was reversed.
    Reversed,
}

/// A transition of the past.
struct Past {
    current: Current,
    outcome: Outcome,
    millis: u64,
    ended: Instant<BootTime>,
    attempts: u32,
    switched: [u32; SWITCH_REASONS],
    /// The task that was blocked for the longest time, and for how many milliseconds.
    slowest: Option<(Found, u64)>,
}

struct Progress {
    current: Option<Current>,
    /// Tasks are told from one another by their addresses and numbers.
    blocked: BlockedTasks<(*const Task, i32), Found>,
    /// The transitions of the past: the last one is at `latest`, the one before it before that.
    history: [Option<Past>; HISTORY],
    latest: usize,
    /// When the attempt that is going on began, in milliseconds since the transition started.
    now: u64,
}

// SAFETY: The pointers are only compared.
unsafe impl Send for Progress {}

impl Progress {
    const fn new() -> Self {
        Self {
            current: None,
            blocked: BlockedTasks::new(),
            history: [const { None }; HISTORY],
            latest: 0,
            now: 0,
        }
    }

    fn remember(&mut self, past: Past) -> Option<Past> {
        self.latest = (self.latest + 1) % HISTORY;
        self.history
            .get_mut(self.latest)
            .and_then(|slot| slot.replace(past))
    }
}

/// Notes that a transition of `patch` starts, or goes in the other direction from now on. No task
/// may be switching. May sleep.
pub(crate) fn start(patch: &Patch, target: Target) {
    let mut name = Name::default();
    name.set(patch.name(), GFP_KERNEL);
    for switched in &SWITCHED.0 {
        switched.store(0, Relaxed);
    }
    let mut progress = PROGRESS.lock();
    progress.now = 0;
    progress.current = Some(Current {
        patch,
        name,
        target,
        started: Instant::now(),
        signaled: false,
        forced: false,
    });
}

/// Notes and reports that `task` has switched to `state`. As for [`trace::task_switch`].
#[inline(always)]
pub(crate) fn switched(task: &Task, state: PatchState, reason: SwitchReason) {
    // No ordering is needed: a number that people read.
    if let Some(switched) = SWITCHED.0.get(reason.raw() as usize) {
        switched.fetch_add(1, Relaxed);
    }
    trace::task_switch(task, state, reason);
}

/// Notes and reports that the attempt that is going on could not switch `task` to `state`. `name`
/// is that of the function, or of the patch whose module it is, or empty. Does not sleep.
#[cold]
pub(crate) fn blocked(task: &Task, state: PatchState, obstacle: Obstacle, name: &CStr) {
    trace::task_blocked(task, state, obstacle, name);
    log_obstacle(task, obstacle, name);

    let pid = task.number();
    let mut progress = PROGRESS.lock();
    let now = progress.now;
    if let Some(found) = progress.blocked.note((ptr::from_ref(task), pid), now) {
        found.pid = pid;
        found.comm = task.comm();
        found.obstacle = obstacle;
        if obstacle != Obstacle::Running {
            found.inside = obstacle;
            found.name.set(name, GFP_NOWAIT);
        }
    }
}

/// Says in the log, if the user wants to know, why a task was not switched.
fn log_obstacle(task: &Task, obstacle: Obstacle, name: &CStr) {
    match obstacle {
        Obstacle::Running => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} is running\n",
            task.comm().as_cstr(),
            task.number()
        ),
        Obstacle::UnreliableStack => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} has an unreliable stack\n",
            task.comm().as_cstr(),
            task.number()
        ),
        Obstacle::Function | Obstacle::Ftrace => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} is sleeping on function {}\n",
            task.comm().as_cstr(),
            task.number(),
            name
        ),
        Obstacle::Module => dynamic_pr_debug!(
            "klp_try_switch_task",
            "klp_try_switch_task: {}:{} is sleeping in the module of '{}'\n",
            task.comm().as_cstr(),
            task.number(),
            name
        ),
    }
}

/// Notes that an attempt begins.
pub(crate) fn begin_attempt() {
    let mut progress = PROGRESS.lock();
    progress.now = progress.current.as_ref().map_or(0, Current::millis);
}

/// Notes that an attempt is over.
pub(crate) fn end_attempt() {
    let mut progress = PROGRESS.lock();
    let now = progress.now;
    progress.blocked.end_attempt(now);
}

/// Notes and reports that fake signals are sent to `tasks` tasks.
pub(crate) fn signal(patch: &Patch, target: Target, tasks: u32) {
    trace::transition(patch.name(), target, trace::Step::Signal, tasks);
    if let Some(current) = &mut PROGRESS.lock().current {
        current.signaled = true;
    }
}

/// Notes and reports that `tasks` tasks were forced.
pub(crate) fn force(patch: &Patch, target: Target, tasks: u32) {
    trace::transition(patch.name(), target, trace::Step::Force, tasks);
    if let Some(current) = &mut PROGRESS.lock().current {
        current.forced = true;
    }
}

/// Notes how the transition of `patch` has ended, reports it if it was completed, and returns how
/// many milliseconds it took. No task may be switching.
pub(crate) fn end(patch: &Patch, outcome: Outcome) -> u64 {
    let mut progress = PROGRESS.lock();
    let Some(current) = progress.current.take() else {
        return 0;
    };
    let elapsed = current.started.elapsed();
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(0);
    let micros = u64::try_from(elapsed.as_micros_ceil()).unwrap_or(0);
    let attempts = progress.blocked.attempts();
    let target = current.target;
    let switched = switched_so_far();
    let slowest = progress.blocked.finish(millis);
    let forgotten = progress.remember(Past {
        current,
        outcome,
        millis,
        ended: Instant::now(),
        attempts,
        switched,
        slowest: slowest.map(|(blocked, millis)| (blocked.found, millis)),
    });
    drop(progress);
    drop(forgotten);
    if matches!(outcome, Outcome::Completed) {
        trace::complete(patch.name(), target, micros, attempts, &switched);
    }
    millis
}

/// For how many milliseconds the transition goes on, if it is one of `patch`.
pub(crate) fn running_millis(patch: &Patch) -> Option<u64> {
    let progress = PROGRESS.lock();
    let current = progress.current.as_ref();
    let current = current.filter(|current| ptr::eq(current.patch, patch));
    current.map(Current::millis)
}

fn yes_no(value: bool) -> &'static str {
    if value {
        "yes"
    } else {
        "no"
    }
}

fn direction(target: Target) -> &'static str {
    match target {
        Target::Patched => "patched",
        Target::Unpatched => "unpatched",
    }
}

fn write_switched(f: &mut fmt::Formatter<'_>, switched: [u32; SWITCH_REASONS]) -> fmt::Result {
    SWITCH_REASON_NAMES
        .iter()
        .zip(switched)
        .try_for_each(|(name, count)| write!(f, " {name}={count}"))
}

/// Writes the progress of the transition that is going on, in which `remaining` tasks remain;
/// nothing if there is none.
pub(crate) fn write_current(f: &mut fmt::Formatter<'_>, remaining: i32) -> fmt::Result {
    let progress = PROGRESS.lock();
    let Some(current) = &progress.current else {
        return Ok(());
    };
    let now = current.millis();
    f.write_fmt(fmt!("patch: {}\n", current.name.get()))?;
    writeln!(f, "direction: {}", direction(current.target))?;
    writeln!(f, "forced: {}", yes_no(current.forced))?;
    writeln!(f, "signaled: {}", yes_no(current.signaled))?;
    writeln!(f, "running_ms: {now}")?;
    writeln!(f, "attempts: {}", progress.blocked.attempts())?;
    writeln!(f, "remaining: {remaining}")?;
    f.write_str("switched:")?;
    write_switched(f, switched_so_far())?;
    f.write_str("\n")?;
    for blocked in progress.blocked.iter() {
        f.write_str("task:")?;
        blocked.found.write(f, "", blocked.found.obstacle)?;
        let (millis, attempts) = (blocked.millis(now), blocked.attempts());
        writeln!(f, " blocked_ms={millis} attempts={attempts}")?;
    }
    Ok(())
}

/// Writes the transitions of the past, the last one first, a line each.
pub(crate) fn write_history(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let progress = PROGRESS.lock();
    let (newer, older) = progress.history.split_at(progress.latest + 1);
    let pasts = Iterator::chain(newer.iter().rev(), older.iter().rev()).flatten();
    for past in pasts {
        let current = &past.current;
        f.write_fmt(fmt!("patch={}", current.name.get()))?;
        write!(f, " direction={}", direction(current.target))?;
        f.write_str(match past.outcome {
            Outcome::Completed => " outcome=completed",
            Outcome::Reversed => " outcome=reversed",
        })?;
        write!(f, " was_forced={}", yes_no(current.forced))?;
        write!(f, " signaled={}", yes_no(current.signaled))?;
        write!(f, " ended_ago_ms={}", past.ended.elapsed().as_millis())?;
        write!(f, " duration_ms={} attempts={}", past.millis, past.attempts)?;
        write_switched(f, past.switched)?;
        if let Some((found, millis)) = &past.slowest {
            found.write(f, "slowest_", found.inside)?;
            write!(f, " slowest_ms={millis}")?;
        }
        f.write_str("\n")?;
    }
    Ok(())
}
