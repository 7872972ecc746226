// SPDX-License-Identifier: GPL-2.0

//! Loading the installed patches at boot, without letting one of them keep a machine down.

use crate::{
    change::Changes,
    cli::Waiting,
    error::{Error, Exit, Result},
    lock::Lock,
    marker,
    output::Output,
    roots::Roots,
    store, sysfs, wait,
};
use serde::Serialize;
use serde_json::json;
use std::{fs::OpenOptions, io::Write, time::Duration};

/// How to boot.
pub struct Options {
    /// How long the machine must stay up, in seconds.
    pub settle: f64,
    /// How long a transition may take, in seconds.
    pub timeout: f64,
    /// Only this patch.
    pub retry: Option<String>,
}

/// What has become of the patches.
#[derive(Default, Serialize)]
struct Summary {
    loaded: Vec<String>,
    already_loaded: Vec<String>,
    left_out: Vec<String>,
    failed: Vec<Failure>,
    not_tried: Vec<String>,
    settled: bool,
}

#[derive(Serialize)]
struct Failure {
    name: String,
    message: String,
    exit_code: u8,
}

/// Say something where it is seen also if the machine goes down: on stderr and in the kernel
/// log.
fn shout(roots: &Roots, text: &str) {
    eprintln!("klp: {text}");
    // 2: critical. That there is no kernel log to write to is no reason to stop.
    if let Ok(mut kmsg) = OpenOptions::new().append(true).open(&roots.kmsg) {
        let _ = kmsg.write_all(format!("<2>klp: {text}\n").as_bytes());
    }
}

/// Load what is installed for the running kernel. The lock is released before the time in
/// which the machine must stay up begins.
pub fn boot(changes: &Changes<'_>, lock: Lock, options: &Options) -> Result<Output> {
    let roots = changes.roots;
    let release = roots.release()?;
    let mut names = store::installed_for(roots, &release);
    if let Some(name) = &options.retry {
        store::check_name(name)?;
        if !names.contains(name) {
            let text = format!("no patch {name} is installed for {release}; see klp status");
            return Err(Error::new(Exit::NotFound, text));
        }
        marker::remove(roots, &release, name)?;
        names.retain(|n| n == name);
    }
    let mut summary = Summary::default();
    let mut names = names.into_iter();
    for name in names.by_ref() {
        if !one(changes, &release, &name, options, &mut summary)? {
            break;
        }
    }
    summary.not_tried = names.collect();
    drop(lock);
    settle(changes, &release, options, &mut summary)?;
    Ok(report(&release, &summary))
}

/// Load one patch. Whether to go on with the next.
fn one(
    changes: &Changes<'_>,
    release: &str,
    name: &str,
    options: &Options,
    summary: &mut Summary,
) -> Result<bool> {
    let roots = changes.roots;
    if sysfs::exists(roots, &name.replace('-', "_")) {
        summary.already_loaded.push(name.to_string());
        return Ok(true);
    }
    let failures = marker::failures(roots, release, name);
    if failures >= marker::LIMIT {
        marker::write(roots, release, name, failures, false)?;
        shout(
            roots,
            &format!(
                "PATCH {name} IS LEFT OUT: the machine went down {failures} times while or soon \
                 after it was loaded; to try it again: klp boot --retry {name}, or install a \
                 better one"
            ),
        );
        summary.left_out.push(name.to_string());
        return Ok(true);
    }
    marker::write(roots, release, name, failures, true)?;
    let waiting = Waiting {
        timeout: Some(options.timeout),
        ..Waiting::default()
    };
    let file = store::path(roots, release, name);
    let Err(e) = changes.load(&file, "", &waiting) else {
        summary.loaded.push(name.to_string());
        return Ok(true);
    };
    shout(roots, &format!("patch {name} is not enabled: {e}"));
    summary.failed.push(Failure {
        name: name.to_string(),
        message: e.text,
        exit_code: e.exit as u8,
    });
    // Others cannot be loaded while its transition goes on.
    let goes_on = matches!(e.exit, Exit::TimedOut | Exit::Interrupted);
    if !goes_on {
        // The kernel is alive, and runs without it.
        marker::remove(roots, release, name)?;
    }
    Ok(!goes_on)
}

/// Wait until the machine has stayed up, and remove the markers. A signal ends the wait: then
/// the machine is being shut down in order, which is no failure of a patch.
fn settle(
    changes: &Changes<'_>,
    release: &str,
    options: &Options,
    summary: &mut Summary,
) -> Result<()> {
    let roots = changes.roots;
    // Also those of transitions that go on, and of a `klp boot` that was killed after it had
    // loaded its patches.
    let marked: Vec<&String> = summary
        .loaded
        .iter()
        .chain(&summary.already_loaded)
        .chain(summary.failed.iter().map(|f| &f.name))
        .filter(|name| marker::read(roots, release, name).is_some())
        .collect();
    if !marked.is_empty() {
        wait::sleep(Duration::from_secs_f64(options.settle), &changes.stop);
    }
    for name in marked {
        marker::remove(roots, release, name)?;
    }
    summary.settled = !changes.stop.is_set();
    Ok(())
}

fn report(release: &str, summary: &Summary) -> Output {
    let mut text = String::new();
    let mut lines = |names: &[String], what: &str| {
        for name in names {
            text.push_str(&format!("{name}: {what}\n"));
        }
    };
    lines(&summary.loaded, "loaded");
    lines(&summary.already_loaded, "already loaded");
    lines(&summary.left_out, "left out after failures");
    lines(&summary.not_tried, "not tried");
    for failure in &summary.failed {
        text.push_str(&format!("{}: failed\n", failure.name));
    }
    if text.is_empty() {
        text = format!("no patch is installed for {release}\n");
    }
    let mut json = json!({ "release": release });
    if let (Some(to), Ok(serde_json::Value::Object(from))) =
        (json.as_object_mut(), serde_json::to_value(summary))
    {
        to.extend(from);
    }
    let bad = !summary.failed.is_empty() || !summary.left_out.is_empty();
    let timed_out = summary
        .failed
        .iter()
        .any(|f| f.exit_code == Exit::TimedOut as u8);
    let mut output = Output::new(text, json);
    output.exit = match (summary.settled, timed_out, bad) {
        (false, _, _) => Some(Exit::Interrupted),
        (_, true, _) => Some(Exit::TimedOut),
        (_, _, true) => Some(Exit::Failed),
        _ => None,
    };
    output
}
