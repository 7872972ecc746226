// SPDX-License-Identifier: GPL-2.0

//! The transition under way, and what it waits for.

use crate::{
    debugfs,
    error::{Error, Exit, Result},
    proc,
    roots::Roots,
    sysfs::{self, State},
    text::{clean, duration},
};
use serde::Serialize;
use std::{fs, io};

/// Where a transition goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the patch.
    #[default]
    Patched,
    /// Away from it.
    Unpatched,
}

impl Direction {
    /// From the kernel's word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "patched" => Some(Direction::Patched),
            "unpatched" => Some(Direction::Unpatched),
            _ => None,
        }
    }

    /// What the transition does to its patch.
    pub fn verb(self) -> &'static str {
        match self {
            Direction::Patched => "enabling",
            Direction::Unpatched => "disabling",
        }
    }

    /// What a task's `patch_state` becomes.
    pub fn patch_state(self) -> i8 {
        match self {
            Direction::Patched => 1,
            Direction::Unpatched => 0,
        }
    }
}

/// How many tasks have switched for which reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Switched {
    /// On their exit to user mode.
    pub exit_to_user: u64,
    /// In a scan of the stacks.
    pub stack_scan: u64,
    /// In a stack check of their own.
    pub stack_check: u64,
    /// In the scheduler.
    pub scheduler: u64,
    /// In the idle loop.
    pub idle: u64,
    /// As children of a task that had switched.
    pub fork: u64,
    /// By force.
    pub forced: u64,
}

/// A task that has not switched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its id: that of the thread.
    pub pid: i32,
    /// Its name.
    pub comm: String,
    /// The kernel's word for what keeps it, if that is known.
    pub obstacle: Option<String>,
    /// The function in which it is.
    pub function: Option<String>,
    /// The patch to which that belongs.
    pub patch: Option<String>,
    /// For how long it has been found blocked.
    pub blocked_ms: Option<u64>,
    /// How often it was checked.
    pub attempts: Option<u64>,
    /// The obstacle as a sentence.
    pub explanation: String,
    /// Its kernel stack, if it can be read.
    pub stack: Option<Vec<String>>,
}

/// A transition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// Whose it is.
    pub patch: String,
    /// Where it goes.
    pub direction: Direction,
    /// Whether it was forced, if that is known.
    pub forced: Option<bool>,
    /// Whether tasks were sent the fake signal, if that is known.
    pub signaled: Option<bool>,
    /// How long it has been under way, if that is known.
    pub running_ms: Option<u64>,
    /// How many attempts it has made, if that is known.
    pub attempts: Option<u64>,
    /// How many tasks have not switched.
    pub remaining: Option<u64>,
    /// For which reasons the others have, if that is known.
    pub switched: Option<Switched>,
    /// Some of those that have not.
    pub tasks: Vec<Task>,
}

/// The transition under way: as the core says it, or, if it does not, from `/proc`.
pub fn current(roots: &Roots) -> Result<Option<Transition>> {
    roots.need_livepatch()?;
    let mut found = match fs::read(roots.debugfs.join("transition")) {
        Ok(text) => debugfs::transition(&String::from_utf8_lossy(&text)),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Error::new(
                Exit::NotPermitted,
                "what tasks do may be read by root only; run this with sudo or as root",
            ))
        }
        Err(_) => from_proc(roots),
    };
    for task in found.iter_mut().flat_map(|t| &mut t.tasks) {
        task.explanation = explain(task);
    }
    Ok(found)
}

/// From `/proc`, for a core that does not say it by itself.
fn from_proc(roots: &Roots) -> Option<Transition> {
    let (name, state) = sysfs::in_transition(roots)?;
    let patch = sysfs::patch(roots, &name)?;
    let direction = match state {
        State::Disabling => Direction::Unpatched,
        _ => Direction::Patched,
    };
    let (remaining, tasks) = proc::remaining(roots, &patch, direction);
    Some(Transition {
        remaining: patch.remaining_tasks.or(Some(remaining)),
        running_ms: patch.transition_ms,
        patch: name,
        direction,
        tasks,
        ..Transition::default()
    })
}

/// What keeps a task, as a sentence.
pub fn explain(task: &Task) -> String {
    let function = clean(task.function.as_deref().unwrap_or("a function"));
    let patch = match &task.patch {
        Some(patch) => format!("the patch {}", clean(patch)),
        None => "the patch".to_string(),
    };
    match task.obstacle.as_deref() {
        Some("running") => "It was running when it was last checked: only the stack of a task \
                            that does not run can be checked."
            .to_string(),
        Some("function") => {
            format!("It is in {function}, or will return to it, and {patch} changes that function.")
        }
        Some("module") => format!("It is in other code of the module of {patch}."),
        Some("ftrace") => {
            format!("It has called {function}, is still in ftrace, and has not arrived there.")
        }
        Some("unreliable_stack") => {
            "Its stack cannot be read reliably, so that it may be in a function of the patch."
                .to_string()
        }
        Some(other) => format!("The kernel says: {}.", clean(other)),
        None => "It has not switched; this kernel does not say what keeps it.".to_string(),
    }
}

/// A task in a few words.
pub fn brief(task: &Task) -> String {
    let name = format!("{} ({})", clean(&task.comm), task.pid);
    match (&task.function, task.obstacle.as_deref()) {
        (Some(function), _) => format!("{name} in {}", clean(function)),
        (None, Some(obstacle)) => format!("{name}: {}", clean(&obstacle.replace('_', " "))),
        (None, None) => name,
    }
}

/// A few of the tasks in a few words each.
pub fn brief_list(tasks: &[Task]) -> String {
    let mut text = tasks
        .iter()
        .take(3)
        .map(brief)
        .collect::<Vec<_>>()
        .join(", ");
    if tasks.len() > 3 {
        text.push_str(&format!(", and {} more", tasks.len() - 3));
    }
    text
}

/// The title of a transition, for a person.
pub fn title(t: &Transition) -> String {
    let mut text = format!("{} {}", t.direction.verb(), clean(&t.patch));
    if let Some(ms) = t.running_ms {
        text.push_str(&format!(" for {}", duration(ms)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn task(obstacle: Option<&str>) -> Task {
        Task {
            pid: 1,
            comm: "x".into(),
            obstacle: obstacle.map(str::to_string),
            function: Some("f".into()),
            patch: Some("p".into()),
            ..Task::default()
        }
    }

    #[test]
    fn every_obstacle_is_a_sentence() {
        let known = [
            "running",
            "function",
            "module",
            "ftrace",
            "unreliable_stack",
            "new",
        ];
        for obstacle in known.map(Some).into_iter().chain([None]) {
            let text = explain(&task(obstacle));
            assert!(text.ends_with('.'), "{text}");
        }
        assert!(explain(&task(Some("function"))).contains(" f,"));
        assert_eq!(brief(&task(None)), "x (1) in f");
        assert_eq!(brief_list(&vec![task(None); 5]).matches("x (1)").count(), 3);
    }

    #[test]
    fn the_core_is_believed_before_proc() {
        let tree = Tree::new();
        tree.patch("a", "1", "1");
        tree.task(5, "five\n", "0\n", "");
        tree.write(
            "sys/kernel/debug/livepatch/transition",
            "patch: a\ndirection: patched\nremaining: 7\n",
        );
        let t = current(&tree.roots).unwrap().unwrap();
        assert_eq!(t.remaining, Some(7));
        assert!(t.tasks.is_empty());
        tree.write("sys/kernel/debug/livepatch/transition", "");
        assert!(current(&tree.roots).unwrap().is_none());
    }

    #[test]
    fn the_core_in_c_is_read_from_proc() {
        let tree = Tree::new();
        tree.patch("a", "1", "1");
        tree.write("sys/kernel/livepatch/a/ext4/f,1/new_func", "");
        tree.task(
            5,
            "five\n",
            "0\n",
            "[<0>] h+0x1/0x2\n[<0>] f+0x1/0x2 [ext4]\n",
        );
        tree.task(6, "six\n", "1\n", "");
        let t = current(&tree.roots).unwrap().unwrap();
        assert_eq!((t.patch.as_str(), t.remaining), ("a", Some(1)));
        assert_eq!(t.tasks[0].obstacle.as_deref(), Some("function"));
        assert_eq!(t.tasks[0].function.as_deref(), Some("f"));
        assert!(title(&t).starts_with("enabling a"));
    }
}
