// SPDX-License-Identifier: GPL-2.0

//! What the tests share: compilers, a folder for each case, and the structs of livepatch.
#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Little and big endian, and three kinds of relocations.
pub const TARGETS: &[&str] = &[
    "x86_64-linux-gnu",
    "s390x-linux-gnu",
    "powerpc64le-linux-gnu",
];

/// The structs of livepatch, in another order than the kernel's: the tool has to read the layout.
pub const KLP: &str = "
typedef _Bool bool;
#define NULL ((void *)0)
struct list_head { struct list_head *next, *prev; };
struct klp_func { struct list_head node; void *new_func; const char *old_name; unsigned long old_sympos; bool patched; };
struct klp_object { bool patched; struct klp_func *funcs; const char *name; struct list_head node; };
struct klp_patch { struct list_head list; bool replace; struct klp_object *objs; };
";

/// A struct that both sides share.
pub const SEQ: &str = "struct seq_file { char *buf; unsigned long size; };\n";

pub fn tool(name: &str) -> String {
    match name {
        "clang" => env::var("KLP_CLANG").unwrap_or_else(|_| "clang-22".into()),
        "lld" => env::var("KLP_LLD").unwrap_or_else(|_| "ld.lld-22".into()),
        "objcopy" => env::var("KLP_OBJCOPY").unwrap_or_else(|_| "llvm-objcopy-22".into()),
        other => other.into(),
    }
}

pub fn run(name: &str, args: &[&str], dir: &Path) {
    let program = tool(name);
    let output = Command::new(&program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|e| panic!("{program} cannot be run: {e}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder for one case.
pub struct Case {
    pub dir: PathBuf,
    pub target: &'static str,
}

impl Case {
    pub fn new(name: &str, target: &'static str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{target}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Case { dir, target }
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
    }

    /// Compiles C to an object; `flags` are added.
    pub fn c(&self, name: &str, text: &str, flags: &[&str]) {
        self.write(&format!("{name}.c"), text);
        let target = format!("--target={}", self.target);
        let (source, object) = (format!("{name}.c"), format!("{name}.o"));
        let mut args = vec![
            &*target,
            "-O2",
            "-ffreestanding",
            "-fno-pic",
            "-Wno-everything",
            "-c",
            &source,
            "-o",
            &object,
        ];
        args.extend(flags);
        run("clang", &args, &self.dir);
    }

    /// A patch of one function, `target_func` of vmlinux, with its text.
    pub fn patch(&self, function: &str) {
        self.c(
            "patch",
            &format!(
                "{KLP}{SEQ}{function}{}",
                declare("target_func", "new_func", 0)
            ),
            &["-g"],
        );
    }

    pub fn kernel(&self, function: &str) {
        self.c("kernel", &format!("{SEQ}{function}"), &["-g"]);
    }

    /// A copy of an object with BTF instead of its DWARF.
    pub fn only_btf(&self, object: &str, btf: &str, to: &str) {
        let section = format!(".BTF={btf}");
        run(
            "objcopy",
            &["-g", "--add-section", &section, object, to],
            &self.dir,
        );
    }

    /// Runs the tool; returns its exit status and its output.
    pub fn check(&self, args: &[&str]) -> (i32, Vec<String>) {
        let output = Command::new(env!("CARGO_BIN_EXE_klp-check-patch"))
            .args(args)
            .current_dir(&self.dir)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let lines = String::from_utf8_lossy(&text)
            .lines()
            .map(String::from)
            .collect();
        (output.status.code().unwrap_or(-1), lines)
    }

    #[track_caller]
    pub fn expect(&self, args: &[&str], status: i32, lines: &[&str]) {
        let (got, said) = self.check(args);
        let shown = said
            .iter()
            .filter(|line| !line.contains(" agree, "))
            .collect::<Vec<_>>();
        assert_eq!(shown, lines, "{}", self.dir.display());
        assert_eq!(got, status, "{said:?}");
    }
}

pub fn declare(old: &str, new: &str, sympos: u64) -> String {
    declare_in("NULL", old, new, sympos)
}

pub fn declare_in(object: &str, old: &str, new: &str, sympos: u64) -> String {
    format!(
        "static struct klp_func funcs[] = {{ {{ .old_name = \"{old}\", .new_func = (void *){new}, .old_sympos = {sympos} }}, {{}} }};
static struct klp_object objs[] = {{ {{ .name = {object}, .funcs = funcs }}, {{}} }};
static struct klp_patch patch = {{ .objs = objs }};
extern int klp_enable_patch(struct klp_patch *);
int init_module(void) {{ return klp_enable_patch(&patch); }}
"
    )
}

/// A patch in Rust, with bindings as bindgen makes them and the wrappers of the kernel crate.
pub const RUST: &str = r#"
#![no_std]
#![allow(dead_code, non_camel_case_types)]
use core::{cell::UnsafeCell, ffi::c_void, marker::PhantomPinned, mem::MaybeUninit, ptr::NonNull};

mod bindings {
    mod bindings_raw {
        use core::ffi::c_void;
        #[repr(C)]
        pub struct list_head { pub next: *mut list_head, pub prev: *mut list_head }
        #[repr(C)]
        pub struct klp_func { pub node: list_head, pub new_func: *mut c_void, pub old_name: *const u8, pub old_sympos: usize, pub patched: bool }
        #[repr(C)]
        pub struct klp_object { pub patched: bool, pub funcs: *mut klp_func, pub name: *const u8, pub node: list_head }
        #[repr(C)]
        pub struct klp_patch { pub list: list_head, pub replace: bool, pub objs: *mut klp_object }
        #[repr(C)]
        pub struct seq_file { pub buf: *mut u8, pub size: usize }
        #[repr(C)]
        pub struct kref { pub refcount: refcount_t }
        #[repr(C)]
        pub struct refcount_t { pub refs: i32 }
        #[repr(C)]
        pub struct opaque { _unused: [u8; 0] }
        pub type mode = u32;
    }
    pub use bindings_raw::*;
}

#[repr(transparent)]
pub struct Opaque<T> { value: UnsafeCell<MaybeUninit<T>>, _pin: PhantomPinned }
#[repr(transparent)]
pub struct SeqFile { inner: Opaque<bindings::seq_file> }
#[repr(transparent)]
pub struct Shared<T>(Opaque<T>);
// SAFETY: Nothing of this is run.
unsafe impl<T> Sync for Shared<T> {}
const fn shared<T>(value: T) -> Shared<T> {
    Shared(Opaque { value: UnsafeCell::new(MaybeUninit::new(value)), _pin: PhantomPinned })
}

const LIST: bindings::list_head = bindings::list_head { next: core::ptr::null_mut(), prev: core::ptr::null_mut() };
static FUNCS: Shared<[bindings::klp_func; 2]> = shared([
    bindings::klp_func { node: LIST, new_func: replacement as *mut c_void, old_name: c"target_func".as_ptr().cast(), old_sympos: 0, patched: false },
    bindings::klp_func { node: LIST, new_func: core::ptr::null_mut(), old_name: core::ptr::null(), old_sympos: 0, patched: false },
]);
static OBJECTS: Shared<[bindings::klp_object; 2]> = shared([
    bindings::klp_object { patched: false, funcs: (&raw const FUNCS).cast_mut().cast(), name: core::ptr::null(), node: LIST },
    bindings::klp_object { patched: false, funcs: core::ptr::null_mut(), name: core::ptr::null(), node: LIST },
]);
#[used]
static PATCH: Shared<bindings::klp_patch> = shared(bindings::klp_patch { list: LIST, replace: false, objs: (&raw const OBJECTS).cast_mut().cast() });

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
"#;

impl Case {
    pub fn rust(&self, text: &str) {
        self.rust_all(&format!("{RUST}{text}"));
    }

    pub fn rust_all(&self, text: &str) {
        self.write("patch.rs", text);
        run(
            "rustc",
            &[
                "--edition=2021",
                "--crate-type=lib",
                "--emit=obj",
                "-Cdebuginfo=2",
                "-Copt-level=2",
                "-Cpanic=abort",
                "-Ccodegen-units=1",
                "-Anonstandard_style",
                "-Aunused",
                "patch.rs",
                "-o",
                "patch.o",
            ],
            &self.dir,
        );
    }
}
