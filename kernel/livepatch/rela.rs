// SPDX-License-Identifier: GPL-2.0

//! What must hold of a livepatch relocation before it may be applied.
//!
//! `apply_relocate_add()` of an architecture writes where a relocation says, and reads the symbol
//! that it names. Neither it nor the module loader compares these numbers with the sizes of the
//! section and of the table of symbols. That is done here.
//!
//! One field is not compared: `sh_entsize`. The loader keeps its own notes in it before it hands a
//! section over, and no code reads what was there.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// The size of an `Elf64_Rela`, and what its address is a multiple of.
pub(crate) const RELA_SIZE: u64 = 24;
const RELA_ALIGN: u64 = 8;

const SHT_NULL: u32 = 0;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_RELA: u32 = 4;
const SHT_REL: u32 = 9;

const SHF_ALLOC: u64 = 1 << 1;

/// What matters of the header of a section: of an `Elf64_Shdr` the fields of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) addr: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
}

/// A piece of the memory that a module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

impl Memory {
    /// Whether all of the `size` bytes at `addr` belong to it.
    fn has(&self, addr: u64, size: u64) -> bool {
        match addr.checked_sub(self.start) {
            Some(offset) => fits(offset, size, self.size),
            None => false,
        }
    }
}

/// Whether `width` bytes at `offset` end within `size` bytes.
fn fits(offset: u64, width: u64, size: u64) -> bool {
    offset.checked_add(width).is_some_and(|end| end <= size)
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// The section has no relocations with addends.
    Kind,
    /// The section is not copied into the module's memory.
    NotKept,
    /// The section is for another table of symbols than the module's.
    Link,
    /// The size is no multiple of the size of a relocation.
    Size,
    /// The section is not aligned as relocations are.
    Alignment,
    /// The section is not where the module is.
    Outside,
    /// The section to be relocated does not exist, or is not loaded.
    NoTarget,
    /// The section to be relocated is one of tables that relocations depend on.
    TargetKind,
    /// The section to be relocated is not in memory that stays as long as it is needed.
    TargetOutside,
    /// There is no symbol of this number.
    Symbol,
    /// The place to be written is not in the section.
    Offset,
}

impl Bad {
    /// What the log says.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Kind => "is not of type SHT_RELA",
            Self::NotKept => "is not marked SHF_ALLOC",
            Self::Link => "is not for the module's symbols (sh_link)",
            Self::Size => "ends within a relocation (sh_size)",
            Self::Alignment => "is not aligned (sh_addralign)",
            Self::Outside => "is not in the module's memory",
            Self::NoTarget => "is for a section that is not loaded (sh_info)",
            Self::TargetKind => "is for a section that cannot be relocated (sh_info)",
            Self::TargetOutside => "is for a section that does not stay in memory (sh_info)",
            Self::Symbol => "names a symbol that does not exist (r_info)",
            Self::Offset => "is not within its section (r_offset)",
        }
    }
}

/// When the relocations of a section are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// While the module is loaded, and never again: those for vmlinux.
    Load,
    /// Whenever their object comes, and cleared when it goes: those for a module.
    Later,
}

/// A section of relocations and the section that they are for, both of which make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Where the relocations are.
    pub(crate) addr: u64,
    /// How many there are.
    pub(crate) count: usize,
    /// Where the section to be relocated is.
    target: Memory,
}

/// Whether the module loader loads a section, so that it can be relocated.
///
/// The section of per-CPU variables, of which `is_percpu` is to tell, is not marked any more: the
/// loader relocates the copy in the file, before each CPU gets its own.
pub(crate) fn is_loaded(target: Option<&Header>, is_percpu: bool) -> bool {
    target.is_some_and(|target| target.flags & SHF_ALLOC != 0 || is_percpu)
}

/// Checks a section of relocations and the one that it is for.
///
/// `memory` is what the module has, and, for [`When::Later`], will still have when it has run its
/// init function. `target` is the section number `header.info`, if there is one.
pub(crate) fn check_section(
    header: &Header,
    target: Option<&Header>,
    symbol_section: u32,
    memory: &[Memory],
    when: When,
) -> Result<Table, Bad> {
    let is_kept = |header: &Header| memory.iter().any(|one| one.has(header.addr, header.size));

    if header.kind != SHT_RELA {
        return Err(Bad::Kind);
    }
    if header.flags & SHF_ALLOC == 0 {
        return Err(Bad::NotKept);
    }
    if header.link != symbol_section {
        return Err(Bad::Link);
    }
    if header.size % RELA_SIZE != 0 {
        return Err(Bad::Size);
    }
    if header.addr % RELA_ALIGN != 0 {
        return Err(Bad::Alignment);
    }
    if !is_kept(header) {
        return Err(Bad::Outside);
    }

    let target = target.ok_or(Bad::NoTarget)?;
    match target.kind {
        // What is checked here and used afterwards must not change in between.
        SHT_NULL | SHT_SYMTAB | SHT_STRTAB | SHT_RELA | SHT_REL => return Err(Bad::TargetKind),
        _ => (),
    }
    if target.flags & SHF_ALLOC != 0 {
        if !is_kept(target) {
            return Err(Bad::TargetOutside);
        }
    } else if when == When::Later || target.kind != SHT_PROGBITS {
        // In the file, which goes when the module is loaded. That the section is within the file
        // is checked by the loader, if it has contents.
        return Err(Bad::TargetOutside);
    }

    Ok(Table {
        addr: header.addr,
        count: usize::try_from(header.size / RELA_SIZE).map_err(|_| Bad::Size)?,
        target: Memory {
            start: target.addr,
            size: target.size,
        },
    })
}

/// The number of the symbol of a relocation.
pub(crate) fn symbol(info: u64) -> usize {
    (info >> 32) as usize
}

/// Checks a relocation of `table`, and returns the number of its symbol.
///
/// `read` returns the instruction, of 4 bytes, at an address within the section to be relocated.
pub(crate) fn check(
    machine: Machine,
    table: &Table,
    offset: u64,
    info: u64,
    symbols: usize,
    read: impl FnOnce(u64) -> u32,
) -> Result<usize, Bad> {
    let symbol = symbol(info);
    if symbol >= symbols {
        return Err(Bad::Symbol);
    }

    let kind = info as u32;
    let size = table.target.size;
    if !fits(offset, machine.width(kind), size) {
        return Err(Bad::Offset);
    }
    if machine.may_be_call(kind) {
        let addr = table.target.start.checked_add(offset);
        let is_call = is_powerpc_call(read(addr.ok_or(Bad::Offset)?));
        if is_call && !fits(offset, 2 * POWERPC_INSTRUCTION, size) {
            return Err(Bad::Offset);
        }
    }
    Ok(symbol)
}

const POWERPC_INSTRUCTION: u64 = 4;

/// Whether an instruction is a relative branch that leaves an address to return to.
///
/// The instruction after it is one to be replaced, too: a nop, which is to restore r2.
fn is_powerpc_call(instruction: u32) -> bool {
    instruction & 0xfc00_0003 == 0x4800_0001
}

/// The architectures that have livepatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    S390,
    Powerpc64,
    Arm64,
    LoongArch,
}

impl Machine {
    /// The one with this number in the header of ELF files.
    pub(crate) const fn of(number: u32) -> Option<Self> {
        match number {
            62 => Some(Self::X86_64),
            22 => Some(Self::S390),
            21 => Some(Self::Powerpc64),
            183 => Some(Self::Arm64),
            258 => Some(Self::LoongArch),
            _ => None,
        }
    }

    /// How many bytes a relocation of type `kind` reads or writes at least, at its offset.
    ///
    /// For types that the architecture's code refuses: 1, so that the offset makes sense anyway.
    fn width(self, kind: u32) -> u64 {
        match self {
            Self::X86_64 => match kind {
                0 => 0,               // NONE
                1 | 24 => 8,          // 64, PC64
                2 | 4 | 10 | 11 => 4, // PC32, PLT32, 32, 32S
                _ => 1,
            },
            Self::S390 => match kind {
                0 => 0,                   // NONE
                1 => 1,                   // 8
                2 | 3 | 6 | 15..=18 => 2, // 12, 16, GOT12, GOT16, PC16, PC16DBL, PLT16DBL
                4 | 5 | 7 | 8 => 4,       // 32, PC32, GOT32, PLT32
                13 | 14 | 19..=21 => 4,   // GOTOFF32, GOTPC, PC32DBL, PLT32DBL, GOTPCDBL
                22..=25 | 28 => 8,        // 64, PC64, GOT64, PLT64, GOTOFF64
                26 | 31 | 33 | 35 => 4,   // GOTENT, GOTPLT32, GOTPLTENT, PLTOFF32
                27 | 29 | 30 | 34 => 2,   // GOTOFF16, GOTPLT12, GOTPLT16, PLTOFF16
                32 | 36 => 8,             // GOTPLT64, PLTOFF64
                57..=59 => 4,             // 20, GOT20, GOTPLT20
                _ => 1,
            },
            Self::Powerpc64 => match kind {
                0 | 109 => 0,           // NONE, TOCSAVE
                1 | 10 | 26 | 116 => 4, // ADDR32, REL24, REL32, REL24_NOTOC
                38 | 44 | 51 => 8,      // ADDR64, REL64, TOC
                47..=50 | 63 | 64 => 2, // TOC16, _LO, _HI, _HA, _DS, _LO_DS
                118 | 132 | 133 => 8,   // ENTRY, PCREL34, GOT_PCREL34
                249..=252 => 2,         // REL16, _LO, _HI, _HA
                _ => 1,
            },
            Self::Arm64 => match kind {
                0 | 256 => 0,   // NONE
                257 | 260 => 8, // ABS64, PREL64
                259 | 262 => 2, // ABS16, PREL16
                258 | 261 => 4, // ABS32, PREL32
                263..=299 => 4, // those of instructions
                _ => 1,
            },
            Self::LoongArch => match kind {
                0 | 20..=37 => 0,       // NONE, marks, and what only calculates
                2 | 51 | 56 | 109 => 8, // 64, ADD64, SUB64, 64_PCREL
                1 | 50 | 55 | 99 => 4,  // 32, ADD32, SUB32, 32_PCREL
                38..=46 => 4,           // SOP_POP_32_*
                64..=98 | 103 => 4,     // those of an instruction
                110 | 127 => 8,         // CALL36, CALL30: of two
                111..=119 | 128..=139 => 4,
                _ => 1,
            },
        }
    }

    /// Whether the instruction after the one to be relocated may be replaced, too.
    fn may_be_call(self, kind: u32) -> bool {
        self == Self::Powerpc64 && kind == 10 // REL24
    }
}

/// Returns the string at `offset` of a table of strings, without the nul.
pub(crate) fn string(table: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(offset).ok()?..)?;
    rest.get(..rest.iter().position(|&byte| byte == 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: [Memory; 2] = [
        Memory {
            start: 0x1000,
            size: 0x1000,
        },
        Memory {
            start: 0x8000,
            size: 0x100,
        },
    ];
    const SYMBOLS: u32 = 5;

    const RELAS: Header = Header {
        kind: SHT_RELA,
        flags: SHF_ALLOC,
        addr: 0x8000,
        size: 2 * RELA_SIZE,
        link: SYMBOLS,
        info: 1,
    };
    const TEXT: Header = Header {
        kind: SHT_PROGBITS,
        flags: SHF_ALLOC,
        addr: 0x1100,
        size: 0x20,
        link: 0,
        info: 0,
    };

    fn section(header: Header, target: Header) -> Result<Table, Bad> {
        check_section(&header, Some(&target), SYMBOLS, &MEMORY, When::Later)
    }

    fn table() -> Table {
        section(RELAS, TEXT).unwrap()
    }

    fn info(symbol: u64, kind: u64) -> u64 {
        symbol << 32 | kind
    }

    fn x86(offset: u64, info: u64) -> Result<usize, Bad> {
        check(
            Machine::X86_64,
            &table(),
            offset,
            info,
            7,
            |_| unreachable!(),
        )
    }

    #[test]
    fn good_sections_are_accepted() {
        assert_eq!(
            table(),
            Table {
                addr: 0x8000,
                count: 2,
                target: Memory {
                    start: 0x1100,
                    size: 0x20
                }
            }
        );
        let empty = Header { size: 0, ..RELAS };
        assert_eq!(section(empty, TEXT).unwrap().count, 0);
    }

    #[test]
    fn each_field_of_a_section_counts() {
        let bad = |header| section(header, TEXT).unwrap_err();
        for kind in [SHT_NULL, SHT_PROGBITS, 8, SHT_REL] {
            assert_eq!(bad(Header { kind, ..RELAS }), Bad::Kind);
        }
        assert_eq!(bad(Header { flags: 0, ..RELAS }), Bad::NotKept);
        assert_eq!(bad(Header { link: 0, ..RELAS }), Bad::Link);
        for size in [1, 23, 25, u64::MAX] {
            assert_eq!(bad(Header { size, ..RELAS }), Bad::Size);
        }
        for addr in [0x8001, 0x8004] {
            assert_eq!(bad(Header { addr, ..RELAS }), Bad::Alignment);
        }
        // One relocation too many, before and after, far too many.
        for (addr, count) in [
            (0x8000, 11),
            (0x80d8, 2),
            (0x7ff8, 1),
            (0, 1),
            (u64::MAX - 7, 1),
            (0x8000, u64::MAX / RELA_SIZE),
        ] {
            let size = count * RELA_SIZE;
            assert_eq!(
                bad(Header {
                    addr,
                    size,
                    ..RELAS
                }),
                Bad::Outside
            );
        }
    }

    #[test]
    fn each_field_of_the_target_counts() {
        let bad = |target| section(RELAS, target).unwrap_err();
        assert_eq!(
            check_section(&RELAS, None, SYMBOLS, &MEMORY, When::Later),
            Err(Bad::NoTarget)
        );
        for kind in [SHT_NULL, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_REL] {
            assert_eq!(bad(Header { kind, ..TEXT }), Bad::TargetKind);
        }
        assert_eq!(bad(Header { flags: 0, ..TEXT }), Bad::TargetOutside);
        for (addr, size) in [(0x1fff, 2), (0xfff, 1), (0x1100, u64::MAX), (u64::MAX, 1)] {
            assert_eq!(bad(Header { addr, size, ..TEXT }), Bad::TargetOutside);
        }
    }

    #[test]
    fn per_cpu_variables_are_relocated_in_the_file() {
        let percpu = Header { flags: 0, ..TEXT };
        let check = |target| check_section(&RELAS, Some(target), SYMBOLS, &MEMORY, When::Load);
        assert_eq!(check(&percpu), Ok(table()));
        // Where a section without contents would be in the file is not checked by the loader.
        let bss = Header { kind: 8, ..percpu };
        assert_eq!(check(&bss), Err(Bad::TargetOutside));

        assert!(is_loaded(Some(&TEXT), false));
        assert!(is_loaded(Some(&percpu), true));
        assert!(!is_loaded(Some(&percpu), false));
        assert!(!is_loaded(None, false));
    }

    #[test]
    fn symbols_are_counted() {
        assert_eq!(x86(0, info(6, 1)), Ok(6));
        for symbol in [7, 8, 0x8000_0000, 0xffff_ffff] {
            assert_eq!(x86(0, info(symbol, 1)), Err(Bad::Symbol));
        }
    }

    #[test]
    fn places_end_within_the_section() {
        for (kind, last) in [(0, 0x20), (1, 0x18), (2, 0x1c), (24, 0x18), (77, 0x1f)] {
            assert_eq!(x86(last, info(1, kind)), Ok(1));
            for offset in [last + 1, 0x21, 0x1000, u64::MAX, u64::MAX - 3, u64::MAX - 7] {
                assert_eq!(x86(offset, info(1, kind)), Err(Bad::Offset));
            }
        }
    }

    #[test]
    fn a_call_on_powerpc_needs_the_next_instruction() {
        const BL: u32 = 0x4800_0001;
        const B: u32 = 0x4800_0000;
        const BLA: u32 = 0x4800_0003;
        let rel24 = |offset, instruction| {
            check(
                Machine::Powerpc64,
                &table(),
                offset,
                info(1, 10),
                7,
                |addr| {
                    assert_eq!(addr, 0x1100 + offset);
                    instruction
                },
            )
        };
        for instruction in [BL, B, BLA] {
            assert_eq!(rel24(0x18, instruction), Ok(1));
            assert_eq!(rel24(0x1d, instruction), Err(Bad::Offset));
        }
        assert_eq!(rel24(0x1c, BL), Err(Bad::Offset));
        assert_eq!(rel24(0x1c, B), Ok(1));
        assert_eq!(rel24(0x1c, BLA), Ok(1));
    }

    #[test]
    fn machines_have_numbers() {
        assert_eq!(Machine::of(62), Some(Machine::X86_64));
        assert_eq!(Machine::of(258), Some(Machine::LoongArch));
        assert_eq!(Machine::of(3), None);
    }

    #[test]
    fn strings_end_within_the_table() {
        let table = b"\0one\0two";
        assert_eq!(string(table, 0), Some(&b""[..]));
        assert_eq!(string(table, 1), Some(&b"one"[..]));
        assert_eq!(string(table, 2), Some(&b"ne"[..]));
        assert_eq!(string(table, 5), None);
        assert_eq!(string(table, 8), None);
        assert_eq!(string(table, u32::MAX), None);
        assert_eq!(string(b"", 0), None);
    }
}
