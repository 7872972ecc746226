// SPDX-License-Identifier: GPL-2.0

//! Pairs of declarations, each with the verdict that is right.
//!
//! The kernel's side is compiled by clang and by GCC, and read as DWARF, as BTF by pahole, and as
//! BTF by GCC. A patch in C is compiled by both, too.

mod common;

use common::*;
use std::{process::Command, thread};

/// What has to be said; of a text, a part is enough.
#[derive(Clone, Copy)]
enum Verdict {
    /// Nothing but "ok".
    Ok,
    /// "ok", and a note.
    Note(&'static str),
    Differs(&'static str),
    Unchecked(&'static str),
}
use Verdict::*;

/// A pair. Its verdict is the same by DWARF and by BTF, except where one of them records less.
struct Pair {
    name: &'static str,
    /// What comes before the function, and the function without its body.
    kernel: (&'static str, &'static str),
    /// In C the function without its body; in Rust the arguments and what is returned.
    patch: (&'static str, &'static str),
    dwarf: Verdict,
    btf: Verdict,
}

const fn pair(
    name: &'static str,
    kernel: (&'static str, &'static str),
    patch: (&'static str, &'static str),
    verdict: Verdict,
) -> Pair {
    Pair {
        name,
        kernel,
        patch,
        dwarf: verdict,
        btf: verdict,
    }
}

impl Pair {
    /// What BTF is too short for.
    const fn by_btf(mut self, verdict: Verdict) -> Self {
        self.btf = verdict;
        self
    }
}

const INTS: &str = "typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long u64; typedef long s64; typedef unsigned long size_t;";
const FOO: &str = "struct foo { unsigned long a; unsigned int b, c; };";

/// Kernel in C, patch in C.
const C: &[Pair] = &[
    pair("same", (FOO, "int F(struct foo *f, unsigned n)"), (FOO, "int F(struct foo *f, unsigned n)"), Ok),
    pair("typedefs", ("typedef unsigned int __u32; typedef __u32 u32; typedef u32 id_t;", "id_t F(id_t a)"), ("", "unsigned F(unsigned a)"), Ok),
    pair("u64-s64", (INTS, "int F(u64 a)"), (INTS, "int F(s64 a)"), Differs("argument 1 is s64 (8 bytes, signed) here and u64 (8 bytes, unsigned) in the kernel")),
    pair("long-long", ("", "long F(long a, unsigned long b)"), ("", "long long F(long long a, unsigned long long b)"), Ok),
    pair("size_t-long", (INTS, "size_t F(size_t a)"), ("", "unsigned long F(unsigned long a)"), Ok),
    pair("size_t-int", (INTS, "int F(size_t a)"), ("", "int F(unsigned a)"), Differs("argument 1 is unsigned int (4 bytes, unsigned) here and size_t (8 bytes, unsigned)")),
    pair("short-int", ("", "int F(short a)"), ("", "int F(int a)"), Differs("argument 1 is int (4 bytes, signed) here and ")),
    pair("bool-u8", (INTS, "int F(bool a)"), (INTS, "int F(u8 a)"), Differs("argument 1 is u8 (1 byte, unsigned) here and bool (1 byte)")),
    pair("int128", ("", "int F(__int128 a)"), ("struct foo { long a, b; };", "int F(struct foo a)"), Differs("argument 1 is struct foo (16 bytes) here and __int128")),
    pair("enum", ("enum mode { A, B };", "int F(enum mode m)"), ("enum mode { A, B };", "int F(enum mode m)"), Ok),
    pair("enum-int", ("enum mode { A, B };", "int F(enum mode m)"), ("", "int F(int m)"), Differs("argument 1 is int (4 bytes, signed) here and enum mode")),
    pair("int-enum", ("", "int F(int m)"), ("enum mode { A, B };", "int F(enum mode m)"), Differs("argument 1 is enum mode (4 bytes) here and int")),
    pair("enum-grown", ("enum mode { A, B, N = 7 };", "int F(enum mode m)"), ("enum mode { A, B };", "int F(enum mode m)"), Note("enum mode does not have the value 7 here")),
    pair("enum-64", ("enum mode { A, B = 1l << 40 };", "int F(enum mode m)"), ("enum mode { A, B };", "int F(enum mode m)"), Differs("argument 1 is enum mode (4 bytes) here and enum mode (8 bytes)")),
    pair("members-swapped", (FOO, "int F(struct foo *f)"), ("struct foo { unsigned long a; unsigned int c, b; };", "int F(struct foo *f)"), Differs("member c of struct foo is at byte 8 here and at byte 12 in the kernel")),
    pair("member-renamed", (FOO, "int F(struct foo *f)"), ("struct foo { unsigned long a; unsigned int b, d; };", "int F(struct foo *f)"), Differs("member d of struct foo is not in the kernel; member c of struct foo is in the kernel only")),
    pair("member-of-another-type", (FOO, "int F(struct foo *f)"), ("struct foo { void *a; unsigned int b, c; };", "int F(struct foo *f)"), Differs("member a of struct foo is void * here and ")),
    pair("declared-only", (FOO, "int F(struct foo *f)"), ("struct foo;", "int F(struct foo *f)"), Ok),
    pair("struct-name", (FOO, "int F(struct foo *f)"), ("struct bar { unsigned long a; unsigned int b, c; };", "int F(struct bar *f)"), Differs("argument 1 is struct bar * here and struct foo * in the kernel")),
    pair("union-struct", ("union foo { int a; int b; };", "int F(union foo *f)"), ("struct foo { short a, b; };", "int F(struct foo *f)"), Differs("member a of union foo has 2 bytes here and 4 in the kernel")),
    pair("value", (FOO, "int F(struct foo f)"), (FOO, "int F(struct foo f)"), Ok).by_btf(Note("BTF does not tell its alignment")),
    pair("value-double", ("struct foo { unsigned long x; };", "int F(struct foo f)"), ("struct foo { double x; };", "int F(struct foo f)"), Differs("member x of struct foo is double (8 bytes) here and ")),
    pair("value-not-double", ("struct foo { double x; };", "int F(struct foo f)"), ("struct foo { unsigned long x; };", "int F(struct foo f)"), Differs("here and double (8 bytes) in the kernel")),
    pair("value-packed", ("struct foo { char a; long b; };", "int F(struct foo f)"), ("struct foo { char a; long b; char pad[7]; } __attribute__((packed));", "int F(struct foo f)"), Differs("member b of struct foo is at byte 1 here and at byte 8 in the kernel")),
    pair("value-aligned", ("struct foo { long a, b; } __attribute__((aligned(16)));", "int F(struct foo f)"), ("struct foo { long a, b; };", "int F(struct foo f)"), Unchecked("one side does not tell its alignment")).by_btf(Note("BTF does not tell its alignment")),
    pair("value-aligned-twice", ("struct foo { long a, b; } __attribute__((aligned(16)));", "int F(struct foo f)"), ("struct foo { _Alignas(16) long a; long b; };", "int F(struct foo f)"), Ok).by_btf(Unchecked("one side does not tell its alignment")),
    pair("value-bits", ("struct foo { unsigned a : 4, b : 28; };", "int F(struct foo f)"), ("struct foo { unsigned a : 4, b : 28; };", "int F(struct foo f)"), Ok).by_btf(Note("BTF does not tell its alignment")),
    pair("value-large", ("struct foo { long a[70]; };", "int F(struct foo f)"), ("struct foo { long a[70]; };", "int F(struct foo f)"), Unchecked("is passed by value and has parts that cannot be compared")),
    pair("va_list", ("", "int F(const char *f, __builtin_va_list a)"), ("", "int F(const char *f, __builtin_va_list a)"), Ok),
    pair("va_list-void", ("", "int F(__builtin_va_list a)"), ("", "int F(void *a)"), Note("what it points to is not compared")),
    pair("variadic", ("", "int F(const char *f, ...)"), ("", "int F(const char *f)"), Differs("takes variable arguments in the kernel and not here")),
    pair("variadic-both", ("", "int F(const char *f, ...)"), ("", "int F(const char *f, ...)"), Note("takes variable arguments, which cannot be compared")),
    pair("argument-missing", ("", "int F(int a, int b)"), ("", "int F(int a)"), Differs("takes 1 argument here and 2 in the kernel")),
    pair("return-int-void", ("", "void F(void)"), ("", "int F(void)"), Differs("returns int (4 bytes, signed) here and void in the kernel")),
    pair("return-int-long", ("", "long F(void)"), ("", "int F(void)"), Differs("returns int (4 bytes, signed) here and ")),
    pair("const", ("", "int F(const char *s)"), ("", "int F(char *s)"), Note("what argument 1 points to is const in the kernel only")),
    pair("qualifiers", ("", "int F(volatile int *restrict a, int *const b)"), ("", "int F(int *a, int *b)"), Ok),
    pair("void-pointer", (FOO, "int F(struct foo *f)"), ("", "int F(void *f)"), Note("argument 1 is void * here and struct foo * in the kernel: what it points to is not compared")),
    pair("pointer-long", ("", "int F(unsigned long a)"), ("", "int F(void *a)"), Differs("argument 1 is void * here and ")),
    pair("pointers", ("", "int F(int **a)"), ("", "int F(int *a)"), Differs("argument 1 is int * here and int ** in the kernel")),
    pair("array-pointer", ("", "int F(int a[4])"), ("", "int F(int *a)"), Ok),
    pair("array-length", ("struct foo { int a[4]; };", "int F(struct foo *f)"), ("struct foo { int a[3]; int b; };", "int F(struct foo *f)"), Differs("member a of struct foo has 12 bytes here and 16 in the kernel")),
    pair("array-of-arrays", ("struct foo { short a[2][6]; };", "int F(struct foo *f)"), ("struct foo { short a[3][4]; };", "int F(struct foo *f)"), Ok),
    pair("array-element", ("struct foo { short a[4]; };", "int F(struct foo *f)"), ("struct foo { int a[2]; };", "int F(struct foo *f)"), Differs("member a of struct foo has 2 elements here and 4 in the kernel")),
    pair("flexible", ("struct foo { int n; long a[]; };", "int F(struct foo *f)"), ("struct foo { int n; long a[0]; };", "int F(struct foo *f)"), Ok),
    pair("callback", ("", "int F(int (*f)(void *, long))"), ("", "int F(int (*f)(void *, long))"), Ok),
    pair("callback-argument", ("", "int F(int (*f)(long))"), ("", "int F(int (*f)(int))"), Differs("the function that argument 1 points to: argument 1 is int (4 bytes, signed) here and ")),
    pair("callback-return", ("", "int F(int (*f)(long))"), ("", "int F(void (*f)(long))"), Differs("the function that argument 1 points to: return value is void here and int")),
    pair("operations", ("struct ops { int (*get)(long); };", "int F(struct ops *o)"), ("struct ops { int (*get)(int); };", "int F(struct ops *o)"), Differs("the function that member get of struct ops points to: argument 1 is int")),
    pair("anonymous", ("struct foo { int t; union { long l; struct { int x, y; }; }; };", "int F(struct foo *f)"), ("struct foo { int t; union { struct { int x, y; }; long l; }; };", "int F(struct foo *f)"), Ok),
    pair("anonymous-swapped", ("struct foo { int t; union { long l; struct { int x, y; }; }; };", "int F(struct foo *f)"), ("struct foo { int t; union { long l; struct { int y, x; }; }; };", "int F(struct foo *f)"), Differs("member y of struct foo is at byte 8 here and at byte 12 in the kernel")),
    pair("bits", ("struct foo { unsigned a : 3, b : 5; u_t c; };", "int F(struct foo *f)"), ("struct foo { unsigned a : 3, b : 5; u_t c; };", "int F(struct foo *f)"), Ok),
    pair("bits-wider", ("struct foo { unsigned a : 3, b : 5; };", "int F(struct foo *f)"), ("struct foo { unsigned a : 3, b : 6; };", "int F(struct foo *f)"), Differs("member b of struct foo has 6 bits here and 5 in the kernel")),
    pair("bits-moved", ("struct foo { unsigned a : 3, b : 3; };", "int F(struct foo *f)"), ("struct foo { unsigned b : 3, a : 3; };", "int F(struct foo *f)"), Differs("member b of struct foo is at byte 0 here and at byte 0, bit 3 in the kernel")),
    pair("list", ("struct node { struct node *next, **prev; int v; };", "int F(struct node *n)"), ("struct node { struct node *next, **prev; int v; };", "int F(struct node *n)"), Ok),
    pair("list-differs", ("struct node { struct node *next; int v, w; };", "int F(struct node *n)"), ("struct node { struct node *next; int w, v; };", "int F(struct node *n)"), Differs("member w of struct node is at byte 8 here and at byte 12 in the kernel")),
    pair("two-structs", ("struct a { struct b *b; }; struct b { struct a *a; int v; };", "int F(struct a *a)"), ("struct a { struct b *b; }; struct b { struct a *a; unsigned v; };", "int F(struct a *a)"), Differs("member v of struct b is unsigned int (4 bytes, unsigned) here and int")),
    pair("char", ("", "int F(char *s, const unsigned char *t)"), ("", "int F(unsigned char *s, const char *t)"), Ok),
    pair("char-value", ("", "int F(unsigned char s)"), ("", "int F(signed char s)"), Differs("argument 1 is signed char (1 byte, signed) here and unsigned char")),
];

/// Kernel in C, patch in Rust.
const RUST_PAIRS: &[Pair] = &[
    pair("same", ("", "int F(unsigned a, long b, unsigned long c, unsigned char d, short e)"), ("", "(a: u32, b: isize, c: usize, d: u8, e: i16) -> i32"), Ok),
    pair("no-repr", ("struct foo { int a, b; long c; };", "int F(struct foo *f)"), ("pub struct foo { a: i32, b: i32, c: i64 }", "(f: *mut foo) -> i32"), Differs("of struct foo is at byte")),
    pair("repr", ("struct foo { int a, b; long c; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { a: i32, b: i32, c: i64 }", "(f: *mut foo) -> i32"), Ok),
    pair("name-of-rust", ("struct a_foo { int a, b; };", "int F(struct a_foo *f)"), ("#[repr(C)] pub struct AFoo { a: i32, b: i32 }", "(f: *mut AFoo) -> i32"), Ok),
    pair("members-swapped", ("struct foo { int a, b; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { b: i32, a: i32 }", "(f: *mut foo) -> i32"), Differs("member b of struct foo is at byte 0 here and at byte 4 in the kernel")),
    pair("value", ("struct foo { long a, b; };", "struct foo F(struct foo f)"), ("#[repr(C)] pub struct foo { a: i64, b: i64 }", "(f: foo) -> foo"), Ok).by_btf(Note("BTF does not tell its alignment")),
    pair("value-double", ("struct foo { unsigned long x; };", "int F(struct foo f)"), ("#[repr(C)] pub struct foo { x: f64 }", "(f: foo) -> i32"), Differs("member x of struct foo is f64 (8 bytes) here and ")),
    pair("value-float-unnamed", ("struct foo { unsigned long x; };", "int F(struct foo f)"), ("#[repr(C)] pub struct foo { _x: f64 }", "(f: foo) -> i32"), Differs("is passed in another way here")),
    pair("value-packed", ("struct foo { unsigned long a, b; };", "int F(struct foo f)"), ("#[repr(C, packed)] pub struct foo { a: u64, b: u64 }", "(f: foo) -> i32"), Unchecked("one side does not tell its alignment")),
    pair("value-aligned", ("struct foo { unsigned long a, b; } __attribute__((aligned(16)));", "int F(struct foo f)"), ("#[repr(C, align(16))] pub struct foo { a: u64, b: u64 }", "(f: foo) -> i32"), Ok).by_btf(Unchecked("one side does not tell its alignment")),
    pair("bool", ("", "_Bool F(_Bool a)"), ("", "(a: bool) -> bool"), Ok),
    pair("bool-u8", ("", "int F(unsigned char a)"), ("", "(a: bool) -> i32"), Differs("argument 1 is bool (1 byte) here and unsigned char")),
    pair("u8-bool", ("", "int F(_Bool a)"), ("", "(a: u8) -> i32"), Differs("argument 1 is u8 (1 byte, unsigned) here and _Bool")),
    pair("enum", ("enum mode { A, B = 5 };", "int F(enum mode m)"), ("#[repr(u32)] pub enum Mode { A, B = 5 }", "(m: Mode) -> i32"), Note("Rust takes for granted here that argument 1 is never a value that Mode does not name")),
    pair("enum-less", ("enum mode { A, B = 5, C };", "int F(enum mode m)"), ("#[repr(u32)] pub enum Mode { A, B = 5 }", "(m: Mode) -> i32"), Differs("argument 1 is Mode here, an enum of Rust that does not have the value 6 of enum mode")),
    pair("enum-negative", ("enum mode { A = -1, B };", "int F(enum mode m)"), ("#[repr(i32)] pub enum Mode { A = -1, B }", "(m: Mode) -> i32"), Note("never a value that Mode does not name")),
    pair("enum-int", ("", "int F(int m)"), ("#[repr(i32)] pub enum Mode { A, B }", "(m: Mode) -> i32"), Differs("argument 1 is Mode (4 bytes) here and int")),
    pair("enum-returned", ("enum mode { A, B };", "enum mode F(void)"), ("#[repr(u32)] pub enum Mode { A }", "() -> Mode"), Ok),
    pair("enum-bindgen", ("enum mode { A, B };", "enum mode F(enum mode m)"), ("", "(m: bindings::mode) -> bindings::mode"), Ok),
    pair("enum-size", ("enum mode { A, B };", "int F(enum mode m)"), ("", "(m: u64) -> i32"), Differs("argument 1 is u64 (8 bytes, unsigned) here and enum mode (4 bytes)")),
    pair("enum-with-data", ("struct foo { unsigned long a, b; };", "int F(struct foo *f)"), ("pub enum foo { A(u64), B }", "(f: *mut foo) -> i32"), Unchecked("the members of struct foo cannot be told here")),
    pair("char", ("", "int F(unsigned a)"), ("", "(a: char) -> i32"), Differs("argument 1 is char (4 bytes) here and unsigned int")),
    pair("char-returned", ("", "unsigned F(void)"), ("", "() -> char"), Ok),
    pair("non-zero", ("", "int F(unsigned a)"), ("use core::num::NonZeroU32;", "(a: NonZeroU32) -> i32"), Note("argument 1 is never 0")),
    pair("non-zero-option", ("", "int F(unsigned a)"), ("use core::num::NonZeroU32;", "(a: Option<NonZeroU32>) -> i32"), Ok),
    pair("non-zero-size", ("", "int F(unsigned long a)"), ("use core::num::NonZeroU32;", "(a: NonZeroU32) -> i32"), Differs("argument 1 is NonZero<u32> (4 bytes) here and ")),
    pair("reference", ("", "int F(unsigned *a)"), ("", "(a: &u32) -> i32"), Note("argument 1 is never null")),
    pair("reference-option", ("", "int F(unsigned *a)"), ("", "(a: Option<&mut u32>) -> i32"), Ok),
    pair("non-null", ("", "int F(unsigned *a)"), ("", "(a: NonNull<u32>) -> i32"), Note("argument 1 is never null")),
    pair("non-null-option", ("", "int F(unsigned *a)"), ("", "(a: Option<NonNull<u32>>) -> i32"), Ok),
    pair("slice", ("", "int F(unsigned char *a)"), ("", "(a: &[u8]) -> i32"), Differs("argument 1 is &[u8] (16 bytes) here and unsigned char *")),
    pair("mut-const", ("", "int F(const unsigned *a)"), ("", "(a: *mut u32) -> i32"), Note("what argument 1 points to is const in the kernel only")),
    pair("const-const", ("", "int F(const unsigned *a)"), ("", "(a: *const u32) -> i32"), Ok),
    pair("c_void", ("", "void *F(void *a)"), ("", "(a: *mut c_void) -> *mut c_void"), Ok),
    pair("c_void-struct", (FOO, "int F(struct foo *a)"), ("", "(a: *mut c_void) -> i32"), Note("argument 1 is *mut c_void here and struct foo * in the kernel: what it points to is not compared")),
    pair("pointer-usize", ("", "int F(void *a)"), ("", "(a: usize) -> i32"), Differs("argument 1 is usize (8 bytes, unsigned) here and void *")),
    pair("callback", ("", "int F(int (*f)(long))"), ("", "(f: Option<unsafe extern \"C\" fn(i64) -> i32>) -> i32"), Ok),
    pair("callback-null", ("", "int F(int (*f)(long))"), ("", "(f: unsafe extern \"C\" fn(i64) -> i32) -> i32"), Note("argument 1 is never null")),
    pair("callback-abi", ("", "int F(int (*f)(long))"), ("", "(f: Option<fn(i64) -> i32>) -> i32"), Differs("the function that argument 1 points to has the ABI \"Rust\" here and \"C\" in the kernel")),
    pair("callback-argument", ("", "int F(int (*f)(long))"), ("", "(f: Option<unsafe extern \"C\" fn(i32) -> i32>) -> i32"), Differs("the function that argument 1 points to: argument 1 is i32")),
    pair("array", ("struct foo { unsigned a[2][3]; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { a: [[u32; 3]; 2] }", "(f: *mut foo) -> i32"), Ok),
    pair("array-length", ("struct foo { unsigned a[4]; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { a: [u32; 3], b: u32 }", "(f: *mut foo) -> i32"), Differs("member a of struct foo has 12 bytes here and 16 in the kernel")),
    pair("flexible", ("struct foo { int n; long a[]; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { n: i32, a: [i64; 0] }", "(f: *mut foo) -> i32"), Ok),
    pair("anonymous", ("struct foo { int t; union { long l; int i; }; };", "int F(struct foo *f)"), ("#[repr(C)] pub union U { l: i64, i: i32 } #[repr(C)] pub struct foo { t: i32, u: U }", "(f: *mut foo) -> i32"), Ok),
    pair("anonymous-wrapped", ("struct foo { int t; union { struct { int i, j; }; int l; }; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct V { i: i32, j: i32 } #[repr(C)] pub union U { v: core::mem::ManuallyDrop<V> } #[repr(C)] pub struct foo { t: i32, u: U }", "(f: *mut foo) -> i32"), Ok),
    pair("anonymous-swapped", ("struct foo { int t; union { struct { int i, j; }; int l; }; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct V { j: i32, i: i32 } #[repr(C)] pub union U { v: core::mem::ManuallyDrop<V> } #[repr(C)] pub struct foo { t: i32, u: U }", "(f: *mut foo) -> i32"), Differs("member j of an anonymous struct is at byte 0 here and at byte 4")),
    pair("anonymous-bindgen", ("struct foo { int t; union { long l; struct { int i, j; }; }; };", "int F(struct foo *f)"), (
        "mod bindings { pub use super::all::*; #[repr(C)] pub struct foo { t: i32, pub __bindgen_anon_1: U } #[repr(C)] pub union U { l: i64, pub __bindgen_anon_1: core::mem::ManuallyDrop<V> } #[repr(C)] pub struct V { pub i: i32, pub j: i32 } }",
        "(f: *mut bindings::foo) -> i32",
    ), Ok),
    pair("bits-bindgen", ("struct foo { unsigned a : 3, b : 5; long c; };", "int F(struct foo *f)"), (
        "mod bindings { pub use super::all::*; #[repr(C)] pub struct foo { _bitfield_align_1: [u8; 0], _bitfield_1: [u8; 1], __bindgen_padding_0: [u8; 7], c: i64 } }",
        "(f: *mut bindings::foo) -> i32",
    ), Ok),
    pair("bits-bindgen-value", ("struct foo { unsigned a : 3, b : 5; };", "int F(struct foo f)"), (
        "mod bindings { pub use super::all::*; #[repr(C)] pub struct foo { _bitfield_align_1: [u8; 0], _bitfield_1: [u8; 1], __bindgen_padding_0: [u8; 3] } }",
        "(f: bindings::foo) -> i32",
    ), Unchecked("is passed by value and has bit-fields, which bindgen does not tell")),
    pair("list", ("struct node { struct node *next; int v; };", "int F(struct node *n)"), ("#[repr(C)] pub struct node { next: *mut node, v: i32 }", "(n: *mut node) -> i32"), Ok),
    pair("list-differs", ("struct node { struct node *next; int v; };", "int F(struct node *n)"), ("#[repr(C)] pub struct node { next: *mut node, v: u32 }", "(n: *mut node) -> i32"), Differs("member v of struct node is u32 (4 bytes, unsigned) here and int")),
    pair("member-bool", ("struct foo { unsigned char a; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { a: bool }", "(f: *mut foo) -> i32"), Differs("member a of struct foo is bool (1 byte) here and unsigned char")),
    pair("member-atomic", ("typedef struct { int counter; } atomic_t; struct foo { atomic_t a; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { a: i32 }", "(f: *mut foo) -> i32"), Ok),
    pair("member-bytes", ("struct lock { int a, b; }; struct foo { struct lock l; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { l: [u8; 8] }", "(f: *mut foo) -> i32"), Note("member l of struct foo is only bytes here")),
    pair("member-keyword", ("struct foo { int type, match; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { r#type: i32, match_: i32 }", "(f: *mut foo) -> i32"), Ok),
    pair("prefix", ("struct foo { int a, b; long c; };", "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { a: i32, _rest: [u8; 12] }", "(f: *mut foo) -> i32"), Ok),
    pair("opaque", (FOO, "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { _none: [u8; 0] }", "(f: *mut foo) -> i32"), Ok),
    pair("opaque-bytes", (FOO, "int F(struct foo *f)"), ("#[repr(C)] pub struct foo { _all: [u64; 2] }", "(f: *mut foo) -> i32"), Note("the members of struct foo are not compared, as they have no names here")),
    pair("transparent", ("", "int F(unsigned a)"), ("#[repr(transparent)] pub struct Id(u32);", "(a: Id) -> i32"), Ok),
    pair("va_list", ("", "int F(__builtin_va_list a)"), ("", "(a: *mut c_void) -> i32"), Note("what it points to is not compared")),
    pair("variadic", ("", "int F(const char *f, ...)"), ("", "(f: *const u8) -> i32"), Differs("takes variable arguments in the kernel and not here")),
    pair("argument-missing", ("", "int F(int a, int b)"), ("", "(a: i32) -> i32"), Differs("takes 1 argument here and 2 in the kernel")),
    pair("return-void", ("", "void F(void)"), ("", "() -> i32"), Differs("returns i32 (4 bytes, signed) here and void in the kernel")),
    pair("return-nothing", ("", "int F(void)"), ("", "()"), Differs("returns void here and int")),
    pair("long-long", ("", "long long F(unsigned long long a)"), ("", "(a: usize) -> isize"), Ok),
    pair("u64-i64", ("", "int F(unsigned long a)"), ("", "(a: i64) -> i32"), Differs("argument 1 is i64 (8 bytes, signed) here and ")),
];

impl Verdict {
    /// Whether the tool has said that, and nothing else.
    fn is(&self, status: i32, said: &[String]) -> bool {
        let first = said.first().map_or("", String::as_str);
        let (wanted, begin, part) = match self {
            Ok => (0, "ok vmlinux:F", ""),
            Note(part) => (0, "ok vmlinux:F", *part),
            Differs(part) => (1, "differs vmlinux:F: ", *part),
            Unchecked(part) => (2, "not checked vmlinux:F: ", *part),
        };
        let notes: Vec<_> = said
            .iter()
            .filter(|line| line.starts_with("note "))
            .collect();
        let told = match self {
            Ok => notes.is_empty(),
            Note(_) => notes.iter().any(|line| line.contains(part)),
            Differs(_) | Unchecked(_) => first.contains(part),
        };
        status == wanted && first.starts_with(begin) && told
    }
}

/// The kernel's side in all forms: a file, and whether it is BTF.
fn kernels(case: &Case, text: &str) -> Vec<(String, bool)> {
    case.c("clang", text, &["-g"]);
    let gcc = |to: &str, flags: &[&str]| {
        let args = [
            &[
                "-O2",
                "-ffreestanding",
                "-fno-pic",
                "-w",
                "-c",
                "clang.c",
                "-o",
                to,
            ],
            flags,
        ];
        run("gcc", &args.concat(), &case.dir);
    };
    gcc("gcc.o", &["-g"]);
    gcc("gcc-dwarf4.o", &["-gdwarf-4"]);
    gcc("gcc-btf.o", &["-gbtf"]);
    for (object, btf) in [("clang.o", "clang.btf"), ("gcc.o", "gcc.btf")] {
        let encode = format!("--btf_encode_detached={btf}");
        run("pahole", &[&encode, object], &case.dir);
    }
    [
        ("clang.o", false),
        ("gcc.o", false),
        ("gcc-dwarf4.o", false),
        ("gcc-btf.o", true),
        ("clang.btf", true),
        ("gcc.btf", true),
    ]
    .map(|(file, btf)| (file.to_string(), btf))
    .to_vec()
}

/// Runs the tool on all pairs of files; returns what is wrong.
fn verdicts(pair: &Pair, case: &Case, patches: &[&str]) -> Vec<String> {
    let kernel = format!(
        "typedef unsigned u_t; typedef _Bool bool; {} {} {{ for (;;); }}",
        pair.kernel.0, pair.kernel.1
    );
    let mut wrong = Vec::new();
    for (file, btf) in kernels(case, &kernel) {
        for patch in patches {
            let (status, said) = case.check(&[patch, &file]);
            let wanted = if btf { pair.btf } else { pair.dwarf };
            if !wanted.is(status, &said) {
                wrong.push(format!(
                    "{} ({patch}, {file}): {status} {said:#?}",
                    pair.name
                ));
            }
        }
    }
    wrong
}

/// Runs the cases in a few threads; all that is wrong is shown at once.
fn all_of(pairs: &'static [Pair], one: fn(&Pair) -> Vec<String>) {
    let wrong: Vec<String> = thread::scope(|scope| {
        let half = pairs.len().div_ceil(2);
        let threads: Vec<_> = pairs
            .chunks(half)
            .map(|some| scope.spawn(move || some.iter().flat_map(one).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn c() {
    assert!(C.len() + RUST_PAIRS.len() >= 40);
    all_of(C, |pair| {
        let case = Case::new(&format!("corpus-c-{}", pair.name), TARGETS[0]);
        let text = format!(
            "{KLP} typedef unsigned u_t; {} static {} {{ for (;;); }} {}",
            pair.patch.0,
            pair.patch.1.replace("F(", "new_func("),
            declare("F", "new_func", 0)
        );
        case.c("patch", &text, &["-g"]);
        let args = [
            "-O2",
            "-ffreestanding",
            "-w",
            "-g",
            "-c",
            "patch.c",
            "-o",
            "patch-gcc.o",
        ];
        run("gcc", &args, &case.dir);
        verdicts(pair, &case, &["patch.o", "patch-gcc.o"])
    });
}

#[test]
fn rust() {
    all_of(RUST_PAIRS, |pair| {
        let case = Case::new(&format!("corpus-rust-{}", pair.name), TARGETS[0]);
        let (types, signature) = pair.patch;
        // A case may have bindings of its own.
        let mut prelude = RUST.replace("c\"target_func\"", "c\"F\"");
        if types.contains("mod bindings") {
            prelude = prelude.replace("mod bindings {", "mod all {");
            prelude = prelude.replace("bindings::klp_", "all::bindings_raw::klp_");
            prelude = prelude.replace("bindings::list_head", "all::bindings_raw::list_head");
            prelude = prelude.replace("mod bindings_raw", "pub mod bindings_raw");
        }
        case.rust_all(&format!(
            "{prelude} {types}
             unsafe extern \"C\" fn replacement{signature} {{ loop {{}} }}
             #[used] #[export_name = \".klp.type.func.vmlinux.F,0\"]
             static TYPE: unsafe extern \"C\" fn{signature} = replacement;"
        ));
        verdicts(pair, &case, &["patch.o"])
    });
}

/// The compilers are what they are taken for.
#[test]
fn both_compilers_are_there() {
    for (name, is) in [(tool("clang"), "clang"), ("gcc".into(), "gcc")] {
        let output = Command::new(&name).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(text.contains(is), "{name}: {text}");
    }
}
