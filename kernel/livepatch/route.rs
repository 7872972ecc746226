// SPDX-License-Identifier: GPL-2.0

//! Where calls of a patched function go, and how the handler finds that out.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// Where a call continues: a replacement, or, as 0, the function that was called.
pub(crate) type Destination = usize;

/// The function that was called: nothing is redirected.
pub(crate) const ORIGINAL: Destination = 0;

/// What the handler does with the calls of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// They have one destination for all tasks.
    Fixed(Destination),
    /// A transition is going on: the destination depends on the task's patch state.
    PerTask {
        /// For tasks in the patched state.
        patched: Destination,
        /// For the others.
        unpatched: Destination,
    },
}

/// One member of the function stack of a patched function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Where this patch wants calls to go.
    pub(crate) destination: Destination,
    /// Whether tasks are being moved to or from this patch.
    pub(crate) in_transition: bool,
}

/// Decides on the route, given the function stack from the newest patch to the oldest.
///
/// Only the newest patch's function counts, until it is in transition; then the tasks that do not
/// have it take what it replaces.
pub(crate) fn decide(mut stack: impl Iterator<Item = Layer>) -> Route {
    let Some(top) = stack.next() else {
        return Route::Fixed(ORIGINAL);
    };
    if !top.in_transition {
        return Route::Fixed(top.destination);
    }
    Route::PerTask {
        patched: top.destination,
        unpatched: stack
            .find(|layer| !layer.in_transition)
            .map_or(ORIGINAL, |layer| layer.destination),
    }
}

/// Returns the number of slots that a table for `count` functions has: a power of two, of which at
/// least half stay empty, so that a search is short and always ends.
pub(crate) fn table_size(count: usize) -> Option<usize> {
    count.checked_mul(2)?.max(2).checked_next_power_of_two()
}

/// Spreads addresses over the whole word.
#[inline(always)]
const fn hash(ip: usize) -> usize {
    // 2^64 divided by the golden ratio. Its high half does the same on 32 bits.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = (ip as u64).wrapping_mul(GOLDEN);
    (product >> 32) as usize
}

/// Searches for `ip` in a table of `mask + 1` slots, of which `key` gives the contents (0: empty).
///
/// Returns `Ok` with its index, or `Err` with that of the empty slot where it would go. Runs in the
/// handler: no panics.
#[inline(always)]
pub(crate) fn probe(mask: usize, ip: usize, key: impl Fn(usize) -> usize) -> Result<usize, usize> {
    let mut index = hash(ip) & mask;
    loop {
        let found = key(index);
        if found == ip {
            return Ok(index);
        }
        if found == 0 {
            return Err(index);
        }
        index = (index + 1) & mask;
    }
}

// The host and KUnit run the same cases.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_route)
)]
mod tests {
    use super::*;

    fn layers(list: &[(Destination, bool)]) -> Route {
        decide(list.iter().map(|&(destination, in_transition)| Layer {
            destination,
            in_transition,
        }))
    }

    #[test]
    fn newest_patch_wins() {
        assert_eq!(layers(&[]), Route::Fixed(ORIGINAL));
        assert_eq!(layers(&[(7, false)]), Route::Fixed(7));
        assert_eq!(layers(&[(8, false), (7, false)]), Route::Fixed(8));
        // One that is not the newest and is being disabled makes no difference.
        assert_eq!(layers(&[(8, false), (7, true)]), Route::Fixed(8));
    }

    #[test]
    fn transition_depends_on_the_task() {
        let per_task = |patched, unpatched| Route::PerTask { patched, unpatched };
        assert_eq!(layers(&[(7, true)]), per_task(7, ORIGINAL));
        assert_eq!(layers(&[(8, true), (7, false)]), per_task(8, 7));
        assert_eq!(layers(&[(8, true), (7, false), (6, false)]), per_task(8, 7));
    }

    #[test]
    fn nops_lead_to_the_original() {
        let per_task = |patched, unpatched| Route::PerTask { patched, unpatched };
        assert_eq!(
            layers(&[(ORIGINAL, true), (7, false)]),
            per_task(ORIGINAL, 7)
        );
        assert_eq!(
            layers(&[(ORIGINAL, false), (7, false)]),
            Route::Fixed(ORIGINAL)
        );
    }

    #[test]
    fn function_twice_in_one_patch_is_all_or_nothing() {
        // Both are of the patch in transition: a task that is not patched gets neither.
        let route = Route::PerTask {
            patched: 9,
            unpatched: 7,
        };
        assert_eq!(layers(&[(9, true), (8, true), (7, false)]), route);
    }

    #[test]
    fn tables_are_never_full() {
        for count in [0, 1, 2, 3, 100, 1000, 1024, 1025] {
            let size = table_size(count);
            assert!(size.is_some_and(|s| s.is_power_of_two() && s >= 2 * count && s >= 2));
        }
        assert_eq!(table_size(usize::MAX), None);
        assert_eq!(table_size(usize::MAX / 2), None);
    }

    #[test]
    fn probing_finds_all_that_was_put_in() {
        const SIZE: usize = 64;
        let mut table = [0usize; SIZE];
        // Addresses of functions: 16 bytes apart, high half.
        let ip = |i: usize| (usize::MAX << 24) + 4 + 16 * i;
        // Outside the table, a search ends with an index that the asserts below refuse.
        let search = |table: &[usize], wanted| {
            let key = |index: usize| table.get(index).copied().unwrap_or(0);
            probe(SIZE - 1, wanted, key)
        };
        for i in 0..SIZE / 2 {
            let empty = search(&table, ip(i)).err();
            let slot = empty.and_then(|index| table.get_mut(index));
            assert_eq!(slot.as_deref(), Some(&0));
            if let Some(slot) = slot {
                *slot = ip(i);
            }
        }
        for i in 0..SIZE / 2 {
            let found = search(&table, ip(i)).ok();
            assert_eq!(found.and_then(|index| table.get(index)), Some(&ip(i)));
        }
        for i in SIZE / 2..SIZE {
            let empty = search(&table, ip(i)).err();
            assert_eq!(empty.and_then(|index| table.get(index)), Some(&0));
        }
    }
}
