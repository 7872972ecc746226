// SPDX-License-Identifier: GPL-2.0

//! A field that the mutex protects is read without it.

use crate::abi::Func;

pub(crate) fn test(func: &Func) -> bool {
    func.is_patched() //~ ERROR: this method takes 1 argument but 0 arguments were supplied
}
