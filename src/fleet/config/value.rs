//! One config value: YAML from outside, checked and bounded, and the typed reads services make.

use std::time::Duration;

use serde_yaml::Value;

use crate::plan::MAX_BYTES;
use crate::safe::escape;

pub(crate) mod plain;
mod text;

pub use text::ValueText;

/// How deep a value may nest: configs do not, bombs do.
const MAX_DEPTH: usize = 64;

/// Why a text is no value, or a value not of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Nothing there.
    #[error("the value is empty; write '\"\"' for an empty text, or remove the key with unset")]
    Empty,
    /// More than a key may hold.
    #[error(
        "the value has {0} bytes, etcd takes at most {MAX_BYTES} at once; keep large data elsewhere"
    )]
    TooLarge(usize),
    /// Bytes that are no text.
    #[error("the value is not UTF-8; config values are YAML text")]
    NotText,
    /// YAML says no.
    #[error("the value is not YAML: {0}")]
    NotYaml(String),
    /// Nested beyond reason.
    #[error("the value nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Of another type than wanted.
    #[error("{found} is no {wanted}")]
    Type {
        /// What there is, shortened and safe to show.
        found: String,
        /// What was wanted, with an example.
        wanted: &'static str,
    },
}

/// Reads a config value.
///
/// # Errors
/// [`ValueError`] when it is empty, too large, no UTF-8, no YAML, or nests too deep.
pub fn parse(bytes: &[u8]) -> Result<Value, ValueError> {
    if bytes.len() > MAX_BYTES {
        return Err(ValueError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ValueError::NotText)?;
    if let Some(value) = plain::read(text) {
        return Ok(value);
    }
    if text.trim().is_empty() {
        return Err(ValueError::Empty);
    }
    let value: Value = serde_yaml::from_str(text)
        .map_err(|e| ValueError::NotYaml(escape(&e.to_string()).into_owned()))?;
    if deeper_than(&value, MAX_DEPTH) {
        return Err(ValueError::TooDeep);
    }
    Ok(value)
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Sequence(items) => {
            levels == 0 || items.iter().any(|item| deeper_than(item, levels - 1))
        }
        Value::Mapping(members) => {
            levels == 0
                || members
                    .values()
                    .any(|member| deeper_than(member, levels - 1))
        }
        Value::Tagged(tagged) => levels == 0 || deeper_than(&tagged.value, levels - 1),
        _ => false,
    }
}

/// A value on one line, as it would be typed: `5s`, `[a, b]`, `{attempts: 3}`. Safe to show.
#[must_use]
pub fn one_line(value: &Value) -> String {
    let mut line = String::new();
    write_flow(value, &mut line);
    escape(&line).into_owned()
}

fn write_flow(value: &Value, line: &mut String) {
    match value {
        Value::Sequence(items) => {
            line.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    line.push_str(", ");
                }
                write_flow(item, line);
            }
            line.push(']');
        }
        Value::Mapping(members) => {
            line.push('{');
            for (i, (key, member)) in members.iter().enumerate() {
                if i > 0 {
                    line.push_str(", ");
                }
                write_flow(key, line);
                line.push_str(": ");
                write_flow(member, line);
            }
            line.push('}');
        }
        scalar => {
            let text = serde_yaml::to_string(scalar).unwrap_or_default();
            // A text of several lines is written as a block; here it stays on its line.
            match scalar {
                Value::String(string) if text.trim_end().contains('\n') => {
                    line.push_str(&format!("{string:?}"));
                }
                _ => line.push_str(text.trim_end()),
            }
        }
    }
}

fn refuse<T>(value: &Value, wanted: &'static str) -> Result<T, ValueError> {
    let shown = one_line(value);
    let mut found: String = shown.chars().take(40).collect();
    if found.len() < shown.len() {
        found.push('…');
    }
    if let Value::String(_) = value {
        found = format!("\"{}\"", found.trim_matches(['"', '\'']));
    }
    Err(ValueError::Type { found, wanted })
}

/// Reads a duration: numbers with units `ns`, `us`, `ms`, `s`, `m`, `h`, `d`, one after the other:
/// `5s`, `1m30s`, `1.5h`. A bare number has no unit and is refused, except 0.
///
/// # Errors
/// [`ValueError::Type`].
pub fn duration(value: &Value) -> Result<Duration, ValueError> {
    let wanted = "duration (like 250ms, 5s or 1m30s)";
    let parsed = match value {
        Value::String(text) => parse_duration(text),
        Value::Number(number) if number.as_u64() == Some(0) => Some(Duration::ZERO),
        _ => None,
    };
    parsed.map_or_else(|| refuse(value, wanted), Ok)
}

/// The duration that a text like `1m30s` names; `None` when it names none.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        let after = &rest[unit_at..];
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let seconds = match &after[..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        // Whole numbers of whole units are exact; others are within a nanosecond.
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = &after[unit_end..];
    }
    Some(total)
}

/// Reads a size in bytes: a number, or a number with `B`, `KB`, `MB`, `GB`, `TB` (powers of 1,000)
/// or `KiB`, `MiB`, `GiB`, `TiB` (powers of 1,024).
///
/// # Errors
/// [`ValueError::Type`].
pub fn size(value: &Value) -> Result<u64, ValueError> {
    let wanted = "size (like 512KiB or 10MB)";
    let parsed = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => parse_size(text),
        _ => None,
    };
    parsed.map_or_else(|| refuse(value, wanted), Ok)
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let factor: u64 = match text[at..].trim_start() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = text[..at].parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = text[..at].parse::<f64>().ok()? * factor as f64;
    ((0.0..9e18).contains(&bytes) && bytes.fract() == 0.0).then_some(bytes as u64)
}

/// Reads `true` or `false`.
///
/// # Errors
/// [`ValueError::Type`].
pub fn boolean(value: &Value) -> Result<bool, ValueError> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        _ => refuse(value, "truth value (true or false)"),
    }
}

/// Reads any serde type.
///
/// # Errors
/// [`ValueError::Type`] with what serde says in its message.
pub fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, ValueError> {
    serde_yaml::from_value(value.clone())
        .map_err(|e| ValueError::NotYaml(escape(&e.to_string()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_units() {
        for (text, wanted) in [
            ("5s", Some(Duration::from_secs(5))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("2d", Some(Duration::from_secs(172_800))),
            ("10us", Some(Duration::from_micros(10))),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("5", None),
            ("1x", None),
            ("s", None),
            ("-5s", None),
            ("5s ", Some(Duration::from_secs(5))),
            ("5 s", None),
            ("1e9s", None),
            ("99999999999999999999d", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(parse_duration(text), wanted, "{text:?}");
        }
        let error = duration(&Value::from("1x")).unwrap_err().to_string();
        assert_eq!(error, "\"1x\" is no duration (like 250ms, 5s or 1m30s)");
        assert!(duration(&Value::from(5)).is_err());
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (value, wanted) in [
            (Value::from(7), Some(7)),
            (Value::from("10MiB"), Some(10 << 20)),
            (Value::from("1.5 KiB"), Some(1536)),
            (Value::from("10MB"), Some(10_000_000)),
            (Value::from("10mb"), None),
            (Value::from("-1"), None),
            (Value::from("99999999999TiB"), None),
            (Value::from(true), None),
        ] {
            assert_eq!(size(&value).ok(), wanted, "{value:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_reason() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]";
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        for (bytes, wanted) in [
            (b"".as_slice(), "empty"),
            (b"  \n", "empty"),
            (b"\xff", "not UTF-8"),
            (b"{a: [1}", "not YAML"),
            (b"a: 1\n---\nb: 2", "not YAML"),
            (bomb.as_bytes(), "not YAML"),
            (deep.as_bytes(), "not YAML"),
            (&vec![b'x'; 2 << 20], "at most"),
        ] {
            let found = parse(bytes).unwrap_err().to_string();
            assert!(found.contains(wanted), "{found}");
        }
        assert_eq!(
            parse(("[".repeat(70) + &"]".repeat(70)).as_bytes()),
            Err(ValueError::TooDeep)
        );
    }

    #[test]
    fn values_are_shown_on_one_line_as_they_would_be_typed() {
        for (text, shown) in [
            ("5s", "5s"),
            ("[a, b]", "[a, b]"),
            (
                "attempts: 3\nbackoff: 100ms\n",
                "{attempts: 3, backoff: 100ms}",
            ),
            ("|\n  a\n  b\n", "\"a\\nb\\n\""),
            ("\"\"", "''"),
            ("null", "null"),
        ] {
            assert_eq!(
                one_line(&parse(text.as_bytes()).unwrap()),
                shown,
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = parse(&bytes) {
                let _ = (one_line(&value), duration(&value), size(&value));
            }
        }

        #[test]
        fn whole_durations_are_exact(seconds in 0u64..10_000_000, millis in 0u64..1000) {
            let wanted = Duration::from_secs(seconds) + Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format!("{seconds}s{millis}ms")), Some(wanted));
        }
    }
}
