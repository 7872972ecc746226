// SPDX-License-Identifier: GPL-2.0

//! Types as both sides of a comparison are brought to, and the comparison.
//!
//! Whatever tells the types (DWARF of C, DWARF of Rust, BTF) is read into a [`Proto`], which keeps
//! what a caller and a callee have to agree about, and the names to show.

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ty {
    /// As its language writes it.
    pub show: String,
    /// In bytes, where it is known.
    pub size: Option<u64>,
    /// What it is.
    pub kind: Kind,
}

/// What a type is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Void,
    Int {
        signed: bool,
        /// C's plain `char`, whose sign depends on the compiler's flags.
        char: bool,
    },
    Bool,
    Float,
    Pointer {
        to: Box<Ty>,
        /// Whether it points to const; Rust's references and `NonNull` do not say.
        constant: Option<bool>,
    },
    /// A struct or a union.
    Aggregate {
        /// The tag and the typedefs: bindgen names an anonymous struct by its typedef.
        names: Vec<String>,
        /// Of a Rust type that adds nothing to the layout of another: that other type.
        inner: Option<Box<Ty>>,
    },
    Enum {
        names: Vec<String>,
    },
    Array {
        of: Box<Ty>,
    },
    Function(Box<Proto>),
    /// It could not be read; says why.
    Unknown(String),
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proto {
    pub ret: Ty,
    pub args: Vec<Ty>,
    /// Takes further arguments (`...`).
    pub variadic: bool,
    /// Written in Rust: bindgen has lost some of what C has told.
    pub rust: bool,
    /// The ABI, where the debug information names it.
    pub abi: Option<String>,
}

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub differences: Vec<String>,
    /// What could not be compared although nothing differs.
    pub unknown: Vec<String>,
    pub notes: Vec<String>,
}

/// How deep pointers to functions and pointers to pointers are followed.
pub const MAX_DEPTH: usize = 6;

impl Ty {
    /// `void`, and Rust's `()` and `!`.
    pub fn void(show: &str) -> Self {
        Ty {
            show: show.to_string(),
            size: None,
            kind: Kind::Void,
        }
    }

    /// A type that could not be read.
    pub fn unknown(why: impl Into<String>) -> Self {
        Ty {
            show: "?".to_string(),
            size: None,
            kind: Kind::Unknown(why.into()),
        }
    }

    /// With what matters for a call.
    fn describe(&self) -> String {
        let bytes = match self.size {
            Some(1) => "1 byte".to_string(),
            Some(n) => format!("{n} bytes"),
            None => "of unknown size".to_string(),
        };
        match &self.kind {
            Kind::Int { signed: true, .. } => format!("{} ({bytes}, signed)", self.show),
            Kind::Int { signed: false, .. } => format!("{} ({bytes}, unsigned)", self.show),
            Kind::Bool | Kind::Float | Kind::Aggregate { .. } | Kind::Enum { .. } => {
                format!("{} ({bytes})", self.show)
            }
            _ => self.show.clone(),
        }
    }

    /// The type, and what it is a wrapper of.
    fn layers(&self) -> Vec<&Ty> {
        let mut layers = vec![self];
        let mut ty = self;
        while let Kind::Aggregate {
            inner: Some(inner), ..
        } = &ty.kind
        {
            layers.push(inner);
            ty = inner;
        }
        layers
    }
}

/// Where in a function's type a finding is.
#[derive(Clone)]
struct Place {
    /// "argument 2", "the return value", with what leads there.
    at: String,
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

/// Compare a replacement's type (`here`) with that of the function it replaces (`there`).
pub fn compare(here: &Proto, there: &Proto) -> Findings {
    let mut findings = Findings::default();
    if let Some(abi) = &here.abi {
        if abi != "C" {
            findings.differences.push(format!(
                "has the ABI \"{abi}\" here and \"C\" in the kernel"
            ));
        }
    }
    compare_proto(here, there, "", &mut findings, 0);
    findings
}

fn compare_proto(here: &Proto, there: &Proto, of: &str, findings: &mut Findings, depth: usize) {
    let (n, m) = (here.args.len(), there.args.len());
    let whose = if of.is_empty() {
        String::new()
    } else {
        format!("{of} ")
    };
    if n != m {
        let s = if n == 1 { "" } else { "s" };
        findings.differences.push(format!(
            "{whose}takes {n} argument{s} here and {m} in the kernel"
        ));
    } else {
        for (i, (h, t)) in here.args.iter().zip(&there.args).enumerate() {
            let place = Place {
                at: format!("{whose}argument {}", i + 1),
            };
            compare_ty(h, t, here.rust, &place, findings, depth, false);
        }
    }
    match (here.variadic, there.variadic) {
        (true, false) => findings.differences.push(format!(
            "{whose}takes variable arguments here and not in the kernel"
        )),
        (false, true) => findings.differences.push(format!(
            "{whose}takes variable arguments in the kernel and not here"
        )),
        (true, true) => findings.notes.push(format!(
            "{whose}takes variable arguments, which cannot be compared"
        )),
        (false, false) => {}
    }
    let place = Place {
        at: if of.is_empty() {
            String::new()
        } else {
            format!("{of} return value")
        },
    };
    compare_ty(
        &here.ret, &there.ret, here.rust, &place, findings, depth, false,
    );
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
        (Kind::Aggregate { names: h, .. }, Kind::Aggregate { names: t, .. }) => {
            share_a_name(h, t, true)
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

/// `pointee`: the types are what a pointer of that name points to; `whole` shows the pointers.
fn compare_ty(
    here: &Ty,
    there: &Ty,
    rust: bool,
    place: &Place,
    findings: &mut Findings,
    depth: usize,
    pointee: bool,
) {
    let layers = here.layers();
    let layer = layers
        .iter()
        .copied()
        .find(|layer| fits(layer, there))
        .unwrap_or(here);
    let same_size = matches!((layer.size, there.size), (Some(h), Some(t)) if h == t);
    let mut differ = || {
        findings
            .differences
            .push(place.differs(&here.describe(), &there.describe()))
    };

    match (&layer.kind, &there.kind) {
        (Kind::Unknown(why), _) => {
            findings
                .unknown
                .push(format!("{} here: {why}", place.name()));
        }
        (_, Kind::Unknown(why)) => {
            findings
                .unknown
                .push(format!("{} in the kernel: {why}", place.name()));
        }
        (Kind::Void, Kind::Void) => {}
        (Kind::Bool, Kind::Bool) | (Kind::Float, Kind::Float) => {
            if !same_size {
                differ();
            }
        }
        (
            Kind::Int {
                signed: h,
                char: h_char,
            },
            Kind::Int {
                signed: t,
                char: t_char,
            },
        ) => {
            // The sign of what a `char *` points to is nobody's concern.
            let sign_counts = !(pointee && (*h_char || *t_char));
            if !same_size || (h != t && sign_counts) {
                differ();
            }
        }
        // bindgen makes an integer of a C enum.
        (Kind::Int { .. }, Kind::Enum { .. }) | (Kind::Enum { .. }, Kind::Int { .. }) if rust => {
            if !same_size {
                differ();
            }
        }
        (Kind::Enum { names: h }, Kind::Enum { names: t }) => {
            let same_name = rust || h.is_empty() && t.is_empty() || h.iter().any(|n| t.contains(n));
            if !same_size || !same_name {
                differ();
            }
        }
        (Kind::Aggregate { names: h, .. }, Kind::Aggregate { names: t, .. }) => {
            let anonymous = h.is_empty() && t.is_empty();
            if !anonymous && !share_a_name(h, t, rust) {
                differ();
            } else if let (Some(h), Some(t)) = (layer.size, there.size) {
                // bindgen gives a struct that it has only seen declared no size at all.
                if h != t && !(rust && h == 0) {
                    findings.differences.push(format!(
                        "{} is {} of {h} bytes here and of {t} bytes in the kernel",
                        place.name(),
                        there.show
                    ));
                }
            }
        }
        (
            Kind::Pointer {
                to: h,
                constant: h_const,
            },
            Kind::Pointer {
                to: t,
                constant: t_const,
            },
        ) => {
            if depth >= MAX_DEPTH {
                return;
            }
            compare_pointee((here, h), (there, t), rust, place, findings, depth + 1);
            if let (Some(h), Some(t)) = (h_const, t_const) {
                if h != t {
                    findings.notes.push(format!(
                        "what {} points to is const {} only",
                        place.name(),
                        if *h { "here" } else { "in the kernel" }
                    ));
                }
            }
        }
        (Kind::Array { of: h }, Kind::Array { of: t }) => {
            compare_ty(h, t, rust, place, findings, depth, true);
        }
        (Kind::Function(h), Kind::Function(t)) => {
            let of = format!("the function that {} points to:", place.name());
            compare_proto(h, t, &of, findings, depth);
        }
        _ => differ(),
    }
}

/// Compare what two pointers point to; a difference is told as one of the pointers.
fn compare_pointee(
    (here, h): (&Ty, &Ty),
    (there, t): (&Ty, &Ty),
    rust: bool,
    place: &Place,
    findings: &mut Findings,
    depth: usize,
) {
    // An array is passed by a pointer to its first element.
    let element = |ty: &'_ Ty| match &ty.kind {
        Kind::Array { of } => (**of).clone(),
        _ => ty.clone(),
    };
    let (h, t) = match (&h.kind, &t.kind) {
        (Kind::Array { .. }, Kind::Array { .. }) => (h.clone(), t.clone()),
        _ => (element(h), element(t)),
    };

    match (&h.kind, &t.kind) {
        (Kind::Void, Kind::Void) => {}
        // va_list is a pointer to a type of the compiler's own.
        (_, Kind::Aggregate { names, .. }) if names.iter().any(|n| n == "__va_list_tag") => {}
        (Kind::Void, _) | (_, Kind::Void) => findings.notes.push(format!(
            "{} is {} here and {} in the kernel: what it points to is not compared",
            place.name(),
            here.show,
            there.show
        )),
        (Kind::Unknown(_), _) | (_, Kind::Unknown(_)) => {
            compare_ty(&h, &t, rust, place, findings, depth, true)
        }
        (Kind::Function(_), Kind::Function(_)) => {
            compare_ty(&h, &t, rust, place, findings, depth, true)
        }
        _ => {
            let mut below = Findings::default();
            let at = Place {
                at: format!("what {} points to", place.name()),
            };
            compare_ty(&h, &t, rust, &at, &mut below, depth, true);
            let names_agree = h.layers().iter().any(|layer| fits(layer, &t));
            let aggregate = matches!(t.kind, Kind::Aggregate { .. }) && names_agree;
            let function = below
                .differences
                .iter()
                .any(|d| d.starts_with("the function that"));
            if below.differences.is_empty() || aggregate || function {
                findings.differences.append(&mut below.differences);
            } else {
                // Integers are named with their sizes, as their names may be the same.
                let scalar = |ty: &Ty| matches!(ty.kind, Kind::Int { .. } | Kind::Bool);
                if scalar(&h) && scalar(&t) {
                    findings.differences.append(&mut below.differences);
                } else {
                    findings
                        .differences
                        .push(place.differs(&here.show, &there.show));
                }
            }
            findings.unknown.append(&mut below.unknown);
            findings.notes.append(&mut below.notes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(show: &str, size: u64, signed: bool) -> Ty {
        Ty {
            show: show.into(),
            size: Some(size),
            kind: Kind::Int {
                signed,
                char: show == "char",
            },
        }
    }

    fn aggregate(name: &str, size: u64, inner: Option<Ty>) -> Ty {
        Ty {
            show: format!("struct {name}"),
            size: Some(size),
            kind: Kind::Aggregate {
                names: vec![name.into()],
                inner: inner.map(Box::new),
            },
        }
    }

    fn pointer(to: Ty) -> Ty {
        Ty {
            show: format!("{} *", to.show),
            size: Some(8),
            kind: Kind::Pointer {
                to: Box::new(to),
                constant: Some(false),
            },
        }
    }

    fn enumeration(name: &str, size: u64) -> Ty {
        Ty {
            show: format!("enum {name}"),
            size: Some(size),
            kind: Kind::Enum {
                names: vec![name.into()],
            },
        }
    }

    fn proto(ret: Ty, args: Vec<Ty>, rust: bool) -> Proto {
        Proto {
            ret,
            args,
            variadic: false,
            rust,
            abi: None,
        }
    }

    fn one(here: Ty, there: Ty, rust: bool) -> Findings {
        compare(
            &proto(Ty::void("void"), vec![here], rust),
            &proto(Ty::void("void"), vec![there], false),
        )
    }

    fn differences(here: Ty, there: Ty) -> Vec<String> {
        one(here, there, true).differences
    }

    #[test]
    fn size_and_sign_of_integers() {
        assert_eq!(
            differences(int("u32", 4, false), int("long", 8, true)),
            ["argument 1 is u32 (4 bytes, unsigned) here and long (8 bytes, signed) in the kernel"]
        );
        assert_eq!(
            differences(int("u32", 4, false), int("int", 4, true)),
            ["argument 1 is u32 (4 bytes, unsigned) here and int (4 bytes, signed) in the kernel"]
        );
        assert!(differences(int("usize", 8, false), int("unsigned long", 8, false)).is_empty());
    }

    #[test]
    fn wrappers_count_as_what_they_wrap() {
        let wrapped = aggregate(
            "SeqFile",
            112,
            Some(aggregate(
                "Opaque",
                112,
                Some(aggregate("seq_file", 112, None)),
            )),
        );
        assert!(differences(
            pointer(wrapped.clone()),
            pointer(aggregate("seq_file", 112, None))
        )
        .is_empty());
        assert_eq!(
            differences(pointer(wrapped), pointer(aggregate("file", 112, None))),
            ["argument 1 is struct SeqFile * here and struct file * in the kernel"]
        );
        // NonNull<T>: a wrapper of a pointer.
        let non_null = aggregate("NonNull<u32>", 8, Some(pointer(int("u32", 4, false))));
        assert!(differences(non_null, pointer(int("unsigned int", 4, false))).is_empty());
    }

    #[test]
    fn the_size_of_a_struct_counts() {
        assert_eq!(
            differences(pointer(aggregate("file", 8, None)), pointer(aggregate("file", 16, None))),
            ["what argument 1 points to is struct file of 8 bytes here and of 16 bytes in the kernel"]
        );
        // bindgen knows only that it exists.
        assert!(differences(
            pointer(aggregate("file", 0, None)),
            pointer(aggregate("file", 16, None))
        )
        .is_empty());
    }

    #[test]
    fn names_of_structs_may_be_written_as_rust_does() {
        let pair = |h, t, rust| {
            one(
                pointer(aggregate(h, 8, None)),
                pointer(aggregate(t, 8, None)),
                rust,
            )
            .differences
            .len()
        };
        assert_eq!(pair("KlpObject", "klp_object", true), 0);
        assert_eq!(pair("Dummy", "dummy", true), 0);
        assert_eq!(pair("Dummy", "dummy", false), 1);
        assert_eq!(pair("klpobject", "klp_object", true), 1);
        assert_eq!(pair("KlpObject", "klp_func", true), 1);
    }

    #[test]
    fn a_void_pointer_is_a_note() {
        let findings = one(
            pointer(Ty::void("void")),
            pointer(aggregate("file", 8, None)),
            true,
        );
        assert!(findings.differences.is_empty());
        assert_eq!(
            findings.notes,
            ["argument 1 is void * here and struct file * in the kernel: what it points to is not compared"]
        );
    }

    #[test]
    fn enums_are_integers_to_bindgen_only() {
        let (here, there) = (int("u32", 4, false), enumeration("state", 4));
        assert!(one(here.clone(), there.clone(), true)
            .differences
            .is_empty());
        assert_eq!(
            one(here, there.clone(), false).differences,
            ["argument 1 is u32 (4 bytes, unsigned) here and enum state (4 bytes) in the kernel"]
        );
        assert_eq!(
            one(int("u64", 8, false), there, true).differences,
            ["argument 1 is u64 (8 bytes, unsigned) here and enum state (4 bytes) in the kernel"]
        );
    }

    #[test]
    fn char_has_no_sign_behind_a_pointer() {
        assert!(
            differences(pointer(int("u8", 1, false)), pointer(int("char", 1, true))).is_empty()
        );
        assert_eq!(
            differences(int("u8", 1, false), int("char", 1, true)).len(),
            1
        );
    }

    #[test]
    fn count_return_and_variable_arguments() {
        let here = proto(int("i32", 4, true), vec![], true);
        let mut there = proto(Ty::void("void"), vec![int("int", 4, true)], false);
        there.variadic = true;
        assert_eq!(
            compare(&here, &there).differences,
            [
                "takes 0 arguments here and 1 in the kernel",
                "takes variable arguments in the kernel and not here",
                "returns i32 (4 bytes, signed) here and void in the kernel",
            ]
        );
    }

    #[test]
    fn functions_behind_pointers() {
        let f = |arg: Ty| {
            pointer(Ty {
                show: "f".into(),
                size: None,
                kind: Kind::Function(Box::new(proto(Ty::void("void"), vec![arg], false))),
            })
        };
        assert_eq!(
            differences(f(int("u32", 4, false)), f(int("long", 8, true))),
            ["the function that argument 1 points to: argument 1 is u32 (4 bytes, unsigned) here \
              and long (8 bytes, signed) in the kernel"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(
            one(Ty::unknown("no such form"), int("int", 4, true), true).unknown,
            ["argument 1 here: no such form"]
        );
    }

    #[test]
    fn the_abi_of_rust_is_not_that_of_c() {
        let mut here = proto(Ty::void("()"), vec![], true);
        here.abi = Some("Rust".into());
        assert_eq!(
            compare(&here, &proto(Ty::void("void"), vec![], false)).differences,
            ["has the ABI \"Rust\" here and \"C\" in the kernel"]
        );
    }
}
