//! Descriptions and templates.

use reflect::{ParseOptions, describe, json_to_wire, template};

use crate::fixture::{message, schema};

#[test]
fn a_service_is_described_with_its_comments_and_rules() {
    let text = describe(&schema().find_symbol("test.v1.Users").unwrap());
    assert!(text.starts_with("// Users over HTTP.\nservice test.v1.Users {\n  // Finds one.\n  rpc Get(test.v1.GetUser) returns (test.v1.User) {\n    // GET /v1/users/{id}\n    // GET /v1/people/{id}\n  }\n"), "{text}");
    assert!(
        text.contains("  rpc Chat(stream test.v1.User) returns (stream test.v1.User);\n"),
        "{text}"
    );
    assert!(
        text.contains("// POST /v1/users  body: *  response: boss\n"),
        "{text}"
    );
}

#[test]
fn messages_and_enums_are_described_as_their_source() {
    let text = describe(&schema().find_symbol("test.v1.All").unwrap());
    for line in [
        "  // A whole number.\n  int32 int32_value = 1;\n",
        "  map<string, test.v1.All> by_name = 33;\n",
        "  oneof choice {\n    string text = 40;\n",
        "  optional string note_text = 45;\n",
        "  repeated google.protobuf.Value values = 60;\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let text = describe(&schema().find_symbol("test.v1.Mood").unwrap());
    assert_eq!(
        text,
        "// How it went.\nenum test.v1.Mood {\n  MOOD_UNSPECIFIED = 0;\n  // All is well.\n  GOOD = 1;\n  BAD = 2;\n}\n"
    );
    let text = describe(&schema().find_symbol("test.old.Old").unwrap());
    assert!(
        text.contains("// extension string test.old.nick_name = 100;"),
        "{text}"
    );
}

#[test]
fn every_template_parses_as_its_message() {
    let schema = schema();
    for message in schema.messages() {
        let text = template(&message);
        let read = json_to_wire(&message, text.as_bytes(), &ParseOptions::default());
        assert!(read.is_ok(), "{}: {read:?}\n{text}", message.full_name());
    }
    assert_eq!(
        template(&message("test.v1.User")),
        "{\n  \"id\": \"\",\n  \"displayName\": \"\",\n  \"sizeBytes\": \"0\",\n  \"boss\": {},\n  \"tags\": [\n    \"\"\n  ],\n  \"mood\": \"MOOD_UNSPECIFIED\"\n}"
    );
}

#[test]
fn facts_tell_type_doc_and_values() {
    let all = message("test.v1.All");
    let fact = all.field_at(&["byName", "child", "mood"]).unwrap();
    assert_eq!(fact.type_name, "test.v1.Mood");
    assert_eq!(fact.values, ["MOOD_UNSPECIFIED", "GOOD", "BAD"]);
    let fact = all.field_at(&["int32_value"]).unwrap();
    assert_eq!(
        (fact.json_name.as_str(), fact.doc.as_deref()),
        ("int32Value", Some("A whole number."))
    );
    let fact = all.field_at(&["counts"]).unwrap();
    assert_eq!(
        (fact.type_name.as_str(), fact.many),
        ("map<string, int32>", true)
    );
    assert!(all.field_at(&["counts", "x"]).is_none());
    assert!(
        message("test.old.Old")
            .field_at(&["needed"])
            .unwrap()
            .required
    );
    assert_eq!(
        all.field_at(&["text"]).unwrap().oneof.as_deref(),
        Some("choice")
    );
}
