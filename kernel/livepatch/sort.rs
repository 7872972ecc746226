// SPDX-License-Identifier: GPL-2.0

//! Sorting with little stack.
//!
//! `sort_unstable_by_key` of the standard library calls itself, with a frame of up to 3 KB at each
//! level: more than the stack of a kernel thread has for a thousand elements.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// Sorts `items` in place. Elements with the same key are in any order.
///
/// A heap sort, unless they are sorted already: no recursion and no memory, whatever the elements.
pub(crate) fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    if items.is_sorted_by_key(&key) {
        return;
    }
    let len = items.len();
    for root in (0..len / 2).rev() {
        sift_down(items, root, &key);
    }
    for end in (1..len).rev() {
        items.swap(0, end);
        let (heap, _) = items.split_at_mut(end);
        sift_down(heap, 0, &key);
    }
}

/// Moves the element at `root` down until none below it is greater.
fn sift_down<T, K: Ord>(heap: &mut [T], mut root: usize, key: &impl Fn(&T) -> K) {
    loop {
        let first = 2 * root + 1;
        let children = [first, first + 1];
        let greatest = children
            .into_iter()
            .filter_map(|child| Some((key(heap.get(child)?), child)))
            .max();
        match (greatest, heap.get(root)) {
            (Some((greatest, child)), Some(item)) if key(item) < greatest => {
                heap.swap(root, child);
                root = child;
            }
            _ => return,
        }
    }
}

// The host and KUnit run the same cases.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_sort)
)]
mod tests {
    use super::*;

    #[test]
    fn sorts_what_is_not_sorted() {
        let mut seed: usize = 3;
        let mut next = |limit: usize| {
            seed = seed.wrapping_mul(1103515245).wrapping_add(12345) & 0x7fff_ffff;
            (seed >> 8) % limit
        };
        let mut items = [(0, 0); 50];
        for len in 0..items.len() {
            let (part, _) = items.split_at_mut(len);
            for (index, item) in part.iter_mut().enumerate() {
                *item = (next(30), index);
            }
            sort_by_key(part, |item| item.0);
            assert!(part.is_sorted_by_key(|item| item.0));
            // Each element is still there.
            sort_by_key(part, |item| item.1);
            assert!(part.iter().enumerate().all(|(index, item)| item.1 == index));
        }
    }
}
