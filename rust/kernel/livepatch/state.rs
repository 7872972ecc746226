// SPDX-License-Identifier: GPL-2.0

//! States: what a patch changes in the system besides replacing functions.

use super::{
    callbacks::{
        Hooks,
        Object, //
    },
    declare::Declared,
    shadow::{
        check_name,
        mix,
        SEED, //
    },
    Handover,
};
use crate::{
    bindings,
    error::{
        code::*,
        Result, //
    },
    ffi::c_ulong,
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        rcu, //
    }, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop, //
};

/// The name of a state, in all patches that have it.
#[derive(Clone, Copy)]
pub struct StateId {
    number: usize,
    name: &'static str,
}

impl StateId {
    /// The state of this name, which begins with the author's own name and a slash:
    /// `StateId::new("example.org/limit")`.
    ///
    /// Its number in C is a hash, so two of them are equal with a probability of one in 2^63.
    /// Patches in C have small numbers by convention; this is a large one.
    pub const fn new(name: &'static str) -> Self {
        check_name(name);
        Self {
            number: (mix(SEED, name.as_bytes()) | 1 << 63) as usize,
            name,
        }
    }

    /// A state that patches in C have, too, by its number. Not 0.
    ///
    /// # Safety
    ///
    /// All patches that have a state of this number must mean the same one, those of other authors
    /// included, and keep in `klp_state::data` of each version the data that [`State::Data`] and
    /// [`State::EARLIER`] specify.
    pub const unsafe fn shared_with_c(number: usize) -> Self {
        assert!(number != 0, "the id of a state must not be 0");
        Self { number, name: "" }
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            "" => write!(f, "{}", self.number),
            name => write!(f, "'{name}'"),
        }
    }
}

/// Refuses a state that is one of `others`, too.
#[doc(hidden)]
pub const fn check_id(id: StateId, others: &[StateId]) {
    let mut rest = others;
    while let [other, tail @ ..] = rest {
        assert!(
            id.number != other.number,
            "the patch has two states of this id"
        );
        rest = tail;
    }
}

/// Data that fit where C keeps the data of a state: one word.
///
/// Implemented for integers, for `()`, and for a [`KBox`] of a [`Handover`] type. A patch in C
/// that has the state finds an integer, or a pointer of `kmalloc()`, in `klp_state::data`.
///
/// # Safety
///
/// `take` must be sound for each word that `into_word` has returned in any patch that has the same
/// state, and for any other word a patch in C may have left there. If the type is `Sync`, it must
/// be sound for several tasks to take from copies of the word at once, as long as they forget what
/// they took. `LEADS` must be true if dropping the data frees anything.
pub unsafe trait StateData: Sized {
    /// Whether the word points to the data, and is not the data itself.
    const LEADS: bool;

    /// Gives the data away.
    fn into_word(self) -> usize;

    /// Takes the data, if there are any, and leaves the word that stands for none.
    ///
    /// # Safety
    ///
    /// `word` must be the data of a state of this type, and not be used elsewhere.
    unsafe fn take(word: &mut usize) -> Option<Self>;
}

/// Data for which each word is valid: integers, and `()`.
///
/// # Safety
///
/// `take` must be sound for any word.
pub unsafe trait Word: StateData {}

macro_rules! integers {
    ($($type:ty),*) => {$(
        // SAFETY: All words are valid.
        unsafe impl StateData for $type {
            const LEADS: bool = false;

            fn into_word(self) -> usize {
                self as usize
            }
            unsafe fn take(word: &mut usize) -> Option<Self> {
                Some(*word as $type)
            }
        }
        // SAFETY: As above.
        unsafe impl Word for $type {}
    )*};
}
integers!(u8, u16, u32, usize, i8, i16, i32, isize);

// SAFETY: The word is not read.
unsafe impl StateData for () {
    const LEADS: bool = false;

    fn into_word(self) -> usize {
        0
    }
    unsafe fn take(_word: &mut usize) -> Option<Self> {
        Some(())
    }
}

// SAFETY: As above.
unsafe impl Word for () {}

// SAFETY: The word is a pointer that `into_word` has made, or null. `StateId` and `Conversion`
// promise that other patches with the state and this version of it do the same, and `Handover`
// promises that it means the same to them.
unsafe impl<T: Handover> StateData for KBox<T> {
    const LEADS: bool = true;

    fn into_word(self) -> usize {
        KBox::into_raw(self) as usize
    }
    unsafe fn take(word: &mut usize) -> Option<Self> {
        let data = core::mem::replace(word, 0) as *mut T;
        // SAFETY: If not null, it was made by `into_word`, or by `kmalloc()` in C.
        (!data.is_null()).then(|| unsafe { KBox::from_raw(data) })
    }
}

/// How the data of an earlier version of a state are converted to those of this version.
///
/// # Examples
///
/// ```
/// use kernel::livepatch::Conversion;
///
/// // Version 1 counted seconds.
/// const EARLIER: &[Conversion<usize>] = &[Conversion::of_word(1, |seconds: u32| {
///     seconds as usize * 1000
/// })];
/// ```
pub struct Conversion<D> {
    version: u32,
    /// A `fn(Old) -> D`; only `call` knows the type.
    convert: *const (),
    call: unsafe fn(*const (), &mut usize) -> Option<D>,
}

impl<D: StateData> Conversion<D> {
    /// The conversion from version `version`, whose data were a `T`.
    ///
    /// # Safety
    ///
    /// In all patches that have the state in this version its data must be a `T`.
    pub const unsafe fn new<T: StateData>(version: u32, convert: fn(T) -> D) -> Self {
        /// # Safety
        ///
        /// `convert` must be a `fn(T) -> D`, and `word` the data of a `T`.
        unsafe fn call<T: StateData, D>(convert: *const (), word: &mut usize) -> Option<D> {
            // SAFETY: By the requirement of this function.
            let convert: fn(T) -> D = unsafe { core::mem::transmute(convert) };
            // SAFETY: As above.
            unsafe { T::take(word) }.map(convert)
        }
        Self {
            version,
            convert: convert as *const (),
            call: call::<T, D>,
        }
    }

    /// The conversion from version `version`, whose data were an integer, or none.
    pub const fn of_word<T: Word>(version: u32, convert: fn(T) -> D) -> Self {
        // SAFETY: Each word is a `T`.
        unsafe { Self::new(version, convert) }
    }
}

/// What the replaced patch has left of a state.
pub struct Old<D> {
    /// The version of the state in that patch.
    pub version: u32,
    /// The data, if it has left any, converted if the version was another one. An integer is
    /// always there: 0 if it was not written.
    pub data: Option<D>,
}

/// A change of the system that a patch makes besides replacing functions.
///
/// The functions here are called together with the callbacks of vmlinux, one after the other:
///
/// - before functions are replaced, [`prepare`](Self::prepare) prepares what is needed;
/// - when all tasks use the patch, [`apply`](Self::apply) makes the change, or, if the patch
///   replaces one that has made it, [`take_over`](Self::take_over) takes it over;
/// - before tasks begin to leave the patch, [`revert`](Self::revert) undoes it. The data are
///   dropped when all tasks have left.
///
/// A patch that replaces others must have their states, in the same or a later version; otherwise
/// it is not enabled. A patch that does not replace others cannot have a state that they have.
///
/// All functions may sleep. They must not wait for a patch to be loaded or disabled.
///
/// Wraps C's `struct klp_state` and `klp_get_prev_state()`.
///
/// # Examples
///
/// ```
/// use kernel::{
///     livepatch::{Conversion, Old, State, StateId},
///     prelude::*,
///     sync::atomic::{Atomic, Relaxed},
/// };
///
/// /// Something that others use.
/// static LIMIT: Atomic<i32> = Atomic::new(7);
///
/// /// Raises the limit for as long as the patch is enabled.
/// struct HigherLimit;
///
/// impl State for HigherLimit {
///     const ID: StateId = StateId::new("example.org/higher-limit");
///     const VERSION: u32 = 2;
///     /// What the limit was before.
///     type Data = i32;
///     /// Version 1 kept the same.
///     const EARLIER: &[Conversion<i32>] = &[Conversion::of_word(1, |before: i32| before)];
///
///     fn prepare() -> Result<i32> {
///         Ok(LIMIT.load(Relaxed))
///     }
///
///     fn apply(_before: &i32) {
///         LIMIT.store(15, Relaxed);
///     }
///
///     fn take_over(new: i32, old: Old<i32>) -> i32 {
///         if old.version < 2 {
///             // It was raised less.
///             LIMIT.store(15, Relaxed);
///         }
///         old.data.unwrap_or(new)
///     }
///
///     fn revert(before: &i32) {
///         LIMIT.store(*before, Relaxed);
///     }
/// }
///
/// // What happens when the patch is enabled and disabled:
/// let before = HigherLimit::prepare()?;
/// HigherLimit::apply(&before);
/// assert_eq!(LIMIT.load(Relaxed), 15);
/// HigherLimit::revert(&before);
/// assert_eq!(LIMIT.load(Relaxed), 7);
/// # let old = Old { version: 1, data: Some(3) };
/// # assert_eq!(HigherLimit::take_over(7, old), 3);
/// # Ok::<(), Error>(())
/// ```
pub trait State: 'static {
    /// The name of the state, in this patch and those that follow.
    const ID: StateId;

    /// The version of the state. A later version knows how to deal with all earlier ones.
    const VERSION: u32;

    /// The data that are needed to make and to undo the change.
    type Data: StateData;

    /// How the data of earlier versions are converted to these. A patch that has the state in
    /// another version, without a conversion, is not replaced: enabling the new patch fails.
    const EARLIER: &'static [Conversion<Self::Data>] = &[];

    /// Prepares what is needed to make the change, and to undo it, without making it.
    ///
    /// If it returns an error, the patch is not enabled.
    fn prepare() -> Result<Self::Data>;

    /// Makes the change.
    fn apply(data: &Self::Data);

    /// Takes over the change that the replaced patch has made, and returns the data that undo it.
    /// `new` is what [`prepare`](Self::prepare) has made.
    ///
    /// By default nothing has to be changed, and the old data remain.
    fn take_over(new: Self::Data, old: Old<Self::Data>) -> Self::Data {
        old.data.unwrap_or(new)
    }

    /// Undoes the change.
    fn revert(data: &Self::Data);
}

/// The structure that C expects.
#[doc(hidden)]
pub const fn declare<S: State>() -> bindings::klp_state {
    let mut state: bindings::klp_state = pin_init::zeroed();
    state.id = S::ID.number as c_ulong;
    state.version = S::VERSION;
    state
}

/// Where the data of the state `S` of `patch` are. Callbacks write it, and any code may read it.
///
/// # Safety
///
/// `patch` must be a patch that has the state, and a callback of it must be running.
unsafe fn word<'a, S: State>(patch: *mut bindings::klp_patch) -> &'a Atomic<usize> {
    // SAFETY: The patch is valid.
    let state = unsafe { bindings::klp_get_state(patch, S::ID.number as c_ulong) };
    // SAFETY: The patch has the state.
    unsafe { data(state) }
}

/// The data of a state, as a word.
///
/// # Safety
///
/// `state` must be a state of a patch that stays.
unsafe fn data<'a>(state: *mut bindings::klp_state) -> &'a Atomic<usize> {
    // SAFETY: By the requirement of this function; `klp_mutex` keeps away all but our readers. A
    // pointer can be read as a word.
    unsafe { Atomic::from_ptr((&raw mut (*state).data).cast()) }
}

/// Whether the data of the state `S` in this version can be taken over.
fn can_take<S: State>(version: u32) -> bool {
    version == S::VERSION || S::EARLIER.iter().any(|from| from.version == version)
}

/// Takes the data of the state `S`, in this version.
///
/// # Safety
///
/// `word` must be the data of the state in a patch that has it in this version, and not be used
/// elsewhere.
unsafe fn take_version<S: State>(version: u32, word: &mut usize) -> Option<S::Data> {
    if version == S::VERSION {
        // SAFETY: By the requirement of this function.
        return unsafe { S::Data::take(word) };
    }
    let from = S::EARLIER.iter().find(|from| from.version == version)?;
    // SAFETY: `new` has put the two together, and its caller has promised that the data of this
    // version are of this type.
    unsafe { (from.call)(from.convert, word) }
}

/// Calls `f` with the data that `word` stands for, and leaves them where they are.
///
/// # Safety
///
/// As for [`StateData::take`], but other code may use the data in the same way.
unsafe fn borrow<D: StateData, R>(mut word: usize, f: impl FnOnce(&D) -> R) -> Option<R> {
    // SAFETY: By the requirement of this function. They are not dropped, nor written.
    let data = ManuallyDrop::new(unsafe { D::take(&mut word) }?);
    Some(f(&data))
}

/// Takes the data of the state `S` of this patch, when no reader uses them any more. May sleep.
///
/// # Safety
///
/// `word` must be the data of the state, and a callback of the patch be running.
unsafe fn take<S: State>(word: &Atomic<usize>) -> Option<S::Data> {
    let mut taken = word.xchg(0, Relaxed);
    if S::Data::LEADS && taken != 0 {
        // Wait for readers that have found them, in `read`.
        rcu::synchronize_rcu();
    }
    // SAFETY: By the requirement of this function. No other code has got the word.
    unsafe { S::Data::take(&mut taken) }
}

/// Where a patch has a state.
///
/// # Safety
///
/// To be implemented by [`livepatch!`](super::livepatch): `place` must return the structure of the
/// state in the patch that is declared.
#[doc(hidden)]
pub unsafe trait Placed: State {
    /// The structure that C has.
    fn place() -> *mut bindings::klp_state;
}

/// Reading a state from anywhere in the module of its patch, for example from replacements.
///
/// Implemented for the `states` of [`livepatch!`](super::livepatch) whose data can be shared.
///
/// # Examples
///
/// ```ignore
/// use kernel::livepatch::ReadState;
///
/// /// Replaces a function of the kernel.
/// extern "C" fn live_function() -> c_int {
///     HigherLimit::read(|before| *before).unwrap_or_default()
/// }
/// ```
pub trait ReadState: State {
    /// Calls `f` with the state's data, and returns its result; `None` if there are no data.
    ///
    /// There are data from when [`State::prepare`] has made them, before the first function is
    /// replaced, until no task uses the patch any more. The contents of a [`KBox`] are not there
    /// while they are taken over, from an RCU grace period before [`State::take_over`] until that
    /// has returned. Before, the data are what `prepare` has made. An integer is always there: 0
    /// where there should be none.
    ///
    /// `f` runs under the RCU read lock, and must not sleep. May be called wherever RCU is
    /// watching; takes no other lock.
    fn read<R>(f: impl FnOnce(&Self::Data) -> R) -> Option<R>;
}

impl<S: Placed> ReadState for S
where
    S::Data: Sync,
{
    fn read<R>(f: impl FnOnce(&S::Data) -> R) -> Option<R> {
        let _rcu = rcu::read_lock();
        // SAFETY: It is a static of the module.
        let word = unsafe { data(S::place()) };
        // Pairs with the release in `States::prepare` and `apply`: a reader that sees the word sees
        // what it points to.
        //
        // SAFETY: The word stands for data of the state, or for none. `take` and `apply` wait for
        // RCU before they take them.
        unsafe { borrow(word.load(Acquire), f) }
    }
}

/// The states of a patch, `(A, (B, ()))`.
///
/// # Safety
///
/// For all functions: `patch` must be a patch that has these states, and a callback of its vmlinux
/// object must be running.
#[doc(hidden)]
pub trait States {
    /// Before functions are replaced.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn prepare(patch: *mut bindings::klp_patch) -> Result;

    /// When all tasks use the patch.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn apply(patch: *mut bindings::klp_patch);

    /// Before tasks begin to leave the patch.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn revert(patch: *mut bindings::klp_patch);

    /// When all tasks have left the patch.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn discard(patch: *mut bindings::klp_patch);
}

impl States for () {
    unsafe fn prepare(_patch: *mut bindings::klp_patch) -> Result {
        Ok(())
    }
    unsafe fn apply(_patch: *mut bindings::klp_patch) {}
    unsafe fn revert(_patch: *mut bindings::klp_patch) {}
    unsafe fn discard(_patch: *mut bindings::klp_patch) {}
}

impl<S: State, Rest: States> States for (S, Rest) {
    unsafe fn prepare(patch: *mut bindings::klp_patch) -> Result {
        // SAFETY: A callback is running, in the transition that enables the patch.
        let old = unsafe { bindings::klp_get_prev_state(S::ID.number as c_ulong) };
        // SAFETY: If not null, it belongs to a patch that stays while a callback is running.
        if let Some(old) = unsafe { old.as_ref() } {
            // SAFETY: The patch is valid; the field is never written.
            if !unsafe { (*patch).replace } {
                pr_err!(
                    "livepatch: state {} is there; only a patch that replaces can take it over\n",
                    S::ID
                );
                return Err(EBUSY);
            }
            if !can_take::<S>(old.version) {
                pr_err!(
                    "livepatch: state {} is there in version {}, which version {} does not know\n",
                    S::ID,
                    old.version,
                    S::VERSION
                );
                return Err(EINVAL);
            }
        }
        let data = S::prepare()?;
        // SAFETY: By the requirement of this function.
        let word = unsafe { word::<S>(patch) };
        // Pairs with the acquire in `read`.
        word.store(data.into_word(), Release);
        // SAFETY: By the requirement of this function.
        unsafe { Rest::prepare(patch) }.inspect_err(|_| {
            // SAFETY: They were put there above.
            drop(unsafe { take::<S>(word) });
        })
    }

    unsafe fn apply(patch: *mut bindings::klp_patch) {
        // SAFETY: By the requirement of this function.
        let word = unsafe { word::<S>(patch) };
        // SAFETY: A callback is running, in a transition of the patch.
        let old = unsafe { bindings::klp_get_prev_state(S::ID.number as c_ulong) };
        if old.is_null() {
            // SAFETY: `prepare` put them there. Other code only reads them.
            unsafe { borrow(word.load(Relaxed), S::apply) };
        } else {
            // SAFETY: It belongs to a patch that stays while a callback is running.
            let (version, left) = unsafe { ((*old).version, data(old)) };
            // No callback of the replaced patch will run any more.
            let mut left = left.xchg(0, Relaxed);
            // Readers get the old integers until there are new ones.
            let mut new = match S::Data::LEADS {
                true => word.xchg(0, Relaxed),
                false => word.load(Relaxed),
            };
            if version != S::VERSION || S::Data::LEADS {
                // Wait for readers that have found them: those in this patch, and readers in the
                // replaced one that are not tasks that the transition had to wait for.
                rcu::synchronize_rcu();
            }
            // SAFETY: `prepare` put them there, and no other code has got the word.
            if let Some(new) = unsafe { S::Data::take(&mut new) } {
                // SAFETY: No other code has got the word. The id promises that the data are those
                // of this version.
                let data = unsafe { take_version::<S>(version, &mut left) };
                let data = S::take_over(new, Old { version, data });
                // Pairs with the acquire in `read`.
                word.store(data.into_word(), Release);
            }
        }
        // SAFETY: By the requirement of this function.
        unsafe { Rest::apply(patch) };
    }

    unsafe fn revert(patch: *mut bindings::klp_patch) {
        // In the reverse order of `apply`.
        //
        // SAFETY: By the requirement of this function.
        unsafe { Rest::revert(patch) };
        // SAFETY: As above.
        let word = unsafe { word::<S>(patch) };
        // SAFETY: `apply` put the data there. Other code only reads them.
        unsafe { borrow(word.load(Relaxed), S::revert) };
    }

    unsafe fn discard(patch: *mut bindings::klp_patch) {
        // SAFETY: By the requirement of this function.
        unsafe { Rest::discard(patch) };
        // SAFETY: As above; `prepare` put them there, or `apply`.
        drop(unsafe { take::<S>(word::<S>(patch)) });
    }
}

/// vmlinux, in a patch `P` that has the states `L`, and the hooks `H` besides.
#[doc(hidden)]
pub struct WithStates<P, L, H>(PhantomData<(P, L, H)>);

impl<P: Declared, L: States, H: Hooks> Hooks for WithStates<P, L, H> {
    const HAS: [bool; 4] = [true; 4];

    unsafe fn pre_patch(object: &Object) -> Result {
        // SAFETY: By the requirement of this function.
        unsafe { L::prepare(P::patch()) }?;
        // SAFETY: As above.
        unsafe { H::pre_patch(object) }.inspect_err(|_| {
            // SAFETY: As above. `post_unpatch` will not be called.
            unsafe { L::discard(P::patch()) };
        })
    }

    unsafe fn post_patch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { L::apply(P::patch()) };
        // SAFETY: As above.
        unsafe { H::post_patch(object) };
    }

    unsafe fn pre_unpatch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::pre_unpatch(object) };
        // SAFETY: As above.
        unsafe { L::revert(P::patch()) };
    }

    unsafe fn post_unpatch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::post_unpatch(object) };
        // SAFETY: As above.
        unsafe { L::discard(P::patch()) };
    }
}

#[cfg(CONFIG_LIVEPATCH_RUST_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_livepatch_state)]
mod tests {
    use super::*;

    fn round<D: StateData>(data: D) -> Option<D> {
        let mut word = data.into_word();
        // SAFETY: The word is that of the data.
        unsafe { D::take(&mut word) }
    }

    #[test]
    fn integers_come_back() {
        assert_eq!(round(-7i32), Some(-7));
        assert_eq!(round(i32::MIN), Some(i32::MIN));
        assert_eq!(round(200u8), Some(200));
        assert_eq!(round(usize::MAX), Some(usize::MAX));
        assert_eq!(round(-1isize), Some(-1));
        assert_eq!(round(()), Some(()));
    }

    #[repr(C)]
    struct Pair(u32, u64);

    // SAFETY: No patch uses it.
    unsafe impl Handover for Pair {
        const NAME: &'static str = "kunit/pair";
    }

    #[test]
    fn boxes_are_taken_once() -> Result {
        let mut word = KBox::new(Pair(1, 2), GFP_KERNEL)?.into_word();
        // SAFETY: The word is that of the data.
        let seen = |word| unsafe { borrow::<KBox<Pair>, u64>(word, |pair| pair.1) };
        assert_eq!(seen(word), Some(2));
        // They are still there.
        assert_eq!(seen(word), Some(2));
        // SAFETY: As above.
        let taken = unsafe { KBox::<Pair>::take(&mut word) };
        assert!(taken.is_some_and(|pair| pair.0 == 1));
        // SAFETY: As above.
        assert!(unsafe { KBox::<Pair>::take(&mut word) }.is_none());
        assert_eq!(seen(word), None);
        Ok(())
    }

    struct Sample;

    impl State for Sample {
        // SAFETY: No patch has it.
        const ID: StateId = unsafe { StateId::shared_with_c(5) };
        const VERSION: u32 = 3;
        type Data = u32;
        const EARLIER: &[Conversion<u32>] = &[
            Conversion::of_word(1, |old: u8| u32::from(old) + 100),
            // SAFETY: As above.
            unsafe { Conversion::new(2, |old: KBox<Pair>| old.0) },
        ];

        fn prepare() -> Result<u32> {
            Ok(1)
        }
        fn apply(_data: &u32) {}
        fn revert(_data: &u32) {}
    }

    #[test]
    fn old_data_are_kept() {
        const STATE: bindings::klp_state = declare::<Sample>();
        assert_eq!((STATE.id, STATE.version), (5, 3));
        let old = |data| Old { version: 1, data };
        assert_eq!(Sample::take_over(1, old(Some(9))), 9);
        assert_eq!(Sample::take_over(1, old(None)), 1);
    }

    #[test]
    fn data_of_earlier_versions_are_converted() -> Result {
        // SAFETY: The words are those of the versions.
        let take = |version, word: &mut usize| unsafe { take_version::<Sample>(version, word) };
        assert_eq!(take(3, &mut 7), Some(7));
        assert_eq!(take(1, &mut 7), Some(107));
        let mut word = KBox::new(Pair(9, 2), GFP_KERNEL)?.into_word();
        assert_eq!(take(2, &mut word), Some(9));
        // It was taken: nothing remains to be taken.
        assert_eq!(word, 0);
        assert_eq!(take(2, &mut word), None);
        // It is not known what it is.
        let mut word = 7;
        assert_eq!(take(0, &mut word), None);
        assert_eq!(word, 7);
        let known = [0, 1, 2, 3, 4].map(can_take::<Sample>);
        assert_eq!(known, [false, true, true, true, false]);
        Ok(())
    }

    #[test]
    fn states_have_names() {
        let limit = StateId::new("kunit/limit");
        check_id(limit, &[StateId::new("kunit/other"), Sample::ID]);
        assert!(limit.number > usize::MAX / 2);
    }
}
