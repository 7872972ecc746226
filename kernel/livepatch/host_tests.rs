// SPDX-License-Identifier: GPL-2.0

//! The host's test crate: the modules that decide without a kernel around them.

#![allow(dead_code)]

mod backoff;
mod blocked;
#[cfg(test)]
mod fuzz;
mod names;
mod ranges;
mod rela;
mod route;
mod sort;
mod target;

/// Checks the sources of the unit tests.
///
/// In the kernel, `kunit_tests` puts KUnit's `assert!` and `assert_eq!` before each `#[test]`
/// function. One that fails ends its case. All that panics otherwise, such as a core macro in a
/// function outside the module or above the first test, takes the kernel down.
#[cfg(test)]
mod sources {
    use std::{fs, path::Path};

    const GATE: &str = "CONFIG_LIVEPATCH_RUST_KUNIT_TEST";

    const PANICS: &[&str] = &[
        "assert_ne!",
        "debug_assert",
        "panic!",
        "todo!",
        "unimplemented!",
        "unreachable!",
        ".expect(",
        ".expect_err(",
        ".unwrap()",
        ".unwrap_err()",
    ];

    /// Returns the lines of a source that could panic the kernel when a case fails, and how many
    /// tests it has.
    fn examine(source: &str) -> (Vec<(usize, &str)>, usize) {
        let lines = source.lines().map(str::trim).enumerate();
        let mut bad = Vec::new();
        let mut attributes = String::new();
        let mut attribute_goes_on = false;
        let mut in_module = false;
        let mut tests = 0;
        for (index, line) in lines.filter(|(_, line)| !line.starts_with("//")) {
            if attribute_goes_on || line.starts_with("#[") {
                attributes += line;
                attribute_goes_on = !line.ends_with(']');
                continue;
            }
            if attributes.contains("kunit_tests(") {
                in_module = true;
                tests = 0;
            } else if attributes.contains(GATE) {
                // What is compiled for the tests only has to be a module of tests.
                bad.push((index + 1, line));
            }
            tests += usize::from(attributes.contains("#[test]"));
            attributes.clear();
            let core = line.contains("assert!") || line.contains("assert_eq!");
            let panics = PANICS.iter().any(|text| line.contains(text));
            if in_module && (panics || (core && tests == 0)) {
                bad.push((index + 1, line));
            }
        }
        (bad, tests)
    }

    fn examine_directory(directory: &Path) -> usize {
        let mut found = 0;
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found += examine_directory(&path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                if source.contains(GATE) && !path.ends_with(file!()) {
                    let (bad, tests) = examine(&source);
                    assert!(bad.is_empty(), "{}: {bad:#?}", path.display());
                    assert!(tests > 0, "{} has no tests", path.display());
                    found += tests;
                }
            }
        }
        found
    }

    #[test]
    fn cases_that_fail_do_not_panic_the_kernel() {
        let here = Path::new(file!()).parent().unwrap().join(".");
        assert!(examine_directory(&here) > 0);
        assert!(examine_directory(&here.join("../../rust/kernel")) > 0);
    }

    #[test]
    fn panics_are_found() {
        let gate = format!("#[cfg({GATE})]\n");
        let module =
            format!("{gate}#[cfg_attr(\n    {GATE},\n    kunit_tests(name)\n)]\nmod tests {{");
        let bad = |source: String| examine(&source).0.len();
        // Only a case, and what comes after it, has the asserts of KUnit.
        let case = "#[test]\nfn a() {";
        assert_eq!(bad(format!("{module}\n{case}\nassert!(x);")), 0);
        assert_eq!(bad(format!("{module}\nfn b() {{\nassert!(x);\n{case}")), 1);
        assert_eq!(bad(format!("{module}\n{case}\nassert_ne!(x, y);")), 1);
        assert_eq!(bad(format!("{module}\n{case}\nx.unwrap();")), 1);
        assert_eq!(bad(format!("{gate}pub(crate) mod cases {{")), 1);
        // Other code has its own rules.
        assert_eq!(bad(format!("assert!(x);\n{module}\n{case}")), 0);
    }
}
