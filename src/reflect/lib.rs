//! Protobuf known only by descriptor: schemas from anywhere, JSON to wire and back, HTTP rules,
//! and calls of all four kinds.
//! Invariant: nothing here knows a service at compile time, and no input can panic it.
//! Deliberately absent: the registry, etcd, and anything that renders to a terminal.

pub mod call;
pub mod describe;
pub mod error;
pub mod json;
pub mod rule;
pub mod schema;
pub mod source;
pub mod template;
mod wire;

pub use call::connect::{Connected, Target, Tls};
pub use call::{Call, CallOptions, End, Event, Metadata, Status, Timings, Transport, call};
pub use describe::describe;
pub use error::Error;
pub use json::{
    JsonError, ParseOptions, PrintOptions, UnknownFields, document_end, json_to_wire,
    json_to_wire_into, wire_field_to_json, wire_to_json,
};
pub use rule::{HttpRule, Lookup, Match, Router, Unbound};
pub use schema::{Enum, FindError, Message, Method, MethodKind, Schema, Service, Symbol};
pub use source::file::{from_protos, from_protosets};
pub use source::server::{ReflectOptions, Reflected, reflect, reflect_symbol};
pub use template::{FieldFact, template};
