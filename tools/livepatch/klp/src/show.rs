// SPDX-License-Identifier: GPL-2.0

//! The commands that only read: list, status, why, watch, history.

use crate::{
    change::Changes,
    debugfs,
    error::{plain, Error, Exit, Result},
    marker,
    output::{envelope, print, table, Output},
    proc,
    roots::Roots,
    store,
    sysfs::{self, Patch, State},
    text::{clean, count, duration, utc},
    transition::{self, Task, Transition},
    wait,
};
use serde_json::{json, Value};
use std::{fs, io, path::Path, time::Duration};

/// `klp list`
pub fn list(roots: &Roots) -> Result<Output> {
    let patches = sysfs::patches(roots)?;
    let json = json!({ "patches": patches });
    if patches.is_empty() {
        return Ok(Output::new("no patch is loaded", json));
    }
    let row = |p: &Patch| {
        let functions: usize = p.objects.iter().map(|o| o.functions.len()).sum();
        let objects: Vec<_> = p.objects.iter().map(|o| clean(&o.name)).collect();
        vec![
            clean(&p.name),
            p.state.word().to_string(),
            functions.to_string(),
            objects.join(","),
        ]
    };
    let rows = patches.iter().map(row).collect();
    Ok(Output::new(
        table(&["NAME", "STATE", "FUNCTIONS", "OBJECTS"], rows),
        json,
    ))
}

/// `klp status [PATCH]`
pub fn status(roots: &Roots, patch: Option<&str>) -> Result<Output> {
    let mut patches = sysfs::patches(roots)?;
    if let Some(name) = patch {
        patches.retain(|p| p.name == name);
        if patches.is_empty() {
            return Err(Error::new(
                Exit::NotFound,
                format!("no patch {name} is loaded; to see which are: klp list"),
            ));
        }
    }
    // What tasks do may be hidden from an ordinary user; the rest is not.
    let transition = match transition::current(roots) {
        Ok(t) => t,
        Err(e) if e.exit == Exit::NotPermitted => None,
        Err(e) => return Err(e),
    };
    let release = roots.release()?;
    let installed = store::installed(roots);
    let boot = marker::states(roots, &release);
    let mut text: String = patches.iter().map(describe).collect();
    if patches.is_empty() {
        text.push_str("no patch is loaded\n");
    }
    if patch.is_none() {
        for one in &installed {
            text.push_str(&format!("installed for {}: {}\n", one.release, one.name));
        }
    }
    for state in boot.iter().filter(|b| b.failures > 0) {
        let consequence = if state.left_out {
            format!(
                " and is LEFT OUT at boot; to try it again: klp boot --retry {}",
                state.name
            )
        } else {
            String::new()
        };
        text.push_str(&format!(
            "{} has failed at {}{consequence}\n",
            state.name,
            count(state.failures.into(), "boot")
        ));
    }
    Ok(Output::new(
        text,
        json!({
            "release": release,
            "patches": patches,
            "transition": transition,
            "installed": installed,
            "boot": boot,
        }),
    ))
}

/// A patch in full.
fn describe(patch: &Patch) -> String {
    let mut text = format!("{}: {}\n", clean(&patch.name), patch.state.word());
    let mut line = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("  {what}: {value}\n"));
        }
    };
    let yes_no = |b: bool| if b { "yes" } else { "no" }.to_string();
    line("replaces earlier patches", patch.replace.map(yes_no));
    line(
        "place in the stack",
        patch.stack_order.map(|n| n.to_string()),
    );
    line("references", patch.references.map(|n| n.to_string()));
    if patch.state.in_transition() {
        line("tasks left", patch.remaining_tasks.map(|n| n.to_string()));
        line("under way for", patch.transition_ms.map(duration));
    } else if patch.state == State::Enabled {
        line("last transition took", patch.transition_ms.map(duration));
    }
    for object in &patch.objects {
        let state = if object.patched {
            "patched"
        } else {
            "not loaded"
        };
        text.push_str(&format!("  {} ({state}):\n", clean(&object.name)));
        for function in &object.functions {
            let position = match function.sympos {
                0 | 1 => String::new(),
                n => format!(" (number {n})"),
            };
            let new = match &function.new_function {
                Some(new) => format!(" -> {}", clean(new)),
                None => String::new(),
            };
            text.push_str(&format!("    {}{position}{new}\n", clean(&function.name)));
        }
    }
    text
}

/// `klp why`
pub fn why(roots: &Roots) -> Result<Output> {
    roots.need_livepatch()?;
    roots.need_root()?;
    let mut found = transition::current(roots)?;
    for task in found.iter_mut().flat_map(|t| &mut t.tasks) {
        if task.stack.is_none() {
            task.stack = proc::stack(roots, task.pid);
        }
    }
    let text = match &found {
        Some(t) => explain(t),
        None => "no transition is under way\n".to_string(),
    };
    Ok(Output::new(text, json!({ "transition": found })))
}

/// A transition and its tasks.
fn explain(t: &Transition) -> String {
    let left = t.remaining.unwrap_or(t.tasks.len() as u64);
    let mut text = format!("{}: {} left\n", transition::title(t), count(left, "task"));
    for task in &t.tasks {
        text.push('\n');
        text.push_str(&explain_task(task));
    }
    let more = left.saturating_sub(t.tasks.len() as u64);
    if more > 0 && !t.tasks.is_empty() {
        text.push_str(&format!("\nand {}\n", count(more, "more task")));
    }
    let patch = clean(&t.patch);
    text.push_str(&format!("\nto turn it back: klp reverse {patch}\n"));
    text
}

fn explain_task(task: &Task) -> String {
    let mut text = format!("task {} ({})", clean(&task.comm), task.pid);
    if let Some(ms) = task.blocked_ms {
        text.push_str(&format!(", blocked for {}", duration(ms)));
    }
    if let Some(n) = task.attempts {
        text.push_str(&format!(", checked {}", count(n, "time")));
    }
    text.push_str(&format!("\n  {}\n", task.explanation));
    for frame in task.stack.iter().flatten() {
        text.push_str(&format!("    {}\n", clean(frame)));
    }
    text
}

/// `klp watch`: prints by itself.
pub fn watch(changes: &Changes<'_>, json: bool, interval: f64, forever: bool) -> Result<()> {
    let roots = changes.roots;
    let mut last = String::new();
    loop {
        let found = transition::current(roots)?;
        let text = match &found {
            Some(t) => watch_line(t),
            None => "no transition is under way".to_string(),
        };
        if json {
            let fields = json!({ "transition": found });
            print(&envelope("watch", &fields).to_string());
        } else if text != last {
            print(&text);
        }
        last = text;
        if found.is_none() && !forever {
            return Ok(());
        }
        let time = Duration::from_secs_f64(interval.max(0.01));
        if wait::sleep(time, &changes.stop) {
            return Err(Error::new(
                Exit::Interrupted,
                "interrupted; nothing was changed",
            ));
        }
    }
}

fn watch_line(t: &Transition) -> String {
    let left = t.remaining.unwrap_or(t.tasks.len() as u64);
    let mut text = format!("{}: {} left", transition::title(t), count(left, "task"));
    if !t.tasks.is_empty() {
        text.push_str(": ");
        text.push_str(&transition::brief_list(&t.tasks));
    }
    text
}

/// `klp history`
pub fn history(roots: &Roots) -> Result<Output> {
    roots.need_livepatch()?;
    let path = roots.debugfs.join("history");
    let past = match fs::read(&path) {
        Ok(text) => debugfs::history(&String::from_utf8_lossy(&text)),
        Err(e) => return Err(no_history(roots, &path, &e)),
    };
    let row = |p: &debugfs::Past| {
        vec![
            p.ended.map(utc).unwrap_or_default(),
            clean(&p.patch),
            p.direction.verb().to_string(),
            format!(
                "{}{}",
                clean(&p.outcome),
                if p.forced { " by force" } else { "" }
            ),
            p.duration_ms.map(duration).unwrap_or_default(),
            p.slowest.as_ref().map(slowest).unwrap_or_default(),
        ]
    };
    let text = if past.is_empty() {
        "no transition has ended since the last boot".to_string()
    } else {
        let head = [
            "ENDED (UTC)",
            "PATCH",
            "TRANSITION",
            "OUTCOME",
            "TOOK",
            "SLOWEST TASK",
        ];
        table(&head, past.iter().map(row).collect())
    };
    let json: Value = json!({ "transitions": past });
    Ok(Output::new(text, json))
}

fn slowest(s: &debugfs::Slowest) -> String {
    transition::brief(&Task {
        pid: s.pid,
        comm: s.comm.clone(),
        obstacle: s.obstacle.clone(),
        function: s.function.clone(),
        ..Task::default()
    })
}

fn no_history(roots: &Roots, path: &Path, e: &io::Error) -> Error {
    if e.kind() == io::ErrorKind::PermissionDenied {
        return Error::new(
            Exit::NotPermitted,
            "the history may be read by root only; run this with sudo or as root",
        );
    }
    let text = if roots.debugfs.is_dir() {
        format!("{}: {}", path.display(), plain(e))
    } else {
        format!(
            "this kernel's livepatch keeps no history, or debugfs is not mounted: {} is missing; \
             to mount it: mount -t debugfs debugfs /sys/kernel/debug",
            path.display()
        )
    };
    Error::failed(text)
}
