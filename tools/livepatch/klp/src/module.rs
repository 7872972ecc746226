// SPDX-License-Identifier: GPL-2.0

//! What a module's file says about itself.

use object::{Architecture, Object, ObjectKind, ObjectSection, ObjectSymbol};
use std::{collections::BTreeSet, fs, path::Path};

/// What follows an appended signature.
const SIGNATURE: &[u8] = b"~Module signature appended~\n";

/// A symbol that livepatch resolves: `.klp.sym.OBJECT.NAME,SYMPOS`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KlpSymbol {
    /// The module that has it, or "vmlinux".
    pub object: String,
    /// Its name.
    pub name: String,
    /// Which of several of that name; 0 if there must be one only.
    pub sympos: u32,
}

/// A module's file.
#[derive(Clone, Debug)]
pub struct Module {
    /// The name of the module.
    pub name: String,
    /// Whether it says that it is a livepatch.
    pub livepatch: bool,
    /// The kernel that it was built for, with its options.
    pub vermagic: String,
    /// Whether a signature is appended.
    pub signed: bool,
    /// Whether it has the part that makes an object file a module.
    pub complete: bool,
    /// Whether it is for this architecture.
    pub native: bool,
    /// The architecture in the object crate's word.
    pub architecture: String,
    /// Symbols that livepatch resolves.
    pub symbols: BTreeSet<KlpSymbol>,
    /// The objects of its livepatch relocations and symbols.
    pub objects: BTreeSet<String>,
}

impl Module {
    /// Read a file. The error is a sentence about it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let data = fs::read(path).map_err(|e| crate::error::plain(&e))?;
        Self::parse(&data)
    }

    /// Read a file's content.
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        if data.starts_with(b"\x1f\x8b")
            || data.starts_with(b"\xfd7zXZ")
            || data.starts_with(b"\x28\xb5\x2f\xfd")
        {
            return Err("it is compressed; decompress it first".to_string());
        }
        let file = object::File::parse(data).map_err(|_| "it is not an ELF file".to_string())?;
        if file.kind() != ObjectKind::Relocatable {
            return Err("it is not a kernel module, but another kind of ELF file".to_string());
        }
        let section = |name| file.section_by_name(name).and_then(|s| s.data().ok());
        let info = section(".modinfo").ok_or("it is not a kernel module: it has no .modinfo")?;
        let of = |key: &str| modinfo(info, key);
        let symbols: BTreeSet<_> = file
            .symbols()
            .filter_map(|s| klp_symbol(s.name().ok()?))
            .collect();
        let mut objects: BTreeSet<_> = symbols.iter().map(|s| s.object.clone()).collect();
        objects.extend(
            file.sections()
                .filter_map(|s| klp_object(s.name().ok()?).map(str::to_string)),
        );
        Ok(Module {
            name: of("name").unwrap_or_default(),
            livepatch: of("livepatch").as_deref() == Some("Y"),
            vermagic: of("vermagic").unwrap_or_default(),
            signed: data.ends_with(SIGNATURE),
            complete: section(".gnu.linkonce.this_module").is_some(),
            native: is_native(file.architecture(), file.is_little_endian()),
            architecture: format!("{:?}", file.architecture()),
            symbols,
            objects,
        })
    }

    /// The release of the kernel that it was built for.
    pub fn release(&self) -> &str {
        self.vermagic.split(' ').next().unwrap_or_default()
    }
}

/// A value of the section .modinfo, which has strings `key=value`, each with a zero byte.
fn modinfo(data: &[u8], key: &str) -> Option<String> {
    data.split(|b| *b == 0).find_map(|entry| {
        let entry = std::str::from_utf8(entry).ok()?;
        let (k, value) = entry.split_once('=')?;
        (k == key).then(|| value.to_string())
    })
}

fn klp_symbol(name: &str) -> Option<KlpSymbol> {
    let (object, rest) = name.strip_prefix(".klp.sym.")?.split_once('.')?;
    let (name, sympos) = rest.rsplit_once(',')?;
    Some(KlpSymbol {
        object: object.to_string(),
        name: name.to_string(),
        sympos: sympos.parse().ok()?,
    })
}

fn klp_object(section: &str) -> Option<&str> {
    Some(section.strip_prefix(".klp.rela.")?.split_once('.')?.0)
}

/// Whether this is the architecture that `klp` was built for, which is that of the kernel.
fn is_native(architecture: Architecture, little: bool) -> bool {
    let wanted = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "s390x" => Architecture::S390x,
        "powerpc64" => Architecture::PowerPc64,
        "aarch64" => Architecture::Aarch64,
        "loongarch64" => Architecture::LoongArch64,
        _ => return true,
    };
    architecture == wanted && little == cfg!(target_endian = "little")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_livepatch_symbols_and_sections_are_taken_apart() {
        let symbol = klp_symbol(".klp.sym.ext4.foo.isra.0,2").unwrap();
        assert_eq!((symbol.object.as_str(), symbol.sympos), ("ext4", 2));
        assert_eq!(symbol.name, "foo.isra.0");
        assert_eq!(klp_symbol("foo"), None);
        assert_eq!(klp_symbol(".klp.sym.ext4.foo"), None);
        assert_eq!(klp_object(".klp.rela.ext4..text.foo"), Some("ext4"));
        assert_eq!(klp_object(".rela.text"), None);
    }

    #[test]
    fn modinfo_is_a_list_of_strings() {
        let data = b"license=GPL\0livepatch=Y\0name=x";
        assert_eq!(modinfo(data, "livepatch").as_deref(), Some("Y"));
        assert_eq!(modinfo(data, "name").as_deref(), Some("x"));
        assert_eq!(modinfo(data, "vermagic"), None);
    }

    #[test]
    fn other_files_are_not_modules() {
        let said = |data: &[u8]| Module::parse(data).unwrap_err();
        assert!(said(b"").contains("not an ELF file"));
        assert!(said(b"\x7fELF").contains("not an ELF file"));
        assert!(said(b"\xfd7zXZ\0").contains("compressed"));
        let ourselves = fs::read("/proc/self/exe").unwrap();
        assert!(said(&ourselves).contains("another kind of ELF file"));
    }
}
