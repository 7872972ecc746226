// SPDX-License-Identifier: GPL-2.0

//! Stacks of tasks.
//!
//! A *reliable* stack trace is one that is known to be complete: each function that the task will
//! return to is in it, and in the right order. Where the unwinder cannot promise that (an
//! interrupted frame, code without unwind information, a corrupt stack, a function graph return
//! that it cannot resolve) the trace is refused rather than guessed. So whoever
//! acts on the absence of a function from a reliable trace, as livepatch does, acts on a fact.
//!
//! Such an absence can often be had for less: [`scan_held`] looks at the words of a stack without
//! asking what they are for. Where none of them is an address in a function, the task is not in it.
//! Where one is, it may be left over from an earlier call, and only a trace can tell.
//!
//! C headers: [`include/linux/stacktrace.h`](srctree/include/linux/stacktrace.h),
//! [`include/linux/stack_scan.h`](srctree/include/linux/stack_scan.h)
//!
//! # Examples
//!
//! ```
//! use core::ops::ControlFlow;
//! use kernel::{current, stacktrace, tasklist};
//!
//! // How deep is the stack?
//! let mut depth = 0;
//! let walked = tasklist::hold(current!(), |held| {
//!     stacktrace::walk_held(held, |_addr| {
//!         depth += 1;
//!         ControlFlow::<()>::Continue(())
//!     })
//! });
//! match walked {
//!     Some(Ok(_)) => assert!(depth > 1),
//!     // Not on this architecture, or not this time.
//!     _ => assert!(true),
//! }
//! ```

use crate::{
    error::{code::*, Result},
    task::Task,
    tasklist::Held,
};
use core::ops::{
    ControlFlow,
    Range, //
};

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
///
/// # Safety
///
/// `task` must be the current task, or be kept from running for as long as this takes (as
/// `task_call_func()` does for a task that is not on a CPU).
#[inline]
pub unsafe fn walk_reliable<B, F: FnMut(usize) -> ControlFlow<B>>(
    task: &Task,
    mut f: F,
) -> Result<Option<B>> {
    #[cfg(all(
        CONFIG_STACKTRACE,
        CONFIG_HAVE_RELIABLE_STACKTRACE,
        CONFIG_ARCH_STACKWALK
    ))]
    {
        use crate::{
            bindings,
            error::to_result,
            ffi::{c_ulong, c_void}, //
        };

        struct Cookie<'a, B, F> {
            f: &'a mut F,
            value: Option<B>,
        }

        /// # Safety
        ///
        /// `cookie` must point to a `Cookie<'_, B, F>` that nobody else uses.
        unsafe extern "C" fn consume<B, F: FnMut(usize) -> ControlFlow<B>>(
            cookie: *mut c_void,
            addr: c_ulong,
        ) -> bool {
            // SAFETY: By the requirement of this function.
            let cookie = unsafe { &mut *cookie.cast::<Cookie<'_, B, F>>() };
            match (cookie.f)(addr) {
                ControlFlow::Continue(()) => true,
                ControlFlow::Break(value) => {
                    cookie.value = Some(value);
                    false
                }
            }
        }

        let mut cookie = Cookie {
            f: &mut f,
            value: None,
        };

        let ret = with_stack(task, || {
            // SAFETY: `consume` gets a pointer to `cookie`, which outlives the call. The stack is
            // pinned, and the caller promises that `task` is current or does not run.
            unsafe {
                bindings::arch_stack_walk_reliable(
                    Some(consume::<B, F>),
                    (&raw mut cookie).cast(),
                    task.as_ptr(),
                )
            }
        });
        let Some(ret) = ret else {
            return Ok(None);
        };

        // The unwinder reports a walk that the callback ended as an error too.
        if let Some(value) = cookie.value {
            return Ok(Some(value));
        }
        to_result(ret)?;
        Ok(None)
    }

    #[cfg(not(all(
        CONFIG_STACKTRACE,
        CONFIG_HAVE_RELIABLE_STACKTRACE,
        CONFIG_ARCH_STACKWALK
    )))]
    {
        let _ = (task, &mut f);
        Err(ENOSYS)
    }
}

/// Calls `f` while the stack of `task` cannot be freed, and returns what it returns; `None` if the
/// stack is gone, as that of a zombie is.
///
/// Does not sleep.
// Without any way to read stacks nobody calls it.
#[allow(dead_code)]
#[inline]
fn with_stack<T>(task: &Task, f: impl FnOnce() -> T) -> Option<T> {
    use crate::bindings;

    // SAFETY: `task` is a valid task.
    if !unsafe { bindings::try_get_task_stack(task.as_ptr()) } {
        return None;
    }
    let value = f();
    // SAFETY: Pairs with `try_get_task_stack` above.
    unsafe { bindings::put_task_stack(task.as_ptr()) };
    Some(value)
}

/// Walks the stack of a task that is held reliably, as [`walk_reliable`] does.
///
/// # Errors
///
/// As for [`walk_reliable`], and `EBUSY`: the task runs on another CPU.
#[inline]
pub fn walk_held<B, F: FnMut(usize) -> ControlFlow<B>>(task: &Held<'_>, f: F) -> Result<Option<B>> {
    if task.runs_elsewhere() {
        return Err(EBUSY);
    }
    // SAFETY: The task is the current one or does not run, and stays so while it is held.
    unsafe { walk_reliable(task, f) }
}

/// Looks for addresses on the stack of a task that is held, whatever they are there for.
///
/// Calls `f` with each word of the stack that lies in `within`, in the order of their places, until
/// it breaks, and returns its value then, or `None` when there are no more. After `None` the task
/// is in no code in `within` that `f` was not called for, does not return to any, and is not about
/// to go to any but by calling a function, or by a jump in code that is outside of `within`: from a
/// part of a function that the compiler has put elsewhere, say, which is to be looked for as the
/// function is. A task that has no stack any more (a zombie) is nowhere.
///
/// For the current task, `frame` is where on the stack the scan begins: at that of a function whose
/// callers are of interest. What is below has the addresses that are looked for in it, and is not
/// looked at. For other tasks it has no meaning.
///
/// Does not sleep. RCU must be watching.
///
/// # Errors
///
/// - `EBUSY`: the task runs on another CPU, or is the current one and `frame` is `None`.
/// - `ENODATA`: return addresses of the task are kept elsewhere, by a tracer.
/// - `EINVAL`: the task may be in code that was generated, and goes to wherever that says; `f` may
///   have seen a part of the stack. Or its stack pointer, or `frame`, is not on its stack.
/// - `ENOSYS`: the architecture has no such scans.
#[inline]
pub fn scan_held<B, F: FnMut(usize) -> ControlFlow<B>>(
    task: &Held<'_>,
    frame: Option<usize>,
    within: Range<usize>,
    f: F,
) -> Result<Option<B>> {
    if task.runs_elsewhere() || (task.is_current() && frame.is_none()) {
        return Err(EBUSY);
    }

    #[cfg(CONFIG_STACK_SCAN)]
    {
        let frame = frame.unwrap_or(0);
        // SAFETY: The task is the current one or does not run, and stays so while it is held. The
        // stack is pinned. Preemption is disabled while a task is held.
        with_stack(task, || unsafe { scan_pinned(task, frame, within, f) }).unwrap_or(Ok(None))
    }

    #[cfg(not(CONFIG_STACK_SCAN))]
    {
        let _ = (within, f);
        Err(ENOSYS)
    }
}

/// [`scan_held`] of a stack that is there.
///
/// # Safety
///
/// The task must be current or not run, and its stack stay, for as long as this takes. Preemption
/// must be disabled.
#[cfg(CONFIG_STACK_SCAN)]
#[inline]
unsafe fn scan_pinned<B, F: FnMut(usize) -> ControlFlow<B>>(
    task: &Task,
    frame: usize,
    within: Range<usize>,
    mut f: F,
) -> Result<Option<B>> {
    use crate::{
        bindings,
        error::to_result, //
    };

    let mut scan = bindings::stack_scan {
        low: within.start,
        size: within.end.saturating_sub(within.start),
        ..Default::default()
    };
    // SAFETY: By the requirements of this function.
    to_result(unsafe { bindings::stack_scan_start(&raw mut scan, task.as_ptr(), frame) })?;
    loop {
        let mut addr = 0;
        // SAFETY: By the requirements of this function; the scan was started.
        match unsafe { bindings::stack_scan_next(&raw mut scan, &raw mut addr) } {
            0 => return Ok(None),
            ret => to_result(ret)?,
        }
        if let ControlFlow::Break(value) = f(addr) {
            return Ok(Some(value));
        }
    }
}

/// Saves the reliable stack trace of a task, innermost frame first, and returns its length.
///
/// # Errors
///
/// As for [`walk_reliable`], and `E2BIG` where `entries` is too short.
///
/// # Safety
///
/// As for [`walk_reliable`].
pub unsafe fn save_reliable(task: &Task, entries: &mut [usize]) -> Result<usize> {
    let mut len = 0;
    // SAFETY: By the requirement of this function.
    let full = unsafe {
        walk_reliable(task, |addr| match entries.get_mut(len) {
            Some(entry) => {
                *entry = addr;
                len += 1;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        })
    }?;
    if full.is_some() {
        Err(E2BIG)
    } else {
        Ok(len)
    }
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_stacktrace)]
mod tests {
    use super::*;
    use crate::{
        current,
        tasklist, //
    };

    /// How often something was seen.
    #[derive(Default)]
    struct Seen {
        traced: usize,
        missed: Option<usize>,
        clear: usize,
    }

    #[test]
    fn scans_find_what_traces_find() {
        let mut entries = [0; 64];
        let seen: Seen = tasklist::walk_threads(|seen: &mut Seen, task| {
            tasklist::hold(task, |held| {
                if held.is_current() || held.runs_elsewhere() {
                    return;
                }
                // SAFETY: The task does not run, and stays so.
                let len = unsafe { save_reliable(held, &mut entries) }.unwrap_or(0);
                for &addr in entries.iter().take(len) {
                    let found = scan_held(held, None, addr..addr + 1, ControlFlow::Break);
                    seen.traced += usize::from(found == Ok(Some(addr)));
                    if found == Ok(None) {
                        seen.missed = Some(addr);
                    }
                }
                // A place where no task can be.
                let nowhere = crate::bindings::klp_enable_patch as *const () as usize;
                let found = scan_held(held, None, nowhere..nowhere + 1, ControlFlow::Break);
                seen.clear += usize::from(found == Ok(None));
            });
        });
        if cfg!(CONFIG_STACK_SCAN) && have_reliable() {
            assert!(seen.traced > 0);
            assert!(seen.clear > 0);
        }
        if let Some(addr) = seen.missed {
            crate::pr_err!("{:#x} is on the stack of a thread, and not found\n", addr);
        }
        assert_eq!(seen.missed, None);
    }

    /// Scans the stack of the current task from above this function on.
    #[inline(never)]
    fn scan_callers(within: Range<usize>) -> Result<bool> {
        let place = 0;
        let frame = (&raw const place).addr();
        let found = tasklist::hold(current!(), |held| {
            // What the frames from here on have in them belongs to the task as its callers do.
            scan_held(held, Some(frame & !7), within, |_| ControlFlow::Break(()))
        });
        found.ok_or(EAGAIN)?.map(|found| found.is_some())
    }

    #[test]
    fn scans_of_the_current_task_begin_at_a_frame() {
        let mut entries = [0; 64];
        let task = current!();
        // SAFETY: It is the current task.
        let len = unsafe { save_reliable(task, &mut entries) }.unwrap_or(0);
        // The thread that runs this was started by a function that is there for all of them.
        let outermost = entries.get(len.wrapping_sub(1)).copied().unwrap_or(0);
        let found = scan_callers(outermost..outermost + 1);
        if !cfg!(CONFIG_STACK_SCAN) {
            assert_eq!(found, Err(ENOSYS));
        } else if found != Err(ENODATA) {
            assert_eq!(found, Ok(true));
        }
        let unknown = tasklist::hold(current!(), |held| {
            scan_held(held, None, 0..1, |_| ControlFlow::Break(()))
        });
        assert_eq!(unknown, Some(Err(EBUSY)));
        let elsewhere = tasklist::hold(current!(), |held| {
            scan_held(held, Some(8), 0..1, |_| ControlFlow::Break(()))
        });
        assert!(matches!(elsewhere, Some(Err(error)) if error != EBUSY));
    }

    #[test]
    fn current_task_has_a_stack() {
        let mut entries = [0; 64];
        let task = current!();
        // SAFETY: It is the current task.
        let saved = unsafe { save_reliable(task, &mut entries) };
        if have_reliable() {
            let len = saved.unwrap_or(0);
            assert!(len > 2);
            assert!(entries.iter().take(len).all(|&addr| addr != 0));
        } else {
            assert_eq!(saved, Err(ENOSYS));
        }
    }

    #[test]
    fn breaking_ends_the_walk() {
        let mut seen = 0;
        let task = current!();
        // SAFETY: It is the current task.
        let value = unsafe {
            walk_reliable(task, |_| {
                seen += 1;
                ControlFlow::Break(7)
            })
        };
        if have_reliable() {
            assert_eq!(value, Ok(Some(7)));
            assert_eq!(seen, 1);
        }
    }

    #[test]
    fn short_buffer_is_refused() {
        let task = current!();
        // SAFETY: It is the current task.
        let saved = unsafe { save_reliable(task, &mut [0; 1]) };
        if have_reliable() {
            assert_eq!(saved, Err(E2BIG));
        }
    }
}
