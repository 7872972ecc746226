// SPDX-License-Identifier: GPL-2.0

//! Figures in the text format of Prometheus, for the textfile collector of node_exporter.

use crate::{
    error::{Error, Result},
    marker,
    output::Output,
    roots::Roots,
    store,
    sysfs::{self, Patch, State},
    transition,
};
use serde::Serialize;
use serde_json::json;
use std::{collections::BTreeMap, io::Write, path::Path};

/// A figure.
#[derive(Debug, Serialize)]
struct Sample {
    name: &'static str,
    labels: BTreeMap<&'static str, String>,
    value: f64,
}

/// A name, its help, and its samples: a patch's name, if it is of a patch, and a value.
type Family = (&'static str, &'static str, Vec<(Option<String>, f64)>);

/// Milliseconds as seconds.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn bit(b: bool) -> f64 {
    f64::from(u8::from(b))
}

fn families(roots: &Roots) -> Result<Vec<Family>> {
    let mut all = patch_families(&sysfs::patches(roots)?);
    let transition = transition::current(roots)?;
    let running = transition.as_ref().and_then(|t| t.running_ms);
    let remaining = transition.as_ref().and_then(|t| t.remaining);
    all.push((
        "klp_transition_seconds",
        "Time since the transition under way began; 0 if there is none or the kernel does not say it.",
        vec![(None, running.map_or(0.0, seconds))],
    ));
    all.push((
        "klp_tasks_remaining",
        "Number of tasks that the transition under way waits for.",
        vec![(None, remaining.unwrap_or(0) as f64)],
    ));
    all.extend(boot_families(&marker::states(roots, &roots.release()?)));
    Ok(all)
}

fn patch_families(patches: &[Patch]) -> Vec<Family> {
    let of = |value: &dyn Fn(&Patch) -> Option<f64>| {
        patches
            .iter()
            .filter_map(|p| Some((Some(p.name.clone()), value(p)?)))
            .collect::<Vec<_>>()
    };
    vec![
        (
            "klp_patches_loaded",
            "Number of livepatch modules that are loaded.",
            vec![(None, patches.len() as f64)],
        ),
        (
            "klp_patch_enabled",
            "Whether the patch is enabled, or being enabled.",
            of(&|p| Some(bit(matches!(p.state, State::Enabled | State::Enabling)))),
        ),
        (
            "klp_transition_running",
            "Whether a transition of the patch is under way.",
            of(&|p| Some(bit(p.state.in_transition()))),
        ),
        (
            "klp_last_transition_seconds",
            "Duration of the last transition of the patch that has ended.",
            of(&|p| {
                let ended = !p.state.in_transition();
                p.transition_ms.filter(|_| ended).map(seconds)
            }),
        ),
    ]
}

fn boot_families(boot: &[marker::BootState]) -> Vec<Family> {
    let of = |value: &dyn Fn(&marker::BootState) -> f64| {
        boot.iter()
            .map(|b| (Some(b.name.clone()), value(b)))
            .collect::<Vec<_>>()
    };
    vec![
        (
            "klp_boot_failures",
            "Number of boots in a row that failed while the installed patch was loaded.",
            of(&|b| f64::from(b.failures)),
        ),
        (
            "klp_boot_left_out",
            "Whether the installed patch is left out at boot after failures.",
            of(&|b| bit(b.left_out)),
        ),
    ]
}

/// The value of a label, as the format wants it.
fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for (name, help, samples) in families {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (patch, value) in samples {
            let labels = match patch {
                Some(patch) => format!("{{patch=\"{}\"}}", escape(patch)),
                None => String::new(),
            };
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    }
    text
}

/// `klp metrics`
pub fn metrics(roots: &Roots, output: Option<&Path>) -> Result<Output> {
    let families = families(roots)?;
    let text = text(&families);
    let samples: Vec<Sample> = families
        .into_iter()
        .flat_map(|(name, _, samples)| {
            samples.into_iter().map(move |(patch, value)| Sample {
                name,
                labels: patch.map(|p| ("patch", p)).into_iter().collect(),
                value,
            })
        })
        .collect();
    let json = json!({ "metrics": samples });
    let Some(path) = output else {
        return Ok(Output::new(text, json));
    };
    // A collector must not read half of it.
    let path = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(path),
        _ => path.to_path_buf(),
    };
    store::write_whole(&path, 0o644, |f| f.write_all(text.as_bytes()))
        .map_err(|e| Error::io(format!("cannot write {}", path.display()), &e))?;
    Ok(Output::new("", json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn each_figure_has_help_and_type() {
        let tree = Tree::new();
        tree.patch("a", "1", "0");
        tree.write("sys/kernel/livepatch/a/transition_ms", "31");
        tree.patch("b", "0", "1");
        tree.write("sys/kernel/livepatch/b/transition_ms", "2000");
        tree.write("sys/kernel/livepatch/b/remaining_tasks", "3");
        tree.write("var/lib/klp/7.3.4/c.ko", "");
        tree.write("var/lib/klp/7.3.4/booting/c", "failures=2 boot=x tried=no");
        let text = metrics(&tree.roots, None).unwrap().text;
        for line in [
            "klp_patches_loaded 2",
            "klp_patch_enabled{patch=\"a\"} 1",
            "klp_patch_enabled{patch=\"b\"} 0",
            "klp_transition_running{patch=\"b\"} 1",
            "klp_transition_seconds 2",
            "klp_tasks_remaining 3",
            "klp_last_transition_seconds{patch=\"a\"} 0.031",
            "klp_boot_failures{patch=\"c\"} 2",
            "klp_boot_left_out{patch=\"c\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
        assert_eq!(text.matches("# HELP").count(), 8);
        assert_eq!(text.matches("# TYPE").count(), 8);
        assert!(!text.contains("klp_last_transition_seconds{patch=\"b\"}"));
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }
}
