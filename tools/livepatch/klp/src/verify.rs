// SPDX-License-Identifier: GPL-2.0

//! Whether a file is a livepatch that a kernel would take, before the kernel is asked.

use crate::{
    error::{Error, Exit, Result},
    module::{KlpSymbol, Module},
    roots::Roots,
    sysfs,
    text::clean,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something to know; the kernel may take the file.
    Warning,
    /// The kernel would refuse the file, or should.
    Failed,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub check: &'static str,
    /// Its result.
    pub result: Verdict,
    /// What was found.
    pub message: String,
}

/// All checks of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file.
    pub file: PathBuf,
    /// The name of the module.
    pub name: String,
    /// The release of the kernel that it was built for.
    pub release: String,
    /// Whether no check has failed.
    pub usable: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    fn add(&mut self, check: &'static str, result: Verdict, message: impl Into<String>) {
        self.usable &= result != Verdict::Failed;
        self.checks.push(Check {
            check,
            result,
            message: message.into(),
        });
    }

    fn ok_or(&mut self, check: &'static str, ok: bool, good: &str, bad: impl Into<String>) {
        if ok {
            self.add(check, Verdict::Ok, good);
        } else {
            self.add(check, Verdict::Failed, bad);
        }
    }

    /// The error for a file that is not usable.
    pub fn error(&self) -> Option<Error> {
        let failed = self.checks.iter().find(|c| c.result == Verdict::Failed)?;
        Some(Error::new(
            Exit::NotUsable,
            format!(
                "{} cannot be used: {}; all checks: klp verify {}",
                self.file.display(),
                failed.message,
                self.file.display()
            ),
        ))
    }
}

/// Check a file for a kernel. What is loaded counts only if that is the running one.
pub fn verify(roots: &Roots, file: &Path, release: &str) -> Result<Report> {
    if let Err(e) = fs::File::open(file) {
        return Err(Error::io(file.display(), &e));
    }
    let mut report = Report {
        file: file.to_path_buf(),
        name: String::new(),
        release: String::new(),
        usable: true,
        checks: Vec::new(),
    };
    let module = match Module::read(file) {
        Ok(module) => module,
        Err(text) => {
            report.add("file", Verdict::Failed, text);
            return Ok(report);
        }
    };
    report.name.clone_from(&module.name);
    report.release = module.release().to_string();
    check_file(&mut report, &module);
    let running = roots.release()? == release;
    check_kernel(roots, &mut report, &module, release, running);
    check_signature(roots, &mut report, &module);
    check_targets(roots, &mut report, &module, release, running);
    if running {
        check_conflicts(roots, &mut report, &module);
    }
    Ok(report)
}

/// Whether a name can be that of a module, and so of a file and a folder.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 56
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn check_file(report: &mut Report, module: &Module) {
    let bad = |what: &str| what.to_string();
    report.ok_or(
        "file",
        module.complete,
        "it is a kernel module",
        bad("it is not a complete kernel module: .gnu.linkonce.this_module is missing"),
    );
    report.ok_or(
        "livepatch",
        module.livepatch,
        "it is a livepatch",
        bad("it is a module but not a livepatch: MODULE_INFO(livepatch, \"Y\") is missing"),
    );
    let name = format!("its name is {}", clean(&module.name));
    let no_name = format!("\"{}\" is no name of a module", clean(&module.name));
    report.ok_or("name", is_name(&module.name), &name, no_name);
    let architecture = format!("it is for {}", module.architecture);
    let other = format!("{architecture}, and this is {}", std::env::consts::ARCH);
    report.ok_or("architecture", module.native, &architecture, other);
}

/// Whether it was built for the kernel. With a module that the running kernel has taken,
/// options are compared, too.
fn check_kernel(roots: &Roots, report: &mut Report, module: &Module, release: &str, running: bool) {
    let theirs = running.then(|| loaded_vermagic(roots, release)).flatten();
    let (ok, good, bad) = match theirs {
        Some(theirs) => (
            theirs == module.vermagic,
            format!("it was built for \"{theirs}\", as loaded modules were"),
            format!(
                "it was built for \"{}\", loaded modules for \"{theirs}\"; rebuild it",
                clean(&module.vermagic)
            ),
        ),
        None => (
            module.release() == release,
            format!("it was built for {release}"),
            format!(
                "it was built for {}, and the kernel is {release}; rebuild it",
                clean(module.release())
            ),
        ),
    };
    report.ok_or("vermagic", ok, &good, bad);
}

/// The files of the modules of a kernel, by module name.
fn module_files(roots: &Roots, release: &str) -> BTreeMap<String, PathBuf> {
    let dir = roots.lib_modules.join(release);
    let text = fs::read_to_string(dir.join("modules.dep")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let path = line.split_once(':')?.0;
            Some((module_name(path), dir.join(path)))
        })
        .collect()
}

/// The name of the module in a file, as the kernel has it.
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// Where the file of a module of a kernel is.
pub fn module_file(roots: &Roots, release: &str, name: &str) -> Option<PathBuf> {
    module_files(roots, release).remove(name)
}

/// The vermagic of a module that the running kernel has taken.
fn loaded_vermagic(roots: &Roots, release: &str) -> Option<String> {
    let files = module_files(roots, release);
    let text = fs::read_to_string(roots.proc.join("modules")).ok()?;
    text.lines()
        .filter_map(|line| files.get(line.split(' ').next()?))
        .take(8)
        .find_map(|path| Module::read(path).ok())
        .map(|m| m.vermagic)
        .filter(|v| !v.is_empty())
}

fn check_signature(roots: &Roots, report: &mut Report, module: &Module) {
    let enforced = sysfs::line(&roots.modules.join("module/parameters/sig_enforce"));
    let (result, text) = match (module.signed, enforced.as_deref()) {
        (true, _) => (Verdict::Ok, "it is signed; the kernel checks by whom"),
        (false, Some("Y")) => (
            Verdict::Failed,
            "it is not signed, and this kernel takes signed modules only; sign it",
        ),
        (false, _) => (
            Verdict::Warning,
            "it is not signed; a kernel that takes signed modules only would refuse it",
        ),
    };
    report.add("signature", result, text);
}

fn check_targets(
    roots: &Roots,
    report: &mut Report,
    module: &Module,
    release: &str,
    running: bool,
) {
    let files = module_files(roots, release);
    for object in &module.objects {
        let loaded = running && roots.modules.join(object).is_dir();
        let shown = clean(object);
        if object == "vmlinux" {
            report.add("target", Verdict::Ok, "it uses symbols of vmlinux");
        } else if loaded {
            report.add(
                "target",
                Verdict::Ok,
                format!("the module {shown} is loaded"),
            );
        } else if files.contains_key(&object.replace('-', "_")) {
            report.add(
                "target",
                Verdict::Ok,
                format!("the module {shown} is not loaded; it is patched when it is"),
            );
        } else {
            report.add(
                "target",
                Verdict::Warning,
                format!("there is no module {shown} here"),
            );
        }
    }
    if running {
        check_symbols(roots, report, module);
    }
}

/// Whether the running kernel has the symbols, as often as their positions need.
fn check_symbols(roots: &Roots, report: &mut Report, module: &Module) {
    if module.symbols.is_empty() {
        return;
    }
    let Some(counts) = count_symbols(roots, module) else {
        report.add(
            "symbols",
            Verdict::Warning,
            "not checked: /proc/kallsyms cannot be read",
        );
        return;
    };
    let mut missing = 0;
    for (symbol, count) in &counts {
        if symbol.object != "vmlinux" && !roots.modules.join(&symbol.object).is_dir() {
            continue;
        }
        let what = format!("{}:{}", clean(&symbol.object), clean(&symbol.name));
        let text = match (count, symbol.sympos) {
            (0, _) => format!("this kernel has no {what}"),
            (1, 0) => continue,
            (n, 0) => {
                format!("this kernel has {n} symbols {what}, and the patch does not say which")
            }
            (n, position) if *n < position => {
                format!("this kernel has {n} symbols {what}, and the patch wants number {position}")
            }
            _ => continue,
        };
        missing += 1;
        report.add("symbols", Verdict::Failed, text);
    }
    if missing == 0 {
        let text = format!("{} livepatch symbols are there", counts.len());
        report.add("symbols", Verdict::Ok, text);
    }
}

/// How often the kernel has each symbol of a patch.
fn count_symbols<'a>(roots: &Roots, module: &'a Module) -> Option<BTreeMap<&'a KlpSymbol, u32>> {
    let mut counts: BTreeMap<&KlpSymbol, u32> = module.symbols.iter().map(|s| (s, 0)).collect();
    let mut by_name: BTreeMap<&str, Vec<&KlpSymbol>> = BTreeMap::new();
    for symbol in &module.symbols {
        by_name.entry(&symbol.name).or_default().push(symbol);
    }
    let file = fs::File::open(roots.proc.join("kallsyms")).ok()?;
    for line in BufReader::new(file).lines() {
        let line = line.ok()?;
        let mut words = line.split_whitespace().skip(2);
        let name = words.next().unwrap_or_default();
        let object = words
            .next()
            .map_or("vmlinux", |m| m.trim_matches(['[', ']']));
        for symbol in by_name.get(name).into_iter().flatten() {
            if symbol.object == object {
                *counts.entry(symbol).or_default() += 1;
            }
        }
    }
    Some(counts)
}

fn check_conflicts(roots: &Roots, report: &mut Report, module: &Module) {
    if !roots.livepatch.is_dir() {
        report.add(
            "conflicts",
            Verdict::Warning,
            "the running kernel has no livepatch",
        );
        return;
    }
    let loaded = is_name(&module.name) && roots.modules.join(&module.name).is_dir();
    let name = clean(&module.name);
    match (loaded, sysfs::state(roots, &module.name)) {
        (true, Some(state)) => report.add(
            "conflicts",
            Verdict::Warning,
            format!("a patch {name} is loaded: {}", state.word()),
        ),
        (true, None) => report.add(
            "conflicts",
            Verdict::Warning,
            format!("a module {name} is loaded, and not enabled"),
        ),
        _ => match sysfs::in_transition(roots) {
            Some((other, _)) => report.add(
                "conflicts",
                Verdict::Warning,
                format!("a transition of {} is under way", clean(&other)),
            ),
            None => report.add("conflicts", Verdict::Ok, "nothing loaded conflicts with it"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;
    use std::collections::BTreeSet;

    fn module() -> Module {
        Module {
            name: "p".into(),
            livepatch: true,
            vermagic: "7.3.4 SMP mod_unload ".into(),
            signed: false,
            complete: true,
            native: true,
            architecture: "X86_64".into(),
            symbols: BTreeSet::new(),
            objects: BTreeSet::new(),
        }
    }

    fn report() -> Report {
        Report {
            file: "p.ko".into(),
            name: "p".into(),
            release: "7.3.4".into(),
            usable: true,
            checks: Vec::new(),
        }
    }

    fn symbol(object: &str, name: &str, sympos: u32) -> KlpSymbol {
        KlpSymbol {
            object: object.into(),
            name: name.into(),
            sympos,
        }
    }

    #[test]
    fn names_are_those_of_modules() {
        assert!(is_name("klpr_patch-a"));
        for bad in ["", "../x", ".x", "a/b", "a b", &"a".repeat(56)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(module_name("kernel/fs/x-y.ko.xz"), "x_y");
    }

    #[test]
    fn a_module_must_be_a_livepatch_for_this_machine() {
        for spoil in [
            (|m: &mut Module| m.livepatch = false) as fn(&mut Module),
            |m| m.complete = false,
            |m| m.native = false,
            |m| m.name = "../../etc".into(),
        ] {
            let (mut module, mut report) = (module(), report());
            check_file(&mut report, &module);
            assert!(report.usable);
            assert!(report.error().is_none());
            spoil(&mut module);
            check_file(&mut report, &module);
            assert!(!report.usable);
            assert_eq!(report.error().unwrap().exit, Exit::NotUsable);
        }
    }

    #[test]
    fn the_release_must_be_that_of_the_kernel() {
        let tree = Tree::new();
        let mut report = report();
        check_kernel(&tree.roots, &mut report, &module(), "7.3.4", true);
        assert!(report.usable);
        check_kernel(&tree.roots, &mut report, &module(), "7.3.5", false);
        assert!(!report.usable);
    }

    #[test]
    fn a_kernel_may_want_signatures() {
        let tree = Tree::new();
        let (mut report, mut module) = (report(), module());
        check_signature(&tree.roots, &mut report, &module);
        assert_eq!(report.checks[0].result, Verdict::Warning);
        tree.write("sys/module/module/parameters/sig_enforce", "Y\n");
        module.signed = true;
        check_signature(&tree.roots, &mut report, &module);
        assert!(report.usable);
        module.signed = false;
        check_signature(&tree.roots, &mut report, &module);
        assert!(!report.usable);
    }

    #[test]
    fn targets_may_be_loaded_or_not_or_unknown() {
        let tree = Tree::new();
        let (mut report, mut module) = (report(), module());
        tree.module("ext4", "", "1");
        tree.write("lib/modules/7.3.4/modules.dep", "kernel/fs/xfs.ko: x.ko\n");
        module.objects = ["vmlinux", "ext4", "xfs", "nfs"].map(String::from).into();
        check_targets(&tree.roots, &mut report, &module, "7.3.4", true);
        let warnings: Vec<_> = report
            .checks
            .iter()
            .filter(|c| c.result == Verdict::Warning)
            .collect();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].message.contains("no module nfs"));
    }

    #[test]
    fn symbols_must_be_there_and_unambiguous() {
        let tree = Tree::new();
        tree.write(
            "proc/kallsyms",
            "0 T one\n0 t two\n0 t two\n0 t three\t[ext4]\n",
        );
        tree.module("ext4", "", "1");
        for (symbol, usable) in [
            (symbol("vmlinux", "one", 0), true),
            (symbol("vmlinux", "two", 2), true),
            (symbol("vmlinux", "two", 0), false),
            (symbol("vmlinux", "two", 3), false),
            (symbol("vmlinux", "three", 0), false),
            (symbol("ext4", "three", 0), true),
            (symbol("xfs", "four", 0), true),
        ] {
            let (mut report, mut module) = (report(), module());
            module.symbols = [symbol.clone()].into();
            check_symbols(&tree.roots, &mut report, &module);
            assert_eq!(report.usable, usable, "{symbol:?}");
        }
    }

    #[test]
    fn what_is_loaded_is_told() {
        let tree = Tree::new();
        let message = |tree: &Tree| {
            let mut report = report();
            check_conflicts(&tree.roots, &mut report, &module());
            report.checks[0].message.clone()
        };
        assert!(message(&tree).contains("nothing"));
        tree.patch("q", "1", "1");
        assert!(message(&tree).contains("a transition of q"));
        tree.patch("p", "1", "0");
        assert!(message(&tree).contains("a patch p is loaded: enabled"));
    }
}
