// SPDX-License-Identifier: GPL-2.0

//! What a task is in is used after the index is gone in which it was found.

use crate::index::{Index, Region};
use kernel::{prelude::*, task::Task};

pub(crate) fn test(index: KBox<Index>, task: &Task) -> bool {
    let region = index.find(task, 0);
    drop(index); //~ ERROR: cannot move out of `index` because it is borrowed
    matches!(region, Some(Region::Func(func)) if !func.name().is_empty())
}
