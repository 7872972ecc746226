// SPDX-License-Identifier: GPL-2.0

//! Address ranges that a transition searches stacks for.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

use crate::sort::sort_by_key;

/// The code of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range<T> {
    /// Address of the first byte.
    pub(crate) start: usize,
    /// Size in bytes.
    pub(crate) len: usize,
    /// What the range stands for.
    pub(crate) tag: T,
}

impl<T> Range<T> {
    /// Returns whether `addr` lies in the range.
    #[inline]
    pub(crate) fn contains(&self, addr: usize) -> bool {
        addr.wrapping_sub(self.start) < self.len
    }

    /// The address after the last byte, or the highest one there is.
    fn end(&self) -> usize {
        self.start.saturating_add(self.len)
    }
}

/// Sorts `ranges`, so that [`find`] works on the part of them whose length is returned.
///
/// Empty ranges are dropped. Ranges that overlap (functions with several names, or two patches
/// with the same replacement) become one, with the tag of the lowest.
pub(crate) fn prepare<T: Copy>(ranges: &mut [Range<T>]) -> usize {
    sort_by_key(ranges, |r| (r.start, usize::MAX - r.len));

    let mut kept: usize = 0;
    for i in 0..ranges.len() {
        let Some(&range) = ranges.get(i) else { break };
        if range.len == 0 {
            continue;
        }
        if let Some(last) = kept.checked_sub(1).and_then(|k| ranges.get_mut(k)) {
            if range.start < last.end() {
                last.len = last.len.max(range.end() - last.start);
                continue;
            }
        }
        if let Some(slot) = ranges.get_mut(kept) {
            *slot = range;
            kept += 1;
        }
    }
    kept
}

/// Returns what all of `ranges`, which must have gone through [`prepare`], lie in.
pub(crate) fn within<T>(ranges: &[Range<T>]) -> core::ops::Range<usize> {
    match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) => first.start..last.end(),
        _ => 0..0,
    }
}

/// Returns the smallest range that both lie in. An empty one lies in any.
pub(crate) fn hull(
    one: core::ops::Range<usize>,
    other: core::ops::Range<usize>,
) -> core::ops::Range<usize> {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other,
        (_, true) => one,
        _ => one.start.min(other.start)..one.end.max(other.end),
    }
}

/// Finds the range that `addr` lies in. `ranges` must have gone through [`prepare`].
///
/// No panics, no locks, no memory: it runs in the scheduler.
#[inline]
pub(crate) fn find<T>(ranges: &[Range<T>], addr: usize) -> Option<&Range<T>> {
    let after = ranges.partition_point(|r| r.start <= addr);
    ranges
        .get(after.wrapping_sub(1))
        .filter(|r| r.contains(addr))
}

/// A function whose end is searched for: the next symbol, or the end of the code that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    start: usize,
    end: usize,
    /// Whether there is a symbol at `start`.
    seen: bool,
}

impl Extent {
    /// A function at `start`, in code that ends at `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start,
            end,
            seen: false,
        }
    }
}

/// Sorts `extents`, so that [`note_symbol`] works on the part of them whose length is returned.
pub(crate) fn prepare_extents(extents: &mut [Extent]) -> usize {
    sort_by_key(extents, |extent| extent.start);
    let mut kept: usize = 0;
    for i in 0..extents.len() {
        let Some(&extent) = extents.get(i) else { break };
        let last = kept.checked_sub(1).and_then(|k| extents.get(k));
        if last.is_some_and(|last| last.start == extent.start) {
            continue;
        }
        if let Some(slot) = extents.get_mut(kept) {
            *slot = extent;
            kept += 1;
        }
    }
    kept
}

/// Takes note of a symbol at `addr`, if `counts` says that it is one to go by.
///
/// `extents` must have gone through [`prepare_extents`].
pub(crate) fn note_symbol(extents: &mut [Extent], addr: usize, counts: impl FnOnce() -> bool) {
    let after = extents.partition_point(|extent| extent.start < addr);
    let starts = extents
        .get(after)
        .is_some_and(|e| e.start == addr && !e.seen);
    let before = after.wrapping_sub(1);
    let ends = extents.get(before).is_some_and(|e| addr < e.end);
    if !(starts || ends) || !counts() {
        return;
    }
    if starts {
        if let Some(extent) = extents.get_mut(after) {
            extent.seen = true;
        }
    }
    if ends {
        if let Some(extent) = extents.get_mut(before) {
            extent.end = addr;
        }
    }
}

/// Returns the size of the function at `addr`, if all symbols were noted and it has one.
pub(crate) fn extent_of(extents: &[Extent], addr: usize) -> Option<usize> {
    let at = extents.partition_point(|extent| extent.start < addr);
    let extent = extents.get(at).filter(|e| e.start == addr && e.seen)?;
    // A symbol ends what begins closest before it. If that is no symbol itself, it ends this one.
    let between = extents.iter().skip(at + 1).take_while(|e| !e.seen);
    let end = between.fold(extent.end, |end, e| end.min(e.end));
    Some(end - extent.start)
}

// The host and KUnit run the same cases.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_ranges)
)]
mod tests {
    use super::*;

    fn range(start: usize, len: usize, tag: u32) -> Range<u32> {
        Range { start, len, tag }
    }

    #[test]
    fn finds_each_byte_and_no_other() {
        let mut r = [range(300, 10, 3), range(100, 10, 1), range(200, 1, 2)];
        let n = prepare(&mut r);
        assert_eq!(n, 3);
        let tag = |addr| find(&r, addr).map(|r| r.tag);
        assert_eq!(tag(99), None);
        assert_eq!(tag(100), Some(1));
        assert_eq!(tag(109), Some(1));
        assert_eq!(tag(110), None);
        assert_eq!(tag(199), None);
        assert_eq!(tag(200), Some(2));
        assert_eq!(tag(201), None);
        assert_eq!(tag(309), Some(3));
        assert_eq!(tag(310), None);
        assert_eq!(tag(0), None);
        assert_eq!(tag(usize::MAX), None);
        assert_eq!(within(&r), 100..310);
    }

    #[test]
    fn overlapping_and_empty_ranges_merge() {
        let mut r = [
            range(100, 50, 1),
            range(120, 10, 2),
            range(140, 30, 3),
            range(170, 0, 4),
            range(170, 5, 5),
            range(100, 50, 1),
        ];
        let n = prepare(&mut r);
        assert_eq!(n, 2);
        let (kept, _) = r.split_at(n);
        assert_eq!(find(kept, 169).map(|r| r.tag), Some(1));
        assert_eq!(find(kept, 170).map(|r| r.tag), Some(5));
        assert_eq!(find(kept, 175).map(|r| r.tag), None);
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        let mut r: [Range<u32>; 0] = [];
        assert_eq!(prepare(&mut r), 0);
        assert!(find(&r, 1).is_none());
        assert_eq!(within(&r), 0..0);

        let mut r = [range(5, 0, 1)];
        assert_eq!(prepare(&mut r), 0);
    }

    #[test]
    fn hulls_have_both() {
        assert_eq!(hull(1..3, 7..9), 1..9);
        assert_eq!(hull(7..9, 1..3), 1..9);
        assert_eq!(hull(1..9, 3..4), 1..9);
        assert_eq!(hull(0..0, 3..4), 3..4);
        assert_eq!(hull(3..4, 0..0), 3..4);
        assert!(hull(0..0, 0..0).is_empty());
    }

    #[test]
    fn top_of_the_address_space() {
        let mut r = [range(usize::MAX - 1, 2, 1), range(usize::MAX - 9, 4, 2)];
        let n = prepare(&mut r);
        assert_eq!(n, 2);
        assert_eq!(find(&r, usize::MAX).map(|r| r.tag), Some(1));
        assert_eq!(find(&r, usize::MAX - 2).map(|r| r.tag), None);
        assert_eq!(find(&r, usize::MAX - 9).map(|r| r.tag), Some(2));
    }

    /// Compares with a search through the list, as the definition of the result.
    #[test]
    fn agrees_with_a_linear_search() {
        let mut seed: usize = 1;
        let mut next = |limit: usize| {
            seed = seed.wrapping_mul(1103515245).wrapping_add(12345) & 0x7fff_ffff;
            (seed >> 8) % limit
        };
        for _ in 0..200 {
            let mut r = [range(0, 0, 0); 12];
            for slot in r.iter_mut() {
                *slot = range(next(200), next(20), 0);
            }
            let list = r;
            let n = prepare(&mut r);
            assert!(n <= r.len());
            let (kept, _) = r.split_at(n);
            for addr in 0..230 {
                let expected = list.iter().any(|r| r.contains(addr));
                assert_eq!(find(kept, addr).is_some(), expected);
            }
        }
    }

    #[test]
    fn functions_end_at_the_next_symbol() {
        let mut list = [300, 100, 200, 100, 400].map(|start| Extent::new(start, 1000));
        let kept = prepare_extents(&mut list);
        assert_eq!(kept, 4);
        let (extents, _) = list.split_at_mut(kept);
        for addr in [2000, 150, 100, 120, 300, 90, 300, 1000, 200] {
            note_symbol(extents, addr, || true);
        }
        // No name: neither an end nor a beginning.
        note_symbol(extents, 110, || false);
        note_symbol(extents, 400, || false);
        let size = |addr| extent_of(extents, addr);
        assert_eq!(size(100), Some(20));
        assert_eq!(size(200), Some(100));
        assert_eq!(size(300), Some(700));
        assert_eq!(size(400), None);
        assert_eq!(size(150), None);
        assert_eq!(size(0), None);
    }

    /// Compares with what kallsyms does: a walk over all symbols for each address.
    #[test]
    fn sizes_agree_with_a_walk_for_each() {
        let mut seed: usize = 7;
        let mut next = |limit: usize| {
            seed = seed.wrapping_mul(1103515245).wrapping_add(12345) & 0x7fff_ffff;
            (seed >> 8) % limit
        };
        const END: usize = 160;
        for _ in 0..200 {
            let mut symbols = [0; 24];
            for symbol in symbols.iter_mut() {
                *symbol = next(200);
            }
            let mut list = [Extent::new(0, END); 8];
            for extent in list.iter_mut() {
                *extent = Extent::new(next(END), END);
            }
            let wanted = list.map(|extent| extent.start);
            let kept = prepare_extents(&mut list);
            assert!(kept <= list.len());
            let (extents, _) = list.split_at_mut(kept);
            for &symbol in symbols.iter() {
                note_symbol(extents, symbol, || true);
            }
            for start in wanted {
                let above = symbols.iter().filter(|&&s| s > start && s < END);
                let end = above.min().copied().unwrap_or(END);
                let expected = symbols.contains(&start).then_some(end - start);
                assert_eq!(extent_of(extents, start), expected);
            }
        }
    }
}
