// SPDX-License-Identifier: GPL-2.0

//! Check the protocol of livepatch transitions, in all orders in which its steps can happen.
//!
//! ```text
//! klp-model
//! klp-model check SETUP...
//! klp-model mutations [MUTATION]...
//! klp-model story MUTATION
//! klp-model replay TRACE...
//! klp-model list
//! ```
//!
//! The decisions are the kernel's own: the files of `kernel/livepatch/` that need no kernel are
//! compiled in. Everything around them is modelled.
//!
//! The exit status is 0 if every property holds and every mutation was found, 1 if not, and 2 if
//! the arguments are wrong.

// The model needs a part of each of these files of the core.
#[path = "../../../../kernel/livepatch/ranges.rs"]
#[allow(dead_code)]
mod ranges;
#[path = "../../../../kernel/livepatch/route.rs"]
#[allow(dead_code)]
mod route;
#[path = "../../../../kernel/livepatch/sort.rs"]
mod sort;
#[path = "../../../../kernel/livepatch/target.rs"]
#[allow(dead_code)]
mod target;

mod core;
mod model;
mod mutation;
mod progress;
mod replay;
mod setups;
mod story;
mod task;
mod trace;
mod world;

use model::{Action, Model};
use mutation::Mutation;
use setups::Named;
use stateright::{Checker, Model as _};
use std::{
    env, fs,
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Instant,
};
use world::World;

const USAGE: &str = "usage: klp-model\n       \
                     klp-model check SETUP...\n       \
                     klp-model mutations [MUTATION]...\n       \
                     klp-model story MUTATION\n       \
                     klp-model replay TRACE...\n       \
                     klp-model list";

/// What a search has found out.
struct Outcome {
    states: usize,
    seconds: u64,
    found: Option<Found>,
}

/// Something that is wrong.
struct Found {
    what: &'static str,
    steps: Vec<String>,
}

/// Pairs each state with what has led to it. The checker pairs it with what was done next.
fn led_to(path: Vec<(World, Option<Action>)>) -> progress::Path {
    let mut last = None;
    path.into_iter()
        .map(|(world, next)| (world, std::mem::replace(&mut last, next)))
        .collect()
}

/// Visits all states of a model, or stops at the first that is wrong.
fn search(model: &Model, threads: usize) -> Outcome {
    let start = Instant::now();
    let checker = model.clone().checker().threads(threads).spawn_bfs().join();
    let wrong = checker.discoveries().into_values().next();
    let found = wrong.map(|path| Found {
        what: model.fault(path.last_state()).unwrap_or("nothing is wrong"),
        steps: story::tell(model, &led_to(path.into_vec())),
    });
    Outcome {
        states: checker.unique_state_count(),
        seconds: start.elapsed().as_secs(),
        found,
    }
}

/// Searches, and checks that transitions end if the setup is small enough.
fn examine(named: &Named, mutation: Option<Mutation>, symmetric: bool, threads: usize) -> Outcome {
    let model = named.model(mutation, symmetric);
    let mut outcome = search(&model, threads);
    if outcome.found.is_none() && named.ends {
        outcome.found = progress::stuck(&model).map(|path| Found {
            what: "a transition cannot end any more, whatever the tasks do",
            steps: story::tell(&model, &path),
        });
    }
    outcome
}

/// How many passed, and how many failed.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn count(&mut self, good: bool) {
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Prints the numbers, and returns whether nothing has failed.
    fn end(&self) -> bool {
        println!("{} passed, {} failed, 0 skipped", self.passed, self.failed);
        self.failed == 0
    }
}

/// Begins a line that is completed when there is a result.
fn begin_line(text: &str) {
    print!("{text}");
    // It matters on a terminal only.
    let _ = io::stdout().flush();
}

/// Checks one setup.
fn check(named: &Named) -> bool {
    begin_line(&format!("{:<14} {:<60}", named.name, named.text));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let outcome = examine(named, None, true, threads);
    let ends = match outcome.found {
        None if named.ends => ", and ends",
        _ => "",
    };
    println!(
        "{:>10} states {:>4} s{ends}",
        outcome.states, outcome.seconds
    );
    if outcome.found.is_none() {
        return true;
    }
    // Once more, with tasks that keep their numbers.
    if let Some(found) = examine(named, None, false, 1).found.or(outcome.found) {
        print_story(&found);
    }
    false
}

fn print_story(found: &Found) {
    for step in &found.steps {
        println!("    {step}");
    }
    println!("  => {}", found.what);
}

/// Searches for what a mutation breaks in one setup after the other. Returns the setup in which it
/// was found, the number of states, and what is wrong.
fn refute(mutation: Mutation) -> Option<(&'static str, usize, Found)> {
    setups::SMALL.iter().find_map(|named| {
        // With one thread, the story is one of the shortest.
        let outcome = examine(named, Some(mutation), false, 1);
        Some((named.name, outcome.states, outcome.found?))
    })
}

fn find(mutation: Mutation) -> bool {
    begin_line(&format!("{:<20} ", mutation.name()));
    let Some((setup, states, Found { what, steps })) = refute(mutation) else {
        println!("NOT FOUND: {}", mutation.text());
        return false;
    };
    println!(
        "{setup:<8} {states:>6} states {:>3} steps: {what}",
        steps.len()
    );
    true
}

fn story(mutation: Mutation) -> bool {
    println!("What is changed: {}.\n", mutation.text());
    let refuted = refute(mutation);
    match &refuted {
        Some((_, _, found)) => print_story(found),
        None => println!("It makes no difference."),
    }
    refuted.is_some()
}

/// Replays what was recorded in a file.
fn replay_file(path: &str, tally: &mut Tally) -> Result<(), String> {
    let text = fs::read(path).map_err(|why| format!("{path}: {why}"))?;
    let recorded = trace::read(&String::from_utf8_lossy(&text));
    let outcome = replay::replay(recorded.map_err(|why| format!("{path}: {why}"))?);
    println!(
        "{path}: {} transitions, {} tasks, {} different",
        outcome.transitions, outcome.tasks, outcome.different
    );
    if outcome.transitions == 0 {
        return Err(format!("{path}: no transition was recorded as a whole"));
    }
    for forbidden in &outcome.forbidden {
        let (pid, comm) = &forbidden.who;
        println!(
            "  {}, task {pid} {comm}: the model does not do",
            forbidden.patch
        );
        for (number, event) in forbidden.events.iter().enumerate() {
            let mark = if number == forbidden.allowed {
                "=>"
            } else {
                "  "
            };
            println!("    {mark} {event:?}");
        }
    }
    tally.passed += outcome.transitions - outcome.bad;
    tally.failed += outcome.bad;
    Ok(())
}

fn list() {
    println!("Setups:");
    for named in setups::all() {
        println!("  {:<14} {}", named.name, named.text);
    }
    println!("\nMutations:");
    for mutation in Mutation::ALL {
        println!("  {:<20} {}", mutation.name(), mutation.text());
    }
}

fn run(args: &[String]) -> Result<bool, String> {
    let named = |name: &String| {
        let setup = setups::named(name);
        setup.ok_or_else(|| format!("there is no setup {name}: see klp-model list"))
    };
    let mutation = |name: &String| {
        let known = Mutation::named(name);
        known.ok_or_else(|| format!("there is no mutation {name}: see klp-model list"))
    };
    let mut tally = Tally::default();
    let command = args
        .split_first()
        .map(|(command, rest)| (command.as_str(), rest));
    match command {
        None => {
            println!("What must hold, in all orders of steps:");
            for named in setups::SMALL.iter().chain(setups::WHOLE) {
                tally.count(check(named));
            }
            println!("\nWhat is found if the protocol is changed:");
            for &mutation in Mutation::ALL {
                tally.count(find(mutation));
            }
        }
        Some(("check", names @ [_, ..])) => {
            for named in names.iter().map(named).collect::<Result<Vec<_>, _>>()? {
                tally.count(check(named));
            }
        }
        Some(("mutations", names)) => {
            let mut wanted: Vec<_> = names.iter().map(mutation).collect::<Result<_, _>>()?;
            if names.is_empty() {
                wanted = Mutation::ALL.to_vec();
            }
            for mutation in wanted {
                tally.count(find(mutation));
            }
        }
        Some(("story", [name])) => return Ok(story(mutation(name)?)),
        Some(("replay", files @ [_, ..])) => {
            for file in files {
                replay_file(file, &mut tally)?;
            }
        }
        Some(("list", [])) => {
            list();
            return Ok(true);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(tally.end())
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, mutation: Option<Mutation>, symmetric: bool) -> Model {
        setups::named(name).unwrap().model(mutation, symmetric)
    }

    #[test]
    fn the_protocol_holds() {
        for named in setups::SMALL.iter().take(3) {
            assert!(check(named), "{}", named.name);
        }
    }

    #[test]
    fn a_search_sees_the_same_with_several_threads() {
        let states = |threads| search(&model("kthread", None, false), threads).states;
        assert_eq!(states(1), states(2));
    }

    #[test]
    fn numbers_of_tasks_make_no_difference() {
        let all = search(&model("fork", None, false), 2);
        let fewer = search(&model("fork", None, true), 2);
        assert!(all.found.is_none() && fewer.found.is_none());
        assert!(fewer.states < all.states && all.states <= 2 * fewer.states);
        for symmetric in [false, true] {
            let mutated = model("fork", Some(Mutation::ForkCopiesEarly), symmetric);
            assert!(search(&mutated, 2).found.is_some());
        }
    }

    #[test]
    fn what_is_found_is_told() {
        let (setup, _, found) = refute(Mutation::NoHooks).unwrap();
        assert_eq!(setup, "user");
        assert!(found
            .what
            .contains("a version of a function that it has left"));
        // The task was sent somewhere, did not go there, and was switched.
        let last = |text: &str| found.steps.iter().rposition(|step| step.contains(text));
        let chosen = last("the handler chooses").unwrap();
        assert!(last("its stack is clear").unwrap() > chosen);
        assert!(last("leaves ftrace").is_none_or(|left| left < chosen));
    }

    #[test]
    fn transitions_that_cannot_end_are_found() {
        assert!(progress::stuck(&model("idle", None, false)).is_none());
        // Tasks do not see that they should switch.
        let stuck = progress::stuck(&model("idle", Some(Mutation::NotMarked), false));
        let (end, _) = stuck.unwrap().pop().unwrap();
        assert!(end.transition.unwrap().started && end.steps.is_empty());
    }

    #[test]
    fn bad_arguments_are_refused() {
        let run = |args: &[&str]| run(&args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>());
        for args in [
            &["check"] as &[_],
            &["check", "nothing"],
            &["mutations", "Nothing"],
            &["story"],
            &["story", "Nothing"],
            &["play"],
            &["replay"],
            &["replay", "/no/such/file"],
        ] {
            assert!(run(args).is_err(), "{args:?}");
        }
        assert_eq!(run(&["list"]), Ok(true));
    }

    #[test]
    fn mutations_have_names_of_their_own() {
        for &mutation in Mutation::ALL {
            assert_eq!(Mutation::named(&mutation.name()), Some(mutation));
        }
    }
}
