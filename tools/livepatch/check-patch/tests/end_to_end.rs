// SPDX-License-Identifier: GPL-2.0

//! Runs the tool on objects that are compiled here: a "kernel" and a "patch", in C for each
//! architecture, and in Rust. Each kind of difference has to be named, word for word.
//!
//! They need clang, lld, pahole, gcc and rustc, as the toolchain root has them.

mod common;

use common::*;

const IT: &str = "vmlinux:target_func";

/// Kernel, patch, and what has to be said about them; empty if they agree.
const CASES: &[(&str, &str, &str, &str)] = &[
    (
        "same",
        "int target_func(struct seq_file *m, void *v) { return m->size; }",
        "static int new_func(struct seq_file *m, void *v) { return 0; }",
        "",
    ),
    (
        "typedefs",
        "typedef unsigned int u32; typedef unsigned long long u64; u32 target_func(u64 a, const char *s) { return a; }",
        "static unsigned new_func(unsigned long a, const char *s) { return 0; }",
        "",
    ),
    (
        "count",
        "int target_func(struct seq_file *m, void *v) { return m->size; }",
        "static int new_func(struct seq_file *m) { return 0; }",
        "takes 1 argument here and 2 in the kernel",
    ),
    (
        "size",
        "int target_func(void *p, long n) { return n; }",
        "typedef unsigned int u32; static int new_func(void *p, u32 n) { return 0; }",
        "argument 2 is u32 (4 bytes, unsigned) here and long (8 bytes, signed) in the kernel",
    ),
    (
        "sign",
        "int target_func(int n) { return n; }",
        "static int new_func(unsigned int n) { return 0; }",
        "argument 1 is unsigned int (4 bytes, unsigned) here and int (4 bytes, signed) in the kernel",
    ),
    (
        "struct",
        "struct file { int x; }; int target_func(struct file *f) { return f->x; }",
        "static int new_func(struct seq_file *f) { return 0; }",
        "argument 1 is struct seq_file * here and struct file * in the kernel",
    ),
    (
        "struct-size",
        "struct file { int x, y; }; int target_func(struct file *f) { return f->x; }",
        "struct file { int x; }; static int new_func(struct file *f) { return f->x; }",
        "what argument 1 points to is struct file of 4 bytes here and of 8 bytes in the kernel",
    ),
    (
        "struct-by-value",
        "struct pair { int x, y; }; int target_func(struct pair f) { return f.x; }",
        "struct couple { int x, y; }; static int new_func(struct couple f) { return f.x; }",
        "argument 1 is struct couple (8 bytes) here and struct pair (8 bytes) in the kernel",
    ),
    (
        "return",
        "void target_func(int n) { }",
        "static int new_func(int n) { return 0; }",
        "returns int (4 bytes, signed) here and void in the kernel",
    ),
    (
        "pointer-integer",
        "int target_func(struct seq_file *m) { return m->size; }",
        "static int new_func(unsigned long m) { return 0; }",
        "argument 1 is unsigned long (8 bytes, unsigned) here and struct seq_file * in the kernel",
    ),
    (
        "bool",
        "int target_func(_Bool b) { return b; }",
        "static int new_func(unsigned char b) { return 0; }",
        "argument 1 is unsigned char (1 byte, unsigned) here and _Bool (1 byte) in the kernel",
    ),
    (
        "enum",
        "enum mode { A, B }; int target_func(enum mode m) { return m; }",
        "enum other { A, B }; static int new_func(enum other m) { return 0; }",
        "argument 1 is enum other (4 bytes) here and enum mode (4 bytes) in the kernel",
    ),
    (
        "pointee",
        "int target_func(unsigned int *p) { return *p; }",
        "static int new_func(unsigned long *p) { return 0; }",
        "what argument 1 points to is unsigned long (8 bytes, unsigned) here and unsigned int (4 bytes, unsigned) in the kernel",
    ),
    (
        "double-pointer",
        "int target_func(struct seq_file **p) { return (*p)->size; }",
        "static int new_func(struct seq_file *p) { return 0; }",
        "argument 1 is struct seq_file * here and struct seq_file ** in the kernel",
    ),
    (
        "callback",
        "int target_func(int (*f)(long)) { return f(1); }",
        "static int new_func(int (*f)(int)) { return f(1); }",
        "the function that argument 1 points to: argument 1 is int (4 bytes, signed) here and long (8 bytes, signed) in the kernel",
    ),
    (
        "variadic",
        "int target_func(const char *f, ...) { return *f; }",
        "static int new_func(const char *f) { return 0; }",
        "takes variable arguments in the kernel and not here",
    ),
    (
        "several",
        "void target_func(int n, long m) { }",
        "static int new_func(long n, long m) { return 0; }",
        "argument 1 is long (8 bytes, signed) here and int (4 bytes, signed) in the kernel; returns int (4 bytes, signed) here and void in the kernel",
    ),
];

#[test]
fn each_difference_is_named() {
    for target in TARGETS {
        for (name, kernel, patch, what) in CASES {
            let case = Case::new(name, target);
            case.kernel(kernel);
            case.patch(patch);
            if what.is_empty() {
                case.expect(&["patch.o", "kernel.o"], 0, &[&format!("ok {IT}")]);
            } else {
                case.expect(
                    &["patch.o", "kernel.o"],
                    1,
                    &[&format!("differs {IT}: {what}")],
                );
            }
        }
    }
}

/// The same, with the kernel's BTF instead of its DWARF: in a section, and raw.
#[test]
fn btf_tells_the_same() {
    for target in TARGETS {
        for (name, kernel, patch, what) in CASES {
            let case = Case::new(&format!("btf-{name}"), target);
            case.kernel(kernel);
            case.patch(patch);
            run(
                "pahole",
                &["--btf_encode_detached=raw", "kernel.o"],
                &case.dir,
            );
            case.only_btf("kernel.o", "raw", "btf.o");
            let line = if what.is_empty() {
                format!("ok {IT}")
            } else {
                format!("differs {IT}: {what}")
            };
            let status = i32::from(!what.is_empty());
            case.expect(&["patch.o", "btf.o"], status, &[&line]);
            case.expect(&["patch.o", "raw"], status, &[&line]);
        }
    }
}

#[test]
fn notes_do_not_fail() {
    for target in TARGETS {
        let case = Case::new("notes", target);
        case.kernel("int target_func(struct seq_file *m, const char *s) { return m->size; }");
        case.patch("static int new_func(void *m, char *s) { return 0; }");
        case.expect(
            &["patch.o", "kernel.o"],
            0,
            &[
                "ok vmlinux:target_func",
                "note vmlinux:target_func: argument 1 is void * here and struct seq_file * in the kernel: what it points to is not compared",
                "note vmlinux:target_func: what argument 2 points to is const in the kernel only",
            ],
        );
    }
}

#[test]
fn what_cannot_be_checked_is_said() {
    for target in TARGETS {
        let case = Case::new("unchecked", target);
        case.kernel("int another(void) { return 1; }");
        case.patch("static int new_func(void) { return 0; }");
        case.expect(
            &["patch.o", "kernel.o"],
            2,
            &["not checked vmlinux:target_func: the kernel has no function of that name"],
        );
        case.expect(
            &["patch.o"],
            2,
            &["not checked vmlinux:target_func: no file of the kernel is given: VMLINUX=<vmlinux>"],
        );
    }
}

/// The patch has debug information, but not of the replacement.
#[test]
fn replacements_without_debug_information() {
    for target in TARGETS {
        let case = Case::new("replacement-without", target);
        case.c("other", "int new_func(void) { return 0; }", &[]);
        case.c(
            "declared",
            &format!(
                "{KLP}extern int new_func(void);{}",
                declare("target_func", "new_func", 0)
            ),
            &["-g"],
        );
        run(
            "lld",
            &["-r", "other.o", "declared.o", "-o", "both.o"],
            &case.dir,
        );
        case.kernel("int target_func(void) { return 1; }");
        case.expect(
            &["both.o", "kernel.o"],
            2,
            &["not checked vmlinux:target_func: the module has no debug information of the replacement; build it with -g"],
        );
        case.expect(
            &["declared.o", "kernel.o"],
            2,
            &["not checked vmlinux:target_func: its replacement new_func is not in this module"],
        );
    }
}

#[test]
fn files_without_debug_information() {
    for target in TARGETS {
        let case = Case::new("bare", target);
        let patch = "static int new_func(void) { return 0; }";
        let kernel = "int target_func(void) { return 1; }";
        case.patch(patch);
        case.kernel(kernel);
        case.c(
            "bare",
            &format!("{KLP}{patch}{}", declare("target_func", "new_func", 0)),
            &[],
        );
        case.expect(
            &["bare.o", "kernel.o"],
            2,
            &["error: bare.o: it has no debug information; build it with CONFIG_DEBUG_INFO_DWARF5=y"],
        );
        case.c("bare-kernel", kernel, &[]);
        case.expect(
            &["patch.o", "bare-kernel.o"],
            2,
            &["error: bare-kernel.o: it has no DWARF and no BTF; give one that was built with CONFIG_DEBUG_INFO"],
        );
    }
}

/// No livepatch, and no file.
#[test]
fn wrong_files() {
    for target in TARGETS {
        let case = Case::new("wrong-files", target);
        case.kernel("int target_func(void) { return 1; }");
        case.patch("static int new_func(void) { return 0; }");
        case.expect(
            &["kernel.o", "kernel.o"],
            2,
            &["error: kernel.o: it declares no static klp_patch, klp_object or klp_func; is it a livepatch?"],
        );
        case.expect(
            &["patch.o", "nowhere"],
            2,
            &["error: nowhere cannot be read: No such file or directory (os error 2)"],
        );
    }
}

/// Two functions `dup`: in `a.o` it takes an int, in `b.o` a long. Both are in `vmlinux`.
fn two_functions_of_a_name(name: &str, target: &'static str) -> Case {
    let case = Case::new(name, target);
    let keep = "extern void keep(void *);";
    case.c("a", &format!("static __attribute__((noinline)) int dup(int a) {{ return a; }}\n{keep} void use_a(void) {{ keep(dup); }}"), &["-g"]);
    case.c("b", &format!("static __attribute__((noinline)) int dup(long a) {{ return a + 1; }}\n{keep} void use_b(void) {{ keep(dup); }}"), &["-g"]);
    run(
        "lld",
        &[
            "-e",
            "0",
            "--unresolved-symbols=ignore-all",
            "a.o",
            "b.o",
            "-o",
            "vmlinux",
        ],
        &case.dir,
    );
    case
}

/// A patch of `dup` in an object, by a function that takes a long.
fn patch_dup(case: &Case, object: &str, sympos: u64) {
    let text = "static int new_func(long a) { return 0; }";
    let declared = declare_in(object, "dup", "new_func", sympos);
    case.c("patch", &format!("{KLP}{text}{declared}"), &["-g"]);
}

#[test]
fn sympos_picks() {
    for target in TARGETS {
        let case = two_functions_of_a_name("sympos", target);
        let check = |sympos, status, line: &str| {
            patch_dup(&case, "NULL", sympos);
            case.expect(&["patch.o", "vmlinux"], status, &[line]);
        };
        check(
            0,
            2,
            "not checked vmlinux:dup: there are 2 of that name; its old_sympos must say which",
        );
        check(
            1,
            1,
            "differs vmlinux:dup,1: argument 1 is long (8 bytes, signed) here and int (4 bytes, signed) in the kernel",
        );
        check(2, 0, "ok vmlinux:dup,2");
        check(
            3,
            2,
            "not checked vmlinux:dup,3: its old_sympos is 3 and there are only 2 of that name",
        );
    }
}

#[test]
fn object_files_have_no_order() {
    for target in TARGETS {
        let case = two_functions_of_a_name("sympos-objects", target);
        patch_dup(&case, "NULL", 3);
        case.expect(
            &["patch.o", "a.o", "b.o"],
            2,
            &["not checked vmlinux:dup,3: its old_sympos is 3 and there are only 2 of that name"],
        );
        patch_dup(&case, "NULL", 2);
        case.expect(
            &["patch.o", "a.o", "b.o"],
            2,
            &["not checked vmlinux:dup,2: there are 2 of that name, of different types; its old_sympos must say which, and the files of the kernel must be one vmlinux"],
        );
        case.expect(
            &["patch.o", "b.o", "b.o"],
            0,
            &[
                "ok vmlinux:dup,2",
                "note vmlinux:dup,2: object files do not tell which of that name is number 2; all 2 that are given were compared",
            ],
        );
    }
}

/// Links a variable `dup` and two functions to `my_mod.ko` and `vmlinux`. By address, the function
/// that takes a long is the first, by the symbol table it is the last.
fn link_in_two_orders(case: &Case) {
    // The section of the first symbol is the last one.
    let text = "
        int first(int a) __asm__(\"dup\");
        __attribute__((section(\".text.z\"), noinline)) int first(int a) { return a; }";
    let other = "
        int second(long a) __asm__(\"dup\");
        __attribute__((section(\".text.a\"), noinline)) int second(long a) { return a + 1; }";
    let local = |name: &str, text: &str| {
        case.c(name, text, &["-g"]);
        let object = format!("{name}.o");
        run("objcopy", &["--localize-symbol=dup", &object], &case.dir);
    };
    local("one", text);
    local("two", other);
    local(
        "data",
        "long data __asm__(\"dup\") = 1; long *use_data(void) { return &data; }",
    );
    case.write(
        "order.ld",
        "SECTIONS { .text : { *(.text.a) *(.text.z) *(.text) } }",
    );
    let objects = ["data.o", "one.o", "two.o"];
    let link = |args: &[&str]| run("lld", &[args, &objects[..]].concat(), &case.dir);
    link(&["-r", "-T", "order.ld", "-o", "my_mod.ko"]);
    link(&[
        "-e",
        "0",
        "-Ttext=0x10000",
        "-T",
        "order.ld",
        "-o",
        "vmlinux",
    ]);
}

/// Livepatch counts the symbols of vmlinux by their addresses, and those of a module in the order
/// of its symbol table; in both, data counts.
#[test]
fn sympos_counts_as_the_kernel_does() {
    let differs =
        "argument 1 is long (8 bytes, signed) here and int (4 bytes, signed) in the kernel";
    let data = "the kernel's debug information does not tell its type";
    for target in TARGETS {
        let case = Case::new("sympos-order", target);
        link_in_two_orders(&case);
        let module = |sympos, status, line: &str| {
            patch_dup(&case, "\"my_mod\"", sympos);
            case.expect(&["patch.o", "--target", "my_mod.ko"], status, &[line]);
        };
        module(1, 2, &format!("not checked my_mod:dup,1: {data}"));
        module(2, 1, &format!("differs my_mod:dup,2: {differs}"));
        module(3, 0, "ok my_mod:dup,3");

        let kernel = |sympos, status, line: &str| {
            patch_dup(&case, "NULL", sympos);
            case.expect(&["patch.o", "vmlinux"], status, &[line]);
        };
        kernel(1, 0, "ok vmlinux:dup,1");
        kernel(2, 1, &format!("differs vmlinux:dup,2: {differs}"));
        kernel(3, 2, &format!("not checked vmlinux:dup,3: {data}"));
    }
}

#[test]
fn what_the_compiler_has_changed() {
    let case = Case::new("changed", TARGETS[0]);
    let kernel =
        "static __attribute__((noinline)) int target_func(int unused, int *p) { return *p + 1; }
int one(int *p) { return target_func(1, p) + target_func(7, p + 1); }";
    case.patch("static int new_func(int unused, int *p) { return 0; }");

    // clang drops the unused argument and marks the function as changed.
    case.kernel(kernel);
    case.expect(
        &["patch.o", "kernel.o"],
        2,
        &["not checked vmlinux:target_func: the compiler has changed its arguments, and does not tell how"],
    );

    // gcc renames what it has changed.
    run(
        "gcc",
        &["-g", "-O2", "-c", "kernel.c", "-o", "gcc.o"],
        &case.dir,
    );
    case.expect(
        &["patch.o", "gcc.o"],
        2,
        &["not checked vmlinux:target_func: the compiler has made target_func.isra.0 of it, whose arguments may be others"],
    );
    case.c(
        "isra",
        &format!(
            "{KLP}static int new_func(int *p) {{ return 0; }}{}",
            declare("target_func.isra.0", "new_func", 0)
        ),
        &["-g"],
    );
    case.expect(
        &["isra.o", "gcc.o"],
        2,
        &["not checked vmlinux:target_func.isra.0: the compiler has made it of another function, and does not tell its arguments"],
    );

    // Nothing is left of it.
    case.kernel(
        "static inline __attribute__((always_inline)) int target_func(int a) { return a + 1; }
int two(int a) { return target_func(a) * target_func(a + 2); }",
    );
    case.expect(
        &["patch.o", "kernel.o"],
        2,
        &["not checked vmlinux:target_func: the kernel has it inlined everywhere; there is nothing to replace"],
    );
}

/// As the kernel's system calls are: one function with two names.
#[test]
fn an_alias_has_the_type_of_its_function() {
    for target in TARGETS {
        let case = Case::new("alias", target);
        case.kernel("long do_it(const struct seq_file *m) { return m->size; } long target_func(const struct seq_file *m) __attribute__((alias(\"do_it\")));");
        case.patch("static long new_func(const struct seq_file *m) { return 0; }");
        case.expect(&["patch.o", "kernel.o"], 0, &["ok vmlinux:target_func"]);
        run(
            "pahole",
            &["--btf_encode_detached=raw", "kernel.o"],
            &case.dir,
        );
        case.expect(
            &["patch.o", "raw"],
            2,
            &["not checked vmlinux:target_func: it is not in the kernel's BTF, which leaves out aliases and what the compiler has changed; give a vmlinux with DWARF"],
        );
        case.patch("static long new_func(int m) { return 0; }");
        case.expect(
            &["patch.o", "kernel.o"],
            1,
            &["differs vmlinux:target_func: argument 1 is int (4 bytes, signed) here and const struct seq_file * in the kernel"],
        );
    }
}

#[test]
fn what_is_filled_in_at_run_time() {
    for target in TARGETS {
        let case = Case::new("runtime", target);
        case.kernel("int target_func(int n) { return n; }");
        let init = "extern int klp_enable_patch(struct klp_patch *);";
        case.c("patch", &format!("{KLP}static struct klp_patch patch; {init} int init_module(void) {{ return klp_enable_patch(&patch); }}"), &["-g"]);
        case.expect(
            &["patch.o", "kernel.o"],
            2,
            &["error: patch.o: what it replaces is filled in at run time, and cannot be seen in the file"],
        );
        // Functions without an object: that of one may be any.
        case.c(
            "patch",
            &format!(
                "{KLP}static int new_func(int n) {{ return 0; }}
                 struct klp_func funcs[] = {{ {{ .old_name = \"target_func\", .new_func = new_func }}, {{}} }};"
            ),
            &["-g"],
        );
        case.expect(
            &["patch.o", "kernel.o"],
            2,
            &["not checked ?:target_func: no static klp_object has it, so that its object is not known"],
        );
        // Only callbacks: nothing to check.
        case.c(
            "patch",
            &format!(
                "{KLP}struct klp_func funcs[] = {{ {{}} }}; struct klp_object objs[] = {{ {{ .name = \"m\", .funcs = funcs }}, {{}} }};
                 struct klp_patch patch = {{ .objs = objs }};"
            ),
            &["-g"],
        );
        case.expect(&["patch.o", "kernel.o"], 0, &[]);
        case.expect(&["patch.o"], 0, &[]);
    }
}

/// Several objects in one patch, in an array each, and one struct around all of it.
#[test]
fn patches_with_several_objects() {
    for target in TARGETS {
        let case = Case::new("several-objects", target);
        case.kernel("int a(int n) { return n; } int b(long n) { return n; }");
        case.c("m", "int c(char *s) { return *s; }", &["-g"]);
        case.c(
            "patch",
            &format!(
                "{KLP}static int new_a(int n) {{ return 0; }} static int new_b(int n) {{ return 1; }} static int new_c(char *s) {{ return 2; }}
                 struct all {{ int first; struct klp_func in_kernel[3], in_m[2]; struct klp_object objs[3]; struct klp_patch patch; }};
                 static struct all all = {{
                     .in_kernel = {{ {{ .old_name = \"a\", .new_func = new_a }}, {{ .old_name = \"b\", .new_func = new_b }} }},
                     .in_m = {{ {{ .old_name = \"c\", .new_func = new_c }} }},
                     .objs = {{ {{ .funcs = all.in_kernel }}, {{ .name = \"m\", .funcs = all.in_m }} }},
                     .patch = {{ .objs = all.objs }},
                 }};
                 void *use(void) {{ return &all.patch; }}"
            ),
            &["-g"],
        );
        case.expect(
            &["patch.o", "kernel.o", "--target", "m.o"],
            1,
            &[
                "ok vmlinux:a",
                "differs vmlinux:b: argument 1 is int (4 bytes, signed) here and long (8 bytes, signed) in the kernel",
                "ok m:c",
            ],
        );
        let (_, said) = case.check(&["--list", "patch.o"]);
        assert_eq!(said, ["vmlinux:a", "vmlinux:b", "m:c"]);
    }
}

#[test]
fn calls_what_it_replaces() {
    for target in TARGETS {
        let case = Case::new("calls", target);
        case.kernel("int target_func(int n) { return n; }");
        case.patch("extern int target_func(int); static int new_func(int n) { return target_func(n) + 1; }");
        let calls =
            "the patch calls what it replaces, which comes back to the replacement without end";
        case.expect(
            &["patch.o", "kernel.o"],
            1,
            &[&format!("differs {IT}: {calls}")],
        );
        // By livepatch's own relocations, too.
        case.patch(
            "extern int orig(int) __asm__(\".klp.sym.vmlinux.target_func,0\");
             static int new_func(int n) { return orig(n) + 1; }",
        );
        case.expect(
            &["patch.o", "kernel.o"],
            1,
            &[&format!("differs {IT}: {calls}")],
        );
        // To know where it is, is not to call it.
        case.patch(
            "extern int target_func(int); int (*where)(int) = target_func;
             static int new_func(int n) { return 1; }",
        );
        case.expect(
            &["patch.o", "kernel.o"],
            0,
            &[
                "ok vmlinux:target_func",
                "warning vmlinux:target_func: the patch takes the address of what it replaces; a call of it comes back to the replacement",
            ],
        );
    }
}

#[test]
fn functions_of_modules() {
    for target in TARGETS {
        let case = Case::new("modules", target);
        case.kernel("int target_func(long n) { return n; }");
        case.c(
            "my-mod",
            "static __attribute__((used)) int target_func(int n) { return n; }",
            &["-g"],
        );
        case.c(
            "patch",
            &format!(
                "{KLP}extern int target_func(long); static int new_func(int n) {{ return target_func(n) + 1; }}{}",
                declare_in("\"my_mod\"", "target_func", "new_func", 0)
            ),
            &["-g"],
        );
        let warning = "warning my_mod:target_func: the patch calls a target_func of another object; if that is the one that it replaces, the call comes back to the replacement without end";
        case.expect(
            &["patch.o", "kernel.o", "--target", "my-mod.o"],
            0,
            &["ok my_mod:target_func", warning],
        );
        case.expect(
            &["patch.o", "kernel.o"],
            2,
            &["not checked my_mod:target_func: no file of this module is given: TARGETS=<my_mod.ko>", warning],
        );

        // A module that exports it is the one that is called.
        case.c(
            "my-mod",
            "int target_func(int n) { return n; } int __ksymtab_target_func;",
            &["-g"],
        );
        case.expect(
            &["patch.o", "kernel.o", "--target", "my-mod.o"],
            1,
            &["differs my_mod:target_func: the patch calls what it replaces, which comes back to the replacement without end"],
        );
    }
}

/// The BTF of a module builds on that of the kernel.
#[test]
fn split_btf() {
    for target in TARGETS {
        let case = Case::new("split", target);
        case.kernel("int in_kernel(struct seq_file *m, long n) { return n; }");
        case.c(
            "my-mod",
            &format!("{SEQ}int target_func(struct seq_file *m, long n) {{ return n; }}"),
            &["-g"],
        );
        run(
            "pahole",
            &["--btf_encode_detached=base", "kernel.o"],
            &case.dir,
        );
        run(
            "pahole",
            &[
                "--btf_encode_detached=my_mod",
                "--btf_base",
                "base",
                "my-mod.o",
            ],
            &case.dir,
        );
        case.only_btf("my-mod.o", "my_mod", "my-mod.ko");
        case.c(
            "patch",
            &format!(
                "{KLP}{SEQ}static int new_func(struct seq_file *m, int n) {{ return 0; }}{}",
                declare_in("\"my_mod\"", "target_func", "new_func", 0)
            ),
            &["-g"],
        );
        let line = "differs my_mod:target_func: argument 2 is int (4 bytes, signed) here and long (8 bytes, signed) in the kernel";
        for file in ["my-mod.ko", "my_mod"] {
            case.expect(&["patch.o", "base", "--target", file], 1, &[line]);
        }
        case.expect(
            &["patch.o", "--target", "my-mod.ko"],
            2,
            &["not checked my_mod:target_func: its BTF needs that of the kernel: give VMLINUX=<vmlinux or /sys/kernel/btf/vmlinux>"],
        );
    }
}

/// Kernel in C, patch in Rust, and what has to be said.
const RUST_CASES: &[(&str, &str, &str, &str)] = &[
    (
        "same",
        "int target_func(struct seq_file *m, void *v) { return m->size; }",
        "extern \"C\" fn replacement(m: *mut bindings::seq_file, _: *mut c_void) -> i32 { 0 }",
        "",
    ),
    (
        "wrappers",
        "int target_func(struct seq_file *a, struct seq_file *b, struct seq_file *c, struct seq_file *d, unsigned int *e) { return a->size; }",
        "extern \"C\" fn replacement(a: &SeqFile, b: Option<&SeqFile>, c: NonNull<SeqFile>, d: Option<NonNull<bindings::seq_file>>, e: &UnsafeCell<u32>) -> i32 { 0 }",
        "",
    ),
    (
        "bindgen",
        "enum mode { A, B }; struct opaque { int x; }; typedef struct { int refs; } refcount_t;
         unsigned long target_func(enum mode m, struct opaque *o, refcount_t *r, char *s, _Bool b, long l) { return o->x; }",
        "extern \"C\" fn replacement(m: bindings::mode, o: *mut bindings::opaque, r: *mut bindings::refcount_t, s: *mut u8, b: bool, l: isize) -> usize { 0 }",
        "",
    ),
    (
        "callback",
        "void target_func(int (*f)(struct seq_file *, void *)) { f(0, 0); }",
        "extern \"C\" fn replacement(f: Option<unsafe extern \"C\" fn(*mut bindings::seq_file, *mut c_void) -> i32>) {}",
        "",
    ),
    (
        "count",
        "int target_func(struct seq_file *m, void *v) { return m->size; }",
        "extern \"C\" fn replacement(m: *mut bindings::seq_file) -> i32 { 0 }",
        "takes 1 argument here and 2 in the kernel",
    ),
    (
        "size",
        "int target_func(int a, long n) { return n; }",
        "extern \"C\" fn replacement(a: i32, n: u32) -> i32 { 0 }",
        "argument 2 is u32 (4 bytes, unsigned) here and long (8 bytes, signed) in the kernel",
    ),
    (
        "struct",
        "struct file { int x; }; int target_func(struct file *f) { return f->x; }",
        "extern \"C\" fn replacement(m: *mut bindings::seq_file) -> i32 { 0 }",
        "argument 1 is *mut patch::bindings::seq_file here and struct file * in the kernel",
    ),
    (
        "inner-struct",
        "typedef struct { int refs; } refcount_t; int target_func(refcount_t *r) { return r->refs; }",
        "extern \"C\" fn replacement(r: *mut bindings::kref) -> i32 { 0 }",
        "argument 1 is *mut patch::bindings::kref here and refcount_t * in the kernel",
    ),
    (
        "wrapper-of-another",
        "struct file { int x; }; int target_func(struct file *f) { return f->x; }",
        "extern \"C\" fn replacement(m: &SeqFile) -> i32 { 0 }",
        "argument 1 is &patch::SeqFile here and struct file * in the kernel",
    ),
    (
        "pointer",
        "int target_func(unsigned long a) { return a; }",
        "extern \"C\" fn replacement(m: *mut bindings::seq_file) -> i32 { 0 }",
        "argument 1 is *mut patch::bindings::seq_file here and unsigned long (8 bytes, unsigned) in the kernel",
    ),
    (
        "return",
        "void target_func(void) { }",
        "extern \"C\" fn replacement() -> i32 { 0 }",
        "returns i32 (4 bytes, signed) here and void in the kernel",
    ),
    (
        "struct-size",
        "struct opaque { int x; }; int target_func(struct opaque *o) { return o->x; }",
        "#[repr(C)] struct opaque { x: u64 } extern \"C\" fn replacement(o: *mut opaque) -> i32 { 0 }",
        "what argument 1 points to is struct opaque of 8 bytes here and of 4 bytes in the kernel",
    ),
    (
        "abi",
        "int target_func(int a) { return a; }",
        "fn replacement(a: i32) -> i32 { 0 } #[used] static TYPE: fn(i32) -> i32 = replacement;",
        "has the ABI \"Rust\" here and \"C\" in the kernel",
    ),
    (
        "declared",
        "int target_func(int a, long b) { return a; }",
        "extern \"C\" fn replacement(a: i32, _b: u64) -> i32 { 0 } #[used] static TYPE: extern \"C\" fn(i32, u64) -> i32 = replacement;",
        "argument 2 is u64 (8 bytes, unsigned) here and long (8 bytes, signed) in the kernel",
    ),
];

/// Said where no static has the type of the replacement.
const NO_ABI: &str = "note vmlinux:target_func: DWARF does not tell the ABI of the replacement; a static of its type would: see Documentation/livepatch/check-patch.rst";

#[test]
fn patches_in_rust() {
    for (name, kernel, patch, what) in RUST_CASES {
        // What rustc compiles for: the machine that this runs on.
        let case = Case::new(&format!("rust-{name}"), TARGETS[0]);
        case.kernel(kernel);
        case.rust(patch);
        let line = match what.is_empty() {
            true => format!("ok {IT}"),
            false => format!("differs {IT}: {what}"),
        };
        let mut lines = vec![line.as_str()];
        if !patch.contains("static TYPE") {
            lines.push(NO_ABI);
        }
        let granted;
        if *name == "wrappers" {
            granted = format!(
                "note {IT}: Rust takes for granted here that {}",
                [1, 3, 5]
                    .map(|n| format!("argument {n} is never null"))
                    .join(", and that ")
            );
            lines.push(&granted);
        }
        case.expect(
            &["patch.o", "kernel.o"],
            i32::from(!what.is_empty()),
            &lines,
        );
    }
}

/// A patch in Rust with the replacements `replacement` and `other`, for the functions of the names.
fn rust_patch(entries: &[(&str, &str, u64)]) -> String {
    let first = "    bindings::klp_func { node: LIST, new_func: replacement as *mut c_void, old_name: c\"target_func\".as_ptr().cast(), old_sympos: 0, patched: false },\n";
    assert!(RUST.contains(first));
    let all: String = entries
        .iter()
        .map(|(name, replacement, sympos)| {
            first
                .replace("target_func", name)
                .replace("replacement as", &format!("{replacement} as"))
                .replace("old_sympos: 0", &format!("old_sympos: {sympos}"))
        })
        .collect();
    RUST.replace(first, &all).replace(
        "[bindings::klp_func; 2]",
        &format!("[bindings::klp_func; {}]", entries.len() + 1),
    )
}

/// Replacements with the same code may be merged by the compiler. The statics of `livepatch!` still
/// tell their types, each by the name of its symbol.
#[test]
fn each_entry_has_a_static_of_its_type() {
    let case = Case::new("rust-merged", TARGETS[0]);
    case.kernel("int show(unsigned int a) { return a; } int cmdline_show(char *s) { return *s; }");
    let both = rust_patch(&[
        ("cmdline_show", "replacement", 0),
        ("show", "replacement", 0),
    ]);
    let replacement = "extern \"C\" fn replacement(_: u32) -> i32 { 0 }\n";
    let typed = |symbol: &str, name: &str, ty: &str| {
        // SAFETY: The function is not called by that type.
        format!(
            "#[used] #[export_name = \"{symbol}\"] static {name}: {ty} = unsafe {{ core::mem::transmute(replacement as extern \"C\" fn(u32) -> i32) }};"
        )
    };
    let pointer = "unsafe extern \"C\" fn(*mut u8) -> i32";
    let number = "unsafe extern \"C\" fn(u32) -> i32";
    let statics = typed(".klp.type.func.vmlinux.cmdline_show,0", "TYPE_1", pointer)
        + &typed(".klp.type.func.vmlinux.show,0", "TYPE_2", number);
    case.rust_all(&format!("{both}{replacement}{statics}"));
    case.expect(
        &["patch.o", "kernel.o"],
        0,
        &["ok vmlinux:cmdline_show", "ok vmlinux:show"],
    );
    // An entry has the type of its own static only.
    let swapped = typed(".klp.type.func.vmlinux.cmdline_show,0", "TYPE_1", number)
        + &typed(".klp.type.func.vmlinux.show,0", "TYPE_2", pointer);
    case.rust_all(&format!("{both}{replacement}{swapped}"));
    case.expect(
        &["patch.o", "kernel.o"],
        1,
        &[
            "differs vmlinux:cmdline_show: argument 1 is u32 (4 bytes, unsigned) here and char * in the kernel",
            "differs vmlinux:show: argument 1 is *mut u8 here and unsigned int (4 bytes, unsigned) in the kernel",
        ],
    );
    // A static of another position, or one that points elsewhere, is not that of the entry.
    let elsewhere = "#[used] #[export_name = \".klp.type.func.vmlinux.show,0\"] static T: unsafe extern \"C\" fn(u32) -> i32 = other;
        unsafe extern \"C\" fn other(a: u32) -> i32 { a as i32 }";
    let other_position = typed(".klp.type.func.vmlinux.cmdline_show,1", "TYPE_1", pointer);
    case.rust_all(&format!("{both}{replacement}{elsewhere}{other_position}"));
    let merged = "other functions have the same replacement, or the compiler has merged several; a static of its type must say which it is";
    case.expect(
        &["patch.o", "kernel.o"],
        2,
        &[
            &format!("not checked vmlinux:cmdline_show: {merged}"),
            "not checked vmlinux:show: the static .klp.type.func.vmlinux.show,0 does not point to its replacement",
        ],
    );
}

/// A patch that was built before there were such statics is matched by the address, where one entry
/// only has it.
#[test]
fn replacements_without_statics_of_their_entries() {
    let case = Case::new("rust-before", TARGETS[0]);
    case.kernel("int show(unsigned int a) { return a; } int cmdline_show(char *s) { return *s; }");
    let both = rust_patch(&[
        ("cmdline_show", "replacement", 0),
        ("show", "replacement", 0),
    ]);
    let replacement = "extern \"C\" fn replacement(_: u32) -> i32 { 0 }\n";
    let merged = "other functions have the same replacement, or the compiler has merged several; a static of its type must say which it is";
    let unchecked = |why: &str| {
        let lines = [
            format!("not checked vmlinux:cmdline_show: {why}"),
            format!("not checked vmlinux:show: {why}"),
        ];
        case.expect(&["patch.o", "kernel.o"], 2, &[&lines[0], &lines[1]]);
    };
    case.rust_all(&format!("{both}{replacement}"));
    unchecked(merged);
    let statics = "#[used] static TYPE_show: extern \"C\" fn(u32) -> i32 = replacement;
        #[used] static TYPE_cmdline_show: extern \"C\" fn(u32) -> i32 = replacement;";
    case.rust_all(&format!("{both}{replacement}{statics}"));
    let (_, said) = case.check(&["patch.o", "kernel.o"]);
    assert!(
        said.iter()
            .take(2)
            .all(|line| line
                .contains(": there are several statics of the type of its replacement: ")),
        "{said:?}"
    );

    let two = rust_patch(&[("cmdline_show", "other", 0), ("show", "replacement", 0)]);
    // SAFETY: The function is not called.
    let other = "extern \"C\" fn other(s: *mut u8) -> i32 { unsafe { *s as i32 } }
        #[used] static TYPE_show: extern \"C\" fn(u32) -> i32 = replacement;
        #[used] static TYPE_cmdline_show: extern \"C\" fn(*mut u8) -> i32 = other;";
    case.rust_all(&format!("{two}{replacement}{other}"));
    case.expect(
        &["patch.o", "kernel.o"],
        0,
        &["ok vmlinux:cmdline_show", "ok vmlinux:show"],
    );
}

/// What the patch takes the kernel's functions for that it calls by livepatch relocations.
#[test]
fn types_of_symbols() {
    let case = Case::new("rust-symbols", TARGETS[0]);
    case.kernel("int target_func(int a) { return a; } unsigned called(long a, struct seq_file *m) { return a; } void *other(void) { return 0; }");
    let symbol = |name: &str, ty: &str| {
        format!("#[used] #[export_name = \".klp.type.sym.{name}\"] static mut SYM: *const unsafe extern \"C\" fn{ty} = core::ptr::null();")
    };
    let text = format!(
        "extern \"C\" fn replacement(a: i32) -> i32 {{ a }}
        #[used] #[export_name = \".klp.type.func.vmlinux.target_func,0\"] static TYPE: extern \"C\" fn(i32) -> i32 = replacement;
        mod a {{ use super::*; {} }} mod b {{ use super::*; {} }} mod c {{ use super::*; {} }} mod d {{ use super::*; {} }}",
        symbol("vmlinux.called,0", "(i64, &SeqFile) -> u32"),
        symbol("vmlinux.other,1", "() -> &'static SeqFile"),
        symbol("vmlinux.target_func,0", "(u64) -> i32"),
        symbol("my_mod.gone,0", "()"),
    );
    case.rust(&text);
    let (status, mut said) = case.check(&["patch.o", "kernel.o"]);
    said.sort();
    assert_eq!(
        said,
        [
            "differs symbol vmlinux:target_func: argument 1 is u64 (8 bytes, unsigned) here and int (4 bytes, signed) in the kernel",
            "not checked symbol my_mod:gone: no file of this module is given: TARGETS=<my_mod.ko>",
            "note symbol vmlinux:other,1: Rust takes for granted here that the return value is never null",
            "note symbol vmlinux:other,1: object files do not tell which of that name is number 1; all 1 that are given were compared",
            "note symbol vmlinux:other,1: the return value is &patch::SeqFile here and void * in the kernel: what it points to is not compared",
            "ok symbol vmlinux:called",
            "ok symbol vmlinux:other,1",
            "ok vmlinux:target_func",
            "patch.o: 3 agree, 1 differ, 1 not checked",
        ]
    );
    assert_eq!(status, 1);
}

/// What the patch takes variables of the kernel's for.
#[test]
fn types_of_variables() {
    let case = Case::new("rust-variables", TARGETS[0]);
    case.kernel(
        "int target_func(int a) { return a; }
        int number = 1; const char *line = \"x\"; long many[3] = { 1 };
        struct pair { int a; long b; }; static struct pair both = { 1, 2 }, *other = &both;
        void *use(void) { return other; } void called(void) { }",
    );
    let variable = |name: &str, ty: &str| {
        format!("mod m_{name} {{ use super::*; #[used] #[export_name = \".klp.type.var.vmlinux.{name},0\"] static mut VAR: *const {ty} = core::ptr::null(); }}")
    };
    let text = |types: [&str; 5]| {
        let names = ["number", "line", "many", "both", "called"];
        let statics: String = names
            .iter()
            .zip(types)
            .map(|(name, ty)| variable(name, ty))
            .collect();
        format!(
            "extern \"C\" fn replacement(a: i32) -> i32 {{ a }}
            #[repr(C)] pub struct Pair {{ a: i32, b: i64 }}
            #[repr(C)] pub struct Riap {{ b: i64, a: i32 }}
            #[used] #[export_name = \".klp.type.func.vmlinux.target_func,0\"] static TYPE: extern \"C\" fn(i32) -> i32 = replacement;
            {statics}"
        )
    };
    case.rust(&text(["i32", "*const i8", "[i64; 3]", "Pair", "i32"]));
    let (status, mut said) = case.check(&["patch.o", "kernel.o"]);
    said.sort();
    assert_eq!(
        said,
        [
            "not checked symbol vmlinux:called: the kernel's debug information does not tell its type, or it is a function",
            "ok symbol vmlinux:both",
            "ok symbol vmlinux:line",
            "ok symbol vmlinux:many",
            "ok symbol vmlinux:number",
            "ok vmlinux:target_func",
            "patch.o: 5 agree, 0 differ, 1 not checked",
        ]
    );
    assert_eq!(status, 2);
    case.rust(&text(["u64", "i32", "[i64; 4]", "Riap", "i32"]));
    let (status, said) = case.check(&["patch.o", "kernel.o"]);
    for name in ["number", "line", "many", "both"] {
        let label = format!("differs symbol vmlinux:{name}: it ");
        assert!(
            said.iter().any(|line| line.starts_with(&label)),
            "{said:#?}"
        );
    }
    assert_eq!(status, 1);
}

/// Whether each CPU has its own of a variable.
#[test]
fn variables_of_each_cpu() {
    let case = Case::new("rust-percpu", TARGETS[0]);
    case.kernel(
        "int target_func(int a) { return a; }
        int one = 1;
        __attribute__((section(\".data..percpu\"))) int each = 1;
        __attribute__((section(\".data..percpu..read_mostly\"))) int often = 1;",
    );
    let text = |kinds: [&str; 3]| {
        let variable = |(name, kind): (&str, &str)| {
            format!("mod m_{name} {{ #[used] #[export_name = \".klp.type.{kind}.vmlinux.{name},0\"] static mut VAR: *const i32 = core::ptr::null(); }}")
        };
        let names = ["one", "each", "often"];
        let statics: String = names.into_iter().zip(kinds).map(variable).collect();
        format!(
            "extern \"C\" fn replacement(a: i32) -> i32 {{ a }}
            #[used] #[export_name = \".klp.type.func.vmlinux.target_func,0\"] static TYPE: extern \"C\" fn(i32) -> i32 = replacement;
            {statics}"
        )
    };
    case.rust(&text(["var", "percpu", "percpu"]));
    let (status, said) = case.check(&["patch.o", "kernel.o"]);
    assert_eq!(status, 0, "{said:#?}");
    case.rust(&text(["percpu", "var", "var"]));
    let (status, said) = case.check(&["patch.o", "kernel.o"]);
    for line in [
        "differs symbol vmlinux:one: each CPU has its own here, and there is one in the kernel",
        "differs symbol vmlinux:each: there is one here, and each CPU has its own in the kernel",
        "differs symbol vmlinux:often: there is one here, and each CPU has its own in the kernel",
    ] {
        assert!(said.iter().any(|said| said == line), "{said:#?}");
    }
    assert_eq!(status, 1);
}

/// The vermagic of a module and that of a vmlinux.
#[test]
fn vermagic_is_compared() {
    for target in TARGETS {
        let case = Case::new("vermagic", target);
        let function = "int target_func(int n) { return n; }";
        let modinfo = |magic: &str| {
            format!("__attribute__((section(\".modinfo\"), used)) static const char info[] = \"license=GPL\\0vermagic={magic} \";")
        };
        let patch = format!(
            "{KLP}{}static int new_func(int n) {{ return 0; }}{}",
            modinfo("7.3.4 SMP"),
            declare("target_func", "new_func", 0)
        );
        case.c("patch", &patch, &["-g"]);
        let kernel = |magic: &str| {
            let text = format!(
                "{function} __attribute__((used)) static const char vermagic[] = \"{magic} \";"
            );
            case.c("kernel", &text, &["-g"]);
        };
        kernel("7.3.4 SMP");
        case.expect(&["patch.o", "kernel.o"], 0, &["ok vmlinux:target_func"]);
        kernel("7.3.5 SMP");
        case.expect(
            &["patch.o", "kernel.o"],
            1,
            &[
                "warning patch.o: its vermagic is \"7.3.4 SMP\", and that of kernel.o is \"7.3.5 SMP\": it was built for another kernel",
                "ok vmlinux:target_func",
            ],
        );
        // A file without a vermagic is not compared.
        case.kernel(function);
        case.expect(&["patch.o", "kernel.o"], 0, &["ok vmlinux:target_func"]);
        case.c("my_mod", &modinfo("7.3.5 SMP"), &["-g"]);
        case.expect(
            &["patch.o", "kernel.o", "--target", "my_mod.o"],
            1,
            &[
                "warning patch.o: its vermagic is \"7.3.4 SMP\", and that of my_mod.o is \"7.3.5 SMP\": it was built for another kernel",
                "ok vmlinux:target_func",
            ],
        );
    }
}

#[test]
fn made_by_klp_build() {
    let case = Case::new("klp-build", TARGETS[0]);
    case.kernel("int target_func(int n) { return n; }");
    case.c(
        "patch",
        &format!(
            "{KLP}static struct klp_patch *patch; void *use(void) {{ return &patch; }}
             __attribute__((section(\".init.klp_objects\"))) long objects[4] = {{ 1 }};"
        ),
        &["-g"],
    );
    case.expect(
        &["patch.o", "kernel.o"],
        2,
        &["error: patch.o: it was made by klp-build, out of the kernel's own source; there are no declared types to check"],
    );
}
