// SPDX-License-Identifier: GPL-2.0

//! Types out of BTF, the kernel's own compact debug information.

use crate::{
    error::{Error, Result},
    types::{Kind, Proto, Ty, MAX_DEPTH},
};
use btf_rs::{Btf, BtfType, Type};

/// The functions of that name.
pub fn functions(btf: &Btf, name: &str) -> Result<Vec<Proto>> {
    let mut found = Vec::new();
    for ty in btf.resolve_types_by_name(name).unwrap_or_default() {
        if let Type::Func(func) = ty {
            match btf.resolve_chained_type(&func)? {
                Type::FuncProto(p) => found.push(proto(btf, &p, 0)?),
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

fn proto(btf: &Btf, p: &btf_rs::FuncProto, depth: usize) -> Result<Proto> {
    let mut args = Vec::new();
    let mut variadic = false;
    for parameter in &p.parameters {
        if parameter.is_variadic() {
            variadic = true;
        } else {
            args.push(ty(btf, btf.resolve_chained_type(parameter)?, depth)?);
        }
    }
    Ok(Proto {
        ret: ty(btf, btf.resolve_type_by_id(p.return_type_id())?, depth)?,
        args,
        variadic,
        rust: false,
        abi: None,
    })
}

fn name(btf: &Btf, ty: &dyn BtfType) -> Option<String> {
    btf.resolve_name(ty).ok().filter(|name| !name.is_empty())
}

fn tagged(keyword: &str, name: &Option<String>) -> String {
    match name {
        Some(name) => format!("{keyword} {name}"),
        None => format!("an anonymous {keyword}"),
    }
}

fn ty(btf: &Btf, mut t: Type, depth: usize) -> Result<Ty> {
    if depth > 2 * MAX_DEPTH {
        return Err(Error::new("its BTF is malformed: a type without an end"));
    }
    let mut typedefs: Vec<String> = Vec::new();
    let mut constant = false;
    // Typedefs and qualifiers; a chain that is longer than this is a loop.
    for _ in 0..64 {
        t = match t {
            Type::Typedef(typedef) => {
                typedefs.extend(name(btf, &typedef));
                btf.resolve_chained_type(&typedef)?
            }
            Type::Const(q) => {
                constant |= typedefs.is_empty();
                btf.resolve_chained_type(&q)?
            }
            Type::Volatile(q) | Type::Restrict(q) => btf.resolve_chained_type(&q)?,
            Type::TypeTag(tag) => btf.resolve_chained_type(&tag)?,
            other => {
                let mut ty = bare(btf, other, &typedefs, depth)?;
                if let Some(typedef) = typedefs.first() {
                    ty.show.clone_from(typedef);
                }
                if constant {
                    ty.show = format!("const {}", ty.show);
                }
                return Ok(ty);
            }
        };
    }
    Err(Error::new("its BTF is malformed: a type without an end"))
}

/// Whether a type is const, behind its other qualifiers.
fn is_constant(btf: &Btf, mut t: Type) -> bool {
    for _ in 0..64 {
        let next = match &t {
            Type::Const(_) => return true,
            Type::Volatile(q) | Type::Restrict(q) => btf.resolve_chained_type(q),
            Type::TypeTag(tag) => btf.resolve_chained_type(tag),
            Type::Typedef(typedef) => btf.resolve_chained_type(typedef),
            _ => return false,
        };
        match next {
            Ok(next) => t = next,
            Err(_) => return false,
        }
    }
    false
}

fn bare(btf: &Btf, t: Type, typedefs: &[String], depth: usize) -> Result<Ty> {
    let names = |own: &Option<String>| own.iter().chain(typedefs).cloned().collect::<Vec<_>>();
    Ok(match t {
        Type::Void => Ty::void("void"),
        Type::Int(int) => {
            let show = name(btf, &int).unwrap_or_default();
            Ty {
                size: Some(int.size() as u64),
                kind: if int.is_bool() || show == "_Bool" {
                    Kind::Bool
                } else {
                    Kind::Int {
                        signed: int.is_signed(),
                        char: show == "char",
                    }
                },
                show,
            }
        }
        Type::Float(float) => Ty {
            show: name(btf, &float).unwrap_or_default(),
            size: Some(float.size() as u64),
            kind: Kind::Float,
        },
        Type::Ptr(ptr) => {
            let target = btf.resolve_chained_type(&ptr)?;
            let constant = is_constant(btf, target.clone());
            let to = if depth < MAX_DEPTH {
                ty(btf, target, depth + 1)?
            } else {
                Ty::void("...")
            };
            Ty {
                show: pointer_to(&to),
                size: None,
                kind: Kind::Pointer {
                    to: Box::new(to),
                    constant: Some(constant),
                },
            }
        }
        Type::Array(array) => {
            let of = ty(btf, btf.resolve_chained_type(&array)?, depth + 1)?;
            Ty {
                show: format!("{}[]", of.show),
                size: None,
                kind: Kind::Array { of: Box::new(of) },
            }
        }
        Type::Struct(s) => aggregate("struct", name(btf, &s), Some(s.size() as u64), &names),
        Type::Union(s) => aggregate("union", name(btf, &s), Some(s.size() as u64), &names),
        Type::Fwd(fwd) => {
            let keyword = if fwd.is_union() { "union" } else { "struct" };
            aggregate(keyword, name(btf, &fwd), None, &names)
        }
        Type::Enum(e) => {
            let own = name(btf, &e);
            Ty {
                show: tagged("enum", &own),
                size: Some(e.size() as u64),
                kind: Kind::Enum { names: names(&own) },
            }
        }
        Type::Enum64(e) => {
            let own = name(btf, &e);
            Ty {
                show: tagged("enum", &own),
                size: Some(e.size() as u64),
                kind: Kind::Enum { names: names(&own) },
            }
        }
        Type::FuncProto(p) => Ty {
            show: "function".into(),
            size: None,
            kind: if depth < MAX_DEPTH {
                Kind::Function(Box::new(proto(btf, &p, depth + 1)?))
            } else {
                Kind::Void
            },
        },
        other => Ty::unknown(format!("BTF has a {} in its place", other.name())),
    })
}

fn aggregate(
    keyword: &str,
    own: Option<String>,
    size: Option<u64>,
    names: &dyn Fn(&Option<String>) -> Vec<String>,
) -> Ty {
    Ty {
        show: tagged(keyword, &own),
        size,
        kind: Kind::Aggregate {
            names: names(&own),
            inner: None,
        },
    }
}

/// How C writes a pointer to that.
pub fn pointer_to(to: &Ty) -> String {
    match &to.kind {
        Kind::Function(_) if to.show == "function" => "a pointer to a function".into(),
        Kind::Pointer { .. } if to.show.ends_with('*') => format!("{}*", to.show),
        _ => format!("{} *", to.show),
    }
}
