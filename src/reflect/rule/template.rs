//! Path templates: `/v1/{name=shelves/*}/books/**:verb`.
//! A template is flat once parsed: segments, and variables as ranges of them.

use std::ops::Range;

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// `*`: any one segment that is not empty.
    One,
    /// `**`: any number of segments, none included; at most once in a template.
    Many,
}

/// A part of the path that goes into a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The field, dotted: `user.name`.
    pub path: String,
    /// The segments that make up its value.
    pub segments: Range<usize>,
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The segments between the slashes, variables resolved.
    pub segments: Vec<Segment>,
    /// The variables, in order.
    pub variables: Vec<Variable>,
    /// What follows the colon, without it.
    pub verb: Option<String>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path template {template:?} is malformed at byte {at}: {cause}")]
pub struct TemplateError {
    template: String,
    at: usize,
    cause: &'static str,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] with the place and the cause.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut parser = Parser {
            text,
            at: 0,
            template: Template {
                segments: Vec::new(),
                variables: Vec::new(),
                verb: None,
            },
        };
        parser.expect('/', "a template begins with '/'")?;
        if !parser.rest().is_empty() {
            parser.segments(false)?;
        }
        if parser.take(':') {
            let verb = parser.verb()?;
            parser.template.verb = Some(verb);
        }
        if !parser.rest().is_empty() {
            return parser.fail("unexpected character");
        }
        Ok(parser.template)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    template: Template,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, cause: &'static str) -> Result<T, TemplateError> {
        Err(TemplateError {
            template: self.text.to_owned(),
            at: self.at,
            cause,
        })
    }

    fn take(&mut self, wanted: char) -> bool {
        let hit = self.rest().starts_with(wanted);
        self.at += if hit { wanted.len_utf8() } else { 0 };
        hit
    }

    fn expect(&mut self, wanted: char, cause: &'static str) -> Result<(), TemplateError> {
        if self.take(wanted) {
            Ok(())
        } else {
            self.fail(cause)
        }
    }

    fn segments(&mut self, inside: bool) -> Result<(), TemplateError> {
        loop {
            self.segment(inside)?;
            if !self.take('/') {
                return Ok(());
            }
        }
    }

    fn segment(&mut self, inside: bool) -> Result<(), TemplateError> {
        let segment = if self.rest().starts_with("**") {
            if self.template.segments.contains(&Segment::Many) {
                return self.fail("'**' may stand only once");
            }
            self.at += 2;
            Segment::Many
        } else if self.take('*') {
            Segment::One
        } else if self.rest().starts_with('{') {
            if inside {
                return self.fail("variables do not nest");
            }
            self.at += 1;
            return self.variable();
        } else {
            Segment::Literal(self.literal(inside)?)
        };
        self.template.segments.push(segment);
        Ok(())
    }

    fn variable(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        loop {
            let rest = self.rest();
            let ident = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            if ident == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
                return self.fail("a field's name is letters, digits and '_'");
            }
            self.at += ident;
            if !self.take('.') {
                break;
            }
        }
        let path = self.text[start..self.at].to_owned();
        if self
            .template
            .variables
            .iter()
            .any(|known| known.path == path)
        {
            return self.fail("a field is bound twice");
        }
        let first = self.template.segments.len();
        if self.take('=') {
            self.segments(true)?;
        } else {
            self.template.segments.push(Segment::One);
        }
        self.expect('}', "a variable ends with '}'")?;
        let segments = first..self.template.segments.len();
        self.template.variables.push(Variable { path, segments });
        Ok(())
    }

    /// Text up to the next character with a meaning, percent-decoded. A colon has none before another segment:
    /// `/v1/a:b/c` has no verb. Within a variable it has no place.
    fn literal(&mut self, inside: bool) -> Result<String, TemplateError> {
        let rest = self.rest();
        let end = rest.find(MEANT).unwrap_or(rest.len());
        let colon = rest[..end].rfind(':');
        if inside && let Some(colon) = colon {
            self.at += colon;
            return self.fail("a verb stands at the end of a template");
        }
        let verb = colon.filter(|_| !rest[end..].starts_with('/'));
        self.text_to(
            verb.unwrap_or(end),
            "a segment is a literal, '*', '**' or a variable",
        )
    }

    /// All that follows the colon.
    fn verb(&mut self) -> Result<String, TemplateError> {
        let rest = self.rest();
        let end = rest.find(MEANT).unwrap_or(rest.len());
        self.text_to(end, "a verb follows ':'")
    }

    fn text_to(&mut self, end: usize, cause: &'static str) -> Result<String, TemplateError> {
        if end == 0 {
            return self.fail(cause);
        }
        let Some(text) = decode(&self.rest()[..end]) else {
            return self.fail("malformed percent-encoding");
        };
        self.at += end;
        Ok(text)
    }
}

/// What no literal holds as it is. A star in the middle of one would look like a pattern that nobody follows.
const MEANT: [char; 6] = ['/', '{', '}', '*', '?', '#'];

/// Percent-decodes strictly: `None` for a malformed escape or what is not UTF-8 afterwards.
pub(super) fn decode(text: &str) -> Option<String> {
    decode_except(text, None)
}

/// As [`decode`], leaving escapes of one byte as they are.
pub(super) fn decode_except(text: &str, except: Option<u8>) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let [high, low, rest @ ..] = bytes else {
            return None;
        };
        let digit = |b: u8| char::from(b).to_digit(16);
        let byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
        if Some(byte) == except {
            out.extend_from_slice(&[b'%', *high, *low]);
        } else {
            out.push(byte);
        }
        bytes = rest;
    }
    String::from_utf8(out).ok()
}
