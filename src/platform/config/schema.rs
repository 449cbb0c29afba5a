//! The shape of a service's own config: a Rust type becomes the JSON Schema that is published, the
//! defaults below every layer, and the check that every value must pass. Pure. The invariant: what
//! is published is what `fleet` reads, and every default in it passes it. Secrets' defaults are
//! never published.

use std::sync::Arc;

use fleet::config::check_path;
use fleet::config::schema::{Schema, Weight};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use serde_yaml::Value;

use super::live::Watcher;

/// How deep a config type may nest; deeper is a type that contains itself.
const MAX_DEPTH: usize = 32;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// Reads and checks.
    pub(crate) schema: Arc<Schema>,
    /// What is published.
    pub(crate) json: Json,
    /// By dotted path.
    pub(crate) defaults: Vec<(String, Value)>,
}

/// Describes a type by itself and by its `Default`.
///
/// # Errors
/// The reason in one line: the type is no struct, or its defaults break its own bounds.
pub(crate) fn describe<T: JsonSchema + Serialize + Default>() -> Result<Described, String> {
    // References would part a bound from the format it is written in.
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut json = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    let values = serde_json::to_value(T::default())
        .map_err(|error| format!("its defaults cannot be written: {error}"))?;
    if json.get("properties").is_none() || !values.is_object() {
        return Err("it is no struct with named fields".into());
    }
    let mut defaults = Vec::new();
    units(&mut json, 0)?;
    lay(&mut json, values, String::new(), Secret::No, &mut defaults)?;
    let schema = read(&json)?;
    for (path, value) in &defaults {
        check_path(path).map_err(|error| format!("field {path}: {error}"))?;
        check(&schema, path, value).map_err(|error| format!("the default of {path}: {error}"))?;
    }
    Ok(Described {
        schema: Arc::new(schema),
        json,
        defaults,
    })
}

fn read(json: &Json) -> Result<Schema, String> {
    Schema::from_json(json.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn check(schema: &Schema, path: &str, value: &Value) -> Result<(), String> {
    let faults = schema.check(path, value);
    match faults
        .into_iter()
        .find(|fault| fault.weight == Weight::Error)
    {
        None => Ok(()),
        // A fault within a mapping says where.
        Some(fault) if fault.path != path => Err(fault.to_string()),
        Some(fault) => Err(fault.message),
    }
}

/// Serde knows a `Duration` as seconds and nanoseconds; config writes `5s`. An enum of which only
/// some names have docs comes in parts; a refusal should name all of them.
fn units(json: &mut Json, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH * 2 {
        return Err("it nests too deep".into());
    }
    if is_duration(json)
        && let Json::Object(members) = json
    {
        members.remove("required");
        members.remove("properties");
        members.insert("type".into(), json!("string"));
        members.insert("format".into(), json!("duration"));
    }
    if let Some(names) = names(json)
        && let Json::Object(members) = json
    {
        members.remove("oneOf");
        members.insert("type".into(), json!("string"));
        members.insert("enum".into(), names);
    }
    let inner: Box<dyn Iterator<Item = &mut Json>> = match json {
        Json::Object(members) => Box::new(members.values_mut()),
        Json::Array(items) => Box::new(items.iter_mut()),
        _ => return Ok(()),
    };
    for member in inner {
        units(member, depth + 1)?;
    }
    Ok(())
}

fn is_duration(json: &Json) -> bool {
    let Some(members) = json.get("properties").and_then(Json::as_object) else {
        return false;
    };
    members.len() == 2 && members.contains_key("secs") && members.contains_key("nanos")
}

/// The names of an enum whose parts are nothing but names.
fn names(json: &Json) -> Option<Json> {
    let mut names = Vec::new();
    for part in json.get("oneOf")?.as_array()? {
        match (part.get("const"), part.get("enum")) {
            (Some(name @ Json::String(_)), None) => names.push(name.clone()),
            (None, Some(Json::Array(more))) if more.iter().all(Json::is_string) => {
                names.extend(more.iter().cloned());
            }
            _ => return None,
        }
    }
    Some(Json::Array(names))
}

/// Whether a place stands in a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    No,
    Yes,
}

/// Lays the defaults into the schema, and notes them by path.
fn lay(
    json: &mut Json,
    value: Json,
    path: String,
    outer: Secret,
    defaults: &mut Vec<(String, Value)>,
) -> Result<(), String> {
    let Json::Object(members) = json else {
        return Ok(());
    };
    let secret = match members.get("x-secret") {
        Some(Json::Bool(true)) => Secret::Yes,
        _ => outer,
    };
    // What stands here from the derive macro is of serde's form, not of config's.
    members.remove("default");
    match (members.get_mut("properties"), value) {
        // `None`, an empty list and an empty mapping say nothing.
        (_, Json::Null) => Ok(()),
        (Some(Json::Object(properties)), Json::Object(mut values)) => {
            for (name, property) in properties.iter_mut() {
                let at = match path.as_str() {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                let value = values.remove(name).unwrap_or(Json::Null);
                lay(property, value, at, secret, defaults)?;
            }
            given(members);
            Ok(())
        }
        (_, value) => {
            let value = written(json, value)?;
            let yaml = serde_yaml::to_value(&value).map_err(|error| format!("{path}: {error}"))?;
            if let (Secret::No, Json::Object(members)) = (secret, json) {
                members.insert("default".into(), value);
            }
            if !matches!(&yaml, Value::Mapping(members) if members.is_empty()) {
                defaults.push((path, yaml));
            }
            Ok(())
        }
    }
}

/// What has a default need not be given by any layer, nor do the members of a mapping that have one.
fn given(members: &mut Map<String, Json>) {
    let Some(Json::Object(properties)) = members.get("properties") else {
        return;
    };
    let has_default = |name: &Json| {
        let property = name.as_str().and_then(|name| properties.get(name));
        property.is_some_and(|one| one.get("default").is_some() || one.get("properties").is_some())
    };
    let wanted = members.get("required").and_then(Json::as_array);
    let wanted = wanted.into_iter().flatten();
    let wanted: Vec<Json> = wanted.filter(|name| !has_default(name)).cloned().collect();
    members.remove("required");
    if !wanted.is_empty() {
        members.insert("required".into(), Json::Array(wanted));
    }
}

/// A default as config writes it.
fn written(json: &Json, value: Json) -> Result<Json, String> {
    let parts = ["anyOf", "oneOf"].map(|name| json.get(name).and_then(Json::as_array));
    let of_parts = || {
        let mut parts = parts.into_iter().flatten().flatten();
        parts.any(|part| part.get("format").and_then(Json::as_str) == Some("duration"))
    };
    Ok(match value {
        Json::Object(members) if members.len() == 2 && members.contains_key("secs") => {
            if json.get("format").and_then(Json::as_str) != Some("duration") && !of_parts() {
                return Ok(Json::Object(members));
            }
            let duration = serde_json::from_value(Json::Object(members))
                .map_err(|error| format!("a duration cannot be read: {error}"))?;
            Json::String(duration_text(duration))
        }
        Json::Array(items) => {
            let of = json.get("items").unwrap_or(&Json::Null);
            let items = items.into_iter().map(|item| written(of, item));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Json::Object(members) => {
            let others = json.get("additionalProperties");
            let of = |name: &str| {
                json.get("properties")
                    .and_then(|all| all.get(name))
                    .or(others)
            };
            let members = members.into_iter().map(|(name, value)| {
                let value = written(of(&name).unwrap_or(&Json::Null), value)?;
                Ok((name, value))
            });
            Json::Object(members.collect::<Result<_, String>>()?)
        }
        other => other,
    })
}

/// `1m30s`, `250ms`: exact, in the largest units that fit.
fn duration_text(duration: std::time::Duration) -> String {
    let mut rest = duration.as_nanos();
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, nanos) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        if rest >= nanos {
            text.push_str(&format!("{}{unit}", rest / nanos));
            rest %= nanos;
        }
    }
    text
}

/// Holds one path to the schema, whoever reads it.
pub(super) struct SchemaWatcher {
    schema: Arc<Schema>,
    path: Arc<str>,
}

impl SchemaWatcher {
    /// One for each path that the schema names.
    pub(super) fn all(schema: &Arc<Schema>) -> Vec<(Arc<str>, SchemaWatcher)> {
        let watcher = |field: fleet::config::schema::Field| {
            let path: Arc<str> = field.path.into();
            let schema = schema.clone();
            (path.clone(), SchemaWatcher { schema, path })
        };
        schema.fields().into_iter().map(watcher).collect()
    }
}

impl Watcher for SchemaWatcher {
    fn check(&self, value: &Value) -> Result<(), String> {
        check(&self.schema, &self.path, value)
    }
    fn publish(&self, _value: &Value) {}
    fn missing(&self) {}
    fn alive(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
