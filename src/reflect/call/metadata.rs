//! Metadata as pairs in order: text, or bytes under a `-bin` name.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use tonic::metadata::{
    AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataKey, BinaryMetadataValue, KeyAndValueRef,
    MetadataMap,
};

use crate::error::Error;

/// A header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Under any name that does not end in `-bin`.
    Text(String),
    /// Under a name that ends in `-bin`; base64 only on the wire.
    Binary(Vec<u8>),
}

impl Value {
    /// The text, or base64 of the bytes.
    pub fn shown(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Binary(bytes) => STANDARD.encode(bytes),
        }
    }
}

/// Headers or trailers, in order, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Value)>);

impl Metadata {
    /// Adds `name: value` as a person writes it; a `-bin` value is base64, or taken as its own
    /// bytes where it is none.
    ///
    /// # Errors
    /// [`Error::Header`] for a name or value that HTTP/2 cannot carry, or that is gRPC's own.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim();
        let error = |cause: &str| Error::Header {
            name: name.clone(),
            cause: cause.to_owned(),
        };
        let own = [
            "content-type",
            "te",
            "host",
            "connection",
            "transfer-encoding",
        ];
        if name.starts_with("grpc-") || name.starts_with(':') || own.contains(&name.as_str()) {
            return Err(error("gRPC sets this header itself"));
        }
        let value = if name.ends_with("-bin") {
            let trimmed = value.trim_end_matches('=');
            Value::Binary(
                STANDARD_NO_PAD
                    .decode(trimmed)
                    .unwrap_or_else(|_| value.as_bytes().to_vec()),
            )
        } else {
            Value::Text(value.to_owned())
        };
        check(&name, &value).map_err(error)?;
        self.0.push((name, value));
        Ok(())
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The first value under a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn to_tonic(&self) -> Result<MetadataMap, Error> {
        let mut map = MetadataMap::new();
        for (name, value) in &self.0 {
            let wrong = || Error::Header {
                name: name.clone(),
                cause: "malformed".to_owned(),
            };
            match value {
                Value::Text(text) => {
                    let key: AsciiMetadataKey = name.parse().map_err(|_| wrong())?;
                    let value: AsciiMetadataValue = text.parse().map_err(|_| wrong())?;
                    map.append(key, value);
                }
                Value::Binary(bytes) => {
                    let key: BinaryMetadataKey = name.parse().map_err(|_| wrong())?;
                    map.append_bin(key, BinaryMetadataValue::from_bytes(bytes));
                }
            }
        }
        Ok(map)
    }

    /// From tonic's map. The status itself is left out: it is shown as such.
    pub fn from_tonic(map: &MetadataMap) -> Metadata {
        const STATUS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
        let pairs = map.iter().map(|pair| match pair {
            KeyAndValueRef::Ascii(key, value) => {
                let text = String::from_utf8_lossy(value.as_encoded_bytes()).into_owned();
                (key.as_str().to_owned(), Value::Text(text))
            }
            KeyAndValueRef::Binary(key, value) => {
                let bytes = value.to_bytes().map(|b| b.to_vec()).unwrap_or_default();
                (key.as_str().to_owned(), Value::Binary(bytes))
            }
        });
        Metadata(
            pairs
                .filter(|(name, _)| !STATUS.contains(&name.as_str()))
                .collect(),
        )
    }
}

fn check(name: &str, value: &Value) -> Result<(), &'static str> {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("a header's name is letters, digits and -_.");
    }
    match value {
        Value::Text(text) if !text.bytes().all(|b| (0x20..0x7f).contains(&b)) => {
            Err("the value is not printable ASCII; use a name that ends in -bin for bytes")
        }
        _ => Ok(()),
    }
}
