//! What a request looks like before anybody has filled it: a JSON template, and the facts about
//! each field that completion shows.
//! Invariant: a template parses as its message, and recursion and size are bounded.

use buffa::Message as _;
use buffa_descriptor::{FieldDescriptor, ScalarType};

use crate::json::quote;
use crate::schema::table::{Field, Shape, Table, Type, WellKnown};
use crate::schema::{Enum, Message};
use crate::wire::{LEN, Reader, VARINT};

/// Messages beyond this many stay `{}`: some schemas would fill megabytes.
const MAX_MESSAGES: usize = 200;
const MAX_DEPTH: usize = 12;

/// The message as indented JSON with every field present once: the first member of each oneof,
/// one element in lists and maps. A type inside itself is `{}`.
pub fn template(message: &Message) -> String {
    let mut writer = Writer {
        root: message,
        out: Vec::new(),
        path: Vec::new(),
        left: MAX_MESSAGES,
    };
    writer.message(message.id());
    String::from_utf8_lossy(&writer.out).into_owned()
}

struct Writer<'a> {
    root: &'a Message,
    out: Vec<u8>,
    /// The messages that are open, by id.
    path: Vec<usize>,
    left: usize,
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn line(&mut self, levels: usize) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + 2 * levels, b' ');
    }

    fn message(&mut self, id: usize) {
        let schema = self.root.schema().clone();
        let table = schema.inner().table(id);
        let fixed = match table.kind {
            WellKnown::Plain => "",
            WellKnown::Timestamp => "\"1970-01-01T00:00:00Z\"",
            WellKnown::Duration => "\"0s\"",
            WellKnown::FieldMask => "\"\"",
            WellKnown::Struct | WellKnown::Any => "{}",
            WellKnown::Value => "null",
            WellKnown::ListValue => "[]",
            WellKnown::Wrapper(ty) => scalar(ty),
        };
        if !fixed.is_empty() {
            return self.text(fixed);
        }
        let fields: Vec<&Field> = shown(table);
        if fields.is_empty()
            || self.path.contains(&id)
            || self.path.len() >= MAX_DEPTH
            || self.left == 0
        {
            return self.text("{}");
        }
        self.left -= 1;
        self.path.push(id);
        // Lists and maps open levels of their own, which `levels` counts below.
        let level = self.level();
        self.out.push(b'{');
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.line(level + 1);
            self.out.extend_from_slice(&field.json_key);
            self.out.push(b' ');
            self.field(field);
        }
        self.line(level);
        self.out.push(b'}');
        self.path.pop();
    }

    /// How far the line that is being written is indented.
    fn level(&self) -> usize {
        let start = self
            .out
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        self.out[start..].iter().take_while(|&&b| b == b' ').count() / 2
    }

    fn field(&mut self, field: &Field) {
        match field.shape {
            Shape::Single => self.value(field),
            Shape::List => {
                let level = self.level();
                self.out.push(b'[');
                self.line(level + 1);
                self.value(field);
                self.line(level);
                self.out.push(b']');
            }
            Shape::Map(key) => {
                let level = self.level();
                self.out.push(b'{');
                self.line(level + 1);
                self.text(match key {
                    ScalarType::String => "\"key\": ",
                    ScalarType::Bool => "\"false\": ",
                    _ => "\"0\": ",
                });
                self.value(field);
                self.line(level);
                self.out.push(b'}');
            }
        }
    }

    fn value(&mut self, field: &Field) {
        match field.ty {
            Type::Scalar(ty) => self.text(scalar(ty)),
            Type::Enum(_) if field.null_value => self.text("null"),
            Type::Enum(id) => {
                let schema = self.root.schema().clone();
                let values = schema.enum_at(id);
                let first = values.values().next().map(|(name, _)| name.to_owned());
                match first {
                    Some(name) => quote(&name, &mut self.out),
                    None => self.out.push(b'0'),
                }
            }
            Type::Message(id) => self.message(id),
        }
    }
}

/// All fields but the later members of oneofs, and extensions.
fn shown(table: &Table) -> Vec<&Field> {
    let mut oneofs = Vec::new();
    let mut fields = Vec::new();
    for field in table.fields.iter().filter(|f| !f.extension) {
        if let Some(oneof) = field.oneof {
            if oneofs.contains(&oneof) {
                continue;
            }
            oneofs.push(oneof);
        }
        fields.push(field);
    }
    fields
}

fn scalar(ty: ScalarType) -> &'static str {
    match ty {
        ScalarType::String | ScalarType::Bytes => "\"\"",
        ScalarType::Bool => "false",
        ScalarType::Int64
        | ScalarType::Uint64
        | ScalarType::Sint64
        | ScalarType::Fixed64
        | ScalarType::Sfixed64 => "\"0\"",
        _ => "0",
    }
}

/// What is known of a field.
#[derive(Clone, Debug)]
pub struct FieldFact {
    /// As JSON has it.
    pub json_name: String,
    /// As the `.proto` file has it.
    pub name: String,
    /// The field's number.
    pub number: u32,
    /// `string`, `repeated order.v1.Item`, `map<string, int32>`.
    pub type_name: String,
    /// The comment above it, where the descriptors carry comments.
    pub doc: Option<String>,
    /// An enum's value names, in declaration order.
    pub values: Vec<String>,
    /// The message that the field, an element or a map's value is.
    pub message: Option<Message>,
    /// The oneof that it belongs to.
    pub oneof: Option<String>,
    /// Declared required: by `google.api.field_behavior` or by proto2.
    pub required: bool,
    /// Whether being unset differs from holding its default; never for lists and maps.
    pub presence: bool,
    /// Whether JSON has an array or, for maps, an object of many here.
    pub many: bool,
}

impl Message {
    /// The fields in declaration order, extensions last.
    pub fn fields(&self) -> Vec<FieldFact> {
        let table = self.table();
        table
            .fields
            .iter()
            .map(|field| self.fact(table, field))
            .collect()
    }

    /// The field at a path of JSON or proto names, list indexes and map keys left out.
    pub fn field_at(&self, path: &[&str]) -> Option<FieldFact> {
        let (first, rest) = path.split_first()?;
        let table = self.table();
        let fact = self.fact(table, table.field(first)?);
        if rest.is_empty() {
            Some(fact)
        } else {
            fact.message?.field_at(rest)
        }
    }

    fn fact(&self, table: &Table, field: &Field) -> FieldFact {
        let schema = self.schema();
        let enumeration: Option<Enum> = match field.ty {
            Type::Enum(id) => Some(schema.enum_at(id)),
            _ => None,
        };
        let message = match field.ty {
            Type::Message(id) => Some(schema.message_at(id)),
            _ => None,
        };
        let descriptor = schema.pool().message_by_name(self.full_name());
        let descriptor = descriptor.and_then(|m| m.field(field.number));
        let path = if field.extension {
            field.name.trim_matches(['[', ']']).to_owned()
        } else {
            format!("{}.{}", self.full_name(), field.name)
        };
        FieldFact {
            json_name: field.json_name.to_string(),
            name: field.name.to_string(),
            number: field.number,
            type_name: type_name(self, field),
            doc: schema.comment(&path).map(str::to_owned),
            values: enumeration
                .iter()
                .flat_map(|e| {
                    e.values()
                        .map(|(name, _)| name.to_owned())
                        .collect::<Vec<_>>()
                })
                .collect(),
            message,
            oneof: field
                .oneof
                .map(|at| table.oneofs[usize::from(at)].to_string()),
            required: descriptor.is_some_and(is_required),
            presence: field.shape == Shape::Single && !field.implicit,
            many: field.shape != Shape::Single,
        }
    }
}

/// The field's type as a `.proto` file would have it.
pub(crate) fn type_name(message: &Message, field: &Field) -> String {
    let schema = message.schema();
    let element = match field.ty {
        Type::Scalar(ty) => scalar_name(ty).to_owned(),
        Type::Enum(id) => schema.enum_at(id).full_name().to_owned(),
        Type::Message(id) => schema.message_at(id).full_name().to_owned(),
    };
    match field.shape {
        Shape::Single => element,
        Shape::List => format!("repeated {element}"),
        Shape::Map(key) => format!("map<{}, {element}>", scalar_name(key)),
    }
}

fn scalar_name(ty: ScalarType) -> &'static str {
    match ty {
        ScalarType::Double => "double",
        ScalarType::Float => "float",
        ScalarType::Int64 => "int64",
        ScalarType::Uint64 => "uint64",
        ScalarType::Int32 => "int32",
        ScalarType::Fixed64 => "fixed64",
        ScalarType::Fixed32 => "fixed32",
        ScalarType::Bool => "bool",
        ScalarType::String => "string",
        ScalarType::Bytes => "bytes",
        ScalarType::Uint32 => "uint32",
        ScalarType::Sfixed32 => "sfixed32",
        ScalarType::Sfixed64 => "sfixed64",
        ScalarType::Sint32 => "sint32",
        ScalarType::Sint64 => "sint64",
    }
}

/// The extension `google.api.field_behavior`, and its value REQUIRED.
const FIELD_BEHAVIOR: u32 = 1052;
const REQUIRED: u64 = 2;

fn is_required(field: &FieldDescriptor) -> bool {
    if field.presence() == buffa::editions::FieldPresence::LegacyRequired {
        return true;
    }
    let Some(options) = field.options() else {
        return false;
    };
    let bytes = options.encode_to_vec();
    let mut reader = Reader::new(&bytes);
    while let Ok(Some(raw)) = reader.next() {
        match (raw.number, raw.wire) {
            (FIELD_BEHAVIOR, VARINT) if raw.a == REQUIRED => return true,
            (FIELD_BEHAVIOR, LEN) => {
                let mut packed = Reader::new(raw.payload(&bytes));
                while let Ok(value) = packed.varint() {
                    if value == REQUIRED {
                        return true;
                    }
                }
            }
            _ => {}
        }
    }
    false
}
