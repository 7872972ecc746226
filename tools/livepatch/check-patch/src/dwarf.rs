// SPDX-License-Identifier: GPL-2.0

//! Functions, variables and types out of DWARF, of C and of Rust.

use crate::{
    btf::pointer_to,
    elf::Image,
    error::{Error, Result},
    types::{Kind, Proto, Ty, MAX_DEPTH},
};
use gimli::{
    constants as dw, AttributeValue, DebuggingInformationEntry, Dwarf, EndianSlice, Operation,
    RunTimeEndian, Unit, UnitOffset,
};
use std::collections::{HashMap, HashSet};

type Reader<'a> = EndianSlice<'a, RunTimeEndian>;
type Entry<'a> = DebuggingInformationEntry<Reader<'a>>;

/// Qualifiers and references are followed this far; more is a loop.
const MAX_CHAIN: usize = 64;
/// The depth of types is counted so that a pointer weighs more than a wrapper, of which Rust has
/// many around one type.
const POINTER: usize = 4;
/// Types within types that are looked into for what a patch declares.
const MAX_NESTING: usize = 16;

/// More of these structs than that are in no patch.
const MAX_INSTANCES: usize = 1 << 16;

/// Where an entry is: its unit, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Die {
    unit: usize,
    offset: UnitOffset,
}

/// The debug information of a file.
pub struct Debug<'a> {
    dwarf: Dwarf<Reader<'a>>,
    units: Vec<Unit<Reader<'a>>>,
    /// Where each unit begins in .debug_info.
    starts: Vec<usize>,
    rust: Vec<bool>,
    relocatable: bool,
    /// The structs of bindgen: they are C's, and never a wrapper of something else.
    bindings: HashSet<Die>,
}

/// A function as DWARF tells it.
pub struct Function {
    pub name: String,
    /// `None`: it has been inlined everywhere.
    pub address: Option<u64>,
    /// The compiler has changed how it is called.
    pub changed: bool,
    pub die: Die,
}

/// A static variable.
pub struct Variable {
    pub name: String,
    pub address: u64,
    pub die: Die,
}

/// The layout of a struct.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub size: u64,
    /// Offset and size of each member.
    pub members: HashMap<String, (u64, u64)>,
}

impl<'a> Debug<'a> {
    /// Returns `None` if the file has no DWARF.
    pub fn load(image: &'a Image<'a>) -> Result<Option<Self>> {
        if image.section(".debug_info").is_none() {
            return Ok(None);
        }
        let dwarf = Dwarf::load(|id| {
            Ok::<_, gimli::Error>(EndianSlice::new(
                image.section(id.name()).unwrap_or(&[]),
                image.endian,
            ))
        })?;
        let mut debug = Debug {
            dwarf,
            units: Vec::new(),
            starts: Vec::new(),
            rust: Vec::new(),
            relocatable: image.relocatable,
            bindings: HashSet::new(),
        };
        let mut headers = debug.dwarf.units();
        while let Some(header) = headers.next()? {
            let Some(start) = header.debug_info_offset() else {
                continue;
            };
            let unit = debug.dwarf.unit(header)?;
            let root = unit.entry(unit.header.root_offset())?;
            if root.has_attr(dw::DW_AT_dwo_name) || root.has_attr(dw::DW_AT_GNU_dwo_name) {
                return Err(Error::new(
                    "its DWARF is in .dwo files, which are not read; build without CONFIG_DEBUG_INFO_SPLIT",
                ));
            }
            let rust = matches!(
                root.attr_value(dw::DW_AT_language),
                Some(AttributeValue::Language(dw::DW_LANG_Rust))
            );
            debug.starts.push(start.0);
            debug.rust.push(rust);
            debug.units.push(unit);
        }
        Ok(Some(debug))
    }

    fn unit(&self, die: Die) -> Result<&Unit<Reader<'a>>> {
        self.units
            .get(die.unit)
            .ok_or_else(|| Error::new("its DWARF is malformed: no such unit"))
    }

    fn entry(&self, die: Die) -> Result<Entry<'a>> {
        Ok(self.unit(die)?.entry(die.offset)?)
    }

    fn is_rust(&self, die: Die) -> bool {
        self.rust.get(die.unit).copied().unwrap_or(false)
    }

    /// What an attribute refers to.
    fn reference(&self, from: Die, entry: &Entry<'a>, at: gimli::DwAt) -> Result<Option<Die>> {
        match entry.attr_value(at) {
            None => Ok(None),
            Some(AttributeValue::UnitRef(offset)) => Ok(Some(Die {
                unit: from.unit,
                offset,
            })),
            Some(AttributeValue::DebugInfoRef(offset)) => {
                let unit = self
                    .starts
                    .partition_point(|start| *start <= offset.0)
                    .checked_sub(1)
                    .ok_or_else(|| Error::new("its DWARF is malformed: a wild reference"))?;
                let start = self.starts.get(unit).copied().unwrap_or(0);
                Ok(Some(Die {
                    unit,
                    offset: UnitOffset(offset.0 - start),
                }))
            }
            Some(_) => Err(Error::new(
                "its DWARF refers to type units or to another file, which are not read",
            )),
        }
    }

    fn text(&self, die: Die, entry: &Entry<'a>, at: gimli::DwAt) -> Result<Option<String>> {
        match entry.attr_value(at) {
            None => Ok(None),
            Some(value) => {
                let text = self.dwarf.attr_string(self.unit(die)?, value)?;
                Ok(Some(text.to_string_lossy().into_owned()))
            }
        }
    }

    fn name(&self, die: Die, entry: &Entry<'a>) -> Result<Option<String>> {
        self.text(die, entry, dw::DW_AT_name)
    }

    fn size(entry: &Entry<'a>) -> Option<u64> {
        entry.attr_value(dw::DW_AT_byte_size)?.udata_value()
    }

    /// The direct children of an entry.
    fn children(&self, die: Die) -> Result<Vec<(Die, Entry<'a>)>> {
        let mut cursor = self.unit(die)?.entries_at_offset(die.offset)?;
        let mut children = Vec::new();
        if !cursor.next_entry()? {
            return Ok(children);
        }
        let Some(parent) = cursor.current() else {
            return Ok(children);
        };
        if !parent.has_children() {
            return Ok(children);
        }
        let inside = parent.depth() + 1;
        while let Some(entry) = cursor.next_dfs()? {
            if entry.depth() < inside {
                break;
            }
            if entry.depth() == inside {
                children.push((
                    Die {
                        unit: die.unit,
                        offset: entry.offset(),
                    },
                    entry.clone(),
                ));
            }
        }
        Ok(children)
    }

    /// Call `visit` with each entry that has one of the tags.
    fn visit(
        &self,
        tags: &[gimli::DwTag],
        mut visit: impl FnMut(Die, &Entry<'a>) -> Result<()>,
    ) -> Result<()> {
        for (index, unit) in self.units.iter().enumerate() {
            let mut raw = unit.entries_raw(None)?;
            while !raw.is_empty() {
                let offset = raw.next_offset();
                let Some(abbreviation) = raw.read_abbreviation()? else {
                    continue;
                };
                if tags.contains(&abbreviation.tag()) {
                    visit(
                        Die {
                            unit: index,
                            offset,
                        },
                        &unit.entry(offset)?,
                    )?;
                }
                raw.skip_attributes(abbreviation.attributes())?;
            }
        }
        Ok(())
    }

    /// Find out which structs are bindgen's; only needed for a patch in Rust.
    pub fn read_bindings(&mut self) -> Result<()> {
        let mut found = HashSet::new();
        for (index, unit) in self.units.iter().enumerate() {
            if !self.rust.get(index).copied().unwrap_or(false) {
                continue;
            }
            // The depth of the outermost namespace of bindgen that we are in.
            let mut bindings: Option<isize> = None;
            let mut cursor = unit.entries();
            while let Some(entry) = cursor.next_dfs()? {
                if bindings.is_some_and(|depth| entry.depth() <= depth) {
                    bindings = None;
                }
                let die = Die {
                    unit: index,
                    offset: entry.offset(),
                };
                match entry.tag() {
                    dw::DW_TAG_namespace if bindings.is_none() => {
                        let name = self.name(die, entry)?.unwrap_or_default();
                        if matches!(name.as_str(), "bindings" | "bindings_raw" | "uapi") {
                            bindings = Some(entry.depth());
                        }
                    }
                    dw::DW_TAG_structure_type | dw::DW_TAG_union_type if bindings.is_some() => {
                        found.insert(die);
                    }
                    _ => {}
                }
            }
        }
        self.bindings = found;
        Ok(())
    }

    /// The entry of a function that tells its name and type: its own, or the one it is an
    /// instance of.
    fn origins(&self, die: Die) -> Result<Vec<(Die, Entry<'a>)>> {
        let mut chain = Vec::new();
        let mut at = die;
        for _ in 0..MAX_CHAIN {
            let entry = self.entry(at)?;
            let next = match self.reference(at, &entry, dw::DW_AT_abstract_origin)? {
                Some(next) => Some(next),
                None => self.reference(at, &entry, dw::DW_AT_specification)?,
            };
            chain.push((at, entry));
            match next {
                Some(next) => at = next,
                None => return Ok(chain),
            }
        }
        Err(Error::new(
            "its DWARF is malformed: an origin without an end",
        ))
    }

    fn address(&self, die: Die, entry: &Entry<'a>) -> Result<Option<u64>> {
        let unit = self.unit(die)?;
        for at in [dw::DW_AT_entry_pc, dw::DW_AT_low_pc] {
            if let Some(value) = entry.attr_value(at) {
                if let Some(address) = self.dwarf.attr_address(unit, value)? {
                    return Ok(Some(address));
                }
            }
        }
        let mut ranges = self.dwarf.die_ranges(unit, entry)?;
        Ok(ranges.next()?.map(|range| range.begin))
    }

    /// All functions whose names are asked for, and those at the addresses.
    pub fn functions(
        &self,
        wanted: impl Fn(&str) -> bool,
        addresses: &HashSet<u64>,
    ) -> Result<Vec<Function>> {
        let mut found = Vec::new();
        self.visit(&[dw::DW_TAG_subprogram], |die, entry| {
            if entry.has_attr(dw::DW_AT_declaration) {
                return Ok(());
            }
            let address = self.address(die, entry)?;
            // What the linker has left out.
            if address == Some(0) && !self.relocatable {
                return Ok(());
            }
            let mut name = self.name(die, entry)?;
            let by_address = address.is_some_and(|address| addresses.contains(&address));
            // Most functions have their names with them, and nobody asks for them.
            if name
                .as_ref()
                .is_some_and(|name| !by_address && !wanted(name))
            {
                return Ok(());
            }
            let chain = self.origins(die)?;
            let mut changed = false;
            for (at, entry) in &chain {
                if name.is_none() {
                    name = self.name(*at, entry)?;
                }
                changed |= matches!(
                    entry.attr_value(dw::DW_AT_calling_convention),
                    Some(AttributeValue::CallingConvention(dw::DW_CC_nocall))
                );
            }
            let Some(name) = name else {
                return Ok(());
            };
            if by_address || wanted(&name) {
                found.push(Function {
                    name,
                    address,
                    changed,
                    die,
                });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The type of a function.
    pub fn proto(&self, function: Die) -> Result<Proto> {
        let chain = self.origins(function)?;
        // The last one has all parameters; an instance may have lost some of them.
        let (die, _) = chain
            .last()
            .ok_or_else(|| Error::new("its DWARF is malformed: no function"))?;
        let mut ret = None;
        for (at, entry) in &chain {
            if let Some(ty) = self.reference(*at, entry, dw::DW_AT_type)? {
                ret = Some(ty);
                break;
            }
        }
        self.proto_of(*die, ret, 0)
    }

    fn proto_of(&self, die: Die, ret: Option<Die>, depth: usize) -> Result<Proto> {
        let mut args = Vec::new();
        let mut variadic = false;
        for (child, entry) in self.children(die)? {
            match entry.tag() {
                dw::DW_TAG_formal_parameter => {
                    args.push(match self.reference(child, &entry, dw::DW_AT_type)? {
                        Some(ty) => self.ty(ty, depth)?,
                        None => Ty::unknown("DWARF gives it no type"),
                    })
                }
                dw::DW_TAG_unspecified_parameters => variadic = true,
                _ => {}
            }
        }
        let rust = self.is_rust(die);
        Ok(Proto {
            ret: match ret {
                Some(ret) => self.ty(ret, depth)?,
                None => Ty::void(if rust { "()" } else { "void" }),
            },
            args,
            variadic,
            rust,
            abi: None,
        })
    }

    /// The type of a pointer to a function, as a static of Rust has it, with its ABI.
    fn pointer_proto(&self, die: Die) -> Result<Option<Proto>> {
        let entry = self.entry(die)?;
        let Some(target) = self.reference(die, &entry, dw::DW_AT_type)? else {
            return Ok(None);
        };
        let function = self.entry(target)?;
        if function.tag() != dw::DW_TAG_subroutine_type {
            return Ok(None);
        }
        let ret = self.reference(target, &function, dw::DW_AT_type)?;
        let mut proto = self.proto_of(target, ret, 0)?;
        proto.abi = self.name(die, &entry)?.and_then(|name| {
            let head = name.split("fn(").next()?;
            Some(match head.split('"').nth(1) {
                Some(abi) => abi.to_string(),
                None if head.contains("extern") => "C".to_string(),
                None => "Rust".to_string(),
            })
        });
        Ok(Some(proto))
    }

    /// Follow typedefs and qualifiers, and Rust types that wrap a pointer, to a pointer to a
    /// function.
    pub fn function_pointer(&self, variable: Die) -> Result<Option<Proto>> {
        let entry = self.entry(variable)?;
        let mut at = self.reference(variable, &entry, dw::DW_AT_type)?;
        for _ in 0..MAX_CHAIN {
            let Some(die) = at else { return Ok(None) };
            let entry = self.entry(die)?;
            at = match entry.tag() {
                dw::DW_TAG_pointer_type => return self.pointer_proto(die),
                dw::DW_TAG_typedef | dw::DW_TAG_const_type | dw::DW_TAG_volatile_type => {
                    self.reference(die, &entry, dw::DW_AT_type)?
                }
                dw::DW_TAG_structure_type | dw::DW_TAG_union_type if self.is_rust(die) => {
                    self.wrapped(die, &entry)?
                }
                _ => None,
            };
        }
        Ok(None)
    }

    /// All variables that have an address.
    pub fn variables(&self) -> Result<Vec<Variable>> {
        let mut found = Vec::new();
        self.visit(&[dw::DW_TAG_variable], |die, entry| {
            let Some(AttributeValue::Exprloc(expression)) = entry.attr_value(dw::DW_AT_location)
            else {
                return Ok(());
            };
            let unit = self.unit(die)?;
            let mut operations = expression.operations(unit.encoding());
            let address = match operations.next()? {
                Some(Operation::Address { address }) => address,
                Some(Operation::AddressIndex { index }) => self.dwarf.address(unit, index)?,
                _ => return Ok(()),
            };
            if operations.next()?.is_some() {
                return Ok(());
            }
            let mut name = String::new();
            for (at, entry) in self.origins(die)? {
                if let Some(text) = self.name(at, &entry)? {
                    name = text;
                    break;
                }
            }
            found.push(Variable { name, address, die });
            Ok(())
        })?;
        Ok(found)
    }

    /// The layout of the first complete struct of that name.
    pub fn layout(&self, names: &[&str]) -> Result<HashMap<String, Layout>> {
        let mut found: HashMap<String, Layout> = HashMap::new();
        self.visit(&[dw::DW_TAG_structure_type], |die, entry| {
            let Some(name) = self.name(die, entry)? else {
                return Ok(());
            };
            let Some(size) = Self::size(entry) else {
                return Ok(());
            };
            if !names.contains(&name.as_str()) || found.contains_key(&name) {
                return Ok(());
            }
            let mut layout = Layout {
                size,
                members: HashMap::new(),
            };
            for (child, entry) in self.children(die)? {
                let Some((offset, ty)) = self.member(child, &entry)? else {
                    continue;
                };
                if let (Some(name), Some(size)) = (self.name(child, &entry)?, self.size_of(ty)?) {
                    layout.members.insert(name, (offset, size));
                }
            }
            found.insert(name, layout);
            Ok(())
        })?;
        Ok(found)
    }

    /// Where the structs of these names are within a variable: name and address of each.
    pub fn instances(&self, variable: &Variable, names: &[&str]) -> Result<Vec<(String, u64)>> {
        let entry = self.entry(variable.die)?;
        let mut found = Vec::new();
        if let Some(ty) = self.reference(variable.die, &entry, dw::DW_AT_type)? {
            self.instances_in(ty, variable.address, names, &mut found, 0)?;
        }
        Ok(found)
    }

    fn instances_in(
        &self,
        ty: Die,
        address: u64,
        names: &[&str],
        found: &mut Vec<(String, u64)>,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_NESTING {
            return Ok(());
        }
        let entry = self.entry(ty)?;
        match entry.tag() {
            dw::DW_TAG_typedef | dw::DW_TAG_const_type | dw::DW_TAG_volatile_type => {
                if let Some(ty) = self.reference(ty, &entry, dw::DW_AT_type)? {
                    self.instances_in(ty, address, names, found, depth + 1)?;
                }
            }
            dw::DW_TAG_array_type => {
                let Some(element) = self.reference(ty, &entry, dw::DW_AT_type)? else {
                    return Ok(());
                };
                let mut first = Vec::new();
                self.instances_in(element, 0, names, &mut first, depth + 1)?;
                if first.is_empty() {
                    return Ok(());
                }
                let (count, stride) = (self.count(ty)?, self.size_of(element)?.unwrap_or(0));
                for i in 0..count.min(1 << 16) {
                    if found.len() > MAX_INSTANCES {
                        return Err(Error::new(
                            "its DWARF is malformed: an array without an end",
                        ));
                    }
                    for (name, offset) in &first {
                        let at = address
                            .wrapping_add(i.wrapping_mul(stride))
                            .wrapping_add(*offset);
                        found.push((name.clone(), at));
                    }
                }
            }
            dw::DW_TAG_structure_type | dw::DW_TAG_union_type | dw::DW_TAG_class_type => {
                if let Some(name) = self.name(ty, &entry)? {
                    if names.contains(&name.as_str()) {
                        found.push((name, address));
                        return Ok(());
                    }
                }
                for (child, entry) in self.children(ty)? {
                    if let Some((offset, ty)) = self.member(child, &entry)? {
                        let at = address.wrapping_add(offset);
                        self.instances_in(ty, at, names, found, depth + 1)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Offset and type of a member.
    fn member(&self, die: Die, entry: &Entry<'a>) -> Result<Option<(u64, Die)>> {
        if entry.tag() != dw::DW_TAG_member {
            return Ok(None);
        }
        let offset = match entry.attr_value(dw::DW_AT_data_member_location) {
            None => 0,
            Some(value) => match value.udata_value() {
                Some(offset) => offset,
                None => return Ok(None),
            },
        };
        Ok(self
            .reference(die, entry, dw::DW_AT_type)?
            .map(|ty| (offset, ty)))
    }

    /// The number of elements of an array.
    fn count(&self, array: Die) -> Result<u64> {
        let mut count = 1u64;
        for (_, entry) in self.children(array)? {
            if entry.tag() != dw::DW_TAG_subrange_type {
                continue;
            }
            let value = |at| entry.attr_value(at).and_then(|value| value.udata_value());
            let n = match (value(dw::DW_AT_count), value(dw::DW_AT_upper_bound)) {
                (Some(count), _) => count,
                (None, Some(last)) => last.saturating_add(1),
                (None, None) => 0,
            };
            count = count.saturating_mul(n);
        }
        Ok(count)
    }

    fn size_of(&self, mut ty: Die) -> Result<Option<u64>> {
        let mut times = 1u64;
        for _ in 0..MAX_CHAIN {
            let entry = self.entry(ty)?;
            if let Some(size) = Self::size(&entry) {
                return Ok(Some(size.saturating_mul(times)));
            }
            match entry.tag() {
                dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type => {
                    let size = u64::from(self.unit(ty)?.encoding().address_size);
                    return Ok(Some(size.saturating_mul(times)));
                }
                dw::DW_TAG_array_type => times = times.saturating_mul(self.count(ty)?),
                _ => {}
            }
            match self.reference(ty, &entry, dw::DW_AT_type)? {
                Some(next) => ty = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Of a Rust type that has the layout of another: that other one. Such are transparent
    /// wrappers (`Opaque<T>`, `UnsafeCell<T>`, `NonNull<T>`, `KBox<T>`), `MaybeUninit<T>`, and
    /// `Option<T>` where `None` needs no room of its own.
    fn wrapped(&self, die: Die, entry: &Entry<'a>) -> Result<Option<Die>> {
        if self.bindings.contains(&die) {
            return Ok(None);
        }
        let Some(size) = Self::size(entry).filter(|size| *size > 0) else {
            return Ok(None);
        };
        let mut only = None;
        let mut look = vec![die];
        let mut steps = 0;
        while let Some(at) = look.pop() {
            steps += 1;
            if steps > MAX_CHAIN {
                return Ok(None);
            }
            for (child, entry) in self.children(at)? {
                match entry.tag() {
                    // An enum with data.
                    dw::DW_TAG_variant_part | dw::DW_TAG_variant => look.push(child),
                    dw::DW_TAG_member if !entry.has_attr(dw::DW_AT_artificial) => {
                        let Some((offset, ty)) = self.member(child, &entry)? else {
                            return Ok(None);
                        };
                        // The size of `None` is that of the whole; it has no members.
                        if at != die && self.is_empty(ty)? || self.size_of(ty)? == Some(0) {
                            continue;
                        }
                        if only.is_some() || offset != 0 || self.size_of(ty)? != Some(size) {
                            return Ok(None);
                        }
                        only = Some(ty);
                    }
                    _ => {}
                }
            }
        }
        Ok(only)
    }

    fn is_empty(&self, ty: Die) -> Result<bool> {
        for (child, entry) in self.children(ty)? {
            if let Some((_, ty)) = self.member(child, &entry)? {
                if self.size_of(ty)? != Some(0) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn ty(&self, die: Die, depth: usize) -> Result<Ty> {
        if depth > 2 * POINTER * MAX_DEPTH {
            return Ok(Ty::unknown("its type is nested too deeply"));
        }
        let mut at = die;
        let mut typedefs: Vec<String> = Vec::new();
        let mut constant = false;
        for _ in 0..MAX_CHAIN {
            let entry = self.entry(at)?;
            match entry.tag() {
                dw::DW_TAG_typedef => typedefs.extend(self.name(at, &entry)?),
                dw::DW_TAG_const_type => constant |= typedefs.is_empty(),
                dw::DW_TAG_volatile_type | dw::DW_TAG_restrict_type | dw::DW_TAG_atomic_type => {}
                _ => {
                    let mut ty = self.bare(at, &entry, &typedefs, depth)?;
                    return Ok(qualified(&mut ty, &typedefs, constant));
                }
            }
            match self.reference(at, &entry, dw::DW_AT_type)? {
                Some(next) => at = next,
                // A qualifier of nothing is one of void.
                None => return Ok(qualified(&mut Ty::void("void"), &typedefs, constant)),
            }
        }
        Err(Error::new("its DWARF is malformed: a type without an end"))
    }

    /// Whether a pointer to that type is one to const.
    fn is_constant(&self, mut at: Die) -> Result<bool> {
        for _ in 0..MAX_CHAIN {
            let entry = self.entry(at)?;
            match entry.tag() {
                dw::DW_TAG_const_type => return Ok(true),
                dw::DW_TAG_typedef | dw::DW_TAG_volatile_type | dw::DW_TAG_restrict_type => {}
                _ => return Ok(false),
            }
            match self.reference(at, &entry, dw::DW_AT_type)? {
                Some(next) => at = next,
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// A type without typedefs and qualifiers.
    fn bare(&self, die: Die, entry: &Entry<'a>, typedefs: &[String], depth: usize) -> Result<Ty> {
        let rust = self.is_rust(die);
        let own = self.name(die, entry)?;
        let size = match Self::size(entry) {
            Some(size) => Some(size),
            None if entry.has_attr(dw::DW_AT_declaration) => None,
            None => self.size_of(die)?,
        };
        let names = || own.iter().chain(typedefs).cloned().collect::<Vec<_>>();
        let tagged = |keyword: &str| match &own {
            Some(own) if rust => own.clone(),
            Some(own) => format!("{keyword} {own}"),
            None => format!("an anonymous {keyword}"),
        };
        Ok(match entry.tag() {
            dw::DW_TAG_base_type => {
                let show = own.unwrap_or_default();
                let kind = match entry.attr_value(dw::DW_AT_encoding) {
                    _ if size == Some(0) => Kind::Void,
                    Some(AttributeValue::Encoding(encoding)) => match encoding {
                        dw::DW_ATE_boolean => Kind::Bool,
                        dw::DW_ATE_float => Kind::Float,
                        dw::DW_ATE_signed | dw::DW_ATE_signed_char => Kind::Int {
                            signed: true,
                            char: show == "char",
                        },
                        dw::DW_ATE_unsigned | dw::DW_ATE_unsigned_char | dw::DW_ATE_UTF => {
                            Kind::Int {
                                signed: false,
                                char: show == "char" && !rust,
                            }
                        }
                        other => Kind::Unknown(format!("its encoding is {other}")),
                    },
                    _ => Kind::Unknown("its encoding is missing".into()),
                };
                Ty { show, size, kind }
            }
            dw::DW_TAG_unspecified_type => Ty::void(&own.unwrap_or_else(|| "void".into())),
            dw::DW_TAG_pointer_type
            | dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type => {
                let target = self.reference(die, entry, dw::DW_AT_type)?;
                let to = match target {
                    None => Ty::void("void"),
                    Some(_) if depth >= POINTER * MAX_DEPTH => Ty::void("..."),
                    Some(target) => self.ty(target, depth + POINTER)?,
                };
                let own = own.filter(|_| rust);
                let constant = match &own {
                    Some(name) if name.starts_with("*const ") => Some(true),
                    Some(name) if name.starts_with("*mut ") => Some(false),
                    Some(_) => None,
                    None => match target {
                        Some(target) => Some(self.is_constant(target)?),
                        None => Some(false),
                    },
                };
                Ty {
                    show: match own {
                        Some(name) => name
                            .replace("bindings::bindings_raw::", "bindings::")
                            .replace("core::ffi::c_void", "c_void"),
                        None => pointer_to(&to),
                    },
                    size,
                    kind: Kind::Pointer {
                        to: Box::new(to),
                        constant,
                    },
                }
            }
            // Rust's `c_void`.
            dw::DW_TAG_enumeration_type if rust && own.as_deref() == Some("c_void") => {
                Ty::void("c_void")
            }
            dw::DW_TAG_enumeration_type => Ty {
                show: tagged("enum"),
                size,
                kind: Kind::Enum { names: names() },
            },
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                let union = entry.tag() == dw::DW_TAG_union_type;
                let inner = match rust {
                    true => self.wrapped(die, entry)?,
                    false => None,
                };
                let inner = match inner {
                    Some(inner) => {
                        let mut inner = self.ty(inner, depth + 1)?;
                        // NonNull<T> is made of a `*const T`, which means nothing.
                        if let Kind::Pointer { constant, .. } = &mut inner.kind {
                            *constant = None;
                        }
                        Some(Box::new(inner))
                    }
                    None => None,
                };
                Ty {
                    show: tagged(if union { "union" } else { "struct" }),
                    size,
                    kind: Kind::Aggregate {
                        names: names(),
                        inner,
                    },
                }
            }
            dw::DW_TAG_array_type => {
                let of = match self.reference(die, entry, dw::DW_AT_type)? {
                    Some(of) => self.ty(of, depth + 1)?,
                    None => Ty::unknown("an array of nothing"),
                };
                Ty {
                    show: format!("{}[]", of.show),
                    size,
                    kind: Kind::Array { of: Box::new(of) },
                }
            }
            dw::DW_TAG_subroutine_type => {
                let ret = self.reference(die, entry, dw::DW_AT_type)?;
                Ty {
                    show: "function".into(),
                    size: None,
                    kind: if depth > POINTER * MAX_DEPTH {
                        Kind::Void
                    } else {
                        Kind::Function(Box::new(self.proto_of(die, ret, depth + 1)?))
                    },
                }
            }
            other => Ty::unknown(format!("DWARF has a {other} in its place")),
        })
    }
}

fn qualified(ty: &mut Ty, typedefs: &[String], constant: bool) -> Ty {
    if let Some(typedef) = typedefs.first() {
        ty.show.clone_from(typedef);
    }
    if constant {
        ty.show = format!("const {}", ty.show);
    }
    ty.clone()
}
