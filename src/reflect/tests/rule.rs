//! HTTP rules as tables: templates, matching, binding. The semantics are those of the reference
//! gateway, mended where it is wrong.

use reflect::rule::{Body, Template};
use reflect::{Lookup, ParseOptions, PrintOptions, Router, Unbound, UnknownFields, wire_to_json};

use crate::fixture::{compiled, schema};

#[test]
fn templates_parse_or_say_where_they_are_malformed() {
    let good = [
        "/",
        "/v1",
        "/v1/*",
        "/v1/**",
        "/{a}",
        "/{a.b_c}",
        "/v1/{name=shelves/*/books/**}",
        "/v1/{a=*}/x/{b=**}:verb",
        "/v1/%20x",
        "/v1/a.b-c~d_e:cancel",
        "/**/tail",
        "/{a=**}/b/*",
        "/x:y/z",
    ];
    for text in good {
        assert!(
            Template::parse(text).is_ok(),
            "{text}: {:?}",
            Template::parse(text)
        );
    }
    let bad = [
        ("", "begins with '/'"),
        ("v1", "begins with '/'"),
        ("//", "a segment is"),
        ("/v1/", "a segment is"),
        ("/{", "field's name"),
        ("/{a", "ends with '}'"),
        ("/{a=}", "a segment is"),
        ("/{a={b}}", "do not nest"),
        ("/{1a}", "field's name"),
        ("/{a..b}", "field's name"),
        ("/**/**", "only once"),
        ("/{a}/{a}", "bound twice"),
        ("/x:", "a verb follows"),
        ("/a*b", "unexpected"),
        ("/%zz", "percent"),
        ("/x?y", "unexpected"),
    ];
    for (text, wanted) in bad {
        let error = Template::parse(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error:?} lacks {wanted:?}");
    }
}

fn router() -> Router {
    let (router, faults) = Router::new(&schema(), Unbound::Ignore);
    assert!(faults.is_empty(), "{faults:?}");
    router
}

fn show(verb: &str, path: &str) -> String {
    match router().lookup(verb, path) {
        Lookup::Found(found) => {
            let variables: Vec<String> = found
                .variables()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{} {}", found.method().name(), variables.join(" "))
                .trim()
                .to_owned()
        }
        Lookup::NotFound => "404".to_owned(),
        Lookup::MethodNotAllowed { allow } => format!("405 {}", allow.join(",")),
        Lookup::Malformed(_) => "400".to_owned(),
    }
}

#[test]
fn the_most_specific_rule_wins_whatever_the_order() {
    let cases = [
        ("GET", "/v1/users/1", "Get id=1"),
        ("GET", "/v1/people/1", "Get id=1"),
        ("GET", "/v1/users/me", "Me"),
        ("HEAD", "/v1/users/1", "Get id=1"),
        ("POST", "/v1/users/1:cancel", "Cancel id=1"),
        ("GET", "/v1/users/1:zap", "Get id=1:zap"),
        ("POST", "/v1/users/a:b:cancel", "Cancel id=a:b"),
        ("GET", "/v1/users/a%3Acancel", "Get id=a:cancel"),
        ("POST", "/v1/users/a%3Acancel", "405 GET,HEAD,PATCH,PURGE"),
        ("GET", "/v1/users/a%2Fb", "Get id=a/b"),
        ("GET", "/v1/users/%C3%A9%20x", "Get id=é x"),
        ("GET", "/v1/users/a+b", "Get id=a+b"),
        ("GET", "/v1/us%65rs/1", "Get id=1"),
        ("GET", "/v1/users/%ff", "400"),
        ("GET", "/v1/users/%zz", "400"),
        ("GET", "/v1/users/%2", "400"),
        ("GET", "/v1/users/", "404"),
        ("GET", "/v1/users/1/", "404"),
        ("GET", "/v1//users/1", "404"),
        ("GET", "/v2/users/1", "404"),
        ("GET", "", "404"),
        ("GET", "/", "404"),
        ("POST", "/v1/users", "Create"),
        ("GET", "/v1/users", "405 POST"),
        ("DELETE", "/v1/users/1", "405 GET,HEAD,PATCH,PURGE"),
        ("PURGE", "/v1/users/1", "Purge id=1"),
        ("PATCH", "/v1/users/1", "Update user.id=1"),
        ("GET", "/v1/shelves/7/books", "Shelf id=shelves/7"),
        ("GET", "/v1/shelves/a%2Fb/books", "Shelf id=shelves/a%2Fb"),
        ("GET", "/v1/files/a/b/c", "File id=a/b/c"),
        ("GET", "/v1/files", "File id="),
        ("GET", "/v1/files/a%20b/c%2Fd", "File id=a b/c%2Fd"),
        ("GET", "/v1/files/a/b/info", "FileInfo id=a/b"),
        ("GET", "/v1/files/info", "FileInfo id="),
        ("POST", "/test.v1.Users/Bare", "404"),
    ];
    for (verb, path, wanted) in cases {
        assert_eq!(show(verb, path), wanted, "{verb} {path}");
    }
}

#[test]
fn of_two_equal_rules_the_last_has_the_path_and_the_first_is_reported() {
    let schema = compiled(
        r#"
        syntax = "proto3";
        package two;
        import "google/api/annotations.proto";
        message M { string a = 1; string b = 2; }
        service First {
          rpc One(M) returns (M) { option (google.api.http) = {get: "/x/{a}" additional_bindings {get: "/only"}}; }
          rpc Wide(M) returns (M) { option (google.api.http) = {get: "/x/{a=**}"}; }
          rpc Narrow(M) returns (M) { option (google.api.http) = {get: "/x/me"}; }
        }
        service Second {
          rpc Two(M) returns (M) { option (google.api.http) = {get: "/x/{b}"}; }
          rpc Other(M) returns (M) { option (google.api.http) = {put: "/x/{b}"}; }
        }
    "#,
    );
    let (router, faults) = Router::new(&schema, Unbound::Ignore);
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["two.First.One: GET /x/{a} leads to two.Second.Two, whose equal rule comes later"]
    );
    for (verb, path, wanted) in [
        ("GET", "/x/1", "Two"),
        ("PUT", "/x/1", "Other"),
        ("GET", "/only", "One"),
        // A later rule that is less specific takes nothing away.
        ("GET", "/x/me", "Narrow"),
        ("GET", "/x/1/2", "Wide"),
    ] {
        match router.lookup(verb, path) {
            Lookup::Found(found) => assert_eq!(found.method().name(), wanted, "{verb} {path}"),
            other => panic!("{verb} {path}: {other:?}"),
        }
    }
    let listed: Vec<_> = router.rules().map(|(method, _, _)| method.name()).collect();
    assert_eq!(listed.len(), 5, "{listed:?}");
}

#[test]
fn methods_without_a_rule_can_be_bound_to_their_own_path() {
    let (router, _) = Router::new(&schema(), Unbound::Post);
    match router.lookup("POST", "/test.v1.Users/Bare") {
        Lookup::Found(found) => assert_eq!(found.rule().body, Body::Whole),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        router.lookup("GET", "/test.v1.Users/Bare"),
        Lookup::MethodNotAllowed { allow } if allow == ["POST"]
    ));
}

/// Binds and shows the request as JSON, or the error with its path.
fn bind(line: &str, body: &str, unknown_fields: UnknownFields) -> String {
    let (verb, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Lookup::Found(found) = router().lookup(verb, path) else {
        panic!("no match for {line}")
    };
    let options = ParseOptions {
        unknown_fields,
        ..ParseOptions::default()
    };
    let mut wire = Vec::new();
    if let Err(error) = found.bind(query, body.as_bytes(), &options, &mut wire) {
        assert!(wire.is_empty());
        return error.to_string();
    }
    let mut out = Vec::new();
    wire_to_json(
        &found.method().input(),
        &wire,
        &PrintOptions::default(),
        &mut out,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn path_query_and_body_become_one_request() {
    let cases = [
        ("GET /v1/users/1", "", r#"{"id":"1"}"#),
        (
            "GET /v1/users/1?verbose=true",
            "",
            r#"{"id":"1","verbose":true}"#,
        ),
        ("GET /v1/users/1?id=2", "", r#"{"id":"1"}"#),
        (
            "GET /v1/users/1?parts=a&parts=b%26c&parts=d+e",
            "",
            r#"{"id":"1","parts":["a","b&c","d e"]}"#,
        ),
        (
            "GET /v1/users/1?labels[a]=x&labels[b.c]=y",
            "",
            r#"{"id":"1","labels":{"a":"x","b.c":"y"}}"#,
        ),
        (
            "GET /v1/users/1?like.display_name=A&like.boss.displayName=B",
            "",
            r#"{"id":"1","like":{"displayName":"A","boss":{"displayName":"B"}}}"#,
        ),
        (
            "GET /v1/users/1?like.tags=a&like.sizeBytes=5&like.tags=b",
            "",
            r#"{"id":"1","like":{"sizeBytes":"5","tags":["a","b"]}}"#,
        ),
        (
            "GET /v1/users/1?mood=GOOD",
            "",
            r#"{"id":"1","mood":"GOOD"}"#,
        ),
        ("GET /v1/users/1?mood=2", "", r#"{"id":"1","mood":"BAD"}"#),
        (
            "GET /v1/users/1?since=2026-01-02T03:04:05Z&limit=9",
            "",
            r#"{"id":"1","since":"2026-01-02T03:04:05Z","limit":"9"}"#,
        ),
        (
            "GET /v1/users/1?fields=displayName&fields=size_bytes,boss.id",
            "",
            r#"{"id":"1","fields":"displayName,sizeBytes,boss.id"}"#,
        ),
        (
            "GET /v1/users/1?&ascending=",
            "",
            r#"{"id":"1","ascending":""}"#,
        ),
        (
            "POST /v1/users/1:cancel",
            r#"{"id":"2","verbose":true}"#,
            r#"{"id":"1","verbose":true}"#,
        ),
        ("POST /v1/users/1:cancel", "", r#"{"id":"1"}"#),
        ("POST /v1/users/1:cancel", " \n", r#"{"id":"1"}"#),
        (
            "PATCH /v1/users/1",
            r#"{"displayName":"A","boss":{"id":"2","boss":{}},"tags":[],"mood":null}"#,
            r#"{"user":{"id":"1","displayName":"A","boss":{"id":"2","boss":{}}},"updateMask":"displayName,boss.id,boss.boss,tags,mood"}"#,
        ),
        (
            "PATCH /v1/users/1?update_mask=tags",
            r#"{"displayName":"A"}"#,
            r#"{"user":{"id":"1","displayName":"A"},"updateMask":"tags"}"#,
        ),
        (
            "PATCH /v1/users/1?user.displayName=no",
            r#"{"displayName":"A"}"#,
            r#"{"user":{"id":"1","displayName":"A"},"updateMask":"displayName"}"#,
        ),
        ("PATCH /v1/users/1", "", r#"{"user":{"id":"1"}}"#),
        (
            "PATCH /v1/users/1?updateMask=",
            r#"{"displayName":"A"}"#,
            r#"{"user":{"id":"1","displayName":"A"},"updateMask":"displayName"}"#,
        ),
    ];
    for (line, body, wanted) in cases {
        assert_eq!(
            bind(line, body, UnknownFields::Drop),
            wanted,
            "{line} {body}"
        );
        assert_eq!(
            bind(line, body, UnknownFields::Reject),
            wanted,
            "{line} {body}"
        );
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_path() {
    let strict = UnknownFields::Reject;
    let cases = [
        (
            "GET /v1/users/1?verbose=1",
            "",
            "verbose: expected true or false",
        ),
        (
            "GET /v1/users/1?limit=x",
            "",
            "limit: expected an int64, found \"x\"",
        ),
        ("GET /v1/users/1?mood=HAPPY", "", "mood: no such enum value"),
        (
            "GET /v1/users/1?limit=1&limit=2",
            "",
            "limit: a single value was given twice",
        ),
        (
            "GET /v1/users/1?ascending=a&descending=b",
            "",
            "descending: another member of the oneof",
        ),
        (
            "GET /v1/users/1?like=x",
            "",
            "like: a test.v1.User cannot be given",
        ),
        ("GET /v1/users/1?labels=x", "", "labels: a map wants a key"),
        ("GET /v1/users/1?limit[a]=1", "", "only a map has keys"),
        (
            "GET /v1/users/1?verbose=%ff",
            "",
            "not percent-encoded UTF-8",
        ),
        (
            "PATCH /v1/users/1",
            r#"{"user":{"displayName":"A"}}"#,
            "user: the body of this call is the field 'user' itself",
        ),
        (
            "PATCH /v1/users/1",
            r#"{"boss":{"sizeBytes":"x"}}"#,
            "user.boss.sizeBytes: expected an int64",
        ),
        (
            "PATCH /v1/users/1",
            r#"{"tags":"x"}"#,
            "user.tags: expected '['",
        ),
        (
            "POST /v1/users/1:cancel",
            r#"{"id":"1"} x"#,
            "expected the end of the text",
        ),
        ("POST /v1/users", "x", "expected '{' to begin a message"),
    ];
    for (line, body, wanted) in cases {
        for unknown_fields in [strict, UnknownFields::Drop] {
            let error = bind(line, body, unknown_fields);
            assert!(
                error.contains(wanted),
                "{line} {body}: {error:?} lacks {wanted:?}"
            );
        }
    }
    assert!(
        bind("GET /v1/users/1?nope=1", "", strict).contains("nope: test.v1.GetUser has no field")
    );
    assert!(bind("GET /v1/users/1", "{}", strict).contains("this call takes no body"));
    assert_eq!(
        bind("GET /v1/users/1", "{}", UnknownFields::Drop),
        r#"{"id":"1"}"#
    );
    assert!(
        bind("POST /v1/users/1:cancel?limit=1", "", strict).contains("everything from the body")
    );
    assert!(
        bind("POST /v1/users", r#"{"nope":1}"#, strict)
            .contains("nope: test.v1.User has no such field")
    );
    assert_eq!(
        bind("GET /v1/users/1?nope=1", "", UnknownFields::Drop),
        r#"{"id":"1"}"#
    );
}

#[test]
fn the_response_body_is_the_named_field() {
    let Lookup::Found(found) = router().lookup("POST", "/v1/users") else {
        panic!()
    };
    for (wire, wanted) in [
        (&[0x22, 2, 0x18, 1][..], r#"{"sizeBytes":"1"}"#),
        (&[], "null"),
    ] {
        let mut out = Vec::new();
        found
            .response(wire, &PrintOptions::default(), &mut out)
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
