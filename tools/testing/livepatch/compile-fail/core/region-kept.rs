// SPDX-License-Identifier: GPL-2.0

//! What a task is in is used after the index is gone in which it was found.

use crate::index::Index;
use kernel::{prelude::*, task::Task};

pub(crate) fn test(index: KBox<Index>, task: &Task) -> bool {
    let region = index.find(task, 0);
    drop(index); //~ ERROR: cannot move out of `index` because it is borrowed
    region.is_some_and(|region| region.name().is_ok())
}
