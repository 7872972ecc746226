// SPDX-License-Identifier: GPL-2.0

//! Compare the functions of a livepatch with those of the kernel that it is for.
//!
//! ```text
//! klp-check-patch MODULE VMLINUX... [--target MODULE]...
//! klp-check-patch --list MODULE
//! ```
//!
//! The exit status is 0 if all agree, 1 if something differs, and 2 if something could not be
//! checked.

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
mod dwarf;
mod elf;
mod error;
mod kernel;
mod patch;
mod types;

use dwarf::Debug;
use elf::Image;
use error::{Error, Result};
use kernel::{Original, Source};
use patch::Func;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env, fs,
    process::ExitCode,
};
use types::{compare, Findings, Proto};

const USAGE: &str = "usage: klp-check-patch MODULE VMLINUX... [--target MODULE.ko]...\n       \
                     klp-check-patch --list MODULE";

/// What a person has typed.
#[derive(Default)]
struct Options {
    module: String,
    kernel: Vec<String>,
    targets: Vec<String>,
    list: bool,
}

fn options(args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    let mut files = Vec::new();
    let mut args = args.skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => options.list = true,
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

/// Say which file an error is about.
fn about<T>(path: &str, result: Result<T>) -> Result<T> {
    result.map_err(|e| Error::new(format!("{path}: {e}")))
}

/// The name of the module in a file, as the kernel writes it.
fn module_name(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    let stem = base.split('.').next().unwrap_or(base);
    stem.replace('-', "_")
}

/// The module to check, with what was found out about it.
struct Patch<'a> {
    image: &'a Image<'a>,
    debug: &'a Debug<'a>,
    funcs: Vec<Func>,
    /// What DWARF has at the addresses of the replacements.
    replacements: HashMap<u64, Vec<dwarf::Function>>,
    /// Statics of Rust that hold a typed pointer to a replacement: name and type.
    declared: HashMap<u64, Vec<(String, Proto)>>,
}

impl<'a> Patch<'a> {
    fn read(image: &'a Image<'a>, debug: &'a Debug<'a>) -> Result<Self> {
        let funcs = patch::functions(image, debug)?;
        let addresses: HashSet<u64> = funcs.iter().map(|func| func.new_func).collect();
        let mut replacements: HashMap<u64, Vec<dwarf::Function>> = HashMap::new();
        for function in debug.functions(|_| false, &addresses)? {
            if let Some(address) = function.address {
                replacements.entry(address).or_default().push(function);
            }
        }
        let mut declared: HashMap<u64, Vec<(String, Proto)>> = HashMap::new();
        for variable in debug.variables()? {
            let Some(value) = image.read(variable.address, 8) else {
                continue;
            };
            if addresses.contains(&value) {
                if let Some(proto) = debug.function_pointer(variable.die)? {
                    if proto.rust {
                        declared
                            .entry(value)
                            .or_default()
                            .push((variable.name, proto));
                    }
                }
            }
        }
        Ok(Patch {
            image,
            debug,
            funcs,
            replacements,
            declared,
        })
    }

    /// The type of a replacement, or why it is not known.
    fn proto(&self, func: &Func) -> Result<std::result::Result<Proto, String>> {
        // A typed pointer tells it even where the compiler has merged equal functions.
        if let Some(declared) = self.declared.get(&func.new_func) {
            let named = declared
                .iter()
                .find(|(name, _)| name.contains(func.name.as_str()));
            if let Some((_, proto)) = named.or(declared.first().filter(|_| declared.len() == 1)) {
                return Ok(Ok(proto.clone()));
            }
        }
        if let Some(name) = self.image.undefined_at(func.new_func) {
            return Ok(Err(format!("its replacement {name} is not in this module")));
        }
        let Some(functions) = self.replacements.get(&func.new_func) else {
            return Ok(Err(
                "the module has no debug information of the replacement; build it with -g".into(),
            ));
        };
        let function = functions
            .iter()
            .find(|function| function.name == func.name)
            .or(functions.first());
        let Some(function) = function else {
            return Ok(Err(
                "the module has no debug information of the replacement".into(),
            ));
        };
        if function.changed {
            return Ok(Err(
                "the compiler has changed the arguments of the replacement".into(),
            ));
        }
        Ok(Ok(self.debug.proto(function.die)?))
    }
}

/// How the functions came out.
#[derive(Default)]
struct Tally {
    agree: usize,
    differ: usize,
    unchecked: usize,
}

/// Compare with each function that the original may be; they have to come out the same.
fn findings(here: &Proto, originals: &[Proto]) -> std::result::Result<Findings, String> {
    let mut all = originals.iter().map(|there| compare(here, there));
    let first = all.next().unwrap_or_default();
    if all.all(|findings| findings == first) {
        Ok(first)
    } else {
        Err(format!(
            "there are {} of that name, of different types; its old_sympos must say which, and the \
             files of the kernel must be one vmlinux",
            originals.len()
        ))
    }
}

/// What came of a function.
enum Verdict {
    Agree,
    Differ(Vec<String>),
    Unchecked(String),
}

/// Compare the types of a function. Notes are added to `notes`.
fn check_types(
    patch: &Patch<'_>,
    func: &Func,
    sources: &[Source<'_>],
    notes: &mut Vec<String>,
) -> Result<Verdict> {
    if func.loose {
        return Ok(Verdict::Unchecked(
            "no static klp_object has it, so that its object is not known".into(),
        ));
    }
    if sources.is_empty() {
        return Ok(Verdict::Unchecked(match &func.object {
            Some(object) => format!("no file of this module is given: TARGETS=<{object}.ko>"),
            None => "no file of the kernel is given: VMLINUX=<vmlinux>".into(),
        }));
    }
    let here = match patch.proto(func)? {
        Ok(here) => here,
        Err(why) => return Ok(Verdict::Unchecked(why)),
    };
    let originals = match kernel::original(sources, &func.name, func.sympos)? {
        Original::Protos(protos) => protos,
        Original::Unknown(why) => return Ok(Verdict::Unchecked(why)),
    };
    Ok(match findings(&here, &originals) {
        Err(why) => Verdict::Unchecked(why),
        Ok(found) => {
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

/// Find undefined symbols of the patch that lead to what it replaces: a call of one comes back to
/// the replacement, without end. Returns whether there is one for certain.
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

/// Check a function, and print what came of it.
fn check_func(
    patch: &Patch<'_>,
    func: &Func,
    sources: &[Source<'_>],
    tally: &mut Tally,
) -> Result<()> {
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    let mut verdict = check_types(patch, func, sources, &mut notes)?;
    if check_calls(patch, func, sources, &mut warnings) {
        let calls = "the patch calls what it replaces, which comes back to the replacement \
                     without end"
            .to_string();
        verdict = match verdict {
            Verdict::Differ(mut differences) => {
                differences.push(calls);
                Verdict::Differ(differences)
            }
            _ => Verdict::Differ(vec![calls]),
        };
    }
    let label = func.label();
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
    Ok(())
}

/// A file of the kernel, up to its DWARF.
struct Loaded<'a> {
    path: &'a str,
    bytes: &'a [u8],
    image: Option<&'a Image<'a>>,
    debug: Option<&'a Debug<'a>>,
}

fn run() -> Result<u8> {
    let options = options(env::args())?;
    let module = read(&options.module)?;
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
        for func in &patch.funcs {
            println!("{}", func.label());
        }
        return Ok(0);
    }

    // Read the kernel's files; the borrows make this three steps.
    let paths = options.kernel.iter().chain(&options.targets);
    let files = paths.map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let mut images = Vec::new();
    for file in &files {
        images.push(match kernel::is_raw_btf(&file.bytes) {
            true => None,
            false => Some(about(&file.path, Image::parse(&file.bytes))?),
        });
    }
    let mut debugs = Vec::new();
    for (file, image) in files.iter().zip(&images) {
        debugs.push(match image {
            Some(image) => about(&file.path, Debug::load(image))?,
            None => None,
        });
    }
    let mut loaded = files
        .iter()
        .zip(&images)
        .zip(&debugs)
        .map(|((file, image), debug)| Loaded {
            path: &file.path,
            bytes: &file.bytes,
            image: image.as_ref(),
            debug: debug.as_ref(),
        });

    let names: HashSet<&str> = patch.funcs.iter().map(|func| func.name.as_str()).collect();
    let mut sources: BTreeMap<Option<String>, Vec<Source<'_>>> = BTreeMap::new();
    for file in loaded.by_ref().take(options.kernel.len()) {
        let source = match file.image {
            Some(image) => Source::from_elf(image, file.debug, None, false, &names),
            None => Source::from_btf(file.bytes, None),
        };
        sources
            .entry(None)
            .or_default()
            .push(about(file.path, source)?);
    }
    for file in loaded {
        let base = sources
            .get(&None)
            .and_then(|kernel| kernel.iter().find_map(|source| source.btf()));
        let source = match file.image {
            Some(image) => Source::from_elf(image, file.debug, base, true, &names),
            None => Source::from_btf(file.bytes, base),
        };
        let source = about(file.path, source)?;
        sources
            .entry(Some(module_name(file.path)))
            .or_default()
            .push(source);
    }

    let mut tally = Tally::default();
    for func in &patch.funcs {
        let sources = sources.get(&func.object).map_or(&[][..], Vec::as_slice);
        check_func(&patch, func, sources, &mut tally)?;
    }
    println!(
        "{}: {} agree, {} differ, {} not checked",
        options.module, tally.agree, tally.differ, tally.unchecked
    );
    Ok(match (tally.differ, tally.unchecked) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    })
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
        assert!(parse(&["a.ko", "vmlinux", "--target", "b.ko"])
            .is_ok_and(|o| o.kernel == ["vmlinux"] && o.targets == ["b.ko"]));
    }
}
