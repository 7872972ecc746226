// SPDX-License-Identifier: GPL-2.0

//! The commands that change what the kernel does: load, disable, unload, reverse, force; and
//! wait.

use crate::{
    cli::{OnTimeout, Waiting},
    error::{Error, Exit, Result},
    kernel, lock,
    output::Output,
    roots::Roots,
    store,
    sysfs::{self, State},
    text::{clean, count, duration},
    transition::{self, Task},
    verify,
    wait::{self, End, Stop},
};
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How long a reversal is waited for at least.
const REVERSAL: f64 = 60.0;
/// How long the kernel may take to give up a module, in seconds. Debugging kernels are slow.
const RELEASE: u64 = 30;

/// What all of these commands need.
pub struct Changes<'a> {
    /// Where everything is.
    pub roots: &'a Roots,
    /// Whether nothing is shown while they wait.
    pub silent: bool,
    /// Whether a signal has arrived.
    pub stop: Stop,
}

/// The tasks that block the transition under way, as far as they are known.
fn blocking(roots: &Roots) -> Vec<Task> {
    match transition::current(roots) {
        Ok(Some(t)) => t.tasks,
        _ => Vec::new(),
    }
}

/// Fail if a transition is under way.
pub fn need_no_transition(roots: &Roots) -> Result<()> {
    match sysfs::in_transition(roots) {
        Some((other, state)) => Err(Error::new(
            Exit::Busy,
            format!(
                "a transition is under way: {} {}; wait for it (klp wait) or see what it waits \
                 for (klp why)",
                state.word(),
                clean(&other)
            ),
        )),
        None => Ok(()),
    }
}

impl<'a> Changes<'a> {
    /// For commands that print JSON, or do not.
    pub fn new(roots: &'a Roots, silent: bool) -> Result<Self> {
        let stop = Stop::on_signals().map_err(|e| Error::io("cannot watch for signals", &e))?;
        Ok(Changes {
            roots,
            silent,
            stop,
        })
    }

    fn say(&self, text: &str) {
        if !self.silent {
            eprintln!("klp: {text}");
        }
    }

    fn wait(&self, patch: &str, seconds: Option<f64>) -> End {
        let deadline = seconds.and_then(|s| {
            Instant::now().checked_add(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX))
        });
        wait::for_transition(self.roots, patch, deadline, &self.stop, self.silent)
    }

    /// Fail if a signal has arrived, and say how things are.
    fn need_no_signal(&self, now: &str) -> Result<()> {
        if self.stop.is_set() {
            return Err(Error::new(Exit::Interrupted, format!("interrupted; {now}")));
        }
        Ok(())
    }

    /// The error for a transition that goes on when the command ends.
    fn goes_on(&self, patch: &str, end: End, waiting: &Waiting) -> Error {
        let verb = sysfs::state(self.roots, patch).map_or("the transition of", State::word);
        let advice =
            format!("to turn it back: klp reverse {patch}; to wait for it: klp wait {patch}");
        if end == End::Interrupted {
            let text = format!("interrupted; {verb} {patch} goes on; {advice}");
            return Error::new(Exit::Interrupted, text);
        }
        let tasks = blocking(self.roots);
        let whom = if tasks.is_empty() {
            String::new()
        } else {
            format!(", held up by {}", transition::brief_list(&tasks))
        };
        let seconds = waiting.timeout.unwrap_or_default();
        let text = format!(
            "{verb} {patch} has not ended within {seconds} s and goes on{whom}; \
             to see more: klp why; {advice}"
        );
        Error {
            blocking: tasks,
            ..Error::new(Exit::TimedOut, text)
        }
    }

    /// Turn a transition back that has not ended in time, and wait until that has ended. It may
    /// have ended in the last moment: then this returns its end.
    fn revert(&self, patch: &str, waiting: &Waiting) -> Result<End> {
        let state = sysfs::state(self.roots, patch);
        let (value, wanted) = match state {
            Some(State::Enabling) => ("0", End::Gone),
            Some(State::Disabling) => ("1", End::Enabled),
            Some(_) => return Ok(End::Enabled),
            None => return Ok(End::Gone),
        };
        let tasks = blocking(self.roots);
        self.say(&format!("{patch}: not ended in time; turning it back"));
        match kernel::write(self.roots, patch, "enabled", value) {
            Ok(()) => {}
            Err(_) if !sysfs::exists(self.roots, patch) => return Ok(End::Gone),
            Err(e) => return Err(kernel::refused(&format!("turn {patch} back"), &e)),
        }
        let seconds = waiting.timeout.unwrap_or_default().max(REVERSAL);
        let end = self.wait(patch, Some(seconds));
        if end != wanted {
            return match end {
                End::TimedOut | End::Interrupted => Err(self.goes_on(patch, end, waiting)),
                _ => Ok(end),
            };
        }
        let whom = match transition::brief_list(&tasks) {
            list if list.is_empty() => String::new(),
            list => format!(", held up by {list}"),
        };
        let now = if wanted == End::Gone {
            self.unload_module(patch)?;
            "it was turned back, and its module unloaded"
        } else {
            "it was turned back, and the patch is enabled"
        };
        let seconds = waiting.timeout.unwrap_or_default();
        let text = format!("{patch} has not ended within {seconds} s{whom}; {now}");
        Err(Error {
            blocking: tasks,
            ..Error::new(Exit::Reverted, text)
        })
    }

    /// Wait for a transition as the options say.
    fn wait_as_told(&self, patch: &str, waiting: &Waiting) -> Result<End> {
        let end = self.wait(patch, waiting.timeout);
        match end {
            End::TimedOut if waiting.on_timeout == OnTimeout::Revert => self.revert(patch, waiting),
            End::TimedOut | End::Interrupted => Err(self.goes_on(patch, end, waiting)),
            _ => Ok(end),
        }
    }

    /// Unload the module of a patch that is disabled.
    fn unload_module(&self, patch: &str) -> Result<()> {
        let roots = self.roots;
        let free = || matches!(sysfs::references(roots, patch), Some(0) | None);
        if !wait::until(RELEASE, &self.stop, free) {
            self.need_no_signal(&format!("the module {patch} is disabled and still loaded"))?;
            let n = sysfs::references(roots, patch).unwrap_or_default();
            let text = format!(
                "the module {patch} is in use ({}) and stays loaded; after a forced transition \
                 the kernel keeps it until the next boot",
                count(n, "reference")
            );
            return Err(Error::new(Exit::Busy, text));
        }
        match kernel::unload(roots, patch) {
            Ok(()) => Ok(()),
            // It is gone: another command was faster.
            Err(e) if e.raw_os_error() == Some(2) => Ok(()),
            Err(e) => Err(kernel::refused(&format!("unload {patch}"), &e)),
        }
    }

    /// The checks before a file is loaded. The name of the patch.
    fn before_load(&self, file: &Path) -> Result<String> {
        let roots = self.roots;
        let report = verify::verify(roots, file, &roots.release()?)?;
        if let Some(e) = report.error() {
            return Err(e);
        }
        let name = report.name.replace('-', "_");
        match sysfs::state(roots, &name) {
            Some(State::Enabled) => {
                let text =
                    format!("the patch {name} is enabled already; to see it: klp status {name}");
                return Err(Error::failed(text));
            }
            _ => need_no_transition(roots)?,
        }
        if roots.modules.join(&name).is_dir() {
            if !sysfs::is_livepatch_module(roots, &name) {
                let text =
                    format!("another module {name} is loaded; unload it first: rmmod {name}");
                return Err(Error::failed(text));
            }
            self.say(&format!("{name}: unloading its disabled module first"));
            self.unload_module(&name)?;
        }
        Ok(name)
    }

    /// Load a patch, wait until it is enabled, and unload those that it replaces.
    pub fn load(&self, file: &Path, parameters: &str, waiting: &Waiting) -> Result<Output> {
        let roots = self.roots;
        let name = self.before_load(file)?;
        let before: Vec<String> = sysfs::patches(roots)?
            .into_iter()
            .filter(|p| p.state != State::Disabled)
            .map(|p| p.name)
            .collect();
        let start = Instant::now();
        kernel::load(roots, file, parameters)
            .map_err(|e| kernel::refused(&format!("load {name} ({})", file.display()), &e))?;
        if waiting.no_wait {
            return Ok(changed(&name, "loaded", start, roots, &[]));
        }
        match self.wait_as_told(&name, waiting)? {
            End::Enabled => {}
            _ => {
                self.unload_module(&name)?;
                return Err(Error::failed(format!(
                    "{name} is not enabled: another command has turned it back or replaced it, or \
                     its module enables no patch; its module was unloaded"
                )));
            }
        }
        let replaced = self.unload_replaced(&name, &before)?;
        Ok(changed(&name, "enabled", start, roots, &replaced))
    }

    /// Unload the patches that a new one has replaced.
    fn unload_replaced(&self, name: &str, before: &[String]) -> Result<Vec<String>> {
        let roots = self.roots;
        let mut unloaded = Vec::new();
        if sysfs::patch(roots, name).and_then(|p| p.replace) != Some(true) {
            return Ok(unloaded);
        }
        for other in before.iter().filter(|o| o.as_str() != name) {
            if !wait::until(RELEASE, &self.stop, || !sysfs::exists(roots, other)) {
                self.need_no_signal(&format!("{name} is enabled, and {other} not yet unloaded"))?;
                let text =
                    format!("{name} is enabled, but {other}, which it replaces, is still there");
                return Err(Error::failed(text));
            }
            match self.unload_module(other) {
                Ok(()) => unloaded.push(other.clone()),
                // The new patch is enabled: that the old code stays is no failure of it.
                Err(e) => self.say(&e.text),
            }
        }
        Ok(unloaded)
    }

    /// Disable a patch, without unloading it.
    pub fn disable(&self, patch: &str, waiting: &Waiting) -> Result<Output> {
        let start = Instant::now();
        self.start_disabling(patch)?;
        if waiting.no_wait {
            return Ok(changed(patch, "disabling", start, self.roots, &[]));
        }
        self.finish_disabling(patch, waiting)?;
        Ok(changed(patch, "disabled", start, self.roots, &[]))
    }

    fn start_disabling(&self, patch: &str) -> Result<()> {
        let roots = self.roots;
        match sysfs::state(roots, patch) {
            None if sysfs::is_livepatch_module(roots, patch) => Err(Error::failed(format!(
                "{patch} is disabled already; to unload it: klp unload {patch}"
            ))),
            None => Err(Error::no_patch(patch)),
            // Under way already: wait for it.
            Some(State::Disabling) => Ok(()),
            Some(State::Enabling) => Err(Error::new(
                Exit::Busy,
                format!("{patch} is being enabled; to turn that back: klp reverse {patch}"),
            )),
            Some(_) => {
                need_no_transition(roots)?;
                match kernel::write(roots, patch, "enabled", "0") {
                    Ok(()) => Ok(()),
                    Err(_) if !sysfs::exists(roots, patch) => Ok(()),
                    Err(e) => Err(kernel::refused(&format!("disable {patch}"), &e)),
                }
            }
        }
    }

    fn finish_disabling(&self, patch: &str, waiting: &Waiting) -> Result<()> {
        match self.wait_as_told(patch, waiting)? {
            End::Gone => Ok(()),
            _ => Err(Error::failed(format!(
                "{patch} is enabled: another command has turned the transition back"
            ))),
        }
    }

    /// Unload a patch, and disable it before, if it is enabled.
    pub fn unload(&self, patch: &str, waiting: &Waiting) -> Result<Output> {
        let (start, roots) = (Instant::now(), self.roots);
        if sysfs::exists(roots, patch) {
            self.start_disabling(patch)?;
            self.finish_disabling(patch, waiting)?;
        } else if !roots.modules.join(patch).is_dir() {
            return Err(Error::new(
                Exit::NotFound,
                format!("no patch {patch} is loaded; to see which are: klp list"),
            ));
        } else if !sysfs::is_livepatch_module(roots, patch) {
            return Err(Error::new(
                Exit::NotUsable,
                format!("the module {patch} is not a livepatch; to unload it: rmmod {patch}"),
            ));
        }
        self.unload_module(patch)?;
        Ok(changed(patch, "unloaded", start, roots, &[]))
    }

    /// Wait for the transition under way, or for that of a patch.
    pub fn wait_command(&self, patch: Option<&str>, waiting: &Waiting) -> Result<Output> {
        let (start, roots) = (Instant::now(), self.roots);
        let name = match patch {
            Some(name)
                if !sysfs::exists(roots, name) && !sysfs::is_livepatch_module(roots, name) =>
            {
                return Err(Error::no_patch(name))
            }
            Some(name) => Some(name.to_string()),
            None => sysfs::in_transition(roots).map(|(name, _)| name),
        };
        let Some(name) = name else {
            let json = json!({ "patch": null, "outcome": "none", "waited_ms": 0 });
            return Ok(Output::new("no transition is under way", json));
        };
        let outcome = match self.wait_as_told(&name, waiting)? {
            End::Enabled => "enabled",
            _ => "disabled",
        };
        Ok(changed(&name, outcome, start, roots, &[]))
    }

    /// The state of a patch whose transition is under way.
    fn must_be_in_transition(&self, patch: &str) -> Result<State> {
        match sysfs::state(self.roots, patch) {
            Some(state) if state.in_transition() => Ok(state),
            Some(_) => Err(Error::failed(format!(
                "{patch} is enabled, and no transition of it is under way; to disable it: \
                 klp disable {patch}"
            ))),
            None => Err(Error::no_patch(patch)),
        }
    }

    /// Turn back the transition of a patch. This and `force` take no lock: they are for the
    /// transition that another `klp` waits for.
    pub fn reverse(&self, patch: &str, waiting: &Waiting) -> Result<Output> {
        let start = Instant::now();
        let (value, outcome) = match self.must_be_in_transition(patch)? {
            State::Enabling => ("0", "disabled"),
            _ => ("1", "enabled"),
        };
        if let Err(e) = kernel::write(self.roots, patch, "enabled", value) {
            // It may have ended just before.
            self.must_be_in_transition(patch)?;
            return Err(kernel::refused(&format!("turn {patch} back"), &e));
        }
        if waiting.no_wait {
            return Ok(changed(patch, "reversed", start, self.roots, &[]));
        }
        let wanted = if value == "0" {
            End::Gone
        } else {
            End::Enabled
        };
        match self.wait_as_told(patch, waiting)? {
            end if end == wanted => Ok(changed(patch, outcome, start, self.roots, &[])),
            _ => Err(Error::failed(format!(
                "{patch}: another command has turned the transition back once more"
            ))),
        }
    }

    /// Force the transition of a patch to end.
    pub fn force(&self, patch: &str) -> Result<Output> {
        let start = Instant::now();
        self.must_be_in_transition(patch)?;
        kernel::write(self.roots, patch, "force", "1")
            .map_err(|e| kernel::refused(&format!("force {patch}"), &e))?;
        let waiting = Waiting::default();
        match self.wait_as_told(patch, &waiting)? {
            End::Enabled => Ok(changed(patch, "enabled", start, self.roots, &[])),
            _ => Ok(changed(patch, "disabled", start, self.roots, &[])),
        }
    }
}

/// Take the lock for a command, after checking that it can do anything.
pub fn begin(roots: &Roots, command: &str) -> Result<lock::Lock> {
    roots.need_root()?;
    roots.need_livepatch()?;
    lock::take(roots, command)
}

/// The file that `load` is to load.
pub fn file(roots: &Roots, what: &str) -> Result<std::path::PathBuf> {
    roots.need_root()?;
    roots.need_livepatch()?;
    store::find(roots, what)
}

/// What a command has done.
fn changed(
    patch: &str,
    outcome: &str,
    start: Instant,
    roots: &Roots,
    unloaded: &[String],
) -> Output {
    let waited = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let kernels = sysfs::patch(roots, patch).and_then(|p| p.transition_ms);
    let mut text = match outcome {
        "enabled" | "disabled" | "unloaded" => {
            format!(
                "{patch}: {outcome} after {}\n",
                duration(kernels.unwrap_or(waited))
            )
        }
        _ => format!("{patch}: {outcome}\n"),
    };
    for other in unloaded {
        text.push_str(&format!("{other}: replaced and unloaded\n"));
    }
    Output::new(
        text,
        json!({
            "patch": patch,
            "outcome": outcome,
            "waited_ms": waited,
            "transition_ms": kernels,
            "unloaded": unloaded,
        }),
    )
}

/// What a person must know before forcing.
pub fn force_warning(patch: &str) -> String {
    format!(
        "Forcing the transition of {patch} makes all tasks switch now, also those that are in a \
         function\nthat changes: they may go on with old and new code mixed, and the kernel may \
         crash or lose data.\nThe modules of patches that tasks were forced to leave can not be \
         unloaded until the next boot.\nklp why shows the tasks. Often it is enough to stop them, \
         or to send them a signal.\n"
    )
}
