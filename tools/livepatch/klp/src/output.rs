// SPDX-License-Identifier: GPL-2.0

//! What a command prints: text for a person, or one JSON object.

use crate::error::{Error, Exit};
use comfy_table::{presets, Table};
use serde::Serialize;
use serde_json::{json, Value};
use std::io::Write;

/// The version of the JSON. It changes if a field goes or changes its meaning; new fields do
/// not change it.
pub const VERSION: u32 = 1;

/// The result of a command.
#[derive(Debug)]
pub struct Output {
    /// For a person.
    pub text: String,
    /// The fields of the JSON object, besides version and command.
    pub json: Value,
    /// The exit status: something may have been found wrong.
    pub exit: Option<Exit>,
}

impl Output {
    /// A result without a complaint.
    pub fn new(text: impl Into<String>, json: impl Serialize) -> Self {
        Output {
            text: text.into(),
            json: serde_json::to_value(json).unwrap_or(Value::Null),
            exit: None,
        }
    }
}

/// A JSON object with the version and the command before its fields.
pub fn envelope(command: &str, fields: &Value) -> Value {
    let mut all = json!({ "version": VERSION, "command": command });
    if let (Some(all), Some(fields)) = (all.as_object_mut(), fields.as_object()) {
        all.extend(fields.clone());
    }
    all
}

/// The JSON object of an error.
pub fn error_json(command: &str, e: &Error) -> Value {
    envelope(
        command,
        &json!({
            "error": { "exit_code": e.exit as u8, "message": e.text },
            "blocking": e.blocking,
        }),
    )
}

/// Print to stdout. A reader that has gone is not an error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let _ = write!(out, "{text}{end}").and_then(|()| out.flush());
}

/// Print a JSON object.
pub fn print_json(value: &Value) {
    print(&format!("{value:#}"));
}

/// A table without lines, for people and for `awk`.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|l| format!("{}\n", l.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_version_and_command() {
        let value = envelope("list", &json!({ "patches": [] }));
        assert_eq!(value["version"], 1);
        assert_eq!(value["command"], "list");
        assert!(value["patches"].is_array());
        let value = error_json("load", &Error::new(Exit::Busy, "x"));
        assert_eq!(value["error"]["exit_code"], 7);
    }

    #[test]
    fn tables_have_columns_and_no_lines() {
        let text = table(&["NAME", "STATE"], vec![vec!["a".into(), "enabled".into()]]);
        assert_eq!(text, "NAME  STATE\na     enabled\n");
    }
}
