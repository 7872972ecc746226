// SPDX-License-Identifier: GPL-2.0

//! What a round does: a function of the seed and of the number of the round.

use crate::operation::{Folder, Operation, Parameters, CALLS, KPROBE, PATCHES, TARGET, WHATS};
use fastrand::Rng;

/// How many operations each thread of a round does.
const OPERATIONS: usize = 20;

/// What each thread of a round does. In half of all rounds there is one only. `gentle` leaves out
/// what the core in C does not survive.
pub(crate) fn round(seed: u64, number: u64, gentle: bool) -> Vec<Vec<Operation>> {
    // Seeds that follow one another give generators that have nothing in common.
    let mut rng = Rng::with_seed(seed);
    let mut rng = Rng::with_seed(rng.u64(..) ^ Rng::with_seed(!number).u64(..));
    let threads = match rng.u8(..4) {
        0 | 1 => 1,
        2 => 2,
        _ => 3,
    };
    (0..threads)
        .map(|_| thread(&mut rng.fork(), gentle))
        .collect()
}

/// What a thread does: by itself, or while tasks hold a transition up.
fn thread(rng: &mut Rng, gentle: bool) -> Vec<Operation> {
    let mut operations = Vec::new();
    while operations.len() < OPERATIONS {
        if rng.u8(..12) == 0 {
            held_up(rng, gentle, &mut operations);
        } else {
            operations.push(operation(rng, gentle));
        }
    }
    operations
}

/// A transition that a task holds up, and what is done meanwhile.
fn held_up(rng: &mut Rng, gentle: bool, operations: &mut Vec<Operation>) {
    let patch = patch(rng);
    let what = one_of(rng, &["sleep", "sleep_hard"]);
    let parameters = Parameters {
        what,
        replace: rng.bool(),
        pre_patch: 0,
        state: 0,
        fail_nth: 0,
    };
    operations.extend([
        Operation::Write(patch, "enabled", b"0".to_vec()),
        Operation::Load(TARGET, ""),
        Operation::Unload(patch),
        Operation::Hold(what),
        Operation::Patch(patch, parameters),
    ]);
    for _ in 0..rng.u8(1..8) {
        operations.push(match rng.u8(..8) {
            0..=2 => Operation::Write(patch, "enabled", b"0".to_vec()),
            3 | 4 => Operation::Write(patch, "enabled", b"1".to_vec()),
            5 => force(rng, patch),
            6 => Operation::Read(Folder::Debug),
            _ => operation(rng, gentle),
        });
    }
}

/// Only one patch is forced: its module stays for good, and cannot be loaded again.
fn force(rng: &mut Rng, patch: &'static str) -> Operation {
    let value = if patch == "klpr_patch_c" {
        one_of(rng, &["1", "0"])
    } else {
        one_of(rng, &["x", "0"])
    };
    Operation::Write(patch, "force", value.into())
}

/// One of these, of which there is one at least.
#[allow(clippy::indexing_slicing)]
fn one_of<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

fn patch(rng: &mut Rng) -> &'static str {
    let names: Vec<_> = PATCHES.iter().map(|(name, _)| *name).collect();
    one_of(rng, &names)
}

/// A patch of any kind, as `/sys/kernel/livepatch` may have it.
fn any_patch(rng: &mut Rng) -> &'static str {
    if rng.u8(..8) == 0 {
        one_of(rng, &CALLS)
    } else {
        patch(rng)
    }
}

fn parameters(rng: &mut Rng, gentle: bool) -> Parameters {
    // Bad patches are the smaller part: what they leave, good ones have to meet.
    let whats: Vec<_> = WHATS
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| !gentle || *name != "twice")
        .collect();
    let good = whats.get(..9).unwrap_or(&whats);
    Parameters {
        what: match rng.u8(..4) {
            0 => one_of(rng, &whats),
            // Tasks are held in these functions, so that the transition lasts.
            1 => one_of(rng, &["sleep", "sleep_hard"]),
            _ => one_of(rng, good),
        },
        replace: rng.u8(..4) == 0,
        pre_patch: if rng.u8(..12) == 0 {
            one_of(rng, &[12, 19, 22])
        } else {
            0
        },
        state: if rng.u8(..6) == 0 { rng.u8(1..=3) } else { 0 },
        fail_nth: if rng.u8(..10) == 0 { rng.u16(1..60) } else { 0 },
    }
}

/// What is written to a file with a truth value: mostly one.
fn truth(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..12) {
        0..=6 => b"0".to_vec(),
        7 | 8 => b"1".to_vec(),
        9 => one_of(rng, &["y", "N", "off", "on\n"]).into(),
        10 => one_of(rng, &["x", " ", "2", "-1"]).into(),
        _ => {
            let mut bytes = vec![0xff];
            bytes.extend((0..rng.usize(..9000)).map(|_| rng.u8(..)));
            bytes
        }
    }
}

fn write(rng: &mut Rng) -> Operation {
    let patch = any_patch(rng);
    match rng.u8(..40) {
        0 | 1 => force(rng, patch),
        2..=4 => {
            let files = [
                "transition",
                "replace",
                "stack_order",
                "klpr_target/patched",
                "vmlinux/patched",
                "klpr_target/klpr_target_one,1/new_func",
                "remaining_tasks",
            ];
            Operation::Write(patch, one_of(rng, &files), truth(rng))
        }
        _ => Operation::Write(patch, "enabled", truth(rng)),
    }
}

fn load(rng: &mut Rng, gentle: bool) -> Operation {
    match rng.u8(..10) {
        0..=5 => Operation::Patch(patch(rng), parameters(rng, gentle)),
        6 | 7 => {
            let threads = ["", "", "thread=sleep", "thread=yield"];
            Operation::Load(TARGET, one_of(rng, &threads))
        }
        8 => Operation::Load(one_of(rng, &CALLS), ""),
        _ => Operation::Load(KPROBE, one_of(rng, &["post=0", "post=1"])),
    }
}

fn unload(rng: &mut Rng) -> Operation {
    Operation::Unload(match rng.u8(..8) {
        0 | 1 => TARGET,
        2 => KPROBE,
        _ => any_patch(rng),
    })
}

fn observe(rng: &mut Rng) -> Operation {
    let tracers = ["function", "function_graph", "nop", "nop"];
    let probes = [
        "p:klpf/one klpr_target_one",
        "p:klpf/cmdline cmdline_proc_show",
        "r:klpf/two klpr_target_two",
        "-:klpf/one",
        "-:klpf/cmdline",
        "-:klpf/two",
    ];
    match rng.u8(..9) {
        0..=3 => Operation::Read(one_of(
            rng,
            &[
                Folder::Patches,
                Folder::Debug,
                Folder::States,
                Folder::Functions,
            ],
        )),
        4 | 5 => Operation::Tracer(one_of(rng, &tracers)),
        6 | 7 => Operation::Probe(one_of(rng, &probes)),
        _ => Operation::Events(rng.bool()),
    }
}

fn operation(rng: &mut Rng, gentle: bool) -> Operation {
    match rng.u8(..100) {
        0..=29 => load(rng, gentle),
        30..=33 if !gentle => Operation::Mangled(rng.u64(..)),
        30..=45 => unload(rng),
        46..=65 => write(rng),
        66..=77 => observe(rng),
        78..=83 => Operation::Hold(one_of(rng, &["sleep", "sleep_hard"])),
        84..=87 => Operation::Release,
        88 | 89 => Operation::Signal(one_of(rng, &["STOP", "CONT", "KILL"])),
        90..=94 => Operation::Processes,
        95..=97 => Operation::Cpu(rng.bool()),
        _ => Operation::Ftrace(rng.u8(..3) != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_seed_decides() {
        assert_eq!(round(7, 3, false), round(7, 3, false));
        assert_ne!(round(7, 3, false), round(7, 4, false));
        assert_ne!(round(7, 3, false), round(8, 3, false));
        assert_ne!(round(7, 8, false), round(8, 7, false));
    }

    #[test]
    fn each_kind_of_operation_comes() {
        let names: BTreeSet<_> = (0..100)
            .flat_map(|number| round(1, number, false))
            .flatten()
            .map(|operation| operation.name())
            .collect();
        assert_eq!(names.len(), 19, "{names:?}");
    }

    #[test]
    fn each_patch_comes_in_each_kind() {
        let mut seen = BTreeSet::new();
        for operation in (0..400)
            .flat_map(|number| round(1, number, false))
            .flatten()
        {
            if let Operation::Patch(name, parameters) = operation {
                seen.insert((name, parameters.what));
            }
        }
        assert_eq!(seen.len(), PATCHES.len() * WHATS.len());
    }

    #[test]
    fn a_gentle_run_mangles_nothing() {
        for operation in (0..200).flat_map(|number| round(1, number, true)).flatten() {
            assert_ne!(operation.name(), "load a mangled patch");
            if let Operation::Patch(_, parameters) = operation {
                assert_ne!(parameters.what, "twice");
            }
        }
    }

    #[test]
    fn only_one_patch_is_forced() {
        let mut forced = BTreeSet::new();
        for operation in (0..400)
            .flat_map(|number| round(1, number, false))
            .flatten()
        {
            if let Operation::Write(patch, "force", value) = operation {
                if value == b"1" {
                    forced.insert(patch);
                }
            }
        }
        assert_eq!(forced, BTreeSet::from(["klpr_patch_c"]));
    }

    #[test]
    fn no_write_is_empty() {
        // It would not get to the kernel.
        for operation in (0..200)
            .flat_map(|number| round(1, number, false))
            .flatten()
        {
            if let Operation::Write(.., value) = operation {
                assert!(!value.is_empty());
            }
        }
    }
}
