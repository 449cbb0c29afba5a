//! One value from text without quotes, as a path segment or query parameter has it, to wire.
//! Only what has a scalar JSON form: scalars, enums, and the well-known types written as one.

use buffa_descriptor::ScalarType;

use super::scalar::{self, Token, Wrong};
use super::time;
use crate::schema::Inner;
use crate::schema::table::{self, Field, Type, WellKnown};
use crate::wire;

/// Appends one value of `field` under `number` (2 in a map entry), tag included, whatever its
/// presence: what is appended later wins over what stands before it.
pub(crate) fn put_text(
    schema: &Inner,
    field: &Field,
    number: u32,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let token = Token::Text(text);
    match field.ty {
        Type::Scalar(ty) => {
            wire::put_tag(out, number, table::wire_type(field.ty, false));
            scalar::put(ty, &token, out)?;
        }
        Type::Enum(id) => {
            let value = enum_number(schema, id, field.closed, text)?;
            wire::put_tag(out, number, wire::VARINT);
            wire::put_varint(out, i64::from(value) as u64);
        }
        Type::Message(id) => {
            let mut payload = Vec::new();
            put_message(schema, id, text, &mut payload)?;
            if field.delimited {
                wire::put_tag(out, number, wire::START);
                out.extend_from_slice(&payload);
                wire::put_tag(out, number, wire::END);
            } else {
                wire::put_len(out, number, &payload);
            }
        }
    }
    Ok(())
}

fn enum_number(schema: &Inner, id: usize, closed: bool, text: &str) -> Result<i32, Wrong> {
    let table = schema.enum_table(id);
    if let Some(number) = table.number(text) {
        return Ok(number);
    }
    match Token::Text(text).enum_number() {
        Ok(number) if !closed || table.name(number).is_some() => Ok(number),
        _ => Err(unknown_value(&table.names(), text)),
    }
}

/// The message for an enum name that does not exist.
pub(super) fn unknown_value(names: &[String], text: &str) -> Wrong {
    const SHOWN: usize = 8;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let names = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    format!("no such enum value {text:?}; there are {names}{more}").into()
}

fn put_message(schema: &Inner, id: usize, text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let table = schema.table(id);
    match table.kind {
        WellKnown::Timestamp | WellKnown::Duration => put_time(table.kind, text, out),
        WellKnown::FieldMask => {
            for path in text.split(',').filter(|path| !path.is_empty()) {
                // Both spellings are in use; a proto path has no capitals to convert.
                let path = time::path_to_snake(path).unwrap_or_else(|| path.to_owned());
                wire::put_len(out, 1, path.as_bytes());
            }
            Ok(())
        }
        WellKnown::Wrapper(ty) => {
            wire::put_tag(out, 1, table::wire_type(Type::Scalar(ty), false));
            scalar::put(ty, &Token::Text(text), out).map(drop)
        }
        WellKnown::Value => {
            wire::put_len(out, 3, text.as_bytes());
            Ok(())
        }
        _ => Err(format!("a {} cannot be given in a path or query", table.full_name).into()),
    }
}

/// Appends the two fields of a `Timestamp` or `Duration`.
pub(super) fn put_time(kind: WellKnown, text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let (parsed, example) = match kind {
        WellKnown::Timestamp => (
            time::parse_timestamp(text),
            "a time such as 2026-01-02T03:04:05Z",
        ),
        _ => (
            time::parse_duration(text),
            "a duration in seconds such as 1.5s",
        ),
    };
    let Some((seconds, nanos)) = parsed else {
        return Err(format!("expected {example}, found {text:?}").into());
    };
    if seconds != 0 {
        wire::put_tag(out, 1, wire::VARINT);
        wire::put_varint(out, seconds as u64);
    }
    if nanos != 0 {
        wire::put_tag(out, 2, wire::VARINT);
        wire::put_varint(out, i64::from(nanos) as u64);
    }
    Ok(())
}

/// Appends a map entry's key, tag included.
pub(crate) fn put_key(ty: ScalarType, text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
    wire::put_tag(out, 1, table::wire_type(Type::Scalar(ty), false));
    scalar::put(ty, &Token::Text(text), out).map(drop)
}
