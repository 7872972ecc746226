// SPDX-License-Identifier: GPL-2.0

//! Checks JSON against our schema. It knows the keywords that the schema uses, and refuses any
//! other, so that none is ignored. A crate for all keywords would take longer to build than
//! everything else here.
//!
//! It is stricter than a user's validator: fields that the schema does not have, which a user
//! ignores, are errors here. So each field is documented.

use serde_json::Value;

type Checked = Result<(), String>;

/// The schema, with what its references point at.
pub struct Schema(Value);

impl Schema {
    /// Ours.
    pub fn new() -> Self {
        let text = include_str!("../../schema/klp.schema.json");
        Schema(serde_json::from_str(text).unwrap())
    }

    /// Check a value against the whole.
    pub fn check(&self, value: &Value) -> Checked {
        self.at(&self.0, value, "")
    }

    /// Check a value, which is at a path, against a part of the schema.
    fn at(&self, schema: &Value, value: &Value, path: &str) -> Checked {
        for (keyword, wanted) in schema.as_object().ok_or("a schema is an object")? {
            self.keyword(schema, keyword, wanted, value, path)
                .map_err(|e| {
                    if e.starts_with('/') {
                        e
                    } else {
                        format!("{path}/: {e}")
                    }
                })?;
        }
        Ok(())
    }

    fn keyword(
        &self,
        schema: &Value,
        keyword: &str,
        wanted: &Value,
        value: &Value,
        path: &str,
    ) -> Checked {
        let is = |good: bool| {
            if good {
                Ok(())
            } else {
                Err(format!("{value} is not {keyword} {wanted}"))
            }
        };
        match keyword {
            "$schema" | "$comment" | "$defs" | "title" | "description" => Ok(()),
            "type" => is(has_type(value, wanted.as_str().unwrap_or_default())),
            "const" => is(value == wanted),
            "enum" => is(list(wanted).contains(value)),
            "minimum" => is(value.as_f64() >= wanted.as_f64()),
            "pattern" => {
                // The only one that there is.
                assert_eq!(wanted, "^klp_[a-z_]+$");
                let name = value.as_str().and_then(|s| s.strip_prefix("klp_"));
                is(name.is_some_and(|n| {
                    !n.is_empty() && n.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
                }))
            }
            "$ref" => {
                let name = wanted.as_str().and_then(|s| s.strip_prefix("#/$defs/"));
                let part = &self.0["$defs"][name.ok_or("a reference to elsewhere")?];
                self.at(part, value, path)
            }
            "anyOf" | "oneOf" => {
                let results: Vec<_> = list(wanted)
                    .iter()
                    .map(|s| self.at(s, value, path))
                    .collect();
                let good = results.iter().filter(|r| r.is_ok()).count();
                if good == 1 || (good > 1 && keyword == "anyOf") {
                    return Ok(());
                }
                Err(format!("{good} of {keyword} fit {value}: {results:?}"))
            }
            "required" => list(wanted).iter().try_for_each(|field| {
                let name = field.as_str().unwrap_or_default();
                value
                    .get(name)
                    .map(|_| ())
                    .ok_or(format!("{name} is missing"))
            }),
            "properties" => {
                value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .try_for_each(|(name, field)| {
                        let part = schema["properties"]
                            .get(name)
                            .ok_or(format!("{name} is not documented"))?;
                        self.at(part, field, &format!("{path}/{name}"))
                    })
            }
            "items" => value
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
                .try_for_each(|(n, item)| self.at(wanted, item, &format!("{path}/{n}"))),
            other => Err(format!("the keyword {other} is not known here")),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

/// Check an object that klp has printed.
pub fn check(value: &Value) {
    if let Err(e) = Schema::new().check(value) {
        panic!("{value:#}\n{e}");
    }
}
