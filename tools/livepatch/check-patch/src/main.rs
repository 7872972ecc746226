// SPDX-License-Identifier: GPL-2.0

//! Compare the functions of a livepatch with those of the kernel that it is for.
//!
//! ```text
//! klp-check-patch MODULE VMLINUX... [--target MODULE]...
//! klp-check-patch --list MODULE
//! klp-check-patch --sympos NAME VMLINUX|MODULE
//! ```
//!
//! The exit status is 0 if all agree, 1 if something differs or the patch was built for another
//! kernel, and 2 if nothing differs but something could not be checked.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod btf;
mod compare;
mod dwarf;
mod elf;
mod error;
mod kernel;
mod patch;
mod replacement;
mod sympos;
mod types;

use btf::Btf;
use compare::{compare, Caller, Findings};
use dwarf::Debug;
use elf::Image;
use error::{Error, Result};
use kernel::{Original, Source};
use patch::Func;
use replacement::{Declared, Kind, Known, Symbol};
use std::{
    collections::{BTreeMap, HashSet},
    env, fs,
    process::ExitCode,
};
use types::Typed;

const USAGE: &str = "usage: klp-check-patch MODULE VMLINUX... [--target MODULE.ko]...\n       \
                     klp-check-patch --list MODULE\n       \
                     klp-check-patch --sympos NAME VMLINUX|MODULE.ko";

/// The command line.
#[derive(Default)]
struct Options {
    module: String,
    kernel: Vec<String>,
    targets: Vec<String>,
    list: bool,
    /// The name whose symbols are listed, of the file in `module`.
    sympos: Option<String>,
}

fn options(args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    let mut files = Vec::new();
    let mut args = args.skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => options.list = true,
            "--sympos" => {
                let name = args.next().filter(|name| !name.is_empty());
                options.sympos = Some(name.ok_or_else(|| Error::new("--sympos needs a name"))?);
            }
            "--target" => options.targets.push(
                args.next()
                    .ok_or_else(|| Error::new("--target needs a file"))?,
            ),
            _ if arg.starts_with('-') => {
                return Err(Error::new(format!("the option {arg} is unknown; {USAGE}")))
            }
            _ => files.push(arg),
        }
    }
    let mut files = files.into_iter();
    options.module = files.next().ok_or_else(|| Error::new(USAGE))?;
    options.kernel = files.collect();
    let one_file = options.kernel.is_empty() && options.targets.is_empty();
    if options.sympos.is_some() && (!one_file || options.list) {
        return Err(Error::new(format!(
            "--sympos takes one file and no other option; {USAGE}"
        )));
    }
    Ok(options)
}

/// A file, read.
struct File {
    path: String,
    bytes: Vec<u8>,
}

fn read(path: &str) -> Result<File> {
    let bytes = fs::read(path).map_err(|e| Error::new(format!("{path} cannot be read: {e}")))?;
    Ok(File {
        path: path.to_string(),
        bytes,
    })
}

/// Adds the name of the file to an error.
fn about<T>(path: &str, result: Result<T>) -> Result<T> {
    result.map_err(|e| Error::new(format!("{path}: {e}")))
}

/// The name of the module in a file, as the kernel writes it.
fn module_name(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    let stem = base.split('.').next().unwrap_or(base);
    stem.replace('-', "_")
}

/// The module to check, with what it declares.
struct Patch<'a> {
    image: &'a Image<'a>,
    funcs: Vec<Func>,
    declared: Declared<'a>,
    symbols: Vec<Symbol>,
}

impl<'a> Patch<'a> {
    fn read(image: &'a Image<'a>, debug: &'a Debug<'a>) -> Result<Self> {
        let funcs = patch::functions(image, debug)?;
        let declared = Declared::read(image, debug, &funcs)?;
        Ok(Patch {
            image,
            funcs,
            symbols: declared.symbols(),
            declared,
        })
    }

    /// Prints what it declares.
    fn list(&self) {
        for func in &self.funcs {
            println!("{}", func.label());
        }
        for symbol in &self.symbols {
            println!("{}", symbol.label());
        }
    }
}

/// The files of the kernel and of modules, by the object that they are of.
type Sources<'a> = BTreeMap<Option<String>, Vec<Source<'a>>>;

/// The results, counted.
#[derive(Default)]
struct Tally {
    agree: usize,
    differ: usize,
    unchecked: usize,
}

/// Compares with each function that the original may be; all have to give the same result.
fn findings(here: &Typed<'_>, originals: &[Typed<'_>], caller: Caller) -> Result<Known<Findings>> {
    let mut first: Option<Findings> = None;
    for there in originals {
        let found = compare(here, there, caller)?;
        if first.as_ref().is_some_and(|first| *first != found) {
            return Ok(Err(format!(
                "there are {} of that name, of different types; its old_sympos must say which, and \
                 the files of the kernel must be one vmlinux",
                originals.len()
            )));
        }
        first = Some(found);
    }
    Ok(first.ok_or_else(|| "the kernel's debug information does not tell its type".into()))
}

/// The result for a function or a variable.
enum Verdict {
    Agree,
    Differ(Vec<String>),
    Unchecked(String),
}

impl Verdict {
    /// Adds another difference, if there is one.
    fn and_differs(self, difference: Option<String>) -> Self {
        match (self, difference) {
            (this, None) => this,
            (Verdict::Differ(mut differences), Some(difference)) => {
                differences.push(difference);
                Verdict::Differ(differences)
            }
            (_, Some(difference)) => Verdict::Differ(vec![difference]),
        }
    }
}

/// The files of an object, or what to do if there are none.
fn files_of<'s, 'a>(sources: &'s Sources<'a>, object: &Option<String>) -> Known<&'s [Source<'a>]> {
    match (sources.get(object), object) {
        (Some(sources), _) => Ok(sources),
        (None, Some(object)) => Err(format!(
            "no file of this module is given: TARGETS=<{object}.ko>"
        )),
        (None, None) => Err("no file of the kernel is given: VMLINUX=<vmlinux>".into()),
    }
}

/// Compares a type of the patch with those of the function of that name. Adds to `notes`.
fn check_types(
    here: &Typed<'_>,
    caller: Caller,
    original: Original<'_>,
    notes: &mut Vec<String>,
) -> Result<Verdict> {
    let (originals, note) = match original {
        Original::Known { types, note, .. } => (types, note),
        Original::Unknown(why) => return Ok(Verdict::Unchecked(why)),
    };
    Ok(match findings(here, &originals, caller)? {
        Err(why) => Verdict::Unchecked(why),
        Ok(found) => {
            notes.extend(note);
            notes.extend(found.notes);
            if !found.differences.is_empty() {
                Verdict::Differ(found.differences)
            } else if !found.unknown.is_empty() {
                Verdict::Unchecked(found.unknown.join("; "))
            } else {
                Verdict::Agree
            }
        }
    })
}

/// Compares a replacement with what it replaces.
fn check_replacement(
    patch: &Patch<'_>,
    func: &Func,
    sources: &Sources<'_>,
    notes: &mut Vec<String>,
) -> Result<Verdict> {
    if func.loose {
        return Ok(Verdict::Unchecked(
            "no static klp_object has it, so that its object is not known".into(),
        ));
    }
    let sources = match files_of(sources, &func.object) {
        Ok(sources) => sources,
        Err(why) => return Ok(Verdict::Unchecked(why)),
    };
    let here = match patch.declared.replacement(func)? {
        Ok(here) => here,
        Err(why) => return Ok(Verdict::Unchecked(why)),
    };
    notes.extend(here.note);
    let module = func.object.is_some();
    let original = kernel::original(sources, &func.name, func.sympos, module)?;
    check_types(&here.typed, Caller::Kernel, original, notes)
}

/// What differs if each CPU has its own of a variable on one side only.
fn percpu_difference(here: bool, original: &Original<'_>) -> Option<String> {
    let Original::Known { percpu, .. } = original else {
        return None;
    };
    let text = |percpu| match percpu {
        true => "each CPU has its own",
        false => "there is one",
    };
    let other = percpu.iter().find(|&&there| there != here)?;
    let (here, there) = (text(here), text(*other));
    Some(format!("{here} here, and {there} in the kernel"))
}

/// Compares the type that the patch declares for a function or a variable of the kernel with its
/// own.
fn check_symbol(
    patch: &Patch<'_>,
    symbol: &Symbol,
    sources: &Sources<'_>,
    tally: &mut Tally,
) -> Result<()> {
    let mut notes = Vec::new();
    let here = patch.declared.symbol(symbol)?;
    let verdict = match (files_of(sources, &symbol.object), here) {
        (Err(why), _) | (_, Err(why)) => Verdict::Unchecked(why),
        (Ok(sources), Ok(here)) => {
            let module = symbol.object.is_some();
            let (name, sympos) = (symbol.name.as_str(), symbol.sympos);
            match symbol.kind {
                Kind::Function => {
                    let original = kernel::original(sources, name, sympos, module)?;
                    check_types(&here, Caller::Patch, original, &mut notes)?
                }
                Kind::Variable { percpu } => {
                    let original = kernel::variable(sources, name, sympos, module)?;
                    let difference = percpu_difference(percpu, &original);
                    check_types(&here, Caller::None, original, &mut notes)?.and_differs(difference)
                }
            }
        }
    };
    report(&symbol.label(), verdict, &[], &notes, tally);
    Ok(())
}

/// Finds undefined symbols of the patch that lead to what it replaces: a call of one comes back to
/// the replacement, without end. Returns whether one is certain to.
fn check_calls(
    patch: &Patch<'_>,
    func: &Func,
    sources: &[Source<'_>],
    warnings: &mut Vec<String>,
) -> bool {
    let object = func.object.as_deref().unwrap_or("vmlinux");
    let relocated = format!(".klp.sym.{object}.{},", func.name);
    let mut calls = false;
    for symbol in patch.image.symbols.iter().filter(|symbol| symbol.undefined) {
        // One that livepatch relocates names its object; others are found by name alone.
        let by_object = symbol.name.starts_with(&relocated);
        if func.loose || !by_object && symbol.name != func.name {
            continue;
        }
        let sure = by_object
            || func.object.is_none()
            || sources.iter().any(|source| source.exports(&func.name));
        match (symbol.in_code, sure) {
            (true, true) => calls = true,
            (true, false) => warnings.push(format!(
                "the patch calls a {} of another object; if that is the one that it replaces, the \
                 call comes back to the replacement without end",
                func.name
            )),
            (false, _) => warnings.push(
                "the patch takes the address of what it replaces; a call of it comes back to the \
                 replacement"
                    .into(),
            ),
        }
    }
    calls
}

/// Checks a function, and prints the result.
fn check_func(
    patch: &Patch<'_>,
    func: &Func,
    sources: &Sources<'_>,
    tally: &mut Tally,
) -> Result<()> {
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    let verdict = check_replacement(patch, func, sources, &mut notes)?;
    let files = files_of(sources, &func.object).unwrap_or_default();
    let calls = check_calls(patch, func, files, &mut warnings).then(|| {
        "the patch calls what it replaces, which comes back to the replacement without end".into()
    });
    let verdict = verdict.and_differs(calls);
    report(&func.label(), verdict, &warnings, &notes, tally);
    Ok(())
}

/// Prints the result for a function or a variable.
fn report(label: &str, verdict: Verdict, warnings: &[String], notes: &[String], tally: &mut Tally) {
    match verdict {
        Verdict::Agree => {
            tally.agree += 1;
            println!("ok {label}");
        }
        Verdict::Differ(differences) => {
            tally.differ += 1;
            println!("differs {label}: {}", differences.join("; "));
        }
        Verdict::Unchecked(why) => {
            tally.unchecked += 1;
            println!("not checked {label}: {why}");
        }
    }
    for warning in warnings {
        println!("warning {label}: {warning}");
    }
    for note in notes {
        println!("note {label}: {note}");
    }
}

/// A file of the kernel or of a module.
struct Loaded<'a> {
    path: &'a str,
    /// The module that the file is of.
    object: Option<String>,
    image: Option<&'a Image<'a>>,
    debug: Option<&'a Debug<'a>>,
    btf: Option<&'a Known<Btf>>,
}

impl Loaded<'_> {
    /// Warns if a patch was built for another kernel than this file. Returns whether it was.
    fn warn_of_vermagic(&self, patch: &str, wanted: &str) -> bool {
        match self.image.and_then(Image::vermagic) {
            Some(found) if found != wanted => {
                println!(
                    "warning {patch}: its vermagic is \"{wanted}\", and that of {} is \"{found}\": it \
                     was built for another kernel",
                    self.path
                );
                true
            }
            _ => false,
        }
    }
}

/// The ELF file in each file; `None` for raw BTF.
fn read_images(files: &[File]) -> Result<Vec<Option<Image<'_>>>> {
    files
        .iter()
        .map(|file| match kernel::is_raw_btf(&file.bytes) {
            true => Ok(None),
            false => about(&file.path, Image::parse(&file.bytes)).map(Some),
        })
        .collect()
}

/// The DWARF of each file that has any.
fn read_dwarf<'a>(
    files: &[File],
    images: &'a [Option<Image<'a>>],
) -> Result<Vec<Option<Debug<'a>>>> {
    files
        .iter()
        .zip(images)
        .map(|(file, image)| match image {
            Some(image) => about(&file.path, Debug::load(image)),
            None => Ok(None),
        })
        .collect()
}

/// The BTF of each file that has no DWARF. That of a module builds on the kernel's, of which there
/// are `kernel` files.
fn read_btf(
    files: &[File],
    images: &[Option<Image<'_>>],
    kernel: usize,
) -> Result<Vec<Option<Known<Btf>>>> {
    let mut found: Vec<Option<Known<Btf>>> = Vec::new();
    for (index, (file, image)) in files.iter().zip(images).enumerate() {
        let module = index >= kernel;
        let mut of_kernel = found.iter().take(kernel).flatten();
        let base = of_kernel
            .find_map(|btf| btf.as_ref().ok())
            .filter(|_| module);
        let btf = match image {
            Some(image) if image.section(".debug_info").is_some() => None,
            Some(image) => Some(about(&file.path, kernel::btf_of(image, module, base))?),
            None => Some(Ok(about(&file.path, Btf::parse(&file.bytes, base))?)),
        };
        found.push(btf);
    }
    Ok(found)
}

/// Checks all that the patch declares against the files; returns the exit status.
fn check(patch: &Patch<'_>, path: &str, files: &[Loaded<'_>]) -> Result<u8> {
    let funcs = patch.funcs.iter().map(|func| func.name.as_str());
    let symbols = patch.symbols.iter().map(|symbol| symbol.name.as_str());
    let names: HashSet<&str> = funcs.chain(symbols).collect();
    let mut sources = Sources::new();
    for file in files {
        let source = match (file.btf, file.image, file.debug) {
            (Some(btf), image, _) => Source::from_btf(image, btf.as_ref().map_err(String::clone)),
            (None, Some(image), Some(debug)) => {
                about(file.path, Source::from_dwarf(image, debug, &names))?
            }
            _ => continue,
        };
        sources.entry(file.object.clone()).or_default().push(source);
    }

    let mut other_kernel = false;
    if let Some(vermagic) = patch.image.vermagic() {
        for file in files {
            other_kernel |= file.warn_of_vermagic(path, &vermagic);
        }
    }
    let mut tally = Tally::default();
    for func in &patch.funcs {
        check_func(patch, func, &sources, &mut tally)?;
    }
    for symbol in &patch.symbols {
        check_symbol(patch, symbol, &sources, &mut tally)?;
    }
    println!(
        "{path}: {} agree, {} differ, {} not checked",
        tally.agree, tally.differ, tally.unchecked
    );
    Ok(match (tally.differ, tally.unchecked) {
        _ if other_kernel => 1,
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    })
}

fn run() -> Result<u8> {
    let options = options(env::args())?;
    let module = read(&options.module)?;
    match &options.sympos {
        Some(name) => {
            for line in about(&module.path, sympos::lines(&module.bytes, name))? {
                println!("{line}");
            }
            Ok(0)
        }
        None => check_module(&options, &module),
    }
}

/// Checks a patch, or lists what it declares.
fn check_module(options: &Options, module: &File) -> Result<u8> {
    let image = about(&module.path, Image::parse(&module.bytes))?;
    if !image.relocatable {
        return Err(Error::new(format!(
            "{}: it is not a kernel module; give the .ko or .o of a patch",
            module.path
        )));
    }
    let mut debug = about(&module.path, Debug::load(&image))?.ok_or_else(|| {
        Error::new(format!(
            "{}: it has no debug information; build it with CONFIG_DEBUG_INFO_DWARF5=y",
            module.path
        ))
    })?;
    about(&module.path, debug.read_bindings())?;
    let patch = about(&module.path, Patch::read(&image, &debug))?;
    if options.list {
        patch.list();
        return Ok(0);
    }
    check_against(&patch, options)
}

/// Reads the files of the kernel and of modules, and checks the patch against them.
fn check_against(patch: &Patch<'_>, options: &Options) -> Result<u8> {
    let kernel = options.kernel.len();
    let paths = options.kernel.iter().chain(&options.targets);
    let files = paths.map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    // Each of these borrows from those before it.
    let images = read_images(&files)?;
    let btfs = read_btf(&files, &images, kernel)?;
    let debugs = read_dwarf(&files, &images)?;
    let parts = files.iter().zip(&images).zip(&debugs).zip(&btfs);
    let loaded: Vec<_> = parts
        .enumerate()
        .map(|(index, (((file, image), debug), btf))| Loaded {
            path: &file.path,
            object: (index >= kernel).then(|| module_name(&file.path)),
            image: image.as_ref(),
            debug: debug.as_ref(),
            btf: btf.as_ref(),
        })
        .collect();
    check(patch, &options.module, &loaded)
}

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules() {
        assert_eq!(
            module_name("a/b/livepatch-callbacks-mod.ko"),
            "livepatch_callbacks_mod"
        );
        assert_eq!(module_name("ext4.ko.debug"), "ext4");
        assert_eq!(module_name("/sys/kernel/btf/nfs"), "nfs");
    }

    #[test]
    fn what_is_typed() {
        let parse = |args: &[&str]| {
            options(
                std::iter::once("x")
                    .chain(args.iter().copied())
                    .map(String::from),
            )
        };
        assert!(parse(&[]).is_err());
        assert!(parse(&["a.ko", "--frob"]).is_err());
        assert!(parse(&["a.ko", "--target"]).is_err());
        assert!(parse(&["--list", "a.ko"]).is_ok_and(|o| o.list));
        assert!(parse(&["vmlinux", "--sympos"]).is_err());
        assert!(parse(&["vmlinux", "--sympos", ""]).is_err());
        assert!(parse(&["--sympos", "foo"]).is_err());
        assert!(parse(&["--sympos", "foo", "vmlinux", "a.ko"]).is_err());
        assert!(parse(&["--sympos", "foo", "vmlinux", "--list"]).is_err());
        assert!(parse(&["--sympos", "foo", "vmlinux", "--target", "a.ko"]).is_err());
        assert!(parse(&["--sympos", "foo", "vmlinux"])
            .is_ok_and(|o| o.sympos.as_deref() == Some("foo") && o.module == "vmlinux"));
        assert!(parse(&["a.ko", "vmlinux", "--target", "b.ko"])
            .is_ok_and(|o| o.kernel == ["vmlinux"] && o.targets == ["b.ko"]));
    }
}
