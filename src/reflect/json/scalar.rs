//! One scalar: from a JSON token to its wire payload, and from the wire to JSON.
//! Ranges are checked, integers exactly; a float beyond its range is an error, not infinity.

use std::borrow::Cow;

use buffa_descriptor::ScalarType;

use super::number::{self, Integer, NotInteger};
use super::{base64, quote};
use crate::wire;

/// A JSON value that is no object or array, or text from a place that knows no quotes.
#[derive(Clone, Debug)]
pub(crate) enum Token<'a> {
    String(Cow<'a, str>),
    Number(&'a str),
    Bool(bool),
    /// A map key, a path or query value: quotes would say nothing.
    Text(&'a str),
}

/// Why a token is not the scalar, in plain words.
pub(crate) type Wrong = Cow<'static, str>;

impl Token<'_> {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Token::String(_) => "a string",
            Token::Number(_) => "a number",
            Token::Bool(_) => "a boolean",
            Token::Text(_) => "text",
        }
    }

    fn shown(&self) -> String {
        let text = match self {
            Token::String(text) => text.as_ref(),
            Token::Number(text) | Token::Text(text) => text,
            Token::Bool(true) => "true",
            Token::Bool(false) => "false",
        };
        let mut out = Vec::new();
        let cut: String = text.chars().take(40).collect();
        quote(&cut, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn digits(&self) -> Option<&str> {
        match self {
            Token::String(text) => Some(text),
            Token::Number(text) | Token::Text(text) => Some(text),
            Token::Bool(_) => None,
        }
    }

    fn integer(&self, what: &'static str) -> Result<Integer, Wrong> {
        let Some(digits) = self.digits() else {
            return Err(format!("expected {what}, found {}", self.kind()).into());
        };
        number::integer(digits).map_err(|not| match not {
            NotInteger::Syntax => format!("expected {what}, found {}", self.shown()).into(),
            NotInteger::Fraction => {
                format!("{} has a fraction; {what} has none", self.shown()).into()
            }
            NotInteger::Range => format!("{} is out of the range of {what}", self.shown()).into(),
        })
    }

    fn signed<T: TryFrom<i64>>(&self, what: &'static str) -> Result<T, Wrong> {
        self.integer(what)?
            .as_i64()
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| format!("{} is out of the range of {what}", self.shown()).into())
    }

    fn unsigned<T: TryFrom<u64>>(&self, what: &'static str) -> Result<T, Wrong> {
        self.integer(what)?
            .as_u64()
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| format!("{} is out of the range of {what}", self.shown()).into())
    }

    pub(crate) fn enum_number(&self) -> Result<i32, Wrong> {
        self.signed("an enum's number")
    }

    pub(crate) fn double(&self) -> Result<f64, Wrong> {
        let value = self.float("a double", number::double, f64::NAN, f64::INFINITY)?;
        self.finite(value, value.is_infinite(), "a double")
    }

    fn single(&self) -> Result<f32, Wrong> {
        let value = self.float("a float", number::single, f32::NAN, f32::INFINITY)?;
        self.finite(value, value.is_infinite(), "a float")
    }

    fn float<T: std::ops::Neg<Output = T>>(
        &self,
        what: &'static str,
        parse: fn(&str) -> Option<T>,
        nan: T,
        infinity: T,
    ) -> Result<T, Wrong> {
        match self {
            Token::String(_) | Token::Text(_) => match self.digits().unwrap_or_default() {
                "NaN" => return Ok(nan),
                "Infinity" => return Ok(infinity),
                "-Infinity" => return Ok(-infinity),
                _ => {}
            },
            _ => {}
        }
        self.digits()
            .and_then(parse)
            .ok_or_else(|| format!("expected {what}, found {}", self.shown()).into())
    }

    /// Digits that came out infinite were out of range; the word itself is not.
    fn finite<T>(&self, value: T, infinite: bool, what: &str) -> Result<T, Wrong> {
        let word = self.digits().is_some_and(|d| d.ends_with("Infinity"));
        if infinite && !word {
            return Err(format!("{} is out of the range of {what}", self.shown()).into());
        }
        Ok(value)
    }

    fn boolean(&self) -> Result<bool, Wrong> {
        match self {
            Token::Bool(value) => Ok(*value),
            Token::Text("true") => Ok(true),
            Token::Text("false") => Ok(false),
            other => Err(format!("expected true or false, found {}", other.shown()).into()),
        }
    }

    pub(crate) fn text(&self) -> Result<&str, Wrong> {
        match self {
            Token::String(text) => Ok(text),
            Token::Text(text) => Ok(text),
            other => Err(format!("expected a string, found {}", other.kind()).into()),
        }
    }
}

/// Appends the payload of one scalar, without its tag. Returns whether it is the default value.
pub(crate) fn put(ty: ScalarType, token: &Token<'_>, out: &mut Vec<u8>) -> Result<bool, Wrong> {
    let varint = |out: &mut Vec<u8>, value: u64| {
        wire::put_varint(out, value);
        Ok(value == 0)
    };
    match ty {
        ScalarType::Int32 => varint(out, i64::from(token.signed::<i32>("an int32")?) as u64),
        ScalarType::Int64 => varint(out, token.signed::<i64>("an int64")? as u64),
        ScalarType::Uint32 => varint(out, u64::from(token.unsigned::<u32>("a uint32")?)),
        ScalarType::Uint64 => varint(out, token.unsigned::<u64>("a uint64")?),
        ScalarType::Sint32 => varint(
            out,
            wire::zigzag(i64::from(token.signed::<i32>("a sint32")?)),
        ),
        ScalarType::Sint64 => varint(out, wire::zigzag(token.signed("a sint64")?)),
        ScalarType::Bool => varint(out, u64::from(token.boolean()?)),
        ScalarType::Fixed32 => {
            let value: u32 = token.unsigned("a fixed32")?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value == 0)
        }
        ScalarType::Sfixed32 => {
            let value: i32 = token.signed("an sfixed32")?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value == 0)
        }
        ScalarType::Fixed64 => {
            let value: u64 = token.unsigned("a fixed64")?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value == 0)
        }
        ScalarType::Sfixed64 => {
            let value: i64 = token.signed("an sfixed64")?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value == 0)
        }
        // Negative zero has a bit set, so it is no default and is kept.
        ScalarType::Float => {
            let value = token.single()?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value.to_bits() == 0)
        }
        ScalarType::Double => {
            let value = token.double()?;
            out.extend_from_slice(&value.to_le_bytes());
            Ok(value.to_bits() == 0)
        }
        ScalarType::String => {
            let text = token.text()?;
            wire::put_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
            Ok(text.is_empty())
        }
        ScalarType::Bytes => {
            let text = token.text()?;
            let mut bytes = Vec::new();
            base64::decode(text, &mut bytes)
                .ok_or_else(|| format!("{} is not base64", token.shown()))?;
            wire::put_varint(out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
            Ok(bytes.is_empty())
        }
    }
}

/// A varint or fixed value as JSON. Strings and bytes go through [`print_bytes`].
#[inline]
pub(crate) fn print(ty: ScalarType, raw: u64, out: &mut Vec<u8>) {
    match ty {
        ScalarType::Int32 | ScalarType::Sfixed32 => {
            number::put_i64(out, i64::from(raw as u32 as i32));
        }
        ScalarType::Uint32 | ScalarType::Fixed32 => number::put_u64(out, u64::from(raw as u32)),
        ScalarType::Sint32 => {
            number::put_i64(out, i64::from(wire::unzigzag(u64::from(raw as u32)) as i32));
        }
        ScalarType::Int64 | ScalarType::Sfixed64 => {
            out.push(b'"');
            number::put_i64(out, raw as i64);
            out.push(b'"');
        }
        ScalarType::Uint64 | ScalarType::Fixed64 => {
            out.push(b'"');
            number::put_u64(out, raw);
            out.push(b'"');
        }
        ScalarType::Sint64 => {
            out.push(b'"');
            number::put_i64(out, wire::unzigzag(raw));
            out.push(b'"');
        }
        ScalarType::Bool => out.extend_from_slice(if raw != 0 { b"true" } else { b"false" }),
        ScalarType::Float => number::put_single(out, f32::from_bits(raw as u32)),
        ScalarType::Double => number::put_double(out, f64::from_bits(raw)),
        ScalarType::String | ScalarType::Bytes => out.extend_from_slice(b"\"\""),
    }
}

/// A string or bytes payload as JSON.
pub(crate) fn print_bytes(ty: ScalarType, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    if ty == ScalarType::Bytes {
        out.push(b'"');
        base64::encode(payload, out);
        out.push(b'"');
        return Ok(());
    }
    let text = std::str::from_utf8(payload).map_err(|_| Wrong::from("the string is not UTF-8"))?;
    quote(text, out);
    Ok(())
}
