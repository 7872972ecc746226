// SPDX-License-Identifier: GPL-2.0

//! Where everything is: the kernel's file systems, and the folders of `klp`.

use crate::error::{Error, Exit, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folders and files that `klp` uses. Tests have them in a folder of their own.
#[derive(Debug, Clone)]
pub struct Roots {
    /// The folder that stands for `/`, if it is not that.
    pub prefix: Option<PathBuf>,
    /// `/sys/kernel/livepatch`
    pub livepatch: PathBuf,
    /// `/sys/module`
    pub modules: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys/kernel/debug/livepatch`
    pub debugfs: PathBuf,
    /// `/lib/modules`
    pub lib_modules: PathBuf,
    /// `/var/lib/klp`: the installed patches, one folder for each kernel.
    pub state: PathBuf,
    /// `/var/lib/kpatch`: those that kpatch has installed.
    pub kpatch: PathBuf,
    /// `/run/klp.lock`: held by a `klp` that changes something.
    pub lock: PathBuf,
    /// `/dev/kmsg`: the kernel log.
    pub kmsg: PathBuf,
}

impl Roots {
    /// The machine's own, or those below a folder.
    pub fn new(prefix: Option<&Path>) -> Self {
        let at = |path: &str| prefix.unwrap_or(Path::new("/")).join(path);
        Roots {
            prefix: prefix.map(Path::to_path_buf),
            livepatch: at("sys/kernel/livepatch"),
            modules: at("sys/module"),
            proc: at("proc"),
            debugfs: at("sys/kernel/debug/livepatch"),
            lib_modules: at("lib/modules"),
            state: at("var/lib/klp"),
            kpatch: at("var/lib/kpatch"),
            lock: at("run/klp.lock"),
            kmsg: at("dev/kmsg"),
        }
    }

    /// With the installed patches in another folder.
    pub fn with_state(mut self, state: &Path) -> Self {
        if state != Path::new("/var/lib/klp") {
            self.state = state.to_path_buf();
        }
        self
    }

    /// The release of the running kernel, as `uname -r` has it.
    pub fn release(&self) -> Result<String> {
        let path = self.proc.join("sys/kernel/osrelease");
        let text = fs::read_to_string(&path).map_err(|e| Error::io(path.display(), &e))?;
        Ok(text.trim().to_string())
    }

    /// The id of this boot, or nothing where `/proc` is not the kernel's.
    pub fn boot_id(&self) -> String {
        let path = self.proc.join("sys/kernel/random/boot_id");
        fs::read_to_string(path)
            .map(|s| s.trim().to_string())
            .unwrap_or_default()
    }

    /// Fail if the running kernel has no livepatch.
    pub fn need_livepatch(&self) -> Result<()> {
        if self.livepatch.is_dir() {
            return Ok(());
        }
        Err(Error::new(
            Exit::NoLivepatch,
            format!(
                "this kernel has no livepatch: {} is missing; boot one with CONFIG_LIVEPATCH=y",
                self.livepatch.display()
            ),
        ))
    }

    /// Fail unless `klp` runs as root. In a tests' tree anyone may do everything.
    pub fn need_root(&self) -> Result<()> {
        if self.prefix.is_some() || rustix::process::geteuid().is_root() {
            return Ok(());
        }
        Err(Error::new(
            Exit::NotPermitted,
            "this needs root; run it with sudo or as root",
        ))
    }
}
