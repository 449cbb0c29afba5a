//! Per-message tables that drive the codec: names already quoted, tags already encoded, types
//! already resolved to positions. Compiled once per message, when it is first used.
//! Invariant: a `WellKnown` kind is given only to a message that really has that type's fields,
//! so a hostile descriptor cannot make the codec read what is not there.

use buffa_descriptor::{
    EnumDescriptor, FieldDescriptor, FieldKind, MessageDescriptor, ScalarType, SingularKind,
};

use super::Inner;
use crate::wire;

/// A field's or element's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar(ScalarType),
    Enum(usize),
    Message(usize),
}

/// How many values, and under which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Single,
    List,
    Map(ScalarType),
}

/// Messages with a JSON form of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WellKnown {
    Plain,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    Any,
    Wrapper(ScalarType),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: Box<str>,
    pub(crate) json_name: Box<str>,
    /// `"jsonName":` and `"proto_name":`, quoted and escaped.
    pub(crate) json_key: Box<[u8]>,
    pub(crate) proto_key: Box<[u8]>,
    pub(crate) ty: Type,
    pub(crate) shape: Shape,
    pub(crate) packed: bool,
    pub(crate) delimited: bool,
    /// No presence: the default value is the same as absence.
    pub(crate) implicit: bool,
    /// A real oneof's position, never a synthetic one's.
    pub(crate) oneof: Option<u16>,
    /// Numbers outside the enum are unknown fields.
    pub(crate) closed: bool,
    /// The enum is `google.protobuf.NullValue`, whose JSON is `null`.
    pub(crate) null_value: bool,
    pub(crate) extension: bool,
}

impl Field {
    /// Whether JSON `null` is a value of one element rather than its absence.
    pub(crate) fn takes_null(&self, schema: &Inner) -> bool {
        self.null_value
            || matches!(self.ty, Type::Message(id) if schema.table(id).kind == WellKnown::Value)
    }

    /// Whether a list of this type may stand on the wire as one length-delimited run.
    pub(crate) fn packable(&self) -> bool {
        self.shape == Shape::List && packable(self.ty)
    }
}

fn packable(ty: Type) -> bool {
    match ty {
        Type::Scalar(ScalarType::String | ScalarType::Bytes) | Type::Message(_) => false,
        Type::Scalar(_) | Type::Enum(_) => true,
    }
}

/// The wire type of one element.
pub(crate) fn wire_type(ty: Type, delimited: bool) -> u8 {
    match ty {
        Type::Scalar(ScalarType::Double | ScalarType::Fixed64 | ScalarType::Sfixed64) => {
            wire::FIXED64
        }
        Type::Scalar(ScalarType::Float | ScalarType::Fixed32 | ScalarType::Sfixed32) => {
            wire::FIXED32
        }
        Type::Scalar(ScalarType::String | ScalarType::Bytes) => wire::LEN,
        Type::Scalar(_) | Type::Enum(_) => wire::VARINT,
        Type::Message(_) if delimited => wire::START,
        Type::Message(_) => wire::LEN,
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) full_name: Box<str>,
    pub(crate) kind: WellKnown,
    /// In declaration order, extensions last.
    pub(crate) fields: Box<[Field]>,
    /// Names of the real oneofs, for messages.
    pub(crate) oneofs: Box<[Box<str>]>,
    /// Slots by field number, for numbers below its length; `NONE` where there is no field.
    dense: Box<[u16]>,
    /// The others, sorted.
    sparse: Box<[(u32, u16)]>,
    /// Slots by JSON and proto name, sorted.
    names: Box<[(Box<str>, u16)]>,
}

const NONE: u16 = u16::MAX;
const DENSE: u32 = 128;

impl Table {
    pub(super) fn compile(schema: &Inner, id: usize) -> Table {
        let descriptor = &schema.pool().messages()[id];
        let mut fields: Vec<Field> = descriptor
            .fields()
            .iter()
            .filter_map(|field| compile_field(schema, descriptor, field))
            .collect();
        if let Some(index) = schema.message_index(id) {
            for extension in schema.pool().extensions_of(index) {
                if let Some(mut field) = compile_field(schema, descriptor, extension.field()) {
                    let name = format!("[{}]", extension.full_name());
                    field.json_key = quoted(&name);
                    field.proto_key = quoted(&name);
                    field.json_name = name.clone().into();
                    field.name = name.into();
                    field.oneof = None;
                    field.extension = true;
                    fields.push(field);
                }
            }
        }
        // A slot is a u16 and the highest means "none"; the pool caps declared fields alike.
        fields.truncate(usize::from(NONE));
        let mut dense = Vec::new();
        let mut sparse = Vec::new();
        let mut names = Vec::new();
        for (slot, field) in (0u16..).zip(&fields) {
            if field.number < DENSE {
                let at = field.number as usize;
                if dense.len() <= at {
                    dense.resize(at + 1, NONE);
                }
                dense[at] = slot;
            } else {
                sparse.push((field.number, slot));
            }
            names.push((field.json_name.clone(), slot));
            if field.json_name != field.name {
                names.push((field.name.clone(), slot));
            }
        }
        sparse.sort_unstable();
        names.sort();
        // Where two fields share a name (legacy files), the first declared one has it.
        names.dedup_by(|later, first| later.0 == first.0);
        Table {
            full_name: descriptor.full_name().into(),
            kind: well_known(schema, descriptor),
            oneofs: descriptor
                .oneofs()
                .iter()
                .map(|o| o.name().into())
                .collect(),
            fields: fields.into(),
            dense: dense.into(),
            sparse: sparse.into(),
            names: names.into(),
        }
    }

    #[inline]
    pub(crate) fn by_number(&self, number: u32) -> Option<u16> {
        if let Some(&slot) = self.dense.get(number as usize) {
            return (slot != NONE).then_some(slot);
        }
        let at = self
            .sparse
            .binary_search_by_key(&number, |&(number, _)| number)
            .ok()?;
        Some(self.sparse[at].1)
    }

    /// The slot of a JSON or proto name. `guess` is tried first: keys mostly come in order.
    #[inline]
    pub(crate) fn by_name(&self, name: &str, guess: u16) -> Option<u16> {
        if let Some(field) = self.fields.get(usize::from(guess))
            && *field.json_name == *name
        {
            return Some(guess);
        }
        let at = self
            .names
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .ok()?;
        Some(self.names[at].1)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.by_name(name, 0)
            .map(|slot| &self.fields[usize::from(slot)])
    }
}

fn compile_field(
    schema: &Inner,
    message: &MessageDescriptor,
    field: &FieldDescriptor,
) -> Option<Field> {
    use buffa::editions::{EnumType, FieldPresence};
    let (shape, kind) = match field.kind() {
        FieldKind::Singular(kind) => (Shape::Single, kind),
        FieldKind::List(kind) => (Shape::List, kind),
        FieldKind::Map { key, value } => (Shape::Map(key), value),
    };
    let (ty, null_value) = match kind {
        SingularKind::Scalar(scalar) => (Type::Scalar(scalar), false),
        SingularKind::Enum(index) => (
            Type::Enum(schema.enum_id(index)?),
            schema.pool().enumeration(index).full_name() == "google.protobuf.NullValue",
        ),
        SingularKind::Message(index) => (Type::Message(schema.message_id(index)?), false),
    };
    let oneof = field.oneof_index().filter(|&at| {
        message
            .oneofs()
            .get(usize::from(at))
            .is_some_and(|oneof| !oneof.is_synthetic())
    });
    Some(Field {
        number: field.number(),
        name: field.name().into(),
        json_name: field.json_name().into(),
        json_key: quoted(field.json_name()),
        proto_key: quoted(field.name()),
        ty,
        shape,
        packed: field.is_packed() && packable(ty),
        // Map entries are length-delimited whatever the file says.
        delimited: field.is_delimited() && !matches!(shape, Shape::Map(_)),
        implicit: shape == Shape::Single
            && field.presence() == FieldPresence::Implicit
            && !matches!(ty, Type::Message(_)),
        oneof,
        closed: field.enum_type() == Some(EnumType::Closed),
        null_value,
        extension: false,
    })
}

fn quoted(name: &str) -> Box<[u8]> {
    let mut out = Vec::with_capacity(name.len() + 3);
    crate::json::quote(name, &mut out);
    out.push(b':');
    out.into()
}

/// The kind by name, if the fields are those of that type.
fn well_known(schema: &Inner, message: &MessageDescriptor) -> WellKnown {
    use ScalarType as S;
    let Some(name) = message.full_name().strip_prefix("google.protobuf.") else {
        return WellKnown::Plain;
    };
    let kind = |number: u32| message.field(number).map(FieldDescriptor::kind);
    let scalar = |number, ty| kind(number) == Some(FieldKind::Singular(SingularKind::Scalar(ty)));
    let refers = |kind: SingularKind, to: &str| match kind {
        SingularKind::Message(index) => schema.pool().message(index).full_name() == to,
        _ => false,
    };
    let wrapper = |ty| {
        if scalar(1, ty) {
            WellKnown::Wrapper(ty)
        } else {
            WellKnown::Plain
        }
    };
    let when = |holds: bool, kind| if holds { kind } else { WellKnown::Plain };
    match name {
        "Timestamp" => when(
            scalar(1, S::Int64) && scalar(2, S::Int32),
            WellKnown::Timestamp,
        ),
        "Duration" => when(
            scalar(1, S::Int64) && scalar(2, S::Int32),
            WellKnown::Duration,
        ),
        "FieldMask" => when(
            kind(1) == Some(FieldKind::List(SingularKind::Scalar(S::String))),
            WellKnown::FieldMask,
        ),
        "Any" => when(scalar(1, S::String) && scalar(2, S::Bytes), WellKnown::Any),
        "Struct" => when(
            matches!(kind(1), Some(FieldKind::Map { key: S::String, value })
                if refers(value, "google.protobuf.Value")),
            WellKnown::Struct,
        ),
        "ListValue" => when(
            matches!(kind(1), Some(FieldKind::List(value))
                if refers(value, "google.protobuf.Value")),
            WellKnown::ListValue,
        ),
        "Value" => when(
            matches!(kind(1), Some(FieldKind::Singular(SingularKind::Enum(_))))
                && scalar(2, S::Double)
                && scalar(3, S::String)
                && scalar(4, S::Bool)
                && matches!(kind(5), Some(FieldKind::Singular(to)) if refers(to, "google.protobuf.Struct"))
                && matches!(kind(6), Some(FieldKind::Singular(to)) if refers(to, "google.protobuf.ListValue")),
            WellKnown::Value,
        ),
        "DoubleValue" => wrapper(S::Double),
        "FloatValue" => wrapper(S::Float),
        "Int64Value" => wrapper(S::Int64),
        "UInt64Value" => wrapper(S::Uint64),
        "Int32Value" => wrapper(S::Int32),
        "UInt32Value" => wrapper(S::Uint32),
        "BoolValue" => wrapper(S::Bool),
        "StringValue" => wrapper(S::String),
        "BytesValue" => wrapper(S::Bytes),
        _ => WellKnown::Plain,
    }
}

#[derive(Debug)]
pub(crate) struct EnumTable {
    /// Sorted by number; the first declared name of each, quoted.
    by_number: Box<[(i32, Box<[u8]>)]>,
    by_name: Box<[(Box<str>, i32)]>,
    /// The first declared value: the default.
    pub(crate) first: i32,
}

impl EnumTable {
    pub(super) fn compile(descriptor: &EnumDescriptor) -> EnumTable {
        let values = descriptor.values();
        let mut by_number: Vec<(i32, Box<[u8]>)> = values
            .iter()
            .map(|v| {
                let mut name = Vec::new();
                crate::json::quote(v.name(), &mut name);
                (v.number(), name.into())
            })
            .collect();
        by_number.sort_by_key(|&(number, _)| number);
        by_number.dedup_by_key(|(number, _)| *number);
        let mut by_name: Vec<(Box<str>, i32)> = values
            .iter()
            .map(|v| (v.name().into(), v.number()))
            .collect();
        by_name.sort();
        EnumTable {
            by_number: by_number.into(),
            by_name: by_name.into(),
            first: values.first().map_or(0, |v| v.number()),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        let at = self
            .by_name
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .ok()?;
        Some(self.by_name[at].1)
    }

    /// The value's name as a JSON string, quotes included.
    pub(crate) fn name(&self, number: i32) -> Option<&[u8]> {
        let at = self
            .by_number
            .binary_search_by_key(&number, |&(number, _)| number)
            .ok()?;
        Some(&self.by_number[at].1)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name
            .iter()
            .map(|(name, _)| name.to_string())
            .collect()
    }
}
