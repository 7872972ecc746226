// SPDX-License-Identifier: GPL-2.0

//! The types in DWARF, of C and of Rust.

use super::{Debug, Die, Entry, MAX_CHAIN};
use crate::{
    error::{Error, Result},
    types::{pointer_to, Aggregate, Id, Kind, Member, Origin, Proto, Ty, Types, Values},
};
use gimli::{constants as dw, AttributeValue, RunTimeEndian};
use std::{collections::BTreeSet, rc::Rc};

/// Types within a name that is shown.
const MAX_SHOWN: usize = 16;

/// A type behind its typedefs and qualifiers.
struct Bare<'a> {
    /// `None`: `void`, which has no entry.
    at: Option<(Die, Entry<'a>)>,
    typedefs: Vec<String>,
    constant: bool,
}

/// What a Rust type wraps that adds nothing to its layout.
struct Wrapped {
    ty: Die,
    values: Values,
}

fn endless() -> Error {
    Error::new("its DWARF is malformed: a type without an end")
}

impl Types for Debug<'_> {
    fn ty(&self, id: Id) -> Result<Rc<Ty>> {
        if let Some(ty) = self.memo.borrow().get(&id) {
            return Ok(ty.clone());
        }
        let bare = self.bare(self.die(id)?)?;
        let (size, kind) = self.kind(&bare)?;
        let show = self.show(&bare, 0)?;
        let ty = Rc::new(Ty { show, size, kind });
        self.memo.borrow_mut().insert(id, ty.clone());
        Ok(ty)
    }
}

impl<'a> Debug<'a> {
    /// The type of a function whose entry, or whose type's, is `die`.
    pub(super) fn proto_of(&self, die: Die, ret: Option<Die>) -> Result<Proto> {
        let mut args = Vec::new();
        let mut variadic = false;
        for (child, entry) in self.children(die)? {
            match entry.tag() {
                dw::DW_TAG_formal_parameter => {
                    let ty = self.reference(child, &entry, dw::DW_AT_type)?;
                    // An entry that is no type is an unknown one.
                    args.push(self.id(ty.unwrap_or(child)));
                }
                dw::DW_TAG_unspecified_parameters => variadic = true,
                _ => {}
            }
        }
        Ok(Proto {
            ret: ret.map_or(Id::VOID, |ret| self.id(ret)),
            args,
            variadic,
            rust: self.is_rust(die),
            abi: None,
        })
    }

    fn bare(&self, die: Option<Die>) -> Result<Bare<'a>> {
        let mut typedefs = Vec::new();
        let mut constant = false;
        let mut next = die;
        for _ in 0..MAX_CHAIN {
            let Some(at) = next else {
                return Ok(Bare {
                    at: None,
                    typedefs,
                    constant,
                });
            };
            let entry = self.entry(at)?;
            match entry.tag() {
                dw::DW_TAG_typedef => typedefs.extend(self.name(at, &entry)?),
                dw::DW_TAG_const_type => constant |= typedefs.is_empty(),
                dw::DW_TAG_volatile_type | dw::DW_TAG_restrict_type | dw::DW_TAG_atomic_type => {}
                _ => {
                    return Ok(Bare {
                        at: Some((at, entry)),
                        typedefs,
                        constant,
                    })
                }
            }
            next = self.reference(at, &entry, dw::DW_AT_type)?;
        }
        Err(endless())
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
        Err(endless())
    }

    /// A type as its language writes it. Pointers may be a loop, which ends in dots.
    fn show(&self, bare: &Bare<'a>, depth: usize) -> Result<String> {
        let Some((die, entry)) = &bare.at else {
            return Ok(bare.written("void"));
        };
        let (die, rust) = (*die, self.is_rust(*die));
        let of = || match self.reference(die, entry, dw::DW_AT_type)? {
            _ if depth >= MAX_SHOWN => Ok("...".to_string()),
            target => self.show(&self.bare(target)?, depth + 1),
        };
        let own = self.name(die, entry)?;
        let tagged = |keyword: &str| match &own {
            Some(own) if rust => own.clone(),
            Some(own) => format!("{keyword} {own}"),
            None => format!("an anonymous {keyword}"),
        };
        Ok(bare.written(&match entry.tag() {
            dw::DW_TAG_base_type => own.unwrap_or_default(),
            dw::DW_TAG_unspecified_type => own.unwrap_or_else(|| "void".into()),
            dw::DW_TAG_pointer_type
            | dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type => match own.filter(|_| rust) {
                Some(name) => name
                    .replace("bindings::bindings_raw::", "bindings::")
                    .replace("core::ffi::c_void", "c_void"),
                None => pointer_to(&of()?),
            },
            dw::DW_TAG_enumeration_type => tagged("enum"),
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type => tagged("struct"),
            dw::DW_TAG_union_type => tagged("union"),
            dw::DW_TAG_array_type => format!("{}[]", of()?),
            dw::DW_TAG_subroutine_type => "function".into(),
            _ => "?".into(),
        }))
    }

    fn kind(&self, bare: &Bare<'a>) -> Result<(Option<u64>, Kind)> {
        let Some((die, entry)) = &bare.at else {
            return Ok((None, Kind::Void));
        };
        let die = *die;
        let rust = self.is_rust(die);
        let size = match Self::size(entry) {
            Some(size) => Some(size),
            None if entry.has_attr(dw::DW_AT_declaration) => None,
            None => self.size_of(die)?,
        };
        let kind = match entry.tag() {
            dw::DW_TAG_base_type if size == Some(0) => Kind::Void,
            dw::DW_TAG_base_type => self.base(die, entry)?,
            dw::DW_TAG_unspecified_type => Kind::Void,
            dw::DW_TAG_pointer_type
            | dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type => self.pointer(die, entry)?,
            // Rust's `c_void`.
            dw::DW_TAG_enumeration_type
                if rust && self.name(die, entry)?.as_deref() == Some("c_void") =>
            {
                return Ok((None, Kind::Void))
            }
            dw::DW_TAG_enumeration_type => self.enumeration(die, entry, &bare.typedefs)?,
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                Kind::Aggregate(self.aggregate(die, entry, &bare.typedefs)?)
            }
            dw::DW_TAG_array_type if entry.has_attr(dw::DW_AT_GNU_vector) => {
                Kind::Unknown("it is a vector, which is not compared".into())
            }
            dw::DW_TAG_array_type => self.array(die, entry)?,
            dw::DW_TAG_subroutine_type => {
                let ret = self.reference(die, entry, dw::DW_AT_type)?;
                Kind::Function(self.proto_of(die, ret)?)
            }
            dw::DW_TAG_formal_parameter => Kind::Unknown("DWARF gives it no type".into()),
            other => Kind::Unknown(format!("DWARF has a {other} in its place")),
        };
        Ok((size, kind))
    }

    fn base(&self, die: Die, entry: &Entry<'a>) -> Result<Kind> {
        let rust = self.is_rust(die);
        let char = !rust && self.name(die, entry)?.as_deref() == Some("char");
        let Some(AttributeValue::Encoding(encoding)) = entry.attr_value(dw::DW_AT_encoding) else {
            return Ok(Kind::Unknown("its encoding is missing".into()));
        };
        Ok(match encoding {
            dw::DW_ATE_boolean => Kind::Bool,
            dw::DW_ATE_float => Kind::Float,
            dw::DW_ATE_UTF if rust => Kind::Char,
            dw::DW_ATE_signed | dw::DW_ATE_signed_char => Kind::Int { signed: true, char },
            dw::DW_ATE_unsigned | dw::DW_ATE_unsigned_char | dw::DW_ATE_UTF => Kind::Int {
                signed: false,
                char,
            },
            other => Kind::Unknown(format!("its encoding is {other}")),
        })
    }

    fn pointer(&self, die: Die, entry: &Entry<'a>) -> Result<Kind> {
        let target = self.reference(die, entry, dw::DW_AT_type)?;
        let name = match self.is_rust(die) {
            true => self.name(die, entry)?,
            false => None,
        };
        Ok(Kind::Pointer {
            to: target.map_or(Id::VOID, |target| self.id(target)),
            constant: match &name {
                Some(name) if name.starts_with("*const ") => Some(true),
                Some(name) if name.starts_with("*mut ") => Some(false),
                Some(_) => None,
                None => match target {
                    Some(target) => Some(self.is_constant(target)?),
                    None => Some(false),
                },
            },
            nonnull: name.as_ref().is_some_and(|name| !name.starts_with('*')),
            abi: name.as_deref().and_then(abi_of),
        })
    }

    fn enumeration(&self, die: Die, entry: &Entry<'a>, typedefs: &[String]) -> Result<Kind> {
        let mut values = BTreeSet::new();
        for (_, entry) in self.children(die)? {
            if entry.tag() != dw::DW_TAG_enumerator {
                continue;
            }
            let value = match entry.attr_value(dw::DW_AT_const_value) {
                Some(AttributeValue::Sdata(value)) => Some(i128::from(value)),
                Some(value) => value.udata_value().map(i128::from),
                None => None,
            };
            match value {
                Some(value) => values.insert(value),
                None => return Ok(Kind::Unknown("DWARF does not tell its values".into())),
            };
        }
        Ok(Kind::Enum {
            names: self.names(die, entry, typedefs)?,
            values,
            origin: self.origin(die),
        })
    }

    fn names(&self, die: Die, entry: &Entry<'a>, typedefs: &[String]) -> Result<Vec<String>> {
        let own = self.name(die, entry)?;
        Ok(own.iter().chain(typedefs).cloned().collect())
    }

    /// Who has declared a struct or an enum.
    fn origin(&self, die: Die) -> Origin {
        match self.is_rust(die) {
            false => Origin::C,
            true if self.bindings.contains(&die) => Origin::Bindgen,
            true => Origin::Rust,
        }
    }

    fn aggregate(&self, die: Die, entry: &Entry<'a>, typedefs: &[String]) -> Result<Aggregate> {
        let origin = self.origin(die);
        let declared = entry.has_attr(dw::DW_AT_declaration);
        let mut align = udata(entry, dw::DW_AT_alignment);
        let mut members = (!declared).then(Vec::new);
        for (child, entry) in self.children(die)? {
            match entry.tag() {
                dw::DW_TAG_member => match self.member_of(child, &entry)? {
                    Some(member) => members.iter_mut().for_each(|all| all.push(member.clone())),
                    None => members = None,
                },
                // An enum with data.
                dw::DW_TAG_variant_part => members = None,
                _ => continue,
            }
            // Rust names the alignment of the whole, C that of a member, too.
            if origin == Origin::C {
                align = align.max(udata(&entry, dw::DW_AT_alignment));
            }
        }
        let wrapped = match origin {
            Origin::Rust => self.wrapped(die, entry)?,
            Origin::C | Origin::Bindgen => None,
        };
        Ok(Aggregate {
            names: self.names(die, entry, typedefs)?,
            origin,
            members,
            align,
            inner: wrapped.as_ref().map(|wrapped| self.id(wrapped.ty)),
            values: wrapped.map_or(Values::All, |wrapped| wrapped.values),
        })
    }

    /// A member; `None` if its offset is not known.
    fn member_of(&self, die: Die, entry: &Entry<'a>) -> Result<Option<Member>> {
        let Some((offset, ty)) = self.member(die, entry)? else {
            return Ok(None);
        };
        let bits = udata(entry, dw::DW_AT_bit_size);
        let bytes = offset.saturating_mul(8);
        let offset = match (
            bits,
            udata(entry, dw::DW_AT_data_bit_offset),
            udata(entry, dw::DW_AT_bit_offset),
        ) {
            (_, Some(offset), _) => offset,
            // As up to DWARF 3: from the most significant bit of the integer that it is in.
            (Some(bits), None, Some(from_top)) => {
                let size = match udata(entry, dw::DW_AT_byte_size) {
                    Some(size) => size,
                    None => self.size_of(ty)?.unwrap_or(0),
                };
                let within = match self.endian {
                    RunTimeEndian::Big => from_top,
                    RunTimeEndian::Little => size
                        .saturating_mul(8)
                        .saturating_sub(from_top)
                        .saturating_sub(bits),
                };
                bytes.saturating_add(within)
            }
            (_, None, _) => bytes,
        };
        Ok(Some(Member {
            name: self.name(die, entry)?,
            offset,
            bits,
            ty: self.id(ty),
        }))
    }

    fn array(&self, die: Die, entry: &Entry<'a>) -> Result<Kind> {
        let mut count = self.length(die)?;
        let mut of = self.reference(die, entry, dw::DW_AT_type)?;
        // An array of arrays is one of their elements.
        for _ in 0..MAX_CHAIN {
            let Some((inner, entry)) = self.bare(of)?.at else {
                return Ok(Kind::Unknown("it is an array of nothing".into()));
            };
            if entry.tag() != dw::DW_TAG_array_type || entry.has_attr(dw::DW_AT_GNU_vector) {
                let of = of.map_or(Id::VOID, |of| self.id(of));
                return Ok(Kind::Array { of, count });
            }
            count = match (count, self.length(inner)?) {
                (Some(outer), Some(inner)) => Some(outer.saturating_mul(inner)),
                _ => None,
            };
            of = self.reference(inner, &entry, dw::DW_AT_type)?;
        }
        Err(endless())
    }

    /// Finds out what a Rust type wraps that has the layout of another. Such are transparent
    /// wrappers (`Opaque<T>`, `UnsafeCell<T>`, `NonNull<T>`, `KBox<T>`), `MaybeUninit<T>`, and
    /// `Option<T>` where `None` needs no room of its own.
    fn wrapped(&self, die: Die, entry: &Entry<'a>) -> Result<Option<Wrapped>> {
        let Some(size) = Self::size(entry).filter(|size| *size > 0) else {
            return Ok(None);
        };
        let name = self.name(die, entry)?.unwrap_or_default();
        let mut values = match ["NonNull<", "NonZero<"].iter().any(|n| name.starts_with(n)) {
            true => Values::NotZero,
            false => Values::All,
        };
        let mut only = None;
        let mut look = vec![die];
        let mut steps = 0;
        while let Some(at) = look.pop() {
            steps += 1;
            if steps > MAX_CHAIN {
                return Ok(None);
            }
            let zero = udata(&self.entry(at)?, dw::DW_AT_discr_value) == Some(0);
            for (child, entry) in self.children(at)? {
                match entry.tag() {
                    // An enum with data.
                    dw::DW_TAG_variant_part | dw::DW_TAG_variant => look.push(child),
                    dw::DW_TAG_member if !entry.has_attr(dw::DW_AT_artificial) => {
                        let Some((offset, ty)) = self.member(child, &entry)? else {
                            return Ok(None);
                        };
                        // The size of `None` is that of the whole; it has no members.
                        if at != die && self.is_empty(ty)? {
                            if zero {
                                values = Values::OrZero;
                            }
                            continue;
                        }
                        if self.size_of(ty)? == Some(0) {
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
        Ok(only.map(|ty| Wrapped { ty, values }))
    }

    /// The entry of the pointer to a function that a variable holds, or holds in a wrapper.
    pub(super) fn pointer_in(&self, variable: Die) -> Result<Option<Die>> {
        let entry = self.entry(variable)?;
        let mut at = self.reference(variable, &entry, dw::DW_AT_type)?;
        for _ in 0..MAX_CHAIN {
            let Some((die, entry)) = self.bare(at)?.at else {
                return Ok(None);
            };
            at = match entry.tag() {
                dw::DW_TAG_pointer_type => return Ok(Some(die)),
                dw::DW_TAG_structure_type | dw::DW_TAG_union_type if self.is_rust(die) => {
                    self.wrapped(die, &entry)?.map(|wrapped| wrapped.ty)
                }
                _ => None,
            };
        }
        Ok(None)
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
}

impl Bare<'_> {
    /// The name, with what has been left out of the type.
    fn written(&self, name: &str) -> String {
        let name = self.typedefs.first().map_or(name, String::as_str);
        match self.constant {
            true => format!("const {name}"),
            false => name.to_string(),
        }
    }
}

fn udata(entry: &Entry<'_>, at: gimli::DwAt) -> Option<u64> {
    entry.attr_value(at)?.udata_value()
}

/// The ABI in the name of a Rust pointer to a function, as in `unsafe extern "C" fn(u32)`.
pub(super) fn abi_of(name: &str) -> Option<String> {
    let (head, _) = name.split_once("fn(")?;
    if head.starts_with(['*', '&']) {
        return None;
    }
    Some(match head.split('"').nth(1) {
        Some(abi) => abi.to_string(),
        None if head.contains("extern") => "C".to_string(),
        None => "Rust".to_string(),
    })
}
