// SPDX-License-Identifier: GPL-2.0

//! Kernel objects, and their files in sysfs.
//!
//! A [`Kobject`] is embedded in a structure that implements [`HasKobject`]. It counts the
//! references to the structure, and makes it a folder in sysfs. The files in there are
//! [`Attribute`]s, of which a [`KobjType`] has the list:
//!
//! - implement [`Show`], [`Store`] or both for a type that stands for the file,
//! - make an [`Attribute`] of it, an [`Attributes`] of all of them, a [`Group`] of that, [`Groups`]
//!   of the group, and a [`KobjType`] of these, all in statics;
//! - [`Kobject::init`] the kobject with the type, and [`Kobject::add`] it to its parent.
//!
//! C header: [`include/linux/kobject.h`](srctree/include/linux/kobject.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{kobject::*, prelude::*};
//!
//! #[repr(C)]
//! struct Engine {
//!     kobj: Kobject,
//!     power: usize,
//! }
//!
//! // SAFETY: `OFFSET` is that of `kobj`.
//! unsafe impl HasKobject for Engine {
//!     const OFFSET: usize = core::mem::offset_of!(Engine, kobj);
//!
//!     unsafe fn release(this: &Self) {
//!         // SAFETY: It was leaked below, and the last reference is gone.
//!         drop(unsafe { KBox::from_raw(core::ptr::from_ref(this).cast_mut()) });
//!     }
//! }
//!
//! /// The file `power`.
//! struct Power;
//!
//! impl Show<Engine> for Power {
//!     fn show(engine: &Engine, page: &mut Page) -> Result<usize> {
//!         Ok(page.emit_number(engine.power))
//!     }
//! }
//!
//! static POWER: Attribute<Engine> = Attribute::read_only::<Power>(c"power");
//! static ATTRIBUTES: Attributes<Engine, 1> = Attributes::new([&POWER]);
//! static GROUP: Group<Engine> = Group::new(&ATTRIBUTES);
//! static GROUPS: Groups<Engine> = Groups::new(&GROUP);
//! static TYPE: KobjType<Engine> = KobjType::new(&GROUPS);
//!
//! let engine = KBox::into_raw(KBox::new(
//!     Engine {
//!         kobj: Kobject::zeroed(),
//!         power: 90,
//!     },
//!     GFP_KERNEL,
//! )?);
//! // SAFETY: The engine stays in place until it is released.
//! let engine = unsafe { Kobject::init(engine, &TYPE) };
//! let root = Kobject::create_and_add(c"rust_kobject_example", None)?;
//! let added = engine.kobj.add(&root, c"engine");
//! // SAFETY: The reference is the one of `init`; `engine` is not used any more.
//! unsafe { engine.kobj.put() };
//! added?;
//! # Ok::<(), Error>(())
//! ```

use crate::{
    bindings,
    error::{
        to_result,
        Result, //
    },
    ffi::{
        c_char,
        c_ulong,
        c_ushort, //
    },
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};

/// A kernel object: `struct kobject`.
///
/// # Invariants
///
/// A kobject to which there is an [`ARef`] is initialised.
#[repr(transparent)]
pub struct Kobject(Opaque<bindings::kobject>);

// SAFETY: What can be done with a shared reference is locked by the C side.
unsafe impl Send for Kobject {}
// SAFETY: As above.
unsafe impl Sync for Kobject {}

// SAFETY: A kobject counts its references.
unsafe impl AlwaysRefCounted for Kobject {
    fn inc_ref(&self) {
        // SAFETY: There is a reference, so that the count is not zero.
        unsafe { bindings::kobject_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up its reference; `Kobject` is a transparent wrapper.
        unsafe { bindings::kobject_put(obj.cast().as_ptr()) };
    }
}

/// A structure with a [`Kobject`] in it, which counts the references to the structure.
///
/// # Safety
///
/// `OFFSET` must be that of a field of the type [`Kobject`].
pub unsafe trait HasKobject: Sync + Sized + 'static {
    /// Where in the structure the kobject is, in bytes.
    const OFFSET: usize;

    /// Called when the last reference to the kobject is gone, by the code that has dropped it, or
    /// by a work item. May sleep.
    ///
    /// # Safety
    ///
    /// To be called by the C side only, once. No other code uses the structure any more, so that
    /// this may free it.
    unsafe fn release(this: &Self);
}

impl Kobject {
    /// A kobject that is not initialised yet, as [`Kobject::init`] wants it to be.
    pub const fn zeroed() -> Self {
        Self(Opaque::zeroed())
    }

    fn as_raw(&self) -> *mut bindings::kobject {
        self.0.get()
    }

    /// Makes `/sys/NAME`, or a folder of that name in the one of `parent`. May sleep.
    ///
    /// Wraps C's `kobject_create_and_add()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if there is one of that name: the C side does not tell which.
    pub fn create_and_add(name: &CStr, parent: Option<&Kobject>) -> Result<ARef<Kobject>> {
        let parent = parent.map_or(ptr::null_mut(), Kobject::as_raw);
        // SAFETY: The name is nul-terminated, and the parent null or initialised.
        let kobj = unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), parent) };
        let kobj = NonNull::new(kobj).ok_or(ENOMEM)?;
        // SAFETY: The reference that C returns becomes that of the `ARef`.
        Ok(unsafe { ARef::from_raw(kobj.cast()) })
    }

    /// As [`Self::create_and_add`], in `/sys/kernel`. To be called once `kernel_kobj` was made,
    /// that is, from `core_initcall()` on.
    ///
    /// # Errors
    ///
    /// As for [`Self::create_and_add`].
    pub fn create_in_kernel(name: &CStr) -> Result<ARef<Kobject>> {
        // SAFETY: Null before it is set, at boot; it stays for good.
        let parent = unsafe { bindings::kernel_kobj.cast::<Kobject>().as_ref() };
        Self::create_and_add(name, Some(parent.ok_or(ENODEV)?))
    }

    /// Initialises the kobject of `object`, and returns the object. The caller gets the first
    /// reference, to be given back by [`Kobject::put`].
    ///
    /// Wraps C's `kobject_init()`.
    ///
    /// # Safety
    ///
    /// `object` must be valid, and stay in place, until [`HasKobject::release`] is called. Its
    /// kobject must be zeroed.
    pub unsafe fn init<'a, T: HasKobject>(
        object: *const T,
        kobj_type: &'static KobjType<T>,
    ) -> &'a T {
        // SAFETY: By the requirements of this function and of `HasKobject`.
        let kobj = unsafe { object.byte_add(T::OFFSET).cast::<Kobject>() };
        // SAFETY: The kobject is valid and zeroed.
        unsafe {
            bindings::kobject_init(Opaque::cast_into(&raw const (*kobj).0), &kobj_type.inner)
        };
        // SAFETY: The object is valid.
        unsafe { &*object }
    }

    /// Makes the folder `name` in that of `parent`, with the files of the type. May sleep.
    ///
    /// # Errors
    ///
    /// - `EEXIST`: there is one of that name.
    /// - `ENOMEM`.
    ///
    /// The kobject is to be [`put`](Self::put) in any case.
    pub fn add(&self, parent: &Kobject, name: &CStr) -> Result {
        // SAFETY: Both are initialised; the format takes a string.
        to_result(unsafe {
            bindings::kobject_add(
                self.as_raw(),
                parent.as_raw(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })
    }

    /// As [`Self::add`], for the folder `name,number`.
    ///
    /// # Errors
    ///
    /// As for [`Self::add`].
    pub fn add_numbered(&self, parent: &Kobject, name: &CStr, number: usize) -> Result {
        // SAFETY: Both are initialised; the format takes a string and an `unsigned long`.
        to_result(unsafe {
            bindings::kobject_add(
                self.as_raw(),
                parent.as_raw(),
                c"%s,%lu".as_char_ptr(),
                name.as_char_ptr(),
                number as c_ulong,
            )
        })
    }

    /// Gives back the reference that [`Kobject::init`] has returned. May sleep: if it was the last,
    /// the folder is removed, once its files are not in use any more, and the object released.
    ///
    /// # Safety
    ///
    /// To be called once for each call of [`Kobject::init`], after which the caller does not use
    /// the object unless another reference keeps it.
    pub unsafe fn put(&self) {
        // SAFETY: The caller gives up its reference.
        unsafe { bindings::kobject_put(self.as_raw()) };
    }
}

/// The page that a reader of a file gets.
pub struct Page(*mut c_char);

impl Page {
    /// Writes a number and a newline, in the place of what is there, and returns the length.
    pub fn emit_number(&mut self, number: usize) -> usize {
        // SAFETY: sysfs has given the page; the format takes an `unsigned long`.
        let len =
            unsafe { bindings::sysfs_emit(self.0, c"%lu\n".as_char_ptr(), number as c_ulong) };
        usize::try_from(len).unwrap_or(0)
    }

    /// Writes the name of the symbol that `addr` is in, and a newline, in the place of what is
    /// there, and returns the length. The name of its module follows in brackets if it is in one;
    /// where there is no symbol, nothing comes before the newline.
    ///
    /// Wraps the format `%ps` of C's `vsprintf()`.
    #[cfg(CONFIG_KALLSYMS)]
    pub fn emit_symbol(&mut self, addr: usize) -> usize {
        let emit = |format: &CStr| {
            let addr = ptr::without_provenance::<u8>(addr);
            // SAFETY: sysfs has given the page; the formats take a pointer, which they do not
            // follow, or nothing.
            let len = unsafe { bindings::sysfs_emit(self.0, format.as_char_ptr(), addr) };
            usize::try_from(len).unwrap_or(0)
        };
        let len = emit(c"%ps\n");
        // No name begins with a digit: there is no symbol, and what was written is the address.
        // SAFETY: As above; something was written.
        if len == 0 || unsafe { *self.0 } == b'0' as c_char {
            return emit(c"\n");
        }
        len
    }
}

/// A file that can be read.
pub trait Show<T> {
    /// Writes the value to `page`, and returns the length. May sleep.
    fn show(object: &T, page: &mut Page) -> Result<usize>;
}

/// A file that can be written to.
pub trait Store<T> {
    /// Takes what was written, all of it or nothing. May sleep.
    fn store(object: &T, value: &CStr) -> Result;
}

type ShowFn = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *mut c_char,
) -> isize;
type StoreFn = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *const c_char,
    usize,
) -> isize;

/// A file in the folder of a `T`: `struct kobj_attribute`.
#[repr(transparent)]
pub struct Attribute<T: HasKobject> {
    inner: bindings::kobj_attribute,
    _type: PhantomData<fn(&T)>,
}

// SAFETY: The C side only reads it.
unsafe impl<T: HasKobject> Sync for Attribute<T> {}

impl<T: HasKobject> Attribute<T> {
    /// A file that anybody can read.
    pub const fn read_only<A: Show<T>>(name: &'static CStr) -> Self {
        Self::new(name, 0o444, Some(Self::show::<A>), None)
    }

    /// A file that root can write to.
    pub const fn write_only<A: Store<T>>(name: &'static CStr) -> Self {
        Self::new(name, 0o200, None, Some(Self::store::<A>))
    }

    /// A file that anybody can read, and root can write to.
    pub const fn read_write<A: Show<T> + Store<T>>(name: &'static CStr) -> Self {
        Self::new(name, 0o644, Some(Self::show::<A>), Some(Self::store::<A>))
    }

    const fn new(
        name: &'static CStr,
        mode: c_ushort,
        show: Option<ShowFn>,
        store: Option<StoreFn>,
    ) -> Self {
        let mut inner: bindings::kobj_attribute = pin_init::zeroed();
        inner.attr.name = as_char_ptr_in_const_context(name);
        inner.attr.mode = mode;
        inner.__bindgen_anon_1.show = show;
        inner.__bindgen_anon_2.store = store;
        Self {
            inner,
            _type: PhantomData,
        }
    }

    /// Returns the object that a file belongs to.
    ///
    /// # Safety
    ///
    /// `kobj` must be the kobject of a `T`, to which there is a reference for `'a`.
    unsafe fn object<'a>(kobj: *mut bindings::kobject) -> &'a T {
        // SAFETY: By the requirements of this function and of `HasKobject`.
        unsafe { &*kobj.byte_sub(T::OFFSET).cast::<T>() }
    }

    /// # Safety
    ///
    /// To be called by sysfs, for a file of a `T`, with a page to write to.
    unsafe extern "C" fn show<A: Show<T>>(
        kobj: *mut bindings::kobject,
        _attr: *mut bindings::kobj_attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: The file is one of a `T`, which the open file keeps.
        match A::show(unsafe { Self::object(kobj) }, &mut Page(page)) {
            Ok(len) => len as isize,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// To be called by sysfs, for a file of a `T`, with what was written, nul-terminated.
    unsafe extern "C" fn store<A: Store<T>>(
        kobj: *mut bindings::kobject,
        _attr: *mut bindings::kobj_attribute,
        value: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: sysfs puts a nul at the end of what was written.
        let value = unsafe { CStr::from_char_ptr(value) };
        // SAFETY: The file is one of a `T`, which the open file keeps.
        match A::store(unsafe { Self::object(kobj) }, value) {
            Ok(()) => count as isize,
            Err(error) => error.to_errno() as isize,
        }
    }
}

/// The files in the folder of a `T`, of which there are `N`: a list that ends with a null pointer.
#[repr(C)]
pub struct Attributes<T: HasKobject, const N: usize> {
    list: [*const bindings::attribute; N],
    end: *const bindings::attribute,
    _type: PhantomData<fn(&T)>,
}

// SAFETY: The C side only reads it.
unsafe impl<T: HasKobject, const N: usize> Sync for Attributes<T, N> {}

impl<T: HasKobject, const N: usize> Attributes<T, N> {
    /// Makes the list.
    pub const fn new(attributes: [&'static Attribute<T>; N]) -> Self {
        let mut list = [ptr::null(); N];
        let mut index = 0;
        while index < N {
            list[index] = &raw const attributes[index].inner.attr;
            index += 1;
        }
        Self {
            list,
            end: ptr::null(),
            _type: PhantomData,
        }
    }
}

/// What a [`KobjType`] has the list of files by: `struct attribute_group`.
pub struct Group<T: HasKobject> {
    inner: bindings::attribute_group,
    _type: PhantomData<fn(&T)>,
}

// SAFETY: The C side only reads it.
unsafe impl<T: HasKobject> Sync for Group<T> {}

impl<T: HasKobject> Group<T> {
    /// A group of these files, right in the folder.
    pub const fn new<const N: usize>(attributes: &'static Attributes<T, N>) -> Self {
        let mut inner: bindings::attribute_group = pin_init::zeroed();
        inner.__bindgen_anon_2.attrs = ptr::from_ref(attributes).cast_mut().cast();
        Self {
            inner,
            _type: PhantomData,
        }
    }
}

/// The groups of a [`KobjType`], of which there is one: a list that ends with a null pointer.
pub struct Groups<T: HasKobject> {
    list: [*const bindings::attribute_group; 2],
    _type: PhantomData<fn(&T)>,
}

// SAFETY: The C side only reads it.
unsafe impl<T: HasKobject> Sync for Groups<T> {}

impl<T: HasKobject> Groups<T> {
    /// Makes the list.
    pub const fn new(group: &'static Group<T>) -> Self {
        Self {
            list: [&raw const group.inner, ptr::null()],
            _type: PhantomData,
        }
    }
}

/// What kobjects of one type have in common: `struct kobj_type`.
pub struct KobjType<T: HasKobject> {
    inner: bindings::kobj_type,
    _type: PhantomData<fn(&T)>,
}

// SAFETY: The C side only reads it.
unsafe impl<T: HasKobject> Sync for KobjType<T> {}

impl<T: HasKobject> KobjType<T> {
    /// A type with the files of these groups.
    pub const fn new(groups: &'static Groups<T>) -> Self {
        let mut inner: bindings::kobj_type = pin_init::zeroed();
        inner.release = Some(Self::release);
        inner.sysfs_ops = &raw const bindings::kobj_sysfs_ops;
        inner.default_groups = ptr::from_ref(&groups.list).cast_mut().cast();
        Self {
            inner,
            _type: PhantomData,
        }
    }

    /// # Safety
    ///
    /// To be called by the C side, for the kobject of a `T` whose last reference is gone.
    unsafe extern "C" fn release(kobj: *mut bindings::kobject) {
        // SAFETY: By the requirements of this function and of `HasKobject`.
        unsafe { T::release(&*kobj.byte_sub(T::OFFSET).cast::<T>()) };
    }
}
