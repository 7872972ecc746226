// SPDX-License-Identifier: GPL-2.0

//! Mangled input gives an error or a wrong answer, but no panic, and comes to an end.
//!
//! The mutations are the same in each run. Most are made where types refer to each other, which
//! makes loops, structs within themselves and references to what is no type.

mod common;

use common::*;
use object::{Object, ObjectSection};
use std::{
    fs, iter,
    ops::Range,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How many mangled copies of a file are tried.
const ROUNDS: usize = 1200;
/// Far more than one takes, on a machine that is busy.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// In KiB.
const MEMORY_LIMIT: usize = 1 << 20;

/// Types of all kinds, that lead to each other.
const TYPES: &str = "
enum mode { A = -1, B, C = 9 };
union value { long l; double d; struct { short x, y; }; };
struct node { struct node *next, **prev; struct other *other; int bits : 3, more : 7; union value value; };
struct other { struct node nodes[2][3]; int (*call)(struct other *, enum mode, ...); const char *const name; long end[]; };
typedef struct other other_t;
typedef int (*call_t)(other_t *, volatile struct node *);
";
const ARGUMENTS: &str =
    "(struct node *n, union value v, other_t *o, call_t call, enum mode m, const char *s)";

/// A generator of numbers that is good enough.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// The parts of a file that are worth mangling: debug information, symbols and relocations.
fn parts(bytes: &[u8]) -> Vec<Range<usize>> {
    let Ok(file) = object::File::parse(bytes) else {
        return iter::once(0..bytes.len()).collect();
    };
    let wanted = [
        ".debug_info",
        ".debug_abbrev",
        ".BTF",
        ".symtab",
        ".rela.debug_info",
        ".rela.data",
    ];
    let sections = file.sections().filter(|section| {
        let name = section.name().unwrap_or("");
        wanted.contains(&name)
    });
    let ranges = sections.filter_map(|section| section.file_range());
    ranges
        .map(|(start, size)| start as usize..(start + size) as usize)
        .chain(iter::once(0..64))
        .collect()
}

/// Changes some bytes, or words that may be references.
fn mangle(bytes: &mut Vec<u8>, parts: &[Range<usize>], random: &mut Random) {
    let kind = random.below(16);
    if kind == 0 {
        bytes.truncate(random.below(bytes.len()));
        return;
    }
    for _ in 0..1 + random.below(6) {
        let part = parts[random.below(parts.len())].clone();
        let at = part.start + random.below(part.len());
        match kind {
            1..=6 => bytes[at] = random.below(256) as u8,
            // Of one struct, a member of another, and the like.
            7..=9 => {
                let from = part.start + random.below(part.len());
                let len = 4.min(part.end - at.max(from));
                bytes.copy_within(from..from + len, at);
            }
            // A reference within .debug_info, or an id of BTF.
            _ => {
                let at = at & !3;
                let limit = [64, part.len()][random.below(2)];
                if let Some(word) = bytes.get_mut(at..at + 4) {
                    word.copy_from_slice(&(random.below(limit) as u32).to_le_bytes());
                }
            }
        }
    }
}

/// Runs the tool; returns its exit status, or what it did instead of ending by itself.
fn status_of(args: &[&str], dir: &Path) -> Result<i32, String> {
    let limited = format!("ulimit -v {MEMORY_LIMIT}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_klp-check-patch")])
        .args(args)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return status.code().ok_or(status.to_string());
        }
        if start.elapsed() > TIME_LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err("it does not end".into());
        }
        thread::sleep(Duration::from_micros(300));
    }
}

/// Tries mangled copies of `file`, which replace it among the arguments.
fn try_all(case: &Case, file: &str, args: &[&str]) {
    let whole = fs::read(case.dir.join(file)).unwrap();
    let parts = parts(&whole);
    assert_eq!(status_of(args, &case.dir), Ok(0), "{file}");
    let mangled = format!("mangled-{file}");
    let args: Vec<&str> = args
        .iter()
        .map(|arg| if *arg == file { mangled.as_str() } else { *arg })
        .collect();
    let mut random = Random(file.bytes().map(u64::from).sum());
    for round in 0..ROUNDS {
        let mut bytes = whole.clone();
        mangle(&mut bytes, &parts, &mut random);
        fs::write(case.dir.join(&mangled), &bytes).unwrap();
        let status = status_of(&args, &case.dir);
        assert!(
            matches!(status, Ok(0..=2)),
            "{file}, round {round}: {status:?}; the file is in {}",
            case.dir.display()
        );
    }
}

/// The kernel's side of the functions below.
fn kernel(case: &Case) {
    let text =
        format!("{TYPES} int target_func{ARGUMENTS} {{ return n->bits + v.l + o->end[0]; }}");
    case.c("kernel", &text, &["-g"]);
}

fn c(name: &str) -> Case {
    let case = Case::new(name, TARGETS[0]);
    kernel(&case);
    let patch = format!(
        "{KLP}{TYPES} static int new_func{ARGUMENTS} {{ return n->bits + v.l; }} {}",
        declare("target_func", "new_func", 0)
    );
    case.c("patch", &patch, &["-g"]);
    case
}

#[test]
fn patch_in_c() {
    let case = c("mangled-patch");
    try_all(&case, "patch.o", &["patch.o", "kernel.o"]);
}

#[test]
fn dwarf_of_the_kernel() {
    let case = c("mangled-dwarf");
    try_all(&case, "kernel.o", &["patch.o", "kernel.o"]);
}

#[test]
fn symbols_of_a_name() {
    let case = Case::new("mangled-sympos", TARGETS[0]);
    let data = format!("{TYPES} struct node table __asm__(\"dup\") = {{ .bits = 1 }};");
    case.c("data", &data, &["-g"]);
    run("objcopy", &["--localize-symbol=dup", "data.o"], &case.dir);
    case.c("code", "int dup(int a) { return a; }", &["-g"]);
    let link = |args: &[&str]| run("lld", &[args, &["data.o", "code.o"]].concat(), &case.dir);
    link(&["-r", "-o", "module"]);
    link(&["-e", "0", "-o", "vmlinux"]);
    for file in ["module", "vmlinux"] {
        try_all(&case, file, &["--sympos", "dup", file]);
    }
}

#[test]
fn btf_of_the_kernel() {
    let case = c("mangled-btf");
    let args = ["--btf_encode_detached=raw", "kernel.o"];
    run("pahole", &args, &case.dir);
    try_all(&case, "raw", &["patch.o", "raw"]);
    // In a section, as the base of a module's.
    case.only_btf("kernel.o", "raw", "vmlinux");
    try_all(&case, "vmlinux", &["patch.o", "vmlinux"]);
}

#[test]
fn patch_in_rust() {
    let case = Case::new("mangled-rust", TARGETS[0]);
    case.kernel(
        "struct foo { struct foo *next; int a; }; enum mode { A, B };
         int target_func(struct seq_file *m, struct foo *f, enum mode o, unsigned n) { return 0; }
         int called(int n) { return n; }",
    );
    case.rust(
        "#[repr(C)] pub struct foo { next: *mut foo, a: i32 }
         #[repr(u32)] pub enum Mode { A, B }
         unsafe extern \"C\" fn replacement(m: &SeqFile, f: Option<NonNull<foo>>, o: Mode, n: core::num::NonZeroU32) -> i32 { 0 }
         #[used] #[export_name = \".klp.type.func.vmlinux.target_func,0\"]
         static TYPE: unsafe extern \"C\" fn(&SeqFile, Option<NonNull<foo>>, Mode, core::num::NonZeroU32) -> i32 = replacement;
         #[used] #[export_name = \".klp.type.sym.vmlinux.called,0\"]
         static SYM: Option<unsafe extern \"C\" fn(i32) -> i32> = None;",
    );
    try_all(&case, "patch.o", &["patch.o", "kernel.o"]);
}
