// SPDX-License-Identifier: GPL-2.0

//! The text formats: `key=value` lines of the kernel, and what is shown to a person.

/// The fields of a line of `key=value`. A value may be quoted as Rust's `Debug` quotes byte
/// strings. Words without `=` are ignored, and so is what follows a quote that does not end.
pub fn fields(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let word_end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after_word) = rest.split_at(word_end);
        rest = match word.split_once('=') {
            Some((key, value)) if value.starts_with('"') => {
                let Some((_, value)) = rest.split_once("=\"") else {
                    break;
                };
                let Some((value, after)) = unquote(value) else {
                    break;
                };
                found.push((key.to_string(), value));
                after
            }
            Some((key, value)) => {
                found.push((key.to_string(), value.to_string()));
                after_word
            }
            None => after_word,
        }
        .trim_start();
    }
    found
}

/// The value before the next quote that is not escaped, and what follows that. Bytes that are
/// not UTF-8 are replaced.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let after = text.get(at + 1..)?;
                return Some((String::from_utf8_lossy(&bytes).into_owned(), after));
            }
            '\\' => match chars.next()?.1 {
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                'r' => bytes.push(b'\r'),
                '0' => bytes.push(0),
                'x' => {
                    let high = chars.next()?.1.to_digit(16)?;
                    let low = chars.next()?.1.to_digit(16)?;
                    bytes.push(u8::try_from(high * 16 + low).ok()?);
                }
                other => push(&mut bytes, other),
            },
            other => push(&mut bytes, other),
        }
    }
    None
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A name that a task may have chosen, without what would control a terminal.
pub fn clean(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control();
            let shown = (!escaped).then_some(c);
            let escape = escaped.then(|| c.escape_default()).into_iter().flatten();
            escape.chain(shown)
        })
        .collect()
}

/// A time in the unit that suits it.
pub fn duration(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_999 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// A number of things, in the singular if it is one.
pub fn count(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// A time of the clock in UTC, as 2026-11-29 00:31:03, from seconds since 1970.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The civil date of a day number, with years that begin in March, so that the leap day is
    // the last day of its year.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{of_month:02} {:02}:{:02}:{:02}",
        rest / 3_600,
        rest % 3_600 / 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(line: &str) -> Vec<(String, String)> {
        fields(line)
    }

    #[test]
    fn fields_have_words_and_quoted_values() {
        let found = pairs(r#" pid=12 comm="a \"b\" \x01\\" next=1"#);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], ("pid".into(), "12".into()));
        assert_eq!(found[1], ("comm".into(), "a \"b\" \u{1}\\".into()));
        assert_eq!(found[2], ("next".into(), "1".into()));
    }

    #[test]
    fn a_value_may_hold_what_looks_like_another_field() {
        let found = pairs(r#"comm="x pid=1" pid=2"#);
        assert_eq!(found[0].1, "x pid=1");
        assert_eq!(found[1].1, "2");
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert!(pairs("").is_empty());
        assert!(pairs("word another").is_empty());
        assert!(pairs("a=\"open").is_empty());
        assert!(pairs("a=\"\\x0").is_empty());
        assert!(pairs("a=\"\\").is_empty());
        assert_eq!(pairs("a= b=1").len(), 2);
        assert_eq!(pairs("b=1 a=\"open").len(), 1);
        assert_eq!(pairs(r#"a="\xff""#)[0].1, "\u{fffd}");
    }

    #[test]
    fn no_name_controls_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(clean("käfer"), "käfer");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(duration(12), "12 ms");
        assert_eq!(duration(5_231), "5.2 s");
        assert_eq!(duration(65_000), "1 min 5 s");
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(1_709_164_800), "2024-02-29 00:00:00");
        assert_eq!(utc(1_795_912_345), "2026-11-29 00:32:25");
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(0, "task"), "0 tasks");
    }
}
