// SPDX-License-Identifier: GPL-2.0

//! What is checked: worlds with different contents.

use crate::{
    model::{Model, Setup},
    mutation::Mutation,
    world::{Budget, Func, Funcs, Kind},
};

/// A setup with its name.
pub struct Named {
    pub name: &'static str,
    pub text: &'static str,
    setup: fn() -> Setup,
    /// Whether it is small enough to check that each transition can end.
    pub ends: bool,
}

impl Named {
    const fn small(name: &'static str, text: &'static str, setup: fn() -> Setup) -> Self {
        Self {
            name,
            text,
            setup,
            ends: true,
        }
    }

    const fn large(name: &'static str, text: &'static str, setup: fn() -> Setup) -> Self {
        Self {
            ends: false,
            ..Self::small(name, text, setup)
        }
    }

    pub fn model(&self, mutation: Option<Mutation>, symmetric: bool) -> Model {
        Model {
            setup: (self.setup)(),
            mutation,
            symmetric,
        }
    }
}

const BUDGET: Budget = Budget {
    disables: 1,
    reversals: 1,
    forces: 0,
    exits: 0,
};

/// One task, and two patches, of which the older has both functions, and the newer replaces it.
fn base(kind: Kind) -> Setup {
    Setup {
        tasks: vec![kind],
        unborn: 0,
        funcs: [Funcs::BOTH, Funcs::only(Func::F)],
        replaces: true,
        helpers: true,
        parts: true,
        nested: true,
        users_look: true,
        module_comes: true,
        fails: false,
        budget: BUDGET,
    }
}

/// The same, in which functions have nothing but their bodies, and one more task is forked.
fn forking(tasks: Vec<Kind>) -> Setup {
    Setup {
        tasks,
        unborn: 1,
        helpers: false,
        parts: false,
        nested: false,
        ..base(Kind::User)
    }
}

/// Three tasks, of which one exits.
fn three() -> Setup {
    Setup {
        budget: Budget { exits: 1, ..BUDGET },
        ..forking(vec![Kind::User, Kind::Kthread])
    }
}

/// Those in which mutations have to be found, too, the smallest first.
pub const SMALL: &[Named] = &[
    Named::small("user", "a user task", || base(Kind::User)),
    Named::small("kthread", "a kernel thread", || base(Kind::Kthread)),
    Named::small("idle", "an idle task", || base(Kind::Idle)),
    Named::small(
        "fail",
        "a user task; patches that cannot be enabled",
        || Setup {
            fails: true,
            ..base(Kind::User)
        },
    ),
    Named::small("exit", "a user task that exits", || Setup {
        budget: Budget { exits: 1, ..BUDGET },
        ..base(Kind::User)
    }),
    Named::small("stack", "a kernel thread; both patches stay", || Setup {
        funcs: [Funcs::BOTH; 2],
        replaces: false,
        ..base(Kind::Kthread)
    }),
    Named::small(
        "nop",
        "a kernel thread; the newer patch lacks what the older has",
        || Setup {
            funcs: [Funcs::only(Func::F), Funcs::only(Func::G)],
            ..base(Kind::Kthread)
        },
    ),
    Named::small(
        "force",
        "a user task; a transition is forced to end",
        || Setup {
            budget: Budget {
                forces: 1,
                ..BUDGET
            },
            ..base(Kind::User)
        },
    ),
    Named::small("fork", "a user task that forks", || {
        forking(vec![Kind::User])
    }),
    Named::large(
        "pair",
        "a user task that forks, and one of the two exits",
        || Setup {
            unborn: 1,
            budget: Budget { exits: 1, ..BUDGET },
            ..base(Kind::User)
        },
    ),
];

/// The largest that takes less than a minute.
pub const WHOLE: &[Named] = &[Named::large(
    "three",
    "a user task, one that it forks, and a kernel thread; an exit",
    || Setup {
        users_look: false,
        budget: Budget {
            disables: 0,
            exits: 1,
            ..BUDGET
        },
        ..three()
    },
)];

/// Those that take long and need much memory.
pub const LARGE: &[Named] = &[
    Named::large("three-disable", "the same, and a patch is disabled", three),
    Named::large("three-stack", "the same, and both patches stay", || Setup {
        funcs: [Funcs::BOTH; 2],
        replaces: false,
        ..three()
    }),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Named> {
    SMALL.iter().chain(WHOLE).chain(LARGE)
}

/// The setup of this name.
pub fn named(name: &str) -> Option<&'static Named> {
    all().find(|named| named.name == name)
}
