// SPDX-License-Identifier: GPL-2.0

//! Code that does not hold the mutex makes what shows that it is held.

use crate::lock::Locked;

pub(crate) fn test() -> Locked {
    Locked::new() //~ ERROR: call to unsafe function `lock::Locked::new` is unsafe
}
