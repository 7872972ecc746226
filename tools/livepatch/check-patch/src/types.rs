// SPDX-License-Identifier: GPL-2.0

//! Types, in one form for both sides of a comparison.
//!
//! Each kind of debug information (DWARF of C, DWARF of Rust, BTF) implements [`Types`]. A [`Ty`]
//! keeps what a caller and a callee have to agree on, and the name to show. Types refer to each
//! other by [`Id`]: a struct may lead back to itself, and is read only when a comparison needs it.

use crate::error::Result;
use std::{collections::BTreeSet, rc::Rc};

/// Where debug information has a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

impl Id {
    /// `void`, which is nowhere in the debug information.
    pub const VOID: Id = Id(0);
}

/// The types of one side.
pub trait Types {
    /// A type, without its typedefs and qualifiers.
    fn ty(&self, id: Id) -> Result<Rc<Ty>>;

    /// Whether an alignment that is not the natural one is recorded.
    fn tells_alignment(&self) -> bool {
        true
    }
}

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
    /// Rust's `char`, of which not every number is one.
    Char,
    Bool,
    Float,
    Pointer {
        to: Id,
        /// Whether it points to const; not known of Rust's references and `NonNull`.
        constant: Option<bool>,
        /// A reference of Rust, or a function pointer.
        nonnull: bool,
        /// Of the function that it points to, where the debug information names it.
        abi: Option<String>,
    },
    /// A struct or a union.
    Aggregate(Aggregate),
    Enum {
        names: Vec<String>,
        values: BTreeSet<i128>,
        origin: Origin,
    },
    Array {
        of: Id,
        /// `None`: its length is not known, as of a flexible array.
        count: Option<u64>,
    },
    Function(Proto),
    /// It could not be read, for this reason.
    Unknown(String),
}

/// What has declared a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    C,
    /// bindgen, which loses some of what C declares, and arranges members as C does.
    Bindgen,
    /// An author, in Rust.
    Rust,
}

/// A struct or a union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// The tag and the typedefs: bindgen names an anonymous struct by its typedef.
    pub names: Vec<String>,
    pub origin: Origin,
    /// `None`: it has only been declared, or, if it has a size, its members are not known.
    pub members: Option<Vec<Member>>,
    /// The alignment in bytes, where the debug information names it.
    pub align: Option<u64>,
    /// Of a Rust type that adds nothing to the layout of another: that other type.
    pub inner: Option<Id>,
    /// What Rust knows of the values that it may have.
    pub values: Values,
}

/// What a wrapper in Rust knows of the values that its content may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Any.
    All,
    /// All but 0: `NonNull`, `NonZero`.
    NotZero,
    /// All, where the content alone would not have 0: `Option`.
    OrZero,
}

/// A member of a struct or a union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `None`: the members of a struct without a name are those of the struct around it.
    pub name: Option<String>,
    /// From the beginning, in bits.
    pub offset: u64,
    /// The number of bits of a bit-field.
    pub bits: Option<u64>,
    pub ty: Id,
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proto {
    pub ret: Id,
    pub args: Vec<Id>,
    /// Takes further arguments (`...`).
    pub variadic: bool,
    /// Written in Rust: bindgen loses some of what C declares.
    pub rust: bool,
    /// The ABI, where the debug information names it.
    pub abi: Option<String>,
}

impl Proto {
    /// A variable, as a function that is given one: what is compared is the type of that.
    pub fn of_variable(ty: Id, rust: bool) -> Self {
        Proto {
            ret: Id::VOID,
            args: vec![ty],
            variadic: false,
            rust,
            abi: None,
        }
    }
}

/// A function, with the types that its own refers to.
#[derive(Clone)]
pub struct Typed<'a> {
    pub types: &'a dyn Types,
    pub proto: Proto,
}

impl Ty {
    /// With what matters for a call.
    pub fn describe(&self) -> String {
        let bytes = match self.size {
            Some(1) => "1 byte".to_string(),
            Some(n) => format!("{n} bytes"),
            None => "of unknown size".to_string(),
        };
        match &self.kind {
            Kind::Int { signed: true, .. } => format!("{} ({bytes}, signed)", self.show),
            Kind::Int { signed: false, .. } => format!("{} ({bytes}, unsigned)", self.show),
            Kind::Bool | Kind::Char | Kind::Float | Kind::Aggregate(_) | Kind::Enum { .. } => {
                format!("{} ({bytes})", self.show)
            }
            _ => self.show.clone(),
        }
    }
}

/// How C writes a pointer to a type that it writes like that.
pub fn pointer_to(show: &str) -> String {
    match show {
        "function" => "a pointer to a function".into(),
        _ if show.ends_with('*') => format!("{show}*"),
        _ => format!("{show} *"),
    }
}
