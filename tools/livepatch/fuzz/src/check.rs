// SPDX-License-Identifier: GPL-2.0

//! What must hold of a kernel when no transition is under way and no task is held.

use crate::operation::{what_is, Kind, CALLS, PATCHES, TARGET};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A patch, as `/sys/kernel/livepatch` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) transition: bool,
    pub(crate) replace: bool,
    /// Its number in the order in which patches were enabled, from 1.
    pub(crate) order: u64,
    /// The module's parameter, if it has it.
    pub(crate) what: Option<String>,
}

/// What a kernel shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) patches: Vec<Patch>,
    /// What the functions of the target return, if it is loaded.
    pub(crate) numbers: Option<[(&'static str, i64); 2]>,
    /// The content of /proc/cmdline.
    pub(crate) cmdline: String,
    /// Tasks with a patch state.
    pub(crate) unsettled: BTreeSet<String>,
}

/// A file's content, without the end of its line.
pub(crate) fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim_end().to_string())
}

/// The names in a folder.
pub(crate) fn names(path: &Path) -> BTreeSet<String> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The patches. One that goes meanwhile is left out.
pub(crate) fn patches(root: &Path) -> Vec<Patch> {
    let folder = root.join("sys/kernel/livepatch");
    let patch = |name: &String| {
        let value = |file: &str| read(&folder.join(name).join(file));
        Some(Patch {
            name: name.clone(),
            enabled: value("enabled")? == "1",
            transition: value("transition")? == "1",
            replace: value("replace")? == "1",
            order: value("stack_order")?.parse().ok()?,
            what: read(&root.join("sys/module").join(name).join("parameters/what")),
        })
    };
    names(&folder).iter().filter_map(patch).collect()
}

/// Whether no transition of these is under way.
pub(crate) fn are_quiet(patches: &[Patch]) -> bool {
    patches
        .iter()
        .all(|patch| patch.enabled && !patch.transition)
}

/// The files with the patch states of all tasks.
pub(crate) fn state_files(root: &Path) -> Vec<PathBuf> {
    let proc = root.join("proc");
    let number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    names(&proc)
        .iter()
        .filter(|name| number(name))
        .flat_map(|pid| {
            let tasks = proc.join(pid).join("task");
            names(&tasks)
                .into_iter()
                .map(move |tid| tasks.join(tid).join("patch_state"))
        })
        .collect()
}

impl State {
    /// What is there now.
    pub(crate) fn read(root: &Path) -> Self {
        let parameters = root.join("sys/module").join(TARGET).join("parameters");
        let number = |name| read(&parameters.join(name)).and_then(|text| text.parse().ok());
        State {
            patches: patches(root),
            numbers: match (number("one"), number("two")) {
                (Some(one), Some(two)) => Some([("one", one), ("two", two)]),
                _ => None,
            },
            cmdline: read(&root.join("proc/cmdline")).unwrap_or_default(),
            unsettled: state_files(root)
                .iter()
                .filter_map(|file| Some((file, read(file)?)))
                .filter(|(_, state)| state != "-1")
                .map(|(file, state)| format!("{} is {state}", file.display()))
                .collect(),
        }
    }

    /// What the newest patch of a function adds to its number.
    fn added(&self, function: &str) -> i64 {
        self.patches
            .iter()
            .filter(|patch| {
                patch
                    .what
                    .as_deref()
                    .and_then(what_is)
                    .is_some_and(|(_, functions)| functions.contains(&function))
            })
            .max_by_key(|patch| patch.order)
            .and_then(|newest| PATCHES.iter().find(|(name, _)| *name == newest.name))
            .map_or(0, |(_, base)| *base)
    }

    /// What is wrong with it, once it is quiet.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.unsettled.iter().cloned().collect();
        let mut orders: Vec<_> = self.patches.iter().map(|patch| patch.order).collect();
        orders.sort_unstable();
        if !orders.iter().copied().eq(1..=self.patches.len() as u64) {
            faults.push(format!("the patches have the order {orders:?}"));
        }
        for patch in &self.patches {
            let replaces = patch.replace || patch.name == CALLS[1];
            if replaces && patch.order != 1 {
                faults.push(format!("{} has left others in front of it", patch.name));
            }
            let kind = patch
                .what
                .as_deref()
                .and_then(what_is)
                .map(|(kind, _)| kind);
            let fits = match kind {
                Some(Kind::Bad) => false,
                Some(Kind::NotWithTarget) => self.numbers.is_none(),
                _ => true,
            };
            if !fits {
                faults.push(format!("{} is enabled: {:?}", patch.name, patch.what));
            }
        }
        for (number, (name, value)) in (1..).zip(self.numbers.iter().flatten()) {
            let expected = number + self.added(name);
            if *value != expected {
                faults.push(format!(
                    "the function {name} returns {value}, not {expected}"
                ));
            }
        }
        let expected = match self.added("cmdline") {
            0 => None,
            base => Some(format!("klpr {base}")),
        };
        let patched = self
            .cmdline
            .starts_with("klpr ")
            .then(|| self.cmdline.clone());
        if patched != expected {
            faults.push(format!("/proc/cmdline has {patched:?}, not {expected:?}"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(name: &str, order: u64, what: &str) -> Patch {
        Patch {
            name: name.into(),
            enabled: true,
            transition: false,
            replace: false,
            order,
            what: Some(what.into()),
        }
    }

    fn state(patches: &[Patch], one: i64, two: i64) -> State {
        State {
            patches: patches.to_vec(),
            numbers: Some([("one", one), ("two", two)]),
            cmdline: "root=/dev/root".into(),
            unsettled: BTreeSet::new(),
        }
    }

    fn faults(state: &State) -> String {
        state.faults().join("; ")
    }

    #[test]
    fn what_is_right_has_no_fault() {
        assert_eq!(faults(&state(&[], 1, 2)), "");
        let stack = [
            patch("klpr_patch_b", 1, "two"),
            patch("klpr_patch_a", 2, "good"),
        ];
        assert_eq!(faults(&state(&stack, 101, 202)), "");
        let stack = [
            patch("klpr_calls_a", 1, "(none)"),
            patch("klpr_patch_c", 2, "unknown"),
        ];
        let mut without_target = state(&stack, 0, 0);
        without_target.numbers = None;
        assert_eq!(faults(&without_target), "");
    }

    #[test]
    fn another_function_than_the_newest_is_found() {
        let stack = [
            patch("klpr_patch_b", 1, "two"),
            patch("klpr_patch_a", 2, "good"),
        ];
        assert_eq!(
            faults(&state(&stack, 201, 2)),
            "the function one returns 201, not 101; the function two returns 2, not 202"
        );
    }

    #[test]
    fn the_function_of_a_patch_that_is_gone_is_found() {
        let mut old = state(&[], 1, 2);
        old.cmdline = "klpr 300".into();
        assert_eq!(
            faults(&old),
            "/proc/cmdline has Some(\"klpr 300\"), not None"
        );
        let mut none = state(&[patch("klpr_patch_c", 1, "vmlinux")], 1, 2);
        assert_eq!(
            faults(&none),
            "/proc/cmdline has None, not Some(\"klpr 300\")"
        );
        none.cmdline = "klpr 300".into();
        assert_eq!(faults(&none), "");
    }

    #[test]
    fn a_wrong_stack_is_found() {
        let mut replace = patch("klpr_patch_a", 2, "good");
        replace.replace = true;
        let stack = [patch("klpr_patch_b", 1, "only_two"), replace];
        assert_eq!(
            faults(&state(&stack, 101, 202)),
            "klpr_patch_a has left others in front of it"
        );
        let stack = [patch("klpr_patch_b", 2, "only_two")];
        assert_eq!(
            faults(&state(&stack, 1, 202)),
            "the patches have the order [2]"
        );
    }

    #[test]
    fn a_bad_patch_is_found() {
        let bad = state(&[patch("klpr_patch_a", 1, "no_objs")], 1, 2);
        assert_eq!(faults(&bad), "klpr_patch_a is enabled: Some(\"no_objs\")");
        let unknown = state(&[patch("klpr_patch_a", 1, "unknown")], 1, 2);
        assert_eq!(
            faults(&unknown),
            "klpr_patch_a is enabled: Some(\"unknown\")"
        );
    }

    #[test]
    fn a_machine_is_read() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, value) in [
            ("enabled", "1"),
            ("transition", "1"),
            ("replace", "0"),
            ("stack_order", "1"),
        ] {
            file(&format!("sys/kernel/livepatch/klpr_patch_a/{name}"), value);
        }
        file("sys/module/klpr_patch_a/parameters/what", "good\n");
        file("sys/module/klpr_target/parameters/one", "101\n");
        file("sys/module/klpr_target/parameters/two", "2\n");
        file("proc/cmdline", "quiet\n");
        file("proc/7/task/8/patch_state", "0\n");
        file("proc/7/task/7/patch_state", "-1\n");
        let state = State::read(root.path());
        assert!(!are_quiet(&state.patches));
        assert_eq!(state.numbers, Some([("one", 101), ("two", 2)]));
        assert_eq!(state.unsettled.len(), 1);
        assert!(faults(&state).ends_with("proc/7/task/8/patch_state is 0"));
    }
}
