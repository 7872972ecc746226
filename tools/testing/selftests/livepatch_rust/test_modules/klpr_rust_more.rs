// SPDX-License-Identifier: GPL-2.0

//! A patch in Rust with what an author may want besides replacing functions: the original of a
//! function, parameters that can be written, a state that replacements read, and conditional
//! entries.

use kernel::{
    bindings,
    livepatch::{
        livepatch,
        Handover,
        ReadState,
        State,
        StateId, //
    },
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::atomic::Relaxed, //
};

/// Generated from `klpr_rust_more_bindings.h`.
#[rustfmt::skip]
mod klpr_rust_more_bindings;

use klpr_rust_more_bindings::{
    klpr_numbers,
    klpr_sign_KLPR_MINUS,
    KLPR_MORE, //
};

livepatch! {
    name: "klpr_rust_more",
    description: "Livepatch test: originals, parameters, states, conditions",
    license: "GPL",
    params: {
        /// What is added to the original's result.
        add: Atomic<i32> {
            default: 1000,
            description: "what is added",
        },
        negative: Atomic<bool> {
            default: false,
            description: "whether it is taken away",
        },
        #[cfg(not(MODULE))]
        missing: Atomic<u64> {
            default: 0,
            description: "not there",
        },
        fail: bool {
            default: false,
            description: "whether the state refuses the patch",
        },
    },
    states: [
        /// Not there.
        #[cfg(not(MODULE))]
        Missing,
        Bonus,
    ],
    objects: {
        vmlinux: {
            // SAFETY: As in fs/proc/cmdline.c.
            functions: unsafe [
                /// The command line of the boot loader.
                #[original(pub(crate) boot_line)]
                unsafe extern "C" fn cmdline_proc_show(
                    seq: *mut bindings::seq_file,
                    v: *mut c_void,
                ) -> c_int => live_cmdline,
            ],
        },
        klpr_target: {
            // SAFETY: As in klpr_target_main.c.
            functions: unsafe [
                #[cfg(not(MODULE))]
                #[original(nothing)]
                extern "C" fn klpr_target_missing() -> c_int => missing_one,
                #[original(original_one)]
                #[cfg(MODULE)]
                extern "C" fn klpr_target_one() -> c_int => one,
                #[cfg(MODULE)]
                extern "C" fn klpr_target_two() -> c_int => two,
                #[original(original_sleep_hard)]
                extern "C" fn klpr_target_sleep_hard() -> c_int => sleep_hard,
                #[cfg(not(MODULE))]
                extern "C" fn klpr_target_two() -> c_int => missing_one,
                #[original(original_many)]
                extern "C" fn klpr_target_many(
                    a: c_int, b: c_int, c: c_int, d: c_int, e: c_int, f: c_int,
                    g: c_int, h: c_int, i: c_long, j: c_int,
                ) -> c_long => many,
                unsafe extern "C" fn klpr_target_sum(numbers: *const klpr_numbers) -> c_long => sum,
            ],
        },
        #[cfg(not(MODULE))]
        klpr_missing: {
            // SAFETY: It is not there.
            functions: unsafe [
                #[original(nothing)]
                extern "C" fn klpr_target_one() -> c_int => missing_one,
            ],
        },
    },
}

/// What is added for as long as the patch is enabled.
#[repr(C)]
struct Amount {
    prepared: c_int,
}

// SAFETY: An integer, in all patches.
unsafe impl Handover for Amount {
    const NAME: &'static str = "klpr/amount";
}

struct Bonus;

impl State for Bonus {
    const ID: StateId = StateId::new("klpr/bonus");
    const VERSION: u32 = 1;
    type Data = KBox<Amount>;

    fn prepare() -> Result<KBox<Amount>> {
        if module_parameters::fail.value() {
            return Err(ENOSPC);
        }
        Ok(KBox::new(Amount { prepared: 10_000 }, GFP_KERNEL)?)
    }

    fn apply(_amount: &KBox<Amount>) {
        pr_info!("state: {:?} while it is made\n", bonus());
    }

    fn revert(_amount: &KBox<Amount>) {
        pr_info!("state: {:?} while it is undone\n", bonus());
    }
}

fn bonus() -> Option<c_int> {
    Bonus::read(|amount| amount.prepared)
}

unsafe extern "C" fn live_cmdline(seq: *mut bindings::seq_file, v: *mut c_void) -> c_int {
    // SAFETY: As this function.
    let result = unsafe { boot_line(seq, v) };
    // SAFETY: The caller promises that the file is this call's.
    seq_print!(unsafe { SeqFile::from_raw(seq) }, "and more\n");
    result
}

extern "C" fn one() -> c_int {
    let sign = if negative.load(Relaxed) { -1 } else { 1 };
    // SAFETY: This is what it is replaced by.
    unsafe { original_one() + sign * add.load(Relaxed) + bonus().unwrap_or(0) }
}

/// Its last thing is to call the other replacement's original.
extern "C" fn two() -> c_int {
    // SAFETY: The object is patched, as this is one of its replacements.
    unsafe { original_one() }
}

/// Sleeps in the original, and calls another one when it is awake again.
extern "C" fn sleep_hard() -> c_int {
    // SAFETY: This is what it is replaced by.
    let result = unsafe { original_sleep_hard() };
    // SAFETY: The object is patched, as this is one of its replacements.
    pr_info!("awake, and calls {}\n", unsafe { original_one() });
    result
}

extern "C" fn many(
    a: c_int,
    b: c_int,
    c: c_int,
    d: c_int,
    e: c_int,
    f: c_int,
    g: c_int,
    h: c_int,
    i: c_long,
    j: c_int,
) -> c_long {
    // SAFETY: This is what it is replaced by.
    unsafe { original_many(a, b, c, d, e, f, g, h, i + 1, j + 1) }
}

/// # Safety
///
/// As for `klpr_target_sum()`: the numbers are there.
unsafe extern "C" fn sum(numbers: *const klpr_numbers) -> c_long {
    // SAFETY: By the requirement of this function.
    let numbers = unsafe { &*numbers };
    let [second, third] = numbers.rest;
    let sum = c_long::from(numbers.first) + second + third + KLPR_MORE as c_long;
    match numbers.sign {
        klpr_sign_KLPR_MINUS => -sum,
        _ => sum,
    }
}
