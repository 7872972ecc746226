// SPDX-License-Identifier: GPL-2.0

//! Debug messages that are switched on and off at run time.
//!
//! With `CONFIG_DYNAMIC_DEBUG`, each [`dynamic_pr_debug!`](crate::dynamic_pr_debug) is an entry of
//! `<debugfs>/dynamic_debug/control` with its file, line and function, as a `pr_debug()` in C is.
//! While it is off it costs a branch that is patched out of the code; its arguments are not
//! evaluated.
//!
//! C header: [`include/linux/dynamic_debug.h`](srctree/include/linux/dynamic_debug.h)
//!
//! # Examples
//!
//! ```
//! # const __LOG_PREFIX: &[u8] = b"example\0";
//! # fn reset() {
//! let retries = 3;
//! kernel::dynamic_pr_debug!("reset", "gave up after {} retries\n", retries);
//! # }
//! # reset();
//! ```

#[cfg(CONFIG_DYNAMIC_DEBUG)]
use crate::bindings;
#[cfg(CONFIG_DYNAMIC_DEBUG)]
use crate::ffi::{
    c_char,
    c_void, //
};
use crate::fmt;
#[cfg(CONFIG_DYNAMIC_DEBUG)]
use crate::str::CStrExt as _;
#[cfg(CONFIG_DYNAMIC_DEBUG)]
use core::cell::UnsafeCell;

/// The description of one message, which ends up in an array that the C side owns.
#[cfg(CONFIG_DYNAMIC_DEBUG)]
#[doc(hidden)]
#[repr(transparent)]
pub struct Descriptor(UnsafeCell<bindings::_ddebug>);

// SAFETY: Only the C side writes to it, under a lock of its own; what is read without that lock is
// the static key, which is made for it.
#[cfg(CONFIG_DYNAMIC_DEBUG)]
unsafe impl Sync for Descriptor {}

#[cfg(CONFIG_DYNAMIC_DEBUG)]
impl Descriptor {
    /// Describes a message. All texts are nul-terminated.
    pub const fn new(
        modname: &'static [u8],
        function: &'static str,
        filename: &'static str,
        format: &'static str,
        line: u32,
    ) -> Self {
        let mut this: bindings::_ddebug = pin_init::zeroed();
        this.modname = modname.as_ptr().cast::<c_char>();
        this.function = function.as_ptr().cast::<c_char>();
        this.filename = filename.as_ptr().cast::<c_char>();
        this.format = format.as_ptr().cast::<c_char>();

        // The C side packs `lineno:18`, `class_id:6` and `flags:8` into one word, from its least
        // significant bit on little-endian machines and from the other end on big-endian ones.
        const CLASS: u32 = bindings::_DPRINTK_CLASS_DFLT;
        let line = line & 0x3ffff;
        let word = if cfg!(target_endian = "little") {
            line | CLASS << 18
        } else {
            line << 14 | CLASS << 8
        };
        this._bitfield_1 = bindings::__BindgenBitfieldUnit::new(word.to_ne_bytes());

        Self(UnsafeCell::new(this))
    }

    /// Returns whether the message is switched on, where there are no static keys to tell.
    #[cfg(not(CONFIG_JUMP_LABEL))]
    pub fn is_on(&self) -> bool {
        // SAFETY: The field lives as long as `self`; a racing write by the C side may be seen or
        // not.
        let unit = unsafe { core::ptr::read_volatile(&raw const (*self.0.get())._bitfield_1) };
        let word: u32 = unit.get(0, 32) as u32;
        let flags = if cfg!(target_endian = "little") {
            word >> 24
        } else {
            word
        };
        flags & bindings::_DPRINTK_FLAGS_PRINT != 0
    }

    /// Prints the message, with what the user has chosen to go in front of it.
    #[cold]
    #[inline(never)]
    pub fn print(&'static self, prefix: &'static [u8], args: fmt::Arguments<'_>) {
        // SAFETY: The descriptor is in the array that the C side knows, `prefix` is
        // nul-terminated, and `%pA` takes a pointer to `fmt::Arguments`.
        unsafe {
            bindings::__dynamic_pr_debug(
                self.0.get(),
                c"%s: %pA".as_char_ptr(),
                prefix.as_ptr(),
                core::ptr::from_ref(&args).cast::<c_void>(),
            )
        };
    }
}

/// What is used where dynamic debug is not built in: checks the arguments and prints nothing.
#[doc(hidden)]
#[inline(always)]
pub fn ignore(_args: fmt::Arguments<'_>) {}

/// Prints a debug message (level 7) if the user has switched it on.
///
/// Takes the name of the function that the message is listed under, then what the other
/// `pr_*!` macros take. May be used in any context in which `printk()` may.
#[macro_export]
#[cfg(CONFIG_DYNAMIC_DEBUG)]
#[expect(clippy::crate_in_macro_def)]
macro_rules! dynamic_pr_debug {
    ($function:literal, $format:tt $($arg:tt)*) => {{
        #[link_section = "__dyndbg"]
        #[used(compiler)]
        static DESCRIPTOR: $crate::dynamic_debug::Descriptor =
            $crate::dynamic_debug::Descriptor::new(
                crate::__LOG_PREFIX,
                ::core::concat!($function, "\0"),
                ::core::concat!(::core::file!(), "\0"),
                ::core::concat!($format, "\0"),
                ::core::line!(),
            );

        #[cfg(CONFIG_JUMP_LABEL)]
        // SAFETY: `DESCRIPTOR` is a `_ddebug`, whose field `key` is a static key.
        let on = unsafe {
            $crate::jump_label::arch_static_branch!(
                DESCRIPTOR,
                $crate::bindings::_ddebug,
                key,
                false
            )
        };
        #[cfg(not(CONFIG_JUMP_LABEL))]
        let on = DESCRIPTOR.is_on();

        if on {
            DESCRIPTOR.print(crate::__LOG_PREFIX, $crate::prelude::fmt!($format $($arg)*));
        }
    }};
}

/// Prints nothing: dynamic debug is not built into this kernel.
#[macro_export]
#[cfg(not(CONFIG_DYNAMIC_DEBUG))]
macro_rules! dynamic_pr_debug {
    ($function:literal, $format:tt $($arg:tt)*) => {
        if false {
            $crate::dynamic_debug::ignore($crate::prelude::fmt!($format $($arg)*));
        }
    };
}

pub use dynamic_pr_debug;
