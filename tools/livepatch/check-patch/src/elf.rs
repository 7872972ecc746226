// SPDX-License-Identifier: GPL-2.0

//! ELF files, as one flat address space.
//!
//! The sections of a module all begin at address 0. Here each gets an address of its own, as the
//! module loader does it, and relocations are applied, both to data and to DWARF. An undefined
//! symbol gets an address that no section has. From then on a pointer is a number, in a module as
//! in a linked kernel, and on every architecture.

use crate::error::{Error, Result};
use gimli::RunTimeEndian;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, SectionFlags,
    SectionIndex, SymbolSection,
};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// Addresses of undefined symbols begin here; far from all sections.
const UNDEFINED_BASE: u64 = 1 << 56;
const UNDEFINED_STEP: u64 = 1 << 16;
/// Where the sections of a module begin, and how they are aligned.
const SECTION_ALIGN: u64 = 0x1_0000;

/// A section that is there at run time.
struct Section<'a> {
    index: SectionIndex,
    name: String,
    address: u64,
    size: u64,
    data: Cow<'a, [u8]>,
}

/// A symbol with a name.
pub struct Symbol {
    pub name: String,
    pub address: u64,
    pub undefined: bool,
    /// For one that is undefined: code refers to it.
    pub in_code: bool,
    /// It is code, and not data.
    pub function: bool,
    /// The source file by the symbol table, which has that of local symbols only.
    pub file: Option<Rc<str>>,
    /// `None` for one that is a mere number, too.
    section: Option<SectionIndex>,
}

/// An ELF file.
pub struct Image<'a> {
    pub endian: RunTimeEndian,
    /// Not linked: a module or an object file.
    pub relocatable: bool,
    pub symbols: Vec<Symbol>,
    sections: Vec<Section<'a>>,
    debug: HashMap<String, Cow<'a, [u8]>>,
}

/// Sections that hold something else than DWARF, and are kept by name as well.
const KEPT: &[&str] = &[".BTF", ".BTF.base", ".init.klp_objects", ".modinfo"];

impl<'a> Image<'a> {
    /// Read an ELF file. Relocations are applied if it is not linked.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let file = object::File::parse(bytes)?;
        let relocatable = file.kind() == object::ObjectKind::Relocatable;
        let endian = if file.is_little_endian() {
            RunTimeEndian::Little
        } else {
            RunTimeEndian::Big
        };

        // Lay out the sections.
        let mut bases: HashMap<SectionIndex, u64> = HashMap::new();
        let mut code = HashSet::new();
        let mut next = SECTION_ALIGN;
        for section in file.sections() {
            if is_code(&section) {
                code.insert(section.index());
            }
            let base = if !is_allocated(&section) {
                0
            } else if relocatable {
                let base = next;
                next = base
                    .checked_add(section.size())
                    .and_then(|end| end.checked_next_multiple_of(SECTION_ALIGN))
                    .filter(|end| *end < UNDEFINED_BASE)
                    .ok_or_else(|| Error::new("it is malformed: a section is too large"))?;
                // Never empty, so that the end of one section is not the start of another.
                next += SECTION_ALIGN;
                base
            } else {
                section.address()
            };
            bases.insert(section.index(), base);
        }

        // Symbols, by their index for relocations, and those with names.
        let mut addresses = HashMap::new();
        let mut symbols = Vec::new();
        let mut named = HashMap::new();
        let mut source: Option<Rc<str>> = None;
        for symbol in file.symbols() {
            let name = match symbol.name_bytes() {
                Ok(name) if !name.is_empty() => Some(String::from_utf8_lossy(name).into_owned()),
                _ => None,
            };
            // The local symbols of a file come after its name. One without a name ends them.
            if symbol.kind() == object::SymbolKind::File {
                source = name.map(Rc::from);
                continue;
            }
            let (address, undefined) = match symbol.section() {
                SymbolSection::Section(index) => {
                    let base = if relocatable {
                        bases.get(&index).copied().unwrap_or(0)
                    } else {
                        0
                    };
                    (base.wrapping_add(symbol.address()), false)
                }
                SymbolSection::Absolute => (symbol.address(), false),
                // A special index is how a module refers to what livepatch relocates.
                SymbolSection::Undefined | SymbolSection::Unknown | SymbolSection::Common => (
                    UNDEFINED_BASE + symbol.index().0 as u64 * UNDEFINED_STEP,
                    true,
                ),
                _ => continue,
            };
            addresses.insert(symbol.index(), address);
            let Some(name) = name else {
                continue;
            };
            let section = symbol.section_index();
            named.insert(symbol.index(), symbols.len());
            symbols.push(Symbol {
                name,
                address,
                undefined,
                in_code: false,
                function: match symbol.kind() {
                    object::SymbolKind::Text => true,
                    object::SymbolKind::Data | object::SymbolKind::Tls => false,
                    // Assembly need not say what its symbols are.
                    _ => section.is_some_and(|section| code.contains(&section)),
                },
                file: source.clone().filter(|_| symbol.is_local()),
                section,
            });
        }

        let mut image = Image {
            endian,
            relocatable,
            symbols,
            sections: Vec::new(),
            debug: HashMap::new(),
        };
        for section in file.sections() {
            let name = section.name().unwrap_or("");
            let debug = name.starts_with(".debug_");
            let allocated = is_allocated(&section);
            let kept = KEPT.contains(&name);
            if !debug && !kept && !allocated {
                continue;
            }
            let mut data = section.uncompressed_data()?;
            if relocatable {
                for (offset, relocation) in section.relocations() {
                    if allocated && is_code(&section) {
                        if let RelocationTarget::Symbol(index) = relocation.target() {
                            if let Some(symbol) =
                                named.get(&index).and_then(|i| image.symbols.get_mut(*i))
                            {
                                symbol.in_code |= symbol.undefined;
                            }
                        }
                        continue;
                    }
                    relocate(
                        &mut data,
                        offset,
                        &relocation,
                        endian,
                        |target| match target {
                            RelocationTarget::Symbol(index) => addresses.get(&index).copied(),
                            RelocationTarget::Section(index) => bases.get(&index).copied(),
                            RelocationTarget::Absolute => Some(0),
                            _ => None,
                        },
                    )
                    .map_err(|what| {
                        Error::new(format!("a relocation of its section {name} {what}"))
                    })?;
                }
            }
            if allocated {
                image.sections.push(Section {
                    index: section.index(),
                    name: name.to_string(),
                    address: bases.get(&section.index()).copied().unwrap_or(0),
                    size: section.size(),
                    data: data.clone(),
                });
            }
            if debug || kept {
                image.debug.insert(name.to_string(), data);
            }
        }
        Ok(image)
    }

    /// The symbols of that name, in the order in which livepatch counts them: that of kallsyms,
    /// which is by address and leaves out mere numbers, and for a module that of its symbol table.
    /// Data counts, too.
    pub fn counted(&self, name: &str) -> Vec<&Symbol> {
        let counts = |symbol: &&Symbol| {
            symbol.name == name
                && !symbol.undefined
                && (self.relocatable || symbol.section.is_some())
        };
        let mut symbols: Vec<_> = self.symbols.iter().filter(counts).collect();
        if !self.relocatable {
            symbols.sort_by_key(|symbol| symbol.address);
        }
        symbols
    }

    /// Where a symbol is: its section and its place there, as in what is not linked the address is
    /// of our making. `None` if the section is not there at run time.
    pub fn place(&self, symbol: &Symbol) -> Option<(&str, u64)> {
        let index = symbol.section?;
        let section = self
            .sections
            .iter()
            .find(|section| section.index == index)?;
        let offset = symbol.address.wrapping_sub(section.address);
        Some((&section.name, offset))
    }

    /// Whether it is a module as the kernel loads it, and not one of the objects that modules and
    /// the kernel are linked of.
    pub fn is_module(&self) -> bool {
        let mut sections = self.sections.iter();
        self.relocatable && sections.any(|section| section.name == ".gnu.linkonce.this_module")
    }

    /// A section's content, if there is any.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        self.debug
            .get(name)
            .map(|data| &**data)
            .filter(|data| !data.is_empty())
    }

    /// `size` bytes at an address; what has no content in the file (.bss) is zero.
    fn bytes(&self, address: u64, size: u64) -> Option<Cow<'_, [u8]>> {
        let end = address.checked_add(size)?;
        for section in &self.sections {
            let Some(section_end) = section.address.checked_add(section.size) else {
                continue;
            };
            if address < section.address || end > section_end {
                continue;
            }
            let start = usize::try_from(address - section.address).ok()?;
            let len = usize::try_from(size).ok()?;
            return match section.data.get(start..start.checked_add(len)?) {
                Some(bytes) => Some(Cow::Borrowed(bytes)),
                None => Some(Cow::Owned(vec![0; len])),
            };
        }
        None
    }

    /// Whether all of these bytes are in one section.
    pub fn contains(&self, address: u64, size: u64) -> bool {
        size <= 1 << 20 && self.bytes(address, size).is_some()
    }

    /// An integer or a pointer of up to 8 bytes.
    pub fn read(&self, address: u64, size: u64) -> Option<u64> {
        if size > 8 {
            return None;
        }
        let bytes = self.bytes(address, size)?;
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(match self.endian {
            RunTimeEndian::Big => bytes.iter().fold(0, push),
            RunTimeEndian::Little => bytes.iter().rev().fold(0, push),
        })
    }

    /// A string up to its NUL, of at most the length that a symbol may have.
    pub fn string(&self, address: u64) -> Option<String> {
        let mut text = Vec::new();
        for i in 0..512 {
            match self.read(address.checked_add(i)?, 1)? {
                0 => return String::from_utf8(text).ok(),
                byte => text.push(byte as u8),
            }
        }
        None
    }

    /// The kernel that a module was built for, or that a vmlinux is, with what has to agree of its
    /// configuration.
    pub fn vermagic(&self) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        if let Some(info) = self.section(".modinfo") {
            let mut entries = info.split(|byte| *byte == 0);
            return entries
                .find_map(|entry| entry.strip_prefix(b"vermagic="))
                .map(text);
        }
        self.symbols
            .iter()
            .find(|symbol| symbol.name == "vermagic" && !symbol.undefined)
            .and_then(|symbol| self.string(symbol.address))
            .map(|magic| magic.trim().to_string())
    }

    /// The address of the first symbol of that name that is defined here.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        self.symbols
            .iter()
            .find(|symbol| symbol.name == name && !symbol.undefined)
            .map(|symbol| symbol.address)
    }

    /// The name of the undefined symbol that a pointer points to.
    pub fn undefined_at(&self, address: u64) -> Option<&str> {
        self.symbols
            .iter()
            .find(|symbol| symbol.undefined && symbol.address == address)
            .map(|symbol| symbol.name.as_str())
    }
}

fn is_allocated<'a>(section: &impl ObjectSection<'a>) -> bool {
    matches!(section.flags(), SectionFlags::Elf { sh_flags, .. }
        if sh_flags.0 & object::elf::SHF_ALLOC.0 != 0)
}

fn is_code<'a>(section: &impl ObjectSection<'a>) -> bool {
    matches!(section.flags(), SectionFlags::Elf { sh_flags, .. }
        if sh_flags.0 & object::elf::SHF_EXECINSTR.0 != 0)
}

/// Apply a relocation that makes an address; others mean nothing for data and DWARF as we read
/// them.
fn relocate(
    data: &mut Cow<'_, [u8]>,
    offset: u64,
    relocation: &object::Relocation,
    endian: RunTimeEndian,
    address: impl Fn(RelocationTarget) -> Option<u64>,
) -> std::result::Result<(), &'static str> {
    if relocation.kind() != RelocationKind::Absolute {
        return Ok(());
    }
    let len = match relocation.size() {
        32 => 4,
        64 => 8,
        _ => return Ok(()),
    };
    let outside = "points outside of it";
    let start = usize::try_from(offset).map_err(|_| outside)?;
    let end = start.checked_add(len).ok_or(outside)?;
    if data.len() < end {
        return Err(outside);
    }
    let place = data.to_mut().get_mut(start..end).ok_or(outside)?;
    let target = address(relocation.target()).ok_or("has an unknown symbol")?;
    let mut value = target.wrapping_add(relocation.addend() as u64);
    let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if relocation.has_implicit_addend() {
        value = value.wrapping_add(match endian {
            RunTimeEndian::Big => place.iter().fold(0, push),
            RunTimeEndian::Little => place.iter().rev().fold(0, push),
        });
    }
    match endian {
        RunTimeEndian::Big => {
            for byte in place.iter_mut().rev() {
                *byte = value as u8;
                value >>= 8;
            }
        }
        RunTimeEndian::Little => {
            for byte in place.iter_mut() {
                *byte = value as u8;
                value >>= 8;
            }
        }
    }
    Ok(())
}
