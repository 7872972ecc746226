// SPDX-License-Identifier: GPL-2.0

//! The comparison of a function's type in the patch with that in the kernel.
//!
//! Arguments and return values are compared, and so is all that they lead to: members of structs,
//! and arguments of functions behind pointers. Each pair of structs is compared once, however many
//! paths lead to it.

use crate::{
    error::{Error, Result},
    types::{Aggregate, Id, Kind, Origin, Proto, Ty, Typed, Types, Values},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    rc::Rc,
};

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub differences: Vec<String>,
    /// What could not be compared although nothing differs.
    pub unknown: Vec<String>,
    pub notes: Vec<String>,
}

/// Types are followed this far into each other without a struct in between.
const MAX_NESTING: usize = 64;
/// Types that are compared for one function: several times what the kernel's largest structs lead
/// to.
const MAX_STEPS: usize = 1 << 20;
/// Members of one struct, and of those within it; more is a loop. It also bounds how deep they are
/// within each other.
const MAX_MEMBERS: usize = 1 << 12;
/// Differences that are named for one function.
const MAX_DIFFERENCES: usize = 16;
/// Differences that are named for one struct.
const MAX_NAMED: usize = 4;
/// Scalars in a struct that is passed by value; one with more is not compared.
const MAX_SCALARS: usize = 64;

/// What calls the function: that decides the direction of its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The function is a replacement.
    Kernel,
    /// The function is one of the kernel's that the patch calls.
    Patch,
    /// It is a variable ([`Proto::of_variable`]), which both may read and write.
    None,
}

/// Compares a function's type in the patch (`here`) with that in the kernel (`there`).
pub fn compare(here: &Typed<'_>, there: &Typed<'_>, caller: Caller) -> Result<Findings> {
    let mut comparison = Comparison {
        here: here.types,
        there: there.types,
        rust: here.proto.rust,
        found: Findings::default(),
        not_zero: Vec::new(),
        steps: 0,
        depth: 0,
        seen: HashSet::new(),
        todo: VecDeque::new(),
    };
    if let Some(abi) = here.proto.abi.as_ref().filter(|abi| !is_c(abi)) {
        comparison.found.differences.push(format!(
            "has the ABI \"{abi}\" here and \"C\" in the kernel"
        ));
    }
    match caller {
        Caller::Kernel => {
            comparison.protos(&here.proto, &there.proto, "", (Role::In, Role::Out))?;
        }
        Caller::Patch => {
            comparison.protos(&here.proto, &there.proto, "", (Role::Out, Role::In))?;
        }
        Caller::None => {
            let place = Place {
                at: "it".into(),
                role: Role::Memory,
            };
            for (here, there) in here.proto.args.iter().zip(&there.proto.args) {
                comparison.ty(*here, *there, &place)?;
            }
        }
    }
    while let Some((here, there)) = comparison.todo.pop_front() {
        comparison.structs(here, there)?;
    }
    let more = comparison
        .found
        .differences
        .len()
        .saturating_sub(MAX_DIFFERENCES);
    if more > 0 {
        comparison.found.differences.truncate(MAX_DIFFERENCES);
        comparison
            .found
            .differences
            .push(format!("{more} more differences"));
    }
    // What is taken for granted of a wrong type does not matter.
    if !comparison.not_zero.is_empty() && comparison.found.differences.is_empty() {
        comparison.found.notes.push(format!(
            "Rust takes for granted here that {}",
            comparison.not_zero.join(", and that ")
        ));
    }
    Ok(comparison.found)
}

/// The direction of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// By value, from the kernel to the patch.
    In,
    /// By value, from the patch to the kernel.
    Out,
    /// It is in memory that both sides read and write.
    Memory,
}

/// Whether Rust's name of an ABI stands for that of C.
fn is_c(abi: &str) -> bool {
    matches!(abi, "C" | "C-unwind" | "system" | "system-unwind")
}

/// Where in a function's type a finding is.
#[derive(Clone)]
struct Place {
    /// "argument 2", with what leads there; empty for the return value of the function itself.
    at: String,
    role: Role,
}

impl Place {
    fn differs(&self, here: &str, there: &str) -> String {
        if self.at.is_empty() {
            format!("returns {here} here and {there} in the kernel")
        } else {
            format!("{} is {here} here and {there} in the kernel", self.at)
        }
    }

    fn name(&self) -> &str {
        if self.at.is_empty() {
            "the return value"
        } else {
            &self.at
        }
    }
}

/// A type, or what it wraps.
struct Layer {
    id: Id,
    ty: Rc<Ty>,
    /// Rust takes for granted that it is not 0, or null.
    not_zero: bool,
}

/// A member as part of the struct around it all.
struct Flat {
    /// Empty for a struct without a name, whose members are listed, too.
    name: String,
    /// In bits.
    offset: u64,
    size: Option<u64>,
    is_bits: bool,
    ty: Id,
}

/// An integer, a pointer or the like within a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Scalar {
    /// In bits, as the size.
    offset: u64,
    size: u64,
    float: bool,
}

/// All scalars within a value.
#[derive(Default)]
struct Scalars {
    all: Vec<Scalar>,
    /// Types that were visited.
    steps: usize,
    /// Some are bit-fields, of which bindgen makes arrays of bytes.
    bit_fields: bool,
}

struct Comparison<'a> {
    here: &'a dyn Types,
    there: &'a dyn Types,
    rust: bool,
    found: Findings,
    /// What must not be 0 or null here.
    not_zero: Vec<String>,
    steps: usize,
    depth: usize,
    /// Pairs of structs and of functions that were compared, or will be.
    seen: HashSet<(Id, Id)>,
    todo: VecDeque<(Id, Id)>,
}

/// Whether two structs have a name in common. An author who declares one of the kernel's in Rust
/// may write its name as Rust does: `KlpObject` for `struct klp_object`.
fn share_a_name(here: &[String], there: &[String], rust: bool) -> bool {
    let letters = |name: &str| name.replace('_', "").to_lowercase();
    here.iter().any(|h| {
        there.iter().any(|t| {
            let as_rust_does = rust && !h.contains('_') && h.starts_with(char::is_uppercase);
            h == t || as_rust_does && letters(h) == letters(t)
        })
    })
}

/// Whether two types are of the same kind, as far as a layer of a wrapper is chosen by it.
fn fits(here: &Ty, there: &Ty) -> bool {
    match (&here.kind, &there.kind) {
        (Kind::Aggregate(h), Kind::Aggregate(t)) => {
            t.names.is_empty() && h.inner.is_none() || share_a_name(&h.names, &t.names, true)
        }
        (Kind::Int { .. }, Kind::Int { .. } | Kind::Enum { .. })
        | (Kind::Bool, Kind::Bool)
        | (Kind::Float, Kind::Float)
        | (Kind::Void, Kind::Void)
        | (Kind::Pointer { .. }, Kind::Pointer { .. })
        | (Kind::Array { .. }, Kind::Array { .. })
        | (Kind::Function(_), Kind::Function(_))
        | (Kind::Enum { .. }, Kind::Enum { .. } | Kind::Int { .. }) => true,
        _ => false,
    }
}

/// The number of bytes that so many bits begin at, as text.
fn byte(bits: u64) -> String {
    match bits % 8 {
        0 => format!("byte {}", bits / 8),
        rest => format!("byte {}, bit {rest}", bits / 8),
    }
}

impl Comparison<'_> {
    fn differs(&mut self, text: String) {
        if !self.found.differences.contains(&text) {
            self.found.differences.push(text);
        }
    }

    fn unknown(&mut self, text: String) {
        if !self.found.unknown.contains(&text) {
            self.found.unknown.push(text);
        }
    }

    fn note(&mut self, text: String) {
        if !self.found.notes.contains(&text) {
            self.found.notes.push(text);
        }
    }

    /// Whether there is room for one more step.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            self.unknown("its types lead to more others than can be compared".into());
            return false;
        }
        if self.depth > MAX_NESTING {
            self.unknown("its types are nested too deeply".into());
            return false;
        }
        true
    }

    /// Runs `f`, and returns what it has found.
    fn apart(&mut self, f: impl FnOnce(&mut Self) -> Result<()>) -> Result<Findings> {
        let before = mem::take(&mut self.found);
        let result = f(self);
        let found = mem::replace(&mut self.found, before);
        result.map(|()| found)
    }

    /// Compares two functions, of which the role of the arguments and that of the return value are
    /// given.
    fn protos(
        &mut self,
        here: &Proto,
        there: &Proto,
        of: &str,
        (arguments, returned): (Role, Role),
    ) -> Result<()> {
        let (n, m) = (here.args.len(), there.args.len());
        let whose = match of {
            "" => String::new(),
            of => format!("{of} "),
        };
        if n != m {
            let s = if n == 1 { "" } else { "s" };
            self.differs(format!(
                "{whose}takes {n} argument{s} here and {m} in the kernel"
            ));
        } else {
            for (i, (h, t)) in here.args.iter().zip(&there.args).enumerate() {
                let place = Place {
                    at: format!("{whose}argument {}", i + 1),
                    role: arguments,
                };
                self.ty(*h, *t, &place)?;
            }
        }
        match (here.variadic, there.variadic) {
            (true, false) => self.differs(format!(
                "{whose}takes variable arguments here and not in the kernel"
            )),
            (false, true) => self.differs(format!(
                "{whose}takes variable arguments in the kernel and not here"
            )),
            (true, true) => self.note(format!(
                "{whose}takes variable arguments, which cannot be compared"
            )),
            (false, false) => {}
        }
        let place = Place {
            at: match of {
                "" => String::new(),
                of => format!("{of} return value"),
            },
            role: returned,
        };
        self.ty(here.ret, there.ret, &place)
    }

    /// A type of this side, and what it wraps, from the outside in.
    fn layers(&self, id: Id) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        let (mut or_zero, mut not_zero) = (false, false);
        let mut next = Some(id);
        while let Some(id) = next.filter(|_| layers.len() < MAX_NESTING) {
            let ty = self.here.ty(id)?;
            let values;
            (next, values) = match &ty.kind {
                Kind::Aggregate(aggregate) => (aggregate.inner, aggregate.values),
                Kind::Pointer { nonnull: true, .. } => (None, Values::NotZero),
                _ => (None, Values::All),
            };
            match values {
                Values::All => {}
                Values::OrZero => or_zero = true,
                Values::NotZero => not_zero |= !or_zero,
            }
            layers.push(Layer { id, ty, not_zero });
        }
        Ok(layers)
    }

    fn ty(&mut self, here: Id, there: Id, place: &Place) -> Result<()> {
        if !self.step() {
            return Ok(());
        }
        self.depth += 1;
        let result = self.ty_in(here, there, place);
        self.depth -= 1;
        result
    }

    fn ty_in(&mut self, here: Id, there_id: Id, place: &Place) -> Result<()> {
        let there = self.there.ty(there_id)?;
        let layers = self.layers(here)?;
        let Some(whole) = layers.first() else {
            return Ok(());
        };
        let layer = layers
            .iter()
            .rev()
            .find(|layer| fits(&layer.ty, &there))
            .unwrap_or(whole);
        let agree = match (&layer.ty.kind, &there.kind) {
            (Kind::Unknown(why), _) => {
                self.unknown(format!("{} here: {why}", place.name()));
                true
            }
            (_, Kind::Unknown(why)) => {
                self.unknown(format!("{} in the kernel: {why}", place.name()));
                true
            }
            (Kind::Void, Kind::Void) => true,
            (Kind::Aggregate(h), Kind::Aggregate(t)) => {
                // What has no name in C has one in Rust.
                let anonymous = t.names.is_empty() && (h.names.is_empty() || self.rust);
                let same = anonymous || share_a_name(&h.names, &t.names, self.rust);
                if same {
                    self.aggregates(layer, &there, there_id, place)?;
                }
                same
            }
            (Kind::Pointer { .. }, Kind::Pointer { .. }) => {
                self.pointers(whole, layer, &there, place)?;
                true
            }
            (Kind::Array { .. }, Kind::Array { .. }) => {
                self.arrays(&layer.ty, &there, place)?;
                true
            }
            (Kind::Function(h), Kind::Function(t)) => {
                let of = format!("the function that {} points to:", place.name());
                // Either side may call it.
                self.protos(h, t, &of, (Role::In, Role::In))?;
                true
            }
            _ => self.scalar(layer, &there, place),
        };
        if !agree {
            self.differs(place.differs(&whole.ty.describe(), &there.describe()));
        }
        Ok(())
    }

    /// Compares integers and the like; returns whether they agree.
    fn scalar(&mut self, layer: &Layer, there: &Ty, place: &Place) -> bool {
        let same_size = matches!((layer.ty.size, there.size), (Some(h), Some(t)) if h == t);
        match (&layer.ty.kind, &there.kind) {
            _ if !same_size => false,
            (Kind::Bool, Kind::Bool) | (Kind::Float, Kind::Float) | (Kind::Char, Kind::Char) => {
                true
            }
            (Kind::Int { .. }, Kind::Int { .. }) => self.integers(layer, there, place),
            // bindgen makes an integer of a C enum.
            (Kind::Int { .. }, Kind::Enum { .. }) if self.rust => {
                self.values(layer, place, "0");
                true
            }
            // Each char is a number.
            (Kind::Char, Kind::Int { signed: false, .. }) => place.role == Role::Out,
            (Kind::Enum { .. }, Kind::Enum { .. } | Kind::Int { .. }) => {
                self.enums(&layer.ty, there, place)
            }
            _ => false,
        }
    }

    /// Records what Rust takes for granted of values that come from the kernel.
    fn values(&mut self, layer: &Layer, place: &Place, zero: &str) {
        if layer.not_zero && place.role != Role::Out {
            self.granted(format!("{} is never {zero}", place.name()));
        }
    }

    fn granted(&mut self, what: String) {
        if !self.not_zero.contains(&what) {
            self.not_zero.push(what);
        }
    }

    /// Compares integers of one size; returns whether they agree.
    fn integers(&mut self, layer: &Layer, there: &Ty, place: &Place) -> bool {
        let sign = |ty: &Ty| match ty.kind {
            Kind::Int { signed, char } => (signed, char),
            _ => (false, false),
        };
        let ((here_signed, here_char), (there_signed, there_char)) = (sign(&layer.ty), sign(there));
        self.values(layer, place, "0");
        // The sign of a `char` in memory does not matter.
        here_signed == there_signed || place.role == Role::Memory && (here_char || there_char)
    }

    /// Compares an enum of this side with an enum or an integer of the same size; returns whether
    /// they agree.
    fn enums(&mut self, here: &Ty, there: &Ty, place: &Place) -> bool {
        let Kind::Enum { names, origin, .. } = &here.kind else {
            return false;
        };
        match (&there.kind, origin) {
            (_, Origin::Bindgen) => true,
            (Kind::Enum { names: t, .. }, Origin::C) => {
                let same = names.is_empty() && t.is_empty() || names.iter().any(|n| t.contains(n));
                if let Some(value) = missing(here, there).filter(|_| same) {
                    self.note(format!(
                        "{} does not have the value {value} here, which it has in the kernel",
                        there.show
                    ));
                }
                same
            }
            (_, Origin::C) => false,
            // What Rust returns is one of its own values.
            (_, Origin::Rust) if place.role == Role::Out => true,
            (Kind::Enum { .. }, Origin::Rust) => {
                if let Some(value) = missing(here, there) {
                    self.differs(format!(
                        "{} is {} here, an enum of Rust that does not have the value {value} of {} in the kernel",
                        place.name(),
                        here.show,
                        there.show
                    ));
                } else {
                    self.granted(format!(
                        "{} is never a value that {} does not name",
                        place.name(),
                        here.show
                    ));
                }
                true
            }
            (_, Origin::Rust) => false,
        }
    }

    fn arrays(&mut self, here: &Ty, there: &Ty, place: &Place) -> Result<()> {
        let (Kind::Array { of: h, count: n }, Kind::Array { of: t, count: m }) =
            (&here.kind, &there.kind)
        else {
            return Ok(());
        };
        if let (Some(n), Some(m)) = (n, m) {
            if n != m {
                self.differs(format!(
                    "{} has {n} elements here and {m} in the kernel",
                    place.name()
                ));
            }
        }
        let element = Place {
            at: place.at.clone(),
            role: Role::Memory,
        };
        self.ty(*h, *t, &element)
    }

    /// Compares two structs of one name.
    fn aggregates(&mut self, here: &Layer, there: &Ty, id: Id, place: &Place) -> Result<()> {
        if let (Some(h), Some(t)) = (here.ty.size, there.size) {
            // bindgen gives a struct that it has only seen declared no size at all.
            if self.rust && h == 0 && place.role == Role::Memory {
                return Ok(());
            }
            if h != t {
                self.differs(format!(
                    "{} is {} of {h} bytes here and of {t} bytes in the kernel",
                    place.name(),
                    there.show
                ));
                return Ok(());
            }
        }
        if place.role == Role::Memory {
            if self.seen.insert((here.id, id)) {
                self.todo.push_back((here.id, id));
            }
            return Ok(());
        }
        // By value: what is in it decides how it is passed, too.
        let found = self.apart(|this| this.structs(here.id, id))?;
        if found.differences.is_empty() {
            self.passing(here, there, id, place)?;
        }
        self.add(found);
        Ok(())
    }

    /// Compares two pointers; `whole` is what `layer` may be wrapped in.
    fn pointers(&mut self, whole: &Layer, layer: &Layer, there: &Ty, place: &Place) -> Result<()> {
        let (
            Kind::Pointer {
                to: h,
                constant: h_const,
                abi,
                ..
            },
            Kind::Pointer {
                to: t,
                constant: t_const,
                ..
            },
        ) = (&layer.ty.kind, &there.kind)
        else {
            return Ok(());
        };
        let function = matches!(self.there.ty(*t)?.kind, Kind::Function(_));
        if let Some(abi) = abi.as_ref().filter(|abi| !is_c(abi) && function) {
            self.differs(format!(
                "the function that {} points to has the ABI \"{abi}\" here and \"C\" in the kernel",
                place.name()
            ));
        }
        self.values(layer, place, "null");
        self.pointees((&whole.ty, *h), (there, *t), place)?;
        // `NonNull` is made of a `*const T`, which means nothing.
        let h_const = h_const.filter(|_| whole.id == layer.id);
        if let (Some(h), Some(t)) = (h_const, *t_const) {
            if h != t && place.role != Role::Memory {
                self.note(format!(
                    "what {} points to is const {} only",
                    place.name(),
                    if h { "here" } else { "in the kernel" }
                ));
            }
        }
        Ok(())
    }

    /// Compares what two pointers point to.
    fn pointees(
        &mut self,
        (here, h): (&Ty, Id),
        (there, t): (&Ty, Id),
        place: &Place,
    ) -> Result<()> {
        // An array is passed by a pointer to its first element.
        let (h_ty, t_ty) = (self.here.ty(h)?, self.there.ty(t)?);
        let (h, t) = match (&h_ty.kind, &t_ty.kind) {
            (Kind::Array { .. }, Kind::Array { .. }) => (h, t),
            (Kind::Array { of, .. }, _) => (*of, t),
            (_, Kind::Array { of, .. }) => (h, *of),
            _ => (h, t),
        };
        let (h_ty, t_ty) = (self.here.ty(h)?, self.there.ty(t)?);
        let va_list = |ty: &Ty| match &ty.kind {
            Kind::Aggregate(a) => a.names.iter().any(|name| name == "__va_list_tag"),
            _ => false,
        };
        let any = |ty: &Ty| matches!(ty.kind, Kind::Void) || va_list(ty);

        match (&h_ty.kind, &t_ty.kind) {
            (Kind::Void, Kind::Void) => Ok(()),
            // A type of the compiler's own.
            _ if va_list(&h_ty) && va_list(&t_ty) => Ok(()),
            (Kind::Unknown(_), _) | (_, Kind::Unknown(_)) => {
                let at = Place {
                    at: format!("what {} points to", place.name()),
                    role: Role::Memory,
                };
                self.ty(h, t, &at)
            }
            _ if any(&h_ty) || any(&t_ty) => {
                self.note(format!(
                    "{} is {} here and {} in the kernel: what it points to is not compared",
                    place.name(),
                    here.show,
                    there.show
                ));
                Ok(())
            }
            (Kind::Function(_), Kind::Function(_)) => match self.seen.insert((h, t)) {
                true => self.ty(h, t, place),
                false => Ok(()),
            },
            _ => self.pointed_to((here, h), (there, t), place),
        }
    }

    /// Compares what two pointers point to that both name it. A difference is shown as one of the
    /// pointers where that is clearer.
    fn pointed_to(
        &mut self,
        (here, h): (&Ty, Id),
        (there, t): (&Ty, Id),
        place: &Place,
    ) -> Result<()> {
        let at = Place {
            at: format!("what {} points to", place.name()),
            role: Role::Memory,
        };
        let mut below = self.apart(|this| this.ty(h, t, &at))?;
        let (h_ty, t_ty) = (self.here.ty(h)?, self.there.ty(t)?);
        let names_agree = self.layers(h)?.iter().any(|layer| fits(&layer.ty, &t_ty));
        // Integers are named with their sizes, as their names may be the same.
        let scalar = |ty: &Ty| {
            matches!(
                ty.kind,
                Kind::Int { .. } | Kind::Bool | Kind::Char | Kind::Enum { .. }
            )
        };
        let told = here.show == there.show
            || matches!(t_ty.kind, Kind::Aggregate(_) | Kind::Array { .. }) && names_agree
            || below
                .differences
                .iter()
                .any(|text| text.starts_with("the function that"))
            || scalar(&h_ty) && scalar(&t_ty);
        if !below.differences.is_empty() && !told {
            below.differences = vec![place.differs(&here.show, &there.show)];
        }
        self.add(below);
        Ok(())
    }

    fn add(&mut self, found: Findings) {
        for text in found.differences {
            self.differs(text);
        }
        for text in found.unknown {
            self.unknown(text);
        }
        for text in found.notes {
            self.note(text);
        }
    }

    /// Compares the members of two structs of one name and one size.
    fn structs(&mut self, here: Id, there: Id) -> Result<()> {
        let (here_ty, there_ty) = (self.here.ty(here)?, self.there.ty(there)?);
        let (Kind::Aggregate(h), Kind::Aggregate(t)) = (&here_ty.kind, &there_ty.kind) else {
            return Ok(());
        };
        // One side has only declared it.
        if here_ty.size.is_none() || there_ty.size.is_none() {
            return Ok(());
        }
        let of = &there_ty.show;
        for (aggregate, side) in [(h, "here"), (t, "in the kernel")] {
            if aggregate.members.is_none() {
                self.unknown(format!("the members of {of} cannot be told {side}"));
                return Ok(());
            }
        }
        let members = flatten(self.here, h)?;
        let originals = flatten(self.there, t)?;
        let mut found = self.apart(|this| this.members(h, &members, &originals, of))?;
        let more = found.differences.len().saturating_sub(MAX_NAMED);
        found.differences.truncate(MAX_NAMED);
        self.add(found);
        if more > 0 {
            self.differs(format!("{of} has {more} more differences"));
        }
        Ok(())
    }

    fn members(
        &mut self,
        aggregate: &Aggregate,
        members: &[Flat],
        originals: &[Flat],
        of: &str,
    ) -> Result<()> {
        let by_name: HashMap<&str, &Flat> = originals
            .iter()
            .map(|member| (member.name.as_str(), member))
            .collect();
        let rust = aggregate.origin != Origin::C;
        let find = |name: &str| {
            let plain = || {
                let plain = name.strip_prefix("r#").unwrap_or(name);
                plain.strip_suffix('_').unwrap_or(plain)
            };
            by_name
                .get(name)
                .or_else(|| rust.then(|| by_name.get(plain())).flatten())
                .copied()
        };
        let mut compared = 0;
        for member in members {
            if !self.step() {
                return Ok(());
            }
            if member.name.is_empty() {
                continue;
            }
            match find(&member.name) {
                Some(original) => self.member(aggregate.origin, member, original, of)?,
                // Padding, bit-fields as bindgen writes them, or an offset instead of a name.
                None if rust && member.name.starts_with('_') => continue,
                None if rust && self.placed(aggregate.origin, member, originals, of)? => {}
                None => {
                    let name = &member.name;
                    self.differs(format!("member {name} of {of} is not in the kernel"));
                }
            }
            compared += 1;
        }
        if !rust {
            let here: HashSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
            for original in originals {
                let name = original.name.as_str();
                if !here.contains(name) && !name.is_empty() {
                    self.differs(format!("member {name} of {of} is in the kernel only"));
                }
            }
        } else if compared == 0 && !originals.is_empty() && aggregate.origin == Origin::Rust {
            self.note(format!(
                "the members of {of} are not compared, as they have no names here"
            ));
        }
        Ok(())
    }

    /// Compares a member that has another name in Rust with those of the kernel at its
    /// offset; of a union there are several, and one has to agree. Returns whether there are any.
    fn placed(
        &mut self,
        origin: Origin,
        member: &Flat,
        originals: &[Flat],
        of: &str,
    ) -> Result<bool> {
        let mut first = None;
        for original in originals {
            if original.offset != member.offset || original.size != member.size {
                continue;
            }
            let found = self.apart(|this| this.member(origin, member, original, of))?;
            if found.differences.is_empty() {
                self.add(found);
                return Ok(true);
            }
            first.get_or_insert(found);
        }
        let any = first.is_some();
        self.add(first.unwrap_or_default());
        Ok(any)
    }

    fn member(&mut self, origin: Origin, here: &Flat, there: &Flat, of: &str) -> Result<()> {
        let name = &here.name;
        if here.offset != there.offset {
            self.differs(format!(
                "member {name} of {of} is at {} here and at {} in the kernel",
                byte(here.offset),
                byte(there.offset)
            ));
            return Ok(());
        }
        if let (Some(h), Some(t)) = (here.size, there.size) {
            if h != t {
                let (unit, size) = match here.is_bits || there.is_bits {
                    true => ("bits", 1),
                    false => ("bytes", 8),
                };
                self.differs(format!(
                    "member {name} of {of} has {} {unit} here and {} in the kernel",
                    h / size,
                    t / size
                ));
                return Ok(());
            }
        }
        if here.is_bits || there.is_bits {
            return Ok(());
        }
        let place = Place {
            at: format!("member {name} of {of}"),
            role: Role::Memory,
        };
        let (h, t) = (self.here.ty(here.ty)?, self.there.ty(there.ty)?);
        let same_name = match (&h.kind, &t.kind) {
            (Kind::Aggregate(a), Kind::Aggregate(b)) => {
                b.names.is_empty() || share_a_name(&a.names, &b.names, true)
            }
            _ => false,
        };
        match origin {
            // What bindgen has made of a type is right, or is what the author has to live with; but
            // where it puts the members of a struct inside, is seen.
            Origin::Bindgen if !same_name => Ok(()),
            Origin::Rust if self.is_bytes(here.ty)? && matches!(t.kind, Kind::Aggregate(_)) => {
                self.note(format!(
                    "{} is only bytes here, and is not compared with {} of the kernel",
                    place.name(),
                    t.show
                ));
                Ok(())
            }
            Origin::Rust if !same_name => {
                let there = self.content(here.ty, there.ty)?;
                self.ty(here.ty, there, &place)
            }
            _ => self.ty(here.ty, there.ty, &place),
        }
    }

    /// Whether a type of this side is an array of bytes, which stands for any type.
    fn is_bytes(&self, id: Id) -> Result<bool> {
        for layer in self.layers(id)? {
            if let Kind::Array { of, .. } = &layer.ty.kind {
                let of = self.here.ty(*of)?;
                return Ok(matches!(of.kind, Kind::Int { .. }) && of.size == Some(1));
            }
        }
        Ok(false)
    }

    /// What a type of the kernel comes down to in memory where Rust has no struct: `atomic_t` is
    /// an int.
    fn content(&self, here: Id, mut there: Id) -> Result<Id> {
        if matches!(self.here.ty(here)?.kind, Kind::Aggregate(_)) {
            return Ok(there);
        }
        for _ in 0..MAX_NESTING {
            let ty = self.there.ty(there)?;
            let Kind::Aggregate(aggregate) = &ty.kind else {
                break;
            };
            let Some([only]) = aggregate.members.as_deref() else {
                break;
            };
            if only.offset != 0 || only.bits.is_some() || self.there.ty(only.ty)?.size != ty.size {
                break;
            }
            there = only.ty;
        }
        Ok(there)
    }

    /// Compares how two structs of one name and size are passed by value. On each architecture that
    /// follows by other rules from what is where in them, and from their alignment.
    fn passing(&mut self, here: &Layer, there: &Ty, id: Id, place: &Place) -> Result<()> {
        let (name, show) = (place.name().to_string(), &there.show);
        let both = (scalars(self.here, here.id)?, scalars(self.there, id)?);
        let (Some(h), Some(t)) = both else {
            self.unknown(format!(
                "{name} is {show}, which is passed by value and has parts that cannot be compared"
            ));
            return Ok(());
        };
        if h.all != t.all && (h.bit_fields || t.bit_fields) {
            self.unknown(format!(
                "{name} is {show}, which is passed by value and has bit-fields, which bindgen does not tell"
            ));
            return Ok(());
        }
        if h.all != t.all {
            self.differs(format!(
                "{name} is {show} on both sides, and is passed in another way here, as its parts are others"
            ));
            return Ok(());
        }
        let (h, t) = (
            alignment(self.here, here.id, 0)?,
            alignment(self.there, id, 0)?,
        );
        if h.bytes == t.bytes {
            // For a callback, it is not worth a line.
            if !self.there.tells_alignment() && !name.starts_with("the function that") {
                self.note(format!(
                    "{name} is {show}, which is passed by value, and BTF does not tell its alignment"
                ));
            }
            return Ok(());
        }
        if h.told && t.told {
            self.differs(format!(
                "{name} is {show}, aligned to {} here and to {} in the kernel",
                h.bytes, t.bytes
            ));
        } else {
            self.unknown(format!(
                "{name} is {show}, which is passed by value, and one side does not tell its alignment"
            ));
        }
        Ok(())
    }
}

/// A value that an enum has in the kernel, and not here.
fn missing(here: &Ty, there: &Ty) -> Option<i128> {
    let (Kind::Enum { values: h, .. }, Kind::Enum { values: t, .. }) = (&here.kind, &there.kind)
    else {
        return None;
    };
    // The sides may differ in the sign.
    let mask = match here.size {
        Some(size @ 0..=7) => (1i128 << (size * 8)) - 1,
        _ => i128::from(u64::MAX),
    };
    let bits: HashSet<i128> = h.iter().map(|value| value & mask).collect();
    t.iter()
        .find(|value| !bits.contains(&(*value & mask)))
        .copied()
}

/// The members of a struct, with those of structs without a name in it.
fn flatten(types: &dyn Types, aggregate: &Aggregate) -> Result<Vec<Flat>> {
    let mut flat = Vec::new();
    let mut steps = 0;
    flatten_into(types, aggregate, 0, &mut steps, &mut flat)?;
    Ok(flat)
}

fn flatten_into(
    types: &dyn Types,
    aggregate: &Aggregate,
    offset: u64,
    steps: &mut usize,
    flat: &mut Vec<Flat>,
) -> Result<()> {
    for member in aggregate.members.iter().flatten() {
        *steps += 1;
        if *steps > MAX_MEMBERS {
            return Err(Error::new(
                "the debug information is malformed: a struct within itself",
            ));
        }
        let at = offset.wrapping_add(member.offset);
        let name = match &member.name {
            Some(name) if !name.starts_with("__bindgen_anon") => name.clone(),
            _ => {
                let ty = unwrapped(types, member.ty)?;
                if let Kind::Aggregate(inner) = &ty.kind {
                    flatten_into(types, inner, at, steps, flat)?;
                }
                String::new()
            }
        };
        let ty = types.ty(member.ty)?;
        let endless = matches!(ty.kind, Kind::Array { count: None, .. });
        flat.push(Flat {
            name,
            offset: at,
            size: match member.bits {
                Some(bits) => Some(bits),
                None if endless => None,
                None => ty.size.map(|size| size.saturating_mul(8)),
            },
            is_bits: member.bits.is_some(),
            ty: member.ty,
        });
    }
    Ok(())
}

/// What is in all wrappers; bindgen has anonymous structs in `ManuallyDrop`.
fn unwrapped(types: &dyn Types, id: Id) -> Result<Rc<Ty>> {
    let mut ty = types.ty(id)?;
    for _ in 0..MAX_NESTING {
        match &ty.kind {
            Kind::Aggregate(Aggregate {
                inner: Some(inner), ..
            }) => ty = types.ty(*inner)?,
            _ => break,
        }
    }
    Ok(ty)
}

/// The scalars that a value consists of; `None` if they are not known, or too many.
fn scalars(types: &dyn Types, id: Id) -> Result<Option<Scalars>> {
    let mut found = Scalars::default();
    let known = scalars_into(types, id, 0, 0, &mut found)?;
    found.all.sort_unstable();
    found.all.dedup();
    Ok((known && found.all.len() <= MAX_SCALARS).then_some(found))
}

/// Adds the scalars of a value that is `offset` bits from the beginning; returns whether they are
/// known.
fn scalars_into(
    types: &dyn Types,
    id: Id,
    offset: u64,
    depth: usize,
    found: &mut Scalars,
) -> Result<bool> {
    found.steps += 1;
    if depth > MAX_NESTING || found.steps > MAX_MEMBERS {
        return Ok(false);
    }
    let ty = types.ty(id)?;
    let bits = |bytes: u64| bytes.saturating_mul(8);
    match &ty.kind {
        Kind::Int { .. }
        | Kind::Char
        | Kind::Bool
        | Kind::Float
        | Kind::Pointer { .. }
        | Kind::Enum { .. } => {
            let Some(size) = ty.size else {
                return Ok(false);
            };
            found.all.push(Scalar {
                offset,
                size: bits(size),
                float: ty.kind == Kind::Float,
            });
            Ok(true)
        }
        Kind::Array { count: None, .. } => Ok(true),
        Kind::Array {
            of,
            count: Some(count),
        } => {
            let Some(size) = types.ty(*of)?.size else {
                return Ok(false);
            };
            for i in 0..(*count).min(MAX_SCALARS as u64 + 1) {
                let at = offset.wrapping_add(i.wrapping_mul(bits(size)));
                if !scalars_into(types, *of, at, depth + 1, found)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Kind::Aggregate(aggregate) => scalars_of(types, aggregate, offset, depth, found),
        Kind::Void => Ok(true),
        Kind::Function(_) | Kind::Unknown(_) => Ok(false),
    }
}

fn scalars_of(
    types: &dyn Types,
    aggregate: &Aggregate,
    offset: u64,
    depth: usize,
    found: &mut Scalars,
) -> Result<bool> {
    if let Some(inner) = aggregate.inner {
        return scalars_into(types, inner, offset, depth + 1, found);
    }
    let Some(members) = &aggregate.members else {
        return Ok(false);
    };
    for member in members {
        let at = offset.wrapping_add(member.offset);
        let name = member.name.as_deref().unwrap_or("");
        found.bit_fields |= member.bits.is_some()
            || aggregate.origin == Origin::Bindgen && name.starts_with("_bitfield");
        if let Some(size) = member.bits {
            found.all.push(Scalar {
                offset: at,
                size,
                float: false,
            });
        } else if !scalars_into(types, member.ty, at, depth + 1, found)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The alignment of a value.
struct Alignment {
    bytes: u64,
    /// The debug information names it; otherwise it is that of the members.
    told: bool,
}

fn alignment(types: &dyn Types, id: Id, depth: usize) -> Result<Alignment> {
    let ty = types.ty(id)?;
    let own = |bytes: Option<u64>| Alignment {
        bytes: bytes.unwrap_or(1),
        told: false,
    };
    if depth > MAX_NESTING {
        return Ok(own(None));
    }
    match &ty.kind {
        Kind::Array { of, .. } => alignment(types, *of, depth + 1),
        Kind::Aggregate(aggregate) => {
            if let Some(bytes) = aggregate.align {
                return Ok(Alignment { bytes, told: true });
            }
            let mut whole = Alignment {
                bytes: 1,
                told: false,
            };
            let mut packed = false;
            for member in aggregate.members.iter().flatten() {
                let of = alignment(types, member.ty, depth + 1)?;
                let place = member.offset / 8;
                packed |= member.bits.is_none() && place.checked_rem(of.bytes) != Some(0);
                whole.bytes = whole.bytes.max(of.bytes);
                whole.told |= of.told;
            }
            packed |= ty.size.unwrap_or(0).checked_rem(whole.bytes) != Some(0);
            Ok(if packed { own(None) } else { whole })
        }
        _ => Ok(own(ty.size)),
    }
}

#[cfg(test)]
mod tests;
