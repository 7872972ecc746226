// SPDX-License-Identifier: GPL-2.0

//! The kernel that a patch is for: what its files tell of a function.

use crate::{
    btf,
    dwarf::{self, Debug},
    elf::Image,
    error::{Error, Result},
    types::Proto,
};
use btf_rs::Btf;
use std::collections::{BTreeMap, HashSet};

/// The magic number of BTF, as it begins a file of either endianness.
const BTF_MAGIC: [[u8; 2]; 2] = [[0x9f, 0xeb], [0xeb, 0x9f]];

/// A file's BTF. A module's refers to that of the kernel.
enum Types {
    None,
    Btf(Btf),
    /// Why it cannot be used.
    Unusable(String),
}

/// A file of the kernel.
pub struct Source<'a> {
    image: Option<&'a Image<'a>>,
    debug: Option<&'a Debug<'a>>,
    btf: Types,
    found: Vec<dwarf::Function>,
}

/// What is known of an original.
pub enum Original {
    /// Its type, or several if there are several functions which it may be.
    Protos(Vec<Proto>),
    /// Why it could not be found out.
    Unknown(String),
}

/// Whether a file is raw BTF, as in /sys/kernel/btf.
pub fn is_raw_btf(bytes: &[u8]) -> bool {
    bytes
        .get(..2)
        .is_some_and(|magic| BTF_MAGIC.iter().any(|m| m == magic))
}

/// Suffixes that compilers give to functions that they have changed.
const CHANGED: &[&str] = &[".isra.", ".constprop.", ".part.", ".specialized."];

/// The suffix that says so.
fn changed_suffix(name: &str) -> Option<usize> {
    CHANGED.iter().filter_map(|suffix| name.find(suffix)).min()
}

impl<'a> Source<'a> {
    /// A file with raw BTF; `base` is the kernel's if the file is a module's.
    pub fn from_btf(bytes: &[u8], base: Option<&Btf>) -> Result<Self> {
        let btf = match base {
            Some(base) => Btf::from_split_bytes(bytes, base)?,
            None => Btf::from_bytes(bytes)?,
        };
        Ok(Source {
            image: None,
            debug: None,
            btf: Types::Btf(btf),
            found: Vec::new(),
        })
    }

    /// An ELF file. Its DWARF is read for functions of the names; its BTF if it has no DWARF.
    pub fn from_elf(
        image: &'a Image<'a>,
        debug: Option<&'a Debug<'a>>,
        base: Option<&Btf>,
        split: bool,
        names: &HashSet<&str>,
    ) -> Result<Self> {
        let mut source = Source {
            image: Some(image),
            debug,
            btf: Types::None,
            found: Vec::new(),
        };
        if let Some(debug) = debug {
            // By their addresses, too: a symbol may be an alias of a function of another name.
            let addresses = image
                .symbols
                .iter()
                .filter(|symbol| !symbol.undefined && names.contains(symbol.name.as_str()))
                .map(|symbol| symbol.address)
                .collect();
            source.found = debug.functions(|name| names.contains(name), &addresses)?;
        } else if let Some(bytes) = image.section(".BTF") {
            source.btf = if image.section(".BTF.base").is_some() {
                Types::Unusable("its BTF has a .BTF.base, which is not read".into())
            } else if !split {
                Types::Btf(Btf::from_bytes(bytes)?)
            } else if let Some(base) = base {
                Types::Btf(Btf::from_split_bytes(bytes, base)?)
            } else {
                Types::Unusable(
                    "its BTF needs that of the kernel: give VMLINUX=<vmlinux or /sys/kernel/btf/vmlinux>".into(),
                )
            };
        } else {
            return Err(Error::new(
                "it has no DWARF and no BTF; give one that was built with CONFIG_DEBUG_INFO",
            ));
        }
        Ok(source)
    }

    /// The BTF, as a base for that of modules.
    pub fn btf(&self) -> Option<&Btf> {
        match &self.btf {
            Types::Btf(btf) => Some(btf),
            _ => None,
        }
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

    /// All that the file has under a name; `None` if that is nothing.
    fn original(&self, name: &str, sympos: u64, alone: bool) -> Result<Option<Original>> {
        let (Some(image), Some(debug)) = (self.image, self.debug) else {
            return self.original_of_btf(name);
        };
        // Two functions may share an address: an alias is one function.
        let mut at: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for symbol in image.symbols.iter().filter(|symbol| !symbol.undefined) {
            let own = symbol.name == name;
            let derived = symbol
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'));
            if own || derived {
                at.entry(symbol.address).or_default().push(&symbol.name);
            }
        }
        let mut exact: Vec<u64> = at
            .iter()
            .filter(|(_, names)| names.contains(&name))
            .map(|(address, _)| *address)
            .collect();
        let changed = at
            .values()
            .flatten()
            .find(|symbol| changed_suffix(symbol).is_some());
        let inlined = self
            .found
            .iter()
            .any(|f| f.name == name && f.address.is_none());

        if exact.is_empty() && !image.symbols.is_empty() {
            return Ok(match changed {
                Some(changed) => Some(Original::Unknown(format!(
                    "the compiler has made {changed} of it, whose arguments may be others"
                ))),
                None if inlined => Some(Original::Unknown(
                    "the kernel has it inlined everywhere; there is nothing to replace".into(),
                )),
                None => None,
            });
        }
        if self.linked() || alone {
            if sympos > 0 {
                match usize::try_from(sympos - 1).ok().and_then(|n| exact.get(n)) {
                    Some(address) => exact = vec![*address],
                    None => {
                        return Ok(Some(Original::Unknown(format!(
                            "its old_sympos is {sympos} and there are only {} of that name",
                            exact.len()
                        ))))
                    }
                }
            } else if exact.len() > 1 {
                return Ok(Some(Original::Unknown(format!(
                    "there are {} of that name; its old_sympos must say which",
                    exact.len()
                ))));
            }
        }

        // Where functions have the name, aliases of others do not count.
        let here = |function: &&dwarf::Function| match function.address {
            Some(address) => exact.contains(&address) || image.symbols.is_empty(),
            None => false,
        };
        let mut matching: Vec<_> = self.found.iter().filter(here).collect();
        if matching.iter().any(|function| function.name == name) {
            matching.retain(|function| function.name == name);
        }
        if matching.is_empty() {
            return Ok(Some(Original::Unknown(
                "the kernel's debug information does not tell its type".into(),
            )));
        }
        if matching.iter().any(|function| function.changed) {
            return Ok(Some(Original::Unknown(
                "the compiler has changed its arguments, and does not tell how".into(),
            )));
        }
        let protos = matching.iter().map(|function| debug.proto(function.die));
        Ok(Some(Original::Protos(protos.collect::<Result<_>>()?)))
    }

    fn original_of_btf(&self, name: &str) -> Result<Option<Original>> {
        match &self.btf {
            Types::None => Ok(None),
            Types::Unusable(why) => Ok(Some(Original::Unknown(why.clone()))),
            Types::Btf(btf) => {
                let protos = btf::functions(btf, name)?;
                Ok((!protos.is_empty()).then_some(Original::Protos(protos)))
            }
        }
    }
}

/// What the files of an object tell of one of its functions.
pub fn original(sources: &[Source<'_>], name: &str, sympos: u64) -> Result<Original> {
    if changed_suffix(name).is_some() {
        return Ok(Original::Unknown(
            "the compiler has made it of another function, and does not tell its arguments".into(),
        ));
    }
    let mut protos: Vec<Proto> = Vec::new();
    let mut unknown = None;
    for source in sources {
        match source.original(name, sympos, sources.len() == 1)? {
            None => {}
            Some(Original::Protos(found)) => protos.extend(found),
            Some(Original::Unknown(why)) => unknown = unknown.or(Some(why)),
        }
    }
    protos.dedup();
    Ok(match (protos.is_empty(), unknown) {
        (false, _) => Original::Protos(protos),
        (true, Some(why)) => Original::Unknown(why),
        (true, None) if sources.iter().all(|source| source.debug.is_none()) => Original::Unknown(
            "it is not in the kernel's BTF, which leaves out aliases and what the compiler has \
             changed; give a vmlinux with DWARF"
                .into(),
        ),
        (true, None) => Original::Unknown("the kernel has no function of that name".into()),
    })
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
