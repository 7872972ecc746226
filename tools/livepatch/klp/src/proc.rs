// SPDX-License-Identifier: GPL-2.0

//! Tasks, as `/proc` has them.

use crate::{
    roots::Roots,
    sysfs::{line, Patch},
    transition::{Direction, Task},
};
use std::{fs, path::Path, path::PathBuf};

/// At most as many tasks are described as the core in Rust describes.
const DESCRIBED: usize = 32;

/// The folders in a folder whose names are numbers.
fn numbers(path: &Path) -> Vec<(i32, PathBuf)> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path())))
        .collect()
}

/// How many tasks have not switched, and some of them.
pub fn remaining(roots: &Roots, patch: &Patch, direction: Direction) -> (u64, Vec<Task>) {
    let behind = 1 - direction.patch_state();
    let (mut number, mut tasks) = (0, Vec::new());
    for (_, process) in numbers(&roots.proc) {
        for (pid, dir) in numbers(&process.join("task")) {
            let state = line(&dir.join("patch_state")).and_then(|s| s.parse::<i8>().ok());
            if state != Some(behind) {
                continue;
            }
            number += 1;
            if tasks.len() < DESCRIBED {
                tasks.push(describe(&dir, pid, patch, direction));
            }
        }
    }
    (number, tasks)
}

/// The kernel stack of a task, innermost first. Nothing if it cannot be read.
pub fn stack(roots: &Roots, pid: i32) -> Option<Vec<String>> {
    read_stack(&roots.proc.join(pid.to_string()))
}

fn read_stack(dir: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(dir.join("stack")).ok()?;
    let frame = |line: &str| line.trim_start_matches("[<0>]").trim().to_string();
    Some(text.lines().map(frame).collect())
}

/// Whether a task runs. `/proc/PID/stat` has the state after the name, which may hold anything.
fn runs(dir: &Path) -> bool {
    let text = line(&dir.join("stat")).unwrap_or_default();
    let after = text.rsplit_once(')').map(|(_, after)| after.trim_start());
    after.is_some_and(|a| a.starts_with('R'))
}

/// A task, with what its stack tells about what keeps it.
fn describe(dir: &Path, pid: i32, patch: &Patch, direction: Direction) -> Task {
    let frames = read_stack(dir);
    let mut task = Task {
        pid,
        comm: line(&dir.join("comm")).unwrap_or_default(),
        ..Task::default()
    };
    let found = frames
        .iter()
        .flatten()
        .find_map(|frame| obstacle(frame, patch, direction));
    if let Some((kind, function)) = found {
        task.obstacle = Some(kind.to_string());
        task.function = Some(function);
        task.patch = Some(patch.name.clone());
    } else if runs(dir) {
        task.obstacle = Some("running".to_string());
    }
    task.stack = frames;
    task
}

/// Whether a frame, as "function+0x1/0x2 [module]", keeps a task from switching: that of a
/// function which is replaced, or, on the way back, that of a replacement.
fn obstacle(frame: &str, patch: &Patch, direction: Direction) -> Option<(&'static str, String)> {
    let mut words = frame.split_whitespace();
    let name = words.next()?.split('+').next()?;
    let module = words.next().map(|w| w.trim_matches(['[', ']']));
    let replaces = || {
        patch
            .objects
            .iter()
            .flat_map(|o| &o.functions)
            .any(|f| f.name == name)
    };
    let is_ours = module == Some(patch.name.as_str());
    match direction {
        Direction::Patched if replaces() && !is_ours => Some(("function", name.to_string())),
        Direction::Unpatched if is_ours => Some(("function", name.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sysfs, testing::Tree};

    #[test]
    fn tasks_that_have_not_switched_are_found() {
        let tree = Tree::new();
        tree.patch("a", "0", "1");
        tree.task(1, "init\n", "0\n", "");
        tree.task(2, "two\n", "1\n", "[<0>] new_f+0x1/0x2 [a]\n");
        tree.task(3, "three\n", "1\n", "");
        tree.write("proc/3/task/3/stat", "3 (a) S) R 1 1");
        tree.task(4, "none\n", "-1\n", "");
        tree.write("proc/3/task/x/patch_state", "1");
        let patch = sysfs::patch(&tree.roots, "a").unwrap();
        let (number, mut tasks) = remaining(&tree.roots, &patch, Direction::Unpatched);
        tasks.sort_by_key(|t| t.pid);
        assert_eq!(number, 2);
        assert_eq!(tasks[0].function.as_deref(), Some("new_f"));
        assert_eq!(tasks[1].obstacle.as_deref(), Some("running"));
    }

    #[test]
    fn only_the_first_tasks_are_described() {
        let tree = Tree::new();
        tree.patch("a", "1", "1");
        for pid in 1..=40 {
            tree.task(pid, "x\n", "0\n", "");
        }
        let patch = sysfs::patch(&tree.roots, "a").unwrap();
        let (number, tasks) = remaining(&tree.roots, &patch, Direction::Patched);
        assert_eq!((number, tasks.len()), (40, 32));
    }
}
