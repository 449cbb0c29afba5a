//! Which of several rules a request gets.

use reflect::{Lookup, Method, Router, Unbound};

use crate::fixture::compiled;

/// Rules, a request, and the rule that it gets or the status.
type Case = (&'static [&'static str], &'static str, &'static str);

const CASES: &[Case] = &[
    (&["GET /other"], "GET /", "404"),
    (&["GET /foo"], "GET /foo", "GET /foo"),
    (&["GET /foo"], "GET /bar", "404"),
    (&["GET /*", "GET /foo"], "GET /foo", "GET /foo"),
    // There the rule that was declared last has it, here the more specific one, whatever the order.
    (&["GET /foo", "GET /*"], "GET /foo", "GET /foo"),
    (&["GET /foo", "POST /foo"], "POST /foo", "POST /foo"),
    // The reference says 501; 405 with Allow is what HTTP has for it.
    (&["GET /foo"], "DELETE /foo", "405"),
    (&["GET /foo"], "POST /foo", "405"),
    // The reference takes a form that is posted for a GET, and a header for the verb. Ours does neither: a browser
    // posts forms for any site, and what was no safe method on the way here must not become one.
    (&["POST /foo:bar"], "POST /foo:bar", "POST /foo:bar"),
    (
        &["GET /foo/{id=*}", "GET /foo/{id=*}:verb"],
        "GET /foo/bar:verb",
        "GET /foo/{id=*}:verb",
    ),
    (
        &["GET /foo/{id=*}:verb", "GET /foo/{id=*}"],
        "GET /foo/bar:verb",
        "GET /foo/{id=*}:verb",
    ),
    (&["GET /foo/{id=*}"], "GET /foo/bar", "GET /foo/{id=*}"),
    (&["GET /foo/{id=*}"], "GET /foo/bar:123", "GET /foo/{id=*}"),
    (
        &["POST /foo/{id=*}", "POST /foo/{id=*}:verb"],
        "POST /foo/bar:verb",
        "POST /foo/{id=*}:verb",
    ),
    (
        &["POST /foo/{id=*}", "POST /foo/{id=*}:verb:subverb"],
        "POST /foo/bar:verb:subverb",
        "POST /foo/{id=*}:verb:subverb",
    ),
    (
        &["POST /foo/{id=*}:subverb", "POST /foo/{id=*}:verb:subverb"],
        "POST /foo/bar:verb:subverb",
        "POST /foo/{id=*}:verb:subverb",
    ),
    (
        &["POST /foo/{id=*}:subverb", "POST /foo/{id=*}:verb:subverb"],
        "POST /foo/bar:other:subverb",
        "POST /foo/{id=*}:subverb",
    ),
    // The reference says 400 of a path without its slash; no request line can hold one.
    (&["GET /foo"], "POST foo", "404"),
    // It decodes paths before it splits them, unless told otherwise: 404. Ours splits first.
    (
        &["GET /foo/{id}/bar"],
        "GET /foo/404%2fwith%2Fspace/bar",
        "GET /foo/{id}/bar",
    ),
    (
        &["GET /foo/{id=**}"],
        "GET /foo/success%2fwith%2Fspace",
        "GET /foo/{id=**}",
    ),
    // For the same reason a slash that is encoded parts no segments.
    (
        &["POST /api/v1/{id=organizations/*}:action"],
        "POST /api/v1/organizations%2Ffoo:action",
        "404",
    ),
    (
        &["POST /api/v1/{id=organizations/*}:action"],
        "POST /api/v1/organizations/foo:action",
        "POST /api/v1/{id=organizations/*}:action",
    ),
    // HEAD goes where GET does; the reference has none.
    (&["GET /foo"], "HEAD /foo", "GET /foo"),
    (&["POST /foo"], "HEAD /foo", "405"),
    // Case counts in paths and verbs.
    (&["GET /foo"], "GET /Foo", "404"),
    (&["GET /foo"], "get /foo", "405"),
    // Slashes too many name something else.
    (&["GET /foo"], "GET /foo/", "404"),
    (&["GET /foo"], "GET //foo", "404"),
    (&["GET /foo/{id}"], "GET /foo//", "404"),
];

fn rule(line: &str) -> String {
    let (verb, template) = line.split_once(' ').unwrap();
    format!("{}: \"{template}\"", verb.to_ascii_lowercase())
}

#[test]
fn requests_go_where_the_reference_sends_them() {
    let services: String = CASES
        .iter()
        .enumerate()
        .map(|(at, (rules, _, _))| {
            let methods = rules.iter().enumerate().map(|(number, line)| {
                let rule = rule(line);
                format!(
                    "rpc R{number}(M) returns (M) {{ option (google.api.http) = {{{rule}}}; }}\n"
                )
            });
            format!("service S{at} {{ {} }}\n", methods.collect::<String>())
        })
        .collect();
    let schema = compiled(&format!(
        r#"
        syntax = "proto3";
        package routes;
        import "google/api/annotations.proto";
        message M {{ string id = 1; }}
        {services}
    "#
    ));
    for (at, (rules, request, expected)) in CASES.iter().enumerate() {
        let service = schema.service(&format!("routes.S{at}")).unwrap();
        let methods: Vec<Method> = service.methods().collect();
        let (router, faults) = Router::of_methods(methods, Unbound::Ignore);
        assert!(faults.is_empty(), "{rules:?}: {faults:?}");
        let (verb, path) = request.split_once(' ').unwrap();
        let found = match router.lookup(verb, path) {
            Lookup::Found(found) => format!("{} {}", found.rule().verb, found.rule().template),
            Lookup::NotFound => "404".to_owned(),
            Lookup::MethodNotAllowed { .. } => "405".to_owned(),
            Lookup::Malformed(_) => "400".to_owned(),
        };
        assert_eq!(found, *expected, "{request} among {rules:?}");
    }
}

/// A path of nothing but colons costs no more than a few searches.
#[test]
fn a_path_full_of_colons_is_answered() {
    let schema = compiled(
        r#"
        syntax = "proto3";
        package colons;
        import "google/api/annotations.proto";
        message M { string id = 1; }
        service S { rpc R(M) returns (M) { option (google.api.http) = {get: "/{id}"}; } }
    "#,
    );
    let (router, _) = Router::new(&schema, Unbound::Ignore);
    let path = format!("/{}", ":".repeat(60_000));
    assert!(matches!(router.lookup("GET", &path), Lookup::Found(_)));
}
