//! JSON's tokens, read one at a time from text already known to be UTF-8.
//! Invariant: strict RFC 8259; a lone surrogate, a raw control character or trailing text is an
//! error. Values are skipped with a counter and a bit per level, never by recursion.

use std::borrow::Cow;
use std::ops::Range;

use super::{JsonError, number};

/// What went wrong and where; the caller knows the path.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) message: Cow<'static, str>,
    pub(crate) offset: usize,
}

pub(crate) type Lexed<T> = Result<T, Fault>;

#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    pub(crate) at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(json: &'a [u8]) -> Lexed<Lexer<'a>> {
        // A byte order mark is tolerated, as RFC 8259 allows.
        let start = if json.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        match std::str::from_utf8(json) {
            Ok(text) => Ok(Lexer { text, at: start }),
            Err(cause) => Err(Fault {
                message: "the text is not UTF-8".into(),
                offset: cause.valid_up_to(),
            }),
        }
    }

    pub(crate) fn fault<T>(&self, message: impl Into<Cow<'static, str>>) -> Lexed<T> {
        Err(Fault {
            message: message.into(),
            offset: self.at,
        })
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte that is not white space, not consumed; 0 at the end.
    #[inline]
    pub(crate) fn peek(&mut self) -> u8 {
        let bytes = self.bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Consumes the next byte if it is `wanted`.
    #[inline]
    pub(crate) fn take(&mut self, wanted: u8) -> bool {
        let hit = self.peek() == wanted && self.at < self.text.len();
        self.at += usize::from(hit);
        hit
    }

    pub(crate) fn expect(&mut self, wanted: u8, place: &'static str) -> Lexed<()> {
        if self.take(wanted) {
            return Ok(());
        }
        let found = self.found();
        self.fault(format!(
            "expected '{}' {place}, found {found}",
            char::from(wanted)
        ))
    }

    /// What stands here, for a message.
    pub(crate) fn found(&mut self) -> &'static str {
        match self.peek() {
            0 if self.at >= self.text.len() => "the end of the text",
            b'"' => "a string",
            b'{' => "an object",
            b'[' => "an array",
            b't' | b'f' => "a boolean",
            b'n' => "null",
            b'-' | b'0'..=b'9' => "a number",
            b'}' => "'}'",
            b']' => "']'",
            b',' => "','",
            b':' => "':'",
            _ => "a stray character",
        }
    }

    pub(crate) fn end(&mut self) -> Lexed<()> {
        if self.peek() == 0 && self.at >= self.text.len() {
            return Ok(());
        }
        let found = self.found();
        self.fault(format!("expected the end of the text, found {found}"))
    }

    pub(crate) fn literal(&mut self, word: &'static str) -> Lexed<()> {
        self.peek();
        let rest = &self.bytes()[self.at..];
        if rest.starts_with(word.as_bytes())
            && !rest.get(word.len()).is_some_and(u8::is_ascii_alphanumeric)
        {
            self.at += word.len();
            return Ok(());
        }
        self.fault(format!("expected '{word}'"))
    }

    pub(crate) fn number(&mut self) -> Lexed<&'a str> {
        self.peek();
        let length = number::length(&self.bytes()[self.at..]);
        let end = self.at + length;
        // "01", "1.", "1x" are one malformed token, not a number and something.
        let glued = self
            .bytes()
            .get(end)
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'.');
        if length == 0 || glued {
            return self.fault("malformed number");
        }
        let text = &self.text[self.at..end];
        self.at = end;
        Ok(text)
    }

    /// A string, borrowed where it has no escapes.
    pub(crate) fn string(&mut self) -> Lexed<Cow<'a, str>> {
        let (range, escaped) = self.string_token()?;
        let raw = &self.text[range.clone()];
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        let mut out = String::with_capacity(raw.len());
        unescape(raw, range.start, &mut out)?;
        Ok(Cow::Owned(out))
    }

    /// The range between the quotes, and whether it holds escapes (not yet checked).
    pub(crate) fn string_token(&mut self) -> Lexed<(Range<usize>, bool)> {
        if self.peek() != b'"' {
            let found = self.found();
            return self.fault(format!("expected a string, found {found}"));
        }
        let bytes = self.bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    self.at = at + 1;
                    return Ok((start..at, escaped));
                }
                b'\\' => {
                    escaped = true;
                    at += 2;
                }
                0..0x20 => {
                    self.at = at;
                    return self.fault("a control character must be escaped");
                }
                _ => at += 1,
            }
        }
        self.fault("a string that does not end")
    }

    /// The text of a range that [`Lexer::string_token`] returned, for messages: escapes resolved
    /// where they are valid.
    pub(crate) fn shown(&self, range: Range<usize>) -> String {
        let raw = self.text.get(range.clone()).unwrap_or_default();
        let mut out = String::new();
        match unescape(raw, range.start, &mut out) {
            Ok(()) => out,
            Err(_) => raw.to_owned(),
        }
    }

    /// Moves behind one value of any kind.
    pub(crate) fn skip(&mut self, depth_left: usize) -> Lexed<()> {
        // One entry per open level: whether it is an object.
        let mut open: Vec<bool> = Vec::new();
        loop {
            match self.peek() {
                b'{' => {
                    self.at += 1;
                    if !self.take(b'}') {
                        open.push(true);
                        self.check_depth(open.len(), depth_left)?;
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.take(b']') {
                        open.push(false);
                        self.check_depth(open.len(), depth_left)?;
                        continue;
                    }
                }
                b'"' => {
                    self.string()?;
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                _ => {
                    let found = self.found();
                    return self.fault(format!("expected a value, found {found}"));
                }
            }
            // A value ended: close what it closes.
            loop {
                let Some(&object) = open.last() else {
                    return Ok(());
                };
                if self.take(b',') {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                let close = if object { b'}' } else { b']' };
                self.expect(close, "or ','")?;
                open.pop();
            }
        }
    }

    fn key(&mut self) -> Lexed<()> {
        self.string()?;
        self.expect(b':', "after a key")
    }

    fn check_depth(&self, depth: usize, left: usize) -> Lexed<()> {
        if depth > left {
            self.fault("nested too deeply")
        } else {
            Ok(())
        }
    }
}

/// Resolves the escapes of `raw`, which starts at `offset` of the text.
fn unescape(raw: &str, offset: usize, out: &mut String) -> Lexed<()> {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let here = offset + raw.len() - rest.len() + at;
        let wrong = |message: &'static str| Fault {
            message: message.into(),
            offset: here,
        };
        let mut chars = rest[at + 1..].chars();
        let simple = match chars.next() {
            Some(c @ ('"' | '\\' | '/')) => Some(c),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => None,
            _ => return Err(wrong("unknown escape")),
        };
        if let Some(c) = simple {
            out.push(c);
            rest = chars.as_str();
            continue;
        }
        let tail = chars.as_str();
        let high = hex4(tail).ok_or_else(|| wrong("\\u needs four hex digits"))?;
        rest = &tail[4..];
        let code = match high {
            0xd800..0xdc00 => {
                let low = rest
                    .strip_prefix("\\u")
                    .and_then(hex4)
                    .filter(|low| (0xdc00..0xe000).contains(low))
                    .ok_or_else(|| wrong("a surrogate without its pair"))?;
                rest = &rest[6..];
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            code => code,
        };
        out.push(char::from_u32(code).ok_or_else(|| wrong("a surrogate without its pair"))?);
    }
    out.push_str(rest);
    Ok(())
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// See [`super::document_end`]. Only structure is looked at; the parser judges the rest.
pub(super) fn document_end(text: &[u8], max_depth: usize) -> Result<Option<usize>, JsonError> {
    let error = |message: &str, offset| JsonError {
        path: String::new(),
        message: message.to_owned(),
        offset,
    };
    let is_space = |b: &u8| matches!(b, b' ' | b'\n' | b'\r' | b'\t');
    let Some(start) = text.iter().position(|b| !is_space(b)) else {
        return Ok(None);
    };
    let mut open: Vec<u8> = Vec::new();
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'{' | b'[' => {
                open.push(if byte == b'{' { b'}' } else { b']' });
                if open.len() > max_depth {
                    return Err(error("nested too deeply", at));
                }
                at += 1;
            }
            b'}' | b']' => {
                if open.pop() != Some(byte) {
                    return Err(error("a bracket closes what was not opened", at));
                }
                at += 1;
            }
            b'"' => match string_end(text, at) {
                Some(end) => at = end,
                None => return Ok(None),
            },
            _ if open.is_empty() && !is_space(&byte) => {
                // A bare word or number ends at white space or the next document.
                let rest = &text[at..];
                let ends =
                    |b: &u8| is_space(b) || matches!(b, b'{' | b'[' | b'"' | b',' | b'}' | b']');
                return match rest.iter().position(ends) {
                    Some(0) => Err(error("expected a JSON value", at)),
                    Some(length) => Ok(Some(at + length)),
                    None => Ok(None),
                };
            }
            _ => at += 1,
        }
        if open.is_empty() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Where the string that starts at `at` ends, behind its closing quote.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}
