// SPDX-License-Identifier: GPL-2.0

//! Describes what has happened, for people.

use crate::{
    core::{Each, List, Step},
    model::{Action, Model},
    target::Target,
    task::Move,
    world::{Code, Module, Patch, Version, World},
};

/// A line for each step, given the states and what has led to each.
pub fn tell(model: &Model, path: &[(World, Option<Action>)]) -> Vec<String> {
    path.windows(2)
        .filter_map(|pair| match pair {
            [(before, _), (after, Some(action))] => Some(line(model, before, *action, after)),
            _ => None,
        })
        .collect()
}

fn line(model: &Model, before: &World, action: Action, after: &World) -> String {
    match action {
        Action::Enable(patch) if model.is_replacing(patch) => {
            format!("patch {patch:?}, which replaces all others, is loaded")
        }
        Action::Enable(patch) => format!("patch {patch:?} is loaded"),
        Action::FailToEnable(patch) => {
            format!("patch {patch:?} is loaded, and enabling it will fail")
        }
        Action::Disable(patch) => format!("patch {patch:?} is disabled"),
        Action::Unload(patch) => format!("the module of patch {patch:?} is unloaded"),
        Action::Reverse => "the transition is reversed".into(),
        Action::Force => "the transition is forced to end".into(),
        Action::LoadModule => "the target module is loaded".into(),
        Action::UnloadModule => "the target module is unloaded".into(),
        Action::Look(task) if !after.steps.is_empty() => {
            format!("core: the stack of task {task} is clear")
        }
        Action::Look(task) => {
            let state = after.tasks[task].state;
            format!("core: task {task} does not run, its stack is clear: state {state}")
        }
        Action::TryComplete => "core: another attempt finds no remaining task".into(),
        Action::Step(task) => core_line(before, task),
        Action::Task(task, step) => format!("task {task}: {}", task_line(after, task, step)),
    }
}

fn core_line(before: &World, task: Option<usize>) -> String {
    let Some(step) = before.steps.last() else {
        return "core: nothing".into();
    };
    let what = match *step {
        Step::RemoveJump(func) => format!("{func:?} calls ftrace again, and is not a jump"),
        Step::InstallJump(func) => format!("{func:?} becomes a jump, if it can"),
        Step::Begin(transition) => match transition.target() {
            Target::Patched => format!("a transition to {:?} begins", transition.patch),
            Target::Unpatched => format!("a transition from {:?} begins", transition.patch),
        },
        Step::Target => "TARGET is written".into(),
        Step::States(list, -1) => format!("{} no longer have a state", all(list)),
        Step::States(list, state) => format!("{} get the state {state}", all(list)),
        Step::InTransition(_, func, true) => format!("{func:?} will depend on the task"),
        Step::InTransition(_, func, false) => format!("{func:?} will not depend on the task"),
        Step::Register(func) => format!("ftrace hooks {func:?}"),
        Step::Push(patch, func) => format!("{patch:?}'s {func:?} is put on the function stack"),
        Step::Pop(patch, func) => format!("{patch:?}'s {func:?} is taken off the function stack"),
        Step::Destinations(func) => format!("{func:?}'s destinations are written, if they differ"),
        Step::Slot(func) => format!("the slot of {func:?} is written"),
        Step::Unregister(func) => format!("ftrace unhooks {func:?}, if no patch has it"),
        Step::FreeNops(patch) => format!("the nops of {patch:?} are freed"),
        Step::Publish => "the index is published".into(),
        Step::Unpublish => "there is no index from now on".into(),
        Step::FreeSpare => "the index that is not published is freed".into(),
        Step::Switch(task) => {
            let state = before
                .transition
                .map_or(-1, |transition| transition.state());
            format!("task {task} has the state {state} now")
        }
        Step::BeginEach(each, list) | Step::Each(each, list) => match (each, task) {
            (Each::Mark, Some(task)) => format!("task {task} is marked, if it has yet to switch"),
            (Each::Clear, Some(task)) => format!("task {task} is no longer marked"),
            (Each::Force, Some(task)) => format!("task {task} is switched by force"),
            (Each::Ask, Some(task)) => format!("task {task} is asked whether it has arrived"),
            (_, None) => format!("{} are done one by one", all(list)),
        },
        Step::Enabled(patch, true) => format!("{patch:?} is enabled"),
        Step::Enabled(patch, false) => format!("{patch:?} is disabled"),
        Step::Start => "the transition has started".into(),
        Step::AskListed => format!("{} are asked whether they have arrived", all(List::Tasks)),
        Step::AskExiting => {
            format!("{} are asked whether they have arrived", all(List::Exiting))
        }
        Step::Arrived | Step::Complete => "all have arrived".into(),
        Step::Sync => "waits for what runs with preemption disabled".into(),
        Step::Await => "has waited".into(),
        Step::Reverse => "the direction is reversed".into(),
        Step::SetForced => "what tasks were forced to leave has to stay".into(),
        Step::End => "the transition has ended".into(),
        Step::GiveBack(patch) => format!("{patch:?} is given back"),
        Step::SetModule(Module::Live) => "the target module runs".into(),
        Step::SetModule(_) => "the target module is gone".into(),
    };
    format!("core: {what}")
}

fn all(list: List) -> &'static str {
    match list {
        List::Tasks => "the tasks on the list, and the idle ones,",
        List::Exiting => "the exiting tasks",
    }
}

fn name(version: Version) -> String {
    match version {
        None => "the original".into(),
        Some(patch) => format!("that of {patch:?}"),
    }
}

fn task_line(after: &World, task: usize, step: Move) -> String {
    use crate::world::At;

    let now = &after.tasks[task];
    match (step, now.at) {
        (Move::Call(func), At::In(code)) => {
            format!("calls {func:?}, is in {}", location(code))
        }
        (Move::Call(func), _) => format!("calls {func:?}, is in ftrace"),
        (Move::Handle, At::Chosen(func, version)) => {
            format!("the handler finds that {func:?} is {}", name(version))
        }
        (Move::Handle, _) => "the handler finds that it depends on the task".into(),
        (Move::Choose, At::Chosen(_, version)) => {
            format!(
                "its state is {}: the handler chooses {}",
                now.state,
                name(version)
            )
        }
        (Move::Choose, _) => "the handler chooses".into(),
        (Move::Go, At::In(code)) => format!("leaves ftrace, is in {}", location(code)),
        (Move::Go, _) => "leaves ftrace".into(),
        (Move::ToPart, _) => "continues in the part of F that is elsewhere".into(),
        (Move::FromPart, _) => "comes back to F from there".into(),
        (Move::TailCall, _) => "ends in a jump to another function of the patch".into(),
        (Move::Return, At::In(code)) => format!("returns to {}", location(code)),
        (Move::Return, _) => "returns, and is in no such function".into(),
        (Move::TestFlag, _) => "at the exit to user mode, clears its flag".into(),
        (Move::ReadTarget, _) => "reads TARGET".into(),
        (Move::WriteState, _) => format!("has the state {} now", now.state),
        (Move::SeeFlag, _) => "sees its flag in the scheduler".into(),
        (Move::SeeTarget, _) => "reads TARGET there".into(),
        (Move::SeeIndex, _) => "reads INDEX there".into(),
        (Move::SearchStack, _) => {
            format!("has searched its stack; it has the state {}", now.state)
        }
        (Move::BeginFork, _) => "begins to fork, which copies its flag and its state".into(),
        (Move::EndFork, _) => "the child is on the list".into(),
        (Move::BeginExit, _) => "begins to exit, is on both lists".into(),
        (Move::Release, _) => "is taken off the list of tasks".into(),
        (Move::Die, _) => "is dead".into(),
    }
}

fn location(code: Code) -> String {
    match code {
        Code::Body(func, None) => format!("the original {func:?}"),
        Code::Body(func, Some(patch)) => format!("{patch:?}'s {func:?}"),
        Code::Cold => "the part of F that is elsewhere".into(),
        Code::Helper(Patch::A) => "another function of A".into(),
        Code::Helper(Patch::B) => "another function of B".into(),
    }
}
