//! Protobuf known only by descriptor: schemas from anywhere, JSON to wire and back, HTTP rules,
//! and calls of all four kinds.
//! Invariant: nothing here knows a service at compile time, and no input can panic it.
//! Deliberately absent: the registry, etcd, and anything that renders to a terminal.

pub mod error;
pub mod json;
pub mod rule;
pub mod schema;
mod wire;

pub use error::Error;
pub use json::{
    JsonError, ParseOptions, PrintOptions, UnknownFields, document_end, json_to_wire,
    json_to_wire_into, wire_field_to_json, wire_to_json,
};
pub use rule::{HttpRule, Lookup, Match, Router, Unbound};
pub use schema::{Enum, FindError, Message, Method, MethodKind, Schema, Service, Symbol};
