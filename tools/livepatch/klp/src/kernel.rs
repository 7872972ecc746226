// SPDX-License-Identifier: GPL-2.0

//! What changes the kernel: loading and unloading modules, and writing to sysfs.
//!
//! In a tests' tree the program `kernel` at its top stands for the kernel. It is called as
//! `kernel load FILE PARAMETERS`, `kernel unload NAME` and `kernel wrote FILE VALUE`, and ends
//! with an errno.

use crate::{
    error::{plain, Error, Exit},
    roots::Roots,
};
use rustix::{io::Errno, system};
use std::{
    ffi::{CString, OsStr},
    fs, io,
    io::Write,
    path::Path,
    process::Command,
};

/// What the kernel has done: nothing, if it returned an error.
type Done = std::result::Result<(), io::Error>;

fn stand_in(prefix: &Path, arguments: &[&OsStr]) -> Done {
    let status = Command::new(prefix.join("kernel"))
        .args(arguments)
        .current_dir(prefix)
        .status()?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.unwrap_or(5))),
    }
}

/// Load a module's file.
pub fn load(roots: &Roots, file: &Path, parameters: &str) -> Done {
    if let Some(prefix) = &roots.prefix {
        return stand_in(
            prefix,
            &["load".as_ref(), file.as_os_str(), parameters.as_ref()],
        );
    }
    let parameters = CString::new(parameters)?;
    let file = fs::File::open(file)?;
    system::finit_module(&file, &parameters, 0)?;
    Ok(())
}

/// Unload a module.
pub fn unload(roots: &Roots, name: &str) -> Done {
    if let Some(prefix) = &roots.prefix {
        return stand_in(prefix, &["unload".as_ref(), name.as_ref()]);
    }
    let name = CString::new(name)?;
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    system::delete_module(&name, i32::try_from(flags).unwrap_or(0))?;
    Ok(())
}

/// Write a digit to a file of a patch.
pub fn write(roots: &Roots, patch: &str, file: &str, value: &str) -> Done {
    let path = roots.livepatch.join(patch).join(file);
    // Not created: a patch that has vanished is an error.
    let mut open = fs::OpenOptions::new().write(true).open(&path)?;
    open.write_all(value.as_bytes())?;
    match &roots.prefix {
        Some(prefix) => stand_in(
            prefix,
            &["wrote".as_ref(), path.as_os_str(), value.as_ref()],
        ),
        None => Ok(()),
    }
}

/// The name of an errno, as manuals have it.
fn errno_name(errno: i32) -> &'static str {
    match Errno::from_raw_os_error(errno) {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::NOEXEC => "ENOEXEC",
        Errno::AGAIN => "EAGAIN",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::KEYREJECTED => "EKEYREJECTED",
        Errno::NOKEY => "ENOKEY",
        Errno::BADMSG => "EBADMSG",
        _ => "errno",
    }
}

/// The error for what the kernel has not done. `what` is as in "the kernel refused to WHAT".
pub fn refused(what: &str, e: &io::Error) -> Error {
    let errno = e.raw_os_error().unwrap_or(0);
    let (exit, advice) = match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => (
            Exit::NotPermitted,
            "; this needs root, and a kernel that is not locked down",
        ),
        Errno::BUSY | Errno::AGAIN => (
            Exit::Busy,
            "; a transition is under way or the module is in use: klp status",
        ),
        Errno::KEYREJECTED | Errno::NOKEY => (
            Exit::Refused,
            "; sign the module with a key that the kernel knows",
        ),
        _ => (Exit::Refused, "; the kernel log may say why: dmesg | tail"),
    };
    Error::new(
        exit,
        format!(
            "the kernel refused to {what}: {} ({} {errno}){advice}",
            plain(e),
            errno_name(errno)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_errno_and_have_its_status() {
        let of = |errno| refused("load x", &io::Error::from_raw_os_error(errno));
        assert_eq!(of(1).exit, Exit::NotPermitted);
        assert_eq!(of(16).exit, Exit::Busy);
        assert_eq!(of(22).exit, Exit::Refused);
        assert!(of(22).text.contains("Invalid argument (EINVAL 22)"));
        assert!(of(129).text.contains("sign the module"));
    }
}
