//! The values that config mostly has, read without a YAML parser: one line of printable ASCII with
//! words, numbers, truth values, quoted texts without escapes, and lists and mappings of these.
//!
//! What it reads means exactly what the parser says of it. Of everything else it says nothing, and
//! the parser is asked.

use serde_yaml::{Mapping, Value};

/// The longest text it reads: far below the length at which YAML no longer takes a name for one.
pub(crate) const MAX_LENGTH: usize = 512;

/// How deep lists and mappings nest here; what nests deeper is rare.
const MAX_DEPTH: usize = 8;

/// Reads the text of a value, with a comment behind it or none. `None` says nothing of the text.
pub(crate) fn read(text: &str) -> Option<Value> {
    if text.len() > MAX_LENGTH || !is_printable(text) {
        return None;
    }
    let mut reading = Reading { text, at: 0 };
    let value = reading.value(MAX_DEPTH)?;
    ends(&text[reading.at..]).then_some(value)
}

/// Whether a text is printable ASCII on one line.
pub(crate) fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether a word is a name that YAML takes for a text.
pub(crate) fn is_name(word: &str) -> bool {
    word.len() <= MAX_LENGTH
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(is_word)
        && !["true", "false", "null"]
            .iter()
            .any(|other| word.eq_ignore_ascii_case(other))
}

/// Whether nothing but a comment is left.
pub(crate) fn ends(rest: &str) -> bool {
    let left = rest.trim_start_matches(' ');
    left.is_empty() || (left.starts_with('#') && left.len() < rest.len())
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/')
}

struct Reading<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reading<'t> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.peek()? {
            b'[' => self.list(depth.checked_sub(1)?),
            b'{' => self.mapping(depth.checked_sub(1)?),
            quote @ (b'"' | b'\'') => self.quoted(quote),
            _ => scalar(self.word()),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut items = Vec::new();
        self.spaces();
        if self.takes(b']') {
            return Some(Value::Sequence(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.spaces();
            if self.takes(b']') {
                return Some(Value::Sequence(items));
            }
            self.takes(b',').then_some(())?;
            self.spaces();
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut members = Mapping::new();
        self.spaces();
        if self.takes(b'}') {
            return Some(Value::Mapping(members));
        }
        loop {
            let name = self.word();
            (is_name(name) && self.takes(b':') && self.peek() == Some(b' ')).then_some(())?;
            self.spaces();
            let member = self.value(depth)?;
            // The parser refuses a name that comes twice.
            members
                .insert(name.into(), member)
                .is_none()
                .then_some(())?;
            self.spaces();
            if self.takes(b'}') {
                return Some(Value::Mapping(members));
            }
            self.takes(b',').then_some(())?;
            self.spaces();
        }
    }

    fn quoted(&mut self, quote: u8) -> Option<Value> {
        let rest = &self.text[self.at + 1..];
        let length = rest.bytes().position(|byte| byte == quote)?;
        let inside = &rest[..length];
        self.at += length + 2;
        // A quote that is doubled stands for itself, a backslash for something else.
        let escaped = inside.contains('\\') || self.peek() == Some(quote);
        (!escaped).then(|| inside.into())
    }

    fn word(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| is_word(*byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn spaces(&mut self) {
        while self.takes(b' ') {}
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn scalar(word: &str) -> Option<Value> {
    match word {
        "true" => return Some(true.into()),
        "false" => return Some(false.into()),
        "null" => return Some(Value::Null),
        _ if is_name(word) => return Some(word.into()),
        _ => {}
    }
    let (digits, rest) = word.split_at(word.bytes().take_while(u8::is_ascii_digit).count());
    // A leading zero may stand for another base, or make a text of the number.
    let whole = digits == "0" || (digits.starts_with(|c| c != '0') && digits.len() <= 15);
    if !whole {
        return None;
    }
    if rest.is_empty() {
        return digits.parse::<u64>().ok().map(Value::from);
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let plain =
            (1..=15).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
        return plain.then(|| word.parse::<f64>().ok().map(Value::from))?;
    }
    // `5s`, `1m30s`, `10MiB`; `1e3` is a number, and so is `0x10`.
    let is_unit = |c: char| {
        let based = digits == "0" && matches!(c, 'x' | 'X' | 'o' | 'O' | 'b' | 'B');
        c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E') && !based
    };
    let unit = rest.starts_with(is_unit) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    unit.then(|| word.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<Value> {
        serde_yaml::from_str(text).ok()
    }

    #[test]
    fn what_config_mostly_has_is_read_without_a_parser() {
        for text in [
            "5s",
            "0ms",
            "1m30s",
            "10MiB",
            "0",
            "7",
            "120000",
            "0.25",
            "true",
            "false",
            "null",
            "info",
            "eu-west-1",
            "a/b_c.d",
            "\"\"",
            "'a b'",
            "\"x: #1\"",
            "5s # why",
            "[]",
            "{}",
            "[a, 1, [b]]",
            "{attempts: 3, backoff: 100ms}",
            "{ a: {b: [x]}, c: \"y\" } # z",
        ] {
            let read = read(text);
            assert!(read.is_some(), "{text}");
            assert_eq!(read, parsed(text), "{text}");
        }
    }

    #[test]
    fn of_everything_else_it_says_nothing() {
        for text in [
            "",
            " 5s",
            "a b",
            "a: b",
            "TRUE",
            "Null",
            "~",
            "007",
            "0x10",
            "1e3",
            "1.",
            ".5",
            "-5",
            "+5",
            "1_000",
            "\"a\\n\"",
            "'it''s'",
            "&a x",
            "*a",
            "!t x",
            "- a",
            "| x",
            "{a: 1, a: 2}",
            "{a}",
            "{a:1}",
            "[a,]",
            "[a b]",
            "a\nb",
            "5s#",
            "[a]b",
            "\u{e9}",
            "%a",
            "@a",
            "{1: a}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn it_never_says_anything_but_what_the_parser_says(
            text in prop_oneof![
                "[ -~]{0,12}",
                "[0-9eExXoObB.+_-]{1,8}",
                "[a-c0-2\\[\\]{},:#\"' .-]{0,24}",
                "\\{( ?[a-c]: ( ?[0-9a-e.]{1,4}|\\[[0-9a, ]{0,6}\\]|\"[a-c#: ]{0,3}\"),?){0,4} ?\\}( ?#x?)?",
                "(true|null|inf|nan|yes|off|[0-9]{1,20}|0\\.[0-9]{1,18}|[0-9]{1,3}[a-zA-Z]{1,3}[0-9]{0,2})",
            ],
        ) {
            if let Some(value) = read(&text) {
                prop_assert_eq!(parsed(&text), Some(value), "{}", text);
            }
        }
    }
}
