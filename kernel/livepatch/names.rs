// SPDX-License-Identifier: GPL-2.0

//! Names of symbols and sections, and when two of them mean the same function.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

use crate::sort::sort_by_key;

/// How much of an object's name a livepatch symbol or section can hold.
///
/// `MODULE_NAME_LEN` is at least this and one on all architectures.
pub(crate) const OBJECT_NAME_MAX: usize = 55;

/// How much of a symbol's name a livepatch symbol can hold: `KSYM_NAME_LEN` without the nul.
pub(crate) const SYMBOL_NAME_MAX: usize = 511;

const SYMBOL_PREFIX: &[u8] = b".klp.sym.";
const SECTION_PREFIX: &[u8] = b".klp.rela.";

/// What the name of a livepatch symbol, `.klp.sym.OBJECT.SYMBOL,SYMPOS`, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KlpSymbol<'a> {
    /// `vmlinux` or a module.
    pub(crate) object: &'a [u8],
    /// The name in the object's symbol table.
    pub(crate) symbol: &'a [u8],
    /// Which of the symbols of that name, from 1, or 0 if there is just one.
    pub(crate) sympos: usize,
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Parses the name of a livepatch symbol.
///
/// As the C core does with `sscanf()`, what follows the number is ignored.
pub(crate) fn parse_symbol(name: &[u8]) -> Option<KlpSymbol<'_>> {
    let (object, rest) = split_at_byte(name.strip_prefix(SYMBOL_PREFIX)?, b'.')?;
    let (symbol, number) = split_at_byte(rest, b',')?;
    if object.is_empty()
        || object.len() > OBJECT_NAME_MAX
        || symbol.is_empty()
        || symbol.len() > SYMBOL_NAME_MAX
    {
        return None;
    }

    let digits = number.iter().take_while(|b| b.is_ascii_digit());
    let mut sympos = None;
    for digit in digits {
        sympos = Some(
            sympos
                .unwrap_or(0usize)
                .checked_mul(10)?
                .checked_add(usize::from(digit - b'0'))?,
        );
    }
    Some(KlpSymbol {
        object,
        symbol,
        sympos: sympos?,
    })
}

/// Returns the object that a relocation section, `.klp.rela.OBJECT.SECTION`, is for.
pub(crate) fn parse_section(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(SECTION_PREFIX)?;
    let end = rest
        .iter()
        .position(|&b| b == b'.')
        .unwrap_or(rest.len())
        .min(OBJECT_NAME_MAX);
    rest.get(..end).filter(|object| !object.is_empty())
}

/// Returns whether two positions among symbols of one name are the same.
///
/// 0 says that the name is unique, so that it is the first.
pub(crate) fn same_sympos(a: usize, b: usize) -> bool {
    a.max(1) == b.max(1)
}

/// How a search for a symbol went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// At this address.
    At(usize),
    /// There is no symbol of the name.
    Nowhere,
    /// There are several, and the position was not given.
    Ambiguous,
    /// There are fewer than the position asks for.
    TooFew,
}

/// Counts matches until it is clear how the search ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    sympos: usize,
    count: usize,
    addr: usize,
}

impl Search {
    /// Begins a search for symbol number `sympos` of a name, or for the only one.
    pub(crate) fn new(sympos: usize) -> Self {
        Self {
            sympos,
            count: 0,
            addr: 0,
        }
    }

    /// Takes note of the next match, and returns whether no further one matters.
    pub(crate) fn add(&mut self, addr: usize) -> bool {
        if self.is_done() {
            return true;
        }
        self.addr = addr;
        self.count += 1;
        self.is_done()
    }

    fn is_done(&self) -> bool {
        if self.sympos == 0 {
            self.count > 1
        } else {
            self.count == self.sympos
        }
    }

    /// The result, once all matches were added or [`Self::add`] returned true.
    pub(crate) fn result(&self) -> Found {
        if self.addr == 0 {
            Found::Nowhere
        } else if self.sympos == 0 && self.count > 1 {
            Found::Ambiguous
        } else if self.sympos > 0 && self.count != self.sympos {
            Found::TooFew
        } else {
            Found::At(self.addr)
        }
    }
}

/// A name that is searched for among the symbols of a module, together with others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    hash: u64,
    name: &'a [u8],
    order: usize,
    search: Search,
}

impl<'a> Wanted<'a> {
    /// Begins a search as [`Search::new`] does. `order` is for the caller, to know it again.
    pub(crate) fn new(order: usize, name: &'a [u8], sympos: usize) -> Self {
        Self {
            hash: hash(name),
            name,
            order,
            search: Search::new(sympos),
        }
    }

    /// What the caller has given to [`Self::new`].
    pub(crate) fn order(&self) -> usize {
        self.order
    }

    /// The result, once all symbols were noted.
    pub(crate) fn result(&self) -> Found {
        self.search.result()
    }
}

/// A hash of a name (FNV-1a).
pub(crate) fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Sorts the names for [`note`].
pub(crate) fn sort(wanted: &mut [Wanted<'_>]) {
    sort_by_key(wanted, |one| one.hash);
}

/// Takes note of a symbol. `wanted` must have gone through [`sort`].
pub(crate) fn note(wanted: &mut [Wanted<'_>], name: &[u8], addr: usize) {
    let hash = hash(name);
    let first = wanted.partition_point(|one| one.hash < hash);
    for one in wanted.iter_mut().skip(first) {
        if one.hash != hash {
            break;
        }
        // One name may be wanted at several positions.
        if one.name == name {
            one.search.add(addr);
        }
    }
}

/// Whether kallsyms counts a symbol of this name when it searches for one by its address: it has a
/// name, and is not one of those by which assemblers mark code and data.
pub(crate) fn is_named(name: &[u8]) -> bool {
    !matches!(name, [] | [b'.', b'L', ..] | [b'L', b'0', ..] | [b'$', ..])
}

/// The end of the names of those parts of functions that the compiler expects not to be run, and
/// puts elsewhere.
pub(crate) const COLD: &[u8] = b".cold";

/// Returns the function that a symbol of this name is a part of: `f` for `f.cold`, and for
/// `f.cold.7`, as older compilers call it.
///
/// A task gets there and back by jumps, so that it may be in the function without having an address
/// in the function itself.
pub(crate) fn whole_of(name: &[u8]) -> Option<&[u8]> {
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let name = match name.split_at_checked(name.len() - digits) {
        Some(([name @ .., b'.'], [_, ..])) => name,
        _ => name,
    };
    name.strip_suffix(COLD).filter(|whole| !whole.is_empty())
}

// The host and KUnit run the same cases.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_names)
)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_taken_apart() {
        assert_eq!(
            parse_symbol(b".klp.sym.vmlinux.printk,0"),
            Some(KlpSymbol {
                object: b"vmlinux",
                symbol: b"printk",
                sympos: 0
            })
        );
        // A symbol's name may have dots in it, an object's not.
        assert_eq!(
            parse_symbol(b".klp.sym.ext4.foo.isra.0,12"),
            Some(KlpSymbol {
                object: b"ext4",
                symbol: b"foo.isra.0",
                sympos: 12
            })
        );
    }

    #[test]
    fn bad_symbols_are_refused() {
        for name in [
            &b""[..],
            b".klp.sym.",
            b".klp.sym.vmlinux",
            b".klp.sym.vmlinux.printk",
            b".klp.sym.vmlinux.printk,",
            b".klp.sym.vmlinux.printk,x",
            b".klp.sym..printk,0",
            b".klp.sym.vmlinux.,0",
            b".klp.rela.vmlinux.printk,0",
            b"printk,0",
            b".klp.sym.vmlinux.printk,99999999999999999999999",
        ] {
            assert_eq!(parse_symbol(name), None);
        }
        // 55 bytes of an object fit, 56 do not.
        const LONG: &[u8] = b".klp.sym.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.f,1";
        assert_eq!(parse_symbol(LONG).map(|s| s.object.len()), Some(55));
        const TOO_LONG: &[u8] =
            b".klp.sym.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.f,1";
        assert_eq!(parse_symbol(TOO_LONG), None);
    }

    #[test]
    fn sections_name_their_object() {
        assert_eq!(
            parse_section(b".klp.rela.vmlinux..text"),
            Some(&b"vmlinux"[..])
        );
        assert_eq!(
            parse_section(b".klp.rela.ext4.text.foo"),
            Some(&b"ext4"[..])
        );
        assert_eq!(parse_section(b".klp.rela.ext4"), Some(&b"ext4"[..]));
        assert_eq!(parse_section(b".klp.rela."), None);
        assert_eq!(parse_section(b".klp.rela..text"), None);
        assert_eq!(parse_section(b".rela.text"), None);
    }

    #[test]
    fn zero_and_one_are_the_same_position() {
        assert!(same_sympos(0, 0));
        assert!(same_sympos(0, 1));
        assert!(same_sympos(1, 0));
        assert!(same_sympos(2, 2));
        assert!(!same_sympos(0, 2));
        assert!(!same_sympos(1, 2));
    }

    #[test]
    fn searches_count() {
        let search = |sympos, addrs: &[usize]| {
            let mut s = Search::new(sympos);
            for &addr in addrs {
                if s.add(addr) {
                    break;
                }
            }
            s.result()
        };
        assert_eq!(search(0, &[]), Found::Nowhere);
        assert_eq!(search(0, &[8]), Found::At(8));
        assert_eq!(search(0, &[8, 9]), Found::Ambiguous);
        assert_eq!(search(1, &[8, 9]), Found::At(8));
        assert_eq!(search(2, &[8, 9]), Found::At(9));
        assert_eq!(search(3, &[8, 9]), Found::TooFew);
        assert_eq!(search(3, &[]), Found::Nowhere);
    }

    #[test]
    fn matches_after_the_end_change_nothing() {
        let mut s = Search::new(1);
        assert!(s.add(8));
        assert!(s.add(9));
        assert_eq!(s.result(), Found::At(8));
    }

    #[test]
    fn several_names_in_one_walk() {
        let mut wanted = [
            Wanted::new(0, b"twice", 2),
            Wanted::new(1, b"once", 0),
            Wanted::new(2, b"twice", 0),
            Wanted::new(3, b"never", 0),
            Wanted::new(4, b"twice", 1),
            Wanted::new(5, b"once", 2),
        ];
        sort(&mut wanted);
        let symbols: [(&[u8], usize); 4] = [(b"twice", 8), (b"", 9), (b"once", 10), (b"twice", 12)];
        for (name, addr) in symbols {
            note(&mut wanted, name, addr);
        }
        sort_by_key(&mut wanted, Wanted::order);
        let results = wanted.map(|one| one.result());
        assert_eq!(
            results,
            [
                Found::At(12),
                Found::At(10),
                Found::Ambiguous,
                Found::Nowhere,
                Found::At(8),
                Found::TooFew,
            ]
        );
    }

    #[test]
    fn parts_name_the_whole() {
        let parts: [(&[u8], &[u8]); 4] = [
            (b"f.cold", b"f"),
            (b"f.cold.17", b"f"),
            (b"f.isra.0.cold", b"f.isra.0"),
            (b"f.cold.cold", b"f.cold"),
        ];
        for (name, whole) in parts {
            assert_eq!(whole_of(name), Some(whole));
        }
        for name in [
            &b""[..],
            b"f",
            b".cold",
            b".cold.1",
            b"f.cold.",
            b"f.cold1",
            b"f.cold.1x",
            b"f.colder",
            b"fcold",
            b"f.12",
            b"12",
        ] {
            assert_eq!(whole_of(name), None);
        }
    }

    #[test]
    fn marks_of_assemblers_are_no_names() {
        for name in [&b""[..], b"$a", b"$x.12", b".L7", b"L0", b"L0x"] {
            assert!(!is_named(name));
        }
        for name in [&b"f"[..], b".", b"L", b"L1", b".text", b"a$"] {
            assert!(is_named(name));
        }
    }
}
