// SPDX-License-Identifier: GPL-2.0

//! `klp`: load, watch and administer livepatches of the running kernel.
//!
//! It works with both livepatch cores. What only the core in Rust says is taken from there, and
//! else found in `/proc`. `Documentation/livepatch/klp.rst` is the manual.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]
#![deny(unsafe_code)]

mod boot;
mod change;
mod cli;
mod debugfs;
mod error;
mod kernel;
mod lock;
mod manage;
mod marker;
mod metrics;
mod module;
mod output;
mod proc;
mod progress;
mod roots;
mod show;
mod store;
mod sysfs;
#[cfg(test)]
mod testing;
mod text;
mod transition;
mod verify;
mod wait;

use change::Changes;
use clap::{error::ErrorKind, CommandFactory, Parser};
use cli::{Cli, Command};
use error::{Error, Exit, Result};
use output::Output;
use roots::Roots;
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    let roots = Roots::new(cli.root.as_deref()).with_state(&cli.state);
    let name = cli.command.name();
    match run(&roots, &cli) {
        Ok(output) => {
            // What is no data has no JSON: completions, and what watch has printed by itself.
            if cli.json && !output.json.is_null() {
                output::print_json(&output::envelope(name, &output.json));
            } else {
                output::print(&output.text);
            }
            ExitCode::from(output.exit.map_or(0, |e| e as u8))
        }
        Err(e) => {
            eprintln!("klp: {e}");
            if cli.json {
                output::print_json(&output::error_json(name, &e));
            }
            ExitCode::from(e.exit as u8)
        }
    }
}

/// What is wrong with the command line, or the help that was asked for.
fn usage(e: &clap::Error) -> ExitCode {
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(&e.to_string());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            eprintln!("klp: which command? klp --help lists them");
            ExitCode::from(Exit::Usage as u8)
        }
        _ => {
            let text = e.to_string();
            let line = text.lines().next().unwrap_or_default();
            let line = line.trim_start_matches("error: ").trim_end_matches(':');
            // The list that follows some messages names what is missing.
            let what: Vec<_> = text
                .lines()
                .skip(1)
                .take_while(|l| l.starts_with("  "))
                .map(str::trim)
                .collect();
            let list = if what.is_empty() {
                String::new()
            } else {
                format!(": {}", what.join(", "))
            };
            eprintln!("klp: {line}{list}; see klp --help");
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

/// Run a command that reads, or hand one that changes something on.
fn run(roots: &Roots, cli: &Cli) -> Result<Output> {
    match &cli.command {
        Command::List => show::list(roots),
        Command::Status { patch } => {
            patch.as_deref().map_or(Ok(()), store::check_name)?;
            show::status(roots, patch.as_deref())
        }
        Command::Why => show::why(roots),
        Command::Watch { interval, forever } => {
            let changes = Changes::new(roots, cli.json)?;
            show::watch(&changes, cli.json, *interval, *forever)?;
            Ok(Output::new("", ()))
        }
        Command::History => show::history(roots),
        Command::Metrics { output } => metrics::metrics(roots, output.as_deref()),
        Command::Verify { file, kernel } => manage::verify(roots, file, kernel.as_deref()),
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "klp", &mut out);
            Ok(Output::new(String::from_utf8_lossy(&out), ()))
        }
        Command::Man => manual(),
        _ => change(roots, cli),
    }
}

/// The manual page, with all commands in it.
fn manual() -> Result<Output> {
    let mut out = Vec::new();
    let mut all = Cli::command();
    all.build();
    let rendered = clap_mangen::Man::new(all.clone()).render(&mut out);
    let rendered = all
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
        .fold(rendered, |done, command| {
            done?;
            let man = clap_mangen::Man::new(command.clone());
            out.extend_from_slice(format!(".SH \"KLP {}\"\n", command.get_name()).as_bytes());
            man.render_synopsis_section(&mut out)?;
            man.render_description_section(&mut out)?;
            man.render_options_section(&mut out)
        });
    rendered.map_err(|e| Error::io("cannot write the manual", &e))?;
    Ok(Output::new(String::from_utf8_lossy(&out), ()))
}

/// Run a command that waits for or changes something.
fn change(roots: &Roots, cli: &Cli) -> Result<Output> {
    // Before signals are watched for: an answer can be interrupted.
    if let Command::Force { patch, yes } = &cli.command {
        store::check_name(patch)?;
        manage::before_force(roots, patch, *yes)?;
    }
    let changes = Changes::new(roots, cli.json)?;
    match &cli.command {
        Command::Load {
            file,
            parameters,
            waiting,
        } => {
            let path = change::file(roots, file)?;
            let _lock = change::begin(roots, &format!("load {file}"))?;
            changes.load(&path, &parameters.join(" "), waiting)
        }
        Command::Disable { patch, waiting } => {
            store::check_name(patch)?;
            let _lock = change::begin(roots, &format!("disable {patch}"))?;
            changes.disable(patch, waiting)
        }
        Command::Unload { patch, waiting } => {
            store::check_name(patch)?;
            let _lock = change::begin(roots, &format!("unload {patch}"))?;
            changes.unload(patch, &waiting.into())
        }
        Command::Wait { patch, waiting } => {
            roots.need_livepatch()?;
            patch.as_deref().map_or(Ok(()), store::check_name)?;
            changes.wait_command(patch.as_deref(), &waiting.into())
        }
        Command::Reverse { patch, waiting } => {
            store::check_name(patch)?;
            roots.need_root()?;
            roots.need_livepatch()?;
            changes.reverse(patch, waiting)
        }
        Command::Force { patch, .. } => changes.force(patch),
        _ => administer(&changes, cli),
    }
}

/// Run a command that is about installed patches.
fn administer(changes: &Changes<'_>, cli: &Cli) -> Result<Output> {
    let roots = changes.roots;
    match &cli.command {
        Command::Install {
            file: Some(file),
            kernel,
            ..
        } => manage::install(roots, file, kernel.as_deref()),
        Command::Install { .. } => manage::from_kpatch(roots),
        Command::Uninstall { name, kernel } => manage::uninstall(roots, name, kernel.as_deref()),
        Command::Boot {
            settle,
            timeout,
            retry,
        } => {
            let lock = change::begin(roots, "boot")?;
            let options = boot::Options {
                settle: *settle,
                timeout: *timeout,
                retry: retry.clone(),
            };
            boot::boot(changes, lock, &options)
        }
        // All others are handled before.
        _ => Err(Error::failed("this command is not known")),
    }
}

/// The name of a file, for messages.
pub(crate) fn shown(path: &Path) -> String {
    text::clean(&path.display().to_string())
}
