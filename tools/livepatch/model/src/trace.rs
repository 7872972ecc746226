// SPDX-License-Identifier: GPL-2.0

//! What the kernel's trace events tell of transitions.
//!
//! The text is that of `/sys/kernel/tracing/trace`. Only the events `livepatch:*` count.

use std::collections::BTreeMap;

/// How a task has switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// At the exit to user mode, or in the idle loop.
    Itself,
    /// In the scheduler.
    Scheduler,
    /// By an attempt.
    Attempt,
    /// As its parent had switched.
    Forked,
    /// By force.
    Forced,
}

/// What is seen of a transition and of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    Start {
        patched: bool,
    },
    Reverse {
        patched: bool,
    },
    /// All tasks were forced.
    Force,
    Complete {
        patched: bool,
    },
    Switch {
        patched: bool,
        how: How,
    },
    /// An attempt has found the task in something that it must not be in, or not.
    Blocked {
        inside: bool,
    },
}

/// A task, by its number and, where several have the same, its name.
pub type Who = (u32, String);

/// A transition, from its start to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transition {
    pub patch: String,
    /// What is seen of each task that is mentioned: all that concerns the transition, and what
    /// concerns the task.
    pub tasks: BTreeMap<Who, Vec<Event>>,
    /// What concerns the transition, up to now.
    common: Vec<Event>,
}

impl Transition {
    fn add(&mut self, event: Event) {
        self.common.push(event);
        for events in self.tasks.values_mut() {
            events.push(event);
        }
    }

    fn add_for(&mut self, who: Who, event: Event) {
        let common = &self.common;
        self.tasks
            .entry(who)
            .or_insert_with(|| common.clone())
            .push(event);
    }
}

/// The value of `key` in the text of an event. A value ends at the next blank.
fn value<'a>(text: &'a str, key: &str) -> Result<&'a str, String> {
    let found = text
        .rfind(&format!("{key}="))
        .ok_or(format!("no {key}: {text}"))?;
    let rest = &text[found + key.len() + 1..];
    Ok(rest.split(' ').next().unwrap_or(rest))
}

fn is_patched(text: &str) -> Result<bool, String> {
    match value(text, "direction")? {
        "patched" => Ok(true),
        "unpatched" => Ok(false),
        other => Err(format!("unknown direction {other}")),
    }
}

/// The task of an event: its name may contain anything.
fn who(text: &str) -> Result<Who, String> {
    let bad = || format!("no task: {text}");
    let (pid, rest) = text
        .strip_prefix("pid=")
        .and_then(|rest| rest.split_once(" comm="))
        .ok_or_else(bad)?;
    let comm = rest.rsplit_once(" direction=").ok_or_else(bad)?.0;
    let pid: u32 = pid.parse().map_err(|_| bad())?;
    // A task may change its name; the idle tasks all have the number 0.
    Ok((pid, if pid == 0 { comm.into() } else { String::new() }))
}

fn how(reason: &str) -> Result<How, String> {
    Ok(match reason {
        "exit_to_user" | "idle" => How::Itself,
        "scheduler" => How::Scheduler,
        "stack_scan" | "stack_check" => How::Attempt,
        "fork" => How::Forked,
        "forced" => How::Forced,
        _ => return Err(format!("unknown reason {reason}")),
    })
}

/// Reads the transitions that have begun and ended in a trace.
///
/// # Errors
///
/// What cannot be understood, or that events were lost.
pub fn read(text: &str) -> Result<Vec<Transition>, String> {
    let mut all = Vec::new();
    let mut current: Option<Transition> = None;
    for line in text.lines() {
        if line.contains(" EVENTS]") && line.contains("[LOST ") {
            return Err("events were lost: record with a larger buffer".into());
        }
        let Some((_, event)) = line.split_once(": klp_") else {
            continue;
        };
        let (name, text) = event.split_once(": ").ok_or(format!("no event: {line}"))?;
        if name == "transition_start" {
            let mut transition = Transition {
                patch: value(text, "patch")?.into(),
                ..Transition::default()
            };
            transition.add(Event::Start {
                patched: is_patched(text)?,
            });
            if let Some(other) = current.replace(transition) {
                return Err(format!("{} has not ended when another starts", other.patch));
            }
            continue;
        }
        let Some(transition) = &mut current else {
            // It has begun before the trace.
            continue;
        };
        let patched = || is_patched(text);
        match name {
            "transition_reverse" => transition.add(Event::Reverse {
                patched: patched()?,
            }),
            "transition_force" => transition.add(Event::Force),
            "transition_complete" => {
                transition.add(Event::Complete {
                    patched: patched()?,
                });
                all.extend(current.take());
            }
            "task_switch" => {
                let how = how(value(text, "reason")?)?;
                let patched = patched()?;
                transition.add_for(who(text)?, Event::Switch { patched, how });
            }
            "task_blocked" => {
                let obstacle = value(text, "obstacle")?;
                let inside = matches!(obstacle, "function" | "ftrace" | "module");
                transition.add_for(who(text)?, Event::Blocked { inside });
            }
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
# tracer: nop
    cat-9  [000] ..... 1.0: klp_task_switch: pid=9 comm=cat direction=patched reason=fork
    insmod-7  [000] ..... 2.0: klp_transition_start: patch=a direction=patched tasks=90
    insmod-7  [000] ..... 2.1: klp_task_switch: pid=0 comm=swapper/1 direction=patched reason=idle
    insmod-7  [001] ..... 2.2: klp_task_blocked: pid=5 comm=x y direction=z direction=patched obstacle=function name=f
    insmod-7  [001] ..... 2.3: klp_transition_reverse: patch=a direction=unpatched tasks=1
    insmod-7  [001] ..... 2.4: klp_task_switch: pid=5 comm=x direction=unpatched reason=stack_scan
    insmod-7  [001] ..... 2.5: klp_transition_complete: patch=a direction=unpatched duration_us=1 attempts=2 exit_to_user=0
    insmod-7  [001] ..... 2.6: klp_patch_disabled: patch=a
";

    #[test]
    fn a_trace_is_read_task_by_task() {
        let all = read(TRACE).unwrap();
        assert_eq!(all.len(), 1);
        let start = Event::Start { patched: true };
        let reverse = Event::Reverse { patched: false };
        let complete = Event::Complete { patched: false };
        let switch = |patched, how| Event::Switch { patched, how };
        let tasks = &all[0].tasks;
        assert_eq!(
            tasks[&(0, "swapper/1".into())],
            [start, switch(true, How::Itself), reverse, complete]
        );
        assert_eq!(
            tasks[&(5, String::new())],
            [
                start,
                Event::Blocked { inside: true },
                reverse,
                switch(false, How::Attempt),
                complete
            ]
        );
        assert_eq!(tasks.len(), 2);
    }

    #[test]
    fn what_is_missing_is_noticed() {
        let lost = format!("{TRACE}CPU:0 [LOST 12 EVENTS]\n");
        assert!(read(&lost).is_err());
        for (from, to) in [
            ("reason=idle", "reason=unknown"),
            ("direction=patched reason=idle", "direction=up reason=idle"),
            ("pid=0 comm", "pid=x comm"),
        ] {
            assert!(read(&TRACE.replace(from, to)).is_err(), "{to}");
        }
        let twice = TRACE.replace("transition_complete", "transition_start");
        assert!(read(&twice).is_err());
    }
}
