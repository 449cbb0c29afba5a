//! Which of several rules a request gets.

use reflect::{Lookup, Method, Router, Unbound};

use crate::fixture::compiled;

/// Rules, a request, and the rule that it gets or the status.
type Case = (&'static [&'static str], &'static str, &'static str);

const PEOPLE: &[&str] = &["GET /person", "GET /person/{id=*}", "GET /{id=**}:verb"];
const VERBS: &[&str] = &["GET /{id=**}:verb", "GET /{id=**}"];
const WIDTHS: &[&str] = &[
    "GET /a/**",
    "GET /c/*/d/**",
    "GET /c/*/d/e",
    "GET /c/f/d/e",
    "GET /",
];
const ENDS: &[&str] = &[
    "GET /a/{id=b/**}",
    "GET /a/{id=b/**}/z",
    "GET /a/{id=b/**}/y/z",
    "GET /a/{id=b/**}:verb",
    "GET /a/{id=**}",
];

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
    (
        &["POST /foo/{id=*}:archive"],
        "DELETE /foo/bar:archive",
        "405",
    ),
    (
        &[
            "POST /v1/orgs:verb",
            "POST /v1/orgs",
            "POST /v1/dummies:verb",
        ],
        "POST /v1/orgs:verb",
        "POST /v1/orgs:verb",
    ),
    // What a rule names as a verb is one, however wide the rule.
    (PEOPLE, "GET /person", "GET /person"),
    (PEOPLE, "GET /person/jason", "GET /person/{id=*}"),
    (PEOPLE, "GET /person:verb", "GET /{id=**}:verb"),
    (PEOPLE, "GET /person/jason:verb", "GET /{id=**}:verb"),
    (PEOPLE, "GET /animal/cat:verb", "GET /{id=**}:verb"),
    (PEOPLE, "GET /animal/cat", "404"),
    (PEOPLE, "GET /person:other", "404"),
    (PEOPLE, "GET /person/jason:other", "GET /person/{id=*}"),
    // Envoy says 404, since some other path has a verb of that name. Here a verb belongs to the paths that have it.
    (
        &["POST /wildcard/{id=**}", "POST /foo/bar:verb"],
        "POST /wildcard/random:verb",
        "POST /wildcard/{id=**}",
    ),
    // A colon before the last segment is a part of its own.
    (
        &["GET /foo/*/hello"],
        "GET /foo/other:verb/hello",
        "GET /foo/*/hello",
    ),
    (VERBS, "GET /some:verb/const", "GET /{id=**}"),
    (VERBS, "GET /some:verb/const:verb", "GET /{id=**}:verb"),
    (VERBS, "GET /some:verb2/const:verb2", "GET /{id=**}"),
    // The more that is said, the better it fits.
    (WIDTHS, "GET /", "GET /"),
    (WIDTHS, "GET /a/b/c", "GET /a/**"),
    (WIDTHS, "GET /c/u/d/v", "GET /c/*/d/**"),
    (WIDTHS, "GET /c/x/d/e", "GET /c/*/d/e"),
    (WIDTHS, "GET /c/f/d/e", "GET /c/f/d/e"),
    (WIDTHS, "GET /c/x/y/d/z", "404"),
    (WIDTHS, "GET /c//v/d/w/x", "404"),
    (&["GET /x/**", "GET /x/*"], "GET /x/y", "GET /x/*"),
    (&["GET /x/*", "GET /x/**"], "GET /x/y", "GET /x/*"),
    (ENDS, "GET /a/b/hello/world/c", "GET /a/{id=b/**}"),
    (ENDS, "GET /a/b/world/c/z", "GET /a/{id=b/**}/z"),
    (ENDS, "GET /a/b/world/c/y/z", "GET /a/{id=b/**}/y/z"),
    (ENDS, "GET /a/b/world/c:verb", "GET /a/{id=b/**}:verb"),
    (ENDS, "GET /a/hello/b/world/c", "GET /a/{id=**}"),
    (
        &["GET /a/{id=b/*/y/z/**}/foo", "GET /a/{id=b/*/**/y/z}/foo"],
        "GET /a/b/foo/y/z/bar/baz/foo",
        "GET /a/{id=b/*/y/z/**}/foo",
    ),
    (
        &["GET /a/{id=b/*/y/z/**}/foo", "GET /a/{id=b/*/**/y/z}/foo"],
        "GET /a/b/foo/bar/baz/y/z/foo",
        "GET /a/{id=b/*/**/y/z}/foo",
    ),
    // Verbs that have no name of their own in a rule, and all of them.
    (&["OPTIONS /foo"], "OPTIONS /foo", "OPTIONS /foo"),
    (&["GET /foo", "HEAD /foo"], "HEAD /foo", "HEAD /foo"),
    (&["* /foo"], "PURGE /foo", "* /foo"),
    (&["* /foo", "GET /foo"], "GET /foo", "GET /foo"),
    (&["* /foo", "GET /foo"], "HEAD /foo", "GET /foo"),
    (&["GET /foo", "* /foo"], "POST /foo", "* /foo"),
    // Slashes too many name something else.
    (&["GET /foo"], "GET /foo/", "404"),
    (&["GET /foo"], "GET //foo", "404"),
    (&["GET /foo/{id}"], "GET /foo//", "404"),
];

fn rule(line: &str) -> String {
    let (verb, template) = line.split_once(' ').unwrap();
    if ["GET", "PUT", "POST", "DELETE", "PATCH"].contains(&verb) {
        format!("{}: \"{template}\"", verb.to_ascii_lowercase())
    } else {
        format!("custom: {{kind: \"{verb}\" path: \"{template}\"}}")
    }
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

/// A path of nothing but slashes costs no stack.
#[test]
fn a_path_full_of_slashes_is_answered() {
    let schema = compiled(
        r#"
        syntax = "proto3";
        package slashes;
        import "google/api/annotations.proto";
        message M { string id = 1; }
        service S { rpc R(M) returns (M) { option (google.api.http) = {get: "/a/**/x"}; } }
    "#,
    );
    let (router, _) = Router::new(&schema, Unbound::Ignore);
    let slashes = "/".repeat(64_000);
    let found = router.lookup("GET", &format!("/a/{slashes}/x"));
    assert!(matches!(found, Lookup::Found(_)));
    let found = router.lookup("GET", &format!("/a/{slashes}/y"));
    assert!(matches!(found, Lookup::NotFound));
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
