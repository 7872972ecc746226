// SPDX-License-Identifier: GPL-2.0

//! The states of tasks and of a transition, and when to try again.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// Which functions a task uses. The numbers are those of `task_struct::patch_state`, which
/// `/proc/<pid>/patch_state` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum PatchState {
    /// No transition is going on: all tasks use the same functions.
    Idle = -1,
    /// Those without the patch in transition.
    Unpatched = 0,
    /// Those with it.
    Patched = 1,
}

impl PatchState {
    /// The number that C knows.
    pub(crate) const fn raw(self) -> i32 {
        self as i32
    }
}

/// Where a transition takes the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Tasks come to use the patch.
    Patched,
    /// Tasks cease to use the patch.
    Unpatched,
}

impl Target {
    /// The state of a task that has arrived.
    pub(crate) const fn state(self) -> PatchState {
        match self {
            Target::Patched => PatchState::Patched,
            Target::Unpatched => PatchState::Unpatched,
        }
    }

    /// The other direction; its state is the one that tasks start from.
    pub(crate) const fn opposite(self) -> Target {
        match self {
            Target::Patched => Target::Unpatched,
            Target::Unpatched => Target::Patched,
        }
    }

    /// Whether tasks leave a patch for good, so that it is given back in the end: the one in
    /// transition (`is_moving`), or one that this replaces (`is_replacing`).
    pub(crate) const fn leaves(self, is_moving: bool, is_replacing: bool) -> bool {
        match self {
            Target::Unpatched => is_moving,
            Target::Patched => is_replacing && !is_moving,
        }
    }

    /// What tasks leave of a function of the patch in transition: its replacement, or what is below
    /// that on the function stack.
    pub(crate) fn left<T>(self, replacement: impl FnOnce() -> T, below: impl FnOnce() -> T) -> T {
        match self {
            Target::Unpatched => replacement(),
            Target::Patched => below(),
        }
    }

    /// What the log calls it.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Target::Patched => "patching",
            Target::Unpatched => "unpatching",
        }
    }
}

/// What to do at a retry, besides looking at the tasks that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Ask the tasks that are left to pass the kernel's exit, by a signal that is none.
    pub(crate) signal: bool,
    /// It is the first time that they are asked: say so in the log.
    pub(crate) announce: bool,
    /// When to try next, in ticks.
    pub(crate) delay: usize,
}

/// When to look again at the tasks that are left.
///
/// Most tasks can be switched within milliseconds, as soon as they sleep somewhere else, are
/// preempted or return to user space; what is left then tends to stay for long. So the first looks
/// follow one another tick by tick, and then the time between two doubles, up to a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Ticks in a second.
    second: usize,
    /// Ticks until the next look.
    delay: usize,
    /// How many looks there were.
    looks: usize,
    /// When to ask the tasks that are left to pass the kernel's exit, in milliseconds since the
    /// transition started.
    signal_at: usize,
    /// Whether they were asked.
    signaled: bool,
}

impl Backoff {
    /// How many looks follow one another tick by tick.
    const SOON: usize = 8;

    /// After how many milliseconds, and how often from then on, tasks are asked.
    const SIGNAL_MILLIS: usize = 15_000;

    /// The wait before the first retry is a tick.
    pub(crate) const fn new(ticks_per_second: usize) -> Self {
        Self {
            second: ticks_per_second,
            delay: 1,
            looks: 0,
            signal_at: Self::SIGNAL_MILLIS,
            signaled: false,
        }
    }

    /// A look, so many milliseconds after the transition has started, has left tasks over: says
    /// what to do.
    pub(crate) fn next(&mut self, millis: usize) -> Retry {
        let signal = millis >= self.signal_at;
        let retry = Retry {
            signal,
            announce: signal && !self.signaled,
            delay: self.delay,
        };
        if signal {
            self.signaled = true;
            self.signal_at = millis.saturating_add(Self::SIGNAL_MILLIS);
        }
        self.looks = self.looks.saturating_add(1);
        if self.looks >= Self::SOON {
            self.delay = (self.delay * 2).min(self.second);
        }
        retry
    }
}

// The host and KUnit run the same cases.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_phase)
)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_abi() {
        assert_eq!(PatchState::Idle.raw(), -1);
        assert_eq!(PatchState::Unpatched.raw(), 0);
        assert_eq!(PatchState::Patched.raw(), 1);
    }

    #[test]
    fn reversal_swaps_start_and_end() {
        for target in [Target::Patched, Target::Unpatched] {
            assert_eq!(target.opposite().opposite(), target);
            assert!(target.opposite().state() != target.state());
        }
    }

    #[test]
    fn what_tasks_leave() {
        // One that is disabled, and no other.
        assert!(Target::Unpatched.leaves(true, false) && Target::Unpatched.leaves(true, true));
        assert!(!Target::Unpatched.leaves(false, true));
        // All others, if they are replaced.
        assert!(Target::Patched.leaves(false, true));
        assert!(!Target::Patched.leaves(false, false) && !Target::Patched.leaves(true, true));

        assert_eq!(Target::Patched.left(|| "replacement", || "below"), "below");
        assert_eq!(
            Target::Unpatched.left(|| "replacement", || "below"),
            "replacement"
        );
    }

    #[test]
    fn retries_slow_down_to_a_second() {
        let mut backoff = Backoff::new(250);
        let mut last = 0;
        let mut sum = 0;
        for _ in 1..Backoff::SOON {
            assert_eq!(backoff.next(sum * 4).delay, 1);
            sum += 1;
        }
        for _ in 0..9 {
            let retry = backoff.next(sum * 4);
            assert!(retry.delay > last && retry.delay <= 250);
            assert!(!retry.signal);
            last = retry.delay;
            sum += retry.delay;
        }
        assert_eq!(last, 250);
        // The whole run-up takes about two seconds.
        assert!(sum < 3 * 250);
        assert_eq!(backoff.next(sum * 4).delay, 250);
    }

    #[test]
    fn signals_come_every_fifteen_seconds() {
        for hz in [1, 100, 250, 1000] {
            let mut backoff = Backoff::new(hz);
            let mut now = 0;
            let mut signals = 0;
            while now < 100 * hz {
                let retry = backoff.next(now * 1000 / hz);
                // It goes on, and not for ever.
                assert!((1..=hz).contains(&retry.delay));
                if retry.signal {
                    signals += 1;
                    assert!(now >= signals * 15 * hz);
                    assert!(now < signals * (15 * hz + hz));
                    assert_eq!(retry.announce, signals == 1);
                }
                now += retry.delay;
            }
            assert_eq!(signals, 6);
        }
    }

    #[test]
    fn looks_that_come_early_do_not_hurry_signals() {
        let mut backoff = Backoff::new(250);
        for _ in 0..100 {
            assert!(!backoff.next(14_999).signal);
        }
        assert!(backoff.next(15_000).announce);
        assert!(!backoff.next(29_999).signal);
        let late = backoff.next(90_000);
        assert!(late.signal && !late.announce);
        assert!(!backoff.next(104_999).signal);
    }
}
