// SPDX-License-Identifier: GPL-2.0

//! The folder `/sys/kernel/debug/livepatch`.
//!
//! ```text
//! /sys/kernel/debug/livepatch/transition
//! /sys/kernel/debug/livepatch/history
//! ```
//!
//! See `Documentation/livepatch/transitions.rst`.

use crate::{
    progress,
    switch, //
};
use kernel::{
    debugfs::{Dir, File, Writer},
    fmt,
    prelude::*,
    sync::SetOnce, //
};

/// The files, once they are there.
static FILES: SetOnce<Pin<KBox<Files>>> = SetOnce::new();

#[pin_data]
struct Files {
    #[pin]
    transition: File<Transition>,
    #[pin]
    history: File<History>,
}

/// The transition that is going on. Empty if there is none.
struct Transition;

impl Writer for Transition {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        progress::write_current(f, switch::remaining())
    }
}

/// The last transitions, the newest first.
struct History;

impl Writer for History {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        progress::write_history(f)
    }
}

/// Makes the files. Called once, at boot.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init() -> Result {
    let dir = Dir::new(c"livepatch");
    let files = try_pin_init!(Files {
        transition <- dir.read_only_file(c"transition", Transition),
        history <- dir.read_only_file(c"history", History),
    });
    FILES.populate(KBox::pin_init(files, GFP_KERNEL)?);
    Ok(())
}
