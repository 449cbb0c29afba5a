//! Text from outside, made safe to show: no control character, no invalid UTF-8, no bidirectional
//! override reaches a terminal. What is shown can be told from what is stored: escapes are visible.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes control characters (also C1), bidirectional overrides and the byte order mark as
/// `\u{…}`. Tabs and line ends are control characters too: callers that lay out several lines
/// split first.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hostile(character) {
            // Writing to a String does not fail.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Like [`escape`], with bytes that are not UTF-8 as `\xNN`.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return escape(text);
    }
    let mut safe = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        safe.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    Cow::Owned(safe)
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_move_a_cursor_is_escaped_and_the_rest_is_kept() {
        for (raw, shown) in [
            (b"plain".as_slice(), "plain"),
            ("größe 日本".as_bytes(), "größe 日本"),
            (b"\x1b]0;pwn\x07", "\\u{1b}]0;pwn\\u{7}"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            (b"a\xf0\x9fb", "a\\xf0\\x9fb"),
            (b"l1\nl2\t", "l1\\u{a}l2\\u{9}"),
        ] {
            assert_eq!(escape_bytes(raw), shown);
        }
    }
}
