// SPDX-License-Identifier: GPL-2.0

//! The livepatch core: replaces functions of the running kernel, task by task.
//!
//! A patch is a module that says which functions are to be replaced by which of its own. The core
//! has ftrace call it at the entry of those functions and sends the calls on. It moves one task
//! after the other from the old functions to the new ones, each when it is in none of them, so that
//! no task ever sees a mixture.
//!
//! | file            | what is in it                                                |
//! | --------------- | ------------------------------------------------------------ |
//! | `core.rs`       | patches and their life; modules that come and go             |
//! | `patch.rs`      | redirecting functions: batches, tables, the ftrace handler   |
//! | `transition.rs` | moving the tasks                                             |
//! | `symbols.rs`    | finding functions by their names                             |
//! | `sysfs.rs`      | `/sys/kernel/livepatch`                                      |
//! | `shadow.rs`     | data that patches attach to structures                       |
//! | `state.rs`      | what patches do to the system besides                        |
//! | `relocs.rs`     | relocations against symbols that are not exported            |
//! | `abi.rs`        | the structures that patches consist of, fenced               |
//! | `rela.rs`       | what must hold of a relocation: no bindings, either          |
//! | `route.rs`, `ranges.rs`, `phase.rs`, `names.rs`, `sort.rs` | no bindings       |
//! | `trace.rs`      | the trace event                                              |
//! | `exports.c`, `events.c`, `exiting.c`, `hooks.c` | what has to be C             |
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)

mod abi;
#[path = "core.rs"]
mod klp;
mod names;
mod patch;
mod phase;
mod ranges;
mod rela;
mod relocs;
mod route;
mod shadow;
mod sort;
mod state;
mod symbols;
mod sysfs;
mod trace;
mod transition;

/// What log lines begin with.
const __LOG_PREFIX: &[u8] = b"livepatch\0";
