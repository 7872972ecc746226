// SPDX-License-Identifier: GPL-2.0

//! That data of an earlier version are in a box is the author's promise.

use kernel::{livepatch::{Conversion, Handover}, prelude::*};

struct Old(u32);

// SAFETY: An integer.
unsafe impl Handover for Old {
    const NAME: &'static str = "test/old";
}

const _: Conversion<u32> = Conversion::of_word(1, |old: KBox<Old>| old.0); //~ ERROR: the trait bound `Box<Old, Kmalloc>: Word` is not satisfied
