// SPDX-License-Identifier: GPL-2.0

//! What a patch module declares: the static `klp_patch`, `klp_object` and `klp_func` in it.
//!
//! The module's own debug information has their addresses and their layout. They are walked as the
//! core does it: from a patch along its objects to their functions.

use crate::{
    dwarf::{Debug, Layout},
    elf::Image,
    error::{Error, Result},
};
use std::collections::{HashMap, HashSet};

/// A function that a patch replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Func {
    /// The module that has it; `None` is the kernel itself.
    pub object: Option<String>,
    pub name: String,
    pub sympos: u64,
    /// The address of the replacement.
    pub new_func: u64,
    /// It is in no object that the module declares.
    pub loose: bool,
}

impl Func {
    /// As the output names it.
    pub fn label(&self) -> String {
        let object = match &self.object {
            _ if self.loose => "?",
            Some(object) => object,
            None => "vmlinux",
        };
        match self.sympos {
            0 => format!("{object}:{}", self.name),
            n => format!("{object}:{},{n}", self.name),
        }
    }
}

/// Far more than a patch has; more is an array without an end.
const MAX_ENTRIES: usize = 1 << 16;

struct Walk<'a> {
    image: &'a Image<'a>,
    layouts: HashMap<String, Layout>,
    seen: HashSet<u64>,
    funcs: Vec<Func>,
    /// An object has been found, with functions or without.
    objects: bool,
}

/// All functions that the module's static structs name.
pub fn functions(image: &Image<'_>, debug: &Debug<'_>) -> Result<Vec<Func>> {
    const PATCH: &str = "klp_patch";
    const OBJECT: &str = "klp_object";
    const FUNC: &str = "klp_func";
    const NAMES: &[&str] = &[PATCH, OBJECT, FUNC];

    let mut instances = debug.instances(NAMES)?;
    instances.sort_by_key(|(_, address)| *address);
    let of = |name: &'static str| {
        instances
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, address)| *address)
            .collect::<Vec<_>>()
    };
    if instances.is_empty() {
        return Err(Error::new(
            if image.section(".init.klp_objects").is_some() {
                "it was made by klp-build, out of the kernel's own source; there are no declared types to check"
            } else {
                "it declares no static klp_patch, klp_object or klp_func; is it a livepatch?"
            },
        ));
    }

    let mut walk = Walk {
        image,
        layouts: debug.layout(NAMES)?,
        seen: HashSet::new(),
        funcs: Vec::new(),
        objects: false,
    };
    for patch in of(PATCH) {
        match walk.field(PATCH, patch, "objs")? {
            0 => {}
            objects => walk.objects(objects)?,
        }
    }
    // A patch that is put together at run time may still have static objects, or functions.
    for object in of(OBJECT) {
        if !walk.seen.contains(&object) && walk.field(OBJECT, object, "funcs")? != 0 {
            walk.objects(object)?;
        }
    }
    for func in of(FUNC) {
        if !walk.seen.contains(&func) {
            walk.funcs(func, None, true)?;
        }
    }
    if walk.funcs.is_empty() && !walk.objects {
        return Err(Error::new(
            "what it replaces is filled in at run time, and cannot be seen in the file",
        ));
    }
    Ok(walk.funcs)
}

impl Walk<'_> {
    fn layout(&self, of: &str) -> Result<&Layout> {
        self.layouts
            .get(of)
            .filter(|layout| layout.size > 0)
            .ok_or_else(|| Error::new(format!("its DWARF does not tell the layout of struct {of}")))
    }

    fn field(&self, of: &str, address: u64, name: &str) -> Result<u64> {
        let (offset, size) = *self
            .layout(of)?
            .members
            .get(name)
            .ok_or_else(|| Error::new(format!("its struct {of} has no member {name}")))?;
        self.image
            .read(address.wrapping_add(offset), size)
            .ok_or_else(|| Error::new(format!("a struct {of} of it is not in any of its sections")))
    }

    fn text(&self, address: u64) -> Result<String> {
        self.image
            .string(address)
            .ok_or_else(|| Error::new("a name that it declares is not a string"))
    }

    /// Walks an array of objects up to the one that is all zero.
    fn objects(&mut self, mut object: u64) -> Result<()> {
        let size = self.layout("klp_object")?.size;
        for _ in 0..MAX_ENTRIES {
            if !self.image.contains(object, size) {
                return Err(Error::new("an array of klp_object in it has no end"));
            }
            if !self.seen.insert(object) {
                return Ok(());
            }
            let name = self.field("klp_object", object, "name")?;
            let funcs = self.field("klp_object", object, "funcs")?;
            if name == 0 && funcs == 0 {
                return Ok(());
            }
            self.objects = true;
            let name = match name {
                0 => None,
                name => Some(self.text(name)?),
            };
            if funcs != 0 {
                self.funcs(funcs, name, false)?;
            }
            object = object.wrapping_add(size);
        }
        Err(Error::new("an array of klp_object in it has no end"))
    }

    /// Walks an array of functions up to the one that is all zero.
    fn funcs(&mut self, mut func: u64, object: Option<String>, loose: bool) -> Result<()> {
        let size = self.layout("klp_func")?.size;
        for _ in 0..MAX_ENTRIES {
            if !self.image.contains(func, size) {
                return Err(Error::new("an array of klp_func in it has no end"));
            }
            self.seen.insert(func);
            let name = self.field("klp_func", func, "old_name")?;
            let new_func = self.field("klp_func", func, "new_func")?;
            let sympos = self.field("klp_func", func, "old_sympos")?;
            if name == 0 && new_func == 0 && sympos == 0 {
                return Ok(());
            }
            let name = match name {
                0 => return Err(Error::new("a klp_func in it has no old_name")),
                name => self.text(name)?,
            };
            self.funcs.push(Func {
                object: object.clone(),
                name,
                sympos,
                new_func,
                loose,
            });
            func = func.wrapping_add(size);
            if loose {
                // It stands alone; the caller passes the others.
                return Ok(());
            }
        }
        Err(Error::new("an array of klp_func in it has no end"))
    }
}
