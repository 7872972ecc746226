// SPDX-License-Identifier: GPL-2.0

//! Errors: one plain line each, and the exit status that belongs to it.

use crate::transition::Task;
use std::{fmt, io};

/// The exit statuses other than 0. They are documented in `klp --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no status of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The command needs root.
    NotPermitted = 3,
    /// The running kernel has no livepatch.
    NoLivepatch = 4,
    /// There is no such patch or file.
    NotFound = 5,
    /// The file is not a livepatch for this kernel.
    NotUsable = 6,
    /// A transition or a `klp` is under way.
    Busy = 7,
    /// The transition has not ended in time, and goes on.
    TimedOut = 8,
    /// The transition has not ended in time, and was reversed.
    Reverted = 9,
    /// The kernel has returned an error.
    Refused = 10,
    /// SIGINT or SIGTERM has arrived.
    Interrupted = 130,
}

/// What went wrong, with what to do about it.
#[derive(Debug)]
pub struct Error {
    /// The exit status.
    pub exit: Exit,
    /// One line, without "klp: ".
    pub text: String,
    /// The tasks that block a transition, if it is one that has timed out.
    pub blocking: Vec<Task>,
}

/// The result of whatever can end `klp`.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a status.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Error {
            exit,
            text: text.into(),
            blocking: Vec::new(),
        }
    }

    /// An error that has no status of its own.
    pub fn failed(text: impl Into<String>) -> Self {
        Error::new(Exit::Failed, text)
    }

    /// The error of an operation on a file, described as `what`.
    pub fn io(what: impl fmt::Display, e: &io::Error) -> Self {
        let exit = match e.kind() {
            io::ErrorKind::PermissionDenied => Exit::NotPermitted,
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Error::new(exit, format!("{what}: {}", plain(e)))
    }

    /// No patch of this name is loaded.
    pub fn no_patch(name: &str) -> Self {
        Error::new(
            Exit::NotFound,
            format!("no patch {name} is enabled; to see which are: klp list"),
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text of an error without Rust's "(os error N)".
pub fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(end) => text.chars().take(end).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_have_the_status_of_their_kind() {
        let of = |errno| Error::io("x", &io::Error::from_raw_os_error(errno)).exit;
        assert_eq!(of(2), Exit::NotFound);
        assert_eq!(of(13), Exit::NotPermitted);
        assert_eq!(of(28), Exit::Failed);
        let e = Error::io("x", &io::Error::from_raw_os_error(28));
        assert_eq!(e.text, "x: No space left on device");
    }
}
