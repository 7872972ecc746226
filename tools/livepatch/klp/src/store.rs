// SPDX-License-Identifier: GPL-2.0

//! Patches that are installed: a folder for each kernel, with the patches that `klp boot` loads.

use crate::{
    error::{plain, Error, Exit, Result},
    roots::Roots,
    verify,
};
use serde::Serialize;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// An installed patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The kernel that it is for.
    pub release: String,
    /// The name of its module.
    pub name: String,
}

/// Fail unless this can be the release of a kernel, and so a folder's name.
pub fn check_release(release: &str) -> Result<()> {
    let good = !release.is_empty()
        && !release.starts_with('.')
        && !release.contains(|c: char| c == '/' || c.is_control());
    if good {
        return Ok(());
    }
    Err(Error::new(
        Exit::Usage,
        format!("{release:?} is no release of a kernel; one is what uname -r says"),
    ))
}

/// Fail unless this can be the name of a patch.
pub fn check_name(name: &str) -> Result<()> {
    if verify::is_name(name) {
        return Ok(());
    }
    Err(Error::new(
        Exit::Usage,
        format!("{name:?} is no name of a patch; to see the patches: klp status"),
    ))
}

/// The folder of a kernel.
fn folder(roots: &Roots, release: &str) -> PathBuf {
    roots.state.join(release)
}

/// The file of an installed patch, be it there or not.
pub fn path(roots: &Roots, release: &str, name: &str) -> PathBuf {
    folder(roots, release).join(format!("{name}.ko"))
}

/// The names of the `.ko` files in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".ko")?.to_string()))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// The names of the folders in a folder, sorted.
pub fn releases(state: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(state) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|e| e.path().is_dir())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The patches that are installed for a kernel.
pub fn installed_for(roots: &Roots, release: &str) -> Vec<String> {
    names(&folder(roots, release))
}

/// All installed patches.
pub fn installed(roots: &Roots) -> Vec<Installed> {
    let mut found = Vec::new();
    for release in releases(&roots.state) {
        for name in installed_for(roots, &release) {
            found.push(Installed {
                release: release.clone(),
                name,
            });
        }
    }
    found
}

/// The file that a person means: a path, or the name of a patch that is installed or that
/// the kernel's own modules have.
pub fn find(roots: &Roots, what: &str) -> Result<PathBuf> {
    let release = roots.release()?;
    let as_path = Path::new(what);
    if what.contains('/') || what.ends_with(".ko") || as_path.is_file() {
        return match fs::metadata(as_path) {
            Ok(data) if data.is_file() => Ok(as_path.to_path_buf()),
            Ok(_) => Err(Error::new(Exit::NotFound, format!("{what} is not a file"))),
            Err(e) => Err(Error::io(what, &e)),
        };
    }
    check_name(what)?;
    let installed = path(roots, &release, what);
    if installed.is_file() {
        return Ok(installed);
    }
    verify::module_file(roots, &release, &what.replace('-', "_"))
        .filter(|p| p.is_file())
        .ok_or_else(|| {
            Error::new(
                Exit::NotFound,
                format!(
                    "no patch {what} is installed for {release}, and no module has that name; \
                     give its file: klp load ./{what}.ko"
                ),
            )
        })
}

/// Write a file so that it is there as a whole or not at all, whatever happens.
pub fn write_whole(
    path: &Path,
    mode: u32,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let new = folder.join(format!(".{}.new", name.to_string_lossy()));
    // Of a `klp` that was killed.
    let _ = fs::remove_file(&new);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut file| {
            content(&mut file)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Make the folders on the way to a file, and see to it that they last.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Copy a file to where installed patches are. Whether there was one of its name.
pub fn install(roots: &Roots, file: &Path, release: &str, name: &str) -> Result<bool> {
    let to = path(roots, release, name);
    let folder = folder(roots, release);
    let was_there = to.exists();
    let copied = make_folder(&folder).and_then(|()| {
        let mut from = File::open(file)?;
        write_whole(&to, 0o644, |out| {
            io::copy(&mut from, out)?;
            out.flush()
        })
    });
    copied.map_err(|e| {
        let text = format!(
            "{} cannot be installed to {}: {}; nothing was changed",
            file.display(),
            folder.display(),
            plain(&e)
        );
        Error::new(Error::io("", &e).exit, text)
    })?;
    Ok(was_there)
}

/// Remove an installed patch.
pub fn uninstall(roots: &Roots, release: &str, name: &str) -> Result<()> {
    let file = path(roots, release, name);
    match fs::remove_file(&file) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Error::new(
                Exit::NotFound,
                format!(
                    "no patch {name} is installed for {release}; klp status lists those that are"
                ),
            ))
        }
        Err(e) => return Err(Error::io(file.display(), &e)),
    }
    let folder = folder(roots, release);
    let _ = File::open(&folder).and_then(|f| f.sync_all());
    // Fails while anything is in them, as is right.
    let _ = fs::remove_dir(&folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn a_patch_is_installed_and_removed() {
        let tree = Tree::new();
        tree.write("x.ko", "content");
        let file = tree.roots.prefix.as_ref().unwrap().join("x.ko");
        assert!(!install(&tree.roots, &file, "7.3.4", "x").unwrap());
        assert!(install(&tree.roots, &file, "7.3.4", "x").unwrap());
        assert!(!install(&tree.roots, &file, "7.3.5", "x").unwrap());
        assert_eq!(tree.read("var/lib/klp/7.3.4/x.ko"), "content");
        assert_eq!(installed(&tree.roots).len(), 2);
        assert_eq!(
            find(&tree.roots, "x").unwrap(),
            path(&tree.roots, "7.3.4", "x")
        );
        uninstall(&tree.roots, "7.3.4", "x").unwrap();
        let e = uninstall(&tree.roots, "7.3.4", "x").unwrap_err();
        assert_eq!(e.exit, Exit::NotFound);
        assert_eq!(releases(&tree.roots.state), ["7.3.5"]);
        assert_eq!(find(&tree.roots, "x").unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn a_failure_leaves_the_old_file() {
        let tree = Tree::new();
        tree.write("dir/file", "old");
        let path = tree.roots.prefix.as_ref().unwrap().join("dir/file");
        let e = write_whole(&path, 0o644, |out| {
            out.write_all(b"half")?;
            Err(io::Error::from_raw_os_error(28))
        });
        assert!(e.is_err());
        assert_eq!(tree.read("dir/file"), "old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for bad in ["../x", "a/b", ".."] {
            assert!(check_release(bad).is_err(), "{bad}");
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_release("7.3.4+deb13-amd64").is_ok());
    }

    #[test]
    fn a_module_of_the_kernel_is_found_by_its_name() {
        let tree = Tree::new();
        tree.write("lib/modules/7.3.4/modules.dep", "extra/my-patch.ko:\n");
        assert!(find(&tree.roots, "my_patch").is_err());
        tree.write("lib/modules/7.3.4/extra/my-patch.ko", "");
        assert!(find(&tree.roots, "my-patch")
            .unwrap()
            .ends_with("extra/my-patch.ko"));
        assert_eq!(find(&tree.roots, "/").unwrap_err().exit, Exit::NotFound);
    }
}
