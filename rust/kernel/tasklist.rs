// SPDX-License-Identifier: GPL-2.0

//! All tasks of the system, and keeping one of them as it is.
//!
//! There are two ways to come by each thread. [`for_each_thread`] holds `tasklist_lock`: it sees
//! all threads that there are, and none can come or go meanwhile, which holds up every fork and
//! exit; so what it calls must be short. [`walk_threads`] holds nothing for long; it may miss
//! threads that come while it walks.
//!
//! A thread that exits leaves the lists of both before it is done: it runs on, and may sleep, after
//! it was reaped. [`for_each_exiting`] and [`walk_exiting`] are for these. Called after the others,
//! they complete them: a thread that was not on the lists any more is there, or will not run again.
//!
//! [`hold`] keeps a thread as it is, running or not, so that its stack can be looked at.
//!
//! C headers: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h),
//! [`include/linux/pid.h`](srctree/include/linux/pid.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h)
//!
//! # Examples
//!
//! ```
//! use core::ops::ControlFlow;
//! use kernel::{current, tasklist};
//!
//! let me = current!().as_ptr();
//! let mut seen = 0;
//! let _ = tasklist::for_each_thread(|task| {
//!     seen += usize::from(core::ptr::eq(task.as_ptr(), me));
//!     ControlFlow::<()>::Continue(())
//! });
//! assert_eq!(seen, 1);
//!
//! // The current task is on a CPU, and nowhere else.
//! let elsewhere = tasklist::hold(current!(), |held| held.runs_elsewhere());
//! assert_eq!(elsewhere, Some(false));
//! ```

use crate::{
    bindings,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    sync::{
        aref::ARef,
        rcu, //
    },
    task::Task,
    types::NotThreadSafe, //
};
use core::{
    ops::{
        ControlFlow,
        Deref, //
    },
    ptr, //
};

/// Keeps preemption disabled while it lives, without being seen by the tracer.
pub struct PreemptDisabled(NotThreadSafe);

impl PreemptDisabled {
    /// Disables preemption. May be called in any context.
    #[inline(always)]
    pub fn new() -> Self {
        // SAFETY: Enabled again when the guard is dropped.
        unsafe { bindings::preempt_disable_notrace() };
        Self(NotThreadSafe)
    }
}

impl Default for PreemptDisabled {
    #[inline(always)]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PreemptDisabled {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: Disabled by `new`.
        unsafe { bindings::preempt_enable_notrace() };
    }
}

/// Calls `f` for each thread but the idle ones, with `tasklist_lock` held for reading, until it
/// breaks.
///
/// `f` must not sleep, nor take `tasklist_lock` for writing. Preemption is disabled while it runs,
/// but for PREEMPT_RT. May be called in process context.
pub fn for_each_thread<B>(mut f: impl FnMut(&Task) -> ControlFlow<B>) -> ControlFlow<B> {
    // SAFETY: The lock is not held for writing by this task: nothing in Rust takes it.
    unsafe { bindings::read_lock_tasklist() };
    let mut value = ControlFlow::Continue(());
    // SAFETY: `init_task` is the first on the list, and always there.
    let mut process = unsafe { bindings::next_process(&raw mut bindings::init_task) };
    'all: while !process.is_null() {
        // SAFETY: The lock is held, so that what is on the lists stays.
        let mut thread = unsafe { bindings::first_thread(process) };
        while !thread.is_null() {
            // SAFETY: As above; `Task` is a transparent wrapper.
            value = f(unsafe { &*thread.cast::<Task>() });
            if value.is_break() {
                break 'all;
            }
            // SAFETY: As above.
            thread = unsafe { bindings::next_thread(thread) };
        }
        // SAFETY: As above.
        process = unsafe { bindings::next_process(process) };
    }
    // SAFETY: Taken above.
    unsafe { bindings::read_unlock_tasklist() };
    value
}

/// How many threads are looked at in one go.
const BATCH: usize = 32;

/// Calls `f` for each thread but the idle ones, under RCU, with breaks in between, and returns what
/// `f` has made of the value that it was passed.
///
/// Threads that come while this walks may be missed; those that exit may be seen. The walk begins
/// anew, with a new value, when it has lost its place in a break, so that `f` may be called more
/// than once for a thread, but what is returned counts each of them once. `f` must not sleep. May
/// sleep itself, so it must be called in process context, without RCU held.
pub fn walk_threads<A: Default>(mut f: impl FnMut(&mut A, &Task)) -> A {
    let mut value = A::default();
    if !walk_lists(&mut |task| f(&mut value, task)) {
        value = A::default();
        walk_pids(|task| f(&mut value, task));
    }
    value
}

/// Lets others run between two batches.
fn take_break(rcu: rcu::Guard) -> rcu::Guard {
    drop(rcu);
    // SAFETY: Process context, by the contract of `walk_threads`.
    unsafe { bindings::cond_resched() };
    rcu::read_lock()
}

/// [`walk_threads`] along the lists of tasks, the shortest way.
///
/// Returns whether it has come to the end: where a task was taken off a list during a break, its
/// links lead nowhere.
fn walk_lists(f: &mut impl FnMut(&Task)) -> bool {
    let mut rcu = rcu::read_lock();
    let mut batch = BATCH;
    // SAFETY: `init_task` is the first on the list, and always there.
    let mut process = unsafe { bindings::next_process(&raw mut bindings::init_task) };
    while !process.is_null() {
        // SAFETY: RCU's read side is held, and the process was on the list since, so that its
        // memory and that of those that it links to stays.
        let mut thread = unsafe { bindings::first_thread(process) };
        while !thread.is_null() {
            // SAFETY: As above; `Task` is a transparent wrapper.
            let task = unsafe { &*thread.cast::<Task>() };
            f(task);
            batch -= 1;
            if batch == 0 {
                batch = BATCH;
                // SAFETY: As above.
                let leader = unsafe { &*process.cast::<Task>() };
                let kept = [leader, task].map(ARef::from);
                rcu = take_break(rcu);
                let [leader, task] = &kept;
                if !are_listed(leader, task) {
                    return false;
                }
            }
            // SAFETY: As above.
            thread = unsafe { bindings::next_thread(thread) };
        }
        // SAFETY: As above.
        process = unsafe { bindings::next_process(process) };
    }
    true
}

/// Returns whether the lists still lead on from both: `leader` from one process to the next, and
/// `task` from one thread of this process to the next.
///
/// With RCU held since before the call, what they lead to stays.
fn are_listed(leader: &Task, task: &Task) -> bool {
    // A task is alive until it is taken off the lists. A leader leaves the list of processes alive
    // when another thread takes its place, in `execve()`, and is a leader no more then. Both happen
    // with the lock held for writing, so that nothing is half done here.
    //
    // SAFETY: The lock is not held for writing by this task: nothing in Rust takes it.
    unsafe { bindings::read_lock_tasklist() };
    // SAFETY: The task is valid.
    let alive = |task: &Task| unsafe { bindings::pid_alive(task.as_ptr()) } != 0;
    // SAFETY: The task is valid.
    let leads = unsafe { bindings::thread_group_leader(leader.as_ptr()) };
    let listed = leads && alive(leader) && alive(task);
    // SAFETY: Taken above.
    unsafe { bindings::read_unlock_tasklist() };
    listed
}

/// [`walk_threads`] by process ids in the initial name space: where a task has exited, the next id
/// is still the next.
fn walk_pids(mut f: impl FnMut(&Task)) {
    let mut nr = 1;
    let mut rcu = rcu::read_lock();
    loop {
        for _ in 0..BATCH {
            // SAFETY: RCU's read side is held.
            let pid = unsafe { bindings::find_ge_pid(nr, &raw mut bindings::init_pid_ns) };
            if pid.is_null() {
                return;
            }
            // SAFETY: As above.
            nr = unsafe { bindings::pid_nr(pid) }.saturating_add(1);
            // SAFETY: As above, which keeps the task, too.
            let task = unsafe { bindings::pid_task(pid, bindings::pid_type_PIDTYPE_PID) };
            // SAFETY: As above; `Task` is a transparent wrapper.
            if let Some(task) = unsafe { task.cast::<Task>().as_ref() } {
                f(task);
            }
        }
        rcu = take_break(rcu);
    }
}

/// Calls `f` for each thread that is exiting and may be on no other list any more, with a lock held
/// and interrupts off.
///
/// `f` must be short, and must not sleep, print, or wake tasks up. May be called in any context but
/// NMIs. Wraps C's `klp_visit_exiting()`.
#[cfg(CONFIG_LIVEPATCH)]
pub fn for_each_exiting<F: FnMut(&Task)>(mut f: F) {
    /// # Safety
    ///
    /// `task` must be valid, and `arg` point to an `F` that nobody else uses.
    unsafe extern "C" fn call<F: FnMut(&Task)>(task: *mut bindings::task_struct, arg: *mut c_void) {
        // SAFETY: By the requirement of this function.
        let f = unsafe { &mut *arg.cast::<F>() };
        // SAFETY: As above; `Task` is a transparent wrapper.
        f(unsafe { &*task.cast::<Task>() });
    }

    // SAFETY: `call` gets a pointer to `f`, which outlives the call, and tasks on the list, which
    // stay on it while the lock is held.
    unsafe { bindings::klp_visit_exiting(Some(call::<F>), (&raw mut f).cast()) };
}

/// Calls `f` for each thread that is exiting and may be on no other list any more, one by one, with
/// no lock held.
///
/// Threads that begin to exit while this walks may be missed, and those that have begun just before
/// may be seen twice. One walk at a time sees all, which the caller has to see to. May be called in
/// any context but NMIs. Wraps C's `klp_get_exiting()`.
#[cfg(CONFIG_LIVEPATCH)]
pub fn walk_exiting(mut f: impl FnMut(&Task)) {
    // SAFETY: Always fine.
    for _ in 0..unsafe { bindings::klp_nr_exiting() } {
        // SAFETY: As above.
        let Some(task) = ptr::NonNull::new(unsafe { bindings::klp_get_exiting() }) else {
            return;
        };
        // SAFETY: The reference comes with the task, and is dropped with this.
        let task: ARef<Task> = unsafe { ARef::from_raw(task.cast()) };
        f(&task);
    }
}

/// Calls `f` for the idle task of each CPU that there may be, with the CPU's number.
///
/// May be called in any context.
pub fn for_each_idle(mut f: impl FnMut(c_uint, &Task)) {
    let mut cpu = -1;
    loop {
        // SAFETY: Takes -1 and the number of any CPU.
        let next = unsafe { bindings::cpumask_next_possible(cpu) };
        // SAFETY: Set at boot.
        if next >= unsafe { bindings::nr_cpu_ids } {
            return;
        }
        cpu = next as c_int;
        // SAFETY: The CPU is possible. Its idle task, which was made at boot, stays for good.
        if let Some(task) = unsafe { bindings::idle_task(cpu).cast::<Task>().as_ref() } {
            f(next, task);
        }
    }
}

/// A task that stays as it is: what does not run now will not while this exists.
///
/// # Invariants
///
/// The task is current, with preemption disabled, or in the hands of `task_call_func()`.
pub struct Held<'a> {
    task: &'a Task,
}

impl Held<'_> {
    /// Whether the task is the current one.
    #[inline]
    pub fn is_current(&self) -> bool {
        ptr::eq(self.task.as_ptr(), Task::current_raw())
    }

    /// Whether the task runs on another CPU at the moment. If not, it is the current one, or does
    /// not run at all.
    #[inline]
    pub fn runs_elsewhere(&self) -> bool {
        // SAFETY: The task is valid.
        let runs = unsafe { bindings::task_curr(self.task.as_ptr()) } != 0;
        runs && !self.is_current()
    }
}

impl Deref for Held<'_> {
    type Target = Task;

    #[inline]
    fn deref(&self) -> &Task {
        self.task
    }
}

/// Calls `f` with the task kept as it is, and returns what it returns.
///
/// `f` runs with preemption disabled and, unless the task is the current one, with interrupts off
/// and the task's `pi_lock` and perhaps its run queue's lock held: it must not sleep, wake tasks
/// up, or print. May be called in any context in which these locks may be taken, or, for the
/// current task, in any.
///
/// `None` is for the C side not having called `f`, which it always does.
#[inline]
pub fn hold<R, F: FnOnce(&Held<'_>) -> R>(task: &Task, f: F) -> Option<R> {
    struct Call<F, R> {
        f: Option<F>,
        value: Option<R>,
    }

    /// # Safety
    ///
    /// To be called by `task_call_func`, with a `Call<F, R>` that nobody else uses.
    unsafe extern "C" fn call<R, F: FnOnce(&Held<'_>) -> R>(
        task: *mut bindings::task_struct,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: By the requirement of this function.
        let this = unsafe { &mut *arg.cast::<Call<F, R>>() };
        // SAFETY: The task is valid; `Task` is a transparent wrapper.
        let task = unsafe { &*task.cast::<Task>() };
        if let Some(f) = this.f.take() {
            // INVARIANT: `task_call_func` is calling.
            this.value = Some(f(&Held { task }));
        }
        0
    }

    if ptr::eq(task.as_ptr(), Task::current_raw()) {
        let _preempt = PreemptDisabled::new();
        // INVARIANT: The task is current, and preemption disabled.
        return Some(f(&Held { task }));
    }

    let mut this = Call {
        f: Some(f),
        value: None,
    };
    // SAFETY: The task is valid, and `call` gets a pointer to `this`, which outlives it.
    unsafe {
        bindings::task_call_func(
            task.as_ptr(),
            Some(call::<R, F>),
            (&raw mut this).cast::<c_void>(),
        )
    };
    this.value
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_tasklist)]
mod tests {
    use super::*;
    use crate::{
        current,
        error::from_err_ptr,
        prelude::*,
        time::{
            delay::fsleep,
            Delta, //
        }, //
    };

    #[test]
    fn all_walks_see_the_current_task_once() {
        let me = Task::current_raw();
        let mut locked = 0;
        let all = for_each_thread(|task| {
            locked += usize::from(ptr::eq(task.as_ptr(), me));
            ControlFlow::<()>::Continue(())
        });
        assert!(all.is_continue());
        let mut by_list = 0;
        let to_the_end = walk_lists(&mut |task| by_list += usize::from(ptr::eq(task.as_ptr(), me)));
        let mut by_pid = 0;
        walk_pids(|task| by_pid += usize::from(ptr::eq(task.as_ptr(), me)));
        assert_eq!((locked, by_pid), (1, 1));
        // Otherwise a task has exited during a break.
        assert!(by_list == 1 || !to_the_end);
    }

    #[test]
    fn all_walks_see_as_many() {
        let mut locked = 0u32;
        let _ = for_each_thread(|_| {
            locked += 1;
            ControlFlow::<()>::Continue(())
        });
        let mut by_pid = 0u32;
        walk_pids(|_| by_pid += 1);
        let walked: u32 = walk_threads(|walked, _| *walked += 1);
        // Threads of the kernel come and go at any time, but not that many of them.
        assert!(locked > 10);
        assert!(by_pid.abs_diff(locked) < 8);
        assert!(walked + 8 > locked);
    }

    #[test]
    fn a_walk_can_be_ended() {
        let mut seen = 0;
        let value = for_each_thread(|_| {
            seen += 1;
            ControlFlow::Break(seen)
        });
        assert!(matches!(value, ControlFlow::Break(1)));
        assert_eq!(seen, 1);
        // The lock was released: it can be taken again.
        assert!(for_each_thread(|_| ControlFlow::<()>::Continue(())).is_continue());
    }

    #[test]
    fn there_is_an_idle_task_for_each_cpu() {
        let mut cpus = 0;
        for_each_idle(|cpu, _| {
            assert!(cpu >= cpus);
            cpus = cpu + 1;
        });
        assert!(cpus > 0);
    }

    #[test]
    fn tasks_can_be_held() {
        assert_eq!(hold(current!(), |held| held.runs_elsewhere()), Some(false));
        let (threads, held): (usize, usize) = walk_threads(|(threads, held), task| {
            *threads += 1;
            *held += usize::from(hold(task, |_| ()).is_some());
        });
        assert!(threads > 1);
        assert_eq!(held, threads);
    }

    #[test]
    fn a_task_that_is_gone_leads_nowhere() -> Result {
        /// # Safety
        ///
        /// May be called with anything.
        unsafe extern "C" fn end(_data: *mut c_void) -> c_int {
            0
        }

        let me = current!();
        // SAFETY: `end` uses no data; the name is no format.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(end),
                ptr::null_mut(),
                bindings::NUMA_NO_NODE,
                c"gone".as_char_ptr(),
            )
        })?;
        // SAFETY: The thread was not stopped, so it is valid; `Task` is a transparent wrapper.
        let task = ARef::from(unsafe { &*task.cast::<Task>() });
        assert!(are_listed(me, &task));
        assert!(are_listed(&task, &task));

        // SAFETY: It is a kernel thread that was not stopped yet.
        unsafe { bindings::kthread_stop(task.as_ptr()) };
        // SAFETY: The reference keeps the task valid.
        while unsafe { bindings::pid_alive(task.as_ptr()) } != 0 {
            fsleep(Delta::from_millis(1));
        }
        assert!(!are_listed(me, &task));
        assert!(!are_listed(&task, me));
        Ok(())
    }
}
