// SPDX-License-Identifier: GPL-2.0

//! What `klpr_rust_keep1` hands over to `klpr_rust_keep2`.

use kernel::{
    bindings,
    livepatch::Handover,
    prelude::*, //
};

/// The structure that has the variables.
pub(super) fn key() -> *const bindings::task_struct {
    &raw const bindings::init_task
}

pub(super) struct Value(pub(super) c_int);

// SAFETY: An integer, in both patches.
unsafe impl Handover for Value {
    const NAME: &'static str = "klpr/value";
}
