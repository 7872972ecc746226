// SPDX-License-Identifier: GPL-2.0

//! The patch states of tasks, and where a transition takes them.
//!
//! Plain Rust without bindings: it is also compiled and tested on the host.

/// Which functions a task uses. The numbers are those of `task_struct::patch_state`, which
/// `/proc/<pid>/patch_state` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum PatchState {
    /// No transition is going on: all tasks use the same functions.
    Idle = -1,
    /// Those without the patch in transition.
    Unpatched = 0,
    /// Those with it.
    Patched = 1,
}

impl PatchState {
    /// The number that C knows.
    #[inline(always)]
    pub(crate) const fn raw(self) -> i32 {
        self as i32
    }

    /// The state with this number. There are no others.
    #[inline(always)]
    pub(crate) const fn from_raw(raw: i32) -> Self {
        match raw {
            0 => PatchState::Unpatched,
            1 => PatchState::Patched,
            _ => PatchState::Idle,
        }
    }
}

/// Where a transition takes the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Tasks come to use the patch.
    Patched,
    /// Tasks cease to use the patch.
    Unpatched,
}

impl Target {
    /// The state of a task that has arrived.
    pub(crate) const fn state(self) -> PatchState {
        match self {
            Target::Patched => PatchState::Patched,
            Target::Unpatched => PatchState::Unpatched,
        }
    }

    /// The other direction; its state is the one that tasks start from.
    pub(crate) const fn opposite(self) -> Target {
        match self {
            Target::Patched => Target::Unpatched,
            Target::Unpatched => Target::Patched,
        }
    }

    /// Whether tasks leave a patch for good, so that it is given back in the end: the one in
    /// transition (`is_moving`), or one that this replaces (`is_replacing`).
    pub(crate) const fn leaves(self, is_moving: bool, is_replacing: bool) -> bool {
        match self {
            Target::Unpatched => is_moving,
            Target::Patched => is_replacing && !is_moving,
        }
    }

    /// What tasks leave of a function of the patch in transition: its replacement, or the function
    /// that this replaces, the next one on the function stack.
    pub(crate) fn left<T>(
        self,
        replacement: impl FnOnce() -> T,
        replaced: impl FnOnce() -> T,
    ) -> T {
        match self {
            Target::Unpatched => replacement(),
            Target::Patched => replaced(),
        }
    }

    /// What the log calls it.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Target::Patched => "patching",
            Target::Unpatched => "unpatching",
        }
    }
}

// The host and KUnit run the same cases.
#[cfg(any(test, CONFIG_LIVEPATCH_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_LIVEPATCH_RUST_KUNIT_TEST,
    kernel::prelude::kunit_tests(livepatch_target)
)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_abi() {
        assert_eq!(PatchState::Idle.raw(), -1);
        assert_eq!(PatchState::Unpatched.raw(), 0);
        assert_eq!(PatchState::Patched.raw(), 1);
        for raw in -1..2 {
            assert_eq!(PatchState::from_raw(raw).raw(), raw);
        }
    }

    #[test]
    fn reversal_swaps_start_and_end() {
        for target in [Target::Patched, Target::Unpatched] {
            assert_eq!(target.opposite().opposite(), target);
            assert!(target.opposite().state() != target.state());
        }
    }

    #[test]
    fn what_tasks_leave() {
        // One that is disabled, and no other.
        assert!(Target::Unpatched.leaves(true, false) && Target::Unpatched.leaves(true, true));
        assert!(!Target::Unpatched.leaves(false, true));
        // All others, if they are replaced.
        assert!(Target::Patched.leaves(false, true));
        assert!(!Target::Patched.leaves(false, false) && !Target::Patched.leaves(true, true));

        assert_eq!(Target::Patched.left(|| "new", || "old"), "old");
        assert_eq!(Target::Unpatched.left(|| "new", || "old"), "new");
    }
}
