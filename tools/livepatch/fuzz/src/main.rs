// SPDX-License-Identifier: GPL-2.0

//! `klp-fuzz`: do to a kernel what its users can do with livepatches, in a random order, and check
//! after each round that it is in a state in which it may be.
//!
//! What a round does depends on the seed and the number of the round only, and not on what the
//! kernel has answered. So a seed repeats a run; where a round has several threads, all but the
//! order in which their operations meet.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]
#![deny(unsafe_code)]

mod check;
mod machine;
mod mangle;
mod operation;
mod plan;

use clap::{Parser, Subcommand};
use machine::Machine;
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Do to a kernel what its users can do with livepatches, in a random order
#[derive(Parser, Debug)]
#[command(name = "klp-fuzz", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Do it; in a guest, as root
    Run {
        /// The folder of the test modules
        #[arg(long, value_name = "FOLDER")]
        modules: PathBuf,
        /// klpr_patch_a.ko with relocations, to be mangled
        #[arg(long, value_name = "FILE", required_unless_present = "gentle")]
        relocations: Option<PathBuf>,
        /// What decides on all that is done
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Begin no round later than this
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        seconds: u64,
        /// Do this many rounds at most
        #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
        rounds: u64,
        /// Leave out what the core in C is known not to survive
        #[arg(long)]
        gentle: bool,
    },
    /// Print what a round does
    Show {
        /// The seed of the run
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The number of the round
        #[arg(long, default_value_t = 0)]
        round: u64,
        /// As for `run`
        #[arg(long)]
        gentle: bool,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run {
            modules,
            relocations,
            seed,
            seconds,
            rounds,
            gentle,
        } => {
            let machine = match Machine::new(modules, relocations.as_deref()) {
                Ok(machine) => machine,
                Err(text) => {
                    eprintln!("klp-fuzz: {text}");
                    return ExitCode::from(2);
                }
            };
            run(&machine, gentle, seed, Duration::from_secs(seconds), rounds)
        }
        Command::Show {
            seed,
            round,
            gentle,
        } => {
            for (number, thread) in plan::round(seed, round, gentle).iter().enumerate() {
                for operation in thread {
                    println!("thread {number}: {operation}");
                }
            }
            ExitCode::SUCCESS
        }
    }
}

/// Do rounds until the time is over or something is wrong, then take everything away.
fn run(machine: &Machine, gentle: bool, seed: u64, time: Duration, rounds: u64) -> ExitCode {
    let start = Instant::now();
    let mut round = 0;
    while round < rounds && start.elapsed() < time && machine.is_right() {
        machine.say(&format!("seed {seed}, round {round}"));
        machine.carry_out(plan::round(seed, round, gentle));
        machine.settle();
        round += 1;
    }
    if machine.is_right() {
        machine.say("the end");
        machine.take_away();
    }
    machine.print_counts();
    for text in machine.wrong() {
        println!("WRONG: {text}");
    }
    println!(
        "fuzz: {round} rounds, {} operations, seed {seed}",
        machine.count()
    );
    if machine.is_right() {
        println!("fuzz: nothing is wrong");
        ExitCode::SUCCESS
    } else {
        println!("fuzz: to see a round: klp-fuzz show --seed {seed} --round N");
        ExitCode::FAILURE
    }
}
