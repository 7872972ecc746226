// SPDX-License-Identifier: GPL-2.0

//! Functions and types from BTF, the kernel's own compact debug information.

use crate::{
    error::{Error, Result},
    types::{pointer_to, Aggregate, Id, Kind, Member, Origin, Proto, Ty, Types, Values},
};
use btf_rs::{BtfType, Type};
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

/// A chain of typedefs and qualifiers that is longer than this is a loop.
const MAX_CHAIN: usize = 64;
/// Types within a name that is shown.
const MAX_SHOWN: usize = 16;
/// BTF does not record the size of a pointer; livepatch is for 64-bit kernels.
const POINTER_SIZE: u64 = 8;

/// The BTF of a file.
pub struct Btf {
    btf: btf_rs::Btf,
    memo: RefCell<HashMap<Id, Rc<Ty>>>,
}

/// A type behind its typedefs and qualifiers.
struct Bare {
    ty: Type,
    typedefs: Vec<String>,
    constant: bool,
}

fn endless() -> Error {
    Error::new("its BTF is malformed: a type without an end")
}

impl Btf {
    /// Reads BTF. That of a module refers to that of the kernel, its `base`.
    pub fn parse(bytes: &[u8], base: Option<&Btf>) -> Result<Self> {
        let btf = match base {
            Some(base) => btf_rs::Btf::from_split_bytes(bytes, &base.btf)?,
            None => btf_rs::Btf::from_bytes(bytes)?,
        };
        Ok(Btf {
            btf,
            memo: RefCell::default(),
        })
    }

    /// The types of the functions of that name; not those of the base.
    pub fn functions(&self, name: &str) -> Result<Vec<Proto>> {
        let own = self.btf.split().unwrap_or(self.btf.base());
        let mut found = Vec::new();
        for id in own.resolve_ids_by_name(name).unwrap_or_default() {
            if let Type::Func(func) = self.btf.resolve_type_by_id(id)? {
                match self.btf.resolve_chained_type(&func)? {
                    Type::FuncProto(proto) => found.push(self.proto(&proto)),
                    _ => {
                        return Err(Error::new(
                            "its BTF is malformed: a function without a type",
                        ))
                    }
                }
            }
        }
        Ok(found)
    }

    fn proto(&self, proto: &btf_rs::FuncProto) -> Proto {
        Proto {
            ret: Id(proto.return_type_id().into()),
            args: proto
                .parameters
                .iter()
                .filter(|parameter| !parameter.is_variadic())
                .map(|parameter| chained(parameter))
                .collect(),
            variadic: proto.parameters.iter().any(|p| p.is_variadic()),
            rust: false,
            abi: None,
        }
    }

    fn name(&self, ty: &dyn BtfType) -> Option<String> {
        self.btf
            .resolve_name(ty)
            .ok()
            .filter(|name| !name.is_empty())
    }

    fn resolve(&self, id: Id) -> Result<Type> {
        let id = u32::try_from(id.0).map_err(|_| Error::new("its BTF is malformed: a wild id"))?;
        Ok(self.btf.resolve_type_by_id(id)?)
    }

    fn bare(&self, mut id: Id) -> Result<Bare> {
        let mut typedefs = Vec::new();
        let mut constant = false;
        for _ in 0..MAX_CHAIN {
            let ty = self.resolve(id)?;
            id = match &ty {
                Type::Typedef(typedef) => {
                    typedefs.extend(self.name(typedef));
                    chained(typedef)
                }
                Type::Const(q) => {
                    constant |= typedefs.is_empty();
                    chained(q)
                }
                Type::Volatile(q) | Type::Restrict(q) => chained(q),
                Type::TypeTag(tag) => chained(tag),
                _ => {
                    return Ok(Bare {
                        ty,
                        typedefs,
                        constant,
                    })
                }
            };
        }
        Err(endless())
    }

    /// Whether a type is const, behind its typedefs and other qualifiers.
    fn is_constant(&self, mut id: Id) -> Result<bool> {
        for _ in 0..MAX_CHAIN {
            id = match self.resolve(id)? {
                Type::Const(_) => return Ok(true),
                Type::Volatile(q) | Type::Restrict(q) => chained(&q),
                Type::TypeTag(tag) => chained(&tag),
                Type::Typedef(typedef) => chained(&typedef),
                _ => return Ok(false),
            };
        }
        Err(endless())
    }

    /// How C writes a type. Pointers may be a loop, which ends in dots.
    fn show(&self, bare: &Bare, depth: usize) -> Result<String> {
        let of = |id| match depth < MAX_SHOWN {
            true => self.show(&self.bare(id)?, depth + 1),
            false => Ok("...".to_string()),
        };
        let tagged = |keyword: &str| match bare.ty.as_btf_type().and_then(|ty| self.name(ty)) {
            Some(name) => format!("{keyword} {name}"),
            None => format!("an anonymous {keyword}"),
        };
        let show = match (bare.typedefs.first(), &bare.ty) {
            (Some(typedef), _) => typedef.clone(),
            (None, Type::Void) => "void".into(),
            (None, Type::Int(ty)) => self.name(ty).unwrap_or_default(),
            (None, Type::Float(ty)) => self.name(ty).unwrap_or_default(),
            (None, Type::Ptr(ty)) => pointer_to(&of(chained(ty))?),
            (None, Type::Array(ty)) => format!("{}[]", of(chained(ty))?),
            (None, Type::Struct(_)) => tagged("struct"),
            (None, Type::Union(_)) => tagged("union"),
            (None, Type::Fwd(ty)) if ty.is_union() => tagged("union"),
            (None, Type::Fwd(_)) => tagged("struct"),
            (None, Type::Enum(_) | Type::Enum64(_)) => tagged("enum"),
            (None, Type::FuncProto(_)) => "function".into(),
            (None, _) => "?".into(),
        };
        Ok(match bare.constant {
            true => format!("const {show}"),
            false => show,
        })
    }

    fn read(&self, id: Id) -> Result<Ty> {
        let bare = self.bare(id)?;
        let (size, kind) = self.kind(&bare)?;
        Ok(Ty {
            show: self.show(&bare, 0)?,
            size,
            kind,
        })
    }

    fn kind(&self, bare: &Bare) -> Result<(Option<u64>, Kind)> {
        Ok(match &bare.ty {
            Type::Void => (None, Kind::Void),
            Type::Int(int) => (Some(int.size() as u64), self.integer(int)),
            Type::Float(float) => (Some(float.size() as u64), Kind::Float),
            Type::Ptr(ptr) => (Some(POINTER_SIZE), self.pointer(ptr)?),
            Type::Array(array) => self.array(array)?,
            Type::Struct(s) | Type::Union(s) => {
                let members = Some(self.members(s));
                (Some(s.size() as u64), self.aggregate(bare, members))
            }
            Type::Fwd(_) => (None, self.aggregate(bare, None)),
            Type::Enum(e) => {
                let value = |v: u32| match e.is_signed() {
                    true => i128::from(v as i32),
                    false => v.into(),
                };
                let values = e.members.iter().map(|m| value(m.val())).collect();
                (Some(e.size() as u64), self.enumeration(bare, values))
            }
            Type::Enum64(e) => {
                let value = |v: u64| match e.is_signed() {
                    true => i128::from(v as i64),
                    false => v.into(),
                };
                let values = e.members.iter().map(|m| value(m.val())).collect();
                (Some(e.size() as u64), self.enumeration(bare, values))
            }
            Type::FuncProto(proto) => (None, Kind::Function(self.proto(proto))),
            other => {
                let why = format!("BTF has a {} in its place", other.name());
                (None, Kind::Unknown(why))
            }
        })
    }

    fn pointer(&self, ptr: &btf_rs::Ptr) -> Result<Kind> {
        Ok(Kind::Pointer {
            to: chained(ptr),
            constant: Some(self.is_constant(chained(ptr))?),
            nonnull: false,
            abi: None,
        })
    }

    /// A struct or a union. `members` is `None` if it has only been declared.
    fn aggregate(&self, bare: &Bare, members: Option<Vec<Member>>) -> Kind {
        Kind::Aggregate(Aggregate {
            names: self.names(bare),
            origin: Origin::C,
            members,
            align: None,
            inner: None,
            values: Values::All,
        })
    }

    fn enumeration(&self, bare: &Bare, values: BTreeSet<i128>) -> Kind {
        Kind::Enum {
            names: self.names(bare),
            values,
            origin: Origin::C,
        }
    }

    /// The tag of a type, and its typedefs.
    fn names(&self, bare: &Bare) -> Vec<String> {
        let own = bare.ty.as_btf_type().and_then(|ty| self.name(ty));
        own.iter().chain(&bare.typedefs).cloned().collect()
    }

    fn integer(&self, int: &btf_rs::Int) -> Kind {
        let name = self.name(int).unwrap_or_default();
        if int.is_bool() || name == "_Bool" {
            Kind::Bool
        } else if matches!(name.as_str(), "float" | "double" | "long double") {
            // pahole has no other kind for these, unless an option asks for it.
            Kind::Float
        } else {
            Kind::Int {
                signed: int.is_signed(),
                char: name == "char",
            }
        }
    }

    fn array(&self, array: &btf_rs::Array) -> Result<(Option<u64>, Kind)> {
        let (mut of, mut count) = (chained(array), array.len() as u64);
        // An array of arrays is one of their elements.
        for _ in 0..MAX_CHAIN {
            if let Type::Array(inner) = self.bare(of)?.ty {
                count = count.saturating_mul(inner.len() as u64);
                of = chained(&inner);
                continue;
            }
            let size = self.ty(of)?.size.map(|size| size.saturating_mul(count));
            // BTF does not distinguish an array of no elements from one of any number.
            let count = Some(count).filter(|count| *count > 0);
            return Ok((size, Kind::Array { of, count }));
        }
        Err(endless())
    }

    fn members(&self, aggregate: &btf_rs::Struct) -> Vec<Member> {
        let member = |member: &btf_rs::Member| Member {
            name: self.name(member),
            offset: member.bit_offset().into(),
            bits: member
                .bitfield_size()
                .filter(|bits| *bits > 0)
                .map(u64::from),
            ty: chained(member),
        };
        aggregate.members.iter().map(member).collect()
    }
}

impl Types for Btf {
    fn ty(&self, id: Id) -> Result<Rc<Ty>> {
        if let Some(ty) = self.memo.borrow().get(&id) {
            return Ok(ty.clone());
        }
        let ty = Rc::new(self.read(id)?);
        self.memo.borrow_mut().insert(id, ty.clone());
        Ok(ty)
    }

    fn tells_alignment(&self) -> bool {
        false
    }
}

/// What a type refers to.
fn chained(ty: &dyn BtfType) -> Id {
    ty.get_type_id().map_or(Id::VOID, |id| Id(id.into()))
}
