// SPDX-License-Identifier: GPL-2.0

//! Functions, variables and types from DWARF, of C and of Rust.

mod types;

use crate::{
    elf::Image,
    error::{Error, Result},
    types::{Id, Proto, Ty},
};
use gimli::{
    constants as dw, AttributeValue, DebuggingInformationEntry, Dwarf, EndianSlice, Operation,
    RunTimeEndian, Unit, UnitOffset,
};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

type Reader<'a> = EndianSlice<'a, RunTimeEndian>;
type Entry<'a> = DebuggingInformationEntry<Reader<'a>>;

/// Qualifiers and references are followed this far; more is a loop.
const MAX_CHAIN: usize = 64;
/// Types within types that are searched for what a patch declares.
const MAX_NESTING: usize = 16;

/// No patch has more of these structs than that.
const MAX_INSTANCES: usize = 1 << 16;

/// Where an entry is: its unit, and its offset there.
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
    endian: RunTimeEndian,
    relocatable: bool,
    /// The structs and enums of bindgen: they are C's, and never a wrapper of something else.
    bindings: HashSet<Die>,
    /// The types that have been read.
    memo: RefCell<HashMap<Id, Rc<Ty>>>,
}

/// A function as DWARF describes it.
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

/// Which of the structs asked for are within a type, and where.
type Within = HashMap<Die, Rc<Vec<(String, u64)>>>;

/// The layout of a struct.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub size: u64,
    /// Offset and size of each member.
    pub members: HashMap<String, (u64, u64)>,
}

fn too_many() -> Error {
    Error::new("its DWARF is malformed: an array without an end")
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
            endian: image.endian,
            relocatable: image.relocatable,
            bindings: HashSet::new(),
            memo: RefCell::default(),
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

    /// An entry as a type: its offset in .debug_info, where the first is that of `void`.
    fn id(&self, die: Die) -> Id {
        let start = self.starts.get(die.unit).copied().unwrap_or(0);
        Id((start as u64)
            .saturating_add(die.offset.0 as u64)
            .saturating_add(1))
    }

    /// The entry of a type; `None` for `void`.
    fn die(&self, id: Id) -> Result<Option<Die>> {
        match id.0.checked_sub(1) {
            None => Ok(None),
            Some(at) => self
                .global(usize::try_from(at).unwrap_or(usize::MAX))
                .map(Some),
        }
    }

    /// The entry at an offset in .debug_info.
    fn global(&self, at: usize) -> Result<Die> {
        let wild = || Error::new("its DWARF is malformed: a wild reference");
        let after = self.starts.partition_point(|start| *start <= at);
        let unit = after.checked_sub(1).ok_or_else(wild)?;
        let start = self.starts.get(unit).ok_or_else(wild)?;
        Ok(Die {
            unit,
            offset: UnitOffset(at - start),
        })
    }

    /// What an attribute refers to.
    fn reference(&self, from: Die, entry: &Entry<'a>, at: gimli::DwAt) -> Result<Option<Die>> {
        match entry.attr_value(at) {
            None => Ok(None),
            Some(AttributeValue::UnitRef(offset)) => Ok(Some(Die {
                unit: from.unit,
                offset,
            })),
            Some(AttributeValue::DebugInfoRef(offset)) => self.global(offset.0).map(Some),
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

    /// Calls `visit` with each entry that has one of the tags.
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

    /// Finds out which structs and enums are bindgen's; only needed for a patch in Rust.
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
                    dw::DW_TAG_structure_type
                    | dw::DW_TAG_union_type
                    | dw::DW_TAG_enumeration_type
                        if bindings.is_some() =>
                    {
                        found.insert(die);
                    }
                    _ => {}
                }
            }
        }
        self.bindings = found;
        Ok(())
    }

    /// The entry of a function, and those of which it is an instance: they have its name and type.
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
            // Most functions have their names with them, and are not wanted.
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
        self.proto_of(*die, ret)
    }

    /// The type of the function that a variable of Rust points to, or would point to by a pointer
    /// behind that, with its ABI.
    pub fn function_pointer(&self, variable: Die) -> Result<Option<Proto>> {
        let Some((mut pointer, mut target)) = self.pointer_and_target(variable)? else {
            return Ok(None);
        };
        if self.entry(target)?.tag() == dw::DW_TAG_pointer_type {
            let Some(behind) = self.type_of(target)? else {
                return Ok(None);
            };
            (pointer, target) = (target, behind);
        }
        let function = self.entry(target)?;
        if function.tag() != dw::DW_TAG_subroutine_type || !self.is_rust(target) {
            return Ok(None);
        }
        let ret = self.reference(target, &function, dw::DW_AT_type)?;
        let name = self.name(pointer, &self.entry(pointer)?)?;
        Ok(Some(Proto {
            abi: name.as_deref().and_then(types::abi_of),
            ..self.proto_of(target, ret)?
        }))
    }

    /// The type of a variable of C, for a comparison.
    pub fn variable(&self, variable: Die) -> Result<Option<Proto>> {
        for (at, entry) in self.origins(variable)? {
            if let Some(ty) = self.reference(at, &entry, dw::DW_AT_type)? {
                return Ok(Some(Proto::of_variable(self.id(ty), self.is_rust(ty))));
            }
        }
        Ok(None)
    }

    /// The type that an entry has.
    fn type_of(&self, die: Die) -> Result<Option<Die>> {
        self.reference(die, &self.entry(die)?, dw::DW_AT_type)
    }

    /// The pointer that a variable of Rust holds, and what it points to.
    fn pointer_and_target(&self, variable: Die) -> Result<Option<(Die, Die)>> {
        let Some(pointer) = self.pointer_in(variable)? else {
            return Ok(None);
        };
        Ok(self.type_of(pointer)?.map(|target| (pointer, target)))
    }

    /// The type that a variable of Rust points to, for a comparison.
    pub fn pointee(&self, variable: Die) -> Result<Option<Proto>> {
        let target = self.pointer_and_target(variable)?;
        Ok(target.map(|(_, ty)| Proto::of_variable(self.id(ty), true)))
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

    /// The source file of a unit. rustc adds the name of a codegen unit to it.
    fn file(&self, unit: &Unit<Reader<'a>>) -> Option<String> {
        let name = unit.name?.to_string_lossy();
        let file = name.split("/@/").next().filter(|file| !file.is_empty())?;
        Some(file.to_string())
    }

    /// The source files of the code at these addresses, where a unit has them.
    pub fn files_of_code(&self, addresses: &HashSet<u64>) -> Result<HashMap<u64, String>> {
        let mut found = HashMap::new();
        for unit in &self.units {
            let root = unit.entry(unit.header.root_offset())?;
            // gimli adds them without a check.
            let size = root
                .attr_value(dw::DW_AT_high_pc)
                .and_then(|size| size.udata_value());
            if unit.low_pc.checked_add(size.unwrap_or(0)).is_none() {
                return Err(Error::new("its DWARF is malformed: a unit is too large"));
            }
            let mut ranges = self.dwarf.die_ranges(unit, &root)?;
            while let Some(range) = ranges.next()? {
                let here = |address: &&u64| (range.begin..range.end).contains(*address);
                for address in addresses.iter().filter(here) {
                    if let Some(file) = self.file(unit) {
                        found.insert(*address, file);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The source files of the variables at these addresses.
    pub fn files_of_data(&self, addresses: &HashSet<u64>) -> Result<HashMap<u64, String>> {
        let mut found = HashMap::new();
        for variable in self.variables()? {
            // What the linker has left out is at 0.
            if addresses.contains(&variable.address) && (self.relocatable || variable.address != 0)
            {
                if let Some(file) = self.file(self.unit(variable.die)?) {
                    found.insert(variable.address, file);
                }
            }
        }
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

    /// Where the structs of these names are within variables: name and address of each.
    pub fn instances(&self, names: &[&str]) -> Result<Vec<(String, u64)>> {
        let mut within = Within::default();
        let mut found = Vec::new();
        for variable in self.variables()? {
            let entry = self.entry(variable.die)?;
            if let Some(ty) = self.reference(variable.die, &entry, dw::DW_AT_type)? {
                for (name, offset) in self.within(ty, names, &mut within, 0)?.iter() {
                    found.push((name.clone(), variable.address.wrapping_add(*offset)));
                }
            }
            if found.len() > MAX_INSTANCES {
                return Err(too_many());
            }
        }
        Ok(found)
    }

    /// Where the structs of these names are within a type. Each type is searched once, so that
    /// the search of one that is within itself ends.
    fn within(
        &self,
        ty: Die,
        names: &[&str],
        known: &mut Within,
        depth: usize,
    ) -> Result<Rc<Vec<(String, u64)>>> {
        if let Some(found) = known.get(&ty) {
            return Ok(found.clone());
        }
        known.insert(ty, Rc::default());
        if depth > MAX_NESTING {
            return Ok(Rc::default());
        }
        let entry = self.entry(ty)?;
        let mut found = Vec::new();
        match entry.tag() {
            dw::DW_TAG_typedef | dw::DW_TAG_const_type | dw::DW_TAG_volatile_type => {
                if let Some(ty) = self.reference(ty, &entry, dw::DW_AT_type)? {
                    found.extend_from_slice(&self.within(ty, names, known, depth + 1)?);
                }
            }
            dw::DW_TAG_array_type => {
                if let Some(element) = self.reference(ty, &entry, dw::DW_AT_type)? {
                    let first = self.within(element, names, known, depth + 1)?;
                    found = self.repeated(ty, element, &first)?;
                }
            }
            dw::DW_TAG_structure_type | dw::DW_TAG_union_type | dw::DW_TAG_class_type => {
                let name = self.name(ty, &entry)?.unwrap_or_default();
                if names.contains(&name.as_str()) {
                    found.push((name, 0));
                } else {
                    for (child, entry) in self.children(ty)? {
                        let Some((offset, ty)) = self.member(child, &entry)? else {
                            continue;
                        };
                        let inside = self.within(ty, names, known, depth + 1)?;
                        found.extend(
                            inside
                                .iter()
                                .map(|(name, at)| (name.clone(), offset.wrapping_add(*at))),
                        );
                    }
                }
            }
            _ => {}
        }
        if found.len() > MAX_INSTANCES {
            return Err(too_many());
        }
        let found = Rc::new(found);
        known.insert(ty, found.clone());
        Ok(found)
    }

    /// What is in the first element of an array, for all of its elements.
    fn repeated(
        &self,
        array: Die,
        element: Die,
        first: &[(String, u64)],
    ) -> Result<Vec<(String, u64)>> {
        if first.is_empty() {
            return Ok(Vec::new());
        }
        let stride = self.size_of(element)?.unwrap_or(0);
        let count = self.length(array)?.unwrap_or(0);
        if count.saturating_mul(first.len() as u64) > MAX_INSTANCES as u64 {
            return Err(too_many());
        }
        let moved = |i: u64| {
            first
                .iter()
                .map(move |(name, at)| (name.clone(), i.wrapping_mul(stride).wrapping_add(*at)))
        };
        Ok((0..count).flat_map(moved).collect())
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

    /// The number of elements of an array, if it is known.
    fn length(&self, array: Die) -> Result<Option<u64>> {
        let mut length = 1u64;
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
            length = length.saturating_mul(n);
        }
        // One of no elements may be one of any number.
        Ok(Some(length).filter(|length| *length > 0))
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
                dw::DW_TAG_array_type => {
                    times = times.saturating_mul(self.length(ty)?.unwrap_or(0))
                }
                _ => {}
            }
            match self.reference(ty, &entry, dw::DW_AT_type)? {
                Some(next) => ty = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}
