// SPDX-License-Identifier: GPL-2.0

//! What a person sees while a transition is under way: a bar on a terminal, lines elsewhere.

use crate::{
    text::{clean, count},
    transition::{brief_list, Transition},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// How often what is shown is read anew: reading it may mean walking over all tasks.
const EVERY: Duration = Duration::from_millis(500);
/// How often a line is printed, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

enum Kind {
    Bar(ProgressBar),
    Lines { last: String, at: Instant },
    Silent,
}

/// The progress of one transition.
pub struct Progress {
    kind: Kind,
    next: Instant,
    most: u64,
}

impl Progress {
    /// Progress that is shown, unless `silent`.
    pub fn new(silent: bool) -> Self {
        let now = Instant::now();
        let kind = if silent {
            Kind::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {wide_msg}") {
                bar.set_style(style);
            }
            Kind::Bar(bar)
        } else {
            Kind::Lines {
                last: String::new(),
                at: now,
            }
        };
        Progress {
            kind,
            // A transition that ends at once shows nothing.
            next: now + Duration::from_millis(200),
            most: 0,
        }
    }

    /// Whether it is time to show the transition anew.
    pub fn due(&self) -> bool {
        !matches!(self.kind, Kind::Silent) && Instant::now() >= self.next
    }

    /// Show the transition.
    pub fn show(&mut self, t: &Transition) {
        let now = Instant::now();
        self.next = now + EVERY;
        let left = t.remaining.unwrap_or(t.tasks.len() as u64);
        self.most = self.most.max(left);
        let text = message(t, left);
        match &mut self.kind {
            Kind::Bar(bar) => {
                bar.set_length(self.most.max(1));
                bar.set_position(self.most - left);
                bar.set_message(text);
            }
            Kind::Lines { last, at } => {
                if last.is_empty() || (*last != text && now >= *at) {
                    eprintln!("klp: {text}");
                    *last = text;
                    *at = now + LINE_EVERY;
                }
            }
            Kind::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

/// One line about a transition.
fn message(t: &Transition, left: u64) -> String {
    let mut text = format!(
        "{} {}: {} left",
        t.direction.verb(),
        clean(&t.patch),
        count(left, "task")
    );
    if !t.tasks.is_empty() {
        text.push_str(": ");
        text.push_str(&brief_list(&t.tasks));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transition::Task;

    #[test]
    fn the_line_names_the_tasks() {
        let task = Task {
            pid: 7,
            comm: "foo".into(),
            function: Some("klpr_wait".into()),
            ..Task::default()
        };
        let t = Transition {
            patch: "a".into(),
            tasks: vec![task],
            ..Transition::default()
        };
        assert_eq!(
            message(&t, 1),
            "enabling a: 1 task left: foo (7) in klpr_wait"
        );
        assert_eq!(
            message(&Transition::default(), 0),
            "enabling : 0 tasks left"
        );
    }
}
