//! Schemas: what they refuse, and how they say it.

use proptest::prelude::*;
use serde_yaml::Value;

use super::*;
use crate::config::{Layer, Layers, Origin};

fn schema() -> &'static Schema {
    static SCHEMA: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(read);
    &SCHEMA
}

fn read() -> Schema {
    Schema::from_json(
        br##"{
        "type": "object",
        "required": ["name", "db"],
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": "^[a-z]+$"},
            "timeout": {"type": "object", "properties": {
                "write": {"type": "string", "format": "duration", "minimum": "100ms", "maximum": "30s", "default": "2s", "description": "How long a write\nmay take."},
                "read": {"$ref": "#/$defs/Duration"}
            }, "additionalProperties": false},
            "page.size": {"type": "integer", "minimum": 1, "maximum": 500, "x-unit": "rows"},
            "cache": {"format": "size", "maximum": "1GiB"},
            "level": {"enum": ["debug", "info", "warn"]},
            "mode": {"anyOf": [{"const": "fast"}, {"const": "safe"}, {"type": "null"}]},
            "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
            "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
            "on": {"type": "boolean"},
            "retry": {"anyOf": [{"$ref": "#/$defs/Retry"}, {"type": "null"}]},
            "db": {"type": "object", "required": ["dsn"], "properties": {"dsn": {"type": "string", "x-secret": true, "minLength": 5}}},
            "loop": {"$ref": "#/$defs/Loop"}
        },
        "$defs": {
            "Duration": {"format": "duration"},
            "Retry": {"type": "object", "properties": {"attempts": {"type": "integer", "minimum": 1}}},
            "Loop": {"properties": {"next": {"$ref": "#/$defs/Loop"}, "self": {"$ref": "#/$defs/Self"}}},
            "Self": {"$ref": "#/$defs/Self"}
        }
    }"##,
    )
    .unwrap()
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

#[test]
fn a_fault_says_what_was_found_and_what_is_allowed() {
    let schema = schema();
    for (path, value, wanted) in [
        ("timeout.write", "5s", None),
        (
            "timeout.write",
            "45s",
            Some("timeout.write: \"45s\" is too high, allowed is 100ms … 30s"),
        ),
        (
            "timeout.write",
            "5",
            Some("timeout.write: \"5\" is no duration (like 250ms, 5s or 1m30s)"),
        ),
        ("timeout.read", "1x", Some("\"1x\" is no duration")),
        (
            "timeout",
            "{write: 1ms}",
            Some("timeout.write: \"1ms\" is too low"),
        ),
        (
            "timeout",
            "{wirte: 1s}",
            Some("timeout.wirte: the service has no such key. Did you mean 'write'?"),
        ),
        (
            "timeout.wrote",
            "1s",
            Some("timeout.wrote: the service has no such key. Did you mean 'timeout.write'?"),
        ),
        ("page.size", "50", None),
        (
            "page.size",
            "0",
            Some("\"0\" is too low, allowed is 1 … 500"),
        ),
        ("page.size", "many", Some("\"many\" is no whole number")),
        ("page.size", "[1]", Some("a list is no whole number")),
        ("page", "{size: 7}", None),
        ("cache", "10MiB", None),
        ("cache", "2GiB", Some("allowed is at most 1GiB")),
        (
            "level",
            "inof",
            Some("\"inof\" is none of debug, info, warn. Did you mean 'info'?"),
        ),
        ("mode", "fast", None),
        ("mode", "null", None),
        ("mode", "slow", Some("\"slow\" is none of fast")),
        ("ratio", "0", Some("is too low")),
        ("ratio", ".nan", Some("allowed is")),
        ("tags", "[a, b]", None),
        (
            "tags",
            "[a, b, c]",
            Some("a list has 3 items, at most 2 are allowed"),
        ),
        (
            "tags",
            "[a, long]",
            Some("tags[1]: \"long\" has 4 characters, at most 3"),
        ),
        ("labels", "{a: 1}", None),
        ("labels.b", "x", Some("\"x\" is no whole number")),
        ("name", "Ann", Some("\"Ann\" does not match ^[a-z]+$")),
        ("on", "yes", Some("\"yes\" is no true or false")),
        (
            "retry",
            "{attempts: 0}",
            Some("retry.attempts: \"0\" is too low, allowed is at least 1"),
        ),
        ("retry.attempts", "3", None),
        ("db", "{}", Some("db.dsn: it is required and missing")),
        ("nmae", "x", Some("Did you mean 'name'?")),
        ("loop", "{next: {next: {next: {}}}}", None),
        ("loop.self", "1", None),
    ] {
        let found: Vec<_> = schema
            .check(path, &yaml(value))
            .iter()
            .map(ToString::to_string)
            .collect();
        match wanted {
            None => assert!(found.is_empty(), "{path} {value}: {found:?}"),
            Some(wanted) => assert!(
                found.len() == 1 && found[0].contains(wanted),
                "{path} {value}: {found:?}"
            ),
        }
    }
}

#[test]
fn an_unknown_key_is_refused_only_where_the_schema_is_closed() {
    let weight = |path| schema().check(path, &yaml("1"))[0].weight;
    assert_eq!(weight("timeout.other"), Weight::Error);
    assert_eq!(weight("other"), Weight::Warning);
}

#[test]
fn a_secret_is_not_in_the_message_of_its_fault() {
    let schema = schema();
    assert!(schema.is_secret("db.dsn") && schema.is_secret("db") && !schema.is_secret("name"));
    let found = schema.check("db.dsn", &yaml("hun2"))[0].to_string();
    assert_eq!(
        found,
        "db.dsn: the value has 4 characters, at least 5 are wanted"
    );
}

#[test]
fn a_key_is_described_with_kind_default_and_choices() {
    let schema = schema();
    let field = schema.field("timeout.write").unwrap();
    assert_eq!(field.kind, "duration, 100ms … 30s");
    assert_eq!(
        field.description.as_deref(),
        Some("How long a write may take.")
    );
    assert_eq!(field.default, Some("2s".into()));
    for (path, kind) in [
        ("page.size", "whole number in rows, 1 … 500"),
        ("cache", "size, at most 1GiB"),
        ("level", "debug, info, warn"),
        ("tags", "list of text, at most 3 characters"),
        ("retry.attempts", "whole number, at least 1"),
        ("name", "text, 2 … 8 characters"),
    ] {
        assert_eq!(schema.field(path).unwrap().kind, kind, "{path}");
    }
    assert_eq!(
        schema.field("level").unwrap().choices,
        ["debug", "info", "warn"]
    );
    assert_eq!(schema.field("mode").unwrap().choices, ["fast", "safe"]);
    assert_eq!(schema.field("on").unwrap().choices, ["true", "false"]);
    assert!(schema.field("name").unwrap().required && !schema.field("on").unwrap().required);
    let paths: Vec<_> = schema
        .fields()
        .into_iter()
        .map(|field| field.path)
        .collect();
    assert!(paths.contains(&"timeout.write".into()) && paths.contains(&"retry.attempts".into()));
}

#[test]
fn the_whole_of_a_config_has_what_is_required() {
    let mut layers = Layers::new();
    layers.put(Layer::Service, "db", yaml("{dsn: 12345}"), Origin::Default);
    layers.put(Layer::Global, "level", yaml("loud"), Origin::Default);
    let found: Vec<_> = schema()
        .check_all(&layers.effective())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "level: \"loud\" is none of debug, info, warn",
            "name: it is required and no layer has it (text, 2 … 8 characters)",
        ]
    );
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    let deep = "{\"items\":".repeat(200) + "{}" + &"}".repeat(200);
    for (json, wanted) in [
        ("{", "not JSON"),
        ("[]", "at # of the schema"),
        ("{\"properties\": {\"a\": 5}}", "at #/properties/a"),
        (
            "{\"format\": \"duration\", \"minimum\": \"soon\"}",
            "at #/minimum",
        ),
        (deep.as_str(), ""),
    ] {
        let error = Schema::from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let look_around =
        Schema::from_json(br#"{"properties": {"a": {"pattern": "^(?!x)"}}}"#).unwrap();
    assert_eq!(look_around.check("a", &yaml("x")), []);
}

#[test]
fn a_schema_that_grows_out_of_itself_is_answered_all_the_same() {
    let schema = Schema::from_json(
        br##"{"$ref": "#/$defs/T", "$defs": {"T": {"properties": {"a": {"$ref": "#/$defs/T"}, "b": {"$ref": "#/$defs/T"}, "a.a": {"$ref": "#/$defs/T"}},
            "anyOf": [{"$ref": "#/$defs/T"}, {"$ref": "#/$defs/T"}], "items": {"$ref": "#/$defs/T"}}}}"##,
    )
    .unwrap();
    assert_eq!(schema.fields().len(), 3);
    let path = ["a"; 60].join(".");
    let deep = (0..20).fold("{a: 1, b: 1}".to_owned(), |inner, _| {
        format!("{{a: {inner}, b: {inner}}}")
            .chars()
            .take(4000)
            .collect()
    });
    let value: Value = serde_yaml::from_str(&deep).unwrap_or(Value::Null);
    let _ = (
        schema.is_secret(&path),
        schema.check(&path, &value),
        schema.field("a"),
        schema.check("a", &value),
    );
}

proptest! {
    #[test]
    fn no_value_panics(path in "(timeout|loop|tags|db|x)(\\.(write|next|self|dsn|a)){0,4}", text in "[a-z0-9:\\[\\]{}, .]{0,20}") {
        if let Ok(value) = serde_yaml::from_str::<Value>(&text) {
            let schema = schema();
            for fault in schema.check(&path, &value) {
                prop_assert!(!fault.message.is_empty());
            }
        }
    }

    #[test]
    fn a_duration_in_bounds_is_allowed(millis in 0u64..60_000) {
        let found = schema().check("timeout.write", &format!("{millis}ms").into());
        prop_assert_eq!(found.is_empty(), (100..=30_000).contains(&millis));
    }
}
