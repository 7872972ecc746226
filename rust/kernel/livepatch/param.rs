// SPDX-License-Identifier: GPL-2.0

//! Module parameters that can be written at any time: [`livepatch!`](super::livepatch) makes them
//! of each [`Atomic`] in its `params`. Not for use by hand.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use crate::{
    bindings,
    error::{
        code::*,
        from_result, //
    },
    ffi::{
        c_char,
        c_int, //
    },
    fmt::Write,
    module_param::ModuleParam,
    page::PAGE_SIZE,
    prelude::*,
    str::{
        BStr,
        CStr,
        RawFormatter, //
    },
    sync::atomic::{
        Atomic,
        AtomicType,
        Relaxed, //
    },
};

/// Types that such a parameter can have.
pub trait Param: ModuleParam + AtomicType + 'static {
    /// The value that it gets when its name is given without a value, if that is allowed.
    const ALONE: Option<Self>;

    /// Writes it.
    fn set(param: &Atomic<Self>, value: Self);

    /// Prints it, as C does for its own.
    fn show(param: &Atomic<Self>, to: &mut RawFormatter) -> crate::fmt::Result;
}

macro_rules! params {
    ($($type:ty),*: $shown:expr, alone: $alone:expr) => {$(
        impl Param for $type {
            const ALONE: Option<Self> = $alone;

            fn set(param: &Atomic<Self>, value: Self) {
                param.store(value, Relaxed);
            }

            fn show(param: &Atomic<Self>, to: &mut RawFormatter) -> crate::fmt::Result {
                let shown: fn(Self) -> _ = $shown;
                writeln!(to, "{}", shown(param.load(Relaxed)))
            }
        }
    )*};
}
params!(i8, i16, i32, i64, isize, u32, u64, usize: |number| number, alone: None);
params!(bool: |yes| if yes { 'Y' } else { 'N' }, alone: Some(true));

/// The parameter that `param` has been declared for.
///
/// # Safety
///
/// `param` must be one that [`declare`] has made of a `&'static Atomic<T>`.
unsafe fn target<T: Param>(param: *const bindings::kernel_param) -> &'static Atomic<T> {
    // SAFETY: By the requirement of this function.
    let arg = unsafe { (*param).__bindgen_anon_1.arg };
    // SAFETY: As above.
    unsafe { &*arg.cast() }
}

/// What C calls when the parameter is given to the module, or written in sysfs.
///
/// # Safety
///
/// To be called by C, with a nul-terminated string or null, and one of our parameters.
unsafe extern "C" fn set<T: Param>(
    value: *const c_char,
    param: *const bindings::kernel_param,
) -> c_int {
    from_result(|| {
        let value = if value.is_null() {
            T::ALONE.ok_or(EINVAL)?
        } else {
            // SAFETY: By the requirement of this function.
            let value = unsafe { CStr::from_char_ptr(value) }.to_bytes();
            // As `echo` writes it.
            let value = value.strip_suffix(b"\n").unwrap_or(value);
            T::try_from_param_arg(BStr::from_bytes(value))?
        };
        // SAFETY: As above.
        T::set(unsafe { target(param) }, value);
        Ok(0)
    })
}

/// What C calls when the parameter is read in sysfs.
///
/// # Safety
///
/// To be called by C, with the memory of a page, and one of our parameters.
unsafe extern "C" fn get<T: Param>(
    buffer: *mut c_char,
    param: *const bindings::kernel_param,
) -> c_int {
    from_result(|| {
        // SAFETY: By the requirement of this function.
        let mut to = unsafe { RawFormatter::from_buffer(buffer.cast(), PAGE_SIZE) };
        // SAFETY: As above.
        T::show(unsafe { target(param) }, &mut to).map_err(|_| EINVAL)?;
        Ok(to.bytes_written().min(PAGE_SIZE) as c_int)
    })
}

/// The functions of parameters of a type.
pub struct Ops<T>(core::marker::PhantomData<T>);

impl<T: Param> Ops<T> {
    const OPS: &'static bindings::kernel_param_ops = &bindings::kernel_param_ops {
        flags: if T::ALONE.is_some() {
            bindings::KERNEL_PARAM_OPS_FL_NOARG
        } else {
            0
        },
        set: Some(set::<T>),
        get: Some(get::<T>),
        free: None,
    };
}

/// A parameter, in the form that C expects. All users may read it, and root may write it.
pub const fn declare<T: Param>(
    name: &'static CStr,
    module: *mut bindings::module,
    param: &'static Atomic<T>,
) -> bindings::kernel_param {
    bindings::kernel_param {
        name: crate::str::as_char_ptr_in_const_context(name),
        mod_: module,
        ops: Ops::<T>::OPS,
        perm: 0o644,
        level: -1,
        flags: 0,
        __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 {
            arg: core::ptr::from_ref(param).cast_mut().cast(),
        },
    }
}
