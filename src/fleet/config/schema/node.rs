//! One place of a schema, read from JSON.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde_json::Value as Json;
use serde_yaml::Value;

use super::{MAX_DEPTH, Pattern, SchemaError};
use crate::config::value;

/// A compiled pattern takes at most this much memory.
const MAX_PATTERN: usize = 1 << 20;

/// What may stand at one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// The names of types; empty allows all.
    pub(super) types: Vec<Type>,
    pub(super) format: Option<Unit>,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    /// Lengths of texts.
    pub(super) length: (Option<u64>, Option<u64>),
    /// Lengths of lists.
    pub(super) items_count: (Option<u64>, Option<u64>),
    pub(super) allowed: Vec<Value>,
    pub(super) pattern: Option<Pattern>,
    pub(super) required: Vec<String>,
    pub(super) properties: BTreeMap<String, Node>,
    /// `additionalProperties`: `None` says nothing, `Some(None)` allows none.
    pub(super) others: Option<Option<Box<Node>>>,
    pub(super) items: Option<Box<Node>>,
    pub(super) reference: Option<String>,
    pub(super) all_of: Vec<Node>,
    /// `anyOf` and `oneOf`: config types come to either.
    pub(super) any_of: Vec<Node>,
    pub(super) secret: bool,
    pub(super) unit: Option<String>,
    pub(super) description: Option<String>,
    pub(super) default: Option<Value>,
}

/// A type by its JSON Schema name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    Array,
    Object,
}

/// A format with bounds in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Duration,
    Size,
}

/// A bound, with how it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    /// In the number itself, in nanoseconds or in bytes.
    pub(super) at: f64,
    pub(super) text: String,
    pub(super) exclusive: bool,
}

impl Node {
    pub(super) fn read(json: &Json, place: &str, depth: usize) -> Result<Self, SchemaError> {
        let refuse = |place: String, what: &str| SchemaError::Place {
            place: crate::safe::escape(&place).into_owned(),
            what: what.to_owned(),
        };
        if depth > MAX_DEPTH {
            return Err(refuse(place.to_owned(), "it nests too deep"));
        }
        let members = match json {
            // `true` allows everything; `false` as a schema of its own allows nothing.
            Json::Bool(true) => return Ok(Self::default()),
            Json::Bool(false) => {
                return Ok(Self {
                    others: Some(None),
                    types: vec![Type::Null],
                    ..Self::default()
                });
            }
            Json::Object(members) => members,
            _ => {
                return Err(refuse(
                    place.to_owned(),
                    "a schema is an object or a truth value",
                ));
            }
        };
        let child =
            |json: &Json, name: &str| Self::read(json, &format!("{place}/{name}"), depth + 1);
        let get = |name: &str| members.get(name);
        let text = |name: &str| get(name).and_then(Json::as_str).map(str::to_owned);
        let number = |name: &str| get(name).and_then(Json::as_u64);
        let list = |name: &str| get(name).and_then(Json::as_array).into_iter().flatten();
        let format = match get("format").and_then(Json::as_str) {
            Some("duration") => Some(Unit::Duration),
            Some("size" | "bytes") => Some(Unit::Size),
            _ => None,
        };
        let bound = |names: [(&str, bool); 3]| -> Result<Option<Bound>, SchemaError> {
            for (name, exclusive) in names {
                if let Some(written) = get(name) {
                    return match Bound::read(written, format, exclusive) {
                        Some(bound) => Ok(Some(bound)),
                        None => Err(refuse(
                            format!("{place}/{name}"),
                            "it is no bound of this type",
                        )),
                    };
                }
            }
            Ok(None)
        };
        let several = |name: &str| -> Result<Vec<Self>, SchemaError> {
            list(name)
                .enumerate()
                .map(|(i, part)| child(part, &format!("{name}/{i}")))
                .collect()
        };
        let mut properties = BTreeMap::new();
        for (name, member) in get("properties")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            let node = child(member, &format!("properties/{name}"))?;
            properties.insert(name.clone(), node);
        }
        let mut any_of = several("anyOf")?;
        any_of.extend(several("oneOf")?);
        let mut allowed: Vec<Value> = list("enum").map(yaml).collect();
        allowed.extend(get("const").map(yaml));
        Ok(Self {
            types: match get("type") {
                Some(Json::String(name)) => Type::parse(name).into_iter().collect(),
                Some(Json::Array(names)) => {
                    let names = names.iter().filter_map(Json::as_str);
                    names.filter_map(Type::parse).collect()
                }
                _ => Vec::new(),
            },
            minimum: bound([
                ("minimum", false),
                ("x-minimum", false),
                ("exclusiveMinimum", true),
            ])?,
            maximum: bound([
                ("maximum", false),
                ("x-maximum", false),
                ("exclusiveMaximum", true),
            ])?,
            length: (number("minLength"), number("maxLength")),
            items_count: (number("minItems"), number("maxItems")),
            pattern: text("pattern").map(|text| Pattern {
                regex: RegexBuilder::new(&text)
                    .size_limit(MAX_PATTERN)
                    .build()
                    .ok(),
                text,
            }),
            required: list("required")
                .filter_map(Json::as_str)
                .map(str::to_owned)
                .collect(),
            others: match get("additionalProperties") {
                None => None,
                Some(Json::Bool(false)) => Some(None),
                Some(other) => Some(Some(Box::new(child(other, "additionalProperties")?))),
            },
            items: match get("items") {
                Some(items @ Json::Object(_)) => Some(Box::new(child(items, "items")?)),
                _ => None,
            },
            reference: text("$ref"),
            all_of: several("allOf")?,
            secret: matches!(get("x-secret"), Some(Json::Bool(true)))
                || matches!(get("writeOnly"), Some(Json::Bool(true))),
            unit: text("x-unit"),
            description: text("description"),
            default: get("default").map(yaml),
            format,
            properties,
            any_of,
            allowed,
        })
    }
}

impl Type {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::Text,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "true or false",
            Self::Integer => "whole number",
            Self::Number => "number",
            Self::Text => "text",
            Self::Array => "list",
            Self::Object => "mapping",
        }
    }
}

impl Unit {
    /// A value in the unit that bounds compare in.
    pub(super) fn measure(self, value: &Value) -> Result<f64, value::ValueError> {
        match self {
            // Bounds of configs are far from where nanoseconds stop being exact in a float.
            Self::Duration => value::duration(value).map(|duration| duration.as_nanos() as f64),
            Self::Size => value::size(value).map(|bytes| bytes as f64),
        }
    }
}

impl Bound {
    fn read(json: &Json, unit: Option<Unit>, exclusive: bool) -> Option<Self> {
        let at = match unit {
            Some(unit) => unit.measure(&yaml(json)).ok()?,
            None => json.as_f64()?,
        };
        let text = match json {
            Json::String(text) => crate::safe::escape(text).into_owned(),
            other => other.to_string(),
        };
        Some(Self {
            at,
            text,
            exclusive,
        })
    }
}

pub(super) fn yaml(json: &Json) -> Value {
    serde_yaml::to_value(json).unwrap_or(Value::Null)
}
