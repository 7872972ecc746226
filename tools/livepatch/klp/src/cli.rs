// SPDX-License-Identifier: GPL-2.0

//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const STATUSES: &str = "\
Exit status:
    0  done
    1  failed
    2  the command line is wrong
    3  not permitted: this needs root
    4  the running kernel has no livepatch
    5  there is no such patch or file
    6  the file is not a usable livepatch
    7  busy: a transition or another klp is under way
    8  timed out: the transition goes on
    9  timed out: the transition was reversed
   10  the kernel refused; the message has its errno
  130  interrupted: a transition under way goes on";

/// Load, watch and administer livepatches of the running kernel
#[derive(Parser, Debug)]
#[command(name = "klp", version, after_help = STATUSES, max_term_width = 100)]
pub struct Cli {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// The folder of the installed patches
    #[arg(
        long,
        global = true,
        env = "KLP_STATE",
        hide_env_values = true,
        value_name = "FOLDER",
        default_value = "/var/lib/klp",
        hide_default_value = false
    )]
    pub state: PathBuf,

    /// For tests: a folder that stands for /
    #[arg(
        long,
        global = true,
        hide = true,
        env = "KLP_ROOT",
        value_name = "PREFIX"
    )]
    pub root: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do when the time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnTimeout {
    /// Leave the transition as it is
    #[default]
    Leave,
    /// Turn it back
    Revert,
}

/// How to wait for a transition.
#[derive(Args, Clone, Debug, Default)]
pub struct Waiting {
    /// Wait no longer than this; by default, without end
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<f64>,

    /// What to do with a transition that has not ended in time
    #[arg(long, value_enum, default_value_t = OnTimeout::Leave, requires = "timeout")]
    pub on_timeout: OnTimeout,

    /// Do not wait
    #[arg(long, conflicts_with_all = ["timeout", "on_timeout"])]
    pub no_wait: bool,
}

/// How to wait for a transition that is waited for in any case.
#[derive(Args, Clone, Debug, Default)]
pub struct OnlyWaiting {
    /// Wait no longer than this; by default, without end
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<f64>,
}

impl From<&OnlyWaiting> for Waiting {
    fn from(only: &OnlyWaiting) -> Self {
        Waiting {
            timeout: only.timeout,
            ..Waiting::default()
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && (0.0..=1e9).contains(&n) => Ok(n),
        _ => Err("a number of seconds is needed, as 30 or 0.5".to_string()),
    }
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the patches that are loaded
    List,
    /// Show patches in full, the transition under way, and what is installed
    Status {
        /// Only this patch
        patch: Option<String>,
    },
    /// Check a file, load it, and wait until the patch is enabled
    Load {
        /// A module's file, or the name of a patch that is installed
        #[arg(value_name = "FILE|NAME")]
        file: String,
        /// Parameters for the module
        #[arg(value_name = "PARAMETER=VALUE")]
        parameters: Vec<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Disable a patch, and wait until no task uses it
    Disable {
        /// The patch
        patch: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Disable a patch if it is enabled, and unload its module
    Unload {
        /// The patch
        patch: String,
        #[command(flatten)]
        waiting: OnlyWaiting,
    },
    /// Wait until the transition under way has ended
    Wait {
        /// Only if it is this patch's
        patch: Option<String>,
        #[command(flatten)]
        waiting: OnlyWaiting,
    },
    /// Say which tasks the transition under way waits for, and why
    Why,
    /// Show the transition under way again and again, until there is none
    Watch {
        /// The time between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
        interval: f64,
        /// Go on when there is no transition, until interrupted
        #[arg(long)]
        forever: bool,
    },
    /// Turn back the transition of a patch
    Reverse {
        /// The patch
        patch: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Make the transition of a patch end now, which may crash the kernel
    Force {
        /// The patch
        patch: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Check whether a file is a livepatch that the kernel would take
    Verify {
        /// The file
        file: PathBuf,
        /// The kernel; by default, the running one
        #[arg(long, value_name = "RELEASE")]
        kernel: Option<String>,
    },
    /// Copy a patch to where klp boot loads it from
    Install {
        /// The file
        #[arg(required_unless_present = "from_kpatch")]
        file: Option<PathBuf>,
        /// The kernel that it is for; by default, the running one
        #[arg(long, value_name = "RELEASE", conflicts_with = "from_kpatch")]
        kernel: Option<String>,
        /// Copy all patches that kpatch has installed, for all kernels
        #[arg(long, conflicts_with = "file")]
        from_kpatch: bool,
    },
    /// Remove a patch that is installed; one that is loaded stays loaded
    Uninstall {
        /// The patch
        name: String,
        /// The kernel that it is for; by default, the running one
        #[arg(long, value_name = "RELEASE")]
        kernel: Option<String>,
    },
    /// Load the patches that are installed for the running kernel, as at boot
    Boot {
        /// How long the machine must stay up for a patch to have held
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
        settle: f64,
        /// How long a transition may take
        #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds)]
        timeout: f64,
        /// Load only this patch, also if it was left out after failures
        #[arg(long, value_name = "NAME")]
        retry: Option<String>,
    },
    /// Show the transitions that have ended
    History,
    /// Print figures in the text format of Prometheus
    Metrics {
        /// Write them to this file, as a whole or not at all
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

impl Command {
    /// The name of the command.
    pub fn name(&self) -> &'static str {
        match self {
            Command::List => "list",
            Command::Status { .. } => "status",
            Command::Load { .. } => "load",
            Command::Disable { .. } => "disable",
            Command::Unload { .. } => "unload",
            Command::Wait { .. } => "wait",
            Command::Why => "why",
            Command::Watch { .. } => "watch",
            Command::Reverse { .. } => "reverse",
            Command::Force { .. } => "force",
            Command::Verify { .. } => "verify",
            Command::Install { .. } => "install",
            Command::Uninstall { .. } => "uninstall",
            Command::Boot { .. } => "boot",
            Command::History => "history",
            Command::Metrics { .. } => "metrics",
            Command::Completions { .. } => "completions",
            Command::Man => "man",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_are_numbers() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for bad in ["", "x", "-1", "inf", "NaN", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_status_is_documented() {
        for status in [
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "130",
        ] {
            assert!(STATUSES
                .lines()
                .any(|l| l.trim().starts_with(&format!("{status}  "))));
        }
    }
}
