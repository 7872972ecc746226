// SPDX-License-Identifier: GPL-2.0

//! The ELF file that a livepatch module has come in, as far as the loader has kept it: the headers
//! of its sections, and its symbols.
//!
//! All architectures that have livepatch are 64 bits wide.
//!
//! C header: [`include/linux/elf.h`](srctree/include/linux/elf.h)

use crate::{
    module::Module,
    rela::{self, Bad, Header, Machine, Memory, Table, When}, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{c_char, c_uint},
    prelude::*, //
};

use core::slice;

/// The architecture whose types of relocations these are.
const MACHINE: Machine = match Machine::of(bindings::KLP_ELF_ARCH) {
    Some(machine) => machine,
    None => panic!("the widths of this architecture's relocations are not known"),
};

const _: () = assert!(size_of::<bindings::Elf64_Rela>() as u64 == rela::RELA_SIZE);

/// The sections of a module.
///
/// # Invariants
///
/// - `headers` points to `count` headers of the sections of `module`, which do not change.
/// - `section_names` is what the headers' `sh_name` are offsets into. The module loader has checked
///   that the names of all sections but those of type `SHT_NULL` lie in it and end there.
/// - `symbols` points to `symbol_count` symbols, aligned, whose section is number `symbol_section`,
///   and which no other code uses now.
pub(crate) struct Sections<'a> {
    module: &'a Module,
    headers: *mut bindings::Elf64_Shdr,
    count: c_uint,
    section_names: *const c_char,
    symbol_names: &'a [u8],
    symbol_section: c_uint,
    symbols: *mut bindings::Elf64_Sym,
    symbol_count: usize,
}

/// A symbol, by its number. There is one of that number.
#[derive(Clone, Copy)]
pub(crate) struct Symbol(usize);

/// A section of relocations that lies in the module's memory, as the one that it is for does.
///
/// # Invariants
///
/// `rela::check_section` has returned the table for section `index` of the module.
pub(crate) struct RelaSection {
    index: c_uint,
    table: Table,
}

impl RelaSection {
    /// The number of the section.
    pub(crate) fn index(&self) -> c_uint {
        self.index
    }

    /// The relocations. No reference is handed out, as the section is the module's.
    pub(crate) fn relocations(&self) -> impl Iterator<Item = Relocation> {
        let first = self.table.addr as *const bindings::Elf64_Rela;
        (0..self.table.count).map(move |index| {
            // SAFETY: By the type's invariants there are that many, aligned.
            let one = unsafe { first.add(index).read() };
            Relocation {
                offset: one.r_offset,
                info: one.r_info,
            }
        })
    }

    /// Returns the symbol of a relocation of this section, of `count` symbols.
    ///
    /// # Errors
    ///
    /// What is wrong with the relocation.
    pub(crate) fn symbol_of(&self, relocation: Relocation, count: usize) -> Result<usize, Bad> {
        let Relocation { offset, info } = relocation;
        rela::check(MACHINE, &self.table, offset, info, count, |addr| {
            // SAFETY: The address is one of 4 bytes in a section that is in memory.
            u32::from_ne_bytes(unsafe { (addr as *const [u8; 4]).read_volatile() })
        })
    }
}

/// A relocation: where, and what by which symbol.
#[derive(Clone, Copy)]
pub(crate) struct Relocation {
    pub(crate) offset: u64,
    pub(crate) info: u64,
}

impl<'a> Sections<'a> {
    /// Those of a livepatch module that is loaded. `None` if it has none.
    ///
    /// # Errors
    ///
    /// `ENOEXEC`: the symbols are not aligned.
    pub(crate) fn of(module: &'a Module) -> Result<Option<Self>> {
        let Some(info) = module.elf_info() else {
            return Ok(None);
        };
        let kallsyms = module.symbols();

        // The types of the symbols begin where their names end.
        let size = (kallsyms.typetab as usize).saturating_sub(kallsyms.strtab as usize);
        // SAFETY: The names are there, and stay as they are for as long as the module is loaded.
        let symbol_names = unsafe { slice::from_raw_parts(kallsyms.strtab.cast::<u8>(), size) };

        // INVARIANT: The loader has copied the headers and the names of the sections for this, and
        // `copy_module_elf()` says that all symbols are in `core_kallsyms`; `klp_mutex` is held.
        Self {
            module,
            headers: info.sechdrs,
            count: c_uint::from(info.hdr.e_shnum),
            section_names: info.secstrings,
            symbol_names,
            symbol_section: info.symndx,
            symbols: kallsyms.symtab,
            symbol_count: kallsyms.num_symtab as usize,
        }
        .aligned()
        .map(Some)
    }

    /// Those of a module that is being loaded, as far as section `index` needs them.
    ///
    /// # Errors
    ///
    /// `ENOEXEC`: the symbols are not aligned.
    ///
    /// # Safety
    ///
    /// To be called for the module loader, with what it knows of `module`, once it has checked that
    /// the `sh_info` of section `index` is the number of a section.
    pub(crate) unsafe fn loading(
        module: &'a Module,
        headers: *mut bindings::Elf64_Shdr,
        section_names: *const c_char,
        symbol_names: *const c_char,
        symbol_section: c_uint,
        index: c_uint,
    ) -> Result<Self> {
        // SAFETY: The loader has given numbers of sections.
        let header = |index: c_uint| unsafe { &*headers.add(index as usize) };
        let symbols = header(symbol_section);
        // The loader has checked `sh_link` before it has read the names of symbols.
        let names_size = header(symbols.sh_link).sh_size as usize;
        // SAFETY: They are the names, with this size, in the copy of the file.
        let symbol_names = unsafe { slice::from_raw_parts(symbol_names.cast::<u8>(), names_size) };

        // INVARIANT: The headers are the loader's, of which there are as many as the highest number
        // says that it has checked; the symbols and the names, too.
        Self {
            module,
            headers,
            count: index
                .max(symbol_section)
                .max(header(index).sh_info)
                .saturating_add(1),
            section_names,
            symbol_names,
            symbol_section,
            symbols: symbols.sh_addr as *mut bindings::Elf64_Sym,
            symbol_count: symbols.sh_size as usize / size_of::<bindings::Elf64_Sym>(),
        }
        .aligned()
    }

    /// Refuses symbols that cannot be read where they are.
    fn aligned(self) -> Result<Self> {
        if self.symbols.is_aligned() {
            return Ok(self);
        }
        pr_err!("the table of symbols is not aligned\n");
        Err(ENOEXEC)
    }

    /// The numbers of all sections but the first, which is none.
    pub(crate) fn indices(&self) -> impl Iterator<Item = c_uint> {
        1..self.count
    }

    /// The number of the section that the symbols are in.
    pub(crate) fn symbol_section(&self) -> c_uint {
        self.symbol_section
    }

    /// The number of symbols.
    pub(crate) fn symbol_count(&self) -> usize {
        self.symbol_count
    }

    fn raw_header(&self, index: c_uint) -> Option<&bindings::Elf64_Shdr> {
        // SAFETY: By the type's invariants there are `count` headers.
        (index < self.count).then(|| unsafe { &*self.headers.add(index as usize) })
    }

    /// The header of section `index`, if there is one.
    pub(crate) fn header(&self, index: c_uint) -> Option<Header> {
        let header = self.raw_header(index)?;
        Some(Header {
            kind: header.sh_type,
            flags: header.sh_flags,
            addr: header.sh_addr,
            size: header.sh_size,
            link: header.sh_link,
            info: header.sh_info,
        })
    }

    /// The name of section `index`, unless it is one of type `SHT_NULL`, whose name means nothing.
    pub(crate) fn name(&self, index: c_uint) -> Option<&'a CStr> {
        let header = self.raw_header(index)?;
        if header.sh_type == bindings::SHT_NULL {
            return None;
        }
        // SAFETY: By the type's invariants the name lies in the table and ends with a nul.
        Some(unsafe { CStr::from_char_ptr(self.section_names.add(header.sh_name as usize)) })
    }

    /// The memory of the module that is there when relocations are applied at this time.
    fn memory(&self, when: When) -> [Memory; Module::MEMORIES] {
        core::array::from_fn(|kind| {
            if when == When::Later && kind >= Module::FIRST_INIT_MEMORY {
                return Memory { start: 0, size: 0 };
            }
            let memory = self.module.memory(kind);
            Memory {
                start: memory.start as u64,
                size: memory.len() as u64,
            }
        })
    }

    /// Returns section `index`, which must exist, as one of relocations that are applied at this
    /// time.
    ///
    /// # Errors
    ///
    /// What is wrong with the section.
    pub(crate) fn rela_section(&self, index: c_uint, when: When) -> Result<RelaSection, Bad> {
        let header = self.header(index).ok_or(Bad::Kind)?;
        let table = rela::check_section(
            &header,
            self.header(header.info).as_ref(),
            self.symbol_section,
            &self.memory(when),
            when,
        )?;
        // INVARIANT: It was just checked.
        Ok(RelaSection { index, table })
    }

    /// Symbol number `index`. There must be one.
    pub(crate) fn symbol(&self, index: usize) -> Result<Symbol> {
        if index >= self.symbol_count {
            return Err(ENOEXEC);
        }
        Ok(Symbol(index))
    }

    fn raw_symbol(&self, symbol: Symbol) -> *mut bindings::Elf64_Sym {
        self.symbols.wrapping_add(symbol.0)
    }

    /// A copy of a symbol.
    fn read(&self, symbol: Symbol) -> bindings::Elf64_Sym {
        // SAFETY: By the type's invariants it is one of the symbols.
        unsafe { *self.raw_symbol(symbol) }
    }

    /// The name of a symbol.
    pub(crate) fn symbol_name(&self, symbol: Symbol) -> Result<&'a [u8]> {
        rela::string(self.symbol_names, self.read(symbol).st_name).ok_or_else(|| {
            pr_err!("the name of a symbol is not in the table of names\n");
            ENOEXEC
        })
    }

    /// Whether a symbol is marked as one that livepatch resolves.
    pub(crate) fn is_livepatch_symbol(&self, symbol: Symbol) -> bool {
        u32::from(self.read(symbol).st_shndx) == bindings::SHN_LIVEPATCH
    }

    /// Replaces the value of a symbol, and returns the one that it had.
    pub(crate) fn replace_value(&self, symbol: Symbol, value: u64) -> u64 {
        // SAFETY: By the type's invariants it is one of the symbols, which no other code uses.
        unsafe { core::mem::replace(&mut (*self.raw_symbol(symbol)).st_value, value) }
    }

    /// Writes the relocations of a section.
    ///
    /// # Safety
    ///
    /// [`RelaSection::symbol_of`] must have returned a symbol for each of them: so what is written
    /// lies in a section of the module, and the symbols exist.
    pub(crate) unsafe fn write(&self, section: &RelaSection) -> Result {
        // SAFETY: By the requirement of this function.
        to_result(unsafe {
            bindings::apply_relocate_add(
                self.headers,
                self.symbol_names.as_ptr().cast(),
                self.symbol_section,
                section.index,
                self.module.as_ptr(),
            )
        })
    }

    /// Takes back what [`Self::write`] has written of section `index`, where the architecture needs
    /// that before it can write again.
    ///
    /// # Safety
    ///
    /// [`Self::write`] must have been called for this section, and its symbols not resolved since.
    pub(crate) unsafe fn clear(&self, index: c_uint) {
        // SAFETY: The section was checked before it was written. The architecture's code compares
        // with what was written, and stops where that is something else.
        unsafe {
            bindings::clear_relocate_add(
                self.headers,
                self.symbol_names.as_ptr().cast(),
                self.symbol_section,
                index,
                self.module.as_ptr(),
            )
        };
    }
}
