// SPDX-License-Identifier: GPL-2.0

//! A livepatch written in Rust: replaces the function behind `/proc/cmdline`.
//!
//! ```text
//! # insmod rust_livepatch_sample.ko
//! # cat /proc/cmdline
//! this has been live patched
//! # echo 0 > /sys/kernel/livepatch/rust_livepatch_sample/enabled
//! # cat /proc/cmdline
//! (what it was before)
//! # rmmod rust_livepatch_sample
//! ```

use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    types::Opaque, //
};

module! {
    type: Sample,
    name: "rust_livepatch_sample",
    authors: ["The Rust livepatch authors"],
    description: "Livepatch sample in Rust: /proc/cmdline",
    license: "GPL",
}

/// Marks the module as a livepatch, for the module loader and for the core.
#[link_section = ".modinfo"]
#[used(compiler)]
static LIVEPATCH: [u8; 12] = *b"livepatch=Y\0";

/// Takes the place of `cmdline_proc_show()` of `fs/proc/cmdline.c`.
///
/// # Safety
///
/// As for the function that it replaces: `seq` is a file that this call alone writes to.
unsafe extern "C" fn cmdline_proc_show(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
    // SAFETY: By the requirement of this function.
    let seq = unsafe { SeqFile::from_raw(seq) };
    seq_print!(seq, "this has been live patched\n");
    0
}

/// What the core is told, and where it keeps its notes.
#[repr(transparent)]
struct Shared<T>(Opaque<T>);

// SAFETY: The core protects it by a lock of its own; we write to it before the core knows it.
unsafe impl<T> Sync for Shared<T> {}

const fn replacement(
    old_name: &'static CStr,
    new_func: unsafe extern "C" fn(*mut bindings::seq_file, *mut c_void) -> c_int,
) -> bindings::klp_func {
    let mut func: bindings::klp_func = pin_init::zeroed();
    func.old_name = old_name.as_ptr().cast();
    func.new_func = new_func as *mut c_void;
    func
}

/// The functions, up to one that is all zero.
static FUNCS: Shared<[bindings::klp_func; 2]> = Shared(Opaque::new([
    replacement(c"cmdline_proc_show", cmdline_proc_show),
    pin_init::zeroed(),
]));

/// The objects, up to one that is all zero. One without a name is vmlinux.
static OBJECTS: Shared<[bindings::klp_object; 2]> = Shared(Opaque::new({
    let mut vmlinux: bindings::klp_object = pin_init::zeroed();
    vmlinux.funcs = FUNCS.0.get().cast();
    [vmlinux, pin_init::zeroed()]
}));

static PATCH: Shared<bindings::klp_patch> = Shared(Opaque::new({
    let mut patch: bindings::klp_patch = pin_init::zeroed();
    patch.objs = OBJECTS.0.get().cast();
    patch
}));

struct Sample;

impl kernel::Module for Sample {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let patch = PATCH.0.get();
        // SAFETY: The core does not know the patch yet, and this runs once.
        unsafe { (*patch).mod_ = module.as_ptr() };
        // SAFETY: The patch is filled in. It and what it points to stay until the module is
        // unloaded, which the core does not allow before it has let go of it.
        to_result(unsafe { bindings::klp_enable_patch(patch) })?;
        Ok(Self)
    }
}
