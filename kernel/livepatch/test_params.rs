// SPDX-License-Identifier: GPL-2.0

//! What tests can leave out, to show what it is for: the parameters of `test_params.c`.
//!
//! In kernels without `CONFIG_LIVEPATCH_TEST_EXIT_HOOK` nothing is left out, and this is nothing.

use kernel::{
    bindings,
    prelude::*, //
};

/// Whether transitions check for tasks in calls of ftrace.
pub(crate) fn check_for_hooks() -> bool {
    // SAFETY: Reads a parameter.
    unsafe { bindings::klp_look_for_hooks() }
}

/// Whether a scan that could not say that a stack is clear, for this reason, is taken as if it had.
#[cold]
pub(crate) fn skip_scan_rule(reason: Error) -> bool {
    // SAFETY: Reads parameters.
    unsafe { bindings::klp_skip_scan_rule(reason.to_errno()) }
}
