// SPDX-License-Identifier: GPL-2.0

//! Small changes of the protocol, each of which breaks it.

/// Declares the mutations with their names and with what they do.
macro_rules! mutations {
    ($($name:ident: $text:literal,)*) => {
        /// A change of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mutation {
            $(#[doc = $text] $name,)*
        }

        impl Mutation {
            pub const ALL: &[Mutation] = &[$(Mutation::$name,)*];

            /// What is different.
            pub fn text(self) -> &'static str {
                match self {
                    $(Mutation::$name => $text,)*
                }
            }
        }
    };
}

mutations! {
    // What a transition searches stacks for.
    NoHooks: "the index has no return addresses of calls of ftrace",
    NoParts: "the index has no parts of functions that the compiler has put elsewhere",
    NoPartsOfNops: "the index has no such parts of originals that nops lead to",
    NoModules: "the index has no modules of patches that tasks leave",
    OtherRanges: "the index has what tasks switch to, and not what they leave",
    OldIndex: "the index stays as it was when a transition is reversed",
    NoIndexForComing: "functions of a module that is loaded meanwhile are not put in the index",
    IndexLate: "the index is published after the flags are set",
    IndexStays: "the index stays published after the end",
    LooksAtRunning: "tasks keep running while their stack is searched",
    LooksAtNothing: "tasks in the scheduler switch without a search of their stack",

    // Which tasks are asked, and when.
    NoExiting: "the end does not wait for exiting tasks",
    ExitingFirst: "exiting tasks are asked before those on the list of tasks",
    ExitingWithoutState: "exiting tasks are not given the state that they start from",
    ExitingNotIdle: "exiting tasks keep their state after the end",
    NotAskedAgain: "the end does not ask all tasks once more, with the list locked",
    IdleTasksForgotten: "the end does not wait for idle tasks",
    NotMarked: "tasks do not get their flags",
    ForkCopiesEarly: "a child keeps the state that its parent had when the fork began",
    ForkWithoutLock: "a child is put on the list while the core walks it",

    // The order of steps.
    TransitionBeforeStates: "functions depend on the task before tasks have their state",
    DestinationsLate: "a slot says that it depends on the task before both destinations are written",
    TargetLate: "the target is written after the flags are set",
    StatesGoFirst: "tasks lose their state while functions still depend on it",
    JumpsStay: "functions are jumps while they are in transition",
    JumpsWithComing: "a module that is loaded during a transition makes functions jumps",
    NopsStay: "nops are not taken off at the end",
    NoNops: "a patch that replaces all others has no nops",
    FlagStays: "the flag is not cleared at the exit to user mode",
    ComingIsFixed: "functions of a module that is loaded meanwhile do not depend on the task",

    // Waits.
    NoSyncAtEnd: "the end does not wait for handlers and for tasks that switch by themselves",
    NoSyncAtReversal: "a reversal does not wait for tasks that switch by themselves",
    NoSyncAtRefresh: "an index is freed while tasks still use it",
    FlagsStayAtReversal: "a reversal does not clear the flags first",
    NoSyncWithHandlers: "waits do not wait for handlers",
    NoSyncWithExits: "waits do not wait for tasks that switch at the exit to user mode",
    NoSyncWithLooks: "waits do not wait for tasks that search their stack in the scheduler",

    // The life of code.
    FreesForced: "patches that tasks were forced to leave are given back",
    FreesEarly: "patches that are replaced are given back when the transition starts",
    NoSyncAtCancel: "a transition that is canceled does not wait for handlers",
    KeepsStacks: "functions of patches that are replaced stay on their stacks",
}

impl Mutation {
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|mutation| mutation.name() == name)
    }
}
