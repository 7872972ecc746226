// SPDX-License-Identifier: GPL-2.0

//! One `klp` at a time changes something.

use crate::{
    error::{Error, Exit, Result},
    roots::Roots,
    text::clean,
};
use rustix::{
    fs::{flock, FlockOperation},
    io::Errno,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
};

/// The lock, which ends with this value or with the process.
#[derive(Debug)]
pub struct Lock(File);

/// Take the lock for a command, or say which process holds it.
pub fn take(roots: &Roots, command: &str) -> Result<Lock> {
    let path = &roots.lock;
    let what = || format!("cannot lock {}", path.display());
    if let (Some(_), Some(parent)) = (&roots.prefix, path.parent()) {
        fs::create_dir_all(parent).map_err(|e| Error::io(what(), &e))?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| Error::io(what(), &e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(held(&mut file)),
        Err(e) => return Err(Error::io(what(), &e.into())),
    }
    // What it says is for messages only: no failure.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{} {command}", std::process::id()));
    Ok(Lock(file))
}

/// The error that names the process which holds the lock.
fn held(file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let holder = match text.trim().split_once(' ') {
        Some((pid, command)) => format!("klp {} (pid {})", clean(command), clean(pid)),
        None => "another klp".to_string(),
    };
    Error::new(
        Exit::Busy,
        format!("{holder} is at work; try again when it has ended"),
    )
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The name goes with the lock, so that it is never that of an earlier holder.
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn the_second_is_told_which_is_first() {
        let tree = Tree::new();
        let first = take(&tree.roots, "load x").unwrap();
        let e = take(&tree.roots, "disable y").unwrap_err();
        assert_eq!(e.exit, Exit::Busy);
        let pid = std::process::id();
        assert!(
            e.text.starts_with(&format!("klp load x (pid {pid})")),
            "{}",
            e.text
        );
        drop(first);
        take(&tree.roots, "disable y").unwrap();
    }
}
