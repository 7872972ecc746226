// SPDX-License-Identifier: GPL-2.0

//! That transitions end.
//!
//! From each state that can be reached in a transition, a path leads to its end without any
//! decision of the administrator. So it ends if tasks and core continue, and nothing that can
//! happen again and again is put off for ever.

use crate::{
    model::{Action, Model},
    world::World,
};
use indexmap::IndexSet;
use stateright::Model as _;

/// States in their order, each with what has led to it; nothing has led to the first.
pub type Path = Vec<(World, Option<Action>)>;

/// The states that can be reached from one.
struct Graph {
    worlds: IndexSet<World>,
    /// How each was reached first.
    from: Vec<Option<(u32, Action)>>,
    /// The states that lead to each without a decision.
    before: Vec<Vec<u32>>,
}

impl Graph {
    fn new(world: World) -> Self {
        let mut graph = Self {
            worlds: IndexSet::new(),
            from: Vec::new(),
            before: Vec::new(),
        };
        graph.number(world, None);
        graph
    }

    /// The number of a state. It is added if it is not known.
    fn number(&mut self, world: World, from: Option<(u32, Action)>) -> u32 {
        let (number, is_new) = self.worlds.insert_full(world);
        if is_new {
            self.from.push(from);
            self.before.push(Vec::new());
        }
        number as u32
    }

    /// Explores from the known states, in the order in which they were reached, by the actions that
    /// `may` happen, until there is a state that is `wanted`. Returns its number.
    fn explore(
        &mut self,
        model: &Model,
        may: impl Fn(Action) -> bool,
        wanted: impl Fn(&World) -> bool,
    ) -> Option<usize> {
        let mut next = 0;
        let mut actions = Vec::new();
        while let Some(world) = self.worlds.get_index(next).cloned() {
            if wanted(&world) {
                return Some(next);
            }
            model.actions(&world, &mut actions);
            for action in actions.drain(..).filter(|&action| may(action)) {
                let Some(after) = model.next_state(&world, action) else {
                    continue;
                };
                let number = self.number(after, Some((next as u32, action)));
                // Whether the core finds a task while it does not run is up to chance.
                if !action.is_a_decision() && !matches!(action, Action::Look(_)) {
                    self.before[number as usize].push(next as u32);
                }
            }
            next += 1;
        }
        None
    }

    /// Whether a state in which `ended` is true can be reached from each without any decision.
    fn can_end(&self, ended: impl Fn(&World) -> bool) -> Vec<bool> {
        let mut ends: Vec<bool> = self.worlds.iter().map(ended).collect();
        let mut todo: Vec<usize> = (0..ends.len()).filter(|&number| ends[number]).collect();
        while let Some(number) = todo.pop() {
            for &before in &self.before[number] {
                if !ends[before as usize] {
                    ends[before as usize] = true;
                    todo.push(before as usize);
                }
            }
        }
        ends
    }

    fn path(&self, mut number: usize) -> Path {
        let mut path = Vec::new();
        while let Some((from, action)) = self.from[number] {
            path.push((self.worlds[number].clone(), Some(action)));
            number = from as usize;
        }
        path.push((self.worlds[number].clone(), None));
        path.reverse();
        path
    }
}

/// Returns a path to a transition that cannot end, if there is one.
pub fn stuck(model: &Model) -> Option<Path> {
    let mut graph = Graph::new(model.init_states().pop()?);
    graph.explore(model, |_| true, |_| false);
    let ends = graph.can_end(|world| world.transition.is_none() && world.steps.is_empty());
    // The first was reached by the fewest steps.
    let first = ends.iter().position(|ends| !ends)?;
    let mut path = graph.path(first);

    // Continue to where the core can only make attempts: it shows what the core waits for.
    let mut graph = Graph::new(graph.worlds[first].clone());
    let waits =
        |world: &World| world.transition.is_some_and(|t| t.started) && world.steps.is_empty();
    if let Some(number) = graph.explore(model, |action| !action.is_a_decision(), waits) {
        path.extend(graph.path(number).into_iter().skip(1));
    }
    Some(path)
}
