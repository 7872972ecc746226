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

use crate::{
    abi::{Object, Patch},
    elf::{RelaSection, Sections, Symbol},
    names,
    rela::{self, Bad, When},
    symbols, //
};
use kernel::{
    bindings,
    ffi::{c_uint, c_ulong},
    prelude::*,
    str::{BStr, CString}, //
};

/// The value that a symbol had before it was resolved.
struct Before {
    symbol: Symbol,
    value: u64,
}

/// Says in the log what is wrong with a section.
fn refuse(sections: &Sections<'_>, index: c_uint, bad: Bad) -> Error {
    let name = sections.name(index).unwrap_or(c"without a name");
    pr_err!("section {} {}\n", name, bad.text());
    ENOEXEC
}

/// The numbers of the sections of livepatch relocations.
fn livepatch_sections<'a>(sections: &'a Sections<'_>) -> impl Iterator<Item = c_uint> + 'a {
    sections.indices().filter(|&index| {
        sections.header(index).is_some_and(|header| {
            header.flags as c_ulong & bindings::SHF_RELA_LIVEPATCH as c_ulong != 0
        })
    })
}

/// The object that section `index` is for.
fn object_of<'a>(sections: &Sections<'a>, index: c_uint) -> Result<&'a [u8]> {
    let Some(name) = sections.name(index) else {
        return Err(refuse(sections, index, Bad::Kind));
    };
    names::parse_section(name.to_bytes()).ok_or_else(|| {
        pr_err!("section {} has an incorrectly formatted name\n", name);
        EINVAL
    })
}

/// Checks all of section `index`, which is for `object`, before anything is written.
fn check_section(sections: &Sections<'_>, index: c_uint, object: &[u8]) -> Result<RelaSection> {
    let when = if object == b"vmlinux" {
        When::Load
    } else {
        When::Later
    };
    let section = sections
        .rela_section(index, when)
        .map_err(|bad| refuse(sections, index, bad))?;
    for (i, relocation) in section.relocations().enumerate() {
        let symbol = section
            .symbol_of(relocation, sections.symbol_count())
            .map_err(|bad| {
                let name = sections.name(index).unwrap_or(c"");
                pr_err!("relocation {} of section {} {}\n", i, name, bad.text());
                ENOEXEC
            })?;
        check_symbol(sections, symbol, i, object)?;
    }
    Ok(section)
}

/// Checks the symbol of relocation `i` of a section that is for `object`.
fn check_symbol(sections: &Sections<'_>, index: usize, i: usize, object: &[u8]) -> Result {
    let symbol = sections.symbol(index)?;
    let bytes = sections.symbol_name(symbol)?;
    let name = BStr::from_bytes(bytes);

    if !sections.is_livepatch_symbol(symbol) {
        pr_err!(
            "symbol {} at rela sec {} idx {} is not marked as a livepatch symbol\n",
            name,
            sections.symbol_section(),
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

/// Writes the addresses of the symbols that a section refers to, and takes down in `before` what
/// was there.
fn resolve(sections: &Sections<'_>, section: &RelaSection, before: &mut KVVec<Before>) -> Result {
    let string = |bytes| CString::try_from_fmt(fmt!("{}", BStr::from_bytes(bytes)));
    for relocation in section.relocations() {
        let symbol = sections.symbol(rela::symbol(relocation.info))?;
        let wanted = names::parse_symbol(sections.symbol_name(symbol)?).ok_or(EINVAL)?;
        let name = string(wanted.symbol)?;
        let module = match wanted.object {
            b"vmlinux" => None,
            object => Some(string(object)?),
        };
        let addr = symbols::find(module.as_deref(), &name, wanted.sympos)?;

        before.reserve(1, GFP_KERNEL)?;
        let value = sections.replace_value(symbol, addr as u64);
        before.push(Before { symbol, value }, GFP_KERNEL)?;
    }
    Ok(())
}

/// Writes the relocations of checked sections, whose symbols were resolved: of all, or of none.
fn write_all(sections: &Sections<'_>, checked: &[RelaSection]) -> Result {
    for (done, section) in checked.iter().enumerate() {
        // SAFETY: The section was checked.
        if let Err(error) = unsafe { sections.write(section) } {
            // The one that has failed may have been written up to the relocation that is wrong.
            for section in checked.iter().take(done + 1).rev() {
                // SAFETY: It has been written, at least in part, and the symbols are as before.
                unsafe { sections.clear(section.index()) };
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Applies the relocations of all of these sections, or of none.
fn apply(sections: &Sections<'_>, checked: &[RelaSection]) -> Result {
    let mut before = KVVec::new();
    let resolved = checked
        .iter()
        .try_for_each(|section| resolve(sections, section, &mut before));
    let applied = resolved.and_then(|()| write_all(sections, checked));
    if applied.is_err() {
        // Backwards: one that was resolved twice had the first of its values.
        for one in before.iter().rev() {
            sections.replace_value(one.symbol, one.value);
        }
    }
    applied
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
    let Some(sections) = Sections::of(patch.module())? else {
        return Ok(());
    };
    for index in livepatch_sections(&sections) {
        let header = sections.header(index).ok_or(ENOEXEC)?;
        let is_percpu = sections.name(header.info) == Some(c".data..percpu");
        if !rela::is_loaded(sections.header(header.info).as_ref(), is_percpu) {
            return Err(refuse(&sections, index, Bad::NoTarget));
        }
    }
    Ok(())
}

/// Checks section `index` of a module that is being loaded, and applies it if it is for `object`.
/// If that fails, the module is not used any more.
///
/// # Errors
///
/// Those of [`apply_object`].
pub(crate) fn load(sections: &Sections<'_>, index: c_uint, object: &[u8]) -> Result {
    let for_object = object_of(sections, index)?;
    let checked = check_section(sections, index, for_object)?;
    if for_object == object {
        resolve(sections, &checked, &mut KVVec::new())?;
        // SAFETY: The section was checked.
        unsafe { sections.write(&checked) }?;
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
    let Some(sections) = Sections::of(patch.module())? else {
        return Ok(());
    };
    let mut checked = KVec::new();
    for index in livepatch_sections(&sections) {
        let for_object = object_of(&sections, index)?;
        if for_object == object.label().to_bytes() {
            let section = check_section(&sections, index, for_object)?;
            checked.push(section, GFP_KERNEL)?;
        }
    }
    apply(&sections, &checked)
}

/// Undoes [`apply_object`], which must have succeeded.
pub(crate) fn clear_object(patch: &Patch, object: &Object) {
    // Both are as they were when the relocations were applied.
    let Ok(Some(sections)) = Sections::of(patch.module()) else {
        return;
    };
    for index in livepatch_sections(&sections) {
        if object_of(&sections, index) == Ok(object.label().to_bytes()) {
            // SAFETY: The relocations were applied, with the values that the symbols still have.
            unsafe { sections.clear(index) };
        }
    }
}
