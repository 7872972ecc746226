// SPDX-License-Identifier: GPL-2.0

//! Who changes what is hooked, or where it goes, is not alone with the hook.

use kernel::{
    ftrace::{Handler, Ops},
    prelude::*,
};

fn hook<H: Handler>(ops: &Ops<H>, ips: &[usize]) -> Result {
    ops.add(ips)?; //~ ERROR: cannot borrow `*ops` as mutable
    ops.register() //~ ERROR: cannot borrow `*ops` as mutable
}

fn unhook<H: Handler>(ops: &Ops<H>, ips: &[usize]) -> Result {
    ops.clear_jumps()?; //~ ERROR: cannot borrow `*ops` as mutable
    ops.remove(ips) //~ ERROR: cannot borrow `*ops` as mutable
}

fn jump<H: Handler>(ops: &Ops<H>, ips: &[usize], addrs: &[usize]) -> Result {
    // SAFETY: This does not compile.
    unsafe { ops.set_jumps(ips, addrs) } //~ ERROR: cannot borrow `*ops` as mutable
}

fn unregister<H: Handler>(ops: &Ops<H>) {
    drop(*ops); //~ ERROR: cannot move out of `*ops`
}
