// SPDX-License-Identifier: GPL-2.0

//! Relocations and names with random damage, for the host's tests.
//!
//! A module is made in a memory of its own, damaged, and checked. Whatever is accepted is then
//! applied, byte by byte, by a plain imitation of what the architectures' code does, to which only
//! the bytes exist that the module has. The numbers are random, and the same in each run; or a
//! fuzzer that follows the branches of the code chooses them (`make fuzz-decisions`).

use crate::{names, rela};
use rela::{Bad, Header, Machine, Memory, When, RELA_SIZE};

/// Numbers: those that are given, then those of a generator (SplitMix64).
pub(crate) struct Random<'a> {
    given: &'a [u8],
    state: u64,
}

impl<'a> Random<'a> {
    /// Random numbers only.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            given: &[],
            state: seed,
        }
    }

    /// These bytes first, eight for each number.
    pub(crate) fn given(given: &'a [u8]) -> Self {
        Self { given, state: 0 }
    }

    fn next(&mut self) -> u64 {
        if let Some((number, rest)) = self.given.split_first_chunk() {
            self.given = rest;
            return u64::from_le_bytes(*number);
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A number that is near another, or at an end of the range, or has a wrong bit, or any.
    fn odd(&mut self, value: u64) -> u64 {
        match self.below(6) {
            0 => value.wrapping_add(self.next() % 33).wrapping_sub(16),
            1 => value ^ 1 << self.below(64),
            2 => (self.next() % 33).wrapping_sub(16),
            3 => (1 << self.below(64)) - self.next() % 2,
            4 => self.next() % 0x400,
            _ => self.next(),
        }
    }
}

/// The types of relocations that the architectures' code applies, and how many bytes it touches:
/// from `arch/*/kernel/module*.c`.
const APPLIED: [(Machine, &[(u32, u64)]); 5] = [
    (
        Machine::X86_64,
        &[(0, 0), (1, 8), (2, 4), (4, 4), (10, 4), (11, 4), (24, 8)],
    ),
    (
        Machine::S390,
        &[
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 4),
            (5, 4),
            (6, 2),
            (7, 4),
            (8, 4),
            (13, 4),
            (14, 4),
            (15, 2),
            (16, 2),
            (17, 2),
            (18, 2),
            (19, 4),
            (20, 4),
            (21, 4),
            (22, 8),
            (23, 8),
            (24, 8),
            (25, 8),
            (26, 4),
            (27, 2),
            (28, 8),
            (29, 2),
            (30, 2),
            (31, 4),
            (32, 8),
            (33, 4),
            (34, 2),
            (35, 4),
            (36, 8),
            (57, 4),
            (58, 4),
            (59, 4),
        ],
    ),
    (
        Machine::Powerpc64,
        &[
            (1, 4),
            (10, 4),
            (26, 4),
            (38, 8),
            (44, 8),
            (47, 2),
            (48, 2),
            (50, 2),
            (51, 8),
            (63, 2),
            (64, 2),
            (109, 0),
            (116, 4),
            (118, 8),
            (132, 8),
            (133, 8),
            (250, 2),
            (252, 2),
        ],
    ),
    (
        Machine::Arm64,
        &[
            (0, 0),
            (256, 0),
            (257, 8),
            (258, 4),
            (259, 2),
            (260, 8),
            (261, 4),
            (262, 2),
            (263, 4),
            (269, 4),
            (274, 4),
            (276, 4),
            (279, 4),
            (282, 4),
            (283, 4),
            (286, 4),
            (293, 4),
            (299, 4),
        ],
    ),
    (
        Machine::LoongArch,
        &[
            (0, 0),
            (1, 4),
            (2, 8),
            (20, 0),
            (22, 0),
            (29, 0),
            (37, 0),
            (38, 4),
            (46, 4),
            (50, 4),
            (51, 8),
            (55, 4),
            (56, 8),
            (66, 4),
            (71, 4),
            (74, 4),
            (75, 4),
            (76, 4),
            (99, 4),
            (109, 8),
            (128, 4),
            (131, 4),
        ],
    ),
];

/// A call on powerpc, and an instruction that is none.
const BL: u32 = 0x4800_0001;
const NOP: u32 = 0x6000_0000;

/// A module as the loader has placed it.
struct Module {
    machine: Machine,
    types: &'static [(u32, u64)],
    when: When,
    headers: Vec<Header>,
    symbol_section: u32,
    symbols: usize,
    /// The pieces of memory that it has, each with its contents.
    memory: Vec<(u64, Vec<u8>)>,
    /// The section of relocations.
    index: usize,
}

impl Module {
    fn new(random: &mut Random<'_>) -> Self {
        let (machine, types) = random.one_of(&APPLIED);
        let section = |kind, flags, addr, size, link, info| Header {
            kind,
            flags,
            addr,
            size,
            link,
            info,
        };
        let start = random.one_of(&[0x1000, 0xffff_ffff_a000_0000, 0xffff_ffff_ffff_f000]);
        let text_size = random.one_of(&[8, 16, 64]);
        let count = random.next() % 4;
        let tables = start + 0x800;
        let headers = vec![
            section(0, 0, 0, 0, 0, 0),
            section(1, 6, start + 0x10, text_size, 0, 0),
            section(2, 2, start + 0x400, 0x60, 3, 1),
            section(3, 2, start + 0x500, 0x40, 0, 0),
            section(4, 0x10_0002, tables, count * RELA_SIZE, 2, 1),
            section(1, 0, 0x10_0000, 16, 0, 0),
        ];
        let mut module = Self {
            machine,
            types,
            when: random.one_of(&[When::Load, When::Later]),
            headers,
            symbol_section: 2,
            symbols: 4,
            memory: vec![
                (start, vec![0; 0x600]),
                // To the end of the address space, where `start` is high.
                (tables, vec![0; 0x7ff]),
                // The file.
                (0x10_0000, vec![0; 16]),
            ],
            index: 4,
        };
        for i in 0..count {
            let (kind, width) = random.one_of(types);
            let offset = (random.next() % (text_size - width.min(text_size) + 1)) & !3;
            let info = (random.next() % 4) << 32 | u64::from(kind);
            module.set_relocation(tables + i * RELA_SIZE, offset, info);
        }
        if machine == Machine::Powerpc64 {
            for at in (0..text_size).step_by(4) {
                let instruction = random.one_of(&[BL, NOP]);
                module.write(start + 0x10 + at, &instruction.to_ne_bytes());
            }
        }
        module
    }

    /// The byte at an address, if it is in one of the pieces. In 128 bits nothing overflows.
    fn byte(&mut self, addr: u64) -> Option<&mut u8> {
        self.memory.iter_mut().find_map(|(start, bytes)| {
            let at = u128::from(addr).checked_sub(u128::from(*start))?;
            bytes.get_mut(at as usize)
        })
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            *self
                .byte(addr + i as u64)
                .expect("a write outside of the module") = byte;
        }
    }

    fn read<const N: usize>(&mut self, addr: u64) -> [u8; N] {
        core::array::from_fn(|i| {
            *self
                .byte(addr + i as u64)
                .expect("a read outside of the module")
        })
    }

    fn relocation(&mut self, addr: u64) -> (u64, u64) {
        let offset = u64::from_ne_bytes(self.read(addr));
        let info = u64::from_ne_bytes(self.read(addr + 8));
        // The addend.
        self.read::<8>(addr + 16);
        (offset, info)
    }

    fn set_relocation(&mut self, addr: u64, offset: u64, info: u64) {
        self.write(addr, &offset.to_ne_bytes());
        self.write(addr + 8, &info.to_ne_bytes());
    }

    /// Changes something.
    fn damage(&mut self, random: &mut Random<'_>) {
        match random.below(10) {
            // A relocation, if there is one where the section was.
            0..4 => {
                let tables = self.memory[1].0;
                let addr = tables + random.next() % 4 * RELA_SIZE;
                let (offset, info) = self.relocation(addr);
                match random.below(3) {
                    0 => self.set_relocation(addr, random.odd(offset), info),
                    1 => self.set_relocation(addr, offset, random.odd(info)),
                    _ => {
                        let symbol = random.odd(info >> 32) << 32;
                        self.set_relocation(addr, offset, symbol | info & 0xffff_ffff);
                    }
                }
            }
            // A header: most often the one of the relocations.
            4..8 => {
                let index = random.one_of(&[self.index, self.index, 1, 5]);
                let header = &mut self.headers[index];
                match random.below(6) {
                    0 => header.kind = random.odd(header.kind.into()) as u32,
                    1 => header.flags = random.odd(header.flags),
                    2 => header.addr = random.odd(header.addr),
                    3 => header.size = random.odd(header.size),
                    4 => header.link = random.odd(header.link.into()) as u32,
                    _ => header.info = random.odd(header.info.into()) as u32,
                }
            }
            8 => self.headers[self.index].info = random.next() as u32 % 7,
            _ => self.symbols = random.one_of(&[0, 1, 2, 3, 5]),
        }
    }

    /// What the loader sees to before: what is not loaded, but has contents, is in the file, which
    /// is gone later; and no section is where the relocations are.
    fn place(&mut self) {
        let file = &self.memory[2];
        for header in &mut self.headers {
            if header.flags & 2 == 0 && header.kind != 0 && header.kind != 8 {
                header.addr = file.0;
                header.size = header.size.min(file.1.len() as u64);
            }
        }
        if self.when == When::Later {
            self.memory.truncate(2);
        }
        let end = |header: &Header| u128::from(header.addr) + u128::from(header.size);
        let tables = self.headers[self.index];
        for header in &mut self.headers {
            if header.kind == 1
                && u128::from(header.addr) < end(&tables)
                && u128::from(tables.addr) < end(header)
            {
                header.addr = self.memory[0].0;
            }
        }
    }

    /// Checks everything, and returns how many relocations there are.
    fn check(&mut self) -> Result<usize, Bad> {
        let header = self.headers[self.index];
        let target = self.headers.get(header.info as usize).copied();
        // The file is not the module's.
        let memory: Vec<Memory> = self.memory[..2]
            .iter()
            .map(|(start, bytes)| Memory {
                start: *start,
                size: bytes.len() as u64,
            })
            .collect();
        let table = rela::check_section(
            &header,
            target.as_ref(),
            self.symbol_section,
            &memory,
            self.when,
        )?;
        for i in 0..table.count {
            // Read as the kernel does: without any further question.
            let (offset, info) = self.relocation(table.addr + i as u64 * RELA_SIZE);
            let (machine, symbols) = (self.machine, self.symbols);
            let read = |addr| u32::from_ne_bytes(self.read(addr));
            let symbol = rela::check(machine, &table, offset, info, symbols, read)?;
            assert_eq!(symbol as u64, info >> 32);
        }
        Ok(table.count)
    }

    /// Applies the relocations, which were accepted; returns how many bytes it has written.
    fn apply(&mut self, count: usize) -> usize {
        let table = self.headers[self.index].addr;
        let target = self.headers[self.headers[self.index].info as usize];
        let start = u128::from(target.addr);
        let in_target = start..start + u128::from(target.size);
        let mut written = 0;
        for i in 0..count {
            let (offset, info) = self.relocation(table + i as u64 * RELA_SIZE);
            assert!((0..self.symbols).any(|number| number as u64 == info >> 32));
            let kind = info as u32;
            let Some(&(_, mut width)) = self.types.iter().find(|(one, _)| *one == kind) else {
                // The architecture's code refuses it.
                continue;
            };
            // In 64 bits, as the kernel adds: a large offset comes out before the section.
            let addr = target.addr.wrapping_add(offset);
            if self.machine == Machine::Powerpc64
                && kind == 10
                && self.read(addr) == BL.to_ne_bytes()
            {
                width = 8;
            }
            for i in 0..width {
                let addr = addr.wrapping_add(i);
                assert!(
                    in_target.contains(&u128::from(addr)),
                    "a write outside of the section"
                );
                let byte: [u8; 1] = self.read(addr);
                // A call stays one.
                if self.machine != Machine::Powerpc64 {
                    self.write(addr, &[!byte[0]]);
                }
                written += 1;
            }
        }
        written
    }
}

/// A module with damage: checked, and, if it is accepted, relocated. Returns how many bytes that
/// has written.
pub(crate) fn one_module(random: &mut Random<'_>) -> Result<usize, Bad> {
    let mut module = Module::new(random);
    for _ in 0..random.below(4) {
        module.damage(random);
    }
    module.place();
    let count = module.check()?;
    Ok(module.apply(count))
}

/// A name with damage. Returns what [`check_name`] does.
pub(crate) fn one_name(random: &mut Random<'_>) -> (bool, bool) {
    const GOOD: [&[u8]; 4] = [
        b".klp.sym.vmlinux.printk,0",
        b".klp.sym.ext4.foo.isra.0,18446744073709551615",
        b".klp.rela.vmlinux..text",
        b".klp.rela.ext4.text.foo",
    ];
    let mut table = random.one_of(&GOOD).to_vec();
    table.push(0);
    for _ in 0..random.below(4) {
        let at = random.below(table.len());
        match random.below(4) {
            0 => table[at] = random.one_of(b".,0189 \0\xffk"),
            1 => table[at] = random.next() as u8,
            2 => table.insert(at, random.one_of(b".,9\0")),
            _ if table.len() > 1 => {
                table.remove(at);
            }
            _ => (),
        }
    }
    let offset = random.one_of(&[0, 0, 0, 1, 5, table.len() as u32, u32::MAX]);
    check_name(&table, offset)
}

/// Takes a name from a table of strings, and apart. Returns whether it is that of a symbol, and
/// whether it is that of a section.
pub(crate) fn check_name(table: &[u8], offset: u32) -> (bool, bool) {
    let Some(name) = rela::string(table, offset) else {
        let rest = table.iter().skip(offset as usize);
        assert!(rest.into_iter().all(|&byte| byte != 0));
        return (false, false);
    };
    assert!(!name.contains(&0));
    assert_eq!(table[offset as usize + name.len()], 0);
    assert_eq!(&table[offset as usize..offset as usize + name.len()], name);
    let symbol = names::parse_symbol(name);
    if let Some(symbol) = &symbol {
        // Put together again, it is what the name begins with, but for zeros of the number.
        let mut text = b".klp.sym.".to_vec();
        text.extend(symbol.object);
        text.push(b'.');
        text.extend(symbol.symbol);
        text.push(b',');
        assert!(name.starts_with(&text));
        assert!(!symbol.object.contains(&b'.') && !symbol.symbol.contains(&b','));
        let number = String::from_utf8_lossy(&name[text.len()..]).into_owned();
        let digits = number.trim_start_matches('0');
        assert!(symbol.sympos == 0 || digits.starts_with(&symbol.sympos.to_string()));
    }
    let section = names::parse_section(name);
    if let Some(object) = section {
        assert!(!object.is_empty() && !object.contains(&b'.'));
        assert!(name[b".klp.rela.".len()..].starts_with(object));
    }
    (symbol.is_some(), section.is_some())
}

#[test]
fn what_is_accepted_is_in_bounds() {
    let mut random = Random::new(11);
    let (mut accepted, mut written) = (0, 0);
    let mut refused = std::collections::HashMap::new();
    for _ in 0..200_000 {
        match one_module(&mut random) {
            Ok(bytes) => {
                accepted += 1;
                written += bytes;
            }
            Err(bad) => *refused.entry(bad.text()).or_insert(0) += 1,
        }
    }
    // The damage is neither too great nor too small to find anything by.
    println!("{accepted} accepted, {written} bytes written, refused: {refused:#?}");
    assert!(accepted > 20_000 && written > 100_000);
    assert_eq!(refused.len(), 11);
    assert!(refused.values().all(|&count| count > 100));
}

#[test]
fn undamaged_modules_are_accepted() {
    let mut random = Random::new(12);
    for _ in 0..2_000 {
        let mut module = Module::new(&mut random);
        match module.check() {
            Ok(count) => {
                module.apply(count);
            }
            // A call that is the last instruction of all, by chance.
            Err(bad) => assert!(bad == Bad::Offset && module.machine == Machine::Powerpc64),
        }
    }
}

#[test]
fn damaged_names_are_no_danger() {
    let mut random = Random::new(13);
    let (mut symbols, mut sections) = (0, 0);
    for _ in 0..200_000 {
        let (symbol, section) = one_name(&mut random);
        symbols += u32::from(symbol);
        sections += u32::from(section);
    }
    assert!(symbols > 10_000 && sections > 10_000);
}
