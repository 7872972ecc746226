// SPDX-License-Identifier: GPL-2.0

//! A module whose livepatch relocations and symbols are damaged at random.
//!
//! Only what the livepatch core has to check is damaged: the headers of sections named
//! `.klp.rela.*`, the relocations in them, the symbols named `.klp.sym.*` and their names. No
//! relocation is turned to code or data that the module uses: the core cannot know that a number
//! that makes sense is not meant. And no number is damaged that the module loader believes of all
//! modules.

use fastrand::Rng;
use object::{
    elf::{
        FileHeader64, Rela64, SectionFlags, SectionHeader64, SectionType, Sym64, SymbolInfo,
        SymbolSection, SHF_ALLOC, SHN_ABS, SHN_COMMON, SHN_UNDEF, SHT_SYMTAB,
    },
    endian::Endianness,
    pod,
    read::elf::{FileHeader, SectionHeader, Sym},
    SectionIndex,
};
use std::mem::size_of;

/// Marks sections of relocations that livepatch applies.
const SHF_RELA_LIVEPATCH: u64 = 0x10_0000;
/// Of a livepatch symbol's st_shndx.
const SHN_LIVEPATCH: SymbolSection = SymbolSection(0xff20);

/// What can be damaged, and where it is in the file.
#[derive(Debug, Default)]
struct Parts {
    /// The headers of the sections of relocations.
    headers: Vec<usize>,
    /// Relocations.
    relocations: Vec<usize>,
    /// Symbols.
    symbols: Vec<usize>,
    /// The symbols' names, each from its first byte to its last one.
    names: Vec<(usize, usize)>,
    /// The numbers of the sections that are not in memory.
    unloaded: Vec<u32>,
}

fn parts(data: &[u8]) -> Result<Parts, object::Error> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let order = header.endian()?;
    let sections = header.sections(order, data)?;
    let symbols = sections.symbols(order, data, SHT_SYMTAB)?;
    let table = header.e_shoff(order) as usize;
    let mut parts = Parts::default();
    for (number, section) in sections.iter().enumerate() {
        if !section.sh_flags(order).contains(SHF_ALLOC) {
            parts.unloaded.push(number as u32);
        }
        if !sections
            .section_name(order, section)?
            .starts_with(b".klp.rela.")
        {
            continue;
        }
        parts
            .headers
            .push(table + number * size_of::<SectionHeader64<Endianness>>());
        let size = size_of::<Rela64<Endianness>>();
        for entry in 0..section.sh_size(order) as usize / size {
            parts
                .relocations
                .push(section.sh_offset(order) as usize + entry * size);
        }
    }
    let symtab = sections.section(symbols.section())?.sh_offset(order) as usize;
    let strtab = sections
        .section(SectionIndex(symbols.string_section().0))?
        .sh_offset(order) as usize;
    for (index, symbol) in symbols.enumerate() {
        let name = symbols.symbol_name(order, symbol)?;
        if name.starts_with(b".klp.sym.") {
            let start = strtab + symbol.st_name(order) as usize;
            parts
                .symbols
                .push(symtab + index.0 * size_of::<Sym64<Endianness>>());
            parts.names.push((start, start + name.len() - 1));
        }
    }
    Ok(parts)
}

/// A number that is likely to be just too small or too large for something.
fn number(rng: &mut Rng, near: u64) -> u64 {
    match rng.u8(..6) {
        0 => 0,
        1 => near.wrapping_add(rng.u64(..32)).wrapping_sub(16),
        2 => u64::MAX - rng.u64(..64),
        3 => 1 << rng.u32(..64),
        4 => rng.u64(..),
        _ => rng.u64(..256),
    }
}

fn damage_header(
    header: &mut SectionHeader64<Endianness>,
    order: Endianness,
    unloaded: &[u32],
    rng: &mut Rng,
) {
    match rng.u8(..9) {
        0 => header.sh_type.set(order, SectionType(rng.u32(..20))),
        // Without the mark the loader applies the relocations itself, and believes them.
        1 => header.sh_flags.set(
            order,
            SectionFlags(number(rng, header.sh_flags.get(order).0) | SHF_RELA_LIVEPATCH),
        ),
        2 => header
            .sh_offset
            .set(order, number(rng, header.sh_offset.get(order))),
        3 | 4 => header
            .sh_size
            .set(order, number(rng, header.sh_size.get(order))),
        5 => header
            .sh_link
            .set(order, number(rng, header.sh_link.get(order).into()) as u32),
        // The loader believes that it is a power of two.
        6 => header
            .sh_addralign
            .set(order, rng.choice([0, 1, 2, 4, 16, 64]).unwrap_or(0)),
        // The end of its name: another name may mean something to the loader.
        7 => header
            .sh_name
            .set(order, header.sh_name.get(order) + rng.u32(1..16)),
        // None of the sections that the module uses.
        _ => header.sh_info.set(
            order,
            match rng.u8(..4) {
                0 => rng.u32(1000..),
                _ => rng.choice(unloaded).copied().unwrap_or(0),
            },
        ),
    }
}

fn damage_relocation(relocation: &mut Rela64<Endianness>, order: Endianness, rng: &mut Rng) {
    let info = relocation.r_info.get(order);
    match rng.u8(..4) {
        0 => relocation
            .r_offset
            .set(order, number(rng, relocation.r_offset.get(order))),
        1 => relocation
            .r_info
            .set(order, number(rng, info >> 32) << 32 | info & 0xffff_ffff),
        2 => relocation
            .r_info
            .set(order, info & !0xffff_ffff | u64::from(rng.u32(..64))),
        _ => relocation.r_addend.set(order, number(rng, 0) as i64),
    }
}

fn damage_symbol(symbol: &mut Sym64<Endianness>, order: Endianness, rng: &mut Rng) {
    match rng.u8(..4) {
        0 => symbol
            .st_name
            .set(order, number(rng, symbol.st_name.get(order).into()) as u32),
        1 => {
            // No number of a section, which the loader would believe.
            let indexes = [SHN_UNDEF, SHN_ABS, SHN_COMMON, SHN_LIVEPATCH];
            symbol
                .st_shndx
                .set(order, rng.choice(indexes).unwrap_or(SHN_UNDEF));
        }
        2 => symbol.st_value.set(order, rng.u64(..)),
        _ => symbol.st_info = SymbolInfo(rng.u8(..)),
    }
}

/// A byte of a name: often one that has a meaning in it.
fn letter(rng: &mut Rng) -> u8 {
    match rng.u8(..3) {
        0 => rng.choice(b".,0123456789".iter().copied()).unwrap_or(b'.'),
        1 => rng.u8(..),
        _ => rng.u8(b'a'..=b'z'),
    }
}

/// One of these positions, with the structure that is there.
fn at<'a, T: pod::Pod>(data: &'a mut [u8], from: &[usize], rng: &mut Rng) -> Option<&'a mut T> {
    let position = *rng.choice(from)?;
    let (value, _) = pod::from_bytes_mut::<T>(data.get_mut(position..)?).ok()?;
    Some(value)
}

/// Damage up to three things, as the seed decides.
pub(crate) fn mangle(data: &[u8], seed: u64) -> Result<Vec<u8>, object::Error> {
    let order = FileHeader64::<Endianness>::parse(data)?.endian()?;
    let parts = parts(data)?;
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let mut data = data.to_vec();
    for _ in 0..rng.u8(1..=3) {
        match rng.u8(..4) {
            0 => {
                if let Some(header) = at(&mut data, &parts.headers, rng) {
                    damage_header(header, order, &parts.unloaded, rng);
                }
            }
            1 => {
                if let Some(relocation) = at(&mut data, &parts.relocations, rng) {
                    damage_relocation(relocation, order, rng);
                }
            }
            2 => {
                if let Some(symbol) = at(&mut data, &parts.symbols, rng) {
                    damage_symbol(symbol, order, rng);
                }
            }
            _ => {
                if let Some((first, last)) = rng.choice(parts.names.iter().copied()) {
                    let byte = rng.usize(first..=last);
                    if let Some(byte) = data.get_mut(byte) {
                        *byte = letter(rng);
                    }
                }
            }
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{
        build::elf::{Builder, SectionData},
        elf,
    };
    use std::collections::BTreeSet;

    /// A module with a section that is relocated, one of relocations, and a symbol for each.
    fn module() -> Vec<u8> {
        let mut builder = Builder::new(Endianness::Little, true);
        builder.header.e_type = elf::ET_REL;
        let mut add = |name: &str, kind, flags, data: Vec<u8>| {
            let section = builder.sections.add();
            section.name = name.as_bytes().to_vec().into();
            section.sh_type = kind;
            section.sh_flags = flags;
            section.sh_addralign = 8;
            section.data = SectionData::Data(data.into());
        };
        add(".comment", elf::SHT_PROGBITS, SectionFlags(0), vec![1; 16]);
        add("klpr.place", elf::SHT_PROGBITS, SHF_ALLOC, vec![0; 24]);
        add(
            ".klp.rela.vmlinux.klpr.vmlinux",
            elf::SHT_RELA,
            SHF_ALLOC,
            vec![2; 48],
        );
        add(".text", elf::SHT_PROGBITS, SHF_ALLOC, vec![3; 64]);
        for (kind, name) in [
            (elf::SHT_SYMTAB, ".symtab"),
            (elf::SHT_STRTAB, ".strtab"),
            (elf::SHT_STRTAB, ".shstrtab"),
        ] {
            let section = builder.sections.add();
            section.name = name.as_bytes().to_vec().into();
            section.sh_type = kind;
            section.data = match name {
                ".symtab" => SectionData::Symbol,
                ".strtab" => SectionData::String,
                _ => SectionData::SectionString,
            };
        }
        for name in ["init_module", ".klp.sym.vmlinux.cmdline_proc_show,0"] {
            let symbol = builder.symbols.add();
            symbol.name = name.as_bytes().to_vec().into();
            symbol.st_shndx = SHN_LIVEPATCH;
        }
        let mut data = Vec::new();
        builder.write(&mut data).unwrap();
        data
    }

    #[test]
    fn the_parts_are_found() {
        let data = module();
        let parts = parts(&data).unwrap();
        assert_eq!(parts.headers.len(), 1);
        assert_eq!(parts.relocations.len(), 2);
        assert_eq!(parts.symbols.len(), 1);
        let (first, last) = parts.names[0];
        assert_eq!(&data[first..=last], b".klp.sym.vmlinux.cmdline_proc_show,0");
        assert!(parts.unloaded.len() >= 4);
    }

    #[test]
    fn nothing_else_is_changed_and_all_of_it_is() {
        let good = module();
        let parts = parts(&good).unwrap();
        let mut may = BTreeSet::new();
        let mut ranges = |from: &[usize], size| {
            from.iter()
                .for_each(|start| may.extend(*start..start + size))
        };
        ranges(&parts.headers, size_of::<SectionHeader64<Endianness>>());
        ranges(&parts.relocations, size_of::<Rela64<Endianness>>());
        ranges(&parts.symbols, size_of::<Sym64<Endianness>>());
        for (first, last) in &parts.names {
            may.extend(*first..=*last);
        }
        let mut changed = BTreeSet::new();
        for seed in 0..5000 {
            let bad = mangle(&good, seed).unwrap();
            assert_eq!(bad, mangle(&good, seed).unwrap());
            assert_eq!(bad.len(), good.len());
            let differ = (0..good.len()).filter(|i| good[*i] != bad[*i]);
            changed.extend(differ);
        }
        let outside: Vec<_> = changed.difference(&may).collect();
        assert!(outside.is_empty(), "{outside:?}");
        // Some bytes of a header and of a symbol are never damaged.
        assert!(
            changed.len() * 3 > may.len() * 2,
            "{} of {}",
            changed.len(),
            may.len()
        );
    }

    #[test]
    fn no_section_that_the_module_uses_is_relocated() {
        let good = module();
        let header = parts(&good).unwrap().headers[0];
        let unloaded = parts(&good).unwrap().unloaded;
        for seed in 0..5000 {
            let mut bad = mangle(&good, seed).unwrap();
            let read: &SectionHeader64<Endianness> =
                at(&mut bad, &[header], &mut Rng::with_seed(0)).unwrap();
            let info = read.sh_info.get(Endianness::Little);
            assert!(
                info == 0 || info >= 1000 || unloaded.contains(&info),
                "{info}"
            );
        }
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(mangle(b"no module", 1).is_err());
        assert!(mangle(&[], 1).is_err());
    }
}
