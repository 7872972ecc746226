// SPDX-License-Identifier: GPL-2.0

//! The commands about files: verify, install, uninstall; and the question before force.

use crate::{
    change,
    error::{Error, Exit, Result},
    lock, marker,
    module::Module,
    output::{table, Output},
    roots::Roots,
    shown, store, sysfs, verify,
    verify::Verdict,
};
use serde::Serialize;
use serde_json::json;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The kernel that is meant: by default, the running one.
fn release(roots: &Roots, kernel: Option<&str>) -> Result<String> {
    match kernel {
        Some(release) => {
            store::check_release(release)?;
            Ok(release.to_string())
        }
        None => roots.release(),
    }
}

/// `klp verify`
pub fn verify(roots: &Roots, file: &Path, kernel: Option<&str>) -> Result<Output> {
    let report = verify::verify(roots, file, &release(roots, kernel)?)?;
    let row = |c: &verify::Check| {
        let word = match c.result {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        vec![word.to_string(), c.check.to_string(), c.message.clone()]
    };
    let mut text = table(
        &["RESULT", "CHECK", "FOUND"],
        report.checks.iter().map(row).collect(),
    );
    text.push_str(&if report.usable {
        format!("{}: can be loaded\n", shown(file))
    } else {
        format!("{}: cannot be used\n", shown(file))
    });
    let usable = report.usable;
    let mut output = Output::new(text, report);
    output.exit = (!usable).then_some(Exit::NotUsable);
    Ok(output)
}

/// `klp install FILE`
pub fn install(roots: &Roots, file: &Path, kernel: Option<&str>) -> Result<Output> {
    roots.need_root()?;
    let release = release(roots, kernel)?;
    let report = verify::verify(roots, file, &release)?;
    if let Some(e) = report.error() {
        return Err(e);
    }
    let name = report.name;
    let _lock = lock::take(roots, &format!("install {name}"))?;
    let replaced = store::install(roots, file, &release, &name)?;
    let cleared = marker::remove(roots, &release, &name)?;
    let path = store::path(roots, &release, &name);
    let mut text = format!("{name}: installed for {release} to {}\n", path.display());
    if replaced {
        text.push_str("the file that was there is replaced\n");
    }
    if cleared {
        text.push_str("its failures at boot are forgotten\n");
    }
    Ok(Output::new(
        text,
        json!({ "name": name, "release": release, "path": path, "replaced": replaced }),
    ))
}

/// A patch that kpatch has installed.
#[derive(Serialize)]
struct TakenOver {
    release: String,
    file: PathBuf,
    name: Option<String>,
    copied: bool,
    reason: Option<String>,
}

/// `klp install --from-kpatch`
pub fn from_kpatch(roots: &Roots) -> Result<Output> {
    roots.need_root()?;
    let releases = store::releases(&roots.kpatch);
    if releases.is_empty() {
        let text = format!("kpatch has installed nothing in {}", roots.kpatch.display());
        return Err(Error::new(Exit::NotFound, text));
    }
    let _lock = lock::take(roots, "install --from-kpatch")?;
    let mut found = Vec::new();
    for release in &releases {
        let folder = roots.kpatch.join(release);
        for name in store::names(&folder) {
            let file = folder.join(format!("{name}.ko"));
            found.push(take_over(roots, release, file)?);
        }
    }
    let line = |t: &TakenOver| match (&t.name, &t.reason) {
        (Some(name), None) => format!("{name}: copied from {} for {}\n", shown(&t.file), t.release),
        (_, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            format!("{}: left out: {reason}\n", shown(&t.file))
        }
    };
    let mut text: String = found.iter().map(line).collect();
    text.push_str(
        "kpatch's own files are unchanged; to keep it from loading them, too: \
         systemctl disable kpatch\n",
    );
    let left_out = found.iter().any(|t| !t.copied);
    let mut output = Output::new(text, json!({ "taken_over": found }));
    output.exit = left_out.then_some(Exit::Failed);
    Ok(output)
}

/// Copy one of kpatch's files, if it is a livepatch for the kernel of its folder.
fn take_over(roots: &Roots, release: &str, file: PathBuf) -> Result<TakenOver> {
    let mut taken = TakenOver {
        release: release.to_string(),
        file,
        name: None,
        copied: false,
        reason: None,
    };
    let module = match Module::read(&taken.file) {
        Ok(module) => module,
        Err(reason) => {
            taken.reason = Some(reason);
            return Ok(taken);
        }
    };
    let report = verify::verify(roots, &taken.file, release)?;
    taken.name = Some(module.name.clone());
    if let Some(failed) = report.checks.iter().find(|c| c.result == Verdict::Failed) {
        taken.reason = Some(failed.message.clone());
        return Ok(taken);
    }
    store::install(roots, &taken.file, release, &module.name)?;
    taken.copied = true;
    Ok(taken)
}

/// `klp uninstall`
pub fn uninstall(roots: &Roots, name: &str, kernel: Option<&str>) -> Result<Output> {
    store::check_name(name)?;
    let release = release(roots, kernel)?;
    roots.need_root()?;
    let _lock = lock::take(roots, &format!("uninstall {name}"))?;
    marker::remove(roots, &release, name)?;
    store::uninstall(roots, &release, name)?;
    let loaded = sysfs::exists(roots, name);
    let mut text = format!("{name}: no longer installed for {release}\n");
    if loaded {
        text.push_str(&format!(
            "it is still loaded; to unload it: klp unload {name}\n"
        ));
    }
    Ok(Output::new(
        text,
        json!({ "name": name, "release": release, "loaded": loaded }),
    ))
}

/// Say what forcing means, and ask for the name of the patch.
pub fn before_force(roots: &Roots, patch: &str, yes: bool) -> Result<()> {
    roots.need_root()?;
    roots.need_livepatch()?;
    match sysfs::state(roots, patch) {
        Some(state) if state.in_transition() => {}
        // The command itself says what is wrong.
        _ => return Ok(()),
    }
    eprint!("{}", change::force_warning(patch));
    if yes {
        return Ok(());
    }
    eprintln!("To go on, type the name of the patch:");
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    if answer.trim() == patch {
        return Ok(());
    }
    Err(Error::failed(format!(
        "not forced: the answer is not {patch}; without a terminal, use --yes"
    )))
}
