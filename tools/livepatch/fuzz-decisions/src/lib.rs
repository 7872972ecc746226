// SPDX-License-Identifier: GPL-2.0

//! The files of the core that decide without a kernel, as they are, for a fuzzer that follows
//! their branches. Each function takes the fuzzer's bytes, and panics if something is wrong.

// Each file has more than a fuzzer uses.
#![allow(dead_code)]
// The oldest rustc of the kernel has no is_multiple_of().
#![allow(clippy::manual_is_multiple_of)]

#[path = "../../../../kernel/livepatch/fuzz.rs"]
mod fuzz;
#[path = "../../../../kernel/livepatch/names.rs"]
mod names;
#[path = "../../../../kernel/livepatch/ranges.rs"]
mod ranges;
#[path = "../../../../kernel/livepatch/rela.rs"]
mod rela;
#[path = "../../../../kernel/livepatch/route.rs"]
mod route;
#[path = "../../../../kernel/livepatch/sort.rs"]
mod sort;

use ranges::Range;
use route::{Layer, Route, ORIGINAL};

/// A module with livepatch relocations: what is accepted is applied, within its bounds.
pub fn relocations(data: &[u8]) {
    // What is refused is as good as what is accepted.
    let _ = fuzz::one_module(&mut fuzz::Random::given(data));
}

/// A table of strings, and one that was good before it was damaged.
pub fn names(data: &[u8]) {
    fuzz::check_name(data, 0);
    fuzz::one_name(&mut fuzz::Random::given(data));
}

/// Ranges, of four bytes each, and an address, of the last two: what is found is what a search of
/// one after the other finds.
pub fn ranges(data: &[u8]) {
    let Some((list, tail)) = data.split_last_chunk::<2>() else {
        return;
    };
    // At the end of the address space, too, where sums overflow.
    let base = if tail[0] & 1 == 0 {
        0x1000
    } else {
        usize::MAX - 0x1_0000
    };
    let all: Vec<Range<usize>> = list
        .chunks_exact(4)
        .enumerate()
        .map(|(tag, bytes)| {
            let start = base + usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
            let len = usize::from(bytes[2]) << (bytes[3] % 16);
            // No code goes on at address 0.
            let len = len.min(usize::MAX - start);
            Range { start, len, tag }
        })
        .collect();
    let mut sorted = all.clone();
    let count = ranges::prepare(&mut sorted);
    let sorted = &sorted[..count];
    let within = ranges::within(sorted);
    // Each edge, and one address more.
    let edges = all.iter().flat_map(|range| {
        let end = range.start.wrapping_add(range.len);
        [
            range.start,
            range.start.wrapping_sub(1),
            end,
            end.wrapping_sub(1),
        ]
    });
    let one = base + usize::from(u16::from_le_bytes(*tail));
    for addr in edges.chain([one]) {
        let found = ranges::find(sorted, addr).is_some();
        let linear = all.iter().any(|range| range.contains(addr));
        assert_eq!(found, linear, "{addr:#x} in {all:x?}");
        assert!(
            !found || within.contains(&addr),
            "{addr:#x} is not in {within:x?}"
        );
    }
}

/// A function stack, of two bytes for each layer, and a table of addresses.
pub fn routes(data: &[u8]) {
    let layers: Vec<Layer> = data
        .chunks_exact(2)
        .map(|bytes| Layer {
            destination: usize::from(bytes[0]),
            in_transition: bytes[1] & 1 != 0,
        })
        .collect();
    let settled = layers.iter().find(|layer| !layer.in_transition);
    let expected = match layers.first() {
        Some(top) if top.in_transition => Route::PerTask {
            patched: top.destination,
            unpatched: settled.map_or(ORIGINAL, |layer| layer.destination),
        },
        Some(top) => Route::Fixed(top.destination),
        None => Route::Fixed(ORIGINAL),
    };
    assert_eq!(route::decide(layers.into_iter()), expected);

    let addresses: Vec<usize> = data
        .chunks_exact(3)
        .map(|bytes| usize::from_le_bytes([bytes[0], bytes[1], bytes[2], 0, 0, 0, 0, 0x80]))
        .collect();
    let Some(size) = route::table_size(addresses.len()) else {
        return;
    };
    let mut table = vec![0; size];
    for &address in &addresses {
        match route::probe(size - 1, address, |index| table[index]) {
            Ok(index) => assert_eq!(table[index], address),
            Err(index) => {
                assert_eq!(table[index], 0);
                table[index] = address;
            }
        }
    }
    for &address in &addresses {
        let index = route::probe(size - 1, address, |index| table[index]);
        assert_eq!(index.map(|index| table[index]), Ok(address));
    }
}
