//! Messages and fields as the JSON Schema of what the codec writes for them: `null` where a message is unset, 64-bit
//! numbers as strings, "NaN" among the numbers.

use std::collections::BTreeMap;

use reflect::{Message, PrintOptions, Schema, template::FieldFact};
use serde_json::{Map, Value, json};

/// Writes schemas, and collects the messages that they refer to.
pub(super) struct Shapes<'a> {
    print: &'a PrintOptions,
    /// Messages that are referred to and not written yet.
    waiting: Vec<Message>,
    messages: BTreeMap<String, Value>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(print: &'a PrintOptions) -> Self {
        Self {
            print,
            waiting: Vec::new(),
            messages: BTreeMap::new(),
        }
    }

    pub(super) fn name_of<'f>(&self, field: &'f FieldFact) -> &'f str {
        if self.print.proto_names {
            &field.name
        } else {
            &field.json_name
        }
    }

    /// A field that has a value.
    pub(super) fn field(&mut self, field: &FieldFact) -> Value {
        let base = field
            .type_name
            .strip_prefix("repeated ")
            .unwrap_or(&field.type_name);
        let (base, is_map) = match base
            .strip_prefix("map<")
            .and_then(|map| map.split_once(", "))
        {
            Some((_, value)) => (value.trim_end_matches('>'), true),
            None => (base, false),
        };
        let element = match &field.message {
            Some(message) => self.message(message),
            None if base == "google.protobuf.NullValue" => json!({"type": "null"}),
            None if !field.values.is_empty() && self.print.enum_numbers => {
                json!({"type": "integer", "format": "int32"})
            }
            None if !field.values.is_empty() => json!({"type": "string", "enum": field.values}),
            None => scalar(base),
        };
        match (is_map, field.many) {
            (true, _) => json!({"type": "object", "additionalProperties": element}),
            (false, true) => json!({"type": "array", "items": element}),
            (false, false) => element,
        }
    }

    /// A field as it stands in an answer, where it may be unset.
    pub(super) fn member(&mut self, field: &FieldFact) -> Value {
        let schema = self.field(field);
        if field.presence && field.oneof.is_none() && !field.required {
            or_null(schema)
        } else {
            schema
        }
    }

    pub(super) fn message(&mut self, message: &Message) -> Value {
        let name = message.full_name();
        if let Some(schema) = well_known(name) {
            return schema;
        }
        if !self.messages.contains_key(name) {
            self.messages.insert(name.to_owned(), Value::Null);
            self.waiting.push(message.clone());
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    pub(super) fn builtin(&mut self, name: &str) -> Value {
        match Schema::builtin().message(name) {
            Some(message) => self.message(&message),
            None => json!({}),
        }
    }

    /// Every message that was referred to, and those that these refer to.
    pub(super) fn components(mut self) -> BTreeMap<String, Value> {
        while let Some(message) = self.waiting.pop() {
            let mut properties = Map::new();
            let mut required = Vec::new();
            for field in message.fields() {
                let mut schema = self.member(&field);
                if let (Some(about), Some(object)) = (&field.doc, schema.as_object_mut()) {
                    object.insert("description".to_owned(), json!(about));
                }
                let name = self.name_of(&field).to_owned();
                if field.required {
                    required.push(name.clone());
                }
                properties.insert(name, schema);
            }
            let mut schema = json!({"type": "object", "properties": properties});
            if !required.is_empty() {
                schema["required"] = json!(required);
            }
            if let Some(about) = message.schema().comment(message.full_name()) {
                schema["description"] = json!(about);
            }
            self.messages.insert(message.full_name().to_owned(), schema);
        }
        self.messages
    }
}

fn or_null(mut schema: Value) -> Value {
    let is_plain = schema.get("enum").is_none() && schema.get("pattern").is_none();
    match schema.get("type").and_then(Value::as_str) {
        Some("null") => schema,
        Some(kind) if is_plain => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        None if schema == json!({}) => schema,
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

fn scalar(name: &str) -> Value {
    match name {
        "double" | "float" => json!({"anyOf": [
            {"type": "number", "format": name},
            {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
        ]}),
        "int64" | "sint64" | "sfixed64" => {
            json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
        }
        "uint64" | "fixed64" => {
            json!({"type": "string", "format": "uint64", "pattern": "^[0-9]+$"})
        }
        "int32" | "sint32" | "sfixed32" => json!({"type": "integer", "format": "int32"}),
        "uint32" | "fixed32" => json!({"type": "integer", "format": "uint32", "minimum": 0}),
        "bool" => json!({"type": "boolean"}),
        "bytes" => json!({"type": "string", "format": "byte"}),
        _ => json!({"type": "string"}),
    }
}

/// Messages whose JSON is not an object of their fields.
pub(super) fn well_known(name: &str) -> Option<Value> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"}),
        "FieldMask" => json!({"type": "string"}),
        "DoubleValue" => scalar("double"),
        "FloatValue" => scalar("float"),
        "Int64Value" => scalar("int64"),
        "UInt64Value" => scalar("uint64"),
        "Int32Value" => scalar("int32"),
        "UInt32Value" => scalar("uint32"),
        "BoolValue" => scalar("bool"),
        "StringValue" => scalar("string"),
        "BytesValue" => scalar("bytes"),
        "Struct" | "Any" => json!({"type": "object", "additionalProperties": true}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Value" => json!({}),
        _ => return None,
    })
}
