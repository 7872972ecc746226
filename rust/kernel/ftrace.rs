// SPDX-License-Identifier: GPL-2.0

//! Function hooks.
//!
//! The function tracer can call a [`Handler`] at the entry of each of a set of functions. An
//! [`Ops`] names the handler, the set of functions (as addresses), and what the handler may do;
//! [`Ops::register`] puts it into force. While it is registered the handler runs in whatever
//! context the hooked functions run in, on every CPU at once.
//!
//! Dropping an [`Ops`] unregisters it first, and waits until no CPU is inside of its handler, so
//! that a handler never outlives its data. [`Ops::unregister_nowait`] leaves the waiting to a work
//! item. If ftrace cannot let go of it, as it has disabled itself after a bug, the handler and its
//! data stay in memory for good.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     ftrace::{self, Flags, Handler, Ops, Regs},
//!     prelude::*,
//!     sync::atomic::{Atomic, Relaxed},
//! };
//!
//! /// Counts calls.
//! struct Counter(Atomic<u64>);
//!
//! impl Handler for Counter {
//!     #[inline(always)]
//!     fn call(&self, _ip: usize, _parent_ip: usize, _regs: &mut Regs) {
//!         self.0.add(1, Relaxed);
//!     }
//! }
//!
//! let mut ops = Ops::new(Counter(Atomic::new(0)), Flags::NONE, GFP_KERNEL)?;
//!
//! // An address that is not the entry of a function that can be hooked is refused.
//! assert_eq!(ops.add(&[1]), Err(EINVAL));
//!
//! // So is an `Ops` without functions: it would hook every function there is.
//! assert_eq!(ops.register(), Err(EINVAL));
//! assert_eq!(ops.functions(), 0);
//! assert_eq!(ops.handler().0.load(Relaxed), 0);
//! # Ok::<(), Error>(())
//! ```

use crate::{
    alloc::Flags as AllocFlags,
    bindings,
    container_of,
    error::{to_result, Result},
    preempt::PreemptDisabled,
    prelude::*,
    sync::rcu,
    types::Opaque,
    workqueue::{
        impl_has_work,
        new_work,
        system_dfl,
        Work,
        WorkItem, //
    }, //
};
use core::{mem::ManuallyDrop, ptr};

/// What a handler gets to see and to change of the hooked call.
///
/// Wraps C's `struct ftrace_regs`: arguments and instruction pointer at the entry of the hooked
/// function, of which the architecture may have saved no more than a handler may use.
#[repr(transparent)]
pub struct Regs(Opaque<bindings::ftrace_regs>);

impl Regs {
    /// Makes the hooked call continue at `ip` instead of in the hooked function.
    ///
    /// Has an effect only where the [`Ops`] has [`Flags::IPMODIFY`].
    ///
    /// # Safety
    ///
    /// `ip` must be the address of a function that has the type of the hooked one, and that stays
    /// in memory for as long as the redirected call runs.
    #[inline(always)]
    pub unsafe fn set_instruction_pointer(&mut self, ip: usize) {
        // SAFETY: `self` wraps the registers that ftrace passed to the running handler.
        unsafe { bindings::ftrace_regs_set_instruction_pointer(self.0.get(), ip) };
    }
}

/// The code that runs at the entry of hooked functions.
///
/// # Context
///
/// A handler runs wherever the hooked functions are called from: with any locks held, in
/// interrupts and NMIs, in the scheduler and on the way from and to user space, where RCU may not
/// be watching. Preemption is disabled while it runs, and a call that would make it recurse is
/// left out. So it
///
/// - must not sleep, allocate or take a lock that a hooked function may run under;
/// - must not panic: use no operation that has a panic path;
/// - should be `#[inline(always)]` and call nothing that the tracer itself can hook;
/// - may use RCU's read side only for data whose writers wait for every CPU to schedule (as
///   `synchronize_rcu_tasks_rude()` does), since that does not need RCU to be watching.
pub trait Handler: Send + Sync + 'static {
    /// Called at the entry of the function at `ip`, which is the address that
    /// [`location`] gives for it; `parent_ip` is the address in its caller.
    fn call(&self, ip: usize, parent_ip: usize, regs: &mut Regs);

    /// Called instead when a call is left out because it would make the handler recurse.
    #[inline(always)]
    fn recursed(&self) {}
}

/// A handler that cannot recurse, so that it needs no protection from that; see
/// [`Ops::new_nonrecursive`].
///
/// # Safety
///
/// [`Handler::call`] must call nothing that the tracer can hook, neither itself nor by way of what
/// it calls.
pub unsafe trait NonRecursive: Handler {}

/// What an [`Ops`] may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(c_ulong);

impl Flags {
    /// No more than being called.
    pub const NONE: Flags = Flags(0);

    /// The handler may change the instruction pointer.
    ///
    /// There can be one such `Ops` for a function, others are refused with `EBUSY`. Where the
    /// architecture cannot pass just the arguments of a call, it also has all registers saved.
    pub const IPMODIFY: Flags = Flags(
        bindings::FTRACE_OPS_FL_IPMODIFY as c_ulong
            | if cfg!(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS) {
                0
            } else {
                bindings::FTRACE_OPS_FL_SAVE_REGS as c_ulong
            },
    );

    /// Turning the tracer off by `sysctl kernel.ftrace_enabled=0` is refused while this `Ops` is
    /// registered.
    pub const PERMANENT: Flags = Flags(bindings::FTRACE_OPS_FL_PERMANENT as c_ulong);

    /// Returns the flags of both.
    pub const fn union(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// What ftrace gets to know of an [`Ops`].
///
/// While it is registered the callback uses it on any CPU, so that there is never an exclusive
/// reference to it.
///
/// # Invariants
///
/// `ops.func` is `Self::callback` or `Self::callback_nonrecursive`.
#[pin_data(PinnedDrop)]
struct Hook<H: Handler> {
    #[pin]
    ops: Opaque<bindings::ftrace_ops>,
    handler: H,
    /// Waits for the last callers, and frees this: see [`Ops::unregister_nowait`].
    #[pin]
    last: Work<Hook<H>>,
}

// SAFETY: The handler is `Send` by its trait; the `ftrace_ops` is not tied to a thread.
unsafe impl<H: Handler> Send for Hook<H> {}

impl_has_work! {
    impl{H: Handler} HasWork<Self> for Hook<H> { self.last }
}

impl<H: Handler> WorkItem for Hook<H> {
    type Pointer = Pin<KBox<Self>>;

    /// For a `Hook` that was unregistered without waiting, by [`Ops::unregister_nowait`].
    fn run(this: Pin<KBox<Self>>) {
        // SAFETY: It was unregistered without waiting, which is finished once.
        unsafe { bindings::ftrace_finish_unregister(this.ops.get()) };
    }
}

#[pinned_drop]
impl<H: Handler> PinnedDrop for Hook<H> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It is initialised, and ftrace does not know of it any more: no code drops a
        // `Hook` before.
        unsafe { bindings::ftrace_free_filter(self.ops.get()) };
    }
}

/// A handler together with the set of functions that it hooks.
///
/// What changes the set takes the `Ops` exclusively, so that there is one such call at a time.
///
/// Wraps C's `struct ftrace_ops`.
///
/// # Invariants
///
/// - If `registered`, or if `stuck`, ftrace may use the `Hook`.
/// - If not `registered`, there are no `jumps`.
pub struct Ops<H: Handler> {
    hook: ManuallyDrop<Pin<KBox<Hook<H>>>>,
    /// Whether the handler is called.
    registered: bool,
    /// Whether functions may be jumps: the handler need not be called for them.
    jumps: bool,
    /// Whether ftrace could not let go of the `Hook`, which must stay for good then.
    stuck: bool,
}

// SAFETY: What takes a shared reference only reads, and gives out the handler, which is `Sync` by
// its trait.
unsafe impl<H: Handler> Sync for Ops<H> {}

impl<H: Handler> Ops<H> {
    /// Creates an `Ops` that is not registered and has no functions.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(handler: H, flags: Flags, gfp: AllocFlags) -> Result<Self> {
        Self::with_callback(handler, flags, Hook::<H>::callback, gfp)
    }

    /// Creates an `Ops` whose handler is called without a test whether it runs already, which
    /// makes calls of hooked functions cheaper. [`Handler::recursed`] is never called.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new_nonrecursive(handler: H, flags: Flags, gfp: AllocFlags) -> Result<Self>
    where
        H: NonRecursive,
    {
        Self::with_callback(handler, flags, Hook::<H>::callback_nonrecursive, gfp)
    }

    fn with_callback(
        handler: H,
        flags: Flags,
        callback: unsafe extern "C" fn(
            c_ulong,
            c_ulong,
            *mut bindings::ftrace_ops,
            *mut bindings::ftrace_regs,
        ),
        gfp: AllocFlags,
    ) -> Result<Self> {
        // INVARIANT: The callers pass one of the two callbacks of `Hook<H>`.
        let hook = pin_init!(Hook {
            ops <- Opaque::ffi_init(move |slot: *mut bindings::ftrace_ops| {
                // SAFETY: `slot` is valid for writes; all bytes zero is how C initialises an
                // `ftrace_ops` before the fields that follow.
                unsafe { slot.write_bytes(0, 1) };
                // SAFETY: As above.
                unsafe { (*slot).func = Some(callback) };
                // `DYNAMIC`: unregistering waits until the memory of this `Hook` is unused.
                //
                // SAFETY: As above.
                unsafe { (*slot).flags = flags.0 | bindings::FTRACE_OPS_FL_DYNAMIC as c_ulong };
            }),
            handler,
            last <- new_work!("ftrace::Hook::last"),
        });
        // INVARIANT: ftrace does not know of it.
        Ok(Self {
            hook: ManuallyDrop::new(KBox::pin_init(hook, gfp)?),
            registered: false,
            jumps: false,
            stuck: false,
        })
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        &self.hook.handler
    }

    /// Returns whether the handler is called at present.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// The pointer that C takes. It is valid, and initialised, for as long as `self` is.
    fn as_ptr(&self) -> *mut bindings::ftrace_ops {
        self.hook.ops.get()
    }

    /// Adds functions, given by addresses for which [`location`] is not `None`, to the set.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `ips` is empty, or one of them is not the entry of a function that can be
    ///   hooked.
    /// - `EBUSY`: registered already.
    /// - `ENOMEM`, `ENODEV`: no memory; ftrace has disabled itself after a bug.
    ///
    /// After an error the set is what it was.
    pub fn add(&mut self, ips: &[usize]) -> Result {
        if self.registered {
            return Err(EBUSY);
        }
        self.set_filter(ips, false)
    }

    /// Removes functions from the set.
    ///
    /// May be called while registered, but not for all functions of the set then; jumps are cleared
    /// then. A CPU may be in the handler for a removed function still when this returns. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `ips` is empty; or nothing would be left in the set of a registered `Ops`, which
    ///   ftrace would take for all functions there are.
    /// - `ENOENT`: one of them is not in the set.
    /// - `ENOMEM`, `ENODEV`: as for [`Self::add`].
    ///
    /// After an error the set is what it was.
    pub fn remove(&mut self, ips: &[usize]) -> Result {
        if self.registered && self.functions() <= ips.len() {
            return Err(EINVAL);
        }
        self.set_filter(ips, true)
    }

    /// Returns the number of functions in the set.
    pub fn functions(&self) -> usize {
        // Keeps the table of functions from being freed.
        let _rcu = rcu::read_lock();
        let ops = self.as_ptr();
        // SAFETY: `ops` is initialised; `func_hash` is null before the first change of the set, and
        // then points to `ops.local_hash` for good.
        let Some(hash) = (unsafe { (*ops).func_hash.as_ref() }) else {
            return 0;
        };
        // SAFETY: The pointer is read once; RCU's read side is held.
        unsafe { bindings::ftrace_hash_count(ptr::read_volatile(&raw const hash.filter_hash)) }
    }

    fn set_filter(&mut self, ips: &[usize], remove: bool) -> Result {
        let count = c_uint::try_from(ips.len()).map_err(|_| EINVAL)?;
        if count == 0 {
            return Err(EINVAL);
        }
        self.clear_jumps()?;
        // SAFETY: `self.as_ptr()` is an initialised `ftrace_ops`, and `ips` has `count` elements,
        // which the C side only reads.
        to_result(unsafe {
            bindings::ftrace_set_filter_ips(
                self.as_ptr(),
                ips.as_ptr().cast_mut(),
                count,
                c_int::from(remove),
                0,
            )
        })
    }

    /// Begins to call the handler at the entry of each function of the set.
    ///
    /// May sleep. Takes as long as it takes to patch the text of the kernel once, however many
    /// functions there are.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the set is empty.
    /// - `EBUSY`: registered already; or with [`Flags::IPMODIFY`], a function of the set has such
    ///   an `Ops` already.
    /// - `ENOMEM`, `ENODEV`: as for [`Self::add`].
    pub fn register(&mut self) -> Result {
        if self.functions() == 0 {
            return Err(EINVAL);
        }
        if self.registered {
            return Err(EBUSY);
        }

        // SAFETY: It is initialised, has a filter, and stays in place until `drop`, which
        // unregisters it.
        let registered = to_result(unsafe { bindings::register_ftrace_function(self.as_ptr()) });
        // INVARIANT: ftrace forgets what it refuses, but for what it was about to enable when it
        // has disabled itself: the text may have been patched already.
        self.registered = registered.is_ok();
        self.stuck |= registered == Err(ENODEV);
        registered
    }

    /// Lets functions of the set jump to an address each, without a call of the handler.
    ///
    /// A function is a jump for as long as it has no other user of ftrace. While it has, the
    /// handler is called, and has to send calls to the same address. So to others this `Ops` looks
    /// as it does without jumps. `ips` and `addrs` are the functions and where each of them jumps
    /// to; functions that are left out have the handler called.
    ///
    /// Wraps C's `ftrace_set_jumps()`. May sleep. Takes as long as it takes to patch the text of
    /// the kernel once.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: not registered, not with [`Flags::IPMODIFY`], not as many addresses as
    ///   functions, or an address for which [`can_jump_to`] is not true.
    /// - `EBUSY`: there are jumps already.
    /// - `ENOENT`: one of the functions is not in the set.
    /// - `ENODEV`: ftrace has disabled itself after a bug. Functions may be jumps then.
    ///
    /// # Safety
    ///
    /// Each address must be that of a function that has the type of the hooked one, and that stays
    /// in memory for as long as calls that have come there run.
    #[cfg(CONFIG_FTRACE_OPS_JUMP)]
    pub unsafe fn set_jumps(&mut self, ips: &[usize], addrs: &[usize]) -> Result {
        let count = c_uint::try_from(ips.len()).map_err(|_| EINVAL)?;
        if addrs.len() != ips.len() || !self.registered {
            return Err(EINVAL);
        }
        // SAFETY: It is registered; both slices have `count` elements, which C only reads; the
        // caller promises that calls may go to the addresses.
        let set = to_result(unsafe {
            bindings::ftrace_set_jumps(self.as_ptr(), ips.as_ptr(), addrs.as_ptr(), count)
        });
        self.jumps |= set.is_ok() || set == Err(ENODEV);
        set
    }

    /// Lets the handler be called again for all functions of the set.
    ///
    /// No jump begins any more when this has returned, but tasks may be in the functions that they
    /// have led to, or on the way there. Does nothing if there are none. May sleep.
    ///
    /// Wraps C's `ftrace_clear_jumps()`.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: ftrace has disabled itself after a bug. Functions may still be jumps.
    pub fn clear_jumps(&mut self) -> Result {
        if !self.jumps {
            return Ok(());
        }
        #[cfg(CONFIG_FTRACE_OPS_JUMP)]
        // SAFETY: It is registered, as there are jumps.
        to_result(unsafe { bindings::ftrace_clear_jumps(self.as_ptr()) })?;
        self.jumps = false;
        Ok(())
    }

    /// Returns whether functions of the set may be jumps at present.
    pub fn has_jumps(&self) -> bool {
        self.jumps
    }
}

impl<H: Handler> Ops<H> {
    /// Drops it without waiting.
    ///
    /// No call of a hooked function begins to call the handler when this returns, but tasks may
    /// still be in there, or in ftrace's trampoline. The handler is dropped when none is, by a work
    /// item. Where the handler is part of a module, which could be gone by then, this waits as
    /// `drop` does.
    ///
    /// May sleep.
    pub fn unregister_nowait(mut self) {
        // SAFETY: Takes any number.
        let stays =
            unsafe { bindings::core_kernel_text(Hook::<H>::run as *const () as usize) } != 0;
        if !self.registered || !stays {
            return;
        }
        // SAFETY: It is registered. The work item finishes this.
        let ret = unsafe { bindings::unregister_ftrace_function_nowait(self.as_ptr()) };
        if ret != 0 {
            // INVARIANT: ftrace may use the `Hook` for good.
            self.registered = false;
            self.stuck = true;
            return;
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used any more, nor dropped.
        let hook = unsafe { ManuallyDrop::take(&mut this.hook) };
        system_dfl().enqueue(hook);
    }
}

impl<H: Handler> Drop for Ops<H> {
    fn drop(&mut self) {
        if self.registered {
            // SAFETY: It is registered. This waits until no CPU uses it any more (`DYNAMIC`).
            let ret = unsafe { bindings::unregister_ftrace_function(self.as_ptr()) };
            self.stuck |= ret != 0;
        }
        if self.stuck {
            pr_warn!("ftrace cannot let go of a handler, which stays in memory\n");
            return;
        }
        // SAFETY: By the invariants ftrace does not use it, and no other code does after `drop`.
        unsafe { ManuallyDrop::drop(&mut self.hook) };
    }
}

impl<H: Handler> Hook<H> {
    /// What ftrace calls.
    ///
    /// # Safety
    ///
    /// `ops` must be the field `ops` of a `Hook<H>`, and `fregs` valid for the call.
    unsafe extern "C" fn callback(
        ip: c_ulong,
        parent_ip: c_ulong,
        ops: *mut bindings::ftrace_ops,
        fregs: *mut bindings::ftrace_regs,
    ) {
        // SAFETY: By the requirement of this function `ops` lies in a `Hook<H>`. It lives until it
        // is unregistered, and unregistering waits until no task is in its trampoline or in here.
        let this = unsafe { &*container_of!(Opaque::cast_from(ops), Self, ops) };

        // This disables preemption, which is what keeps RCU-protected data of handlers alive.
        //
        // SAFETY: May be called in any context in which ftrace calls handlers.
        let bit = unsafe { bindings::ftrace_test_recursion_trylock(ip, parent_ip) };
        if bit < 0 {
            this.handler.recursed();
            return;
        }

        // SAFETY: `fregs` is valid and ours for this call; `Regs` is a transparent wrapper.
        let regs = unsafe { &mut *fregs.cast::<Regs>() };
        this.handler.call(ip, parent_ip, regs);

        // SAFETY: `bit` is what the matching trylock returned.
        unsafe { bindings::ftrace_test_recursion_unlock(bit) };
    }

    /// What ftrace calls if the handler is a [`NonRecursive`].
    ///
    /// # Safety
    ///
    /// As for [`Self::callback`].
    unsafe extern "C" fn callback_nonrecursive(
        ip: c_ulong,
        parent_ip: c_ulong,
        ops: *mut bindings::ftrace_ops,
        fregs: *mut bindings::ftrace_regs,
    ) {
        // SAFETY: As in `callback`.
        let this = unsafe { &*container_of!(Opaque::cast_from(ops), Self, ops) };

        // Where this ends the scheduler may run, and hooked functions in it: that is no recursion
        // of the handler, which is done.
        let _preempt = PreemptDisabled::new();

        // SAFETY: `fregs` is valid and ours for this call; `Regs` is a transparent wrapper.
        let regs = unsafe { &mut *fregs.cast::<Regs>() };
        this.handler.call(ip, parent_ip, regs);
    }
}

/// Returns where ftrace hooks the function at `addr`, if it can.
///
/// `addr` may be the address of the function's symbol or of the hook itself. May be called in any
/// context.
pub fn location(addr: usize) -> Option<usize> {
    // SAFETY: Takes any number.
    match unsafe { bindings::ftrace_location(addr) } {
        0 => None,
        ip => Some(ip),
    }
}

/// Returns whether [`Ops::set_jumps`] takes `addr` as a destination.
///
/// ftrace marks destinations of jumps by low bits of their addresses. Compilers align few functions
/// less than that: GCC those that are cold, rustc all when it optimises for size.
pub fn can_jump_to(addr: usize) -> bool {
    let marks = if cfg!(CONFIG_HAVE_FTRACE_JUMP_BY_OPS) {
        3
    } else if cfg!(CONFIG_DYNAMIC_FTRACE_WITH_JMP) {
        1
    } else {
        0
    };
    addr & marks == 0
}

/// Returns the return address of the call of ftrace from the function that it hooks at `ip`, which
/// is what [`location`] returns.
///
/// A reliable stack trace has this address from the moment when a task calls ftrace until ftrace's
/// trampoline has put in its place where the call goes on, if that is elsewhere.
pub fn return_address(ip: usize) -> usize {
    // SAFETY: Takes any number.
    unsafe { bindings::ftrace_return_address(ip) }
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ftrace)]
mod tests {
    use super::*;

    /// Sends calls elsewhere.
    struct To(usize);

    impl Handler for To {
        #[inline(always)]
        fn call(&self, _ip: usize, _parent_ip: usize, regs: &mut Regs) {
            // SAFETY: The tests send calls of `from` to `to` only.
            unsafe { regs.set_instruction_pointer(self.0) };
        }
    }

    // Two functions of one type, of which nobody calls the first while the tests run.

    fn from() -> usize {
        bindings::jiffies64_to_nsecs as *const () as usize
    }

    fn to() -> usize {
        bindings::jiffies64_to_msecs as *const () as usize
    }

    /// Returns where a call of `from` goes.
    fn goes_to() -> usize {
        // SAFETY: Takes any number.
        let (sent, msecs) = unsafe {
            (
                bindings::jiffies64_to_nsecs(100),
                bindings::jiffies64_to_msecs(100),
            )
        };
        if sent == msecs {
            to()
        } else {
            from()
        }
    }

    /// Returns an `Ops` that sends `from` to `to`, not registered, and where it hooks `from`.
    fn redirect() -> Result<(Ops<To>, usize)> {
        let ip = location(from()).ok_or(ENOENT)?;
        let mut ops = Ops::new(To(to()), Flags::IPMODIFY, GFP_KERNEL)?;
        ops.add(&[ip])?;
        Ok((ops, ip))
    }

    #[test]
    fn calls_are_sent_elsewhere_while_registered() -> Result {
        let (mut ops, _) = redirect()?;
        assert_eq!(goes_to(), from());
        ops.register()?;
        assert!(ops.is_registered());
        assert_eq!(goes_to(), to());
        drop(ops);
        assert_eq!(goes_to(), from());
        Ok(())
    }

    #[test]
    fn without_waiting_calls_end_as_well() -> Result {
        for _ in 0..2 {
            let (mut ops, _) = redirect()?;
            ops.register()?;
            assert_eq!(goes_to(), to());
            ops.unregister_nowait();
            assert_eq!(goes_to(), from());
        }
        // One that was never registered.
        let (ops, _) = redirect()?;
        ops.unregister_nowait();
        assert_eq!(goes_to(), from());
        Ok(())
    }

    #[test]
    fn a_set_that_is_in_use_does_not_grow_or_get_empty() -> Result {
        let (mut ops, ip) = redirect()?;
        let other = location(to()).ok_or(ENOENT)?;
        ops.register()?;
        assert_eq!(ops.register(), Err(EBUSY));
        assert_eq!(ops.add(&[other]), Err(EBUSY));
        // It would hook all functions there are.
        assert_eq!(ops.remove(&[ip]), Err(EINVAL));
        assert_eq!(ops.remove(&[]), Err(EINVAL));
        assert_eq!(ops.functions(), 1);
        assert_eq!(goes_to(), to());
        Ok(())
    }

    #[test]
    fn what_is_refused_changes_nothing() -> Result {
        let (mut ops, ip) = redirect()?;
        let other = location(to()).ok_or(ENOENT)?;
        assert_eq!(ops.add(&[other, 1]), Err(EINVAL));
        assert_eq!(ops.add(&[]), Err(EINVAL));
        assert_eq!(ops.functions(), 1);
        assert_eq!(ops.remove(&[other]), Err(ENOENT));
        assert_eq!(ops.functions(), 1);
        ops.remove(&[ip])?;
        assert_eq!(ops.register(), Err(EINVAL));
        assert!(!ops.is_registered());
        Ok(())
    }

    #[test]
    fn one_may_send_calls_elsewhere() -> Result {
        let (mut ops, _) = redirect()?;
        let (mut second, _) = redirect()?;
        ops.register()?;
        assert_eq!(second.register(), Err(EBUSY));
        assert!(!second.is_registered());
        drop(second);
        assert_eq!(goes_to(), to());
        drop(ops);
        assert_eq!(goes_to(), from());
        Ok(())
    }

    #[cfg(CONFIG_FTRACE_OPS_JUMP)]
    #[test]
    fn jumps_are_refused_where_they_cannot_be() -> Result {
        /// Asks for jumps that must be refused.
        fn set<H: Handler>(ops: &mut Ops<H>, ips: &[usize], addrs: &[usize]) -> Result {
            // SAFETY: Calls can be sent from `from` to `to`. Nothing else is asked for that is not
            // refused.
            unsafe { ops.set_jumps(ips, addrs) }
        }

        let (mut ops, ip) = redirect()?;
        let other = location(to()).ok_or(ENOENT)?;
        assert_eq!(set(&mut ops, &[ip], &[to()]), Err(EINVAL));
        ops.register()?;
        assert_eq!(set(&mut ops, &[ip], &[]), Err(EINVAL));
        assert_eq!(set(&mut ops, &[ip], &[0]), Err(EINVAL));
        for mark in 1..4 {
            if !can_jump_to(to() | mark) {
                assert_eq!(set(&mut ops, &[ip], &[to() | mark]), Err(EINVAL));
            }
        }
        assert_eq!(set(&mut ops, &[ip, other], &[to(), to()]), Err(ENOENT));
        assert!(!ops.has_jumps());
        assert_eq!(goes_to(), to());
        drop(ops);

        // One that only listens.
        let mut ops = Ops::new(To(0), Flags::NONE, GFP_KERNEL)?;
        ops.add(&[other])?;
        assert_eq!(set(&mut ops, &[other], &[from()]), Err(EINVAL));
        Ok(())
    }

    #[cfg(CONFIG_FTRACE_OPS_JUMP)]
    #[test]
    fn jumps_are_set_once_and_cleared() -> Result {
        let (mut ops, ip) = redirect()?;
        ops.register()?;
        // Clearing is fine without any.
        ops.clear_jumps()?;
        // SAFETY: Both functions have one type, and stay.
        unsafe { ops.set_jumps(&[ip], &[to()]) }?;
        assert!(ops.has_jumps());
        assert_eq!(goes_to(), to());
        // SAFETY: As above.
        assert_eq!(unsafe { ops.set_jumps(&[ip], &[to()]) }, Err(EBUSY));
        assert!(ops.has_jumps());
        ops.clear_jumps()?;
        assert!(!ops.has_jumps());
        assert_eq!(goes_to(), to());
        // SAFETY: As above.
        unsafe { ops.set_jumps(&[ip], &[to()]) }?;
        drop(ops);
        assert_eq!(goes_to(), from());
        Ok(())
    }
}
