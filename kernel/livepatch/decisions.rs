// SPDX-License-Identifier: GPL-2.0

//! The host's test crate: the modules that decide without a kernel around them.

#![allow(dead_code)]

mod names;
mod phase;
mod ranges;
mod route;
mod sort;
