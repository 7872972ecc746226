// SPDX-License-Identifier: GPL-2.0

//! Calls of a function that is replaced: past the hook at its beginning, so that they do not end up
//! in the replacement.

use super::{
    callbacks::{
        Hooks,
        Object, //
    },
    declare::Declared, //
};
use crate::{
    bindings,
    error::{
        code::*,
        Result, //
    },
    ftrace,
    prelude::*,
    str::CStr,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};
use core::marker::PhantomData;

/// Where a function continues behind its hook. Read by the code of `livepatch_original!`.
#[repr(C)]
pub struct Behind {
    address: Atomic<*const ()>,
    /// The value that r2 must have there, on powerpc.
    toc: Atomic<usize>,
}

impl Behind {
    /// A function that is not known yet.
    pub const fn unknown() -> Self {
        Self {
            address: Atomic::new(unknown as *const ()),
            toc: Atomic::new(0),
        }
    }
}

/// Called for a function that is not known yet, which callers have promised not to call.
pub extern "C" fn unknown() {
    panic!("the original of a function was called while its object is not patched");
}

/// Defines the code `$label`, which continues in the function of `$behind`, with the arguments that
/// it was called with, and returns to its caller from there.
///
/// - x86_64: a direct jump, of the form of a static call's trampoline, so that the functions for
///   these can change it. It needs no mark for indirect jumps (IBT), and no retpoline.
/// - s390: an indirect jump, by a register that has no argument.
/// - powerpc: the same, with the r2 that the function needs. It must be called by a pointer, as the
///   caller then restores its own r2.
#[doc(hidden)]
#[macro_export]
macro_rules! livepatch_original {
    ($label:literal, $behind:ident) => {
        #[cfg(target_arch = "x86_64")]
        $crate::livepatch_original!(
            @define $label,
            [
                // Its address is taken, but never used for a jump: no mark for IBT is missing
                // (ANNOTATE_NOENDBR).
                ".pushsection .discard.annotate_insn, \"M\", @progbits, 8\n",
                ".long ", $label, " - .\n",
                ".long 1\n",
                ".popsection\n",
                "jmp {unknown}\n",
            ],
            [
                // The kernel recognizes it by this: ud1 %esp, %ecx. It is not part of the function,
                // where objtool would find that it is never reached.
                ".byte 0x0f, 0xb9, 0xcc\n",
            ],
            unknown = $crate::livepatch::declare::unknown
        );

        #[cfg(target_arch = "s390x")]
        $crate::livepatch_original!(
            @define $label,
            [
                "larl %r1, {behind}\n",
                "lg %r1, 0(%r1)\n",
                "br %r1\n",
            ],
            [],
            behind = $behind
        );

        #[cfg(target_arch = "powerpc64")]
        $crate::livepatch_original!(
            @define $label,
            [
                // A caller by a pointer has it in r12.
                "addis 11, 12, ({behind} - ", $label, ")@ha\n",
                "addi 11, 11, ({behind} - ", $label, ")@l\n",
                "ld 12, 0(11)\n",
                "ld 2, 8(11)\n",
                "mtctr 12\n",
                "bctr\n",
            ],
            [],
            behind = $behind
        );

        #[cfg(not(any(
            target_arch = "x86_64",
            target_arch = "s390x",
            target_arch = "powerpc64",
        )))]
        ::core::compile_error!("the original cannot be called on this architecture");
    };
    // The function `$label` with this code, and what is behind it.
    (
        @define $label:literal,
        [$($code:literal,)*],
        [$($after:literal,)*],
        $name:ident = $symbol:path
    ) => {
        ::core::arch::global_asm!(
            ::core::concat!(
                "\n.pushsection .text, \"ax\", @progbits\n",
                ".balign 16\n",
                ".type ", $label, ", @function\n",
                $label, ":\n",
                $($code,)*
                ".size ", $label, ", . - ", $label, "\n",
                $($after,)*
                ".popsection\n",
            ),
            $name = sym $symbol,
        );
    };
}

/// Returns `function`, hidden from the compiler.
#[inline(always)]
pub fn by_pointer(mut function: *const ()) -> *const () {
    // SAFETY: A comment for the assembler.
    unsafe {
        core::arch::asm!(
            "/* {} */",
            inout(reg) function,
            options(nostack, preserves_flags)
        )
    };
    function
}

/// The value of r2 that the function at `entry` needs.
///
/// # Safety
///
/// `entry` must be the entry of a function of the kernel or of a module, which stays loaded.
#[cfg(target_arch = "powerpc64")]
unsafe fn toc(entry: usize) -> usize {
    /// `addis r2, r12, <upper half>` and `addi r2, r2, <lower half>`, in the kernel.
    const UPPER: u32 = 0x3c4c_0000;
    const LOWER: u32 = 0x3842_0000;
    /// `ld r2, <distance>(r12)` and `add r2, r2, r12`, in modules: adds what is stored there.
    const LOAD: u32 = 0xe84c_0000;
    const ADD: u32 = 0x7c42_6214;
    const IMMEDIATE: u32 = 0xffff;

    // SAFETY: By the requirement of this function.
    let [first, second] = unsafe { (entry as *const [u32; 2]).read_volatile() };
    let immediate = |instruction: u32| (instruction & IMMEDIATE) as i16 as isize as usize;
    match (first & !IMMEDIATE, second) {
        (UPPER, second) if second & !IMMEDIATE == LOWER => {
            return entry
                .wrapping_add(immediate(first) << 16)
                .wrapping_add(immediate(second));
        }
        (LOAD, ADD) => {
            let distance = entry.wrapping_add(immediate(first)) as *const usize;
            // SAFETY: The function reads it, as its first instruction says.
            return entry.wrapping_add(unsafe { distance.read() });
        }
        _ => (),
    }
    // It takes r2 as it is, or does not use it: the kernel's r2, as this is code of the kernel.
    let kernel: usize;
    // SAFETY: Reads a register.
    unsafe { core::arch::asm!("mr {}, 2", out(reg) kernel, options(pure, nomem, nostack)) };
    kernel
}

/// Finds where `func` continues behind its hook, for the code `stub` of `livepatch_original!` that
/// has `behind`. May sleep.
///
/// # Errors
///
/// `EINVAL`: the function has no hook.
///
/// # Safety
///
/// `func` must be a function whose object is about to be patched, or has been. `stub` must be the
/// code of `behind`, which no task runs yet: its callers promise that the object is patched.
pub unsafe fn resolve(
    func: *const bindings::klp_func,
    behind: &'static Behind,
    stub: *const (),
) -> Result {
    // SAFETY: The core has found the address, and does not write it while the object is there.
    let entry = unsafe { (*func).old_func } as usize;
    let Some(hook) = ftrace::location(entry) else {
        // SAFETY: The name is nul-terminated, and stays.
        let name = unsafe { CStr::from_char_ptr((*func).old_name) };
        pr_err!("livepatch: '{}' has no hook to call it past\n", name);
        return Err(EINVAL);
    };
    #[cfg(target_arch = "powerpc64")]
    // SAFETY: It is the entry of the function, whose object is loaded.
    behind.toc.store(unsafe { toc(entry) }, Relaxed);
    let address = core::ptr::without_provenance(ftrace::return_address(hook));
    // SAFETY: By the requirement of this function.
    unsafe { lead_to(address, behind, stub) };
    Ok(())
}

/// Makes the code `stub` of `behind` call [`unknown`] again, which needs no r2. May sleep.
///
/// # Safety
///
/// As for [`resolve`].
pub unsafe fn forget(behind: &'static Behind, stub: *const ()) {
    // SAFETY: By the requirement of this function.
    unsafe { lead_to(unknown as *const (), behind, stub) };
}

/// Makes the code `stub` of `behind` continue at an address.
///
/// # Safety
///
/// As for [`resolve`].
unsafe fn lead_to(address: *const (), behind: &'static Behind, stub: *const ()) {
    behind.address.store(address, Relaxed);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: It has the form of a trampoline, by the requirement of this function.
    unsafe {
        bindings::arch_static_call_transform(
            core::ptr::null_mut(),
            stub.cast_mut().cast(),
            address.cast_mut().cast(),
            false,
        )
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = stub;
}

/// The functions of an object that the patch calls.
pub trait Originals {
    /// Finds where they continue behind their hooks.
    ///
    /// # Safety
    ///
    /// The object must be about to be patched.
    unsafe fn resolve() -> Result;

    /// Forgets them.
    ///
    /// # Safety
    ///
    /// The object must not be patched any more.
    unsafe fn forget();
}

/// An object with functions that the patch `P` calls, and the hooks `H` besides.
pub struct WithOriginals<P, O, H>(PhantomData<(P, O, H)>);

impl<P: Declared, O: Originals, H: Hooks> Hooks for WithOriginals<P, O, H> {
    const HAS: [bool; 4] = [true, H::HAS[1], H::HAS[2], true];

    unsafe fn pre_patch(object: &Object) -> Result {
        // SAFETY: By the requirement of this function.
        let resolved = unsafe { O::resolve() };
        // SAFETY: As above.
        resolved
            .and_then(|()| unsafe { H::pre_patch(object) })
            .inspect_err(|_| {
                // SAFETY: It is not going to be patched.
                unsafe { O::forget() };
            })
    }

    unsafe fn post_patch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::post_patch(object) };
    }

    unsafe fn pre_unpatch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::pre_unpatch(object) };
    }

    unsafe fn post_unpatch(object: &Object) {
        // SAFETY: By the requirement of this function.
        unsafe { H::post_unpatch(object) };
        // SAFETY: The patch is valid while the core calls, which writes the field before.
        if unsafe { (*P::patch()).forced } {
            // Tasks may still be in its replacements, and call them later.
            return;
        }
        // SAFETY: It is not patched any more.
        unsafe { O::forget() };
    }
}
