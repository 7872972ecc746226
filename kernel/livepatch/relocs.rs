// SPDX-License-Identifier: GPL-2.0

//! Relocations of livepatch modules against symbols that are not exported.
//!
//! A livepatch module may have sections `.klp.rela.OBJECT.SECTION`, whose symbols are called
//! `.klp.sym.OBJECT.SYMBOL,SYMPOS`. They are applied when the object that the section names is
//! there, and cleared when it goes, so that they can be applied to the next one.
//!
//! They come with the module and may be anything. The loader hands over each section that it can,
//! whatever object it is for: all of it is checked then, so that the module is refused before
//! anything of it runs. It is checked again before it is applied to a module that comes later.
//! What the loader has left out is refused when the patch is enabled.
//!
//! All architectures that have livepatch are 64 bits wide.

use crate::{
    abi::{self, Object, Patch},
    names,
    rela::{self, Bad, Header, Machine, Memory, When},
    symbols,
};
use kernel::{
    bindings,
    ffi::{c_char, c_int, c_uint, c_ulong, c_void},
    prelude::*,
    str::{BStr, CString}, //
};

use core::{ptr, slice};

/// The architecture whose types of relocations these are.
const MACHINE: Machine = match Machine::of(bindings::KLP_ELF_ARCH) {
    Some(machine) => machine,
    None => panic!("the widths of this architecture's relocations are not known"),
};

const _: () = assert!(size_of::<bindings::Elf64_Rela>() as u64 == rela::RELA_SIZE);

/// The number of kinds of memory that a module has, the last of which it has only until it has run
/// its init function.
const MEMORIES: usize = bindings::mod_mem_type_MOD_MEM_NUM_TYPES as usize;

/// What is in the relocation sections of a module.
///
/// # Invariants
///
/// - `module` is valid, and `headers` points to `count` headers of its sections, which nobody
///   writes.
/// - `section_names` is what the headers' `sh_name` are offsets into. The module loader has checked
///   that the names of all sections but those of type `SHT_NULL` lie in it and end there.
/// - `symbols` points to `symbol_count` symbols, whose section is number `symbol_section`, and
///   which nobody else uses now.
struct Sections<'a> {
    module: *mut bindings::module,
    /// The section headers, whose `sh_addr` is where the section is in memory.
    headers: *mut bindings::Elf64_Shdr,
    count: c_uint,
    /// The names of the sections.
    section_names: *const c_char,
    /// The names of the symbols.
    symbol_names: &'a [u8],
    symbol_section: c_uint,
    symbols: *mut bindings::Elf64_Sym,
    symbol_count: usize,
}

/// A section of livepatch relocations all of which have been checked.
struct Checked {
    index: c_uint,
    table: rela::Table,
}

/// The value that a symbol had before it was resolved.
struct Before {
    symbol: usize,
    value: u64,
}

impl<'a> Sections<'a> {
    /// Those of the module of `patch`, which the module loader has kept.
    ///
    /// # Errors
    ///
    /// `ENOEXEC`: the symbols are not aligned.
    fn of(patch: &'a Patch) -> Result<Option<Self>> {
        let module = patch.module();
        // SAFETY: The module is valid. It is a livepatch module, so that it has this.
        let Some(info) = (unsafe { (*module).klp_info.as_ref() }) else {
            return Ok(None);
        };
        // SAFETY: The module is valid; the loader has written this before the module's init.
        let kallsyms = unsafe { &(*module).core_kallsyms };

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

    /// Refuses symbols that cannot be read where they are.
    fn aligned(self) -> Result<Self> {
        if self.symbols.is_aligned() {
            return Ok(self);
        }
        pr_err!("the table of symbols is not aligned\n");
        Err(ENOEXEC)
    }

    /// The header of section `index`, if there is one.
    fn header(&self, index: c_uint) -> Option<&bindings::Elf64_Shdr> {
        if index >= self.count {
            return None;
        }
        // SAFETY: By the type's invariants there are `count` headers.
        Some(unsafe { &*self.headers.add(index as usize) })
    }

    /// The name of a section, unless it is one of type `SHT_NULL`, whose name means nothing.
    fn name(&self, header: &bindings::Elf64_Shdr) -> Option<&'a CStr> {
        if header.sh_type == bindings::SHT_NULL {
            return None;
        }
        // SAFETY: By the type's invariants the name lies in the table and ends with a nul.
        Some(unsafe { CStr::from_char_ptr(self.section_names.add(header.sh_name as usize)) })
    }

    /// Says in the log what is wrong with a section.
    fn refuse(&self, header: &bindings::Elf64_Shdr, bad: Bad) -> Error {
        let name = self.name(header).unwrap_or(c"without a name");
        pr_err!("section {} {}\n", name, bad.text());
        ENOEXEC
    }

    /// The sections of livepatch relocations.
    fn all(&self) -> impl Iterator<Item = c_uint> + '_ {
        (1..self.count).filter(|&index| {
            self.header(index).is_some_and(|header| {
                header.sh_flags as c_ulong & bindings::SHF_RELA_LIVEPATCH as c_ulong != 0
            })
        })
    }

    /// The object that section `index` is for.
    fn object(&self, index: c_uint) -> Result<&'a [u8]> {
        let header = self.header(index).ok_or(ENOEXEC)?;
        let Some(name) = self.name(header) else {
            return Err(self.refuse(header, Bad::Kind));
        };
        names::parse_section(name.to_bytes()).ok_or_else(|| {
            pr_err!("section {} has an incorrectly formatted name\n", name);
            EINVAL
        })
    }

    /// The memory of the module that is there when relocations are applied at this time.
    fn memory(&self, when: When) -> [Memory; MEMORIES] {
        // SAFETY: By the type's invariants the module is valid; no reference is made.
        let memory = unsafe { &raw const (*self.module).mem }.cast::<bindings::module_memory>();
        core::array::from_fn(|kind| {
            if when == When::Later && kind >= bindings::mod_mem_type_MOD_INIT_TEXT as usize {
                return Memory { start: 0, size: 0 };
            }
            // SAFETY: There are as many as the array has. They do not change but for those of the
            // init function, which are read while the module is loaded, by the loader.
            let one = unsafe { &*memory.add(kind) };
            Memory {
                start: one.base as u64,
                size: u64::from(one.size),
            }
        })
    }

    /// Checks all of section `index`, which is for `object`, before anything is written.
    fn check(&self, index: c_uint, object: &[u8]) -> Result<Checked> {
        let header = self.header(index).ok_or(ENOEXEC)?;
        let when = if object == b"vmlinux" {
            When::Load
        } else {
            When::Later
        };
        let table = rela::check_section(
            &brief(header),
            self.header(header.sh_info).map(brief).as_ref(),
            self.symbol_section,
            &self.memory(when),
            when,
        )
        .map_err(|bad| self.refuse(header, bad))?;

        let checked = Checked { index, table };
        for (i, relocation) in checked.relocations().enumerate() {
            let symbol = rela::check(
                MACHINE,
                &checked.table,
                relocation.r_offset,
                relocation.r_info,
                self.symbol_count,
                // SAFETY: The address is one of 4 bytes in a section that is in memory.
                |addr| u32::from_ne_bytes(unsafe { (addr as *const [u8; 4]).read_volatile() }),
            )
            .map_err(|bad| {
                let name = self.name(header).unwrap_or(c"");
                pr_err!("relocation {} of section {} {}\n", i, name, bad.text());
                ENOEXEC
            })?;
            self.check_symbol(symbol, i, object)?;
        }
        Ok(checked)
    }

    /// Symbol number `index`. There must be one.
    fn symbol(&self, index: usize) -> Result<*mut bindings::Elf64_Sym> {
        if index >= self.symbol_count {
            return Err(ENOEXEC);
        }
        // SAFETY: By the type's invariants there are `symbol_count` symbols.
        Ok(unsafe { self.symbols.add(index) })
    }

    /// The name of a symbol.
    fn symbol_name(&self, symbol: *mut bindings::Elf64_Sym) -> Result<&'a [u8]> {
        // SAFETY: `Self::symbol` has returned it; nobody writes the field.
        let offset = unsafe { (*symbol).st_name };
        rela::string(self.symbol_names, offset).ok_or_else(|| {
            pr_err!("the name of a symbol is not in the table of names\n");
            ENOEXEC
        })
    }

    /// Checks the symbol of relocation `i` of a section that is for `object`.
    fn check_symbol(&self, index: usize, i: usize, object: &[u8]) -> Result {
        let symbol = self.symbol(index)?;
        let bytes = self.symbol_name(symbol)?;
        let name = BStr::from_bytes(bytes);

        // SAFETY: `Self::symbol` has returned it; nobody writes the field.
        if u32::from(unsafe { (*symbol).st_shndx }) != bindings::SHN_LIVEPATCH {
            pr_err!(
                "symbol {} at rela sec {} idx {} is not marked as a livepatch symbol\n",
                name,
                self.symbol_section,
                i
            );
            return Err(EINVAL);
        }
        let Some(wanted) = names::parse_symbol(bytes) else {
            pr_err!("symbol {} has an incorrectly formatted name\n", name);
            return Err(EINVAL);
        };
        // What vmlinux exports needs no livepatch relocation; what it does not export is to be in a
        // section for vmlinux, which is applied early.
        if wanted.object == b"vmlinux" && object != b"vmlinux" {
            pr_err!(
                "invalid access to vmlinux symbol '{}' from module-specific livepatch \
                 relocation section\n",
                BStr::from_bytes(wanted.symbol)
            );
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Writes the addresses of the symbols that a section refers to, and takes down in `before`
    /// what was there.
    fn resolve(&self, section: &Checked, before: &mut KVVec<Before>) -> Result {
        for relocation in section.relocations() {
            let index = rela::symbol(relocation.r_info);
            let symbol = self.symbol(index)?;
            let wanted = names::parse_symbol(self.symbol_name(symbol)?).ok_or(EINVAL)?;
            let name = CString::try_from_fmt(fmt!("{}", BStr::from_bytes(wanted.symbol)))?;
            let module = if wanted.object == b"vmlinux" {
                None
            } else {
                let object = BStr::from_bytes(wanted.object);
                Some(CString::try_from_fmt(fmt!("{}", object))?)
            };
            let addr = symbols::find(module.as_deref(), &name, wanted.sympos)?;

            // SAFETY: `Self::symbol` has returned it; nobody else uses it now.
            let value = unsafe { &mut (*symbol).st_value };
            before.push(
                Before {
                    symbol: index,
                    value: *value,
                },
                GFP_KERNEL,
            )?;
            *value = addr as u64;
        }
        Ok(())
    }

    /// Gives symbols back the values that they had.
    fn restore(&self, before: &[Before]) {
        // Backwards: one that was resolved twice had the first of its values.
        for one in before.iter().rev() {
            if let Ok(symbol) = self.symbol(one.symbol) {
                // SAFETY: `Self::symbol` has returned it; nobody else uses it now.
                unsafe { (*symbol).st_value = one.value };
            }
        }
    }

    /// Writes the relocations of a section, whose symbols must have been resolved.
    fn write(&self, section: &Checked) -> Result {
        // SAFETY: The section was checked: what is written lies in a section of the module, and
        // the symbols exist.
        kernel::error::to_result(unsafe {
            bindings::apply_relocate_add(
                self.headers,
                self.symbol_names.as_ptr().cast(),
                self.symbol_section,
                section.index,
                self.module,
            )
        })
    }

    /// Takes back what [`Self::write`] has written of section `index`, where the architecture needs
    /// that before it can write again.
    ///
    /// # Safety
    ///
    /// [`Self::write`] must have been called for this section, and its symbols not resolved since.
    unsafe fn clear(&self, index: c_uint) {
        // SAFETY: The section was checked before it was written. The architecture's code compares
        // with what was written, and stops where that is something else.
        unsafe {
            bindings::clear_relocate_add(
                self.headers,
                self.symbol_names.as_ptr().cast(),
                self.symbol_section,
                index,
                self.module,
            )
        };
    }

    /// Applies the relocations of all of these sections, or of none.
    fn apply(&self, sections: &[Checked]) -> Result {
        let mut before = KVVec::new();
        let resolved = sections
            .iter()
            .try_for_each(|section| self.resolve(section, &mut before));
        let applied = resolved.and_then(|()| self.write_all(sections));
        if applied.is_err() {
            self.restore(&before);
        }
        applied
    }

    /// Checks section `index`, and applies it if it is for `object`. If that fails, the module is
    /// not used any more.
    fn load(self, index: c_uint, object: &[u8]) -> Result {
        let sections = self.aligned()?;
        let for_object = sections.object(index)?;
        let checked = sections.check(index, for_object)?;
        if for_object == object {
            sections.resolve(&checked, &mut KVVec::new())?;
            sections.write(&checked)?;
        }
        Ok(())
    }

    fn write_all(&self, sections: &[Checked]) -> Result {
        for (done, section) in sections.iter().enumerate() {
            if let Err(error) = self.write(section) {
                // The one that has failed may have been written up to the relocation that is wrong.
                for section in sections.iter().take(done + 1).rev() {
                    // SAFETY: It has been written, at least in part, and the symbols are as before.
                    unsafe { self.clear(section.index) };
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Checked {
    /// The relocations. No reference is handed out, as the section is the module's.
    fn relocations(&self) -> impl Iterator<Item = bindings::Elf64_Rela> + '_ {
        let first = self.table.addr as *const bindings::Elf64_Rela;
        // SAFETY: `rela::check_section` has found that many in the module's memory, and aligned.
        (0..self.table.count).map(move |i| unsafe { first.add(i).read() })
    }
}

/// What matters of a header.
fn brief(header: &bindings::Elf64_Shdr) -> Header {
    Header {
        kind: header.sh_type,
        flags: header.sh_flags,
        addr: header.sh_addr,
        size: header.sh_size,
        link: header.sh_link,
        info: header.sh_info,
    }
}

/// Refuses a patch some of whose relocations the module loader has left out.
///
/// All others were checked when the loader handed them over.
///
/// # Errors
///
/// `ENOEXEC`: a section is for one that does not exist or is not loaded, or the symbols are not
/// aligned. The log says so.
pub(crate) fn check(patch: &Patch) -> Result {
    let Some(sections) = Sections::of(patch)? else {
        return Ok(());
    };
    for index in sections.all() {
        let header = sections.header(index).ok_or(ENOEXEC)?;
        let target = sections.header(header.sh_info);
        let name = target.and_then(|target| sections.name(target));
        let is_percpu = name.is_some_and(|name| name == c".data..percpu");
        if !rela::is_loaded(target.map(brief).as_ref(), is_percpu) {
            return Err(sections.refuse(header, Bad::NoTarget));
        }
    }
    Ok(())
}

/// Applies the relocations of the module of `patch` that refer to `object`, which is loaded.
///
/// # Errors
///
/// `EINVAL`: a symbol is not found, or a name makes no sense; `ENOEXEC`: a number is out of its
/// range; and what the architecture's code for relocations says. The log explains. Nothing of the
/// object is left applied then.
pub(crate) fn apply_object(patch: &Patch, object: &Object) -> Result {
    let Some(sections) = Sections::of(patch)? else {
        return Ok(());
    };
    let mut checked = KVec::new();
    for index in sections.all() {
        let for_object = sections.object(index)?;
        if for_object == object.label().to_bytes() {
            checked.push(sections.check(index, for_object)?, GFP_KERNEL)?;
        }
    }
    sections.apply(&checked)
}

/// Undoes [`apply_object`], which must have succeeded.
pub(crate) fn clear_object(patch: &Patch, object: &Object) {
    // Both are as they were when the relocations were applied.
    let Ok(Some(sections)) = Sections::of(patch) else {
        return;
    };
    for index in sections.all() {
        if sections.object(index) == Ok(object.label().to_bytes()) {
            // SAFETY: The relocations were applied, with the values that the symbols still have.
            unsafe { sections.clear(index) };
        }
    }
}

/// Checks section `secndx` of livepatch relocations, and applies it if it is for the object
/// `objname`, or for vmlinux if that is null. May sleep.
///
/// Called by the module loader for vmlinux, before the module's own relocations are applied.
///
/// # Errors
///
/// As a negative number, those of [`apply_object`]. The loader is to free the module then.
///
/// # Safety
///
/// To be called by the module loader, with what it knows of `pmod`, once it has checked that the
/// section's `sh_info` is the index of a section.
#[export]
unsafe extern "C" fn klp_apply_section_relocs(
    pmod: *mut bindings::module,
    sechdrs: *mut bindings::Elf64_Shdr,
    shstrtab: *const c_char,
    strtab: *const c_char,
    symndx: c_uint,
    secndx: c_uint,
    objname: *const c_char,
) -> c_int {
    let object = if objname.is_null() {
        c"vmlinux"
    } else {
        // SAFETY: The caller gives a nul-terminated string.
        unsafe { CStr::from_char_ptr(objname) }
    };
    // SAFETY: The caller gives the index of a section.
    let section = unsafe { &*sechdrs.add(secndx as usize) };
    // SAFETY: The caller gives the index of the section of symbols.
    let symtab = unsafe { &*sechdrs.add(symndx as usize) };
    // SAFETY: The loader has checked this one, before it has read the names of symbols.
    let names = unsafe { &*sechdrs.add(symtab.sh_link as usize) };
    // SAFETY: They are the names, with this size, in the copy of the file.
    let symbol_names =
        unsafe { slice::from_raw_parts(strtab.cast::<u8>(), names.sh_size as usize) };

    // INVARIANT: `pmod` is the caller's, and so are the headers, of which there are as many as the
    // highest index says that it has checked, the symbols, and the names.
    let sections = Sections {
        module: pmod,
        headers: sechdrs,
        count: secndx.max(symndx).max(section.sh_info).saturating_add(1),
        section_names: shstrtab,
        symbol_names,
        symbol_section: symndx,
        symbols: symtab.sh_addr as *mut bindings::Elf64_Sym,
        symbol_count: symtab.sh_size as usize / size_of::<bindings::Elf64_Sym>(),
    };
    abi::errno(sections.load(secndx, object.to_bytes()))
}

/// Returns where the section `name` of a livepatch module is in memory, and writes its size in
/// bytes to `sec_size`; or returns null and writes 0 if there is none.
///
/// # Safety
///
/// `module` must be a livepatch module, `name` nul-terminated, and `sec_size` valid for writes.
#[export]
unsafe extern "C" fn klp_find_section_by_name(
    module: *const bindings::module,
    name: *const c_char,
    sec_size: *mut usize,
) -> *mut c_void {
    // SAFETY: The caller gives a livepatch module, which has this, and a nul-terminated name.
    let (info, name) = unsafe { (&*(*module).klp_info, CStr::from_char_ptr(name)) };
    for index in 1..usize::from(info.hdr.e_shnum) {
        // SAFETY: There are as many section headers.
        let header = unsafe { &*info.sechdrs.add(index) };
        if header.sh_type == bindings::SHT_NULL {
            // Its name is not checked by the loader.
            continue;
        }
        // SAFETY: The loader has checked that names lie in the table.
        let other = unsafe { CStr::from_char_ptr(info.secstrings.add(header.sh_name as usize)) };
        if other == name {
            // SAFETY: The caller gives a place for the size.
            unsafe { *sec_size = header.sh_size as usize };
            return header.sh_addr as *mut c_void;
        }
    }
    // SAFETY: As above.
    unsafe { *sec_size = 0 };
    ptr::null_mut()
}
