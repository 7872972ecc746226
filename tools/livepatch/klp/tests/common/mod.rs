// SPDX-License-Identifier: GPL-2.0

//! A folder that stands for `/`, with a script that stands for the kernel.

#![allow(dead_code)]

pub mod schema;

pub use schema::check;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// What each script begins with.
const SCRIPT: &str = r#"#!/bin/sh
LP=sys/kernel/livepatch
# appear NAME ENABLED TRANSITION [REPLACE]
appear() {
	mkdir -p $LP/$1 sys/module/$1
	echo OEK >sys/module/$1/taint
	echo 0 >sys/module/$1/refcnt
	echo ${4:-0} >$LP/$1/replace
	echo $2 >$LP/$1/enabled
	echo $3 >$LP/$1/transition
}
vanish() { mv $LP/$1 gone.$$; rm -rf gone.$$; }
later() { ( sleep $1; shift; "$@" ) >/dev/null 2>&1 & }
put() { echo "$2" >"$1"; }
echo "$*" >>calls
case "$*" in
"unload "*) rm -rf sys/module/$2; exit 0;;
esac
name=$(basename "$2" .ko)
"#;

/// What a `klp` has said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Check the exit status, and that a failure is one line that begins with "klp: ".
    pub fn is(&self, code: i32) -> &Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.out, self.err
        );
        self
    }

    /// Check the exit status and the line of an error.
    pub fn failed(&self, code: i32, text: &str) -> &Self {
        self.is(code);
        let last = self.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("klp: "), "{last}");
        assert!(last.contains(text), "{last} has no {text}");
        self
    }
}

/// The machine.
pub struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// With livepatch, without patches, and with a kernel that takes everything and does
    /// nothing.
    pub fn new() -> Self {
        let machine = Machine {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(machine.path("sys/kernel/livepatch")).unwrap();
        machine.write("proc/sys/kernel/osrelease", "7.3.4\n");
        machine.write("proc/sys/kernel/random/boot_id", "boot-1\n");
        machine.write("dev/kmsg", "");
        machine.write("proc/kallsyms", "0 T one\n0 t two\n0 t two\n");
        machine.kernel("");
        machine
    }

    /// A path below the folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Let the kernel do this when it is called; $1 is load or wrote, $name the module's.
    pub fn kernel(&self, script: &str) {
        self.write("kernel", format!("{SCRIPT}{script}\nexit 0\n"));
        fs::set_permissions(self.path("kernel"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn patch(&self, name: &str, enabled: &str, transition: &str) {
        self.write(&format!("sys/module/{name}/taint"), "OEK");
        self.write(&format!("sys/module/{name}/refcnt"), "0");
        self.write(&format!("sys/kernel/livepatch/{name}/enabled"), enabled);
        self.write(
            &format!("sys/kernel/livepatch/{name}/transition"),
            transition,
        );
    }

    /// What the core in Rust says about a transition that a task blocks.
    pub fn stalled(&self, name: &str) {
        let text = format!(
            "patch: {name}\ndirection: patched\nrunning_ms: 5231\nattempts: 6\nremaining: 2\n\
             task: pid=123 comm=\"foo \\x1b\" obstacle=function function=\"klpr_wait\" \
             patch=\"{name}\" blocked_ms=5200 attempts=6\n\
             task: pid=77 comm=\"bar\" obstacle=running blocked_ms=10 attempts=1\n"
        );
        self.write("sys/kernel/debug/livepatch/transition", text);
        self.write("proc/123/stack", "[<0>] klpr_wait+0x1/0x2 [target]\n");
    }

    /// A module's file that is a livepatch for this kernel.
    pub fn livepatch(&self, name: &str) -> String {
        self.file(name, &module(name, "livepatch=Y\0", "7.3.4", 0))
    }

    /// A file in the folder.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = format!("{name}.ko");
        self.write(&path, content);
        self.path(&path).to_str().unwrap().to_string()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klp"));
        command
            .args(arguments)
            .env("KLP_ROOT", self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub fn klp(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments))
    }

    /// With --json: check the output against the schema.
    pub fn json(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let said = self.klp(&all);
        said.is(code);
        let value: Value = serde_json::from_str(&said.out).unwrap();
        check(&value);
        value
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

pub fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Wait until something is the case.
pub fn until(condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("this takes too long");
}

/// A module's file: a relocatable ELF file of this machine, padded to a size.
pub fn module(name: &str, info: &str, release: &str, size: usize) -> Vec<u8> {
    let modinfo = format!("{info}name={name}\0vermagic={release} SMP mod_unload \0");
    let names = b"\0.modinfo\0.gnu.linkonce.this_module\0.shstrtab\0.symtab\0.klp.rela.nfs..text\0";
    let strings = b"\0.klp.sym.vmlinux.one,0\0.klp.sym.vmlinux.two,2\0";
    let mut symbols = vec![0; 24];
    for name in [1u32, 24] {
        symbols.extend(name.to_ne_bytes());
        // Global, without a type, in the section that stands for livepatch.
        symbols.extend([0x10, 0, 0x20, 0xff]);
        symbols.extend([0; 16]);
    }
    // Name, type, the section that belongs to it, the size of an entry, content.
    let sections: [(u32, u32, u32, u64, Vec<u8>); 6] = [
        (1, 1, 0, 0, modinfo.into_bytes()),
        (10, 1, 0, 0, vec![0; 64.max(size)]),
        (36, 3, 0, 0, names.to_vec()),
        (46, 2, 5, 24, symbols),
        (36, 3, 0, 0, strings.to_vec()),
        (54, 4, 4, 24, Vec::new()),
    ];
    let mut data = vec![0; 64];
    let mut headers = vec![0; 64];
    for (name, kind, link, entry, content) in &sections {
        let mut header = Vec::new();
        header.extend(name.to_ne_bytes());
        header.extend(kind.to_ne_bytes());
        header.extend([0; 16]);
        header.extend((data.len() as u64).to_ne_bytes());
        header.extend((content.len() as u64).to_ne_bytes());
        header.extend(link.to_ne_bytes());
        header.extend([0; 4]);
        header.extend(1u64.to_ne_bytes());
        header.extend(entry.to_ne_bytes());
        headers.extend(header);
        data.extend(content);
    }
    let at = data.len() as u64;
    data.extend(headers);
    let machine: u16 = match std::env::consts::ARCH {
        "s390x" => 22,
        "powerpc64" => 21,
        "aarch64" => 183,
        _ => 62,
    };
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    data[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, order, 1]);
    data[16..18].copy_from_slice(&1u16.to_ne_bytes());
    data[18..20].copy_from_slice(&machine.to_ne_bytes());
    data[20..24].copy_from_slice(&1u32.to_ne_bytes());
    data[40..48].copy_from_slice(&at.to_ne_bytes());
    data[52..54].copy_from_slice(&64u16.to_ne_bytes());
    data[58..60].copy_from_slice(&64u16.to_ne_bytes());
    data[60..62].copy_from_slice(&7u16.to_ne_bytes());
    data[62..64].copy_from_slice(&3u16.to_ne_bytes());
    data
}
