//! The OpenAPI 3.1 document of a server's rules: paths, parameters, bodies and messages, with the comments of
//! the `.proto` files. Written once, when it is first asked for; nothing in it is wider than the transcoder takes.
//! Where services of several schemas know a message by one name, it is described as the first has it.

use std::collections::BTreeMap;

use reflect::{
    HttpRule, Message, Method, PrintOptions, Router, Schema, rule::Body, rule::Template,
    template::FieldFact,
};
use serde_json::{Map, Value, json};

/// Query parameters reach so deep into nested messages; deeper ones work and are not listed.
const QUERY_DEPTH: usize = 3;
/// The verbs that OpenAPI knows; a custom one has no place in it.
const VERBS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"];

pub(crate) fn document(router: &Router, print: &PrintOptions) -> Vec<u8> {
    let mut writer = Writer {
        print,
        waiting: Vec::new(),
        messages: BTreeMap::new(),
        operations: BTreeMap::new(),
    };
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = BTreeMap::new();
    for (method, rule, template) in router.rules() {
        if VERBS.contains(&rule.verb.as_str()) {
            let operation = writer.operation(method, rule, template);
            let path = paths.entry(path_of(template)).or_default();
            path.insert(rule.verb.to_lowercase(), operation);
            let service = method.service().full_name().to_owned();
            let about = method
                .schema()
                .comment(&service)
                .unwrap_or_default()
                .to_owned();
            tags.insert(service, about);
        }
    }
    let status = writer.reference("google.rpc.Status");
    let components = writer.components();
    let title = tags.keys().cloned().collect::<Vec<_>>().join(", ");
    let tags: Vec<_> = tags
        .into_iter()
        .map(|(name, description)| json!({"name": name, "description": description}))
        .collect();
    let document = json!({
        "openapi": "3.1.0",
        "info": {"title": title, "version": env!("CARGO_PKG_VERSION")},
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Error": {"description": "The call failed.", "content": {"application/json": {"schema": status}}}},
        },
    });
    document.to_string().into_bytes()
}

/// The template with `{a.b=x/*}` as `{a.b}`, which is all that OpenAPI can say.
fn path_of(template: &Template) -> String {
    use reflect::rule::Segment;
    let mut path = String::new();
    let mut at = 0;
    while at < template.segments.len() {
        path.push('/');
        if let Some(variable) = template
            .variables
            .iter()
            .find(|variable| variable.segments.start == at)
        {
            path.push_str(&format!("{{{}}}", variable.path));
            at = variable.segments.end.max(at + 1);
            continue;
        }
        match &template.segments[at] {
            Segment::Literal(text) => path.push_str(text),
            Segment::One => path.push('*'),
            Segment::Many => path.push_str("**"),
        }
        at += 1;
    }
    if let Some(verb) = &template.verb {
        path.push(':');
        path.push_str(verb);
    }
    path
}

struct Writer<'a> {
    print: &'a PrintOptions,
    /// Messages that are referred to and not written yet.
    waiting: Vec<Message>,
    messages: BTreeMap<String, Value>,
    /// How many rules of a method have been written: an operation's id must be its own.
    operations: BTreeMap<String, usize>,
}

impl Writer<'_> {
    fn operation(&mut self, method: &Method, rule: &HttpRule, template: &Template) -> Value {
        let about = method
            .schema()
            .comment(&method.full_name())
            .unwrap_or_default();
        let summary = about
            .split_inclusive(". ")
            .next()
            .unwrap_or_default()
            .trim();
        let count = self.operations.entry(method.full_name()).or_default();
        *count += 1;
        let id = match *count {
            1 => method.full_name(),
            more => format!("{}_{more}", method.full_name()),
        };
        let mut operation = json!({
            "operationId": id,
            "tags": [method.service().full_name()],
            "summary": summary,
            "description": about,
            "parameters": self.parameters(method, rule, template),
            "responses": {"200": self.response(method, rule), "default": {"$ref": "#/components/responses/Error"}},
        });
        let kind = if method.client_streaming() {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let body = match &rule.body {
            Body::None => None,
            Body::Whole => Some(self.message(&method.input())),
            Body::Field(name) => field(&method.input(), name).map(|field| self.field(&field)),
        };
        if let Some(schema) = body {
            operation["requestBody"] =
                json!({"required": true, "content": {kind: {"schema": schema}}});
        }
        operation
    }

    fn response(&mut self, method: &Method, rule: &HttpRule) -> Value {
        let output = method.output();
        let schema = match rule
            .response_body
            .as_deref()
            .and_then(|name| field(&output, name))
        {
            Some(field) => self.field(&field),
            None => self.message(&output),
        };
        if !method.server_streaming() {
            return json!({"description": "The answer.", "content": {"application/json": {"schema": schema}}});
        }
        let error = self.reference("google.rpc.Status");
        let line = json!({"oneOf": [
            {"type": "object", "properties": {"result": schema}, "required": ["result"]},
            {"type": "object", "properties": {"error": error}, "required": ["error"]},
        ]});
        json!({"description": "A line for each message.", "content": {"application/x-ndjson": {"schema": line}}})
    }

    fn parameters(&mut self, method: &Method, rule: &HttpRule, template: &Template) -> Vec<Value> {
        let input = method.input();
        let mut parameters = Vec::new();
        let taken: Vec<&str> = template
            .variables
            .iter()
            .map(|variable| variable.path.as_str())
            .collect();
        for path in &taken {
            let steps: Vec<&str> = path.split('.').collect();
            if let Some(field) = input.field_at(&steps) {
                let (schema, about) = (self.field(&field), field.doc.unwrap_or_default());
                parameters.push(json!({"name": path, "in": "path", "required": true, "description": about, "schema": schema}));
            }
        }
        let body = match &rule.body {
            Body::Whole => return parameters,
            Body::Field(name) => Some(name.as_str()),
            Body::None => None,
        };
        for field in input.fields() {
            if body != Some(field.name.as_str()) {
                self.query(&field, "", "", &taken, QUERY_DEPTH, &mut parameters);
            }
        }
        parameters
    }

    /// Lists a field, or those within it, as query parameters. `taken` are in the path already.
    fn query(
        &mut self,
        field: &FieldFact,
        shown: &str,
        proto: &str,
        taken: &[&str],
        depth: usize,
        into: &mut Vec<Value>,
    ) {
        let join = |scope: &str, name: &str| {
            if scope.is_empty() {
                name.to_owned()
            } else {
                format!("{scope}.{name}")
            }
        };
        let (shown, proto) = (join(shown, self.name_of(field)), join(proto, &field.name));
        if taken.contains(&proto.as_str()) {
            return;
        }
        match &field.message {
            // A map's keys, and lists of messages, have no names that could be listed.
            Some(message) if well_known(message.full_name()).is_none() => {
                if !field.many && depth > 0 {
                    for inner in message.fields() {
                        self.query(&inner, &shown, &proto, taken, depth - 1, into);
                    }
                }
            }
            _ if field.type_name.starts_with("map<") => {}
            _ => {
                let (schema, about) = (self.field(field), field.doc.clone().unwrap_or_default());
                into.push(
                    json!({"name": shown, "in": "query", "description": about, "schema": schema}),
                );
            }
        }
    }

    fn name_of<'f>(&self, field: &'f FieldFact) -> &'f str {
        if self.print.proto_names {
            &field.name
        } else {
            &field.json_name
        }
    }

    fn field(&mut self, field: &FieldFact) -> Value {
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
            None if !field.values.is_empty() && self.print.enum_numbers => {
                json!({"type": "integer"})
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

    fn message(&mut self, message: &Message) -> Value {
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

    fn reference(&mut self, name: &str) -> Value {
        match Schema::builtin().message(name) {
            Some(message) => self.message(&message),
            None => json!({}),
        }
    }

    /// Every message that was referred to, and those that these refer to.
    fn components(mut self) -> BTreeMap<String, Value> {
        while let Some(message) = self.waiting.pop() {
            let mut properties = Map::new();
            let mut required = Vec::new();
            for field in message.fields() {
                let mut schema = self.field(&field);
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

fn field(message: &Message, name: &str) -> Option<FieldFact> {
    message.field_at(&[name])
}

fn scalar(name: &str) -> Value {
    match name {
        "double" | "float" => json!({"type": "number", "format": name}),
        "int64" | "uint64" | "sint64" | "fixed64" | "sfixed64" => {
            json!({"type": "string", "format": "int64"})
        }
        "int32" | "uint32" | "sint32" | "fixed32" | "sfixed32" => {
            json!({"type": "integer", "format": "int32"})
        }
        "bool" => json!({"type": "boolean"}),
        "bytes" => json!({"type": "string", "format": "byte"}),
        _ => json!({"type": "string"}),
    }
}

/// Messages whose JSON is not an object of their fields.
fn well_known(name: &str) -> Option<Value> {
    let name = match name {
        "google.api.HttpBody" => return Some(json!({"type": "string", "format": "binary"})),
        other => other.strip_prefix("google.protobuf.")?,
    };
    Some(match name {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"}),
        "FieldMask" => json!({"type": "string"}),
        "DoubleValue" => scalar("double"),
        "FloatValue" => scalar("float"),
        "Int64Value" | "UInt64Value" => scalar("int64"),
        "Int32Value" | "UInt32Value" => scalar("int32"),
        "BoolValue" => scalar("bool"),
        "StringValue" => scalar("string"),
        "BytesValue" => scalar("bytes"),
        "Struct" | "Any" => json!({"type": "object", "additionalProperties": true}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Value" => json!({}),
        _ => return None,
    })
}
