// SPDX-License-Identifier: GPL-2.0

//! The symbols that `#[sympos]` chooses from: all of a name, as livepatch counts them, each with
//! its source file.

use crate::{
    dwarf::Debug,
    elf::{Image, Symbol},
    error::{Error, Result},
    kernel::Source,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

/// The number of similar names that are shown.
const MAX_RELATIVES: usize = 10;

/// Describes the symbols of that name in an ELF file, line by line.
pub fn lines(bytes: &[u8], name: &str) -> Result<Vec<String>> {
    if !bytes.starts_with(&object::elf::ELFMAG) {
        return Err(Error::new(
            "it is not an ELF file; give a vmlinux, or a .ko that is not compressed",
        ));
    }
    let image = Image::parse(bytes)?;
    if image.symbols.is_empty() {
        return Err(Error::new(
            "it has no symbol table; give a file that is not stripped",
        ));
    }
    let mut notes = Vec::new();
    // The positions do not need DWARF. Without it less is known of the files.
    let without = |e: Error| format!("note: {e}; the files are those of the symbol table");
    let debug = Debug::load(&image).unwrap_or_else(|e| {
        notes.push(without(e));
        None
    });
    let symbols = image.counted(name);
    if symbols.is_empty() {
        return Err(missing(&image, debug.as_ref(), name));
    }

    let files = Files::read(debug.as_ref(), &symbols).unwrap_or_else(|e| {
        notes.push(without(e));
        Files::default()
    });
    let mut lines: Vec<String> = (1..)
        .zip(&symbols)
        .map(|(position, symbol)| {
            let kind = if symbol.function {
                "function"
            } else {
                "variable"
            };
            let address = address(&image, symbol);
            let by_dwarf = files.of(symbol).map(String::from);
            let file = by_dwarf.or_else(|| file_by_table(&image, &symbols, symbol));
            let file = file.as_deref().unwrap_or("file unknown");
            format!("{position} {address} {kind} {file}")
        })
        .collect();
    if symbols.len() == 1 {
        lines.push(format!(
            "only one symbol is named {name}: no #[sympos] is needed"
        ));
    } else if image.relocatable {
        notes.extend(freed(&image, &symbols));
    }
    if image.relocatable && !image.is_module() {
        notes.push(
            "note: it is an object file; in the vmlinux or .ko that is linked of it there may be \
             more of that name, in another order"
                .into(),
        );
    }
    lines.extend(notes);
    Ok(lines)
}

/// The address of a symbol. Before a module is loaded, it is an offset in a section.
fn address(image: &Image<'_>, symbol: &Symbol) -> String {
    match image.place(symbol) {
        Some((section, offset)) if image.relocatable => format!("{section}+{offset:#x}"),
        _ => format!("{:#x}", symbol.address),
    }
}

/// Lists the symbols of a module that are gone once its initialisation is over: livepatch then
/// counts without them, so that the others have other positions.
fn freed(image: &Image<'_>, symbols: &[&Symbol]) -> Option<String> {
    let freed = |symbol: &Symbol| {
        let place = image.place(symbol);
        place.is_some_and(|(section, _)| section.starts_with(".init"))
    };
    let mut positions = Vec::new();
    for (position, symbol) in (1..).zip(symbols) {
        if freed(symbol) {
            positions.push(format!("{position}"));
        }
    }
    (!positions.is_empty()).then(|| {
        format!(
            "note: once the module is initialised, the kernel counts without what is freed: {}",
            positions.join(", ")
        )
    })
}

/// Why there is no symbol of that name, as far as the file shows.
fn missing<'a>(image: &'a Image<'a>, debug: Option<&'a Debug<'a>>, name: &str) -> Error {
    let relatives = relatives(image, name);
    let shown: Vec<_> = relatives.iter().copied().take(MAX_RELATIVES).collect();
    if let Some(first) = shown.first() {
        let more = match relatives.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        // Rust allows a name without a suffix, and nothing calls a part that is split off.
        let advice = match first.contains('.') && !is_split_off(first) {
            true => {
                format!(": #[symbol(\"{first}\")] takes the first, whose arguments may be others")
            }
            false => String::new(),
        };
        return Error::new(format!(
            "no symbol is named {name}; there is {}{more}{advice}",
            shown.join(", ")
        ));
    }
    let names = HashSet::from([name]);
    let absence = debug
        .and_then(|debug| Source::from_dwarf(image, debug, &names).ok())
        .and_then(|source| source.absence(name));
    match absence {
        Some(why) => Error::new(format!("no symbol is named {name}: {why}")),
        None => Error::new(format!(
            "no symbol is named {name}, and none has a similar name"
        )),
    }
}

/// Whether the compiler has split this off a function, which jumps there.
fn is_split_off(name: &str) -> bool {
    name.contains(".cold")
}

/// The functions whose names differ in the suffixes that compilers add. Parts that are split off
/// come last.
fn relatives<'i>(image: &'i Image<'_>, name: &str) -> Vec<&'i str> {
    let stem = name.split('.').next().unwrap_or(name);
    if stem.is_empty() {
        return Vec::new();
    }
    let related = |symbol: &&Symbol| {
        let rest = symbol.name.strip_prefix(stem);
        symbol.function
            && !symbol.undefined
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let names = image.symbols.iter().filter(related);
    let sorted: BTreeSet<_> = names
        .map(|symbol| (is_split_off(&symbol.name), symbol.name.as_str()))
        .collect();
    sorted.into_iter().map(|(_, name)| name).collect()
}

/// The source files in DWARF, by address.
#[derive(Default)]
struct Files {
    code: HashMap<u64, String>,
    data: HashMap<u64, String>,
}

impl Files {
    /// Reads the files of these symbols. To find variables, all of the DWARF has to be read.
    fn read(debug: Option<&Debug<'_>>, symbols: &[&Symbol]) -> Result<Self> {
        let Some(debug) = debug else {
            return Ok(Files::default());
        };
        let (code, data): (Vec<&Symbol>, Vec<&Symbol>) =
            symbols.iter().partition(|symbol| symbol.function);
        let addresses = |symbols: &[&Symbol]| symbols.iter().map(|symbol| symbol.address).collect();
        Ok(Files {
            code: debug.files_of_code(&addresses(&code))?,
            data: match data.is_empty() {
                true => HashMap::new(),
                false => debug.files_of_data(&addresses(&data))?,
            },
        })
    }

    /// The source file of a symbol by DWARF, which has its folder.
    fn of(&self, symbol: &Symbol) -> Option<&str> {
        let files = if symbol.function {
            &self.code
        } else {
            &self.data
        };
        files.get(&symbol.address).map(String::as_str)
    }
}

/// The source file of a symbol by the symbol table, which has no folders. If others of the symbols
/// are of a file of that name, a function that only this one has distinguishes them.
fn file_by_table(image: &Image<'_>, symbols: &[&Symbol], symbol: &Symbol) -> Option<String> {
    let file = symbol.file.as_ref()?;
    let same_name = |other: &&&Symbol| other.file.as_ref() == Some(file);
    if symbols.iter().filter(same_name).count() > 1 {
        let mut beside = image.symbols.iter().filter(|other| {
            let here = other.file.as_ref();
            other.function && here.is_some_and(|here| Rc::ptr_eq(here, file))
        });
        if let Some(known) = beside.find(|other| image.counted(&other.name).len() == 1) {
            return Some(format!("{file} (the one with {})", known.name));
        }
    }
    Some(file.to_string())
}
