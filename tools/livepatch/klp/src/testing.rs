// SPDX-License-Identifier: GPL-2.0

//! A folder of a unit test that stands for `/`.

use crate::roots::Roots;
use std::fs;

/// The folder, removed at the end.
pub struct Tree {
    dir: tempfile::TempDir,
    /// What is in it.
    pub roots: Roots,
}

impl Tree {
    /// A machine with livepatch and without patches.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::new(Some(dir.path()));
        fs::create_dir_all(&roots.livepatch).unwrap();
        let tree = Tree { dir, roots };
        tree.write("proc/sys/kernel/osrelease", "7.3.4\n");
        tree.write("proc/sys/kernel/random/boot_id", "boot-1\n");
        tree
    }

    /// Write a file, and make its folders.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Read a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join(path)).unwrap_or_default()
    }

    /// A loaded module.
    pub fn module(&self, name: &str, taint: &str, references: &str) {
        self.write(&format!("sys/module/{name}/taint"), taint);
        self.write(&format!("sys/module/{name}/refcnt"), references);
    }

    /// A patch.
    pub fn patch(&self, name: &str, enabled: &str, transition: &str) {
        self.module(name, "OEK", "0");
        self.write(&format!("sys/kernel/livepatch/{name}/enabled"), enabled);
        self.write(
            &format!("sys/kernel/livepatch/{name}/transition"),
            transition,
        );
    }

    /// A task.
    pub fn task(&self, pid: u32, comm: &str, state: &str, stack: &str) {
        let dir = format!("proc/{pid}/task/{pid}");
        self.write(&format!("{dir}/patch_state"), state);
        self.write(&format!("{dir}/comm"), comm);
        self.write(&format!("{dir}/stack"), stack);
    }
}
