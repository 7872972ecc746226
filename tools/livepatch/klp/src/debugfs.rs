// SPDX-License-Identifier: GPL-2.0

//! What the core in Rust says in `/sys/kernel/debug/livepatch`. Keys and lines that are not
//! known are ignored: later kernels may have more.

use crate::{
    text::fields,
    transition::{Direction, Switched, Task, Transition},
};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The transition under way, from the text of the file `transition`. Nothing if there is none.
pub fn transition(text: &str) -> Option<Transition> {
    let mut found = Transition::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "patch" => found.patch = value.to_string(),
            "direction" => found.direction = Direction::from_word(value)?,
            "forced" => found.forced = Some(value == "yes"),
            "signaled" => found.signaled = Some(value == "yes"),
            "running_ms" => found.running_ms = value.parse().ok(),
            "attempts" => found.attempts = value.parse().ok(),
            "remaining" => found.remaining = value.parse().ok(),
            "switched" => found.switched = Some(switched(&fields(value))),
            "task" => found.tasks.extend(task(value)),
            _ => {}
        }
    }
    (!found.patch.is_empty()).then_some(found)
}

/// A `task:` line. It is left out if it has no number.
fn task(line: &str) -> Option<Task> {
    let mut task = Task {
        pid: -1,
        ..Task::default()
    };
    for (key, value) in fields(line) {
        match key.as_str() {
            "pid" => task.pid = value.parse().ok()?,
            "comm" => task.comm = value,
            "obstacle" => task.obstacle = Some(value),
            "function" => task.function = Some(value),
            "patch" => task.patch = Some(value),
            "blocked_ms" => task.blocked_ms = value.parse().ok(),
            "attempts" => task.attempts = value.parse().ok(),
            _ => {}
        }
    }
    // The idle tasks of CPUs have the number 0.
    (task.pid >= 0).then_some(task)
}

/// How many tasks switched for which reason.
fn switched(fields: &[(String, String)]) -> Switched {
    let of = |key: &str| {
        fields
            .iter()
            .find(|(k, _)| k == key)
            .and_then(|(_, v)| v.parse().ok())
            .unwrap_or(0)
    };
    Switched {
        exit_to_user: of("exit_to_user"),
        stack_scan: of("stack_scan"),
        stack_check: of("stack_check"),
        scheduler: of("scheduler"),
        idle: of("idle"),
        fork: of("fork"),
        forced: of("forced"),
    }
}

/// The task that blocked a transition the longest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Slowest {
    /// Its pid.
    pub pid: i32,
    /// Its name.
    pub comm: String,
    /// What kept it.
    pub obstacle: Option<String>,
    /// The function in which it was.
    pub function: Option<String>,
}

/// A transition that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Past {
    /// Whose it was.
    pub patch: String,
    /// Where it went.
    pub direction: Direction,
    /// "completed" or "reversed".
    pub outcome: String,
    /// Whether it was forced.
    pub forced: bool,
    /// Whether tasks were sent the fake signal.
    pub signaled: bool,
    /// When it ended, in seconds since 1970, as the kernel says how long ago that was.
    pub ended: Option<u64>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// How many attempts.
    pub attempts: Option<u64>,
    /// For which reasons tasks switched.
    pub switched: Switched,
    /// The task that blocked it the longest, if any was found blocked.
    pub slowest: Option<Slowest>,
}

/// The transitions in the text of the file `history`, the newest first.
pub fn history(text: &str) -> Vec<Past> {
    text.lines().filter_map(past).collect()
}

/// The time so many milliseconds ago, in seconds since 1970.
fn before_now(millis: u64) -> Option<u64> {
    let then = SystemTime::now().checked_sub(Duration::from_millis(millis))?;
    Some(then.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn past(line: &str) -> Option<Past> {
    let fields = fields(line);
    let mut found = Past {
        switched: switched(&fields),
        ..Past::default()
    };
    let mut slowest = Slowest {
        pid: -1,
        ..Slowest::default()
    };
    for (key, value) in fields {
        match key.as_str() {
            "patch" => found.patch = value,
            "direction" => found.direction = Direction::from_word(&value)?,
            "outcome" => found.outcome = value,
            "was_forced" => found.forced = value == "yes",
            "signaled" => found.signaled = value == "yes",
            "ended_ago_ms" => found.ended = value.parse().ok().and_then(before_now),
            "duration_ms" => found.duration_ms = value.parse().ok(),
            "attempts" => found.attempts = value.parse().ok(),
            "slowest_pid" => slowest.pid = value.parse().ok()?,
            "slowest_comm" => slowest.comm = value,
            "slowest_obstacle" => slowest.obstacle = Some(value),
            "slowest_function" => slowest.function = Some(value),
            _ => {}
        }
    }
    found.slowest = (slowest.pid >= 0).then_some(slowest);
    (!found.patch.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSITION: &str = r#"patch: klpr_a
direction: patched
forced: no
signaled: yes
running_ms: 5231
attempts: 6
remaining: 2
future: 12
switched: exit_to_user=10 stack_scan=71 stack_check=0 scheduler=3 idle=2 fork=0 forced=0 new=1
task: pid=123 comm="foo" obstacle=function function="klpr_wait" patch="klpr_a" blocked_ms=5200 attempts=6
task: pid=77 comm="b \x01" obstacle=running blocked_ms=10 attempts=1 new="x"
task: pid=0 comm="swapper/1" obstacle=running blocked_ms=0 attempts=1
task: comm="no pid"
a line of a later kernel
"#;

    #[test]
    fn the_transition_is_read() {
        let t = transition(TRANSITION).unwrap();
        assert_eq!(t.patch, "klpr_a");
        assert_eq!(t.direction, Direction::Patched);
        assert_eq!((t.forced, t.signaled), (Some(false), Some(true)));
        assert_eq!((t.running_ms, t.remaining), (Some(5231), Some(2)));
        assert_eq!(t.switched.as_ref().unwrap().stack_scan, 71);
        assert_eq!(t.tasks.len(), 3);
        assert_eq!((t.tasks[2].pid, t.tasks[2].comm.as_str()), (0, "swapper/1"));
        assert_eq!(t.tasks[0].function.as_deref(), Some("klpr_wait"));
        assert_eq!(t.tasks[1].comm, "b \u{1}");
        assert_eq!(t.tasks[1].blocked_ms, Some(10));
    }

    #[test]
    fn no_text_is_no_transition() {
        assert!(transition("").is_none());
        assert!(transition("remaining: 1\n").is_none());
        assert!(transition("patch: x\ndirection: sideways\n").is_none());
    }

    #[test]
    fn the_history_is_read() {
        let text = concat!(
            "patch=a direction=patched outcome=completed was_forced=no signaled=no ended_ago_ms=5000 ",
            "duration_ms=5231 attempts=6 exit_to_user=10 stack_scan=71 stack_check=0 scheduler=3 ",
            "idle=2 fork=0 forced=4 slowest_pid=123 slowest_comm=\"foo\" ",
            "slowest_obstacle=function slowest_function=\"klpr_wait\" later=1\n",
            "patch=b direction=unpatched outcome=reversed was_forced=yes ended_ago_ms=x\n",
            "nonsense\n",
        );
        let past = history(text);
        assert_eq!(past.len(), 2);
        assert_eq!(past[0].switched.forced, 4);
        assert!(!past[0].forced);
        let slowest = past[0].slowest.as_ref().unwrap();
        assert_eq!(slowest.function.as_deref(), Some("klpr_wait"));
        assert!(past[1].forced);
        let now = before_now(0).unwrap();
        assert!((now - 6..=now - 5).contains(&past[0].ended.unwrap()));
        assert_eq!(past[1].ended, None);
        assert_eq!(past[1].slowest, None);
        assert_eq!(past[1].direction, Direction::Unpatched);
    }
}
