//! JSON that is safe on a terminal: control characters beyond JSON's own and characters that
//! reorder text are written as `\uXXXX`, which reads back as the same text.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::report::Failure;

/// Writes one document on one line.
///
/// # Errors
/// When the stream cannot be written.
pub fn write<T: Serialize + ?Sized>(out: &mut dyn Write, item: &T) -> Result<(), Failure> {
    // Gathered first: a document is written in dozens of pieces of a few bytes.
    let mut document = Vec::with_capacity(512);
    let mut serializer = Serializer::with_formatter(&mut document, Safe(CompactFormatter));
    item.serialize(&mut serializer)
        .map_err(|error| from_json(&error))?;
    Ok(out.write_all(&document)?)
}

/// Writes one document with two spaces a level.
///
/// # Errors
/// When the stream cannot be written.
pub fn write_pretty<T: Serialize + ?Sized>(out: &mut dyn Write, item: &T) -> Result<(), Failure> {
    let mut serializer = Serializer::with_formatter(out, Safe(PrettyFormatter::new()));
    item.serialize(&mut serializer)
        .map_err(|error| from_json(&error))
}

/// JSON text made by others, with the same characters escaped. They can stand in strings only.
#[must_use]
pub fn safe_text(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        // White space between tokens stays, it is no string.
        if is_hostile(character) {
            escape(character, &mut safe);
        } else {
            safe.push(character);
        }
    }
    safe
}

fn from_json(error: &serde_json::Error) -> Failure {
    match error.io_error_kind() {
        Some(kind) => io::Error::from(kind).into(),
        None => Failure::failed(format!("the answer has no JSON form: {error}")),
    }
}

fn is_hostile(character: char) -> bool {
    matches!(character,
        '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn escape(character: char, into: &mut String) {
    // All hostile characters lie in the basic plane: one unit each.
    into.push_str(&format!("\\u{:04x}", u32::from(character)));
}

/// Delegates layout, escapes strings.
struct Safe<F>(F);

macro_rules! delegate {
    ($($name:ident($($arg:ident: $kind:ty),*);)*) => {$(
        fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $arg: $kind)*) -> io::Result<()> {
            self.0.$name(writer $(, $arg)*)
        }
    )*};
}

impl<F: Formatter> Formatter for Safe<F> {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        writer.write_all(safe_text(fragment).as_bytes())
    }

    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_would_let_through_to_the_terminal_is_escaped_and_reads_back() {
        let raw = "a\u{9b}31m\u{202e}\u{7f}\u{1b}日本";
        let mut out = Vec::new();
        write(&mut out, &serde_json::json!({ "k": [raw] })).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "{\"k\":[\"a\\u009b31m\\u202e\\u007f\\u001b日本\"]}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["k"][0], raw);
    }
}
