// SPDX-License-Identifier: GPL-2.0

//! Stacks of tasks.
//!
//! A *reliable* stack trace is one that is known to be complete: each function that the task will
//! return to is in it, and in the right order. Where the unwinder cannot promise that (an
//! interrupted frame, code without unwind information, a corrupt stack, a function graph return
//! that it cannot resolve) the trace is refused rather than guessed. So code that acts on the
//! absence of a function from a reliable trace, as livepatch does, acts on a fact.
//!
//! Such an absence can often be had for less: [`scan`] goes through the words of a stack without
//! asking what they are for. Where none of them is an address in a function, the task is not in it.
//! Where one is, it may be left over from an earlier call, and only a trace can tell.
//!
//! The stack of a task that runs changes all the time. [`with_stopped`] keeps a task that does not
//! run from running.
//!
//! C headers: [`include/linux/stacktrace.h`](srctree/include/linux/stacktrace.h),
//! [`include/linux/stack_scan.h`](srctree/include/linux/stack_scan.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h)
//!
//! # Examples
//!
//! ```
//! use core::ops::ControlFlow;
//! use kernel::{current, stacktrace};
//!
//! // How deep is the stack?
//! let mut depth = 0;
//! let walked = stacktrace::with_stopped(current!(), |task| {
//!     stacktrace::walk_reliable(task, |_addr| {
//!         depth += 1;
//!         ControlFlow::<()>::Continue(())
//!     })
//! })?;
//! // An error if not on this architecture, or not this time.
//! if walked.is_ok() {
//!     assert!(depth > 1);
//! }
//! # Ok::<(), Error>(())
//! ```

use crate::{
    bindings,
    error::{code::*, Result},
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    preempt::PreemptDisabled,
    task::Task, //
};
use core::{
    ops::{
        ControlFlow,
        Deref,
        Range, //
    },
    ptr, //
};

/// A task that does not run and is kept from running, or the current one, kept on its CPU.
///
/// # Invariants
///
/// The task is current, with preemption disabled, or `task_call_func()` has found it not to run and
/// holds the locks that keep it so.
pub struct StoppedTask<'a> {
    task: &'a Task,
}

impl StoppedTask<'_> {
    /// Whether the task is the current one.
    #[inline]
    pub fn is_current(&self) -> bool {
        ptr::eq(self.task.as_ptr(), Task::current_raw())
    }
}

impl Deref for StoppedTask<'_> {
    type Target = Task;

    #[inline]
    fn deref(&self) -> &Task {
        self.task
    }
}

/// Calls `f` with the task kept from running, and returns what it returns.
///
/// `f` runs with preemption disabled and, unless the task is the current one, with interrupts off
/// and the task's `pi_lock` and perhaps its run queue's lock held: it must not sleep, wake tasks
/// up, or print. May be called in any context in which these locks may be taken, or, for the
/// current task, in any.
///
/// Wraps C's `task_call_func()`.
///
/// # Errors
///
/// `EBUSY`: the task runs on another CPU. `f` is not called.
#[inline]
pub fn with_stopped<R, F: FnOnce(&StoppedTask<'_>) -> R>(task: &Task, f: F) -> Result<R> {
    struct Call<F, R> {
        f: Option<F>,
        value: Option<R>,
    }

    /// # Safety
    ///
    /// To be called by `task_call_func`, with a `Call<F, R>` that no other code uses.
    unsafe extern "C" fn call<R, F: FnOnce(&StoppedTask<'_>) -> R>(
        task: *mut bindings::task_struct,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: `task_call_func` hands on the task that it was given.
        if unsafe { bindings::task_curr(task) } != 0 {
            return 0;
        }
        // SAFETY: By the requirement of this function.
        let this = unsafe { &mut *arg.cast::<Call<F, R>>() };
        // SAFETY: As above; `Task` is a transparent wrapper.
        let task = unsafe { &*task.cast::<Task>() };
        if let Some(f) = this.f.take() {
            // INVARIANT: The task does not run, and `task_call_func` keeps it so.
            this.value = Some(f(&StoppedTask { task }));
        }
        0
    }

    if ptr::eq(task.as_ptr(), Task::current_raw()) {
        let _preempt = PreemptDisabled::new();
        // INVARIANT: The task is current, and preemption disabled.
        return Ok(f(&StoppedTask { task }));
    }

    let mut this = Call {
        f: Some(f),
        value: None,
    };
    // SAFETY: `call` gets a pointer to `this`, which outlives it.
    unsafe {
        bindings::task_call_func(
            task.as_ptr(),
            Some(call::<R, F>),
            (&raw mut this).cast::<c_void>(),
        )
    };
    this.value.ok_or(EBUSY)
}

/// Whether this kernel can make reliable stack traces at all.
pub fn have_reliable() -> bool {
    cfg!(CONFIG_STACKTRACE) && cfg!(CONFIG_HAVE_RELIABLE_STACKTRACE)
}

/// Walks the stack of a task reliably, innermost frame first.
///
/// Calls `f` with the return address of each frame until it breaks, and returns its value then, or
/// `None` when the whole stack was seen. A task that has no stack any more (a zombie) has a
/// reliably empty one. There is no limit on the depth, and no memory is used for it.
///
/// Does not sleep.
///
/// # Errors
///
/// - `EINVAL` (or another error of the architecture's unwinder): the stack is not reliable. `f`
///   may have seen a part of it.
/// - `ENOSYS`: see [`have_reliable`].
#[inline]
pub fn walk_reliable<B, F: FnMut(usize) -> ControlFlow<B>>(
    task: &StoppedTask<'_>,
    f: F,
) -> Result<Option<B>> {
    let mut walk = Walk { f, value: None };
    let Some(result) = with_stack(task, || walk.run(task)) else {
        return Ok(None);
    };
    // The unwinder reports a walk that `f` has ended as an error, too.
    match walk.value {
        Some(value) => Ok(Some(value)),
        None => result.map(|()| None),
    }
}

/// A walk that is under way.
struct Walk<B, F> {
    f: F,
    value: Option<B>,
}

impl<B, F: FnMut(usize) -> ControlFlow<B>> Walk<B, F> {
    /// Walks a stack that is there.
    #[inline]
    fn run(&mut self, task: &StoppedTask<'_>) -> Result {
        #[cfg(all(
            CONFIG_STACKTRACE,
            CONFIG_HAVE_RELIABLE_STACKTRACE,
            CONFIG_ARCH_STACKWALK
        ))]
        // SAFETY: `consume` gets a pointer to `self`, which outlives the call. The caller has
        // pinned the stack, and by the invariants of `StoppedTask` it does not change.
        return crate::error::to_result(unsafe {
            bindings::arch_stack_walk_reliable(
                Some(Self::consume),
                (&raw mut *self).cast(),
                task.as_ptr(),
            )
        });

        #[cfg(not(all(
            CONFIG_STACKTRACE,
            CONFIG_HAVE_RELIABLE_STACKTRACE,
            CONFIG_ARCH_STACKWALK
        )))]
        {
            let _ = (task, Self::consume);
            Err(ENOSYS)
        }
    }

    /// Takes a return address, and returns whether to go on.
    ///
    /// # Safety
    ///
    /// `this` must point to a `Self` that no other code uses.
    unsafe extern "C" fn consume(this: *mut c_void, addr: c_ulong) -> bool {
        // SAFETY: By the requirement of this function.
        let this = unsafe { &mut *this.cast::<Self>() };
        match (this.f)(addr) {
            ControlFlow::Continue(()) => true,
            ControlFlow::Break(value) => {
                this.value = Some(value);
                false
            }
        }
    }
}

/// Calls `f` while the stack of `task` cannot be freed, and returns what it returns; `None` if the
/// stack is gone, as that of a zombie is.
///
/// Does not sleep.
#[inline]
fn with_stack<T>(task: &Task, f: impl FnOnce() -> T) -> Option<T> {
    // SAFETY: A reference to a task is valid.
    if !unsafe { bindings::try_get_task_stack(task.as_ptr()) } {
        return None;
    }
    let value = f();
    // SAFETY: Pairs with `try_get_task_stack` above.
    unsafe { bindings::put_task_stack(task.as_ptr()) };
    Some(value)
}

/// Looks for addresses on the stack of a task, whatever they are there for.
///
/// Calls `f` with each word of the stack that lies in `within`, in the order of their places, until
/// it breaks, and returns its value then, or `None` when there are no more. After `None` the task
/// is in no code in `within` that `f` was not called for, does not return to any, and is not about
/// to go to any but by calling a function, or by a jump in code that is outside of `within`: from a
/// part of a function that the compiler has put elsewhere, say, which is to be looked for as the
/// function is. A task that has no stack any more (a zombie) is nowhere.
///
/// For the current task, `frame` is where on the stack the scan begins: at that of a function whose
/// callers are of interest. What is below has the addresses that are looked for in it, and is left
/// out. For other tasks it has no meaning.
///
/// Does not sleep. RCU must be watching.
///
/// # Errors
///
/// - `EBUSY`: the task is the current one and `frame` is `None`.
/// - `ENODATA`: return addresses of the task are kept elsewhere, by a tracer.
/// - `EINVAL`: the task may be in code that was generated, and goes to wherever that says; `f` may
///   have seen a part of the stack. Or its stack pointer, or `frame`, is not on its stack.
/// - `ENOSYS`: the architecture has no such scans.
#[inline]
pub fn scan<B, F: FnMut(usize) -> ControlFlow<B>>(
    task: &StoppedTask<'_>,
    frame: Option<usize>,
    within: Range<usize>,
    f: F,
) -> Result<Option<B>> {
    if task.is_current() && frame.is_none() {
        return Err(EBUSY);
    }

    #[cfg(CONFIG_STACK_SCAN)]
    {
        let frame = frame.unwrap_or(0);
        // SAFETY: The stack is pinned.
        with_stack(task, || unsafe { scan_pinned(task, frame, within, f) }).unwrap_or(Ok(None))
    }

    #[cfg(not(CONFIG_STACK_SCAN))]
    {
        let _ = (within, f);
        Err(ENOSYS)
    }
}

/// [`scan`] of a stack that is there.
///
/// # Safety
///
/// The stack must stay for as long as this takes.
#[cfg(CONFIG_STACK_SCAN)]
#[inline]
unsafe fn scan_pinned<B, F: FnMut(usize) -> ControlFlow<B>>(
    task: &StoppedTask<'_>,
    frame: usize,
    within: Range<usize>,
    mut f: F,
) -> Result<Option<B>> {
    use crate::error::to_result;

    let mut scan = bindings::stack_scan {
        low: within.start,
        size: within.end.saturating_sub(within.start),
        ..Default::default()
    };
    // SAFETY: The stack is there, and by the invariants of `StoppedTask` it does not change, and
    // preemption is disabled.
    to_result(unsafe { bindings::stack_scan_start(&raw mut scan, task.as_ptr(), frame) })?;
    loop {
        let mut addr = 0;
        // SAFETY: As above; the scan was started.
        match unsafe { bindings::stack_scan_next(&raw mut scan, &raw mut addr) } {
            0 => return Ok(None),
            ret => to_result(ret)?,
        }
        if let ControlFlow::Break(value) = f(addr) {
            return Ok(Some(value));
        }
    }
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_stacktrace)]
mod tests {
    use super::*;
    use crate::current;

    /// Writes the reliable stack trace of a task to `entries`, and returns its length.
    fn save(task: &StoppedTask<'_>, entries: &mut [usize]) -> Result<usize> {
        let mut len = 0;
        walk_reliable(task, |addr| {
            if let Some(entry) = entries.get_mut(len) {
                *entry = addr;
                len += 1;
            }
            ControlFlow::<()>::Continue(())
        })?;
        Ok(len)
    }

    #[test]
    fn a_task_that_runs_is_the_current_one() {
        assert_eq!(with_stopped(current!(), |task| task.is_current()), Ok(true));
    }

    /// Scans the stack of the current task from above this function on.
    #[inline(never)]
    fn scan_callers(within: Range<usize>) -> Result<bool> {
        let place = 0;
        let frame = (&raw const place).addr();
        let found = with_stopped(current!(), |task| {
            // What the frames from here on have in them belongs to the task as its callers do.
            scan(task, Some(frame & !7), within, |_| ControlFlow::Break(()))
        })?;
        found.map(|found| found.is_some())
    }

    #[test]
    fn scans_of_the_current_task_begin_at_a_frame() {
        let mut entries = [0; 64];
        let len = with_stopped(current!(), |task| save(task, &mut entries).unwrap_or(0));
        // The thread that runs this was started by a function that is there for all of them.
        let last = len.unwrap_or(0).wrapping_sub(1);
        let outermost = entries.get(last).copied().unwrap_or(0);
        let found = scan_callers(outermost..outermost + 1);
        if !cfg!(CONFIG_STACK_SCAN) {
            assert_eq!(found, Err(ENOSYS));
        } else if found != Err(ENODATA) {
            assert_eq!(found, Ok(true));
        }

        let from = |frame| {
            with_stopped(current!(), |task| {
                scan(task, frame, 0..1, |_| ControlFlow::Break(()))
            })
        };
        assert_eq!(from(None), Ok(Err(EBUSY)));
        // It is not on the stack.
        assert!(matches!(from(Some(8)), Ok(Err(error)) if error != EBUSY));
    }

    #[test]
    fn current_task_has_a_stack() {
        let mut entries = [0; 64];
        let saved = with_stopped(current!(), |task| save(task, &mut entries));
        if have_reliable() {
            let len = saved.and_then(|saved| saved).unwrap_or(0);
            assert!(len > 2);
            assert!(entries.iter().take(len).all(|&addr| addr != 0));
        } else {
            assert_eq!(saved, Ok(Err(ENOSYS)));
        }
    }

    #[test]
    fn breaking_ends_the_walk() {
        let mut seen = 0;
        let value = with_stopped(current!(), |task| {
            walk_reliable(task, |_| {
                seen += 1;
                ControlFlow::Break(7)
            })
        });
        if have_reliable() {
            assert_eq!(value, Ok(Ok(Some(7))));
            assert_eq!(seen, 1);
        }
    }
}
