// SPDX-License-Identifier: GPL-2.0

//! The types of what a patch declares: of its replacements, and of the kernel's functions that it
//! calls.
//!
//! DWARF names no ABI for a Rust function, and has one type for functions that the compiler has
//! merged. Therefore `livepatch!` leaves a static of the type of the function for each entry. Its
//! symbol names the entry.

use crate::{
    dwarf::{Debug, Die, Function, Variable},
    elf::Image,
    error::Result,
    patch::Func,
    types::{Proto, Typed},
};
use std::collections::{HashMap, HashSet};

/// Of the static of a replacement, before `OBJECT.NAME,SYMPOS`.
const FUNC: &str = ".klp.type.func.";
/// Of the static of a function that the patch calls.
const SYMBOL: &str = ".klp.type.sym.";
/// The same for its variables that the patch uses.
const VARIABLE: &str = ".klp.type.var.";
/// The same for a variable of which each CPU has its own.
const PERCPU: &str = ".klp.type.percpu.";

/// A type, or why it is not known.
pub type Known<T> = std::result::Result<T, String>;

/// A static of Rust that points to a replacement, and is not of an entry.
struct Pointer {
    name: String,
    proto: Proto,
}

/// The types that a patch declares.
pub struct Declared<'a> {
    image: &'a Image<'a>,
    debug: &'a Debug<'a>,
    variables: HashMap<u64, Variable>,
    /// What DWARF has at the addresses of the replacements.
    functions: HashMap<u64, Vec<Function>>,
    pointers: HashMap<u64, Vec<Pointer>>,
    /// How many entries have each replacement.
    uses: HashMap<u64, usize>,
}

/// The type of a replacement, with what the author should know of it.
pub struct Replacement<'a> {
    pub typed: Typed<'a>,
    pub note: Option<String>,
}

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Function,
    Variable {
        /// Whether each CPU has its own.
        percpu: bool,
    },
}

/// A function or a variable of the kernel's that the patch uses by a livepatch relocation.
pub struct Symbol {
    pub kind: Kind,
    /// The module that has it; `None` is the kernel itself.
    pub object: Option<String>,
    pub name: String,
    pub sympos: u64,
    address: u64,
}

impl Symbol {
    /// As the output names it.
    pub fn label(&self) -> String {
        let object = self.object.as_deref().unwrap_or("vmlinux");
        match self.sympos {
            0 => format!("symbol {object}:{}", self.name),
            n => format!("symbol {object}:{},{n}", self.name),
        }
    }

    /// `OBJECT.NAME,SYMPOS`; names of functions may have dots, those of modules have none.
    fn parse(text: &str, address: u64, kind: Kind) -> Option<Self> {
        let (object, rest) = text.split_once('.')?;
        let (name, sympos) = rest.rsplit_once(',')?;
        Some(Symbol {
            kind,
            object: (object != "vmlinux").then(|| object.to_string()),
            name: name.to_string(),
            sympos: sympos.parse().ok()?,
            address,
        })
    }
}

impl<'a> Declared<'a> {
    pub fn read(image: &'a Image<'a>, debug: &'a Debug<'a>, funcs: &[Func]) -> Result<Self> {
        let mut uses: HashMap<u64, usize> = HashMap::new();
        for func in funcs {
            *uses.entry(func.new_func).or_default() += 1;
        }
        let addresses: HashSet<u64> = uses.keys().copied().collect();
        let mut functions: HashMap<u64, Vec<Function>> = HashMap::new();
        for function in debug.functions(|_| false, &addresses)? {
            if let Some(address) = function.address {
                functions.entry(address).or_default().push(function);
            }
        }
        let of_entries: HashSet<u64> = image
            .symbols
            .iter()
            .filter(|symbol| symbol.name.starts_with(FUNC))
            .map(|symbol| symbol.address)
            .collect();
        let mut variables = HashMap::new();
        let mut pointers: HashMap<u64, Vec<Pointer>> = HashMap::new();
        for variable in debug.variables()? {
            let value = image.read(variable.address, 8);
            let holds = value.filter(|value| addresses.contains(value));
            if let Some(value) = holds.filter(|_| !of_entries.contains(&variable.address)) {
                if let Some(proto) = debug.function_pointer(variable.die)? {
                    pointers.entry(value).or_default().push(Pointer {
                        name: variable.name.clone(),
                        proto,
                    });
                }
            }
            variables.insert(variable.address, variable);
        }
        Ok(Declared {
            image,
            debug,
            variables,
            functions,
            pointers,
            uses,
        })
    }

    fn typed(&self, proto: Proto) -> Typed<'a> {
        Typed {
            types: self.debug,
            proto,
        }
    }

    /// What `read` makes of the static at an address.
    fn static_at(
        &self,
        address: u64,
        read: impl Fn(Die) -> Result<Option<Proto>>,
    ) -> Result<Known<Proto>> {
        let proto = match self.variables.get(&address) {
            Some(variable) => read(variable.die)?,
            None => None,
        };
        Ok(proto.ok_or_else(|| {
            "the module has no debug information of the static that has its type".into()
        }))
    }

    /// The type of the function that the static at an address points to.
    fn pointer_at(&self, address: u64) -> Result<Known<Proto>> {
        self.static_at(address, |die| self.debug.function_pointer(die))
    }

    /// The type of a replacement.
    pub fn replacement(&self, func: &Func) -> Result<Known<Replacement<'a>>> {
        let known = |proto, note: Option<&str>| {
            Ok(Ok(Replacement {
                typed: self.typed(proto),
                note: note.map(String::from),
            }))
        };
        let object = func.object.as_deref().unwrap_or("vmlinux");
        let entry = format!("{FUNC}{object}.{},{}", func.name, func.sympos);
        if let Some(address) = self.image.address_of(&entry) {
            if self.image.read(address, 8) != Some(func.new_func) {
                return Ok(Err(format!(
                    "the static {entry} does not point to its replacement"
                )));
            }
            return match self.pointer_at(address)? {
                Ok(proto) => known(proto, None),
                Err(why) => Ok(Err(why)),
            };
        }
        if let Some(name) = self.image.undefined_at(func.new_func) {
            return Ok(Err(format!("its replacement {name} is not in this module")));
        }
        match self.pointers.get(&func.new_func).map(Vec::as_slice) {
            Some([only]) if self.alone(func) => return known(only.proto.clone(), None),
            Some([..]) => return Ok(Err(self.ambiguous(func))),
            None => {}
        }
        let Some(functions) = self.functions.get(&func.new_func) else {
            return Ok(Err(
                "the module has no debug information of the replacement; build it with -g".into(),
            ));
        };
        let [function] = functions.as_slice() else {
            return Ok(Err(
                "the compiler has merged its replacement with another function".into(),
            ));
        };
        if function.changed {
            return Ok(Err(
                "the compiler has changed the arguments of the replacement".into(),
            ));
        }
        let proto = self.debug.proto(function.die)?;
        match proto.rust {
            true if !self.alone(func) => Ok(Err(self.ambiguous(func))),
            true => known(
                proto,
                Some(
                    "DWARF does not tell the ABI of the replacement; a static of its type would: \
                     see Documentation/livepatch/check-patch.rst",
                ),
            ),
            false => known(proto, None),
        }
    }

    /// Whether no other entry has the replacement. If one has, the compiler may have merged two.
    fn alone(&self, func: &Func) -> bool {
        self.uses.get(&func.new_func) == Some(&1)
    }

    fn ambiguous(&self, func: &Func) -> String {
        let pointers = self.pointers.get(&func.new_func);
        let names: Vec<&str> = pointers
            .into_iter()
            .flatten()
            .map(|pointer| pointer.name.as_str())
            .collect();
        match names.as_slice() {
            [] | [_] => "other functions have the same replacement, or the compiler has merged \
                         several; a static of its type must say which it is"
                .into(),
            _ => format!(
                "there are several statics of the type of its replacement: {}",
                names.join(", ")
            ),
        }
    }

    /// The kernel's functions that the patch calls, and its variables that the patch uses, if the
    /// patch declares their types.
    pub fn symbols(&self) -> Vec<Symbol> {
        const KINDS: [(&str, Kind); 3] = [
            (SYMBOL, Kind::Function),
            (VARIABLE, Kind::Variable { percpu: false }),
            (PERCPU, Kind::Variable { percpu: true }),
        ];
        let parse = |symbol: &crate::elf::Symbol| {
            let text = |prefix| symbol.name.strip_prefix(prefix);
            let mut kinds = KINDS.into_iter();
            let (text, kind) = kinds.find_map(|(prefix, kind)| Some((text(prefix)?, kind)))?;
            Symbol::parse(text, symbol.address, kind)
        };
        let defined = self.image.symbols.iter().filter(|symbol| !symbol.undefined);
        defined.filter_map(parse).collect()
    }

    /// The type that the patch has for one of them.
    pub fn symbol(&self, symbol: &Symbol) -> Result<Known<Typed<'a>>> {
        let proto = match symbol.kind {
            Kind::Function => self.pointer_at(symbol.address)?,
            Kind::Variable { .. } => {
                self.static_at(symbol.address, |die| self.debug.pointee(die))?
            }
        };
        Ok(proto.map(|proto| self.typed(proto)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries() {
        let symbol = Symbol::parse("my_mod.work.cold,2", 0, Kind::Function).unwrap();
        assert_eq!(symbol.label(), "symbol my_mod:work.cold,2");
        let symbol = Symbol::parse("vmlinux.printk,0", 0, Kind::Function).unwrap();
        assert_eq!(symbol.label(), "symbol vmlinux:printk");
        assert!(Symbol::parse("vmlinux.printk", 0, Kind::Function).is_none());
    }
}
