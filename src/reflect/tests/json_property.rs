//! Properties: random messages agree with the descriptor library's own codec, round trips keep
//! them, and random bytes and text are refused without a panic.

use buffa_descriptor::DynamicMessage;
use proptest::prelude::*;
use reflect::{ParseOptions, PrintOptions, UnknownFields, json_to_wire, wire_to_json};
use serde_json::{Map, Number, Value, json};

use crate::fixture::{message, schema};

fn mood() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("GOOD")),
        Just(json!("BAD")),
        (3..1000i32).prop_map(|n| json!(n))
    ]
}

/// One scalar field with a value that is not its default.
fn scalar() -> impl Strategy<Value = (&'static str, Value)> {
    let int32 = any::<i32>()
        .prop_filter("zero is absence", |n| *n != 0)
        .boxed();
    let int64 = any::<i64>()
        .prop_filter("zero is absence", |n| *n != 0)
        .boxed();
    let uint32 = (1..u32::MAX).boxed();
    let uint64 = (1..u64::MAX).boxed();
    let text = "[^\u{0}]{1,40}".boxed();
    prop_oneof![
        int32.clone().prop_map(|n| ("int32Value", json!(n))),
        int64
            .clone()
            .prop_map(|n| ("int64Value", json!(n.to_string()))),
        uint32.clone().prop_map(|n| ("uint32Value", json!(n))),
        uint64
            .clone()
            .prop_map(|n| ("uint64Value", json!(n.to_string()))),
        int32.clone().prop_map(|n| ("sint32Value", json!(n))),
        int64
            .clone()
            .prop_map(|n| ("sint64Value", json!(n.to_string()))),
        uint32.prop_map(|n| ("fixed32Value", json!(n))),
        uint64.prop_map(|n| ("fixed64Value", json!(n.to_string()))),
        int32.clone().prop_map(|n| ("sfixed32Value", json!(n))),
        int64.prop_map(|n| ("sfixed64Value", json!(n.to_string()))),
        any::<f32>()
            .prop_filter("finite", |f| f.is_normal())
            .prop_map(|f| ("floatValue", json!(f))),
        any::<f64>()
            .prop_filter("finite", |f| f.is_normal())
            .prop_map(|f| ("doubleValue", json!(f))),
        Just(("boolValue", json!(true))),
        text.clone().prop_map(|t| ("stringValue", json!(t))),
        Just(("bytesValue", json!("AAEC/w=="))),
        mood().prop_map(|m| ("mood", m)),
        any::<i32>().prop_map(|n| ("maybe", json!(n))),
        prop::collection::vec(any::<i32>(), 1..40).prop_map(|v| ("numbers", json!(v))),
        prop::collection::vec(any::<i32>(), 1..4).prop_map(|v| ("loose", json!(v))),
        prop::collection::vec(text.clone(), 1..4).prop_map(|v| ("words", json!(v))),
        prop::collection::vec(mood(), 1..4).prop_map(|v| ("moods", json!(v))),
        prop::collection::btree_map(text.clone(), any::<i32>(), 1..5)
            .prop_map(|m| ("counts", json!(m))),
        prop::collection::btree_map(any::<i64>(), text.clone(), 1..5)
            .prop_map(|m| ("names", json!(m))),
        prop_oneof![
            text.clone().prop_map(|t| ("text", json!(t))),
            any::<i32>().prop_map(|n| ("number", json!(n))),
            Just(("nothing", json!(null))),
        ],
        (0..253_402_300_799i64).prop_map(|s| {
            let day = s % 28 + 1;
            (
                "time",
                json!(format!(
                    "{:04}-{:02}-{day:02}T{:02}:{:02}:00.123Z",
                    s % 9999 + 1,
                    s % 12 + 1,
                    s % 24,
                    s % 60
                )),
            )
        }),
        (-1000i64..1000).prop_map(|s| ("span", json!(format!("{s}.500s")))),
        Just(("mask", json!("fooBar,a.bC"))),
        any::<i64>().prop_map(|n| ("wrappedInt", json!(n.to_string()))),
        text.prop_map(|t| ("wrappedText", json!(t))),
        loose_value().prop_map(|v| ("value", v)),
        prop::collection::vec(loose_value(), 0..4).prop_map(|v| ("list", json!(v))),
        prop::collection::btree_map("[a-z]{0,5}", loose_value(), 0..4)
            .prop_map(|m| ("struct", json!(m))),
    ]
}

fn loose_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(|f| json!(f)),
        "[a-z\"\\\\é]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..3).prop_map(|m| json!(m)),
        ]
    })
}

fn all() -> impl Strategy<Value = Value> {
    let flat = prop::collection::vec(scalar(), 0..6).prop_map(object);
    flat.prop_recursive(4, 24, 4, |inner| {
        let nested = prop_oneof![
            inner.clone().prop_map(|v| ("child", v)),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|v| ("children", json!(v))),
            prop::collection::btree_map("[a-z]{0,4}", inner.clone(), 1..3)
                .prop_map(|m| ("byName", json!(m))),
            inner.prop_map(|v| {
                let mut packed = v;
                packed["@type"] = json!("type.googleapis.com/test.v1.All");
                ("any", packed)
            }),
        ];
        (
            prop::collection::vec(scalar(), 0..4),
            prop::collection::vec(nested, 1..3),
        )
            .prop_map(|(mut fields, nested)| {
                fields.extend(nested);
                object(fields)
            })
    })
}

/// One value per field and per oneof.
fn object(fields: Vec<(&'static str, Value)>) -> Value {
    let mut object = Map::new();
    let mut chosen = false;
    for (name, value) in fields {
        if ["text", "number", "nothing"].contains(&name) && std::mem::replace(&mut chosen, true) {
            continue;
        }
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// Both write the shortest digits of a single, one of them as if it were a double.
fn singles(mut value: Value) -> Value {
    match &mut value {
        Value::Object(object) => {
            for (key, member) in object.iter_mut() {
                let single = member.as_f64().filter(|_| key == "floatValue");
                *member = match single {
                    Some(number) => json!(number as f32),
                    None => singles(member.take()),
                };
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = singles(item.take());
            }
        }
        // Who writes a whole double without a point writes the same number.
        Value::Number(number) => *number = Number::from_f64(number.as_f64().unwrap()).unwrap(),
        _ => {}
    }
    value
}

fn library(json: &str) -> DynamicMessage {
    let pool = schema().pool().clone();
    let index = pool.message_index("test.v1.All").unwrap();
    DynamicMessage::from_json(pool, index, json).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_messages_agree_with_the_library(value in all()) {
        let json = value.to_string();
        let oracle = library(&json);
        let message = message("test.v1.All");
        let wire = json_to_wire(&message, json.as_bytes(), &ParseOptions::default())
            .map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
        let pool = schema().pool().clone();
        let index = pool.message_index("test.v1.All").unwrap();
        let decoded = DynamicMessage::decode(pool, index, &wire).unwrap();
        let theirs = singles(serde_json::to_value(&oracle).unwrap());
        prop_assert_eq!(&singles(serde_json::to_value(&decoded).unwrap()), &theirs);
        let mut out = Vec::new();
        wire_to_json(&message, &oracle.encode_to_vec(), &PrintOptions::default(), &mut out).unwrap();
        let ours: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(&singles(ours), &theirs);
        // There and back keeps every byte, and so does indented text.
        let again = json_to_wire(&message, &out, &ParseOptions::default()).unwrap();
        let mut pretty = Vec::new();
        let indent = PrintOptions { indent: Some(2), proto_names: true, ..PrintOptions::default() };
        wire_to_json(&message, &again, &indent, &mut pretty).unwrap();
        prop_assert_eq!(json_to_wire(&message, &pretty, &ParseOptions::default()).unwrap(), again);
    }

    #[test]
    fn random_bytes_print_or_are_refused(wire in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in ["test.v1.All", "test.old.Old", "google.protobuf.Value", "google.protobuf.Any"] {
            let mut out = Vec::new();
            let message = message(name);
            let printed = wire_to_json(&message, &wire, &PrintOptions { emit_defaults: true, ..PrintOptions::default() }, &mut out);
            if printed.is_ok() {
                prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
                let read = json_to_wire(&message, &out, &ParseOptions::default());
                prop_assert!(read.is_ok(), "{:?} from {}", read, String::from_utf8_lossy(&out));
            }
        }
    }

    #[test]
    fn random_text_is_read_or_refused(text in "[\\[\\]{}:,\"a-z0-9.eE+\\- \\\\ué@]{0,60}") {
        for unknown_fields in [UnknownFields::Reject, UnknownFields::Drop] {
            let options = ParseOptions { unknown_fields, max_depth: 20, ..ParseOptions::default() };
            for name in ["test.v1.All", "google.protobuf.Value", "google.protobuf.Any"] {
                let read = json_to_wire(&message(name), text.as_bytes(), &options);
                let valid = serde_json::from_str::<Value>(&text).is_ok();
                prop_assert!(valid || read.is_err(), "{text}");
            }
        }
    }
}
