// SPDX-License-Identifier: GPL-2.0

//! The livepatch core: replaces functions of the running kernel, task by task.
//!
//! A patch is a module that says which functions are to be replaced by which of its own. The core
//! asks ftrace to call it at the entry of those functions and sends the calls on. It moves one task
//! after the other from the old functions to the new ones, each when it is in none of them, so that
//! no task ever sees a mixture.
//!
//! Each file uses those above it in this table, and none below.
//!
//! | file             | what is in it                                                          |
//! | ---------------- | ---------------------------------------------------------------------- |
//! | **decisions**    | **plain Rust, tested on the host as well**                             |
//! | `sort.rs`        | sorting without recursion                                              |
//! | `names.rs`       | names of symbols and sections; searching for several at once           |
//! | `ranges.rs`      | finding the range that an address is in; the sizes of functions        |
//! | `rela.rs`        | what must hold of a relocation                                         |
//! | `route.rs`       | where calls of a function go                                           |
//! | `target.rs`      | the patch states of tasks, and where a transition takes them           |
//! | `backoff.rs`     | when to try again                                                      |
//! | `blocked.rs`     | the tasks that hold up a transition                                    |
//! | **boundary**     | **structures of C**                                                    |
//! | `warn.rs`        | a warning that is reported once                                        |
//! | `lock.rs`        | `klp_mutex`, as far as types can carry it                              |
//! | `list.rs`        | lists                                                                  |
//! | `module.rs`      | modules                                                                |
//! | `elf.rs`         | the ELF file of a livepatch module                                     |
//! | `task.rs`        | what a task has to do with livepatch                                   |
//! | `tasklist.rs`    | all tasks                                                              |
//! | `test_params.rs` | what tests can leave out                                               |
//! | `trace.rs`       | the trace events                                                       |
//! | `abi.rs`         | patches, objects and functions                                         |
//! | **the parts**    |                                                                        |
//! | `synchronize.rs` | waiting until each CPU has scheduled                                   |
//! | `symbols.rs`     | finding functions by their names                                       |
//! | `relocs.rs`      | relocations against symbols that are not exported                      |
//! | `shadow.rs`      | data that patches attach to structures                                 |
//! | `state.rs`       | what patches do to the system besides                                  |
//! | `redirect.rs`    | redirecting functions: batches, tables, the ftrace handler             |
//! | `index.rs`       | the code that tasks must not be in                                     |
//! | `progress.rs`    | the progress of transitions, for debugfs and tracing                   |
//! | `switch.rs`      | switching one task; the hooks by which tasks switch by themselves      |
//! | `transition.rs`  | moving all tasks                                                       |
//! | `registry.rs`    | patches and their life; modules that come and go                       |
//! | **entries**      |                                                                        |
//! | `sysfs.rs`       | `/sys/kernel/livepatch`                                                |
//! | `debugfs.rs`     | `/sys/kernel/debug/livepatch`                                          |
//! | `exports.rs`     | what C code calls                                                      |
//!
//! `exports.c`, `events.c`, `hooks.c`, `exiting.c` and `test_params.c` are what has to be C.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)

mod abi;
mod backoff;
mod blocked;
mod debugfs;
mod elf;
mod exports;
mod index;
mod list;
mod lock;
mod module;
mod names;
mod progress;
mod ranges;
mod redirect;
mod registry;
mod rela;
mod relocs;
mod route;
mod shadow;
mod sort;
mod state;
mod switch;
mod symbols;
mod synchronize;
mod sysfs;
mod target;
mod task;
mod tasklist;
mod test_params;
mod trace;
mod transition;
mod warn;

/// What log lines begin with.
const __LOG_PREFIX: &[u8] = b"livepatch\0";
