// SPDX-License-Identifier: GPL-2.0

//! All tasks of the system.
//!
//! There are two walks over all threads. [`for_each_thread`] holds `tasklist_lock`: it sees
//! all threads that there are, and none can come or go meanwhile, which holds up every fork and
//! exit; so what it calls must be short. [`walk_threads`] holds nothing for long; it may miss
//! threads that come while it walks.
//!
//! A thread that exits leaves the lists of both before it is done: it runs on, and may sleep, after
//! it was reaped. [`for_each_exiting`] and [`walk_exiting`] are for these. Called after the others,
//! they complete them: a thread that was not on the lists any more is there, or will not run again.
//!
//! `tasklist_lock` is not for modules, and so this is not a part of the `kernel` crate.
//!
//! C headers: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h),
//! [`include/linux/pid.h`](srctree/include/linux/pid.h)

use kernel::{
    bindings,
    cpu::CpuId,
    ffi::c_void,
    sync::{
        aref::ARef,
        rcu, //
    },
    task::Task,
    types::NotThreadSafe, //
};

use core::{
    ops::ControlFlow,
    ptr::{
        self,
        NonNull, //
    }, //
};

/// `tasklist_lock`, held for reading: what is on the lists of tasks stays there.
struct TasklistLock(NotThreadSafe);

impl TasklistLock {
    fn new() -> Self {
        // SAFETY: This task does not hold the lock for writing: nothing in Rust takes it so.
        unsafe { bindings::klp_tasklist_read_lock() };
        Self(NotThreadSafe)
    }
}

impl Drop for TasklistLock {
    fn drop(&mut self) {
        // SAFETY: `new` has taken the lock.
        unsafe { bindings::klp_tasklist_read_unlock() };
    }
}

/// What keeps tasks valid, and the links of the lists that they are on.
///
/// # Safety
///
/// A task that is on a list while there is a value of the type must stay valid until that is
/// dropped, and what it links to, too.
unsafe trait KeepsTasks {}

// SAFETY: Nothing is taken off the lists while the lock is held.
unsafe impl KeepsTasks for TasklistLock {}
// SAFETY: Tasks are freed after a grace period; one that is taken off keeps its links.
unsafe impl KeepsTasks for rcu::Guard {}

/// A process, which is on the list of processes or has been under the guard that `'a` is of.
#[derive(Clone, Copy)]
struct Process<'a>(&'a Task);

/// A thread, which is on the list of its process or has been under the guard that `'a` is of.
#[derive(Clone, Copy)]
struct Thread<'a>(&'a Task);

// That a `Task` is a transparent wrapper holds for all casts here.
impl<'a> Process<'a> {
    /// The first process.
    fn first(_guard: &'a impl KeepsTasks) -> Option<Self> {
        // SAFETY: `init_task` is always on the list, and the guard keeps the next.
        let first = unsafe { bindings::klp_next_process(&raw mut bindings::init_task) };
        // SAFETY: As above.
        unsafe { first.cast::<Task>().as_ref() }.map(Self)
    }

    /// The next process.
    fn next(self) -> Option<Self> {
        // SAFETY: The guard keeps this and the next.
        unsafe {
            bindings::klp_next_process(self.0.as_ptr())
                .cast::<Task>()
                .as_ref()
        }
        .map(Self)
    }

    /// The first thread of the process.
    fn first_thread(self) -> Option<Thread<'a>> {
        // SAFETY: The guard keeps this and the thread.
        unsafe {
            bindings::klp_first_thread(self.0.as_ptr())
                .cast::<Task>()
                .as_ref()
        }
        .map(Thread)
    }
}

impl Thread<'_> {
    /// The next thread of the process.
    fn next(self) -> Option<Self> {
        // SAFETY: The guard keeps this and the next.
        unsafe {
            bindings::klp_next_thread(self.0.as_ptr())
                .cast::<Task>()
                .as_ref()
        }
        .map(Self)
    }
}

/// Calls `f` for each thread but the idle ones, with `tasklist_lock` held for reading, until it
/// breaks.
///
/// `f` must not sleep, nor take `tasklist_lock` for writing. Preemption is disabled while it runs,
/// but for PREEMPT_RT. May be called in process context.
pub(crate) fn for_each_thread<B>(mut f: impl FnMut(&Task) -> ControlFlow<B>) -> ControlFlow<B> {
    let lock = TasklistLock::new();
    let mut next = Process::first(&lock);
    while let Some(process) = next {
        let mut next_thread = process.first_thread();
        while let Some(thread) = next_thread {
            f(thread.0)?;
            next_thread = thread.next();
        }
        next = process.next();
    }
    ControlFlow::Continue(())
}

/// After how many threads a walk takes a break.
const BATCH: usize = 32;

/// Calls `f` for each thread but the idle ones, under RCU, with breaks in between, and returns what
/// `f` has made of the value that it was passed.
///
/// Threads that come while this walks may be missed; those that exit may be seen. The walk begins
/// anew, with a new value, when it has lost its place in a break, so that `f` may be called more
/// than once for a thread, but what is returned counts each of them once. `f` must not sleep. May
/// sleep itself, so it must be called in process context, without RCU held.
pub(crate) fn walk_threads<A: Default>(mut f: impl FnMut(&mut A, &Task)) -> A {
    let mut value = A::default();
    if !walk_lists(&mut |task| f(&mut value, task)) {
        value = A::default();
        walk_pids(|task| f(&mut value, task));
    }
    value
}

/// Lets others run between two batches.
fn take_break(rcu: rcu::Guard) {
    drop(rcu);
    // SAFETY: Process context, by the contract of `walk_threads`.
    unsafe { bindings::klp_cond_resched() };
}

/// [`walk_threads`] along the lists of tasks, the shortest way.
///
/// Returns whether it has come to the end: where a task was taken off a list during a break, its
/// links lead nowhere.
fn walk_lists(f: &mut impl FnMut(&Task)) -> bool {
    // Where the walk has got to, between two batches.
    let mut place: Option<[ARef<Task>; 2]> = None;
    loop {
        let rcu = rcu::read_lock();
        let start = match &place {
            None => Process::first(&rcu).map(|process| (process, process.first_thread())),
            Some(kept) => match resume(kept, &rcu) {
                None => return false,
                Some((process, thread)) => Some((process, thread.next())),
            },
        };
        match walk_batch(start, f) {
            None => return true,
            Some((process, thread)) => place = Some([process.0, thread.0].map(ARef::from)),
        }
        take_break(rcu);
    }
}

/// Calls `f` for a batch of threads, from this process and thread on. Returns the last one, or
/// `None` at the end.
#[inline]
fn walk_batch<'a>(
    mut start: Option<(Process<'a>, Option<Thread<'a>>)>,
    f: &mut impl FnMut(&Task),
) -> Option<(Process<'a>, Thread<'a>)> {
    let mut batch = BATCH;
    while let Some((process, mut next)) = start {
        while let Some(thread) = next {
            f(thread.0);
            batch -= 1;
            if batch == 0 {
                return Some((process, thread));
            }
            next = thread.next();
        }
        start = process
            .next()
            .map(|process| (process, process.first_thread()));
    }
    None
}

/// Returns where the walk goes on under the read side of RCU that has just begun, if the lists
/// still lead on from both: from the first, a leader, to the next process, and from the second to
/// the next thread.
fn resume<'a>(
    kept: &'a [ARef<Task>; 2],
    _rcu: &'a rcu::Guard,
) -> Option<(Process<'a>, Thread<'a>)> {
    let [leader, task] = kept;
    are_listed(leader, task).then_some((Process(leader), Thread(task)))
}

/// Returns whether the lists lead on from both: `leader` from one process to the next, and `task`
/// from one thread of this process to the next.
fn are_listed(leader: &Task, task: &Task) -> bool {
    // A task is alive until it is taken off the lists. A leader leaves the list of processes alive
    // when another thread takes its place, in `execve()`, and is a leader no more then. Both happen
    // with the lock held for writing, so that nothing is half done here.
    let _lock = TasklistLock::new();
    // SAFETY: References to tasks are valid, and the lock is held.
    unsafe { bindings::klp_are_listed(leader.as_ptr(), task.as_ptr()) }
}

/// [`walk_threads`] by process ids in the initial name space: where a task has exited, the next id
/// is still the next.
fn walk_pids(mut f: impl FnMut(&Task)) {
    let mut nr = 1;
    loop {
        let rcu = rcu::read_lock();
        for _ in 0..BATCH {
            let Some((found, task)) = find_from(nr, &rcu) else {
                return;
            };
            nr = found.saturating_add(1);
            if let Some(task) = task {
                f(task);
            }
        }
        take_break(rcu);
    }
}

/// Returns the lowest process id from `nr` on, and its task, if that has not gone meanwhile.
fn find_from(mut nr: i32, _rcu: &rcu::Guard) -> Option<(i32, Option<&Task>)> {
    // SAFETY: RCU's read side is held.
    let task = unsafe { bindings::klp_find_task_from(&raw mut nr) };
    // SAFETY: As above, which keeps the task.
    let task = unsafe { task.cast::<Task>().as_ref() };
    (nr != 0).then_some((nr, task))
}

/// Calls `f` for each thread that is exiting and may be on no other list any more, with a lock held
/// and interrupts off.
///
/// `f` must be short, and must not sleep, print, or wake tasks up. May be called in any context but
/// NMIs. Wraps C's `klp_visit_exiting()`.
pub(crate) fn for_each_exiting<F: FnMut(&Task)>(mut f: F) {
    /// # Safety
    ///
    /// `task` must be valid, and `arg` point to an `F` that no other code uses.
    unsafe extern "C" fn call<F: FnMut(&Task)>(task: *mut bindings::task_struct, arg: *mut c_void) {
        // SAFETY: By the requirement of this function.
        let f = unsafe { &mut *arg.cast::<F>() };
        // SAFETY: As above.
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
pub(crate) fn walk_exiting(mut f: impl FnMut(&Task)) {
    // SAFETY: Always fine.
    for _ in 0..unsafe { bindings::klp_nr_exiting() } {
        // SAFETY: As above.
        let Some(task) = NonNull::new(unsafe { bindings::klp_get_exiting() }) else {
            return;
        };
        // SAFETY: The reference comes with the task, and is dropped with this.
        let task: ARef<Task> = unsafe { ARef::from_raw(task.cast()) };
        f(&task);
    }
}

/// Calls `f` for the idle task of each CPU that there may be.
///
/// May be called in any context.
pub(crate) fn for_each_idle(mut f: impl FnMut(CpuId, &Task)) {
    for cpu in CpuId::possible() {
        // SAFETY: The CPU is possible. Its idle task, which was made at boot, stays for good.
        if let Some(task) = unsafe { bindings::idle_task(cpu.into()).cast::<Task>().as_ref() } {
            f(cpu, task);
        }
    }
}

/// Calls `f` for all tasks: each thread, each that is exiting, and each idle task. Some may be seen
/// twice. `f` may be called with a raw spinlock held.
pub(crate) fn for_each_task(mut f: impl FnMut(&Task)) {
    let _ = for_each_thread(|task| {
        f(task);
        ControlFlow::<()>::Continue(())
    });
    for_each_exiting(&mut f);
    for_each_idle(|_, task| f(task));
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(livepatch_tasklist)]
mod tests {
    use super::*;
    use kernel::{
        current,
        error::from_err_ptr,
        ffi::c_int,
        prelude::*,
        stacktrace,
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
        let mut next = 0;
        for_each_idle(|cpu, _| {
            assert!(cpu.as_u32() >= next);
            next = cpu.as_u32() + 1;
        });
        assert!(next > 0);
    }

    /// How often something was seen.
    #[derive(Default)]
    struct Seen {
        stopped: usize,
        traced: usize,
        missed: Option<usize>,
        clear: usize,
    }

    /// Compares the words of a stack with its trace.
    fn compare(seen: &mut Seen, task: &stacktrace::StoppedTask<'_>) {
        let find = |addr: usize| {
            stacktrace::scan(task, None, addr..addr + 1, |found| {
                ControlFlow::Break(found)
            })
        };
        let _ = stacktrace::walk_reliable(task, |addr| {
            let found = find(addr);
            seen.traced += usize::from(found == Ok(Some(addr)));
            if found == Ok(None) {
                seen.missed = Some(addr);
            }
            ControlFlow::<()>::Continue(())
        });
        // A place where no task can be.
        let nowhere = bindings::klp_enable_patch as *const () as usize;
        seen.clear += usize::from(find(nowhere) == Ok(None));
        seen.stopped += 1;
    }

    #[test]
    fn scans_find_what_traces_find() {
        let seen: Seen = walk_threads(|seen: &mut Seen, task| {
            if !ptr::eq(task.as_ptr(), Task::current_raw()) {
                let _ = stacktrace::with_stopped(task, |task| compare(seen, task));
            }
        });
        assert!(seen.stopped > 1);
        if cfg!(CONFIG_STACK_SCAN) && stacktrace::have_reliable() {
            assert!(seen.traced > 0);
            assert!(seen.clear > 0);
        }
        if let Some(addr) = seen.missed {
            pr_err!("{:#x} is on the stack of a thread, and not found\n", addr);
        }
        assert_eq!(seen.missed, None);
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
        // SAFETY: The thread was not stopped, so it is valid.
        let task = ARef::from(unsafe { &*task.cast::<Task>() });
        assert!(are_listed(me, &task));
        assert!(are_listed(&task, &task));

        // SAFETY: It is a kernel thread that was not stopped yet.
        unsafe { bindings::kthread_stop(task.as_ptr()) };
        // If it stays listed, the test does not end.
        while are_listed(me, &task) {
            fsleep(Delta::from_millis(1));
        }
        assert!(!are_listed(&task, me));
        Ok(())
    }
}
