// SPDX-License-Identifier: GPL-2.0

//! A patch in Rust that reads variables of the kernel and of a module that are not exported.

use kernel::{
    bindings,
    cpu::CpuId,
    livepatch::livepatch,
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};

livepatch! {
    name: "klpr_rust_data",
    description: "Livepatch test: variables that are not exported",
    license: "GPL",
    objects: {
        vmlinux: {
            // SAFETY: As in fs/proc/cmdline.c.
            functions: unsafe [
                unsafe extern "C" fn cmdline_proc_show(
                    seq: *mut bindings::seq_file,
                    v: *mut c_void,
                ) -> c_int => live_cmdline,
            ],
            // SAFETY: As in init/main.c and arch/x86/kernel/setup_percpu.c.
            symbols: unsafe [
                /// The command line of the boot loader.
                static saved_command_line: *const c_char,
                #[percpu]
                static cpu_number: c_int,
                #[cfg(not(MODULE))]
                static klpr_missing: c_int,
            ],
        },
        klpr_target: {
            // SAFETY: As in klpr_target_main.c.
            symbols: unsafe [
                pub(crate) static klpr_released: bool,
            ],
        },
    },
}

unsafe extern "C" fn live_cmdline(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
    // SAFETY: By the requirement of this function.
    let seq = unsafe { SeqFile::from_raw(seq) };
    // SAFETY: It is written once, when the kernel boots.
    let line = unsafe { CStr::from_char_ptr(saved_command_line().read()) };
    seq_print!(seq, "{} characters", line.to_bytes().len());
    // Those of CPUs 0 and 1, if both exist.
    for cpu in (0..2).filter_map(CpuId::from_u32) {
        // SAFETY: It is written once, when the CPU is set up.
        seq_print!(seq, ", CPU {}", unsafe { cpu_number().of(cpu).read() });
    }
    seq_print!(seq, ", ");
    // SAFETY: Other code may write it, and reading it does no harm. The test does not unload the
    // module meanwhile.
    match klpr_released().map(|released| unsafe { released.read_volatile() }) {
        None => seq_print!(seq, "no target\n"),
        Some(released) => seq_print!(seq, "released: {}\n", released),
    }
    0
}
