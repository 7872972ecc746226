// SPDX-License-Identifier: GPL-2.0

//! ELF files, as one flat address space.
//!
//! The sections of a module all begin at address 0. Here each gets an address of its own, as the
//! module loader does it, and relocations are applied, to data as well as to DWARF. An undefined
//! symbol gets an address that no section has. From then on a pointer is a number, in a module as
//! in a linked kernel, and on every architecture.

use crate::error::{Error, Result};
use gimli::RunTimeEndian;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, SectionFlags,
    SectionIndex, SymbolIndex, SymbolSection,
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

/// Sections without DWARF that are kept by name as well.
const KEPT: &[&str] = &[".BTF", ".BTF.base", ".init.klp_objects", ".modinfo"];

/// Where the sections of a file are, and which are code.
struct Layout {
    bases: HashMap<SectionIndex, u64>,
    code: HashSet<SectionIndex>,
    /// The addresses of symbols are offsets in their sections.
    relocatable: bool,
}

impl Layout {
    /// Gives each section an address, which is that of the file if it is linked.
    fn of(file: &object::File<'_>) -> Result<Self> {
        let mut layout = Layout {
            bases: HashMap::new(),
            code: HashSet::new(),
            relocatable: file.kind() == object::ObjectKind::Relocatable,
        };
        let mut next = SECTION_ALIGN;
        for section in file.sections() {
            if is_code(&section) {
                layout.code.insert(section.index());
            }
            let base = if !is_allocated(&section) {
                0
            } else if layout.relocatable {
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
            layout.bases.insert(section.index(), base);
        }
        Ok(layout)
    }

    fn base(&self, section: SectionIndex) -> u64 {
        self.bases.get(&section).copied().unwrap_or(0)
    }

    /// The address of a symbol, and whether it is undefined. `None`: it has none.
    fn address(&self, symbol: &object::Symbol<'_, '_>) -> Option<(u64, bool)> {
        match symbol.section() {
            SymbolSection::Section(index) if self.relocatable => {
                Some((self.base(index).wrapping_add(symbol.address()), false))
            }
            SymbolSection::Section(_) | SymbolSection::Absolute => Some((symbol.address(), false)),
            // A special index is how a module refers to what livepatch relocates.
            SymbolSection::Undefined | SymbolSection::Unknown | SymbolSection::Common => Some((
                UNDEFINED_BASE + symbol.index().0 as u64 * UNDEFINED_STEP,
                true,
            )),
            _ => None,
        }
    }

    fn is_function(&self, symbol: &object::Symbol<'_, '_>) -> bool {
        match symbol.kind() {
            object::SymbolKind::Text => true,
            object::SymbolKind::Data | object::SymbolKind::Tls => false,
            // Assembly need not set the type of its symbols.
            _ => symbol
                .section_index()
                .is_some_and(|section| self.code.contains(&section)),
        }
    }
}

/// The symbols of a file.
#[derive(Default)]
struct SymbolTable {
    /// Those with names.
    named: Vec<Symbol>,
    /// Where in `named` a symbol is.
    positions: HashMap<SymbolIndex, usize>,
    /// All addresses, for relocations.
    addresses: HashMap<SymbolIndex, u64>,
}

impl SymbolTable {
    fn read(file: &object::File<'_>, layout: &Layout) -> Self {
        let mut table = SymbolTable::default();
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
            let Some((address, undefined)) = layout.address(&symbol) else {
                continue;
            };
            table.addresses.insert(symbol.index(), address);
            let Some(name) = name else {
                continue;
            };
            table.positions.insert(symbol.index(), table.named.len());
            table.named.push(Symbol {
                name,
                address,
                undefined,
                in_code: false,
                function: layout.is_function(&symbol),
                file: source.clone().filter(|_| symbol.is_local()),
                section: symbol.section_index(),
            });
        }
        table
    }

    /// Sets for each undefined symbol that a section of code refers to that it does.
    fn mark_references(&mut self, code: &object::Section<'_, '_>) {
        for (_, relocation) in code.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                continue;
            };
            let position = self.positions.get(&index);
            if let Some(symbol) = position.and_then(|position| self.named.get_mut(*position)) {
                symbol.in_code |= symbol.undefined;
            }
        }
    }
}

/// Applies the relocations of a section to its data.
fn relocate_section(
    data: &mut Cow<'_, [u8]>,
    section: &object::Section<'_, '_>,
    layout: &Layout,
    addresses: &HashMap<SymbolIndex, u64>,
    endian: RunTimeEndian,
) -> Result<()> {
    let address = |target| match target {
        RelocationTarget::Symbol(index) => addresses.get(&index).copied(),
        RelocationTarget::Section(index) => layout.bases.get(&index).copied(),
        RelocationTarget::Absolute => Some(0),
        _ => None,
    };
    for (offset, relocation) in section.relocations() {
        relocate(data, offset, &relocation, endian, address).map_err(|what| {
            let name = section.name().unwrap_or("");
            Error::new(format!("a relocation of its section {name} {what}"))
        })?;
    }
    Ok(())
}

impl<'a> Image<'a> {
    /// Reads an ELF file. Relocations are applied if it is not linked.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let file = object::File::parse(bytes)?;
        let layout = Layout::of(&file)?;
        let mut table = SymbolTable::read(&file, &layout);
        let mut image = Image {
            endian: if file.is_little_endian() {
                RunTimeEndian::Little
            } else {
                RunTimeEndian::Big
            },
            relocatable: layout.relocatable,
            symbols: Vec::new(),
            sections: Vec::new(),
            debug: HashMap::new(),
        };
        for section in file.sections() {
            image.add_section(&section, &layout, &mut table)?;
        }
        image.symbols = table.named;
        Ok(image)
    }

    /// Adds a section if it is there at run time, or kept by name.
    fn add_section(
        &mut self,
        section: &object::Section<'a, '_>,
        layout: &Layout,
        table: &mut SymbolTable,
    ) -> Result<()> {
        let name = section.name().unwrap_or("");
        let by_name = name.starts_with(".debug_") || KEPT.contains(&name);
        let allocated = is_allocated(section);
        if !by_name && !allocated {
            return Ok(());
        }
        let mut data = section.uncompressed_data()?;
        if self.relocatable {
            if allocated && is_code(section) {
                table.mark_references(section);
            } else {
                relocate_section(&mut data, section, layout, &table.addresses, self.endian)?;
            }
        }
        if allocated {
            self.sections.push(Section {
                index: section.index(),
                name: name.to_string(),
                address: layout.base(section.index()),
                size: section.size(),
                data: data.clone(),
            });
        }
        if by_name {
            self.debug.insert(name.to_string(), data);
        }
        Ok(())
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

    /// Where a symbol is: its section and its offset there, as the address in a file that is not
    /// linked is of our making. `None` if the section is not there at run time.
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
    /// the kernel are linked from.
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

    /// The kernel that a module was built for, or that a vmlinux is, with those parts of its
    /// configuration that have to agree.
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

/// Applies a relocation that makes an address; others do not matter for data and DWARF as we read
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
