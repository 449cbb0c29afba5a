//! A matched request becomes the method's wire request: body, then query, then path.
//! Protobuf merges what stands one after the other, so each part is appended and the path has
//! the last word; no tree is built.

use std::sync::Arc;

use super::template::{Template, decode, decode_except};
use super::{Body, HttpRule, mask};
use crate::json::{JsonError, ParseOptions, Parser, PrintOptions, UnknownFields};
use crate::json::{put_text, wire_field_to_json, wire_to_json};
use crate::schema::table::{Field, Shape, Table, Type, WellKnown};
use crate::schema::{Inner, Method};
use crate::wire;

/// A rule whose fields are resolved.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) method: Method,
    pub(super) rule: HttpRule,
    pub(super) template: Template,
    /// Slots from the request down to each variable's field.
    variables: Vec<Vec<u16>>,
    /// The slot of the body's field.
    body: Option<u16>,
}

impl Binding {
    pub(super) fn compile(method: &Method, rule: HttpRule) -> Result<Binding, String> {
        let template = Template::parse(&rule.template).map_err(|cause| cause.to_string())?;
        let input = method.input();
        let schema = input.schema().inner();
        let table = input.table();
        let mut variables = Vec::new();
        for variable in &template.variables {
            let (slots, field) = resolve(schema, table, &variable.path)?;
            if field.shape != Shape::Single || !is_textual(schema, field) {
                return Err(format!(
                    "the path variable '{}' is not a single value",
                    variable.path
                ));
            }
            variables.push(slots);
        }
        let body = match &rule.body {
            Body::Field(name) => Some(table.by_name(name, 0).ok_or_else(|| {
                format!("the body names '{name}', which {} lacks", table.full_name)
            })?),
            _ => None,
        };
        if let Some(name) = &rule.response_body
            && method.output().table().field(name).is_none()
        {
            let output = method.output();
            return Err(format!(
                "response_body names '{name}', which {} lacks",
                output.full_name()
            ));
        }
        Ok(Binding {
            method: method.clone(),
            rule,
            template,
            variables,
            body,
        })
    }
}

/// Whether text without quotes can say the field's value.
fn is_textual(schema: &Inner, field: &Field) -> bool {
    match field.ty {
        Type::Scalar(_) | Type::Enum(_) => true,
        Type::Message(id) => !matches!(
            schema.table(id).kind,
            WellKnown::Plain | WellKnown::Struct | WellKnown::ListValue | WellKnown::Any
        ),
    }
}

/// The slots along a dotted path, and the last field. Only its last step may repeat.
fn resolve<'s>(
    schema: &'s Inner,
    table: &'s Table,
    path: &str,
) -> Result<(Vec<u16>, &'s Field), String> {
    let mut slots = Vec::new();
    let mut table = table;
    let mut steps = path.split('.').peekable();
    while let Some(name) = steps.next() {
        let slot = table
            .by_name(name, 0)
            .ok_or_else(|| format!("{} has no field '{name}'", table.full_name))?;
        slots.push(slot);
        let field = &table.fields[usize::from(slot)];
        if steps.peek().is_none() {
            return Ok((slots, field));
        }
        match field.ty {
            Type::Message(id) if field.shape == Shape::Single => table = schema.table(id),
            _ => {
                return Err(format!(
                    "'{name}' is not a single message, so it has no '{path}'"
                ));
            }
        }
    }
    Err("an empty field path".to_owned())
}

/// A rule that a request line matched, with the values of its path.
#[derive(Clone, Debug)]
pub struct Match {
    binding: Arc<Binding>,
    /// Decoded, one per variable of the template.
    values: Vec<String>,
}

impl Match {
    /// `None` when the segments do not fit the template, which the router rules out.
    pub(super) fn new(binding: &Arc<Binding>, raw: &[String]) -> Option<Match> {
        let template = &binding.template;
        let many = template
            .segments
            .iter()
            .position(|s| *s == super::Segment::Many);
        // `**` stands for as many segments as the others leave.
        let at = |segment: usize| match many {
            Some(many) if segment > many => {
                (segment + raw.len()).saturating_sub(template.segments.len())
            }
            _ => segment,
        };
        let mut values = Vec::with_capacity(template.variables.len());
        for variable in &template.variables {
            let part = raw.get(at(variable.segments.start)..at(variable.segments.end))?;
            let single =
                variable.segments.len() == 1 && !variable.segments.clone().any(|s| many == Some(s));
            // A value of several segments keeps its encoded slashes, or they would look alike.
            let decoded: Option<Vec<String>> = part
                .iter()
                .map(|s| {
                    if single {
                        decode(s)
                    } else {
                        decode_except(s, Some(b'/'))
                    }
                })
                .collect();
            values.push(decoded?.join("/"));
        }
        Some(Match {
            binding: binding.clone(),
            values,
        })
    }

    /// The method to call.
    pub fn method(&self) -> &Method {
        &self.binding.method
    }

    /// The rule that matched.
    pub fn rule(&self) -> &HttpRule {
        &self.binding.rule
    }

    /// The path's variables with their decoded values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self
            .binding
            .template
            .variables
            .iter()
            .map(|v| v.path.as_str());
        names.zip(self.values.iter().map(String::as_str))
    }

    /// Appends the wire request made of the body (JSON; empty means absent), the raw query
    /// (`a=1&b=2`, without `?`) and the path. On error what was appended is taken back.
    ///
    /// # Errors
    /// [`JsonError`] with the field's path: to be answered with 400.
    pub fn bind(
        &self,
        query: &str,
        body: &[u8],
        options: &ParseOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let before = out.len();
        let result = self.bind_parts(query, body, options, out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    fn bind_parts(
        &self,
        query: &str,
        body: &[u8],
        options: &ParseOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let input = self.binding.method.input();
        let schema = input.schema().inner();
        let table = input.table();
        let has_body = body.iter().any(|b| !b.is_ascii_whitespace());
        if has_body {
            match self.binding.body {
                Some(slot) => {
                    let field = &table.fields[usize::from(slot)];
                    self.refuse_wrapped(schema, field, body)?;
                    let mut parser = Parser::new(schema, body, options, out)?;
                    parser
                        .root_field(field)
                        .map_err(|error| below(field, error))?;
                }
                None if self.binding.rule.body == Body::Whole => {
                    Parser::new(schema, body, options, out)?.root(table)?;
                }
                None if options.unknown_fields == UnknownFields::Reject => {
                    return Err(text_error(
                        "",
                        "this call takes no body: send what it says as path and query",
                    ));
                }
                None => {}
            }
        }
        self.bind_address(query, if has_body { body } else { &[] }, options, out)
    }

    /// The slot of the field that the body fills, where it is not the whole request.
    pub(super) fn body_slot(&self) -> Option<usize> {
        self.binding.body.map(usize::from)
    }

    /// Appends what query and path say, and the mask of a JSON body that gave none.
    pub(super) fn bind_address(
        &self,
        query: &str,
        body: &[u8],
        options: &ParseOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let input = self.binding.method.input();
        let schema = input.schema().inner();
        let table = input.table();
        let masked = self.bind_query(schema, table, query, options, out)?;
        if !masked && !body.is_empty() {
            self.fill_mask(schema, table, body, out);
        }
        for (slots, value) in self.binding.variables.iter().zip(&self.values) {
            let (fields, leaf) = along(schema, table, slots);
            let mut payload = Vec::new();
            put_text(schema, leaf, leaf.number, value, &mut payload)
                .map_err(|message| text_error(&names(&fields, leaf), &message))?;
            wrap(&fields, &payload, out);
        }
        Ok(())
    }

    /// A body wrapped in the name of the field that it already is would otherwise be an unknown
    /// field at best, and silently dropped at worst.
    fn refuse_wrapped(&self, schema: &Inner, field: &Field, body: &[u8]) -> Result<(), JsonError> {
        let Type::Message(id) = field.ty else {
            return Ok(());
        };
        let inner = schema.table(id);
        if field.shape != Shape::Single || inner.kind != WellKnown::Plain {
            return Ok(());
        }
        let Some(key) = mask::only_key(body) else {
            return Ok(());
        };
        let wrapped = key == *field.name || key == *field.json_name;
        if wrapped && inner.field(&key).is_none() {
            return Err(text_error(
                &field.json_name,
                &format!(
                    "the body of this call is the field '{}' itself: send {} without the wrapping {key:?}",
                    field.name, inner.full_name
                ),
            ));
        }
        Ok(())
    }

    /// Appends what the query says. Returns whether it names a field mask.
    fn bind_query(
        &self,
        schema: &Inner,
        table: &Table,
        query: &str,
        options: &ParseOptions,
        out: &mut Vec<u8>,
    ) -> Result<bool, JsonError> {
        let strict = options.unknown_fields == UnknownFields::Reject;
        let mut masked = false;
        let mut single: Vec<Vec<u16>> = Vec::new();
        let mut oneofs: Vec<(Vec<u16>, u16, u16)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (form_decode(key), form_decode(value)) else {
                return Err(text_error(
                    "",
                    &format!("the query part {pair:?} is not percent-encoded UTF-8"),
                ));
            };
            if self.binding.rule.body == Body::Whole {
                if strict {
                    return Err(text_error(
                        &key,
                        "this call takes everything from the body, nothing from the query",
                    ));
                }
                continue;
            }
            let (path, map_key) = match key.strip_suffix(']').and_then(|k| k.split_once('[')) {
                Some((path, map_key)) => (path, Some(map_key)),
                None => (key.as_str(), None),
            };
            let (slots, leaf) = match resolve(schema, table, path) {
                Ok(found) => found,
                Err(cause) if strict => return Err(text_error(&key, &cause)),
                Err(_) => continue,
            };
            let by_path = self
                .binding
                .variables
                .iter()
                .any(|taken| slots.starts_with(taken));
            if by_path
                || self
                    .binding
                    .body
                    .is_some_and(|body| slots.first() == Some(&body))
            {
                continue;
            }
            let error = |message: &str| text_error(&key, message);
            // An empty mask is one that nobody gave.
            masked |= !value.is_empty()
                && matches!(leaf.ty, Type::Message(id) if schema.table(id).kind == WellKnown::FieldMask);
            let (fields, leaf) = along(schema, table, &slots);
            let most = options.max_nesting.min(options.max_depth);
            if slots.len() > most {
                return Err(error(&format!(
                    "the path is longer than {most} steps, which is as deep as messages are read"
                )));
            }
            let mut payload = Vec::new();
            match (leaf.shape, map_key) {
                (Shape::Map(key_type), Some(map_key)) => {
                    let mut entry = Vec::new();
                    crate::json::put_key(key_type, map_key, &mut entry)
                        .map_err(|message| error(&message))?;
                    put_value(schema, leaf, 2, &value, options, &mut entry)
                        .map_err(|message| error(&message))?;
                    wire::put_len(&mut payload, leaf.number, &entry);
                }
                (Shape::Map(_), None) => return Err(error("a map wants a key: name[key]=value")),
                (_, Some(_)) => return Err(error("only a map has keys")),
                (shape, None) => {
                    put_value(schema, leaf, leaf.number, &value, options, &mut payload)
                        .map_err(|message| error(&message))?;
                    let merges = matches!(leaf.ty, Type::Message(id) if schema.table(id).kind == WellKnown::FieldMask);
                    if shape == Shape::Single && !merges {
                        if single.contains(&slots) {
                            return Err(error("a single value was given twice"));
                        }
                        single.push(slots.clone());
                    }
                }
            }
            // A message that is a member is one by whatever is given of it.
            for (at, field) in fields.iter().copied().chain([leaf]).enumerate() {
                let Some(oneof) = field.oneof else { continue };
                let (parent, member) = (&slots[..at], slots[at]);
                let mut known = oneofs
                    .iter()
                    .filter(|one| one.0 == parent && one.1 == oneof);
                if known.any(|one| one.2 != member) {
                    return Err(error("another member of the oneof is already set"));
                }
                oneofs.push((parent.to_vec(), oneof, member));
            }
            wrap(&fields, &payload, out);
        }
        Ok(masked)
    }

    /// PATCH with a body that is a field: an update mask that nobody gave is what the body has.
    fn fill_mask(&self, schema: &Inner, table: &Table, body: &[u8], out: &mut Vec<u8>) {
        let Some(slot) = self
            .binding
            .body
            .filter(|_| self.binding.rule.verb == "PATCH")
        else {
            return;
        };
        let is_mask = |field: &&Field| {
            field.shape == Shape::Single
                && matches!(field.ty, Type::Message(id) if schema.table(id).kind == WellKnown::FieldMask)
        };
        let named = table.field("update_mask").filter(is_mask);
        let Some(field) = named.or_else(|| table.fields.iter().find(is_mask)) else {
            return;
        };
        let Type::Message(id) = table.fields[usize::from(slot)].ty else {
            return;
        };
        let mut payload = Vec::new();
        for path in mask::paths(schema, schema.table(id), body) {
            wire::put_len(&mut payload, 1, path.as_bytes());
        }
        if !payload.is_empty() {
            wrap(&[field], &payload, out);
        }
    }

    /// Appends the response as JSON: the whole message, or the field that `response_body` names.
    ///
    /// # Errors
    /// As [`wire_to_json`].
    pub fn response(
        &self,
        wire: &[u8],
        options: &PrintOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let output = self.binding.method.output();
        match &self.binding.rule.response_body {
            Some(field) => wire_field_to_json(&output, field, wire, options, out),
            None => wire_to_json(&output, wire, options, out),
        }
    }
}

/// The messages along a path of slots, and its last field.
fn along<'s>(schema: &'s Inner, table: &'s Table, slots: &[u16]) -> (Vec<&'s Field>, &'s Field) {
    let mut table = table;
    let mut fields = Vec::new();
    let mut leaf = &table.fields[usize::from(slots[0])];
    for slot in &slots[1..] {
        fields.push(leaf);
        if let Type::Message(id) = leaf.ty {
            table = schema.table(id);
        }
        leaf = &table.fields[usize::from(*slot)];
    }
    (fields, leaf)
}

fn names(fields: &[&Field], leaf: &Field) -> String {
    let mut path = String::new();
    for field in fields {
        path.push_str(&field.json_name);
        path.push('.');
    }
    path + &leaf.json_name
}

/// Appends a payload inside the messages that lead to it.
pub(super) fn wrap(fields: &[&Field], payload: &[u8], out: &mut Vec<u8>) {
    let mut inner = payload.to_vec();
    for field in fields.iter().rev() {
        let mut outer = Vec::with_capacity(inner.len() + 8);
        if field.delimited {
            wire::put_tag(&mut outer, field.number, wire::START);
            outer.extend_from_slice(&inner);
            wire::put_tag(&mut outer, field.number, wire::END);
        } else {
            wire::put_len(&mut outer, field.number, &inner);
        }
        inner = outer;
    }
    out.extend_from_slice(&inner);
}

fn below(field: &Field, error: JsonError) -> JsonError {
    let path = match error.path.as_str() {
        "" => field.json_name.to_string(),
        path if path.starts_with('[') => format!("{}{path}", field.json_name),
        path => format!("{}.{path}", field.json_name),
    };
    JsonError { path, ..error }
}

pub(super) fn text_error(path: &str, message: &str) -> JsonError {
    JsonError {
        path: path.to_owned(),
        message: message.to_owned(),
        offset: 0,
    }
}

/// Appends one value of a query: text without quotes, or JSON where only that can say it.
fn put_value(
    schema: &Inner,
    field: &Field,
    number: u32,
    text: &str,
    options: &ParseOptions,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if let Type::Message(id) = field.ty
        && let table = schema.table(id)
        && matches!(
            table.kind,
            WellKnown::Struct | WellKnown::Value | WellKnown::ListValue
        )
    {
        let mut payload = Vec::new();
        Parser::new(schema, text.as_bytes(), options, &mut payload)
            .and_then(|mut parser| parser.root(table))
            .map_err(|error| format!("a {} is JSON: {error}", table.full_name))?;
        wire::put_len(out, number, &payload);
        return Ok(());
    }
    put_text(schema, field, number, text, out).map_err(|wrong| wrong.into_owned())
}

fn form_decode(text: &str) -> Option<String> {
    if text.contains('+') {
        decode(&text.replace('+', " "))
    } else {
        decode(text)
    }
}
