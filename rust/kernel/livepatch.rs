// SPDX-License-Identifier: GPL-2.0

//! Writing livepatches.
//!
//! A livepatch is a module that replaces functions of the running kernel. [`livepatch!`] declares
//! one: which functions of which objects (vmlinux or modules) are replaced by which of the module's
//! own, and what else belongs to the patch. From the declaration it makes the module: loading it
//! enables the patch, and it can be unloaded once the patch is disabled.
//!
//! The declaration is checked when the patch is compiled. The type of each replaced function is
//! written down once, or taken from `bindings`, and its replacement must have exactly that type.
//! `make check-patch` checks whether the kernel's function has it, too, by the kernel's debug
//! information.
//!
//! | in C                                       | here                                         |
//! | ------------------------------------------ | -------------------------------------------- |
//! | `struct klp_patch`, `klp_object`, `klp_func` | [`livepatch!`]                             |
//! | `module_init()`, `MODULE_INFO(livepatch, "Y")` | [`livepatch!`]                           |
//! | global variables of the module             | the patch's own state, [`Patch`]             |
//! | `struct klp_callbacks`                     | [`Callbacks`]                                |
//! | `struct klp_state`, `klp_get_prev_state()` | [`State`]                                    |
//! | `klp_shadow_get()`, …                      | [`Shadow`], [`SharedShadow`]                 |
//!
//! `Documentation/livepatch/rust.rst` is a tutorial, and lists what a replacement must not do.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)
//!
//! # Examples
//!
//! ```ignore
//! use kernel::{bindings, livepatch::livepatch, prelude::*, seq_file::SeqFile, seq_print};
//!
//! livepatch! {
//!     name: "rust_livepatch_sample",
//!     authors: ["The Rust livepatch authors"],
//!     description: "Livepatch sample in Rust: /proc/cmdline",
//!     license: "GPL",
//!     objects: {
//!         vmlinux: {
//!             // SAFETY: As in fs/proc/cmdline.c.
//!             functions: unsafe [
//!                 unsafe extern "C" fn cmdline_proc_show(
//!                     seq: *mut bindings::seq_file,
//!                     v: *mut c_void,
//!                 ) -> c_int => live_cmdline,
//!             ],
//!         },
//!     },
//! }
//!
//! /// # Safety
//! ///
//! /// As for the function that it replaces: `seq` is a file that this call alone writes to.
//! unsafe extern "C" fn live_cmdline(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
//!     // SAFETY: By the requirement of this function.
//!     let seq = unsafe { SeqFile::from_raw(seq) };
//!     seq_print!(seq, "this has been live patched\n");
//!     0
//! }
//! ```

mod callbacks;
#[doc(hidden)]
pub mod declare;
mod original;
#[doc(hidden)]
pub mod param;
mod patch;
mod percpu;
mod shadow;
mod state;

pub use self::{
    callbacks::{
        Callbacks,
        Object, //
    },
    patch::{
        Access,
        Patch, //
    },
    percpu::PerCpu,
    shadow::{
        CShadow,
        Ref,
        Shadow,
        SharedShadow, //
    },
    state::{
        Conversion,
        Old,
        ReadState,
        State,
        StateData,
        StateId,
        Word, //
    },
};

pub use macros::livepatch;

/// Data that is handed over from one patch to another.
///
/// A patch that replaces another is a module of its own, built by itself, perhaps years later. What
/// one leaves for the other, in a [`SharedShadow`] or in the data of a [`State`], is read by code
/// that was compiled separately from the code that wrote it, and after that code was unloaded.
///
/// # Safety
///
/// - In all patches that have a type of this name, the type must have the same layout, and its
///   values the same meaning. `#[repr(C)]` structures of integers and pointers that never change
///   meet this. A type that has changed needs another name.
/// - Its values must not lead into the module of the patch that has made them: no function
///   pointers, no trait objects, no `&'static` or other pointers to statics, and no locks, whose
///   classes are statics. What they own must be freed in the same way by all these patches: `KBox`
///   is.
pub unsafe trait Handover: Send + Sync + 'static {
    /// The name of the type, in all patches, present and future. It begins with the author's own
    /// name and a slash: `"example.org/uses"`.
    const NAME: &'static str;
}
