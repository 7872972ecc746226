// SPDX-License-Identifier: GPL-2.0

//! Which symbols of a name the tool lists for `#[sympos]`, in which order, and of which files.

mod common;

use common::*;
use std::fs;

/// Puts each section where it is the same on every architecture. The functions of
/// `.text.a` come first, so that the order of addresses is not that of the symbols.
const ORDER: &str = "SECTIONS {
    .text : {
        *(.text.a) . = . + 1; . = ALIGN(0x100);
        *(.text.z) . = . + 1; . = ALIGN(0x100);
        *(.text)
    }
    .init.text : { *(.init.text) }
    .data : { *(.data) }
    .gnu.linkonce.this_module : { *(.gnu.linkonce.this_module) }
}";

/// Makes a module of an object.
const MODULE: &str = "__attribute__((section(\".gnu.linkonce.this_module\"))) int __this_module;";

/// A static function `dup` in a section.
fn dup(section: &str, user: &str) -> String {
    format!(
        "static __attribute__((section(\"{section}\"), noinline)) int dup(int a) {{ return a; }}
         extern void keep(void *);
         void {user}(void) {{ keep(dup); }}"
    )
}

/// A function, or a variable, with a symbol of any name.
fn function(symbol: &str) -> String {
    let id: String = symbol.replace('.', "_");
    format!("int c_{id}(int a) __asm__(\"{symbol}\"); int c_{id}(int a) {{ return a; }}\n")
}
fn variable(symbol: &str) -> String {
    let id: String = symbol.replace('.', "_");
    format!("long c_{id} __asm__(\"{symbol}\") = 1;\n")
}

/// Links objects to a `vmlinux` and a `my_mod.ko`.
fn link(case: &Case, objects: &[&str]) {
    case.write("order.ld", ORDER);
    case.c("module", MODULE, &[]);
    let link = |args: &[&str]| run("lld", &[args, objects].concat(), &case.dir);
    link(&["-r", "-T", "order.ld", "module.o", "-o", "my_mod.ko"]);
    link(&[
        "-e",
        "0",
        "--unresolved-symbols=ignore-all",
        "-Ttext=0x10000",
        "--section-start=.init.text=0x18000",
        "-Tdata=0x20000",
        "-T",
        "order.ld",
        "-o",
        "vmlinux",
    ]);
}

/// Only DWARF knows the folder of a file.
#[test]
fn two_of_a_name() {
    for target in TARGETS {
        for (flags, folder) in [(&["-g"][..], "sub/"), (&[], "")] {
            let case = Case::new(&format!("sympos-two{}", flags.len()), target);
            fs::create_dir(case.dir.join("sub")).unwrap();
            case.c("sub/one", &dup(".text.z", "use_one"), flags);
            case.c("sub/two", &dup(".text.a", "use_two"), flags);
            link(&case, &["sub/one.o", "sub/two.o"]);
            case.expect(
                &["--sympos", "dup", "vmlinux"],
                0,
                &[
                    &format!("1 0x10000 function {folder}two.c"),
                    &format!("2 0x10100 function {folder}one.c"),
                ],
            );
            case.expect(
                &["--sympos", "dup", "my_mod.ko"],
                0,
                &[
                    &format!("1 .text+0x100 function {folder}one.c"),
                    &format!("2 .text+0x0 function {folder}two.c"),
                ],
            );
        }
    }
}

/// Without DWARF, files of one name are told apart by what else they have. `shared` is in both.
#[test]
fn two_files_of_a_name() {
    for target in TARGETS {
        let case = Case::new("sympos-folders", target);
        let beside = |name: &str| {
            format!("static __attribute__((noinline)) int {name}(int a) {{ return a; }} void use_{name}(void) {{ keep({name}); }}")
        };
        for (folder, section, own) in [
            ("a", ".text.z", beside("only_a")),
            ("b", ".text.a", beside("only_b")),
            ("c", ".text.b", String::new()),
        ] {
            fs::create_dir(case.dir.join(folder)).unwrap();
            let dup = dup(section, &format!("use_{folder}"));
            let shared = beside("shared").replace("use_shared", &format!("use_shared_{folder}"));
            case.c(
                &format!("{folder}/main"),
                &format!("{dup} {shared} {own}"),
                &[],
            );
        }
        link(&case, &["a/main.o", "b/main.o", "c/main.o"]);
        case.expect(
            &["--sympos", "dup", "my_mod.ko"],
            0,
            &[
                "1 .text+0x100 function main.c (the one with only_a)",
                "2 .text+0x0 function main.c (the one with only_b)",
                "3 .text.b+0x0 function main.c",
            ],
        );
    }
}

/// The symbol table has the files of local symbols only.
#[test]
fn one_of_a_name() {
    for target in TARGETS {
        for (flags, file) in [(&["-g"][..], "one.c"), (&[], "file unknown")] {
            let case = Case::new(&format!("sympos-one{}", flags.len()), target);
            let text = "__attribute__((section(\".text.z\"))) int single(int a) { return a; }";
            case.c("one", text, flags);
            case.c("two", &dup(".text.a", "use_two"), flags);
            link(&case, &["one.o", "two.o"]);
            let only = "only one symbol is named single: no #[sympos] is needed";
            case.expect(
                &["--sympos", "single", "vmlinux"],
                0,
                &[&format!("1 0x10100 function {file}"), only],
            );
            case.expect(
                &["--sympos", "single", "my_mod.ko"],
                0,
                &[&format!("1 .text+0x100 function {file}"), only],
            );
        }
    }
}

#[test]
fn a_variable_and_a_function() {
    for target in TARGETS {
        for flags in [&["-g"][..], &[]] {
            let case = Case::new(&format!("sympos-kinds{}", flags.len()), target);
            case.c("data", &variable("dup"), flags);
            // Assembly that does not say what its symbols are.
            let text = "__asm__(\".section .text.z,\\\"ax\\\"\\ndup: .long 0\\n\");";
            case.c("label", text, &[]);
            case.c("code", &dup(".text.a", "use_code"), flags);
            for object in ["data.o", "label.o"] {
                run("objcopy", &["--localize-symbol=dup", object], &case.dir);
            }
            link(&case, &["data.o", "label.o", "code.o"]);
            case.expect(
                &["--sympos", "dup", "vmlinux"],
                0,
                &[
                    "1 0x10000 function code.c",
                    "2 0x10100 function label.c",
                    "3 0x20000 variable data.c",
                ],
            );
            case.expect(
                &["--sympos", "dup", "my_mod.ko"],
                0,
                &[
                    "1 .data+0x0 variable data.c",
                    "2 .text+0x100 function label.c",
                    "3 .text+0x0 function code.c",
                ],
            );
        }
    }
}

/// The files of variables by DWARF alone, and those of GCC.
#[test]
fn files_by_dwarf() {
    for target in TARGETS {
        let case = Case::new("sympos-dwarf", target);
        let text = format!("{}{}", variable("global"), function("code"));
        case.c("one", &text, &["-g"]);
        link(&case, &["one.o"]);
        let only = |name| format!("only one symbol is named {name}: no #[sympos] is needed");
        let all = ["vmlinux", "my_mod.ko"].map(|file| {
            let data = case.check(&["--sympos", "global", file]);
            let code = case.check(&["--sympos", "code", file]);
            (data, code)
        });
        let said = |line: &str, name| (0, vec![line.to_string(), only(name)]);
        let vmlinux = (
            said("1 0x20000 variable one.c", "global"),
            said("1 0x10200 function one.c", "code"),
        );
        let module = (
            said("1 .data+0x0 variable one.c", "global"),
            said("1 .text+0x200 function one.c", "code"),
        );
        assert_eq!(all, [vmlinux, module]);
    }
    let case = Case::new("sympos-dwarf-gcc", TARGETS[0]);
    case.write("gcc.c", &format!("{}{MODULE}", variable("global")));
    run("gcc", &["-g", "-O2", "-c", "gcc.c"], &case.dir);
    case.expect(
        &["--sympos", "global", "gcc.o"],
        0,
        &[
            "1 .data+0x0 variable gcc.c",
            "only one symbol is named global: no #[sympos] is needed",
        ],
    );
}

/// rustc calls a unit by its file and by the part of the crate that it is of.
#[test]
fn files_of_rust() {
    let case = Case::new("sympos-rust", TARGETS[0]);
    case.rust_all("#![no_std]\n#[no_mangle]\npub extern \"C\" fn in_rust(a: u32) -> u32 { a }\n");
    let (status, lines) = case.check(&["--sympos", "in_rust", "patch.o"]);
    assert_eq!(status, 0, "{lines:?}");
    assert!(lines[0].ends_with(" function patch.rs"), "{lines:?}");
}

/// DWARF that is elsewhere is not needed for the positions.
#[test]
fn split_dwarf() {
    let case = Case::new("sympos-split", TARGETS[0]);
    case.c("one", &dup(".text.z", "use_one"), &["-g", "-gsplit-dwarf"]);
    case.c("two", &dup(".text.a", "use_two"), &["-g", "-gsplit-dwarf"]);
    link(&case, &["one.o", "two.o"]);
    case.expect(
        &["--sympos", "dup", "vmlinux"],
        0,
        &[
            "1 0x10000 function two.c",
            "2 0x10100 function one.c",
            "note: its DWARF is in .dwo files, which are not read; build without CONFIG_DEBUG_INFO_SPLIT; the files are those of the symbol table",
        ],
    );
}

/// Kallsyms leaves out numbers that assembly gives names to.
#[test]
fn numbers_do_not_count() {
    for target in TARGETS {
        let case = Case::new("sympos-number", target);
        case.c("number", "__asm__(\".set dup, 5\");", &[]);
        case.c("one", &dup(".text.z", "use_one"), &["-g"]);
        link(&case, &["number.o", "one.o"]);
        let only = "only one symbol is named dup: no #[sympos] is needed";
        let one = "1 0x10100 function one.c";
        case.expect(&["--sympos", "dup", "vmlinux"], 0, &[one, only]);
        // Nor do they when a patch is checked.
        let declared = declare("dup", "new_func", 0);
        let text = format!("{KLP}static int new_func(int a) {{ return 0; }}{declared}");
        case.c("patch", &text, &["-g"]);
        case.expect(&["patch.o", "vmlinux"], 0, &["ok vmlinux:dup"]);
    }
}

#[test]
fn what_a_module_frees() {
    for target in TARGETS {
        let case = Case::new("sympos-init", target);
        case.c("one", &dup(".init.text", "use_one"), &["-g"]);
        case.c("two", &dup(".text.a", "use_two"), &["-g"]);
        link(&case, &["one.o", "two.o"]);
        case.expect(
            &["--sympos", "dup", "my_mod.ko"],
            0,
            &[
                "1 .init.text+0x0 function one.c",
                "2 .text+0x0 function two.c",
                "note: once the module is initialised, the kernel counts without what is freed: 1",
            ],
        );
        // The kernel's own are freed, but its table is not changed.
        case.expect(
            &["--sympos", "dup", "vmlinux"],
            0,
            &["1 0x10000 function two.c", "2 0x18000 function one.c"],
        );
    }
}

#[test]
fn objects_are_not_all() {
    let case = Case::new("sympos-object", TARGETS[0]);
    case.c("one", &dup(".text.z", "use_one"), &["-g"]);
    case.expect(
        &["--sympos", "dup", "one.o"],
        0,
        &[
            "1 .text.z+0x0 function one.c",
            "only one symbol is named dup: no #[sympos] is needed",
            "note: it is an object file; in the vmlinux or .ko that is linked of it there may be more of that name, in another order",
        ],
    );
}

#[test]
fn none_of_a_name() {
    for target in TARGETS {
        for flags in [&["-g"][..], &[]] {
            let case = Case::new(&format!("sympos-none{}", flags.len()), target);
            let text = [
                function("gone.cold"),
                function("gone.constprop.0"),
                function("gone.isra.0"),
                function("gone.llvm.123"),
                function("goner"),
                function("lost.cold"),
                variable("gone.table"),
                "extern int there(int); int use_there(void) { return there(1); }".into(),
            ];
            case.c("one", &text.concat(), flags);
            link(&case, &["one.o"]);
            for file in ["vmlinux", "my_mod.ko"] {
                let missing = |name: &str, why: &str| {
                    let line = format!("error: {file}: no symbol is named {name}{why}");
                    case.expect(&["--sympos", name, file], 2, &[&line]);
                };
                let relatives = "; there is gone.constprop.0, gone.isra.0, gone.llvm.123, gone.cold: #[symbol(\"gone.constprop.0\")] takes the first, whose arguments may be others";
                missing("gone", relatives);
                missing("gone.isra.1", relatives);
                missing("goner.isra.0", "; there is goner");
                missing("lost", "; there is lost.cold");
                missing("gon", ", and none has a similar name");
                missing(".cold", ", and none has a similar name");
                // It is called here, and not defined.
                missing("there", ", and none has a similar name");
            }
        }
    }
}

#[test]
fn what_the_compiler_has_made_of_it() {
    let case = Case::new("sympos-changed", TARGETS[0]);
    let text =
        "static __attribute__((noinline)) int target_func(int unused, int *p) { return *p + 1; }
        static inline __attribute__((always_inline)) int inlined(int a) { return a + 1; }
        int one(int *p) { return target_func(1, p) + target_func(inlined(7), p + inlined(*p)); }";
    case.write("kernel.c", text);
    run("gcc", &["-g", "-O2", "-c", "kernel.c"], &case.dir);
    case.expect(
        &["--sympos", "target_func", "kernel.o"],
        2,
        &["error: kernel.o: no symbol is named target_func; there is target_func.isra.0: #[symbol(\"target_func.isra.0\")] takes the first, whose arguments may be others"],
    );
    case.expect(
        &["--sympos", "inlined", "kernel.o"],
        2,
        &["error: kernel.o: no symbol is named inlined: the kernel has it inlined everywhere; there is nothing to replace"],
    );
}

/// A unit that is larger than what follows its first address.
#[test]
fn bad_dwarf() {
    let case = Case::new("sympos-bad-dwarf", TARGETS[0]);
    let unit = r#"__asm__("
        .section .debug_abbrev
        .uleb128 1, 0x11; .byte 0
        .uleb128 0x11, 0x01, 0x12, 0x07, 0, 0, 0
        .section .debug_info
        .long end - start
        start: .short 4; .long .debug_abbrev; .byte 8
        .uleb128 1; .quad -0x100, 0x1000
        end:");"#;
    let unit = unit.replace('\n', "\\n");
    case.c("unit", &unit, &[]);
    case.c("one", &dup(".text.z", "use_one"), &[]);
    link(&case, &["unit.o", "one.o"]);
    case.expect(
        &["--sympos", "dup", "vmlinux"],
        0,
        &[
            "1 0x10100 function one.c",
            "only one symbol is named dup: no #[sympos] is needed",
            "note: its DWARF is malformed: a unit is too large; the files are those of the symbol table",
        ],
    );
}

#[test]
fn bad_files() {
    let case = Case::new("sympos-bad", TARGETS[0]);
    case.c("one", &dup(".text.z", "use_one"), &["-g"]);
    link(&case, &["one.o"]);
    run(
        "objcopy",
        &["--strip-all", "vmlinux", "stripped"],
        &case.dir,
    );
    case.write("text", "\u{1f}not ELF");
    for (file, why) in [
        (
            "stripped",
            "it has no symbol table; give a file that is not stripped",
        ),
        (
            "text",
            "it is not an ELF file; give a vmlinux, or a .ko that is not compressed",
        ),
        ("nowhere", "cannot be read"),
    ] {
        let (status, lines) = case.check(&["--sympos", "dup", file]);
        assert_eq!(status, 2, "{lines:?}");
        assert!(
            lines.len() == 1 && lines[0].starts_with("error: ") && lines[0].contains(why),
            "{lines:?}"
        );
    }
}
