// SPDX-License-Identifier: GPL-2.0

//! What is checked: worlds that differ in what they have in them.

use crate::{
    model::Setup,
    world::{Budget, Func, Funcs, Kind},
};

/// A setup with its name.
pub struct Named {
    pub name: &'static str,
    pub text: &'static str,
    pub setup: fn() -> Setup,
    /// Whether it is small enough to see that each transition can end.
    pub ends: bool,
}

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
        budget: Budget {
            disables: 1,
            reversals: 1,
            forces: 0,
            exits: 0,
        },
    }
}

/// Those that mutations are looked for in, too, the smallest first.
pub const SMALL: &[Named] = &[
    Named {
        name: "user",
        text: "a user task",
        setup: || base(Kind::User),
        ends: true,
    },
    Named {
        name: "kthread",
        text: "a kernel thread",
        setup: || base(Kind::Kthread),
        ends: true,
    },
    Named {
        name: "idle",
        text: "an idle task",
        setup: || base(Kind::Idle),
        ends: true,
    },
    Named {
        name: "fail",
        text: "a user task; patches that cannot be enabled",
        setup: || Setup {
            fails: true,
            ..base(Kind::User)
        },
        ends: true,
    },
    Named {
        name: "exit",
        text: "a user task that exits",
        setup: || {
            let mut setup = base(Kind::User);
            setup.budget.exits = 1;
            setup
        },
        ends: true,
    },
    Named {
        name: "stack",
        text: "a kernel thread; both patches stay",
        setup: || Setup {
            funcs: [Funcs::BOTH; 2],
            replaces: false,
            ..base(Kind::Kthread)
        },
        ends: true,
    },
    Named {
        name: "nop",
        text: "a kernel thread; the newer patch has not what the older has",
        setup: || Setup {
            funcs: [Funcs::only(Func::F), Funcs::only(Func::G)],
            ..base(Kind::Kthread)
        },
        ends: true,
    },
    Named {
        name: "force",
        text: "a user task; a transition is forced to end",
        setup: || {
            let mut setup = base(Kind::User);
            setup.budget.forces = 1;
            setup
        },
        ends: true,
    },
    Named {
        name: "fork",
        text: "a user task that forks",
        setup: || Setup {
            unborn: 1,
            nested: false,
            helpers: false,
            parts: false,
            ..base(Kind::User)
        },
        ends: true,
    },
    Named {
        name: "pair",
        text: "a user task that forks, and one of the two exits",
        setup: || {
            let mut setup = Setup {
                unborn: 1,
                ..base(Kind::User)
            };
            setup.budget.exits = 1;
            setup
        },
        ends: false,
    },
];

/// The largest that takes less than a minute.
pub const WHOLE: &[Named] = &[Named {
    name: "three",
    text: "a user task, one that it forks, and a kernel thread; an exit",
    setup: || {
        let mut setup = Setup {
            tasks: vec![Kind::User, Kind::Kthread],
            unborn: 1,
            users_look: false,
            nested: false,
            helpers: false,
            parts: false,
            ..base(Kind::User)
        };
        setup.budget.disables = 0;
        setup.budget.exits = 1;
        setup
    },
    ends: false,
}];

/// Those that take long, and much memory.
pub const LARGE: &[Named] = &[
    Named {
        name: "three-disable",
        text: "the same, and a patch is disabled",
        setup: || {
            let mut setup = Setup {
                tasks: vec![Kind::User, Kind::Kthread],
                unborn: 1,
                nested: false,
                helpers: false,
                parts: false,
                ..base(Kind::User)
            };
            setup.budget.exits = 1;
            setup
        },
        ends: false,
    },
    Named {
        name: "three-stack",
        text: "the same, and both patches stay",
        setup: || {
            let mut setup = Setup {
                tasks: vec![Kind::User, Kind::Kthread],
                unborn: 1,
                funcs: [Funcs::BOTH; 2],
                replaces: false,
                nested: false,
                helpers: false,
                parts: false,
                ..base(Kind::User)
            };
            setup.budget.exits = 1;
            setup
        },
        ends: false,
    },
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Named> {
    SMALL.iter().chain(WHOLE).chain(LARGE)
}
