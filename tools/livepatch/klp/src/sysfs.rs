// SPDX-License-Identifier: GPL-2.0

//! The patches, as `/sys/kernel/livepatch` and `/sys/module` have them. Any of them may vanish
//! while it is read.

use crate::{error::Result, roots::Roots};
use serde::Serialize;
use std::{fs, path::Path};

/// What a patch does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Enabled, and no transition of it is under way.
    Enabled,
    /// Its transition to the patched state is under way.
    Enabling,
    /// Its transition to the unpatched state is under way.
    Disabling,
    /// Its module is loaded, and can be unloaded.
    Disabled,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Enabled => "enabled",
            State::Enabling => "enabling",
            State::Disabling => "disabling",
            State::Disabled => "disabled",
        }
    }

    /// Whether a transition of the patch is under way.
    pub fn in_transition(self) -> bool {
        matches!(self, State::Enabling | State::Disabling)
    }
}

/// A function that a patch replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Which of several of that name: 0 and 1 are the first.
    pub sympos: u32,
    /// The replacement, if the core says it.
    pub new_function: Option<String>,
    /// The module of the replacement, if the core says it.
    pub new_module: Option<String>,
}

/// A module, or the kernel itself ("vmlinux"), with the functions that are replaced in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Whether it is loaded and patched.
    pub patched: bool,
    /// Its functions.
    pub functions: Vec<Function>,
}

/// A patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// The name of its module.
    pub name: String,
    /// What it does now.
    pub state: State,
    /// Whether it replaces all earlier ones. Old kernels do not say it.
    pub replace: Option<bool>,
    /// Its place among the enabled ones. Old kernels do not say it.
    pub stack_order: Option<u32>,
    /// How many tasks have not switched, if the core says it.
    pub remaining_tasks: Option<u64>,
    /// The duration of the last transition, or of the one under way so far, if the core says it.
    pub transition_ms: Option<u64>,
    /// How many users the module has.
    pub references: Option<u64>,
    /// What it patches.
    pub objects: Vec<Object>,
}

/// The first line of a file, if it is there.
pub fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_string())
}

/// The number in a file, if it is there and is one.
fn number<T: std::str::FromStr>(path: &Path) -> Option<T> {
    line(path)?.parse().ok()
}

/// The names of the folders in a folder, sorted.
fn folders(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// What an enabled patch does now. Nothing if there is no folder of it.
pub fn state(roots: &Roots, name: &str) -> Option<State> {
    let dir = roots.livepatch.join(name);
    // This order: a transition that ends between the two is seen as under way still, which the
    // next look corrects.
    let transition: u8 = number(&dir.join("transition"))?;
    let enabled: u8 = number(&dir.join("enabled"))?;
    Some(match (enabled != 0, transition != 0) {
        (true, false) => State::Enabled,
        (true, true) => State::Enabling,
        // Without a transition it is about to vanish.
        (false, _) => State::Disabling,
    })
}

/// Whether there is a folder of the patch.
pub fn exists(roots: &Roots, name: &str) -> bool {
    roots.livepatch.join(name).is_dir()
}

fn function(dir: &Path, entry: &str) -> Function {
    let (name, sympos) = entry.rsplit_once(',').unwrap_or((entry, "0"));
    let new = line(&dir.join("new_func")).unwrap_or_default();
    let mut words = new.split_whitespace();
    Function {
        name: name.to_string(),
        sympos: sympos.parse().unwrap_or(0),
        new_function: words.next().map(str::to_string),
        new_module: words.next().map(|w| w.trim_matches(['[', ']']).to_string()),
    }
}

fn objects(dir: &Path) -> Vec<Object> {
    let object = |name: String| {
        let dir = dir.join(&name);
        let functions = folders(&dir)
            .iter()
            .map(|entry| function(&dir.join(entry), entry))
            .collect();
        Object {
            patched: number::<u8>(&dir.join("patched")) == Some(1),
            functions,
            name,
        }
    };
    folders(dir).into_iter().map(object).collect()
}

/// A patch that is enabled or in transition.
pub fn patch(roots: &Roots, name: &str) -> Option<Patch> {
    let dir = roots.livepatch.join(name);
    Some(Patch {
        state: state(roots, name)?,
        name: name.to_string(),
        replace: number::<u8>(&dir.join("replace")).map(|n| n != 0),
        stack_order: number(&dir.join("stack_order")),
        remaining_tasks: number(&dir.join("remaining_tasks")),
        transition_ms: number(&dir.join("transition_ms")),
        references: references(roots, name),
        objects: objects(&dir),
    })
}

/// How many users a module has. Nothing if it is not loaded.
pub fn references(roots: &Roots, name: &str) -> Option<u64> {
    number(&roots.modules.join(name).join("refcnt"))
}

/// Whether a loaded module is a livepatch: it taints the kernel as one (K).
pub fn is_livepatch_module(roots: &Roots, name: &str) -> bool {
    line(&roots.modules.join(name).join("taint")).is_some_and(|t| t.contains('K'))
}

/// The livepatch modules that are loaded and have no folder any more.
pub fn disabled(roots: &Roots) -> Vec<Patch> {
    folders(&roots.modules)
        .into_iter()
        .filter(|name| is_livepatch_module(roots, name) && !exists(roots, name))
        .map(|name| Patch {
            references: references(roots, &name),
            name,
            state: State::Disabled,
            replace: None,
            stack_order: None,
            remaining_tasks: None,
            transition_ms: None,
            objects: Vec::new(),
        })
        .collect()
}

/// All patches: the enabled ones in their order, then the disabled ones.
pub fn patches(roots: &Roots) -> Result<Vec<Patch>> {
    roots.need_livepatch()?;
    let mut found: Vec<Patch> = folders(&roots.livepatch)
        .iter()
        .filter_map(|name| patch(roots, name))
        .collect();
    found.sort_by(|a, b| (a.stack_order, &a.name).cmp(&(b.stack_order, &b.name)));
    found.extend(disabled(roots));
    Ok(found)
}

/// The patch whose transition is under way.
pub fn in_transition(roots: &Roots) -> Option<(String, State)> {
    folders(&roots.livepatch).into_iter().find_map(|name| {
        let transition: u8 = number(&roots.livepatch.join(&name).join("transition"))?;
        (transition != 0)
            .then(|| state(roots, &name))
            .flatten()
            .filter(|s| s.in_transition())
            .map(|s| (name, s))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn an_old_kernel_has_fewer_files() {
        let tree = Tree::new();
        tree.patch("a", "1", "0");
        let patch = patch(&tree.roots, "a").unwrap();
        assert_eq!(patch.state, State::Enabled);
        assert_eq!(patch.replace, None);
        assert_eq!(patch.stack_order, None);
        assert_eq!(patch.transition_ms, None);
        assert_eq!(patch.references, Some(0));
        assert!(patch.objects.is_empty());
    }

    #[test]
    fn a_new_kernel_names_the_replacements() {
        let tree = Tree::new();
        tree.patch("a", "0", "1");
        let object = "sys/kernel/livepatch/a/ext4";
        tree.write(&format!("{object}/patched"), "1\n");
        tree.write(&format!("{object}/f.x,2/new_func"), "new_f [a]\n");
        tree.write(&format!("{object}/g,1/new_func"), "\n");
        tree.write("sys/kernel/livepatch/a/transition_ms", "31\n");
        let patch = patch(&tree.roots, "a").unwrap();
        assert_eq!(patch.state, State::Disabling);
        assert_eq!(patch.transition_ms, Some(31));
        let object = &patch.objects[0];
        assert!(object.patched);
        assert_eq!(object.functions[0].name, "f.x");
        assert_eq!(object.functions[0].sympos, 2);
        assert_eq!(object.functions[0].new_function.as_deref(), Some("new_f"));
        assert_eq!(object.functions[0].new_module.as_deref(), Some("a"));
        assert_eq!(object.functions[1].new_function, None);
    }

    #[test]
    fn patches_are_in_the_order_of_the_stack() {
        let tree = Tree::new();
        for (name, order) in [("a", "2"), ("b", "1")] {
            tree.patch(name, "1", "0");
            tree.write(&format!("sys/kernel/livepatch/{name}/stack_order"), order);
        }
        tree.module("old", "OEK", "0");
        tree.module("ext4", "", "1");
        let names: Vec<_> = patches(&tree.roots)
            .unwrap()
            .into_iter()
            .map(|p| (p.name, p.state))
            .collect();
        assert_eq!(
            names,
            [
                ("b".to_string(), State::Enabled),
                ("a".to_string(), State::Enabled),
                ("old".to_string(), State::Disabled)
            ]
        );
    }

    #[test]
    fn a_folder_without_files_is_no_patch() {
        let tree = Tree::new();
        tree.write("sys/kernel/livepatch/a/x", "");
        assert!(patches(&tree.roots).unwrap().is_empty());
        assert!(in_transition(&tree.roots).is_none());
        tree.patch("b", "1", "1");
        assert_eq!(
            in_transition(&tree.roots),
            Some(("b".to_string(), State::Enabling))
        );
    }
}
