// SPDX-License-Identifier: GPL-2.0

//! The tasks that hold up a transition.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// How many tasks are kept.
pub(crate) const KEPT: usize = 32;

/// A task that attempts could not switch.
pub(crate) struct Blocked<K, T> {
    task: K,
    /// When it was first found so, in milliseconds.
    since: u64,
    /// How many attempts have found it so, and have ended.
    attempts: u32,
    /// Whether the attempt that is going on has found it so.
    again: bool,
    /// What is known of it.
    pub(crate) found: T,
}

impl<K, T> Blocked<K, T> {
    /// For how many milliseconds it has held up the transition.
    pub(crate) fn millis(&self, now: u64) -> u64 {
        now.saturating_sub(self.since)
    }

    /// How many attempts could not switch it.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// The tasks that hold up a transition, those that have done so for the longest time first.
///
/// If there are more than [`KEPT`], the others are taken in as those leave.
pub(crate) struct BlockedTasks<K, T> {
    /// The first `len` are `Some`.
    tasks: [Option<Blocked<K, T>>; KEPT],
    len: usize,
    /// How many attempts have ended.
    attempts: u32,
    /// The task that was blocked for the longest time of those that are not any more, and for how
    /// many milliseconds it was.
    slowest: Option<(Blocked<K, T>, u64)>,
}

impl<K: PartialEq, T: Default> BlockedTasks<K, T> {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            tasks: [const { None }; KEPT],
            len: 0,
            attempts: 0,
            slowest: None,
        }
    }

    /// Notes that the attempt that is going on has found `task` blocked, and returns what is to be
    /// filled in, or `None` if too many others have been for longer. May be called more than once
    /// for a task.
    pub(crate) fn note(&mut self, task: K, now: u64) -> Option<&mut T> {
        let known = self.iter().position(|blocked| blocked.task == task);
        let slot = self.tasks.get_mut(known.unwrap_or(self.len))?;
        if known.is_none() {
            self.len += 1;
        }
        let blocked = slot.get_or_insert_with(|| Blocked {
            task,
            since: now,
            attempts: 0,
            again: true,
            found: T::default(),
        });
        blocked.again = true;
        Some(&mut blocked.found)
    }

    /// Ends an attempt: the tasks that it has not found blocked are forgotten, but for the slowest.
    pub(crate) fn end_attempt(&mut self, now: u64) {
        let mut len = 0;
        for index in 0..self.len {
            let Some(mut blocked) = self.tasks.get_mut(index).and_then(Option::take) else {
                continue;
            };
            if !blocked.again {
                self.leave(blocked, now);
                continue;
            }
            blocked.again = false;
            blocked.attempts += 1;
            if let Some(slot) = self.tasks.get_mut(len) {
                *slot = Some(blocked);
            }
            len += 1;
        }
        self.len = len;
        self.attempts += 1;
    }

    /// Ends the transition, or its direction: returns the task that was blocked for the longest
    /// time, and for how many milliseconds it was, and forgets all.
    pub(crate) fn finish(&mut self, now: u64) -> Option<(Blocked<K, T>, u64)> {
        for index in 0..self.len {
            if let Some(blocked) = self.tasks.get_mut(index).and_then(Option::take) {
                self.leave(blocked, now);
            }
        }
        self.len = 0;
        self.attempts = 0;
        self.slowest.take()
    }

    fn leave(&mut self, blocked: Blocked<K, T>, now: u64) {
        let millis = blocked.millis(now);
        if self
            .slowest
            .as_ref()
            .is_none_or(|slowest| millis > slowest.1)
        {
            self.slowest = Some((blocked, millis));
        }
    }

    /// How many attempts have ended.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The tasks that the last attempt has found blocked, or the one that is going on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Blocked<K, T>> {
        self.tasks.iter().flatten()
    }
}

#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_blocked)
)]
mod tests {
    use super::*;

    type Tasks = BlockedTasks<u32, u32>;

    fn tasks(blocked: &Tasks, now: u64) -> impl Iterator<Item = (u32, u64, u32)> + '_ {
        blocked
            .iter()
            .map(move |task| (task.task, task.millis(now), task.attempts()))
    }

    #[test]
    fn the_longest_blocked_come_first() {
        let mut blocked = Tasks::new();
        blocked.note(1, 10);
        blocked.note(2, 10);
        blocked.end_attempt(10);
        blocked.note(3, 20);
        blocked.note(2, 20);
        blocked.end_attempt(20);
        assert!(tasks(&blocked, 30).eq([(2, 20, 2), (3, 10, 1)]));
        assert_eq!(blocked.attempts(), 2);
    }

    #[test]
    fn a_task_that_is_found_twice_in_an_attempt_counts_once() {
        let mut blocked = Tasks::new();
        blocked.note(1, 0);
        blocked.note(1, 5);
        blocked.end_attempt(5);
        blocked.note(1, 9);
        blocked.note(1, 9);
        // An attempt that goes on does not count yet.
        assert!(tasks(&blocked, 10).eq([(1, 10, 1)]));
        blocked.end_attempt(10);
        assert!(tasks(&blocked, 10).eq([(1, 10, 2)]));
    }

    #[test]
    fn what_is_known_stays() {
        let mut blocked = Tasks::new();
        if let Some(found) = blocked.note(1, 0) {
            *found = 7;
        }
        blocked.end_attempt(1);
        assert_eq!(blocked.note(1, 2).copied(), Some(7));
        assert_eq!(blocked.note(2, 2).copied(), Some(0));
    }

    #[test]
    fn others_come_in_when_there_is_room() {
        let mut blocked = Tasks::new();
        let many = KEPT as u32 + 3;
        for task in 0..many {
            assert_eq!(blocked.note(task, 0).is_some(), task < KEPT as u32);
        }
        blocked.end_attempt(1);
        for task in (0..many).filter(|task| task % 2 == 1) {
            blocked.note(task, 8);
        }
        blocked.end_attempt(9);
        // The order in which tasks are found does not matter.
        for task in (0..many).rev().filter(|task| task % 2 == 1) {
            blocked.note(task, 10);
        }
        assert_eq!(blocked.iter().count(), many as usize / 2);
        blocked.end_attempt(10);
        assert!(tasks(&blocked, 10).take(2).eq([(1, 10, 3), (3, 10, 3)]));
        assert!(tasks(&blocked, 10).skip(KEPT / 2).eq([(33, 0, 1)]));
    }

    #[test]
    fn the_slowest_is_remembered() {
        let mut blocked = Tasks::new();
        blocked.note(1, 0);
        blocked.end_attempt(0);
        blocked.note(2, 1);
        blocked.end_attempt(5);
        blocked.end_attempt(7);
        let slowest = blocked.finish(9);
        assert_eq!(
            slowest.map(|(task, millis)| (task.task, millis)),
            Some((2, 6))
        );
        assert!(blocked.finish(9).is_none());
    }

    #[test]
    fn the_slowest_may_be_blocked_to_the_end() {
        let mut blocked = Tasks::new();
        blocked.note(1, 0);
        blocked.note(2, 0);
        blocked.end_attempt(0);
        blocked.note(2, 4);
        blocked.end_attempt(4);
        blocked.note(2, 8);
        let slowest = blocked.finish(9);
        assert_eq!(
            slowest.map(|(task, millis)| (task.task, millis)),
            Some((2, 9))
        );
        assert_eq!(blocked.iter().count(), 0);
    }

    #[test]
    fn nothing_is_left_of_another_transition() {
        let mut blocked = Tasks::new();
        blocked.note(1, 0);
        blocked.end_attempt(0);
        blocked.end_attempt(1);
        blocked.note(2, 1);
        blocked.finish(2);
        assert_eq!(blocked.iter().count(), 0);
        assert_eq!(blocked.attempts(), 0);
        blocked.note(3, 5);
        blocked.end_attempt(5);
        assert!(tasks(&blocked, 5).eq([(3, 0, 1)]));
        assert_eq!(blocked.finish(6).map(|(task, _)| task.task), Some(3));
    }
}
