// SPDX-License-Identifier: GPL-2.0

//! Names of symbols and sections, and when two of them mean the same function.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// How much of an object's name a livepatch symbol or section can hold.
///
/// `MODULE_NAME_LEN` is at least this and one on all architectures.
const OBJECT_NAME_MAX: usize = 55;

/// How much of a symbol's name a livepatch symbol can hold: `KSYM_NAME_LEN` without the nul.
const SYMBOL_NAME_MAX: usize = 511;

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
/// As the C core does with `sscanf()`, what follows the number is not looked at.
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

/// The cases that both the host and KUnit run.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
pub(crate) mod cases {
    use super::*;

    pub(crate) fn symbols_are_taken_apart() {
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

    pub(crate) fn bad_symbols_are_refused() {
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

    pub(crate) fn sections_name_their_object() {
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

    pub(crate) fn zero_and_one_are_the_same_position() {
        assert!(same_sympos(0, 0));
        assert!(same_sympos(0, 1));
        assert!(same_sympos(1, 0));
        assert!(same_sympos(2, 2));
        assert!(!same_sympos(0, 2));
        assert!(!same_sympos(1, 2));
    }

    pub(crate) fn searches_count() {
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

    pub(crate) fn matches_after_the_end_change_nothing() {
        let mut s = Search::new(1);
        assert!(s.add(8));
        assert!(s.add(9));
        assert_eq!(s.result(), Found::At(8));
    }
}

#[cfg(test)]
mod tests {
    use super::cases;

    #[test]
    fn symbols_are_taken_apart() {
        cases::symbols_are_taken_apart();
    }
    #[test]
    fn bad_symbols_are_refused() {
        cases::bad_symbols_are_refused();
    }
    #[test]
    fn sections_name_their_object() {
        cases::sections_name_their_object();
    }
    #[test]
    fn zero_and_one_are_the_same_position() {
        cases::zero_and_one_are_the_same_position();
    }
    #[test]
    fn searches_count() {
        cases::searches_count();
    }
    #[test]
    fn matches_after_the_end_change_nothing() {
        cases::matches_after_the_end_change_nothing();
    }
}
