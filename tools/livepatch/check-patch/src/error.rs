// SPDX-License-Identifier: GPL-2.0

//! Errors: one plain line each.

use std::fmt;

/// What went wrong, to be shown after the name of the file.
#[derive(Debug, Clone)]
pub struct Error(pub String);

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(text: impl Into<String>) -> Self {
        Error(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<gimli::Error> for Error {
    fn from(e: gimli::Error) -> Self {
        Error(format!("its DWARF is malformed: {e}"))
    }
}

impl From<object::Error> for Error {
    fn from(e: object::Error) -> Self {
        Error(format!("it is malformed: {e}"))
    }
}

impl From<btf_rs::Error> for Error {
    fn from(e: btf_rs::Error) -> Self {
        Error(format!("its BTF is malformed: {e}"))
    }
}
