// SPDX-License-Identifier: GPL-2.0

//! Relocations of livepatch modules against symbols that are not exported.
//!
//! A livepatch module may have sections `.klp.rela.OBJECT.SECTION`, whose symbols are called
//! `.klp.sym.OBJECT.SYMBOL,SYMPOS`. They are applied when the object that the section names is
//! there, and cleared when it goes, so that they can be applied to the next one.
//!
//! All architectures that have livepatch are 64 bits wide.

use crate::{
    abi::{self, Object, Patch},
    names, symbols,
};
use kernel::{
    bindings,
    ffi::{c_char, c_int, c_uint, c_ulong, c_void},
    prelude::*, //
};

use core::ptr;

/// What identifies the relocation sections of a module.
#[derive(Clone, Copy)]
struct Sections {
    module: *mut bindings::module,
    /// The section headers, whose `sh_addr` is where the section is in memory.
    headers: *mut bindings::Elf64_Shdr,
    /// The names of the sections.
    section_names: *const c_char,
    /// The names of the symbols.
    symbol_names: *const c_char,
    /// The index of the section of symbols.
    symbols: c_uint,
}

/// The number of a relocation's symbol.
fn symbol_of(rela: &bindings::Elf64_Rela) -> usize {
    (rela.r_info >> 32) as usize
}

impl Sections {
    /// Those of the module of `patch`, which the module loader has kept.
    fn of(patch: &Patch) -> Option<(Self, c_uint)> {
        let module = patch.module();
        // SAFETY: The module is valid. It is a livepatch module, so that it has this.
        let info = unsafe { (*module).klp_info.as_ref() }?;
        let sections = Self {
            module,
            headers: info.sechdrs,
            section_names: info.secstrings,
            // SAFETY: As above.
            symbol_names: unsafe { (*module).core_kallsyms.strtab },
            symbols: info.symndx,
        };
        Some((sections, c_uint::from(info.hdr.e_shnum)))
    }

    /// The header of section `index`.
    fn header(&self, index: c_uint) -> &bindings::Elf64_Shdr {
        // SAFETY: The caller gives an index of the module's.
        unsafe { &*self.headers.add(index as usize) }
    }

    fn name(&self, header: &bindings::Elf64_Shdr) -> &CStr {
        // SAFETY: The loader has checked that names lie in the table, which ends with a nul.
        unsafe { CStr::from_char_ptr(self.section_names.add(header.sh_name as usize)) }
    }

    /// Writes the addresses of the symbols that section `index`, which is for `object`, refers to.
    fn resolve(&self, index: c_uint, object: &[u8]) -> Result {
        let header = self.header(index);
        let count = header.sh_size as usize / size_of::<bindings::Elf64_Rela>();
        let relas = header.sh_addr as *const bindings::Elf64_Rela;
        let symbols = self.header(self.symbols).sh_addr as *mut bindings::Elf64_Sym;

        for i in 0..count {
            // SAFETY: The section has `count` relocations.
            let rela = unsafe { &*relas.add(i) };
            // SAFETY: The loader keeps the symbols of livepatch modules, and the relocations of a
            // module refer to these. Nobody else uses them now.
            let symbol = unsafe { &mut *symbols.add(symbol_of(rela)) };
            // SAFETY: As for the names of sections.
            let name =
                unsafe { CStr::from_char_ptr(self.symbol_names.add(symbol.st_name as usize)) };

            if u32::from(symbol.st_shndx) != bindings::SHN_LIVEPATCH {
                pr_err!(
                    "symbol {} at rela sec {} idx {} is not marked as a livepatch symbol\n",
                    name,
                    self.symbols,
                    i
                );
                return Err(EINVAL);
            }
            let Some(wanted) = names::parse_symbol(name.to_bytes()) else {
                pr_err!("symbol {} has an incorrectly formatted name\n", name);
                return Err(EINVAL);
            };
            let symbol_name = kernel::str::CString::try_from_fmt(fmt!(
                "{}",
                kernel::str::BStr::from_bytes(wanted.symbol)
            ))?;

            if wanted.object == b"vmlinux" {
                // What vmlinux exports needs no livepatch relocation; what it does not export is
                // to be in a section for vmlinux, which is applied early.
                if object != b"vmlinux" {
                    pr_err!(
                        "invalid access to vmlinux symbol '{}' from module-specific livepatch relocation section\n",
                        &*symbol_name
                    );
                    return Err(EINVAL);
                }
                symbol.st_value = symbols::find(None, &symbol_name, wanted.sympos)? as u64;
            } else {
                let module = kernel::str::CString::try_from_fmt(fmt!(
                    "{}",
                    kernel::str::BStr::from_bytes(wanted.object)
                ))?;
                symbol.st_value = symbols::find(Some(&module), &symbol_name, wanted.sympos)? as u64;
            }
        }
        Ok(())
    }

    /// Applies or clears the relocations of section `index`, if it is for `object`.
    fn write(&self, index: c_uint, object: &CStr, apply: bool) -> Result {
        let name = self.name(self.header(index));
        let Some(for_object) = names::parse_section(name.to_bytes()) else {
            pr_err!("section {} has an incorrectly formatted name\n", name);
            return Err(EINVAL);
        };
        if for_object != object.to_bytes() {
            return Ok(());
        }

        if apply {
            self.resolve(index, for_object)?;
            // SAFETY: The section is one of relocations of this module, whose symbols have been
            // resolved.
            kernel::error::to_result(unsafe {
                bindings::apply_relocate_add(
                    self.headers,
                    self.symbol_names,
                    self.symbols,
                    index,
                    self.module,
                )
            })
        } else {
            // SAFETY: The section is one of relocations of this module, which were applied.
            unsafe {
                bindings::clear_relocate_add(
                    self.headers,
                    self.symbol_names,
                    self.symbols,
                    index,
                    self.module,
                )
            };
            Ok(())
        }
    }
}

fn write_object(patch: &Patch, object: &Object, apply: bool) -> Result {
    let Some((sections, count)) = Sections::of(patch) else {
        return Ok(());
    };
    for index in 1..count {
        let flags = sections.header(index).sh_flags as c_ulong;
        if flags & bindings::SHF_RELA_LIVEPATCH as c_ulong != 0 {
            sections.write(index, object.label(), apply)?;
        }
    }
    Ok(())
}

/// Applies the relocations of the module of `patch` that refer to `object`, which is loaded.
///
/// # Errors
///
/// `EINVAL`: a symbol is not found, or a name makes no sense; and what the architecture's code
/// for relocations says. The log explains.
pub(crate) fn apply_object(patch: &Patch, object: &Object) -> Result {
    write_object(patch, object, true)
}

/// Undoes [`apply_object`].
pub(crate) fn clear_object(patch: &Patch, object: &Object) {
    // Clearing does not fail for sections that could be applied.
    let _ = write_object(patch, object, false);
}

/// Applies the relocations in section `secndx` of a livepatch module, if they are for the object
/// `objname`, or for vmlinux if that is null. May sleep.
///
/// Called by the module loader for vmlinux, before the module's own relocations are applied.
///
/// # Safety
///
/// To be called by the module loader, with what it knows of `pmod`.
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
    let sections = Sections {
        module: pmod,
        headers: sechdrs,
        section_names: shstrtab,
        symbol_names: strtab,
        symbols: symndx,
    };
    let object = if objname.is_null() {
        c"vmlinux"
    } else {
        // SAFETY: The caller gives a nul-terminated string.
        unsafe { CStr::from_char_ptr(objname) }
    };
    abi::errno(sections.write(secndx, object, true))
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
