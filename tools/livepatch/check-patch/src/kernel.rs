// SPDX-License-Identifier: GPL-2.0

//! The kernel that a patch is for: what is known of a function from its files.

use crate::{
    btf::Btf,
    dwarf::{self, Debug},
    elf::Image,
    error::{Error, Result},
    types::Typed,
};
use std::{cell::OnceCell, collections::HashSet};

/// The magic number of BTF, as it begins a file of either endianness.
const BTF_MAGIC: [[u8; 2]; 2] = [[0x9f, 0xeb], [0xeb, 0x9f]];

/// A file of the kernel, up to its debug information.
pub struct Source<'a> {
    image: Option<&'a Image<'a>>,
    debug: Option<&'a Debug<'a>>,
    btf: Option<&'a Btf>,
    /// Why its BTF cannot be used.
    unusable: Option<String>,
    /// What DWARF has of the functions that are asked for.
    found: Vec<dwarf::Function>,
    /// What it has of variables. All of it has to be read for them, once.
    variables: OnceCell<Vec<dwarf::Variable>>,
}

/// What is known of an original.
pub enum Original<'a> {
    Known {
        /// Its type, or several if there are several functions which it may be.
        types: Vec<Typed<'a>>,
        /// Whether each CPU has its own, for each variable that it may be.
        percpu: Vec<bool>,
        note: Option<String>,
    },
    /// Why it could not be found out.
    Unknown(String),
}

/// A symbol of the name that is asked for.
struct Candidate<'s, 'a> {
    source: &'s Source<'a>,
    address: u64,
    percpu: bool,
}

/// Whether a file is raw BTF, as in /sys/kernel/btf.
pub fn is_raw_btf(bytes: &[u8]) -> bool {
    bytes
        .get(..2)
        .is_some_and(|magic| BTF_MAGIC.iter().any(|m| m == magic))
}

/// How the names of sections begin that each CPU has a copy of.
const PERCPU: &str = ".data..percpu";

/// Suffixes that compilers give to functions that they have changed.
const CHANGED: &[&str] = &[".isra.", ".constprop.", ".part.", ".specialized."];

/// Where such a suffix begins.
fn changed_suffix(name: &str) -> Option<usize> {
    CHANGED.iter().filter_map(|suffix| name.find(suffix)).min()
}

/// The BTF of a file that has no DWARF; that of a module refers to that of the kernel. The inner
/// `Err` is the reason why it cannot be used.
pub fn btf_of(
    image: &Image<'_>,
    module: bool,
    base: Option<&Btf>,
) -> Result<std::result::Result<Btf, String>> {
    let Some(bytes) = image.section(".BTF") else {
        return Err(Error::new(
            "it has no DWARF and no BTF; give one that was built with CONFIG_DEBUG_INFO",
        ));
    };
    if image.section(".BTF.base").is_some() {
        return Ok(Err("its BTF has a .BTF.base, which is not read".into()));
    }
    if module && base.is_none() {
        return Ok(Err(
            "its BTF needs that of the kernel: give VMLINUX=<vmlinux or /sys/kernel/btf/vmlinux>"
                .into(),
        ));
    }
    Btf::parse(bytes, base).map(Ok)
}

impl<'a> Source<'a> {
    /// A file that has BTF only, or none that can be used.
    pub fn from_btf(
        image: Option<&'a Image<'a>>,
        btf: std::result::Result<&'a Btf, String>,
    ) -> Self {
        let (btf, unusable) = match btf {
            Ok(btf) => (Some(btf), None),
            Err(why) => (None, Some(why)),
        };
        Source {
            image,
            debug: None,
            btf,
            unusable,
            found: Vec::new(),
            variables: OnceCell::new(),
        }
    }

    /// A file with DWARF, which is read for functions of the names.
    pub fn from_dwarf(
        image: &'a Image<'a>,
        debug: &'a Debug<'a>,
        names: &HashSet<&str>,
    ) -> Result<Self> {
        // By their addresses, too: a symbol may be an alias of a function of another name.
        let addresses = image
            .symbols
            .iter()
            .filter(|symbol| !symbol.undefined && names.contains(symbol.name.as_str()))
            .map(|symbol| symbol.address)
            .collect();
        Ok(Source {
            image: Some(image),
            debug: Some(debug),
            btf: None,
            unusable: None,
            found: debug.functions(|name| names.contains(name), &addresses)?,
            variables: OnceCell::new(),
        })
    }

    /// What `debug`, which is its own, has of variables.
    fn variables(&self, debug: &Debug<'_>) -> Result<&[dwarf::Variable]> {
        if let Some(variables) = self.variables.get() {
            return Ok(variables);
        }
        let variables = debug.variables()?;
        Ok(self.variables.get_or_init(|| variables))
    }

    /// Whether the file exports a symbol to modules.
    pub fn exports(&self, name: &str) -> bool {
        let exported = format!("__ksymtab_{name}");
        self.image.is_some_and(|image| {
            image
                .symbols
                .iter()
                .any(|symbol| !symbol.undefined && symbol.name == exported)
        })
    }

    fn linked(&self) -> bool {
        self.image.is_some_and(|image| !image.relocatable)
    }

    /// The symbols of that name, in the order in which livepatch counts them.
    fn candidates(&self, name: &str) -> Vec<Candidate<'_, 'a>> {
        let Some(image) = self.image.filter(|_| self.debug.is_some()) else {
            return Vec::new();
        };
        let symbols = image.counted(name).into_iter();
        symbols
            .map(|symbol| Candidate {
                source: self,
                address: symbol.address,
                percpu: image
                    .place(symbol)
                    .is_some_and(|(section, _)| section.starts_with(PERCPU)),
            })
            .collect()
    }

    /// Why the file has no symbol of that name, where that is known.
    pub fn absence(&self, name: &str) -> Option<String> {
        if let Some(why) = &self.unusable {
            return Some(why.clone());
        }
        let image = self.image.filter(|_| self.debug.is_some())?;
        let derived = |symbol: &str| {
            let rest = symbol.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('.')) && changed_suffix(symbol).is_some()
        };
        let changed = image
            .symbols
            .iter()
            .find(|symbol| !symbol.undefined && derived(&symbol.name));
        if let Some(changed) = changed {
            return Some(format!(
                "the compiler has made {} of it, whose arguments may be others",
                changed.name
            ));
        }
        self.found
            .iter()
            .any(|f| f.name == name && f.address.is_none())
            .then(|| "the kernel has it inlined everywhere; there is nothing to replace".into())
    }

    /// The types of functions that are found by their names alone, as in BTF.
    fn named(&self, name: &str) -> Result<Vec<Typed<'a>>> {
        if let Some(btf) = self.btf {
            let protos = btf.functions(name)?.into_iter();
            return Ok(protos.map(|proto| Typed { types: btf, proto }).collect());
        }
        match (self.image, self.debug) {
            // DWARF without symbols.
            (Some(image), Some(debug)) if image.symbols.is_empty() => {
                let own = self.found.iter().filter(|function| function.name == name);
                let protos = own.map(|function| debug.proto(function.die));
                let typed = |proto: Result<_>| {
                    proto.map(|proto| Typed {
                        types: debug,
                        proto,
                    })
                };
                protos.map(typed).collect()
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl<'a> Candidate<'_, 'a> {
    /// The types that DWARF has for the function at the symbol, or why they are not known.
    fn types(&self, name: &str) -> Result<std::result::Result<Vec<Typed<'a>>, String>> {
        let Some(debug) = self.source.debug else {
            return Ok(Ok(Vec::new()));
        };
        let here = |function: &&dwarf::Function| function.address == Some(self.address);
        let mut matching: Vec<_> = self.source.found.iter().filter(here).collect();
        // Where a function has the name, others of which it is an alias do not count.
        if matching.iter().any(|function| function.name == name) {
            matching.retain(|function| function.name == name);
        }
        if matching.is_empty() {
            return Ok(Err(
                "the kernel's debug information does not tell its type".into()
            ));
        }
        if matching.iter().any(|function| function.changed) {
            return Ok(Err(
                "the compiler has changed its arguments, and does not tell how".into(),
            ));
        }
        let protos = matching.iter().map(|function| debug.proto(function.die));
        let typed = |proto: Result<_>| {
            proto.map(|proto| Typed {
                types: debug,
                proto,
            })
        };
        protos.map(typed).collect::<Result<_>>().map(Ok)
    }
}

/// What is known of a function from the files of its object. `module`: they are those of a module.
pub fn original<'a>(
    sources: &[Source<'a>],
    name: &str,
    sympos: u64,
    module: bool,
) -> Result<Original<'a>> {
    if changed_suffix(name).is_some() {
        return Ok(Original::Unknown(
            "the compiler has made it of another function, and does not tell its arguments".into(),
        ));
    }
    let (candidates, note) = match chosen(sources, name, sympos, module) {
        Ok(chosen) => chosen,
        Err(why) => return Ok(Original::Unknown(why)),
    };
    let mut types = Vec::new();
    for source in sources {
        types.extend(source.named(name)?);
    }
    for candidate in &candidates {
        match candidate.types(name)? {
            Ok(found) => types.extend(found),
            Err(why) => return Ok(Original::Unknown(why)),
        }
    }
    if !types.is_empty() {
        return Ok(Original::Known {
            types,
            percpu: Vec::new(),
            note,
        });
    }
    let absence = sources.iter().find_map(|source| source.absence(name));
    Ok(Original::Unknown(match absence {
        Some(why) => why,
        None if sources.iter().all(|source| source.debug.is_none()) => {
            "it is not in the kernel's BTF, which leaves out aliases and what the compiler has \
             changed; give a vmlinux with DWARF"
                .into()
        }
        None => "the kernel has no function of that name".into(),
    }))
}

/// What is known of a variable from the files of its object. `module`: they are those of a module.
pub fn variable<'a>(
    sources: &[Source<'a>],
    name: &str,
    sympos: u64,
    module: bool,
) -> Result<Original<'a>> {
    let (candidates, note) = match chosen(sources, name, sympos, module) {
        Ok(chosen) => chosen,
        Err(why) => return Ok(Original::Unknown(why)),
    };
    if candidates.is_empty() {
        return Ok(Original::Unknown(
            match sources.iter().all(|source| source.debug.is_none()) {
                true => "BTF is not read for variables; give a vmlinux with DWARF".into(),
                false => "the kernel has no variable of that name".into(),
            },
        ));
    }
    let (mut types, mut percpu) = (Vec::new(), Vec::new());
    for candidate in &candidates {
        percpu.push(candidate.percpu);
        let Some(debug) = candidate.source.debug else {
            continue;
        };
        for variable in candidate.source.variables(debug)? {
            if variable.address == candidate.address && variable.name == name {
                let proto = debug.variable(variable.die)?;
                types.extend(proto.map(|proto| Typed {
                    types: debug,
                    proto,
                }));
            }
        }
    }
    if types.is_empty() {
        return Ok(Original::Unknown(
            "the kernel's debug information does not tell its type, or it is a function".into(),
        ));
    }
    Ok(Original::Known {
        types,
        percpu,
        note,
    })
}

/// The symbols of the files of an object that `sympos` stands for, with a note if the files
/// have no order.
fn chosen<'s, 'a>(
    sources: &'s [Source<'a>],
    name: &str,
    sympos: u64,
    module: bool,
) -> std::result::Result<(Vec<Candidate<'s, 'a>>, Option<String>), String> {
    let mut candidates: Vec<_> = sources.iter().flat_map(|s| s.candidates(name)).collect();
    let whole = sources.len() == 1 && (module || sources.iter().all(Source::linked));
    let note = choose(&mut candidates, sympos, whole)?;
    Ok((candidates, note))
}

/// Keeps the candidate that `sympos` stands for. `whole`: these are all, in their order.
/// Otherwise all remain, and a note is returned.
fn choose(
    candidates: &mut Vec<Candidate<'_, '_>>,
    sympos: u64,
    whole: bool,
) -> std::result::Result<Option<String>, String> {
    let count = candidates.len();
    if count == 0 {
        return Ok(None);
    }
    if sympos == 0 {
        // Of object files, one may have a weak function that the other overrides.
        return match count {
            2.. if whole => Err(format!(
                "there are {count} of that name; its old_sympos must say which"
            )),
            _ => Ok(None),
        };
    }
    let Some(index) = usize::try_from(sympos - 1).ok().filter(|n| *n < count) else {
        return Err(format!(
            "its old_sympos is {sympos} and there are only {count} of that name"
        ));
    };
    if whole {
        candidates.swap(0, index);
        candidates.truncate(1);
        return Ok(None);
    }
    Ok(Some(format!(
        "object files do not tell which of that name is number {sympos}; all {count} that are \
         given were compared"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_by_the_compiler() {
        assert_eq!(changed_suffix("foo.isra.0"), Some(3));
        assert_eq!(changed_suffix("foo.part.0.constprop.1"), Some(3));
        assert_eq!(changed_suffix("foo.llvm.123"), None);
        assert_eq!(changed_suffix("foo"), None);
    }

    #[test]
    fn raw_btf() {
        assert!(is_raw_btf(&[0x9f, 0xeb, 1, 0]));
        assert!(is_raw_btf(&[0xeb, 0x9f, 1, 0]));
        assert!(!is_raw_btf(b"\x7fELF"));
        assert!(!is_raw_btf(&[]));
    }
}
