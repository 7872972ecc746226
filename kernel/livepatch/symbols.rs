// SPDX-License-Identifier: GPL-2.0

//! Finding the functions of a patch: where they are, and how long.
//!
//! The symbols of a module are a table that is sorted neither by name nor by address. All names of
//! an object are searched for in one walk over it, and the sizes of all that was found in another;
//! not in one walk for each name and each size.

use crate::{
    abi::{Func, Object, Patch},
    lock::Locked,
    module::Module,
    names::{self, Found, Search, Wanted},
    ranges::{self, Extent, Range},
    sort::sort_by_key, //
};
use kernel::{
    kallsyms,
    prelude::*, //
};

use core::{
    ops::ControlFlow,
    ptr, //
};

/// Up to so many functions are searched for one by one, which is cheaper then.
const FEW: usize = 4;

/// Finds the addresses and sizes of the functions of `object`, which is loaded, and of their
/// replacements in `patch`.
///
/// # Errors
///
/// - `EINVAL`: there is no such symbol, or there are several.
/// - `ENOENT`: a size is not known.
/// - `ENOMEM`.
///
/// The log says which function it is.
pub(crate) fn find_funcs(locked: &Locked, patch: &Patch, object: &Object) -> Result {
    find_addresses(locked, object)?;

    let old = Sizes::find(object.module(locked), || {
        object.funcs(locked).map(|func| func.old_func(locked))
    })?;
    for func in object.funcs(locked) {
        let addr = func.old_func(locked);
        let Some(size) = old.get(addr) else {
            pr_err!("kallsyms size lookup failed for '{}'\n", func.name());
            return Err(ENOENT);
        };
        func.set_old(locked, addr, size);
    }

    let new = Sizes::find(Some(patch.module()), || {
        let authors = object.funcs(locked).filter(|func| !func.is_nop());
        authors.map(|func| func.new_func())
    })?;
    for func in object.funcs(locked) {
        if func.is_nop() {
            func.set_new_to_old(locked);
            continue;
        }
        let Some(size) = new.get(func.new_func()) else {
            pr_err!(
                "kallsyms size lookup failed for '{}' replacement\n",
                func.name()
            );
            return Err(ENOENT);
        };
        func.set_new_size(locked, size);
    }
    Ok(())
}

/// Finds the addresses of the functions of `object`.
fn find_addresses(locked: &Locked, object: &Object) -> Result {
    let module = object.module_name();
    let count = object.funcs(locked).count();
    // The symbols of vmlinux are sorted by name.
    if module.is_none() || count <= FEW {
        return object.funcs(locked).try_for_each(|func| {
            let addr = find(module, func.name(), func.sympos());
            func.set_old(locked, *addr.as_ref().unwrap_or(&0), 0);
            addr.map(|_| ())
        });
    }

    let mut wanted = KVVec::with_capacity(count, GFP_KERNEL)?;
    for func in object.funcs(locked) {
        let name = func.name().to_bytes();
        wanted.push(Wanted::new(wanted.len(), name, func.sympos()), GFP_KERNEL)?;
    }
    names::sort(&mut wanted);
    kallsyms::for_each_in_module(object.label(), |name, addr| {
        names::note(&mut wanted, name.to_bytes(), addr);
        ControlFlow::Continue(())
    });
    sort_by_key(&mut wanted, Wanted::order);

    for (func, wanted) in object.funcs(locked).zip(wanted.iter()) {
        let addr = report(wanted.result(), module, func.name(), func.sympos());
        func.set_old(locked, *addr.as_ref().unwrap_or(&0), 0);
        addr?;
    }
    Ok(())
}

/// Returns the address of symbol number `sympos` of this name, or of the only one for 0.
///
/// # Errors
///
/// `EINVAL`: there is no such symbol, or there are several. The log says so.
pub(crate) fn find(module: Option<&CStr>, name: &CStr, sympos: usize) -> Result<usize> {
    let mut search = Search::new(sympos);
    let mut add = |addr| {
        if search.add(addr) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    match module {
        Some(module) => kallsyms::for_each_in_module(module, |other, addr| {
            if other == name {
                add(addr)
            } else {
                ControlFlow::Continue(())
            }
        }),
        None => kallsyms::for_each_match(name, add),
    }
    report(search.result(), module, name, sympos)
}

/// Returns the address that a search has found, or says in the log what was wrong.
fn report(found: Found, module: Option<&CStr>, name: &CStr, sympos: usize) -> Result<usize> {
    match found {
        Found::At(addr) => return Ok(addr),
        Found::Nowhere => pr_err!("symbol '{}' not found in symbol table\n", name),
        Found::Ambiguous => pr_err!(
            "unresolvable ambiguity for symbol '{}' in object '{}'\n",
            name,
            module.unwrap_or(c"(null)")
        ),
        Found::TooFew => pr_err!(
            "symbol position {} for symbol '{}' in object '{}' not found\n",
            sympos,
            name,
            module.unwrap_or(c"vmlinux")
        ),
    }
    Err(EINVAL)
}

/// The sizes of some functions.
struct Sizes(KVVec<Extent>);

impl Sizes {
    /// Finds the sizes of the functions of a module at the addresses that `funcs` gives.
    ///
    /// Those that are not the module's are left to [`Self::get`], as are all for vmlinux, which is
    /// no module.
    fn find<I: Iterator<Item = usize>>(
        module: Option<&Module>,
        funcs: impl Fn() -> I,
    ) -> Result<Self> {
        let count = funcs().count();
        let (Some(module), true) = (module, count > FEW) else {
            return Ok(Self(KVVec::new()));
        };
        let text = module.text();

        let mut extents = KVVec::with_capacity(count, GFP_KERNEL)?;
        for addr in funcs().filter(|addr| text.contains(addr)) {
            extents.push(Extent::new(addr, text.end), GFP_KERNEL)?;
        }
        let kept = ranges::prepare_extents(&mut extents);
        extents.truncate(kept);
        kallsyms::for_each_in_module(module.name(), |symbol, addr| {
            ranges::note_symbol(&mut extents, addr, || names::is_named(symbol.to_bytes()));
            ControlFlow::Continue(())
        });
        Ok(Self(extents))
    }

    /// Returns the size of the function at `addr`, up to the next symbol.
    fn get(&self, addr: usize) -> Option<usize> {
        ranges::extent_of(&self.0, addr).or_else(|| kallsyms::symbol_size(addr))
    }
}

/// A part of a function that is elsewhere. The tag says whose it is.
pub(crate) type Part = Range<*const Func>;

/// A symbol that is one by its name, in a module.
struct Named {
    /// Hash of the name of the whole.
    whole: u64,
    addr: usize,
    func: *const Func,
}

/// Finds the parts that the compiler has put elsewhere ([`names::whole_of`]) of what tasks run for
/// the functions of `object`, which is loaded. `running` returns that: the function itself, or one
/// in one of `modules`; or `None` where it is of no interest.
///
/// Parts of several functions of the same name cannot be told apart, and count for each of them.
///
/// # Errors
///
/// - `ENOENT`: a size is not known.
/// - `ENOMEM`.
pub(crate) fn find_parts<'a>(
    locked: &Locked,
    object: &Object,
    running: impl Fn(&Func) -> Option<usize>,
    mut modules: impl Iterator<Item = &'a Module>,
) -> Result<KVVec<Part>> {
    let mut parts = KVVec::new();
    let count = object.funcs(locked).count();
    let mut funcs: KVVec<(usize, *const Func)> = KVVec::with_capacity(count, GFP_KERNEL)?;
    let mut replaced = false;
    let mut name = KVVec::new();
    for func in object.funcs(locked) {
        let Some(addr) = running(func) else {
            continue;
        };
        funcs.push((addr, func), GFP_KERNEL)?;
        if addr != func.old_func(locked) {
            replaced = true;
        } else if object.module_name().is_none() {
            find_part_in_vmlinux(func, &mut name, &mut parts)?;
        }
    }
    sort_by_key(&mut funcs, |(addr, _)| *addr);
    if let Some(module) = object.module(locked) {
        find_parts_in_module(module, &funcs, &mut parts)?;
    }
    if replaced {
        modules.try_for_each(|module| find_parts_in_module(module, &funcs, &mut parts))?;
    }
    Ok(parts)
}

/// [`find_parts`] for one function of vmlinux, whose symbols are sorted by name. `name` is room for
/// one.
fn find_part_in_vmlinux(func: &Func, name: &mut KVVec<u8>, parts: &mut KVVec<Part>) -> Result {
    name.clear();
    name.extend_from_slice(func.name().to_bytes(), GFP_KERNEL)?;
    name.extend_from_slice(names::COLD, GFP_KERNEL)?;
    name.push(0, GFP_KERNEL)?;
    let part = CStr::from_bytes_with_nul(name).map_err(|_| EINVAL)?;
    let mut result = Ok(());
    kallsyms::for_each_match(part, |start| {
        result = kallsyms::symbol_size(start).ok_or(ENOENT).and_then(|len| {
            let tag = func;
            Ok(parts.push(Range { start, len, tag }, GFP_KERNEL)?)
        });
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    result
}

/// [`find_parts`] in a module, of `funcs`, which are sorted by their addresses.
fn find_parts_in_module(
    module: &Module,
    funcs: &[(usize, *const Func)],
    parts: &mut KVVec<Part>,
) -> Result {
    let mut named = KVVec::new();
    loop {
        named.clear();
        let mut count = 0;
        kallsyms::for_each_in_module(module.name(), |symbol, addr| {
            if let Some(whole) = names::whole_of(symbol.to_bytes()) {
                let (whole, func) = (names::hash(whole), ptr::null());
                count += 1;
                // As many as there is room for: nothing can be allocated here.
                let _ = named.push_within_capacity(Named { whole, addr, func });
            }
            ControlFlow::Continue(())
        });
        if count == 0 {
            return Ok(());
        }
        if count == named.len() {
            break;
        }
        named.reserve(count, GFP_KERNEL)?;
    }
    sort_by_key(&mut named, |part| part.whole);

    kallsyms::for_each_in_module(module.name(), |symbol, addr| {
        let at = funcs.partition_point(|(func, _)| *func < addr);
        if let Some((_, func)) = funcs.get(at).filter(|(func, _)| *func == addr) {
            let whole = names::hash(symbol.to_bytes());
            let first = named.partition_point(|part| part.whole < whole);
            let rest = named.iter_mut().skip(first);
            rest.take_while(|part| part.whole == whole)
                .for_each(|part| part.func = *func);
        }
        ControlFlow::Continue(())
    });

    named.retain(|part| !part.func.is_null());
    let sizes = Sizes::find(Some(module), || named.iter().map(|part| part.addr))?;
    for part in &named {
        let len = sizes.get(part.addr).ok_or(ENOENT)?;
        let (start, tag) = (part.addr, part.func);
        parts.push(Range { start, len, tag }, GFP_KERNEL)?;
    }
    Ok(())
}
