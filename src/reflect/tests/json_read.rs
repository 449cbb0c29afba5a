//! What JSON is accepted, what is refused with which path and words, and what comes out.

use reflect::{ParseOptions, PrintOptions, UnknownFields, json_to_wire, wire_to_json};

use crate::fixture::message;

/// Reads as `type_name` and prints again.
fn through(type_name: &str, json: &str, options: &ParseOptions) -> Result<String, String> {
    let message = message(type_name);
    let wire = json_to_wire(&message, json.as_bytes(), options).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    wire_to_json(&message, &wire, &PrintOptions::default(), &mut out).map_err(|e| e.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn check(cases: &[(&str, &str)]) {
    for (json, wanted) in cases {
        let got = through("test.v1.All", json, &ParseOptions::default());
        assert_eq!(got.as_deref(), Ok(*wanted), "{json}");
    }
}

fn refused(cases: &[(&str, &str)]) {
    for (json, wanted) in cases {
        match through("test.v1.All", json, &ParseOptions::default()) {
            Ok(got) => panic!("{json} was accepted as {got}"),
            Err(error) => assert!(error.contains(wanted), "{json}: {error:?} lacks {wanted:?}"),
        }
    }
}

#[test]
fn numbers_are_read_in_every_form_protobuf_allows() {
    check(&[
        (r#"{"int32Value": 1.0}"#, r#"{"int32Value":1}"#),
        (r#"{"int32Value": 1e3}"#, r#"{"int32Value":1000}"#),
        (r#"{"int32Value": "1e3"}"#, r#"{"int32Value":1000}"#),
        (r#"{"int32Value": 12.50e1}"#, r#"{"int32Value":125}"#),
        (
            r#"{"int32Value": -2147483648}"#,
            r#"{"int32Value":-2147483648}"#,
        ),
        (
            r#"{"int64Value": "9223372036854775807"}"#,
            r#"{"int64Value":"9223372036854775807"}"#,
        ),
        (
            r#"{"int64Value": 9007199254740993}"#,
            r#"{"int64Value":"9007199254740993"}"#,
        ),
        (
            r#"{"int64Value": 9007199254740993.0}"#,
            r#"{"int64Value":"9007199254740993"}"#,
        ),
        (
            r#"{"int64Value": -9223372036854775808}"#,
            r#"{"int64Value":"-9223372036854775808"}"#,
        ),
        (
            r#"{"uint64Value": 18446744073709551615}"#,
            r#"{"uint64Value":"18446744073709551615"}"#,
        ),
        (
            r#"{"uint64Value": 1.8446744073709551615e19}"#,
            r#"{"uint64Value":"18446744073709551615"}"#,
        ),
        (
            r#"{"sint32Value": -5, "sint64Value": "-7"}"#,
            r#"{"sint32Value":-5,"sint64Value":"-7"}"#,
        ),
        (
            r#"{"fixed32Value": 7, "sfixed64Value": -7}"#,
            r#"{"fixed32Value":7,"sfixed64Value":"-7"}"#,
        ),
        (
            r#"{"floatValue": 3.4028235e38}"#,
            r#"{"floatValue":3.4028235e38}"#,
        ),
        (
            r#"{"floatValue": "NaN", "doubleValue": "-Infinity"}"#,
            r#"{"floatValue":"NaN","doubleValue":"-Infinity"}"#,
        ),
        (r#"{"doubleValue": -0.0}"#, r#"{"doubleValue":-0}"#),
        (r#"{"doubleValue": "1.5"}"#, r#"{"doubleValue":1.5}"#),
        (r#"{"doubleValue": 1e-400}"#, "{}"),
        (r#"{"int32Value": 0, "stringValue": ""}"#, "{}"),
    ]);
}

#[test]
fn numbers_out_of_range_or_shape_are_refused() {
    refused(&[
        (
            r#"{"int32Value": 2147483648}"#,
            "int32Value: \"2147483648\" is out of the range of an int32",
        ),
        (r#"{"int32Value": 1.5}"#, "has a fraction"),
        (r#"{"int32Value": 1e-1}"#, "has a fraction"),
        (
            r#"{"int32Value": 1e99999999999999999999}"#,
            "out of the range",
        ),
        (r#"{"uint32Value": -1}"#, "out of the range"),
        (
            r#"{"uint64Value": 18446744073709551616}"#,
            "out of the range",
        ),
        (r#"{"int64Value": "1 "}"#, "expected an int64"),
        (r#"{"int64Value": "+1"}"#, "expected an int64"),
        (r#"{"int64Value": ""}"#, "expected an int64"),
        (r#"{"int32Value": 01}"#, "malformed number"),
        (r#"{"int32Value": 1.}"#, "malformed number"),
        (r#"{"int32Value": .5}"#, "stray character"),
        (
            r#"{"int32Value": true}"#,
            "expected an int32, found a boolean",
        ),
        (r#"{"floatValue": 3.5e38}"#, "out of the range of a float"),
        (r#"{"doubleValue": 1e309}"#, "out of the range of a double"),
        (r#"{"doubleValue": NaN}"#, "stray character"),
        (r#"{"boolValue": "true"}"#, "expected true or false"),
        (r#"{"boolValue": 1}"#, "expected true or false"),
    ]);
}

#[test]
fn strings_and_bytes_follow_json_and_base64() {
    check(&[
        (
            r#"{"stringValue": "a\u00e9\n\ud83d\ude00\/"}"#,
            "{\"stringValue\":\"aé\\n😀/\"}",
        ),
        (
            r#"{"stringValue": "\u0000\u007f\u0085"}"#,
            r#"{"stringValue":"\u0000\u007f\u0085"}"#,
        ),
        (r#"{"bytesValue": "-_8="}"#, r#"{"bytesValue":"+/8="}"#),
        (r#"{"bytesValue": "-_8"}"#, r#"{"bytesValue":"+/8="}"#),
        (r#"{"bytesValue": "AQI="}"#, r#"{"bytesValue":"AQI="}"#),
        (r#"{"wrappedBytes": ""}"#, r#"{"wrappedBytes":""}"#),
    ]);
    refused(&[
        (r#"{"stringValue": "\ud83d"}"#, "surrogate without its pair"),
        (
            r#"{"stringValue": "\ude00\ud83d"}"#,
            "surrogate without its pair",
        ),
        ("{\"stringValue\": \"a\nb\"}", "control character"),
        (r#"{"stringValue": "\x"}"#, "unknown escape"),
        (r#"{"stringValue": 'a'}"#, "stray character"),
        (r#"{"stringValue": "a}"#, "does not end"),
        (r#"{"stringValue": 1}"#, "expected a string, found a number"),
        (r#"{"bytesValue": "A"}"#, "not base64"),
        (r#"{"bytesValue": "A!=="}"#, "not base64"),
    ]);
}

#[test]
fn structure_is_strict_and_names_the_path() {
    refused(&[
        ("", "found the end of the text"),
        ("[]", "expected '{' to begin a message, found an array"),
        ("{} {}", "expected the end of the text"),
        (r#"{"int32Value": 1,}"#, "expected a string"),
        (r#"{"int32Value" 1}"#, "expected ':'"),
        (r#"{int32Value: 1}"#, "expected a string"),
        (r#"{"int32Value": 1 "mood": 1}"#, "or ','"),
        (
            r#"{"children": [{}, {"numbers": [1, 2, "x"]}]}"#,
            "children[1].numbers[2]: expected an int32",
        ),
        (
            r#"{"byName": {"a b": {"child": {"int32Value": []}}}}"#,
            r#"byName["a b"].child.int32Value: expected a single value, found an array"#,
        ),
        (
            r#"{"children": [{"quantity": 1}]}"#,
            "children[0].quantity: test.v1.All has no such field",
        ),
        (r#"{"int32Valeu": 1}"#, "did you mean int32Value?"),
        (
            r#"{"int32Value": 1, "int32Value": 2}"#,
            "int32Value: the field appears twice",
        ),
        (
            r#"{"int32Value": 1, "int32_value": 2}"#,
            "the field appears twice",
        ),
        (
            r#"{"text": "a", "number": 1}"#,
            "number: another member of the oneof 'choice' is already set",
        ),
        (
            r#"{"counts": {"a": 1, "a": 2}}"#,
            "counts: a key appears twice",
        ),
        (
            r#"{"names": {"1": "a", "1.0": "b"}}"#,
            "a key appears twice",
        ),
        (
            r#"{"names": {"x": "a"}}"#,
            r#"names["x"]: the key: expected an int64"#,
        ),
        (r#"{"flags": {"TRUE": "a"}}"#, "expected true or false"),
        (
            r#"{"numbers": [1, null]}"#,
            "numbers[1]: null cannot stand in a repeated field",
        ),
        (r#"{"counts": {"a": null}}"#, "null cannot stand in a map"),
        (
            r#"{"numbers": {}}"#,
            "expected '[' to begin a repeated field",
        ),
        (
            r#"{"mood": "HAPPY"}"#,
            "no such enum value \"HAPPY\"; there are BAD, GOOD",
        ),
        (r#"{"mood": 1.5}"#, "has a fraction"),
        (r#"{"[test.old.nick_name]": "x"}"#, "no such extension"),
    ]);
}

#[test]
fn null_is_absence_except_where_it_is_a_value() {
    check(&[
        (
            r#"{"int32Value": null, "words": null, "counts": null, "time": null, "maybe": null}"#,
            "{}",
        ),
        (r#"{"value": null}"#, r#"{"value":null}"#),
        (r#"{"values": [null, 1]}"#, r#"{"values":[null,1]}"#),
        (r#"{"nothing": null}"#, r#"{"nothing":null}"#),
        (r#"{"nothing": "NULL_VALUE"}"#, r#"{"nothing":null}"#),
        (r#"{"text": null, "number": 1}"#, r#"{"number":1}"#),
        (r#"{"maybe": 0}"#, r#"{"maybe":0}"#),
        (r#"{"text": ""}"#, r#"{"text":""}"#),
        (
            r#"{"struct": {"a": null, "b": [{}, [], true]}}"#,
            r#"{"struct":{"a":null,"b":[{},[],true]}}"#,
        ),
    ]);
}

#[test]
fn well_known_types_have_their_own_form() {
    check(&[
        (
            r#"{"time": "2026-01-02T03:04:05.5+02:00"}"#,
            r#"{"time":"2026-01-02T01:04:05.500Z"}"#,
        ),
        (
            r#"{"time": "0001-01-01T00:00:00Z"}"#,
            r#"{"time":"0001-01-01T00:00:00Z"}"#,
        ),
        (
            r#"{"time": "9999-12-31T23:59:59.999999999Z"}"#,
            r#"{"time":"9999-12-31T23:59:59.999999999Z"}"#,
        ),
        (
            r#"{"time": "1969-12-31T23:59:59.123456Z"}"#,
            r#"{"time":"1969-12-31T23:59:59.123456Z"}"#,
        ),
        (
            r#"{"time": "2024-02-29T00:00:00Z"}"#,
            r#"{"time":"2024-02-29T00:00:00Z"}"#,
        ),
        (r#"{"span": "-0.5s"}"#, r#"{"span":"-0.500s"}"#),
        (
            r#"{"span": "315576000000s"}"#,
            r#"{"span":"315576000000s"}"#,
        ),
        (r#"{"mask": "fooBar,a.bC"}"#, r#"{"mask":"fooBar,a.bC"}"#),
        (r#"{"mask": ""}"#, r#"{"mask":""}"#),
        (
            r#"{"wrappedInt": 0, "wrappedText": "x"}"#,
            r#"{"wrappedInt":"0","wrappedText":"x"}"#,
        ),
        (r#"{"list": [1, "a"]}"#, r#"{"list":[1,"a"]}"#),
        (r#"{"any": {}}"#, r#"{"any":{}}"#),
        (
            r#"{"any": {"@type": "type.googleapis.com/test.v1.User", "id": "1"}}"#,
            r#"{"any":{"@type":"type.googleapis.com/test.v1.User","id":"1"}}"#,
        ),
        (
            r#"{"any": {"id": "1", "@type": "x/test.v1.User"}}"#,
            r#"{"any":{"@type":"x/test.v1.User","id":"1"}}"#,
        ),
        (
            r#"{"any": {"@type": "x/google.protobuf.Duration", "value": "1s"}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s"}}"#,
        ),
        (
            r#"{"any": {"@type": "x/google.protobuf.Any", "value": {"@type": "x/test.v1.User"}}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Any","value":{"@type":"x/test.v1.User"}}}"#,
        ),
        (
            r#"{"any": {"@type": "x/no.such.Type", "@value": "CAE="}}"#,
            r#"{"any":{"@type":"x/no.such.Type","@value":"CAE="}}"#,
        ),
    ]);
    refused(&[
        (
            r#"{"time": "2026-01-02 03:04:05Z"}"#,
            "expected a time such as",
        ),
        (r#"{"time": "2026-02-30T00:00:00Z"}"#, "expected a time"),
        (r#"{"time": "2026-01-02T03:04:05"}"#, "expected a time"),
        (r#"{"time": "10000-01-01T00:00:00Z"}"#, "expected a time"),
        (r#"{"span": "1"}"#, "expected a duration"),
        (r#"{"span": "315576000001s"}"#, "expected a duration"),
        (r#"{"mask": "foo_bar"}"#, "camelCase"),
        (r#"{"value": 1e999}"#, "out of the range"),
        (r#"{"any": {"id": "1"}}"#, "an Any needs its \"@type\""),
        (
            r#"{"any": {"@type": "x/no.such.Type", "id": 1}}"#,
            "is not in the schema",
        ),
        (
            r#"{"any": {"@type": "x/test.v1.User", "ids": 1}}"#,
            "any.ids: test.v1.User has no such field",
        ),
    ]);
}

#[test]
fn unknown_fields_and_enum_names_can_be_dropped() {
    let options = ParseOptions {
        unknown_fields: UnknownFields::Drop,
        ..ParseOptions::default()
    };
    let cases = [
        (
            r#"{"who": {"a": [1, {"b": "}"}]}, "int32Value": 1}"#,
            r#"{"int32Value":1}"#,
        ),
        (
            r#"{"mood": "HAPPY", "int32Value": 1}"#,
            r#"{"int32Value":1}"#,
        ),
        (
            r#"{"moods": ["GOOD", "HAPPY", "BAD"]}"#,
            r#"{"moods":["GOOD","BAD"]}"#,
        ),
        (
            r#"{"moodOf": {"a": "HAPPY", "b": "BAD"}}"#,
            r#"{"moodOf":{"b":"BAD"}}"#,
        ),
    ];
    for (json, wanted) in cases {
        assert_eq!(
            through("test.v1.All", json, &options).as_deref(),
            Ok(wanted),
            "{json}"
        );
    }
    assert!(through("test.v1.All", r#"{"who": [1,}"#, &options).is_err());
    assert!(through("test.v1.All", r#"{"int32Value": "x"}"#, &options).is_err());
}

#[test]
fn proto2_has_closed_enums_groups_and_extensions() {
    let through = |json: &str| through("test.old.Old", json, &ParseOptions::default());
    let cases = [
        (
            r#"{"part": {"depth": 1, "inner": {"part": {"depth": 2}}}}"#,
            None,
        ),
        (
            r#"{"needed":"x","[test.old.nick_name]":"nick","[test.old.more]":[1,2]}"#,
            None,
        ),
        (r#"{"[test.old.Scope.inner_old]": {"number": 0}}"#, None),
        (
            r#"{"closed": 2, "manyClosed": ["FIRST"]}"#,
            Some(r#"{"closed":"SECOND","manyClosed":["FIRST"]}"#),
        ),
    ];
    for (json, wanted) in cases {
        let plain = json.replace(": ", ":").replace(", ", ",");
        assert_eq!(
            through(json).as_deref(),
            Ok(wanted.unwrap_or(&plain)),
            "{json}"
        );
    }
    let error = through(r#"{"closed": 7}"#).unwrap_err();
    assert!(
        error.contains("closed: the enum is closed and has no value 7"),
        "{error}"
    );
}

#[test]
fn depth_is_a_setting_and_costs_no_stack() {
    let nested = |depth: usize| {
        format!(
            "{}{}",
            "{\"child\":".repeat(depth) + "{",
            "}".repeat(depth + 1)
        )
    };
    for depth in [300, 5_000] {
        let json = nested(depth);
        assert_eq!(
            through("test.v1.All", &json, &ParseOptions::default()),
            Ok(json)
        );
    }
    let tight = ParseOptions {
        max_depth: 10,
        ..ParseOptions::default()
    };
    assert!(through("test.v1.All", &nested(9), &tight).is_ok());
    let error = through("test.v1.All", &nested(10), &tight).unwrap_err();
    assert!(error.contains("nested deeper than 10 levels"), "{error}");
    let error = through("test.v1.All", &nested(100_000), &ParseOptions::default()).unwrap_err();
    assert!(error.contains("nested deeper than 10000 levels"), "{error}");
    assert!(error.len() < 1_200, "{} bytes of error", error.len());
    for hostile in [
        "{\"child\":",
        "{\"value\":[",
        "{\"x\":[",
        "{\"struct\":{\"a\":{\"b\":[",
    ] {
        for unknown_fields in [UnknownFields::Reject, UnknownFields::Drop] {
            let options = ParseOptions {
                unknown_fields,
                ..ParseOptions::default()
            };
            let json = hostile.to_owned() + &"[".repeat(2_000_000);
            assert!(through("test.v1.All", &json, &options).is_err());
        }
    }
}

#[test]
fn a_long_message_inside_long_messages_gets_its_lengths() {
    let text = "x".repeat(200);
    let big = "y".repeat(20_000);
    let json = format!(
        r#"{{"child":{{"stringValue":"{text}","child":{{"stringValue":"{big}","children":[{{}},{{"stringValue":"{text}"}}],"byName":{{"a":{{"words":["{text}","{big}"]}}}}}}}}}}"#
    );
    assert_eq!(
        through("test.v1.All", &json, &ParseOptions::default()),
        Ok(json)
    );
}

#[test]
fn nested_any_whose_type_comes_last_is_bounded() {
    let json = "{\"any\":".to_owned()
        + &"{\"value\":".repeat(4_000)
        + "{}"
        + &",\"@type\":\"x/google.protobuf.Any\"}".repeat(4_000)
        + "}";
    let error = through("test.v1.All", &json, &ParseOptions::default()).unwrap_err();
    assert!(error.contains("put \"@type\" first"), "{error}");
}

#[test]
fn documents_of_a_stream_are_found_one_by_one() {
    let cases: &[(&str, Option<usize>)] = &[
        ("", None),
        ("  \n", None),
        ("{}{}", Some(2)),
        (" {\"a\":\"}\\\"\"} x", Some(12)),
        ("{\"a\":[1,2]", None),
        ("\"a", None),
        ("\"a\"", Some(3)),
        ("12 ", Some(2)),
        ("12", None),
        ("null\n{}", Some(4)),
    ];
    for (text, wanted) in cases {
        assert_eq!(
            reflect::document_end(text.as_bytes(), 100).unwrap(),
            *wanted,
            "{text}"
        );
    }
    assert!(reflect::document_end(b"]", 100).is_err());
    assert!(reflect::document_end(b"[}", 100).is_err());
    assert!(reflect::document_end(&[b'['; 200], 100).is_err());
}

#[test]
fn messages_nest_as_deep_as_their_reader_can_follow_and_no_deeper() {
    let deep = |name: &str, levels: usize| {
        let (open, close) = match name {
            "child" => (r#"{"child":"#, "}"),
            "value" => (r#"{"a":"#, "}"),
            _ => ("[", "]"),
        };
        format!("{}{{}}{}", open.repeat(levels), close.repeat(levels))
    };
    // What a level costs: a message one, a Struct three (the value, its fields, the entry) and a list two.
    for (kind, name, most) in [
        ("test.v1.All", "child", 30),
        ("google.protobuf.Value", "value", 9),
        ("google.protobuf.Value", "list", 14),
    ] {
        let options = ParseOptions {
            max_nesting: 30,
            ..ParseOptions::default()
        };
        let read = |levels| json_to_wire(&message(kind), deep(name, levels).as_bytes(), &options);
        assert!(read(most).is_ok(), "{kind} {name}: {:?}", read(most));
        let error = read(most + 1).unwrap_err();
        assert!(
            error.message.contains("deeper than 30 levels"),
            "{kind} {name}: {error}"
        );
    }
}
