//! The field mask of a PATCH that gives none: what its body mentions.

use reflect::{Lookup, ParseOptions, Router, Schema, Unbound, UnknownFields};

use crate::fixture::compiled;

const PROTO: &str = r#"
syntax = "proto3";
package mask;
import "google/api/annotations.proto";
import "google/protobuf/any.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
enum Number { ZERO = 0; ONE = 1; }
message Nested { string name = 1; uint32 amount = 2; Number ok = 3; }
message Everything {
  string uuid = 1;
  Nested single_nested = 2;
  repeated Nested nested = 3;
  float float_value = 4;
  int64 int64_value = 5;
  bytes bytes_value = 6;
  Number enum_value = 7;
  oneof choice { string oneof_string = 8; Nested oneof_nested = 9; }
  string nonConventionalNameValue = 10;
  google.protobuf.Timestamp timestamp_value = 11;
  map<string, string> mapped_string_value = 12;
  map<string, Nested> mapped_nested_value = 13;
  google.protobuf.Any anytype = 14;
  google.protobuf.Struct struct_field = 15;
  google.protobuf.Value value_field = 16;
  Odd odd = 17;
  Outer one = 18;
}
message Odd { string id = 1 [json_name = "ID"]; Thing thing = 2 [json_name = "Thingy"]; }
message Thing { Sub subThing = 1 [json_name = "SubThing"]; }
message Sub { string sub_value = 1 [json_name = "sub_Value"]; }
message Outer { Two two = 1; }
message Two { Three three = 1; }
message Three { bool a = 1; bool b = 2; }
message Request { Everything it = 1; google.protobuf.FieldMask update_mask = 2; }
service S {
  rpc Patch(Request) returns (Request) { option (google.api.http) = {patch: "/it" body: "it"}; }
  rpc Put(Request) returns (Request) { option (google.api.http) = {put: "/it" body: "it"}; }
}
"#;

/// A body and the mask that it makes, as its paths stand on the wire.
const CASES: &[(&str, &str)] = &[
    ("", ""),
    ("{}", ""),
    (r#"{"uuid":"1234", "floatValue":3.14}"#, "uuid float_value"),
    (
        r#"{"single_nested": {"name":"bob", "amount": 2}, "uuid":"1234"}"#,
        "single_nested.name single_nested.amount uuid",
    ),
    (
        r#"{"odd":{"ID":"foo", "Thingy":{"SubThing":{"sub_Value":"bar"}}}}"#,
        "odd.id odd.thing.subThing.sub_value",
    ),
    (
        r#"{"odd":{"id":"foo", "thing":{"subThing":{"sub_value":"bar"}}}}"#,
        "odd.id odd.thing.subThing.sub_value",
    ),
    // A mask names fields; what stands in a Struct or a Value has none. The reference goes on into them, and makes
    // masks that protobuf's own libraries refuse.
    (
        r#"{"struct_field": {"name":{"first": "bob"}, "amount": 2}}"#,
        "struct_field",
    ),
    (
        r#"{"uuid":"1", "structField": {"name":"bob"}}"#,
        "uuid struct_field",
    ),
    (
        r#"{"value_field": {"name":{"first": "bob"}, "amount": 2}}"#,
        "value_field",
    ),
    (
        r#"{"mapped_string_value": {"a": "x"}}"#,
        "mapped_string_value",
    ),
    (
        r#"{"mappedNestedValue": {"a": {"name": "x", "amount": 1}}}"#,
        "mapped_nested_value",
    ),
    (
        r#"{"one":{"two":{"three":{"a":true, "b":false}}}}"#,
        "one.two.three.a one.two.three.b",
    ),
    (
        r#"{"anytype":{"@type": "xx.xx/mask.Nested", "name":"a"}}"#,
        "anytype",
    ),
    // Lists as a whole, in the order of the body: the reference puts them last, which a mask does not say.
    (
        r#"{"nested": [{"name":"bar", "amount":10}, {"name":"baz"}], "uuid":"1"}"#,
        "nested uuid",
    ),
    (r#"{"oneof_nested":{"name":"x"}}"#, "oneof_nested.name"),
    (r#"{"oneofString":"x"}"#, "oneof_string"),
    (
        r#"{"nonConventionalNameValue":"camelCase", "timestamp_value":"2016-05-10T10:19:13.123Z"}"#,
        "nonConventionalNameValue timestamp_value",
    ),
    (
        r#"{"int64_value": 4294967296, "bytes_value": "MTMy", "enum_value": "ONE"}"#,
        "int64_value bytes_value enum_value",
    ),
    // Set to its default, or taken away: mentioned all the same.
    (
        r#"{"uuid":"", "singleNested":null, "nested":[]}"#,
        "uuid single_nested nested",
    ),
    (r#"{"singleNested":{}}"#, "single_nested"),
    // What nobody knows is in no mask.
    (r#"{"nobody":1, "uuid":"1"}"#, "uuid"),
];

fn masked(schema: &Schema, verb: &str, query: &str, body: &str) -> Result<String, String> {
    let (router, faults) = Router::new(schema, Unbound::Ignore);
    assert!(faults.is_empty(), "{faults:?}");
    let Lookup::Found(found) = router.lookup(verb, "/it") else {
        panic!("no rule");
    };
    let options = ParseOptions {
        unknown_fields: UnknownFields::DropFields,
        ..ParseOptions::default()
    };
    let mut wire = Vec::new();
    let bound = found.bind(query, body.as_bytes(), &options, &mut wire);
    bound.map_err(|error| error.to_string())?;
    Ok(mask_of(&wire).join(" "))
}

/// The strings of field 1 of field 2: read here by hand, since JSON cannot say `nonConventionalNameValue`.
fn mask_of(wire: &[u8]) -> Vec<String> {
    let mut paths = Vec::new();
    for (number, payload) in fields(wire) {
        if number == 2 {
            let inner = fields(payload).into_iter();
            paths.extend(inner.map(|(_, path)| String::from_utf8(path.to_vec()).unwrap()));
        }
    }
    paths
}

/// Length-delimited fields; requests of these tables have no others at these levels.
fn fields(mut wire: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [tag, rest @ ..] = wire {
        assert_eq!(tag & 7, 2, "length-delimited");
        let (mut length, mut shift, mut rest) = (0, 0, rest);
        while let [byte, more @ ..] = rest {
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            rest = more;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (payload, after) = rest.split_at(length);
        found.push((tag >> 3, payload));
        wire = after;
    }
    found
}

#[test]
fn a_patch_without_a_mask_gets_that_of_its_body() {
    let schema = compiled(PROTO);
    for (body, expected) in CASES {
        assert_eq!(
            masked(&schema, "PATCH", "", body).as_deref(),
            Ok(*expected),
            "{body}"
        );
    }
}

#[test]
fn a_mask_that_was_given_stands_and_other_verbs_get_none() {
    let schema = compiled(PROTO);
    let body = r#"{"uuid":"1", "singleNested":{"name":"x"}}"#;
    for (verb, query, expected) in [
        ("PATCH", "update_mask=uuid", "uuid"),
        (
            "PATCH",
            "updateMask=singleNested.name",
            "single_nested.name",
        ),
        (
            "PATCH",
            "updateMask=uuid&updateMask=singleNested",
            "uuid single_nested",
        ),
        ("PATCH", "updateMask=", "uuid single_nested.name"),
        ("PUT", "", ""),
    ] {
        assert_eq!(
            masked(&schema, verb, query, body).as_deref(),
            Ok(expected),
            "{verb} {query}"
        );
    }
}

#[test]
fn a_body_that_does_not_fit_is_refused() {
    let error = masked(&compiled(PROTO), "PATCH", "", r#"{"uuid": {"a": "x"}}"#).unwrap_err();
    assert!(error.starts_with("it.uuid"), "{error}");
}
