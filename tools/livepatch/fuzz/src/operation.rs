// SPDX-License-Identifier: GPL-2.0

//! What is done to the kernel, one step at a time, and which errors it may answer with.

use rustix::io::Errno;
use std::fmt;

/// The module whose functions most patches replace.
pub(crate) const TARGET: &str = "klpr_target";

/// The patches that take parameters, and what each adds to the numbers of the functions.
pub(crate) const PATCHES: [(&str, i64); 3] = [
    ("klpr_patch_a", 100),
    ("klpr_patch_b", 200),
    ("klpr_patch_c", 300),
];

/// The patches of system calls; the second one replaces all others.
pub(crate) const CALLS: [&str; 2] = ["klpr_calls_a", "klpr_calls_b"];

/// The module with a kprobe that may change where its function goes.
pub(crate) const KPROBE: &str = "klpr_kprobe";

/// What a patch may be, by its parameter `what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It can be enabled, now and when the target comes.
    Good,
    /// It cannot be enabled while the target is loaded; and while it is enabled, the target cannot
    /// be loaded.
    NotWithTarget,
    /// It is refused.
    Bad,
}

/// Each `what`, and the functions whose result tells that this patch runs.
pub(crate) const WHATS: [(&str, Kind, &[&str]); 18] = [
    ("good", Kind::Good, &["one"]),
    ("two", Kind::Good, &["one", "two"]),
    ("only_two", Kind::Good, &["two"]),
    ("both", Kind::Good, &["one", "cmdline"]),
    ("vmlinux", Kind::Good, &["cmdline"]),
    ("sleep", Kind::Good, &[]),
    ("sleep_hard", Kind::Good, &[]),
    ("sleep_caller", Kind::Good, &[]),
    ("dup2", Kind::Good, &[]),
    ("unknown", Kind::NotWithTarget, &[]),
    ("dup", Kind::NotWithTarget, &[]),
    ("dup3", Kind::NotWithTarget, &[]),
    ("notrace", Kind::NotWithTarget, &["one"]),
    ("twice", Kind::Good, &["one"]),
    ("no_objs", Kind::Bad, &[]),
    ("no_name", Kind::Bad, &[]),
    ("no_new_func", Kind::Bad, &[]),
    ("long_name", Kind::Bad, &[]),
];

/// What is known of a `what`.
pub(crate) fn what_is(what: &str) -> Option<(Kind, &'static [&'static str])> {
    WHATS
        .iter()
        .find(|(name, ..)| *name == what)
        .map(|(_, kind, functions)| (*kind, *functions))
}

/// The parameters of one of [`PATCHES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) what: &'static str,
    pub(crate) replace: bool,
    /// What its pre-patch callback returns, negated.
    pub(crate) pre_patch: u8,
    /// The version of its state; 0: it has none.
    pub(crate) state: u8,
    /// Which of its allocations fails; 0: none.
    pub(crate) fail_nth: u16,
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what={}", self.what)?;
        if self.replace {
            write!(f, " replace=1")?;
        }
        if self.pre_patch != 0 {
            write!(f, " pre_patch_ret=-{}", self.pre_patch)?;
        }
        if self.state != 0 {
            write!(f, " state_version={}", self.state)?;
        }
        if self.fail_nth != 0 {
            write!(f, " fail_nth={}", self.fail_nth)?;
        }
        Ok(())
    }
}

/// Files that are read, all that there are in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    /// `/sys/kernel/livepatch`
    Patches,
    /// `/sys/kernel/debug/livepatch`
    Debug,
    /// `/proc/<pid>/patch_state`
    States,
    /// ftrace's lists of functions.
    Functions,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Load one of [`PATCHES`].
    Patch(&'static str, Parameters),
    /// Load a module, with its parameters.
    Load(&'static str, &'static str),
    /// Load the patch with relocations, mangled as this seed decides.
    Mangled(u64),
    /// Unload a module.
    Unload(&'static str),
    /// Write to a file of a patch.
    Write(&'static str, &'static str, Vec<u8>),
    /// Read all files of a folder.
    Read(Folder),
    /// Make a task sleep in this function of the target.
    Hold(&'static str),
    /// Wake up all of them.
    Release,
    /// Stop or continue the newest one of them by a signal.
    Signal(&'static str),
    /// Let processes come and go that call patched functions.
    Processes,
    /// Take the second CPU off, or back.
    Cpu(bool),
    /// Use one of ftrace's tracers, or none.
    Tracer(&'static str),
    /// Add, or remove, a probe by tracefs.
    Probe(&'static str),
    /// Turn the trace events of livepatch on or off.
    Events(bool),
    /// Turn ftrace off or on.
    Ftrace(bool),
}

/// A value as it is written, short enough for a line.
fn shown(value: &[u8]) -> String {
    let short: String = value
        .iter()
        .take(12)
        .flat_map(|byte| std::ascii::escape_default(*byte))
        .map(char::from)
        .collect();
    if value.len() > 12 {
        format!("\"{short}\"... ({} bytes)", value.len())
    } else {
        format!("\"{short}\"")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch(name, parameters) => write!(f, "load {name} {parameters}"),
            Self::Load(name, "") => write!(f, "load {name}"),
            Self::Load(name, parameters) => write!(f, "load {name} {parameters}"),
            Self::Mangled(seed) => write!(f, "load klpr_patch_a, mangled by {seed}"),
            Self::Unload(name) => write!(f, "unload {name}"),
            Self::Write(patch, file, value) => {
                write!(f, "write {} to {patch}/{file}", shown(value))
            }
            Self::Read(folder) => write!(f, "read {folder:?}"),
            Self::Hold(function) => write!(f, "hold a task in {function}"),
            Self::Release => write!(f, "release the tasks"),
            Self::Signal(signal) => write!(f, "send {signal} to the newest task"),
            Self::Processes => write!(f, "let processes come and go"),
            Self::Cpu(on) => write!(f, "take CPU 1 {}", if *on { "back" } else { "off" }),
            Self::Tracer(name) => write!(f, "use the tracer {name}"),
            Self::Probe(line) => write!(f, "probe {line}"),
            Self::Events(on) => write!(f, "turn events {}", if *on { "on" } else { "off" }),
            Self::Ftrace(on) => write!(f, "turn ftrace {}", if *on { "on" } else { "off" }),
        }
    }
}

impl Operation {
    /// Whether it must fail, whatever the state of the kernel. `alone` is whether no other thread
    /// does anything: two threads that load a module at once get the same result, of one of them.
    pub(crate) fn must_fail(&self, alone: bool) -> bool {
        match self {
            Self::Patch(_, parameters) => {
                alone && what_is(parameters.what).is_some_and(|(kind, _)| kind == Kind::Bad)
            }
            Self::Write(_, file, value) => match *file {
                "enabled" | "force" => !matches!(
                    value.first(),
                    Some(
                        b'0' | b'1'
                            | b'y'
                            | b'Y'
                            | b't'
                            | b'T'
                            | b'n'
                            | b'N'
                            | b'f'
                            | b'F'
                            | b'o'
                            | b'O'
                    )
                ),
                _ => true,
            },
            _ => false,
        }
    }

    /// The errors that the kernel may answer with. Others are wrong.
    pub(crate) fn may_fail_with(&self) -> &'static [Errno] {
        match self {
            // Already there, or on the way out; bad; two who want one function; ftrace is off; a
            // callback that refuses (ENODEV, ENOMEM); no memory.
            Self::Patch(..) => &[
                Errno::EXIST,
                Errno::INVAL,
                Errno::BUSY,
                Errno::NODEV,
                Errno::NOMEM,
            ],
            Self::Load(..) => &[
                Errno::EXIST,
                Errno::INVAL,
                Errno::BUSY,
                Errno::NODEV,
                Errno::NOMEM,
                // Not built for this architecture; a symbol of a module that is not loaded.
                Errno::NOENT,
                // A mangled patch of the target has relocations that cannot be applied.
                Errno::NOEXEC,
            ],
            Self::Mangled(_) => &[
                Errno::EXIST,
                Errno::INVAL,
                Errno::BUSY,
                Errno::NOMEM,
                Errno::NOEXEC,
                Errno::NOENT,
            ],
            // Not there; in use.
            Self::Unload(_) => &[Errno::NOENT, Errno::AGAIN, Errno::BUSY],
            Self::Write(..) => &[
                Errno::NOENT,
                Errno::NODEV,
                Errno::INVAL,
                Errno::BUSY,
                Errno::IO,
                Errno::ACCESS,
                Errno::PERM,
            ],
            Self::Cpu(_) => &[Errno::BUSY, Errno::NOENT],
            Self::Tracer(_) => &[Errno::BUSY, Errno::INVAL],
            // A name that is taken, or is not there; in use.
            Self::Probe(_) => &[Errno::EXIST, Errno::NOENT, Errno::INVAL, Errno::BUSY],
            Self::Events(_) => &[Errno::NOENT],
            // Older kernels can, unless a patch is enabled.
            Self::Ftrace(_) => &[Errno::OPNOTSUPP, Errno::BUSY],
            // Files come and go while they are listed.
            Self::Read(_) => &[],
            Self::Hold(_) | Self::Release | Self::Signal(_) | Self::Processes => &[],
        }
    }

    /// What it is counted as.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Patch(..) => "load a patch",
            Self::Load(name, _) if *name == TARGET => "load the target",
            Self::Load(..) => "load another module",
            Self::Mangled(_) => "load a mangled patch",
            Self::Unload(name) if *name == TARGET => "unload the target",
            Self::Unload(_) => "unload a module",
            Self::Write(_, "enabled", _) => "write to enabled",
            Self::Write(_, "force", _) => "write to force",
            Self::Write(..) => "write to another file",
            Self::Read(_) => "read files",
            Self::Hold(_) => "hold a task",
            Self::Release => "release tasks",
            Self::Signal(_) => "send a signal",
            Self::Processes => "processes",
            Self::Cpu(_) => "CPU hotplug",
            Self::Tracer(_) => "tracer",
            Self::Probe(_) => "probe",
            Self::Events(_) => "trace events",
            Self::Ftrace(_) => "ftrace off or on",
        }
    }
}
