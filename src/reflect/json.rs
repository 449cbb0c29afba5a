//! Protobuf's JSON mapping, straight between JSON text and wire bytes, driven by the tables of a
//! [`Message`]: no tree of either on the way.
//! Invariant: nothing recurses, so no input can exhaust the stack; time is linear in the input.
//! Deliberately absent: unknown fields are not kept, since JSON has no place for them.

mod base64;
mod lexer;
mod number;
mod parse;
mod print;
mod quote;
mod scalar;
mod text;
mod time;

pub(crate) use lexer::Lexer;
pub(crate) use parse::Parser;
pub(crate) use quote::quote;
pub(crate) use text::{put_key, put_text};

use crate::schema::Message;

/// What to do with a JSON field that the message does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// An error that names the field's path.
    #[default]
    Reject,
    /// Left out, and so are enum values with an unknown name.
    Drop,
    /// Left out; an enum value with an unknown name is still an error, since dropping it would
    /// make elements of lists vanish.
    DropFields,
}

/// How JSON is read.
#[derive(Clone, Debug)]
pub struct ParseOptions {
    /// Fields and enum names that the schema lacks.
    pub unknown_fields: UnknownFields,
    /// How deep objects and arrays may nest, at least 1.
    pub max_depth: usize,
    /// How deep messages may nest below the outermost on the wire, map entries and the messages that make up a
    /// `Struct` included: as deep as who reads the bytes can follow. Not bounded by default.
    pub max_nesting: usize,
}

impl Default for ParseOptions {
    fn default() -> ParseOptions {
        ParseOptions {
            unknown_fields: UnknownFields::Reject,
            max_depth: MAX_DEPTH,
            max_nesting: usize::MAX,
        }
    }
}

/// How JSON is written. All off and no indent is the canonical compact form.
#[derive(Clone, Debug)]
pub struct PrintOptions {
    /// Write fields without presence even where they hold their default: `0`, `""`, `[]`, `{}`.
    pub emit_defaults: bool,
    /// With `emit_defaults`: write unset messages as `null`, members of a oneof excepted.
    pub emit_null: bool,
    /// Field names as in the `.proto` file instead of lowerCamelCase.
    pub proto_names: bool,
    /// Enums as numbers.
    pub enum_numbers: bool,
    /// Spaces per level; `None` puts everything on one line.
    pub indent: Option<u8>,
    /// How deep messages may nest, at least 1.
    pub max_depth: usize,
}

impl Default for PrintOptions {
    fn default() -> PrintOptions {
        PrintOptions {
            emit_defaults: false,
            emit_null: false,
            proto_names: false,
            enum_numbers: false,
            indent: None,
            max_depth: MAX_DEPTH,
        }
    }
}

/// Depth costs a hundred bytes a level and no stack, so the default is generous.
const MAX_DEPTH: usize = 10_000;

/// Why JSON text is not the message, or the bytes are not, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if .path.is_empty() { String::new() } else { format!("{}: ", .path) })]
pub struct JsonError {
    /// The field, as `items[2].quantity` or `labels["a"]`; empty for the message itself.
    pub path: String,
    /// What is wrong, in plain words.
    pub message: String,
    /// Bytes from the start of the JSON text; of the wire bytes this is not known and 0.
    pub offset: usize,
}

/// Encodes one JSON document as `message`.
///
/// # Errors
/// [`JsonError`] for malformed JSON, a value of the wrong type or range, an unknown field (unless
/// dropped), a repeated key, two members of a oneof, or too deep a nesting.
pub fn json_to_wire(
    message: &Message,
    json: &[u8],
    options: &ParseOptions,
) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(json.len() / 2);
    json_to_wire_into(message, json, options, &mut out)?;
    Ok(out)
}

/// As [`json_to_wire`], appending to a buffer that can be used again. On error what was appended
/// is taken back.
///
/// # Errors
/// As [`json_to_wire`].
pub fn json_to_wire_into(
    message: &Message,
    json: &[u8],
    options: &ParseOptions,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let before = out.len();
    let result = Parser::new(message.schema().inner(), json, options, out)
        .and_then(|mut parser| parser.root(message.table()));
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Writes the wire bytes of `message` as JSON, appended to `out`. On error what was appended is
/// taken back.
///
/// # Errors
/// [`JsonError`] for bytes that are not protobuf, strings that are not UTF-8, values that JSON
/// cannot say (a `Timestamp` out of range), or too deep a nesting. An `Any` that cannot be shown
/// is no error: it alone degrades to `{"@type": …, "@value": base64}`.
pub fn wire_to_json(
    message: &Message,
    wire: &[u8],
    options: &PrintOptions,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let before = out.len();
    let result =
        print::Printer::new(message.schema().inner(), options, out).root(message.table(), wire);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Writes one field of a message as JSON: what `response_body` names. An unset message is `null`,
/// any other unset field its default.
///
/// # Errors
/// As [`wire_to_json`], and when the message has no such field.
pub fn wire_field_to_json(
    message: &Message,
    field: &str,
    wire: &[u8],
    options: &PrintOptions,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let before = out.len();
    let table = message.table();
    let result = match table.by_name(field, 0) {
        Some(slot) => print::Printer::new(message.schema().inner(), options, out)
            .root_field(table, slot, wire),
        None => Err(JsonError {
            path: field.to_owned(),
            message: format!("{} has no such field", table.full_name),
            offset: 0,
        }),
    };
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Where the first JSON document of `text` ends (exclusive), for streams of documents one after
/// the other. `Ok(None)` when only white space is left or the document is not complete yet.
/// A bare number is complete only when something follows it.
///
/// # Errors
/// [`JsonError`] when what is there can never become JSON, or nests deeper than `max_depth`.
pub fn document_end(text: &[u8], max_depth: usize) -> Result<Option<usize>, JsonError> {
    lexer::document_end(text, max_depth)
}

/// The path of a place that lies deep: its begin and its end. Hostile nesting would otherwise fill an error with tens of
/// kilobytes of the same word.
fn shortened(path: String) -> String {
    const MOST: usize = 1_024;
    if path.len() <= MOST {
        return path;
    }
    let is_whole = |at: &usize| path.is_char_boundary(*at);
    let begin = (0..=MOST / 2).rev().find(is_whole).unwrap_or_default();
    let end = (path.len() - MOST / 2..=path.len()).find(is_whole);
    let end = end.unwrap_or(path.len());
    format!("{}…{}", &path[..begin], &path[end..])
}
