// SPDX-License-Identifier: GPL-2.0

//! Markers of patches that are being loaded at boot. One that is still there at the next boot
//! says that the machine went down while, or soon after, the patch was loaded.

use crate::{
    error::{Error, Result},
    roots::Roots,
    store,
    text::fields,
};
use serde::Serialize;
use std::{fs, io, io::Write, path::PathBuf};

/// After so many failures a patch is left out.
pub const LIMIT: u32 = 2;

/// What a marker says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// How many boots have failed, one after the other.
    pub failures: u32,
    /// The id of the boot that wrote it.
    boot: String,
    /// Whether that boot loaded the patch, or left it out.
    tried: bool,
}

/// How a patch does at boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootState {
    /// The patch.
    pub name: String,
    /// How many boots have failed, one after the other.
    pub failures: u32,
    /// Whether it is left out because of that.
    pub left_out: bool,
}

fn path(roots: &Roots, release: &str, name: &str) -> PathBuf {
    roots.state.join(release).join("booting").join(name)
}

/// The marker of a patch, if there is one. One that cannot be read counts as a failed boot.
pub fn read(roots: &Roots, release: &str, name: &str) -> Option<Marker> {
    let text = match fs::read(path(roots, release, name)) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(_) => String::new(),
    };
    let mut marker = Marker {
        tried: true,
        ..Marker::default()
    };
    for (key, value) in fields(&text) {
        match key.as_str() {
            "failures" => marker.failures = value.parse().unwrap_or(0),
            "boot" => marker.boot = value,
            "tried" => marker.tried = value != "no",
            _ => {}
        }
    }
    Some(marker)
}

/// How many boots have failed, as this boot counts it.
pub fn failures(roots: &Roots, release: &str, name: &str) -> u32 {
    let Some(marker) = read(roots, release, name) else {
        return 0;
    };
    // The same boot: a `klp boot` was killed, and the machine lives.
    let went_down = marker.tried && (marker.boot.is_empty() || marker.boot != roots.boot_id());
    marker.failures.saturating_add(u32::from(went_down))
}

/// Write a marker, before the patch is loaded (`tried`) or left out.
pub fn write(roots: &Roots, release: &str, name: &str, failures: u32, tried: bool) -> Result<()> {
    let path = path(roots, release, name);
    let tried = if tried { "yes" } else { "no" };
    let boot = roots.boot_id();
    let text = format!("failures={failures} boot={boot} tried={tried}\n");
    let folder = path.parent().map_or(Ok(()), store::make_folder);
    folder
        .and_then(|()| store::write_whole(&path, 0o644, |f| f.write_all(text.as_bytes())))
        .map_err(|e| Error::io(format!("cannot write {}", path.display()), &e))
}

/// Remove a marker: the patch has held, or is to be tried again. Whether there was one.
pub fn remove(roots: &Roots, release: &str, name: &str) -> Result<bool> {
    let path = path(roots, release, name);
    match fs::remove_file(&path) {
        Ok(()) => {
            let folder = path
                .parent()
                .map_or(Ok(()), |f| fs::File::open(f)?.sync_all());
            folder.map_err(|e| Error::io(path.display(), &e))?;
            if let Some(folder) = path.parent() {
                // Fails while there are others.
                let _ = fs::remove_dir(folder);
            }
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(path.display(), &e)),
    }
}

/// How the patches that are installed for a kernel do at boot.
pub fn states(roots: &Roots, release: &str) -> Vec<BootState> {
    store::installed_for(roots, release)
        .into_iter()
        .map(|name| {
            let failures = failures(roots, release, &name);
            BootState {
                left_out: failures >= LIMIT,
                failures,
                name,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn reboot(tree: &Tree, id: &str) {
        tree.write("proc/sys/kernel/random/boot_id", id);
    }

    #[test]
    fn failures_are_counted_once_for_each_boot() {
        let tree = Tree::new();
        let now = |tree: &Tree| failures(&tree.roots, "r", "p");
        assert_eq!(now(&tree), 0);
        write(&tree.roots, "r", "p", 0, true).unwrap();
        assert_eq!(now(&tree), 0);
        reboot(&tree, "boot-2");
        assert_eq!(now(&tree), 1);
        write(&tree.roots, "r", "p", 1, true).unwrap();
        assert_eq!(now(&tree), 1);
        reboot(&tree, "boot-3");
        assert_eq!(now(&tree), 2);
        // Left out: further boots do not count.
        write(&tree.roots, "r", "p", 2, false).unwrap();
        reboot(&tree, "boot-4");
        assert_eq!(now(&tree), 2);
        assert!(remove(&tree.roots, "r", "p").unwrap());
        assert!(!remove(&tree.roots, "r", "p").unwrap());
        assert_eq!(now(&tree), 0);
    }

    #[test]
    fn a_marker_without_content_is_a_failure() {
        let tree = Tree::new();
        tree.write("var/lib/klp/r/booting/p", "");
        assert_eq!(failures(&tree.roots, "r", "p"), 1);
        tree.write("var/lib/klp/r/booting/p", "\u{0}failures=x");
        assert_eq!(failures(&tree.roots, "r", "p"), 1);
    }
}
