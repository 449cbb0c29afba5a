//! What a body becomes, together with the path.

use reflect::{
    Lookup, ParseOptions, PrintOptions, Router, Unbound, UnknownFields, json_to_wire, wire_to_json,
};

use crate::fixture::compiled;

const PROTO: &str = r#"
syntax = "proto3";
package body;
import "google/api/annotations.proto";
message Shelf { string name = 1; string theme = 2; }
message Book { string name = 1; string author = 2; string title = 3; Author author_info = 4; }
message Author { string first_name = 1; string last_name = 2; Bio bio = 3; }
message Bio { int64 year_born = 1; int64 year_died = 2; string text = 3; }
message Library { repeated Shelf shelves = 1; string name = 2; }
message CreateBook { Book book = 1; int64 shelf = 2; }
service S {
  rpc Shelves(Shelf) returns (Shelf) { option (google.api.http) = {post: "/shelves" body: "*"}; }
  rpc Theme(Shelf) returns (Shelf) { option (google.api.http) = {post: "/themes/{name}" body: "theme"}; }
  rpc Many(Library) returns (Library) { option (google.api.http) = {post: "/many/{name}" body: "shelves"}; }
  rpc Books(Book) returns (Book) { option (google.api.http) = {post: "/books" body: "*"}; }
  rpc Create(CreateBook) returns (CreateBook) { option (google.api.http) = {post: "/shelves/{shelf}/books" body: "book"}; }
  rpc By(CreateBook) returns (CreateBook) {
    option (google.api.http) = {
      post: "/by/{book.author_info.first_name}/{book.author_info.last_name}" body: "book"
    };
  }
}
"#;

/// A path, a body, and the request that they become, or "400".
const CASES: &[(&str, &str, &str)] = &[
    (
        "/shelves",
        r#"{ "name" : "1", "theme" : "Russian" }"#,
        r#"{"name":"1","theme":"Russian"}"#,
    ),
    (
        "/books",
        r#"{"name":"8","author":"Leo Tolstoy","authorInfo":{"firstName":"Leo","bio":{"yearBorn":1830,"yearDied":"1910"}}}"#,
        r#"{"name":"8","author":"Leo Tolstoy","authorInfo":{"firstName":"Leo","bio":{"yearBorn":"1830","yearDied":"1910"}}}"#,
    ),
    (
        "/shelves/7/books",
        r#"{"name":"9","title":"War and Peace"}"#,
        r#"{"shelf":"7","book":{"name":"9","title":"War and Peace"}}"#,
    ),
    // The path goes into the same message as the body.
    (
        "/by/Leo/Tolstoy",
        r#"{"name":"11","title":"Anna Karenina"}"#,
        r#"{"book":{"name":"11","title":"Anna Karenina","authorInfo":{"firstName":"Leo","lastName":"Tolstoy"}}}"#,
    ),
    // And has the last word.
    (
        "/by/Leo/Tolstoy",
        r#"{"authorInfo":{"firstName":"Fyodor","bio":{"text":"t"}}}"#,
        r#"{"book":{"authorInfo":{"firstName":"Leo","lastName":"Tolstoy","bio":{"text":"t"}}}}"#,
    ),
    (
        "/by/Leo/Tolstoy",
        "",
        r#"{"book":{"authorInfo":{"firstName":"Leo","lastName":"Tolstoy"}}}"#,
    ),
    (
        "/themes/1",
        r#""History""#,
        r#"{"name":"1","theme":"History"}"#,
    ),
    ("/themes/1", "", r#"{"name":"1"}"#),
    // A field that is a list takes one.
    (
        "/many/x",
        r#"[{"name":"1","theme":"History"},{"name":"2"}]"#,
        r#"{"name":"x","shelves":[{"name":"1","theme":"History"},{"name":"2"}]}"#,
    ),
    ("/many/x", "[]", r#"{"name":"x"}"#),
    ("/many/x", r#"{"name":"1"}"#, "400"),
    ("/shelves", "", "{}"),
    (
        "/shelves",
        r#"{"name":"1","unknownField":"ignored","unknownObject":{"name":"value"},"unknownArray":[1,2,{}]}"#,
        r#"{"name":"1"}"#,
    ),
    // White space alone is an error there; here it is a body that is not there.
    ("/shelves", " \r \t\n", "{}"),
    ("/shelves", "Invalid", "400"),
    ("/shelves", r#"{"name""#, "400"),
    // There a number may stand for a text.
    ("/shelves", r#"{"name" : 1}"#, "400"),
    ("/shelves", r#"{"name" : "1""#, "400"),
    ("/shelves", r#"{"theme" , "name" : "1"}"#, "400"),
    ("/shelves", r#"{"name" : "1"]"#, "400"),
    ("/shelves", r#"["theme" , "name" : 1}"#, "400"),
    (
        "/shelves",
        r#"{"name" : "1", { "a" : [ "c", "d"} ]}"#,
        "400",
    ),
    ("/shelves", r#"[{"name" : "1"}]"#, "400"),
    // There a comma may stand before the end.
    ("/shelves", r#"{"name" : "1",}"#, "400"),
    ("/shelves", r#"{"name" : "1"} {}"#, "400"),
];

#[test]
fn bodies_become_requests_as_the_reference_says() {
    let schema = compiled(PROTO);
    let (router, faults) = Router::new(&schema, Unbound::Ignore);
    assert!(faults.is_empty(), "{faults:?}");
    for (path, body, expected) in CASES {
        let Lookup::Found(found) = router.lookup("POST", path) else {
            panic!("no rule for {path}");
        };
        let options = ParseOptions {
            unknown_fields: UnknownFields::DropFields,
            ..ParseOptions::default()
        };
        let mut wire = Vec::new();
        let bound = found.bind("", body.as_bytes(), &options, &mut wire);
        if *expected == "400" {
            assert!(bound.is_err(), "{path} {body}");
            continue;
        }
        bound.unwrap_or_else(|error| panic!("{path} {body}: {error}"));
        let input = found.method().input();
        let json = |wire: &[u8]| {
            let mut out = Vec::new();
            wire_to_json(&input, wire, &PrintOptions::default(), &mut out).unwrap();
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()
        };
        let wanted = json_to_wire(&input, expected.as_bytes(), &options).unwrap();
        assert_eq!(json(&wire), json(&wanted), "{path} {body}");
    }
}

/// A body that is a field is a field of the request itself; deeper ones, which
/// grpc-httpjson-transcoding fills as well, are no rule that google.api.http has.
#[test]
fn a_body_below_a_field_is_a_fault_that_is_told() {
    let schema = compiled(
        r#"
        syntax = "proto3";
        package deep;
        import "google/api/annotations.proto";
        message M { N n = 1; }
        message N { string a = 1; }
        service S { rpc R(M) returns (M) { option (google.api.http) = {post: "/x" body: "n.a"}; } }
    "#,
    );
    let (router, faults) = Router::new(&schema, Unbound::Ignore);
    assert_eq!(faults.len(), 1);
    let said = faults[0].to_string();
    assert!(
        said.contains("deep.S.R") && said.contains("'n.a'"),
        "{said}"
    );
    assert!(matches!(router.lookup("POST", "/x"), Lookup::NotFound));
}
