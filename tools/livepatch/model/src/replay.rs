// SPDX-License-Identifier: GPL-2.0

//! Whether the model allows what the kernel was seen to do.
//!
//! A recorded transition is replayed for each task by itself, in a model with one task of its kind,
//! and one that it forks or was forked by. What the trace tells are steps that the model has to be
//! able to do, in this order; between them the model may do anything that the trace does not tell.
//! So a recorded step that no path of the model has is one that the model does not know of.

use crate::{
    model::{Action, Model, Setup},
    task::Move,
    trace::{Event, How, Transition, Who},
    world::{Budget, Func, Funcs, Kind, Life, Patch, World, IDLE},
};
use stateright::Model as _;
use std::collections::{HashMap, HashSet, VecDeque};

/// What is replayed: a task of this kind is the first of the model, or the one that it forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Role {
    kind: Kind,
    task: usize,
}

impl Role {
    /// What a task can be. The trace does not tell threads of the kernel from others.
    fn of(who: &Who) -> &'static [Role] {
        const IDLE_TASK: [Role; 1] = [Role::new(Kind::Idle, 0)];
        const OTHERS: [Role; 3] = [
            Role::new(Kind::Kthread, 0),
            Role::new(Kind::User, 0),
            Role::new(Kind::User, 1),
        ];
        if who.0 == 0 {
            &IDLE_TASK
        } else {
            &OTHERS
        }
    }

    const fn new(kind: Kind, task: usize) -> Self {
        Self { kind, task }
    }

    /// The model in which events are replayed, which has as much in store as they need.
    fn model(self, events: &[Event]) -> Model {
        let count =
            |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        let reversals = count(|event| matches!(event, Event::Reverse { .. }));
        let forces = count(|event| matches!(event, Event::Force));
        Model {
            setup: Setup {
                tasks: vec![self.kind],
                unborn: usize::from(self.kind == Kind::User),
                funcs: [Funcs::only(Func::F), Funcs::default()],
                replaces: false,
                helpers: true,
                parts: false,
                nested: false,
                users_look: true,
                module_comes: false,
                fails: false,
                budget: Budget {
                    disables: 1,
                    reversals: u8::try_from(reversals).unwrap_or(u8::MAX),
                    forces: u8::from(forces > 0),
                    exits: u8::from(self.kind == Kind::User),
                },
            },
            mutation: None,
            symmetric: false,
        }
    }
}

/// What a step of the model shows, if the trace would tell it.
fn shown(role: Role, before: &World, action: Action, after: &World) -> Option<Event> {
    let patching = |world: &World| world.transition.map(|transition| transition.patching);
    match (patching(before), patching(after)) {
        (Some(patched), None) => return Some(Event::Complete { patched }),
        (Some(old), Some(patched)) if old != patched => return Some(Event::Reverse { patched }),
        (Some(_), Some(patched)) if before.index.is_none() && after.index.is_some() => {
            return Some(Event::Start { patched })
        }
        _ => {}
    }
    let (old, new) = (&before.tasks[role.task], &after.tasks[role.task]);
    let how = match action {
        Action::Task(task, Move::WriteState) if task == role.task => How::Itself,
        Action::Task(task, Move::EndFork) if task != role.task && old.life == Life::Embryo => {
            if new.state == IDLE || new.state != after.target {
                return None;
            }
            How::Forked
        }
        _ if old.state == new.state || new.state == IDLE || old.state == IDLE => return None,
        Action::Task(task, Move::SearchStack) if task == role.task => How::Scheduler,
        Action::Look(_) => How::Attempt,
        Action::Step(_) if after.forced => How::Forced,
        _ => return None,
    };
    Some(Event::Switch {
        patched: new.state == 1,
        how,
    })
}

/// Whether an event that is no step can be seen in this world.
fn can_be_seen(role: Role, world: &World, event: Event) -> bool {
    match event {
        Event::Force => world.forced,
        Event::Blocked { inside } => {
            let task = &world.tasks[role.task];
            let (Some(transition), Some(published)) = (world.transition, world.index) else {
                return false;
            };
            let index = world.indexes[published as usize];
            let is_in = task
                .stack()
                .any(|word| index.is_some_and(|index| index.has(word)));
            task.runs() && task.state != transition.state() && (is_in || !inside)
        }
        _ => false,
    }
}

/// Some worlds, and all that can be reached from them by actions that `may` happen. A step that does
/// not `lead_on` is not followed.
fn reach(
    model: &Model,
    from: HashSet<World>,
    may: impl Fn(Action) -> bool,
    mut lead_on: impl FnMut(&World, Action, &World) -> bool,
) -> HashSet<World> {
    let mut known = from.clone();
    let mut next: VecDeque<World> = from.into_iter().collect();
    let mut actions = Vec::new();
    while let Some(world) = next.pop_front() {
        model.actions(&world, &mut actions);
        for action in actions.drain(..).filter(|&action| may(action)) {
            let Some(then) = model.next_state(&world, action) else {
                continue;
            };
            if lead_on(&world, action, &then) && !known.contains(&then) {
                known.insert(then.clone());
                next.push_back(then);
            }
        }
    }
    known
}

/// The worlds that are reached by showing `event`, after anything that shows nothing.
fn after(model: &Model, role: Role, from: HashSet<World>, event: Event) -> HashSet<World> {
    let mut found = HashSet::new();
    let may = |action| !matches!(action, Action::Enable(Patch::B) | Action::Unload(_));
    let mut known = reach(model, from, may, |before, action, then| {
        let seen = shown(role, before, action, then);
        if seen == Some(event) {
            found.insert(then.clone());
        }
        seen.is_none()
    });
    if matches!(event, Event::Force | Event::Blocked { .. }) {
        known.retain(|world| can_be_seen(role, world, event));
        return known;
    }
    found
}

/// The worlds in which a transition of the patch in this direction can start.
fn beginning(model: &Model, patched: bool) -> HashSet<World> {
    let start: HashSet<World> = model.init_states().into_iter().collect();
    if patched {
        return start;
    }
    // All worlds in which the patch is enabled, however the tasks came to use it.
    let may = |action: Action| !action.is_a_decision() || action == Action::Enable(Patch::A);
    let mut known = reach(model, start, may, |_, _, _| true);
    known.retain(|world| world.transition.is_none() && world.patch(Patch::A).enabled);
    known
}

/// How many events a role allows, of these.
fn allows(role: Role, events: &[Event]) -> usize {
    let model = role.model(events);
    let Some(Event::Start { patched }) = events.first() else {
        return 0;
    };
    let mut worlds = beginning(&model, *patched);
    for (number, &event) in events.iter().enumerate() {
        worlds = after(&model, role, worlds, event);
        if worlds.is_empty() {
            return number;
        }
    }
    events.len()
}

/// The same for the role that allows most. The first ones are the smallest.
fn most_allowed(who: &Who, events: &[Event]) -> usize {
    let mut most = 0;
    for &role in Role::of(who) {
        most = most.max(allows(role, events));
        if most == events.len() {
            break;
        }
    }
    most
}

/// Something that was recorded and that the model does not allow.
pub struct Forbidden {
    pub patch: String,
    pub who: Who,
    pub events: Vec<Event>,
    /// How many of these the model allows.
    pub allowed: usize,
}

/// What a replay has found out.
#[derive(Default)]
pub struct Outcome {
    pub transitions: usize,
    /// How many of them the model does not allow, for one task or more.
    pub bad: usize,
    /// How many tasks were replayed, over all transitions.
    pub tasks: usize,
    pub forbidden: Vec<Forbidden>,
    /// How many different sequences there were.
    pub different: usize,
}

/// Replays transitions.
pub fn replay(transitions: Vec<Transition>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut known: HashMap<(bool, Vec<Event>), usize> = HashMap::new();
    for transition in transitions {
        outcome.transitions += 1;
        let bad_tasks = outcome.forbidden.len();
        for (who, events) in transition.tasks {
            outcome.tasks += 1;
            let events = shorten(events);
            let allowed = *known
                .entry((who.0 == 0, events.clone()))
                .or_insert_with(|| most_allowed(&who, &events));
            if allowed < events.len() {
                outcome.forbidden.push(Forbidden {
                    patch: transition.patch.clone(),
                    who,
                    events,
                    allowed,
                });
            }
        }
        outcome.bad += usize::from(outcome.forbidden.len() > bad_tasks);
    }
    outcome.different = known.len();
    outcome
}

/// The same without repetitions of what attempts have found.
fn shorten(mut events: Vec<Event>) -> Vec<Event> {
    events.dedup_by(|a, b| a == b && matches!(a, Event::Blocked { .. }));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Event = Event::Start { patched: true };
    const COMPLETE: Event = Event::Complete { patched: true };
    const BACK: Event = Event::Reverse { patched: false };
    const UNDONE: Event = Event::Complete { patched: false };

    fn switch(patched: bool, how: How) -> Event {
        Event::Switch { patched, how }
    }

    /// How many of the events are allowed for a task with this number.
    fn allowed(pid: u32, events: &[Event]) -> usize {
        most_allowed(&(pid, String::new()), events)
    }

    #[test]
    fn what_happens_is_allowed() {
        for how in [How::Itself, How::Scheduler, How::Attempt, How::Forked] {
            assert_eq!(
                allowed(7, &[START, switch(true, how), COMPLETE]),
                3,
                "{how:?}"
            );
        }
        let off = Event::Start { patched: false };
        assert_eq!(allowed(7, &[off, switch(false, How::Itself), UNDONE]), 3);
        assert_eq!(allowed(0, &[START, switch(true, How::Itself), COMPLETE]), 3);
        // A task that exits need not switch.
        let blocked = Event::Blocked { inside: true };
        assert_eq!(allowed(7, &[START, blocked, COMPLETE]), 3);
        let forced = [
            START,
            blocked,
            switch(true, How::Forced),
            Event::Force,
            COMPLETE,
        ];
        assert_eq!(allowed(7, &forced), 5);
    }

    #[test]
    fn a_task_switches_once_in_each_direction() {
        let once = switch(true, How::Attempt);
        assert_eq!(allowed(7, &[START, once, once]), 2);
        let back = switch(false, How::Attempt);
        assert_eq!(allowed(7, &[START, once, BACK, back, UNDONE]), 5);
        assert_eq!(allowed(7, &[START, once, back]), 2);
    }

    #[test]
    fn a_transition_waits_for_all() {
        // The idle task cannot exit.
        let blocked = Event::Blocked { inside: true };
        assert_eq!(allowed(0, &[START, blocked, COMPLETE]), 2);
        assert_eq!(
            allowed(0, &[START, blocked, switch(true, How::Itself), COMPLETE]),
            4
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        // Tasks switch to where the transition goes.
        assert_eq!(allowed(7, &[START, switch(false, How::Attempt)]), 1);
        // It does not end elsewhere.
        assert_eq!(allowed(7, &[START, switch(true, How::Itself), UNDONE]), 2);
        // Idle tasks are not switched in the scheduler, nor forked.
        assert_eq!(allowed(0, &[START, switch(true, How::Scheduler)]), 1);
        assert_eq!(allowed(0, &[START, switch(true, How::Forked)]), 1);
        // Without force there is nothing forced.
        assert_eq!(allowed(7, &[START, switch(true, How::Forced)]), 1);
        // A task that has switched is not in the way.
        let blocked = Event::Blocked { inside: false };
        assert_eq!(allowed(7, &[START, switch(true, How::Itself), blocked]), 2);
    }
}
