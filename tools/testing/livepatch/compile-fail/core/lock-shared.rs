// SPDX-License-Identifier: GPL-2.0

//! Another thread gets what shows that the mutex is held.

use crate::lock::Locked;

fn share<T: Sync>(_: &T) {}

pub(crate) fn test(locked: &Locked) {
    share(locked); //~ ERROR: `Cell<()>` cannot be shared between threads safely
}
