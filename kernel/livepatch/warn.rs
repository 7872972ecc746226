// SPDX-License-Identifier: GPL-2.0

//! A warning that is reported once.

/// Reports a warning, the first time only, if the condition is true, and returns the condition.
///
/// Unlike a call of a function, the trap that this is can be in the ftrace handler.
macro_rules! warn_on_once {
    ($cond:expr) => {{
        let cond = $cond;
        if cond {
            const ONCE_FLAGS: u32 = ::kernel::bug::bugflag_taint(::kernel::bindings::TAINT_WARN)
                | ::kernel::bindings::BUGFLAG_ONCE;
            ::kernel::warn_flags!(::core::file!(), ONCE_FLAGS);
        }
        cond
    }};
}
pub(crate) use warn_on_once;
