// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::{cell::RefCell, collections::BTreeSet};

use crate::types::Member;

/// Types that a test makes: the `Id` of one is its index here. `void` is the first.
struct Arena(RefCell<Vec<Ty>>);

impl Types for Arena {
    fn ty(&self, id: Id) -> Result<Rc<Ty>> {
        let all = self.0.borrow();
        let ty = usize::try_from(id.0).ok().and_then(|i| all.get(i));
        Ok(Rc::new(
            ty.cloned().ok_or_else(|| Error::new("no such type"))?,
        ))
    }
}

impl Arena {
    fn new() -> Self {
        let void = Ty {
            show: "void".into(),
            size: None,
            kind: Kind::Void,
        };
        Arena(RefCell::new(vec![void]))
    }

    fn add(&self, show: &str, size: Option<u64>, kind: Kind) -> Id {
        let mut all = self.0.borrow_mut();
        all.push(Ty {
            show: show.into(),
            size,
            kind,
        });
        Id(all.len() as u64 - 1)
    }

    fn int(&self, show: &str, size: u64, signed: bool) -> Id {
        let char = show == "char";
        self.add(show, Some(size), Kind::Int { signed, char })
    }

    fn pointer(&self, to: Id) -> Id {
        let show = format!("{} *", self.ty(to).unwrap().show);
        let kind = Kind::Pointer {
            to,
            constant: Some(false),
            nonnull: false,
            abi: None,
        };
        self.add(&show, Some(8), kind)
    }

    /// A struct with members at the offsets, which are in bytes.
    fn aggregate(&self, name: &str, size: u64, members: &[(&str, u64, Id)]) -> Id {
        let member = |(name, offset, ty): &(&str, u64, Id)| Member {
            name: Some(name.to_string()).filter(|name| !name.is_empty()),
            offset: offset * 8,
            bits: None,
            ty: *ty,
        };
        let aggregate = Aggregate {
            names: vec![name.to_string()],
            origin: Origin::C,
            members: Some(members.iter().map(member).collect()),
            align: None,
            inner: None,
            values: Values::All,
        };
        let show = format!("struct {name}");
        self.add(&show, Some(size), Kind::Aggregate(aggregate))
    }

    /// A wrapper in Rust.
    fn wrapper(&self, name: &str, inner: Id, values: Values) -> Id {
        let size = self.ty(inner).unwrap().size;
        let aggregate = Aggregate {
            names: vec![name.to_string()],
            origin: Origin::Rust,
            members: Some(Vec::new()),
            align: None,
            inner: Some(inner),
            values,
        };
        self.add(name, size, Kind::Aggregate(aggregate))
    }

    fn enumeration(&self, name: &str, values: &[i128], origin: Origin) -> Id {
        let kind = Kind::Enum {
            names: vec![name.into()],
            values: BTreeSet::from_iter(values.iter().copied()),
            origin,
        };
        self.add(&format!("enum {name}"), Some(4), kind)
    }

    fn edit(&self, id: Id, edit: impl FnOnce(&mut Aggregate)) {
        if let Kind::Aggregate(aggregate) = &mut self.0.borrow_mut()[id.0 as usize].kind {
            edit(aggregate);
        }
    }

    fn function(&self, ret: Id, args: &[Id], rust: bool) -> Typed<'_> {
        Typed {
            types: self,
            proto: proto(ret, args, rust),
        }
    }
}

fn proto(ret: Id, args: &[Id], rust: bool) -> Proto {
    Proto {
        ret,
        args: args.to_vec(),
        variadic: false,
        rust,
        abi: None,
    }
}

fn replaces(here: &Typed<'_>, there: &Typed<'_>) -> Findings {
    compare(here, there, Caller::Kernel).unwrap()
}

/// Compares functions with one argument.
fn one(all: &Arena, here: Id, there: Id, rust: bool) -> Findings {
    replaces(
        &all.function(Id::VOID, &[here], rust),
        &all.function(Id::VOID, &[there], false),
    )
}

fn differences(all: &Arena, here: Id, there: Id) -> Vec<String> {
    one(all, here, there, true).differences
}

/// Compares pointers to types.
fn behind(all: &Arena, here: Id, there: Id) -> Findings {
    one(all, all.pointer(here), all.pointer(there), true)
}

#[test]
fn size_and_sign_of_integers() {
    let all = Arena::new();
    let (u32, long) = (all.int("u32", 4, false), all.int("long", 8, true));
    assert_eq!(
        differences(&all, u32, long),
        ["argument 1 is u32 (4 bytes, unsigned) here and long (8 bytes, signed) in the kernel"]
    );
    assert_eq!(
        differences(&all, u32, all.int("int", 4, true)),
        ["argument 1 is u32 (4 bytes, unsigned) here and int (4 bytes, signed) in the kernel"]
    );
    let (usize, ulong) = (
        all.int("usize", 8, false),
        all.int("unsigned long", 8, false),
    );
    assert!(differences(&all, usize, ulong).is_empty());
}

#[test]
fn wrappers_count_as_what_they_wrap() {
    let all = Arena::new();
    let seq_file = all.aggregate("seq_file", 112, &[]);
    let opaque = all.wrapper("Opaque", seq_file, Values::All);
    let wrapped = all.pointer(all.wrapper("SeqFile", opaque, Values::All));
    assert!(differences(&all, wrapped, all.pointer(seq_file)).is_empty());
    let file = all.pointer(all.aggregate("file", 112, &[]));
    assert_eq!(
        differences(&all, wrapped, file),
        ["argument 1 is SeqFile * here and struct file * in the kernel"]
    );
}

#[test]
fn what_rust_takes_for_granted() {
    let all = Arena::new();
    let u32 = all.int("u32", 4, false);
    let pointer = all.pointer(u32);
    let non_null = all.wrapper("NonNull<u32>", pointer, Values::NotZero);
    let option = all.wrapper("Option<NonNull<u32>>", non_null, Values::OrZero);
    let non_zero = all.wrapper("NonZero<u32>", u32, Values::NotZero);
    let notes = |here, there| one(&all, here, there, true).notes;
    assert_eq!(
        notes(non_null, pointer),
        ["Rust takes for granted here that argument 1 is never null"]
    );
    assert_eq!(
        notes(non_zero, u32),
        ["Rust takes for granted here that argument 1 is never 0"]
    );
    assert!(notes(option, pointer).is_empty());

    // What the patch returns is up to it, and so are the arguments of what it calls.
    let returns = |ty| all.function(ty, &[], true);
    assert!(replaces(&returns(non_zero), &returns(u32)).notes.is_empty());
    let called = compare(
        &all.function(non_zero, &[non_null], true),
        &all.function(u32, &[pointer], false),
        Caller::Patch,
    );
    assert_eq!(
        called.unwrap().notes,
        ["Rust takes for granted here that the return value is never 0"]
    );
}

#[test]
fn enums() {
    let all = Arena::new();
    let u32 = all.int("u32", 4, false);
    let c = all.enumeration("state", &[0, 1], Origin::C);
    assert!(differences(&all, u32, c).is_empty());
    assert_eq!(
        one(&all, u32, c, false).differences,
        ["argument 1 is u32 (4 bytes, unsigned) here and enum state (4 bytes) in the kernel"]
    );
    let all_named = all.enumeration("State", &[0, 1, 2], Origin::Rust);
    assert_eq!(
        one(&all, all_named, c, true).notes,
        ["Rust takes for granted here that argument 1 is never a value that enum State does not name"]
    );
    let some = all.enumeration("State", &[1], Origin::Rust);
    assert_eq!(
        differences(&all, some, c),
        ["argument 1 is enum State here, an enum of Rust that does not have the value 0 of enum state in the kernel"]
    );
    assert_eq!(differences(&all, some, u32).len(), 1);
    // One side writes -1, the other one 4294967295.
    let signed = all.enumeration("State", &[-1], Origin::Rust);
    let unsigned = all.enumeration("state", &[0xffff_ffff], Origin::C);
    assert!(differences(&all, signed, unsigned).is_empty());
}

#[test]
fn members_are_compared() {
    let all = Arena::new();
    let (u32, u64) = (all.int("u32", 4, false), all.int("u64", 8, false));
    let there = all.aggregate("foo", 16, &[("a", 0, u64), ("b", 8, u32), ("c", 12, u32)]);
    let differences = |members: &[(&str, u64, Id)], origin| {
        let here = all.aggregate("foo", 16, members);
        all.edit(here, |aggregate| aggregate.origin = origin);
        behind(&all, here, there).differences
    };
    assert!(differences(&[("a", 0, u64), ("b", 8, u32), ("c", 12, u32)], Origin::C).is_empty());
    assert_eq!(
        differences(&[("a", 0, u64), ("c", 8, u32), ("b", 12, u32)], Origin::C),
        [
            "member c of struct foo is at byte 8 here and at byte 12 in the kernel",
            "member b of struct foo is at byte 12 here and at byte 8 in the kernel"
        ]
    );
    assert_eq!(
        differences(&[("a", 0, u64), ("b", 8, u64)], Origin::C),
        [
            "member b of struct foo has 8 bytes here and 4 in the kernel",
            "member c of struct foo is in the kernel only"
        ]
    );
    // An author may leave members out, and name others by their places.
    assert!(differences(&[("_pad", 0, u64), ("other", 8, u32)], Origin::Rust).is_empty());
    assert_eq!(
        differences(&[("other", 4, u32)], Origin::Rust),
        ["member other of struct foo is not in the kernel"]
    );
}

#[test]
fn a_struct_that_leads_to_itself() {
    let all = Arena::new();
    let make = |offset| {
        let node = all.aggregate("node", 16, &[]);
        let next = all.pointer(node);
        let u32 = all.int("u32", 4, false);
        all.edit(node, |aggregate| {
            let member = |name: &str, offset, ty| Member {
                name: Some(name.into()),
                offset,
                bits: None,
                ty,
            };
            aggregate.members = Some(vec![member("next", 0, next), member("value", offset, u32)]);
        });
        node
    };
    let (one, same, other) = (make(64), make(64), make(96));
    assert_eq!(behind(&all, one, same), Findings::default());
    assert_eq!(
        behind(&all, one, other).differences,
        ["member value of struct node is at byte 8 here and at byte 12 in the kernel"]
    );
}

#[test]
fn types_that_have_no_end() {
    // A function that takes pointers to itself, and a struct within itself.
    let all = Arena::new();
    let make = || {
        let f = all.add("function", None, Kind::Void);
        let p = all.pointer(f);
        let pp = all.pointer(p);
        all.0.borrow_mut()[f.0 as usize].kind = Kind::Function(proto(p, &[p, pp, p, pp, p], false));
        pp
    };
    let (here, there) = (make(), make());
    one(&all, here, there, true);

    let within = |all: &Arena| {
        let it = all.aggregate("it", 8, &[]);
        all.edit(it, |aggregate| {
            let member = Member {
                name: None,
                offset: 0,
                bits: None,
                ty: it,
            };
            aggregate.members = Some(vec![member.clone(), member]);
        });
        it
    };
    let (here, there) = (within(&all), within(&all));
    let (here, there) = (
        all.function(Id::VOID, &[here], true),
        all.function(Id::VOID, &[there], false),
    );
    assert!(compare(&here, &there, Caller::Kernel).is_err());
}

#[test]
fn structs_by_value() {
    let all = Arena::new();
    let u64 = all.int("u64", 8, false);
    let double = all.add("double", Some(8), Kind::Float);
    let number = all.aggregate("one", 8, &[("x", 0, u64)]);
    let float = all.aggregate("one", 8, &[("x", 0, double)]);
    assert_eq!(one(&all, number, number, false), Findings::default());
    assert_eq!(one(&all, float, number, false).differences.len(), 1);

    let pair = |align| {
        let pair = all.aggregate("pair", 16, &[("a", 0, u64), ("b", 8, u64)]);
        all.edit(pair, |aggregate| aggregate.align = align);
        pair
    };
    let (natural, eight, packed) = (pair(None), pair(Some(8)), pair(Some(1)));
    assert_eq!(one(&all, eight, natural, true), Findings::default());
    assert_eq!(
        one(&all, packed, natural, true).unknown,
        ["argument 1 is struct pair, which is passed by value, and one side does not tell its alignment"]
    );
    assert_eq!(
        one(&all, packed, eight, true).differences,
        ["argument 1 is struct pair, aligned to 1 here and to 8 in the kernel"]
    );
    // Behind a pointer, alignment is no part of a call.
    assert_eq!(behind(&all, packed, natural), Findings::default());

    let untold = all.aggregate("pair", 16, &[]);
    all.edit(untold, |aggregate| aggregate.members = None);
    assert_eq!(
        one(&all, untold, natural, true).unknown,
        [
            "argument 1 is struct pair, which is passed by value and has parts that cannot be compared",
            "the members of struct pair cannot be told here"
        ]
    );
}

#[test]
fn the_size_of_a_struct_counts() {
    let all = Arena::new();
    let file = |size| all.aggregate("file", size, &[]);
    let (none, small, large) = (file(0), file(8), file(16));
    assert_eq!(
        behind(&all, small, large).differences,
        ["what argument 1 points to is struct file of 8 bytes here and of 16 bytes in the kernel"]
    );
    // bindgen knows only that it exists.
    assert!(behind(&all, none, large).differences.is_empty());
}

#[test]
fn names_of_structs_may_be_written_as_rust_does() {
    let all = Arena::new();
    let pair = |h, t, rust| {
        let here = all.pointer(all.aggregate(h, 8, &[]));
        let there = all.pointer(all.aggregate(t, 8, &[]));
        one(&all, here, there, rust).differences.len()
    };
    assert_eq!(pair("KlpObject", "klp_object", true), 0);
    assert_eq!(pair("Dummy", "dummy", true), 0);
    assert_eq!(pair("Dummy", "dummy", false), 1);
    assert_eq!(pair("klpobject", "klp_object", true), 1);
    assert_eq!(pair("KlpObject", "klp_func", true), 1);
}

#[test]
fn a_void_pointer_is_a_note() {
    let all = Arena::new();
    let findings = behind(&all, Id::VOID, all.aggregate("file", 8, &[]));
    assert!(findings.differences.is_empty());
    assert_eq!(
        findings.notes,
        ["argument 1 is void * here and struct file * in the kernel: what it points to is not compared"]
    );
}

#[test]
fn char_has_no_sign_behind_a_pointer() {
    let all = Arena::new();
    let (u8, char) = (all.int("u8", 1, false), all.int("char", 1, true));
    assert!(behind(&all, u8, char).differences.is_empty());
    assert_eq!(differences(&all, u8, char).len(), 1);
    // Rust's `char` is not every number.
    let rust = all.add("char", Some(4), Kind::Char);
    let u32 = all.int("u32", 4, false);
    assert_eq!(differences(&all, rust, u32).len(), 1);
    let returns = |ty| all.function(ty, &[], true);
    assert!(replaces(&returns(rust), &returns(u32))
        .differences
        .is_empty());
}

#[test]
fn count_return_and_variable_arguments() {
    let all = Arena::new();
    let int = all.int("int", 4, true);
    let here = all.function(int, &[], true);
    let mut there = all.function(Id::VOID, &[int], false);
    there.proto.variadic = true;
    assert_eq!(
        replaces(&here, &there).differences,
        [
            "takes 0 arguments here and 1 in the kernel",
            "takes variable arguments in the kernel and not here",
            "returns int (4 bytes, signed) here and void in the kernel",
        ]
    );
}

#[test]
fn functions_behind_pointers() {
    let all = Arena::new();
    let f = |arg| {
        let kind = Kind::Function(proto(Id::VOID, &[arg], false));
        all.pointer(all.add("f", None, kind))
    };
    let (here, there) = (f(all.int("u32", 4, false)), f(all.int("long", 8, true)));
    assert_eq!(
        differences(&all, here, there),
        [
            "the function that argument 1 points to: argument 1 is u32 (4 bytes, unsigned) here \
          and long (8 bytes, signed) in the kernel"
        ]
    );
}

#[test]
fn arrays() {
    let all = Arena::new();
    let u32 = all.int("u32", 4, false);
    let array = |n: u64| {
        let kind = Kind::Array {
            of: u32,
            count: Some(n),
        };
        all.add("u32[]", Some(4 * n), kind)
    };
    let (three, four) = (array(3), array(4));
    assert_eq!(
        behind(&all, three, four).differences,
        ["what argument 1 points to has 3 elements here and 4 in the kernel"]
    );
    // A pointer to the first element.
    assert!(behind(&all, three, u32).differences.is_empty());
}

#[test]
fn what_cannot_be_read_is_told() {
    let all = Arena::new();
    let unknown = all.add("?", None, Kind::Unknown("no such form".into()));
    let int = all.int("int", 4, true);
    assert_eq!(
        one(&all, unknown, int, true).unknown,
        ["argument 1 here: no such form"]
    );
    let here = all.aggregate("foo", 8, &[("a", 0, unknown)]);
    let there = all.aggregate("foo", 8, &[("a", 0, int)]);
    assert_eq!(
        behind(&all, here, there).unknown,
        ["member a of struct foo here: no such form"]
    );
}

#[test]
fn the_abi_of_rust_is_not_that_of_c() {
    let all = Arena::new();
    let mut here = all.function(Id::VOID, &[], true);
    here.proto.abi = Some("Rust".into());
    let there = all.function(Id::VOID, &[], false);
    assert_eq!(
        replaces(&here, &there).differences,
        ["has the ABI \"Rust\" here and \"C\" in the kernel"]
    );
}
