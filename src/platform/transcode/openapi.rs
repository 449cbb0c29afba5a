//! The OpenAPI 3.1 document of a server's rules: paths, parameters, bodies and messages, with the comments of
//! the `.proto` files. Written once, when it is first asked for; no rule is left out, and what it says of answers is
//! what the codec writes. Where services of several schemas know a message by one name, it is described as the first
//! has it.

mod path;
mod shape;

use std::collections::BTreeMap;

use reflect::{HttpRule, Message, Method, PrintOptions, Router, rule::Body, template::FieldFact};
use serde_json::{Map, Value, json};

use path::{Paths, Share, Slot};
use shape::{Shapes, well_known};

/// Query parameters reach so deep into nested messages; deeper ones work and are not listed.
const QUERY_DEPTH: usize = 3;
/// The verbs that OpenAPI knows; a custom one has no place in it.
const VERBS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"];

/// `is_guarded` says whether callers need a credential.
pub(crate) fn document(router: &Router, print: &PrintOptions, is_guarded: bool) -> Vec<u8> {
    let mut writer = Writer {
        shapes: Shapes::new(print),
        operations: BTreeMap::new(),
    };
    let mut places = Paths::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = BTreeMap::new();
    for (method, rule, template) in router.rules() {
        if VERBS.contains(&rule.verb.as_str()) {
            let (path, slots) = places.add(&rule.verb, template);
            let operation = writer.operation(method, rule, &slots);
            let path = paths.entry(path).or_default();
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
    let status = writer.shapes.builtin("google.rpc.Status");
    let components = writer.shapes.components();
    let title = tags.keys().cloned().collect::<Vec<_>>().join(", ");
    let tags: Vec<_> = tags
        .into_iter()
        .map(|(name, description)| json!({"name": name, "description": description}))
        .collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {"title": title, "version": env!("CARGO_PKG_VERSION")},
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Error": {"description": "The call failed.", "content": {"application/json": {"schema": status}}}},
        },
    });
    if is_guarded {
        document["components"]["securitySchemes"] = json!({
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        });
        document["security"] = json!([{"bearer": []}, {"key": []}]);
    }
    document.to_string().into_bytes()
}

struct Writer<'a> {
    shapes: Shapes<'a>,
    /// How many rules of a method have been written: an operation's id must be its own.
    operations: BTreeMap<String, usize>,
}

impl Writer<'_> {
    fn operation(&mut self, method: &Method, rule: &HttpRule, slots: &[Slot]) -> Value {
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
            "parameters": self.parameters(method, rule, slots),
            "responses": {"200": self.response(method, rule), "default": {"$ref": "#/components/responses/Error"}},
        });
        // Never required: nothing at all is an empty message, and no message of a stream.
        if let Some(content) = self.request(method, rule) {
            operation["requestBody"] = json!({"content": content});
        }
        operation
    }

    fn request(&mut self, method: &Method, rule: &HttpRule) -> Option<Value> {
        let input = method.input();
        let (message, schema) = match &rule.body {
            Body::None => return None,
            Body::Whole => (Some(input.clone()), self.shapes.message(&input)),
            Body::Field(name) => {
                let field = input.field_at(&[name])?;
                let schema = self.shapes.field(&field);
                (field.message.filter(|_| !field.many), schema)
            }
        };
        if message.as_ref().is_some_and(is_bytes) {
            return Some(json!({"*/*": {"schema": {}}}));
        }
        Some(if method.client_streaming() {
            json!({"application/json": {"schema": schema}, "application/x-ndjson": {"schema": schema}})
        } else {
            json!({"application/json": {"schema": schema}})
        })
    }

    fn response(&mut self, method: &Method, rule: &HttpRule) -> Value {
        let output = method.output();
        let field = rule
            .response_body
            .as_deref()
            .and_then(|name| output.field_at(&[name]));
        let bytes = match &field {
            Some(field) => field.message.as_ref().filter(|_| !field.many),
            None => Some(&output),
        };
        if bytes.is_some_and(is_bytes) {
            return json!({"description": "Bytes of a type of their own.", "content": {"*/*": {"schema": {}}}});
        }
        let schema = match field {
            Some(field) => self.shapes.member(&field),
            None => self.shapes.message(&output),
        };
        if !method.server_streaming() {
            return json!({"description": "The answer.", "content": {"application/json": {"schema": schema}}});
        }
        let error = self.shapes.builtin("google.rpc.Status");
        let line = json!({"oneOf": [
            {"type": "object", "properties": {"result": schema}, "required": ["result"]},
            {"type": "object", "properties": {"error": error}, "required": ["error"]},
        ]});
        json!({"description": "A line for each message.", "content": {
            "application/json": {"schema": line},
            "application/x-ndjson": {"schema": line},
            // Each line is the data of an event.
            "text/event-stream": {"schema": {"type": "string"}},
        }})
    }

    fn parameters(&mut self, method: &Method, rule: &HttpRule, slots: &[Slot]) -> Vec<Value> {
        let input = method.input();
        let mut parameters: Vec<Value> = slots
            .iter()
            .map(|slot| self.path_parameter(&input, slot))
            .collect();
        let taken: Vec<&str> = slots
            .iter()
            .filter_map(|slot| Some(slot.field.as_ref()?.0.as_str()))
            .collect();
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

    fn path_parameter(&mut self, input: &Message, slot: &Slot) -> Value {
        let mut schema = json!({"type": "string"});
        let mut about = Vec::new();
        if let Some((path, share)) = &slot.field {
            let steps: Vec<&str> = path.split('.').collect();
            let field = input.field_at(&steps);
            match share {
                Share::Part(pattern) => about.push(format!("In its place of {path}: {pattern}.")),
                Share::Whole => {
                    if slot.name != *path {
                        about.push(format!("It is {path}."));
                    }
                    if let Some(field) = &field {
                        schema = self.shapes.field(field);
                    }
                }
            }
            about.extend(field.and_then(|field| field.doc));
        }
        let about = about.join(" ");
        json!({"name": slot.name, "in": "path", "required": true, "description": about, "schema": schema})
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
        let name = self.shapes.name_of(field);
        let (shown, proto) = (join(shown, name), join(proto, &field.name));
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
                let schema = self.shapes.field(field);
                let about = field.doc.clone().unwrap_or_default();
                let mut parameter = json!({"name": shown, "in": "query", "description": about});
                if field.message.as_ref().is_some_and(is_json_text) {
                    parameter["content"] = json!({"application/json": {"schema": schema}});
                } else {
                    parameter["schema"] = schema;
                }
                into.push(parameter);
            }
        }
    }
}

/// Whether a query gives a value of this type as JSON.
fn is_json_text(message: &Message) -> bool {
    ["Struct", "Value", "ListValue"]
        .iter()
        .any(|name| message.full_name().strip_prefix("google.protobuf.") == Some(name))
}

/// Whether a whole body of this type is its bytes and not JSON.
fn is_bytes(message: &Message) -> bool {
    message.full_name() == "google.api.HttpBody"
}
