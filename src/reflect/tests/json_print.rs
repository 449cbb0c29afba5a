//! What wire bytes print as: merging, last wins, defaults, options, and what degrades.

use reflect::{PrintOptions, wire_field_to_json, wire_to_json};

use crate::fixture::message;

fn print(type_name: &str, wire: &[u8], options: &PrintOptions) -> Result<String, String> {
    let mut out = b"kept ".to_vec();
    match wire_to_json(&message(type_name), wire, options, &mut out) {
        Ok(()) => Ok(String::from_utf8(out[5..].to_vec()).unwrap()),
        Err(error) => {
            assert_eq!(out, b"kept ", "a failed print leaves nothing behind");
            Err(error.to_string())
        }
    }
}

fn check(type_name: &str, cases: &[(&[u8], &str)]) {
    for (wire, wanted) in cases {
        let got = print(type_name, wire, &PrintOptions::default());
        assert_eq!(got.as_deref(), Ok(*wanted), "{wire:02x?}");
    }
}

#[test]
fn the_wire_may_come_in_any_order_and_in_parts() {
    check(
        "test.v1.All",
        &[
            // Out of order; the last of a singular wins.
            (
                &[0x72, 1, b'b', 0x08, 1, 0x08, 2],
                r#"{"int32Value":2,"stringValue":"b"}"#,
            ),
            // Packed and unpacked mixed, for both declarations.
            (
                &[0xa2, 0x01, 2, 1, 2, 0xa0, 0x01, 3],
                r#"{"numbers":[1,2,3]}"#,
            ),
            (
                &[0xc2, 0x01, 2, 1, 2, 0xc0, 0x01, 3],
                r#"{"loose":[1,2,3]}"#,
            ),
            // A message in two parts merges, its lists too.
            (
                &[
                    0x8a, 0x01, 5, 0x08, 1, 0xa0, 0x01, 1, 0x8a, 0x01, 5, 0x10, 2, 0xa0, 0x01, 2,
                ],
                r#"{"child":{"int32Value":1,"int64Value":"2","numbers":[1,2]}}"#,
            ),
            // Of a oneof the last member counts, and its earlier parts before another do not.
            (&[0xc2, 0x02, 1, b'a', 0xc8, 0x02, 5], r#"{"number":5}"#),
            (
                &[
                    0xd2, 0x02, 2, 0x08, 1, 0xc8, 0x02, 5, 0xd2, 0x02, 2, 0x10, 1,
                ],
                r#"{"nested":{"int64Value":"1"}}"#,
            ),
            // Map keys twice: the last wins. Missing keys and values are defaults. Sorted.
            (
                &[
                    0xf2, 0x01, 5, 0x0a, 1, b'b', 0x10, 1, 0xf2, 0x01, 5, 0x0a, 1, b'a', 0x10, 2,
                    0xf2, 0x01, 5, 0x0a, 1, b'b', 0x10, 3, 0xf2, 0x01, 0,
                ],
                r#"{"counts":{"":0,"a":2,"b":3}}"#,
            ),
            // Unknown fields, a group among them, and a known one of the wrong wire type.
            (
                &[
                    0xf8, 0x3f, 1, 0xf3, 0x3f, 0x08, 1, 0xf4, 0x3f, 0x0a, 1, b'x', 0x10, 1,
                ],
                r#"{"int64Value":"1"}"#,
            ),
            // An open enum keeps unknown numbers; an implicit default on the wire is absence.
            (&[0x80, 0x01, 9, 0x08, 0], r#"{"mood":9}"#),
            (&[], "{}"),
        ],
    );
}

#[test]
fn closed_enums_leave_unknown_numbers_out() {
    check(
        "test.old.Old",
        &[
            (&[0x10, 2, 0x10, 9], r#"{"closed":"SECOND"}"#),
            (&[0x10, 9], "{}"),
            (&[0x18, 9, 0x18, 1], r#"{"manyClosed":["FIRST"]}"#),
            (&[0x18, 9], "{}"),
            (&[0x22, 5, 0x0a, 1, b'a', 0x10, 9], "{}"),
            (&[0x2b, 0x08, 7, 0x2c], r#"{"part":{"depth":7}}"#),
        ],
    );
}

#[test]
fn malformed_bytes_are_refused_with_their_path() {
    let cases: &[(&[u8], &str)] = &[
        (&[0x08], "ends in the middle"),
        (&[0x00, 1], "number 0"),
        (&[0x0f], "unknown wire type 7"),
        (&[0x72, 5, b'a'], "ends in the middle"),
        (&[0x72, 1, 0xff], "stringValue: the string is not UTF-8"),
        (&[0x8a, 0x01, 2, 0x72, 9], "child: the message ends"),
        (&[0xf3, 0x3f, 0x08, 1], "ends in the middle"),
        (&[0x0c], "a group ends"),
        (
            &[
                0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1,
            ],
            "over ten bytes",
        ),
        // A Timestamp before year 1, a Value that is NaN or nothing.
        (
            &[
                0x92, 0x03, 11, 0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1,
            ],
            "time: ",
        ),
        (
            &[0xb2, 0x03, 9, 0x11, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
            "value: a google.protobuf.Value cannot be NaN",
        ),
        (
            &[0xb2, 0x03, 0],
            "value: a google.protobuf.Value that holds nothing",
        ),
    ];
    for (wire, wanted) in cases {
        let error = print("test.v1.All", wire, &PrintOptions::default()).unwrap_err();
        assert!(
            error.contains(wanted),
            "{wire:02x?}: {error:?} lacks {wanted:?}"
        );
    }
}

#[test]
fn an_any_that_cannot_be_shown_degrades_alone() {
    let any = |url: &str, value: &[u8]| {
        let mut inner = vec![0x0a, url.len() as u8];
        inner.extend_from_slice(url.as_bytes());
        inner.extend_from_slice(&[0x12, value.len() as u8]);
        inner.extend_from_slice(value);
        let mut wire = vec![0x08, 1, 0xc2, 0x03, inner.len() as u8];
        wire.extend_from_slice(&inner);
        wire
    };
    let cases = [
        (
            any("x/no.such.Type", &[8, 1]),
            r#"{"int32Value":1,"any":{"@type":"x/no.such.Type","@value":"CAE="}}"#,
        ),
        // Known, and its bytes broken at the start, deep inside, or in a form of its own.
        (
            any("x/test.v1.User", &[0xff]),
            r#"{"int32Value":1,"any":{"@type":"x/test.v1.User","@value":"/w=="}}"#,
        ),
        (
            any("x/test.v1.All", &[0x08, 1, 0x8a, 0x01, 3, 0x72, 1, 0xff]),
            r#"{"int32Value":1,"any":{"@type":"x/test.v1.All","@value":"CAGKAQNyAf8="}}"#,
        ),
        (
            any(
                "x/google.protobuf.Duration",
                &[
                    0x08, 1, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
                ],
            ),
            r#"{"int32Value":1,"any":{"@type":"x/google.protobuf.Duration","@value":"CAEQ////////////AQ=="}}"#,
        ),
    ];
    for (wire, wanted) in cases {
        assert_eq!(
            print("test.v1.All", &wire, &PrintOptions::default()).as_deref(),
            Ok(wanted)
        );
    }
}

#[test]
fn options_change_names_enums_defaults_and_lines() {
    let wire = [0x80, 0x01, 1, 0xc2, 0x02, 1, b'a'];
    let proto_names = PrintOptions {
        proto_names: true,
        ..PrintOptions::default()
    };
    let numbers = PrintOptions {
        enum_numbers: true,
        ..PrintOptions::default()
    };
    assert_eq!(
        print("test.v1.All", &wire, &numbers).unwrap(),
        r#"{"mood":1,"text":"a"}"#
    );
    assert_eq!(
        print("test.v1.User", &[0x12, 1, b'a', 0x18, 5], &proto_names).unwrap(),
        r#"{"display_name":"a","size_bytes":"5"}"#
    );
    let defaults = PrintOptions {
        emit_defaults: true,
        ..PrintOptions::default()
    };
    assert_eq!(
        print("test.v1.User", &[], &defaults).unwrap(),
        r#"{"id":"","displayName":"","sizeBytes":"0","tags":[],"mood":"MOOD_UNSPECIFIED"}"#
    );
    let nulls = PrintOptions {
        emit_null: true,
        ..defaults
    };
    assert_eq!(
        print("test.v1.User", &[], &nulls).unwrap(),
        r#"{"id":"","displayName":"","sizeBytes":"0","boss":null,"tags":[],"mood":"MOOD_UNSPECIFIED"}"#
    );
    let indent = PrintOptions {
        indent: Some(2),
        ..PrintOptions::default()
    };
    let wire = [
        0x0a, 1, b'1', 0x22, 2, 0x18, 1, 0x2a, 1, b't', 0x2a, 1, b'u',
    ];
    assert_eq!(
        print("test.v1.User", &wire, &indent).unwrap(),
        "{\n  \"id\": \"1\",\n  \"boss\": {\n    \"sizeBytes\": \"1\"\n  },\n  \"tags\": [\n    \"t\",\n    \"u\"\n  ]\n}"
    );
    assert_eq!(print("test.v1.User", &[], &indent).unwrap(), "{}");
}

#[test]
fn one_field_prints_alone_and_null_when_unset() {
    let wire = [0x18, 5, 0x22, 2, 0x18, 1];
    let cases = [
        ("size_bytes", r#""5""#),
        ("boss", r#"{"sizeBytes":"1"}"#),
        ("tags", "[]"),
        ("mood", r#""MOOD_UNSPECIFIED""#),
    ];
    for (field, wanted) in cases {
        let mut out = Vec::new();
        let user = message("test.v1.User");
        wire_field_to_json(&user, field, &wire, &PrintOptions::default(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted, "{field}");
    }
    let mut out = Vec::new();
    let user = message("test.v1.User");
    wire_field_to_json(&user, "boss", &[], &PrintOptions::default(), &mut out).unwrap();
    assert_eq!(out, b"null");
}

#[test]
fn a_reply_five_thousand_levels_deep_prints() {
    let mut wire: Vec<u8> = vec![0x18, 7];
    for _ in 0..5_000 {
        let mut outer = vec![0x22];
        let mut length = wire.len();
        while length >= 0x80 {
            outer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend_from_slice(&wire);
        wire = outer;
    }
    let text = print("test.v1.User", &wire, &PrintOptions::default()).unwrap();
    assert_eq!(text.matches("boss").count(), 5_000);
    let tight = PrintOptions {
        max_depth: 100,
        ..PrintOptions::default()
    };
    let error = print("test.v1.User", &wire, &tight).unwrap_err();
    assert!(error.contains("nested deeper than 100 levels"), "{error}");
    // Ten times deeper than anybody may go: each level's length stands before it, so it is written from its end.
    let mut reversed = Vec::new();
    for _ in 0..100_000 {
        let mut length = reversed.len();
        let mut digits = Vec::new();
        while length >= 0x80 {
            digits.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        digits.push(length as u8);
        reversed.extend(digits.iter().rev());
        reversed.push(0x22);
    }
    reversed.reverse();
    let error = print("test.v1.User", &reversed, &PrintOptions::default()).unwrap_err();
    assert!(error.contains("nested deeper than 10000 levels"), "{error}");
    assert!(error.len() < 1_200, "{} bytes of error", error.len());
}

#[test]
fn messages_in_parts_at_every_level_are_bounded() {
    let length = |mut length: usize| {
        let mut out = Vec::new();
        while length >= 0x80 {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out
    };
    let nested = |levels: usize| {
        let mut wire = vec![0x0a, 1, b'x'];
        for _ in 0..levels {
            // The message, and an empty part of it behind.
            wire = [&[0x22][..], &length(wire.len()), &wire, &[0x22, 0]].concat();
        }
        wire
    };
    let few = print("test.v1.User", &nested(3), &PrintOptions::default());
    assert_eq!(
        few.as_deref(),
        Ok(r#"{"boss":{"boss":{"boss":{"id":"x"}}}}"#)
    );
    let error = print("test.v1.User", &nested(4_000), &PrintOptions::default()).unwrap_err();
    assert!(error.contains("come in parts"), "{error}");
}
