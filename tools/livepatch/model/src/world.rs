// SPDX-License-Identifier: GPL-2.0

//! What there is: tasks, functions, patches, and what the core has published.
//!
//! All of it is one value, which is compared, hashed and copied for each step.

use crate::{
    ranges::{self, Range},
    route::{self, Destination, Layer, Route, ORIGINAL},
    target::{PatchState, Target},
};

/// One of the functions that are patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Func {
    /// A function of vmlinux.
    F,
    /// A function of the target module, called by `F`, too.
    G,
}

impl Func {
    pub const ALL: [Func; 2] = [Func::F, Func::G];
}

/// A set of functions, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Funcs(u8);

impl Funcs {
    pub const BOTH: Funcs = Funcs(3);

    pub const fn only(func: Func) -> Self {
        Self(1 << func as u8)
    }

    pub fn has(self, func: Func) -> bool {
        self.0 & (1 << func as u8) != 0
    }

    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Func> {
        Func::ALL.into_iter().filter(move |&func| self.has(func))
    }
}

/// One of the patches. `B` is the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Patch {
    A,
    B,
}

impl Patch {
    pub const ALL: [Patch; 2] = [Patch::A, Patch::B];

    /// Where the code of its module begins.
    const fn module_address(self) -> usize {
        match self {
            Patch::A => 0xa000,
            Patch::B => 0xb000,
        }
    }
}

/// A set of patches, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Patches(u8);

impl Patches {
    pub fn has(self, patch: Patch) -> bool {
        self.0 & (1 << patch as u8) != 0
    }

    pub fn with(self, patch: Patch) -> Self {
        Self(self.0 | 1 << patch as u8)
    }

    pub fn without(self, patch: Patch) -> Self {
        Self(self.0 & !(1 << patch as u8))
    }

    pub fn only(patch: Patch) -> Self {
        Self::default().with(patch)
    }
}

/// What runs when a function is called: the function itself, or a replacement.
pub type Version = Option<Patch>;

/// Code that a task can be in. No other code matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A function, or its replacement.
    Body(Func, Version),
    /// The part of the original of `F` that the compiler has put elsewhere.
    Cold,
    /// A function of a patch's module that the replacement of `F` ends in a call of, which is a
    /// jump.
    Helper(Patch),
}

impl Code {
    const fn address(self) -> usize {
        match self {
            Code::Body(Func::F, None) => 0x1000,
            // The module of `G`.
            Code::Body(Func::G, None) => 0x3000,
            Code::Body(Func::F, Some(patch)) => patch.module_address(),
            Code::Body(Func::G, Some(patch)) => patch.module_address() + 0x100,
            Code::Cold => 0x2000,
            Code::Helper(patch) => patch.module_address() + 0x200,
        }
    }

    const fn range(self) -> Range<()> {
        Range {
            start: self.address(),
            len: SIZE,
            tag: (),
        }
    }

    /// Which function it is a version of. A helper is none: its caller has been left for good.
    pub fn version(self) -> Option<(Func, Version)> {
        match self {
            Code::Body(func, version) => Some((func, version)),
            Code::Cold => Some((Func::F, None)),
            Code::Helper(_) => None,
        }
    }

    /// What it is part of, and is freed with.
    pub fn owner(self) -> Owner {
        match self {
            Code::Body(Func::F, None) | Code::Cold => Owner::Kernel,
            Code::Body(Func::G, None) => Owner::Target,
            Code::Body(_, Some(patch)) | Code::Helper(patch) => Owner::Patch(patch),
        }
    }
}

/// What code is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Kernel,
    Target,
    Patch(Patch),
}

/// The size of each piece of code, except for modules.
const SIZE: usize = 0x10;

/// An address that can be on the stack of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// In the middle of a piece of code.
    Code(Code),
    /// The return address of the call of ftrace at the entry of a function.
    Hook(Func),
}

impl Word {
    const fn address(self) -> usize {
        match self {
            Word::Code(code) => code.address() + SIZE / 2,
            Word::Hook(func) => Code::Body(func, None).address() + 5,
        }
    }

    const ALL: [Word; 11] = [
        Word::Code(Code::Body(Func::F, None)),
        Word::Code(Code::Body(Func::F, Some(Patch::A))),
        Word::Code(Code::Body(Func::F, Some(Patch::B))),
        Word::Code(Code::Body(Func::G, None)),
        Word::Code(Code::Body(Func::G, Some(Patch::A))),
        Word::Code(Code::Body(Func::G, Some(Patch::B))),
        Word::Code(Code::Cold),
        Word::Code(Code::Helper(Patch::A)),
        Word::Code(Code::Helper(Patch::B)),
        Word::Hook(Func::F),
        Word::Hook(Func::G),
    ];

    fn bit(self) -> u16 {
        Self::ALL
            .iter()
            .position(|&word| word == self)
            .map_or(0, |number| 1 << number)
    }
}

/// The ranges of code that tasks must not be in. It keeps which addresses the
/// kernel's own search finds in them, and not the ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index(u16);

impl Index {
    /// One of pieces of code, calls of ftrace, and modules.
    pub fn new(
        codes: impl Iterator<Item = Code>,
        hooks: impl Iterator<Item = Func>,
        modules: impl Iterator<Item = Patch>,
    ) -> Self {
        let hook = |func| Range {
            start: Word::Hook(func).address(),
            len: 1,
            tag: (),
        };
        let module = |patch| Range {
            start: Patch::module_address(patch),
            len: 0x1000,
            tag: (),
        };
        let sorted = |mut list: Vec<_>| {
            let len = ranges::prepare(&mut list);
            list.truncate(len);
            list
        };
        let funcs = sorted(codes.map(Code::range).chain(hooks.map(hook)).collect());
        let modules = sorted(modules.map(module).collect());
        let within = ranges::hull(ranges::within(&funcs), ranges::within(&modules));
        let found = |word: &Word| {
            let address = word.address();
            within.contains(&address)
                && [&funcs, &modules]
                    .iter()
                    .any(|list| ranges::find(list, address).is_some())
        };
        let bits = Word::ALL.iter().filter(|word| found(word));
        Self(bits.fold(0, |bits, word| bits | word.bit()))
    }

    pub fn has(self, word: Word) -> bool {
        self.0 & word.bit() != 0
    }
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum At {
    /// In user mode, in the idle loop, or elsewhere in the kernel.
    Away,
    /// In a function, running or asleep.
    In(Code),
    /// In ftrace at the entry of a function; the handler has yet to run.
    Entered(Func),
    /// In the handler, which has seen that the destination depends on the task. Preemption is
    /// disabled.
    PerTask(Func),
    /// The handler has chosen; the task has yet to go there.
    Chosen(Func, Version),
    /// At the exit to user mode, or in the idle loop: it has cleared its flag. Preemption is
    /// disabled.
    Cleared,
    /// The same, and it has read `TARGET`.
    Read(i8),
}

/// How far a task is that searches its own stack in the scheduler, with preemption disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Look {
    #[default]
    None,
    /// It has seen its flag.
    Flag,
    /// It has read `TARGET`.
    Target(i8),
    /// It has read `INDEX`, a pointer to one of two.
    Index(i8, u8),
}

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// It passes the exit to user mode.
    User,
    /// It never does, but passes the scheduler.
    Kthread,
    /// It passes the idle loop, and is on no list.
    Idle,
}

/// On which lists a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Life {
    /// There is no such task.
    Unborn,
    /// It is being forked: copied from its parent, and on no list.
    Embryo,
    /// On the list of tasks.
    Alive,
    /// On this and on the list of exiting tasks.
    Exiting,
    /// On the latter only.
    Released,
    /// On none.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    pub kind: Kind,
    pub life: Life,
    /// `TIF_PATCH_PENDING`.
    pub pending: bool,
    /// `patch_state`.
    pub state: i8,
    pub at: At,
    /// The function that it has been called from.
    pub caller: Option<Code>,
    pub look: Look,
    /// Whether it is the parent of the embryo.
    pub forks: bool,
    /// Whether a step of the core that takes a list task by task has yet to come to it.
    pub due: bool,
    /// Whether `synchronize()` waits for it.
    pub awaited: bool,
}

pub const IDLE: i8 = PatchState::Idle.raw() as i8;

impl Task {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            life: Life::Alive,
            pending: false,
            state: IDLE,
            at: At::Away,
            caller: None,
            look: Look::None,
            forks: false,
            due: false,
            awaited: false,
        }
    }

    /// A task that is dead or unborn.
    pub fn absent(kind: Kind, life: Life) -> Self {
        Self {
            life,
            ..Self::new(kind)
        }
    }

    pub fn is_listed(&self) -> bool {
        self.kind != Kind::Idle && matches!(self.life, Life::Alive | Life::Exiting)
    }

    pub fn is_exiting(&self) -> bool {
        matches!(self.life, Life::Exiting | Life::Released)
    }

    pub fn runs(&self) -> bool {
        matches!(self.life, Life::Alive | Life::Exiting | Life::Released)
    }

    /// Whether it can be preempted, and so be found not to run.
    pub fn is_preemptible(&self) -> bool {
        self.look == Look::None && !matches!(self.at, At::PerTask(_) | At::Cleared | At::Read(_))
    }

    /// The addresses on its stack.
    pub fn stack(&self) -> impl Iterator<Item = Word> {
        let innermost = match self.at {
            At::In(code) => Some(Word::Code(code)),
            // Where it has chosen to go is in saved registers, and seen or not.
            At::Entered(func) | At::PerTask(func) | At::Chosen(func, _) => Some(Word::Hook(func)),
            At::Away | At::Cleared | At::Read(_) => None,
        };
        innermost.into_iter().chain(self.caller.map(Word::Code))
    }

    /// The code that it is in, will return to, or has chosen to go to.
    pub fn uses(&self) -> impl Iterator<Item = Code> {
        let innermost = match self.at {
            At::In(code) => Some(code),
            At::Chosen(func, version) => Some(Code::Body(func, version)),
            _ => None,
        };
        innermost.into_iter().chain(self.caller)
    }
}

/// What is at the entry of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// What the compiler has put there.
    Plain,
    /// A call of ftrace.
    Hook,
    /// A jump to a replacement.
    Jump(Patch),
}

/// What the handler finds in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    To(Version),
    InTransition,
}

/// A function, with what the core knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Redirect {
    pub entry: Entry,
    pub slot: Slot,
    pub patched: Version,
    pub unpatched: Version,
    /// The function stack: which patches are on it. The newer is above.
    pub stack: Patches,
    /// Those of them whose function depends on the task.
    pub in_transition: Patches,
}

impl Redirect {
    /// Makes the entry call ftrace, unless it does so for another patch already.
    pub fn hook(&mut self) {
        if self.entry == Entry::Plain {
            self.slot = Slot::To(None);
            self.entry = Entry::Hook;
        }
    }

    /// Makes the entry plain again if no patch is on the stack.
    pub fn unhook(&mut self) {
        if self.stack == Patches::default() {
            self.entry = Entry::Plain;
        }
    }

    pub fn push(&mut self, patch: Patch) {
        self.stack = self.stack.with(patch);
    }

    pub fn pop(&mut self, patch: Patch) {
        self.stack = self.stack.without(patch);
    }

    /// Sets whether the function of a patch depends on the task.
    pub fn set_in_transition(&mut self, patch: Patch, yes: bool) {
        self.in_transition = if yes {
            self.in_transition.with(patch)
        } else {
            self.in_transition.without(patch)
        };
    }
}

/// How far a patch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Its module is not loaded.
    Absent,
    /// It is on the list of patches.
    Accepted,
    /// It is no longer in use: the module can be unloaded.
    GivenBack,
    /// It stays for good.
    Kept,
    /// The module is gone.
    Freed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Accepted {
    pub stage: Stage,
    pub enabled: bool,
    pub forced: bool,
    /// Which functions it has, nops included.
    pub funcs: Funcs,
    /// Those whose destination is the original.
    pub nops: Funcs,
}

impl Accepted {
    /// Ends its use. The module stays if tasks were forced to leave it.
    pub fn give_back(&mut self) {
        self.enabled = false;
        self.stage = if self.forced {
            Stage::Kept
        } else {
            Stage::GivenBack
        };
    }
}

/// The target module, which has `G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Module {
    Absent,
    /// None of its code runs yet.
    Coming,
    Live,
    /// None of its code runs from now on.
    Going,
    /// It was there.
    Gone,
}

/// A transition that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Transition {
    pub patch: Patch,
    /// Whether it leads to the patched state.
    pub patching: bool,
    /// Whether the flags were set: tasks switch.
    pub started: bool,
}

impl Transition {
    pub fn new(patch: Patch, patching: bool) -> Self {
        Self {
            patch,
            patching,
            started: false,
        }
    }

    pub fn target(self) -> Target {
        if self.patching {
            Target::Patched
        } else {
            Target::Unpatched
        }
    }

    pub fn state(self) -> i8 {
        self.target().state().raw() as i8
    }
}

/// Which patches' functions a task is to use. This is what users are promised, and does not
/// follow from what the core does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Promise {
    /// A task in the unpatched state.
    pub unpatched: Patches,
    /// One in the patched state.
    pub patched: Patches,
    /// One without a state.
    pub idle: Patches,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Budget {
    pub disables: u8,
    pub reversals: u8,
    pub forces: u8,
    pub exits: u8,
}

/// The most tasks that a world has.
pub const TASKS: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tasks: [Task; TASKS],
    pub funcs: [Redirect; 2],
    pub patches: [Accepted; 2],
    pub module: Module,
    pub transition: Option<Transition>,
    /// What the core does next, while it holds `klp_mutex`. The next step is the last one here.
    pub steps: Vec<crate::core::Step>,
    /// `TARGET`.
    pub target: i8,
    /// `INDEX`, a pointer to one of the two, and which is published next.
    pub index: Option<u8>,
    pub indexes: [Option<Index>; 2],
    pub spare: u8,
    /// Whether the list of tasks must not change.
    pub locked: bool,
    pub promise: Promise,
    pub budget: Budget,
    /// Whether tasks were forced: from then on, the administrator answers for what they use.
    pub forced: bool,
    /// Whether a handler has asked a task for a state that it did not have.
    pub confused: bool,
    /// Whether a task has searched an index that was gone.
    pub dangling: bool,
}

impl World {
    /// The first task in this stage of its life.
    pub fn task_mut(&mut self, life: Life) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.life == life)
    }

    pub fn func(&self, func: Func) -> &Redirect {
        &self.funcs[func as usize]
    }

    pub fn func_mut(&mut self, func: Func) -> &mut Redirect {
        &mut self.funcs[func as usize]
    }

    pub fn patch(&self, patch: Patch) -> &Accepted {
        &self.patches[patch as usize]
    }

    pub fn patch_mut(&mut self, patch: Patch) -> &mut Accepted {
        &mut self.patches[patch as usize]
    }

    pub fn free_nops(&mut self, patch: Patch) {
        for func in self.patch(patch).nops.iter() {
            self.func_mut(func).set_in_transition(patch, false);
        }
        let patch = self.patch_mut(patch);
        patch.funcs = patch.funcs.without(patch.nops);
        patch.nops = Funcs::default();
    }

    /// The patches on the list, the oldest first.
    pub fn accepted(&self) -> impl Iterator<Item = Patch> + '_ {
        Patch::ALL
            .into_iter()
            .filter(|&patch| self.patch(patch).stage == Stage::Accepted)
    }

    /// Whether the function is there, to be called or to be patched.
    pub fn is_loaded(&self, func: Func) -> bool {
        func == Func::F || matches!(self.module, Module::Coming | Module::Live)
    }

    pub fn can_be_called(&self, func: Func) -> bool {
        func == Func::F || self.module == Module::Live
    }

    /// What the kernel's own code decides for the function stack.
    pub fn route(&self, func: Func) -> Route {
        let redirect = self.func(func);
        let newest_first = Patch::ALL.into_iter().rev();
        route::decide(
            newest_first
                .filter(|&patch| redirect.stack.has(patch))
                .map(|patch| Layer {
                    destination: match self.replacement(patch, func) {
                        None => ORIGINAL,
                        version => Code::Body(func, version).address(),
                    },
                    in_transition: redirect.in_transition.has(patch),
                }),
        )
    }

    /// What a patch wants to be run for a function.
    pub fn replacement(&self, patch: Patch, func: Func) -> Version {
        (!self.patch(patch).nops.has(func)).then_some(patch)
    }

    /// What the function of `patch` replaces: tasks that do not use it run this.
    pub fn replaced(&self, patch: Patch, func: Func) -> Version {
        let stack = self.func(func).stack;
        let older_first = Patch::ALL.into_iter().take_while(|&other| other != patch);
        let replaced = older_first.filter(|&other| stack.has(other)).last();
        replaced.and_then(|patch| self.replacement(patch, func))
    }

    /// The version at a destination.
    pub fn version(func: Func, destination: Destination) -> Version {
        Patch::ALL
            .into_iter()
            .find(|&patch| Code::Body(func, Some(patch)).address() == destination)
    }
}
