// SPDX-License-Identifier: GPL-2.0

//! When to try again to switch the tasks that remain, and when to send them fake signals.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// What to do after an attempt that has left tasks over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Send fake signals to the tasks that remain.
    pub(crate) signal: bool,
    /// It is the first time: say so in the log.
    pub(crate) announce: bool,
    /// When to try again, in ticks.
    pub(crate) delay: usize,
}

/// When to try again to switch the tasks that remain.
///
/// Most tasks can be switched within milliseconds, as soon as they sleep somewhere else, are
/// preempted or return to user space; what remains then tends to stay for long. So the first
/// attempts follow one another tick by tick, and then the time between two doubles, up to a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Ticks in a second.
    second: usize,
    /// Ticks until the next attempt.
    delay: usize,
    /// How many attempts there were.
    attempts: usize,
    /// When to send fake signals, in milliseconds since the transition started.
    signal_at: usize,
    /// Whether there were any.
    signaled: bool,
}

impl Backoff {
    /// How many attempts follow one another tick by tick.
    const SOON: usize = 8;

    /// After how many milliseconds, and how often from then on, fake signals are sent.
    const SIGNAL_MILLIS: usize = 15_000;

    /// The wait before the first retry is a tick.
    pub(crate) const fn new(ticks_per_second: usize) -> Self {
        Self {
            second: ticks_per_second,
            delay: 1,
            attempts: 0,
            signal_at: Self::SIGNAL_MILLIS,
            signaled: false,
        }
    }

    /// Returns what to do when an attempt, so many milliseconds after the transition has started,
    /// has left tasks over.
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
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= Self::SOON {
            self.delay = (self.delay * 2).min(self.second);
        }
        retry
    }
}

// The host and KUnit run the same cases.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_backoff)
)]
mod tests {
    use super::*;

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
    fn early_attempts_do_not_hurry_signals() {
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
