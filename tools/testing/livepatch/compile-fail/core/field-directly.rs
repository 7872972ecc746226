// SPDX-License-Identifier: GPL-2.0

//! A field that the mutex protects is read past the methods that ask for it.

use crate::abi::Func;

pub(crate) fn test(func: &Func) {
    let _ = &func.patched; //~ ERROR: field `patched` of struct `Func` is private
}
