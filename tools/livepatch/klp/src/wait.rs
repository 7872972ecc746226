// SPDX-License-Identifier: GPL-2.0

//! Waiting for what the kernel does.

use crate::{
    progress::Progress,
    roots::Roots,
    sysfs::{self, State},
    transition,
};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use signal_hook::{consts, flag};
use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

/// The shortest and the longest time between two looks.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(100);

/// Whether SIGINT or SIGTERM has arrived.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Watch for both.
    pub fn on_signals() -> std::io::Result<Self> {
        let stop = Stop::default();
        for signal in [consts::SIGINT, consts::SIGTERM] {
            flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Whether one has arrived.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Times between looks: short at first, longer while nothing happens.
pub struct Pace(Duration);

impl Pace {
    /// From the shortest.
    pub fn new() -> Self {
        Pace(SHORTEST)
    }

    /// The next time, not beyond the deadline.
    fn next(&mut self, deadline: Option<Instant>) -> Duration {
        let now = self.0;
        self.0 = (now * 3 / 2).min(LONGEST);
        match deadline {
            Some(deadline) => now.min(deadline.saturating_duration_since(Instant::now())),
            None => now,
        }
    }

    /// Sleep until it is time to look again, a signal arrives, or, in a kernel that notifies of
    /// changes of this file, the file changes.
    pub fn pause(&mut self, file: Option<&Path>, deadline: Option<Instant>) {
        let time = self.next(deadline);
        let Ok(timeout) = Timespec::try_from(time) else {
            return;
        };
        // A change counts only if the file was read before.
        let open = file.and_then(|path| {
            let mut file = File::open(path).ok()?;
            let _ = file.read(&mut [0; 8]);
            Some(file)
        });
        let started = Instant::now();
        let result = match &open {
            Some(file) => poll(&mut [PollFd::new(file, PollFlags::PRI)], Some(&timeout)),
            None => poll(&mut [], Some(&timeout)),
        };
        // A file that has vanished is "ready" at once. Then this must not spin.
        if matches!(result, Ok(n) if n > 0) && started.elapsed() < SHORTEST {
            let _ = poll(&mut [], Timespec::try_from(SHORTEST).ok().as_ref());
        }
    }
}

/// How waiting has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The patch is enabled.
    Enabled,
    /// Its folder is gone.
    Gone,
    /// The time is over; the transition goes on.
    TimedOut,
    /// A signal has arrived; the transition goes on.
    Interrupted,
}

/// Wait until the transition of a patch ends, wherever. It may be reversed meanwhile.
pub fn for_transition(
    roots: &Roots,
    patch: &str,
    deadline: Option<Instant>,
    stop: &Stop,
    silent: bool,
) -> End {
    let mut progress = Progress::new(silent);
    let mut pace = Pace::new();
    let file = roots.livepatch.join(patch).join("transition");
    loop {
        match sysfs::state(roots, patch) {
            None if !sysfs::exists(roots, patch) => return End::Gone,
            // A patch that is to be disabled is enabled only if the transition was reversed,
            // by another command, and has ended.
            Some(State::Enabled) => return End::Enabled,
            _ => {}
        }
        if stop.is_set() {
            return End::Interrupted;
        }
        if deadline.is_some_and(|d| Instant::now() >= d) {
            return End::TimedOut;
        }
        if progress.due() {
            if let Ok(Some(t)) = transition::current(roots) {
                progress.show(&t);
            }
        }
        pace.pause(Some(&file), deadline);
    }
}

/// Sleep, unless a signal arrives. Whether one has.
pub fn sleep(time: Duration, stop: &Stop) -> bool {
    let end = Instant::now() + time;
    while !stop.is_set() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // A signal that arrives just before the poll is seen after at most this time.
        let _ = poll(&mut [], Timespec::try_from(left.min(LONGEST)).ok().as_ref());
    }
    true
}

/// Wait until a condition holds. Whether it does.
pub fn until(seconds: u64, stop: &Stop, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut pace = Pace::new();
    loop {
        if condition() {
            return true;
        }
        if stop.is_set() || Instant::now() >= deadline {
            return false;
        }
        pace.pause(None, Some(deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn wait(tree: &Tree, ms: u64, stop: &Stop) -> End {
        let deadline = Instant::now() + Duration::from_millis(ms);
        for_transition(&tree.roots, "a", Some(deadline), stop, true)
    }

    #[test]
    fn each_end_is_told_apart() {
        let tree = Tree::new();
        let stop = Stop::default();
        assert_eq!(wait(&tree, 1_000, &stop), End::Gone);
        tree.patch("a", "1", "0");
        assert_eq!(wait(&tree, 1_000, &stop), End::Enabled);
        tree.patch("a", "1", "1");
        assert_eq!(wait(&tree, 20, &stop), End::TimedOut);
        tree.patch("a", "0", "1");
        assert_eq!(wait(&tree, 20, &stop), End::TimedOut);
        stop.0.store(true, Ordering::Relaxed);
        assert_eq!(wait(&tree, 1_000, &stop), End::Interrupted);
    }

    #[test]
    fn a_short_transition_is_noticed_at_once() {
        let tree = Tree::new();
        tree.patch("a", "1", "1");
        let path = tree.roots.livepatch.join("a/transition");
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            std::fs::write(path, "0").unwrap();
        });
        let start = Instant::now();
        assert_eq!(wait(&tree, 5_000, &Stop::default()), End::Enabled);
        assert!(start.elapsed() < Duration::from_millis(500));
        thread.join().unwrap();
    }

    #[test]
    fn looks_become_rarer_up_to_a_limit() {
        let mut pace = Pace::new();
        let times: Vec<_> = (0..20).map(|_| pace.next(None)).collect();
        assert_eq!(times[0], SHORTEST);
        assert_eq!(times[19], LONGEST);
        assert!(times.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(pace.next(Some(Instant::now())), Duration::ZERO);
    }

    #[test]
    fn a_condition_is_waited_for() {
        let stop = Stop::default();
        assert!(until(1, &stop, || true));
        assert!(!until(0, &stop, || false));
    }
}
