//! How path templates match.

use reflect::{Lookup, Method, Router, Unbound};

use crate::fixture::compiled;

/// A template, a verb and a path, and the variables that the path gives, or the status.
const CASES: &[(&str, &str, &str)] = &[
    ("/v1/{id}", "/v1/", "404"),
    ("/v1/{id}", "/v1/x", "id=x"),
    ("/v1/{id}", "/v1/x/y", "404"),
    ("/v1/{id}", "/v2/x", "404"),
    ("/v1", "/v1", ""),
    ("/v1", "/v1/", "404"),
    ("/", "/", ""),
    ("/", "/a", "404"),
    ("/**", "/", ""),
    ("/**", "/a", ""),
    ("/**", "/a/b/c", ""),
    ("/*", "/a", ""),
    ("/*", "/a/b", "404"),
    ("/*", "/", "404"),
    ("/a/**", "/a", ""),
    ("/a/**", "/a/b/c", ""),
    ("/a/**", "/b/c/d", "404"),
    ("/b/*", "/b/c", ""),
    ("/b/*", "/b/c/d", "404"),
    ("/b/*", "/b", "404"),
    ("/c/*/d/**", "/c/c/d", ""),
    ("/c/*/d/**", "/c/c/d/a/b", ""),
    ("/c/*/d/**", "/c/d/e", "404"),
    ("/a/{x}/c/d/e", "/a/book/c/d/e", "x=book"),
    (
        "/{x=a/*}/b/{y=*}/c",
        "/a/hello/b/world/c",
        "x=a/hello y=world",
    ),
    ("/{x=a/*}/b/{y=*}/c", "/b/hello/b/world/c", "404"),
    (
        "/a/{x=b/*}/{y=d/**}",
        "/a/b/foo/d/bar/baz",
        "x=b/foo y=d/bar/baz",
    ),
    ("/a/{x=b/*}/{y=d/**}", "/a/b/foo/d", "x=b/foo y=d"),
    (
        "/alpha/{x=*}/beta/{y=*}/gamma",
        "/alpha/dog/beta/eel/gamma",
        "x=dog y=eel",
    ),
    ("/{x=*}/a", "/hello/a", "x=hello"),
    ("/{x=**}/a/b", "/aa/bb/a/b", "x=aa/bb"),
    ("/{x=**}/a/b", "/a/b", "x="),
    ("/a/b/{x=**}", "/a/b/c/d/e", "x=c/d/e"),
    ("/a/{x=**}/c/d", "/a/c/d", "x="),
    ("/a/{x=**}/c/d", "/a/b/c/c/d", "x=b/c"),
    ("/a/{n.name}/{n.id}", "/a/x/y", "n.name=x n.id=y"),
    // One segment is decoded whole, of several the slashes stay apart from those of the path.
    ("/a/{x}/c", "/a/p%20q%2Fr/c", "x=p q/r"),
    (
        "/a/{x=**}/c",
        "/a/p/foo%20foo/q/bar%2Fbar/c",
        "x=p/foo foo/q/bar%2Fbar",
    ),
    ("/a/{x=*/*}/c", "/a/%61/b%2Fc/c", "x=a/b%2Fc"),
    ("/a/{x}/c", "/a/%E4%BD%A0/c", "x=你"),
    ("/a/{x}/c", "/a/%/c", "400"),
    ("/a/{x}/c", "/a/%zz/c", "400"),
    ("/a/{x}/c", "/a/%ff/c", "400"),
    // Decoded once.
    ("/{x}", "/%25", "x=%"),
    ("/{x}", "/%2523", "x=%23"),
    // Of a value of several segments grpc-httpjson-transcoding leaves all that is reserved encoded, unless told
    // otherwise. Ours, as it does when told so, leaves the slash alone: it could not be told from the others, and
    // whoever reads the value must not have to decode the rest.
    ("/w/{x=**}", "/w/%2f%23/%20%2523", "x=%2f#/ %23"),
    (
        "/a/{x=*}/{y=**}/c",
        "/a/%21%23%24%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D/%21%23%24%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D/c",
        "x=!#$&'()*+,/:;=?@[] y=!#$&'()*+,%2F:;=?@[]",
    ),
    // A slash at the end is an empty segment, which `**` alone takes.
    ("/**", "/a/", ""),
    ("/{x=**}", "/a/", "x=a/"),
    // A plus is a plus in a path.
    ("/a/{x}/c", "/a/p+q/c", "x=p+q"),
    ("/some/const:verb", "/some/const:verb", ""),
    ("/some/const:verb", "/some/const", "404"),
    ("/some/const:verb", "/some/const:other", "404"),
    ("/some/const:verb", "/some/const/verb", "404"),
    ("/o/{x=*}:verb", "/o/a:verb", "x=a"),
    ("/o/{x=*}:verb", "/o/a:b:verb", "x=a:b"),
    ("/o/{x=**}:verb", "/o/a/b:verb", "x=a/b"),
    ("/o/{x=*}:verb", "/o/a", "404"),
    (
        "/{x=*}/{y=*}:verb",
        "/some:verb/const:verb",
        "x=some:verb y=const",
    ),
    ("/some/*:verb", "/some/other:verb/", "404"),
    // The reference makes what it does not know a part of the value as well; so does ours, unless it is encoded.
    ("/o/{x}", "/o/a:zap", "x=a:zap"),
    ("/o/{x=*}:verb", "/o/a%3Averb", "404"),
    // The reference takes an empty segment for a value here; a field that nobody gave is not that.
    ("/o/{x}/c", "/o//c", "404"),
    ("/o/a.b-c_d~e", "/o/a.b-c_d~e", ""),
];

#[test]
fn paths_match_as_the_references_own_tests_say() {
    let services: String = CASES
        .iter()
        .enumerate()
        .map(|(at, (template, _, _))| {
            format!(
                "service S{at} {{ rpc Find(M) returns (M) {{ option (google.api.http) = {{get: \"{template}\"}}; }} }}\n"
            )
        })
        .collect();
    let schema = compiled(&format!(
        r#"
        syntax = "proto3";
        package reference;
        import "google/api/annotations.proto";
        message M {{ string id = 1; string x = 2; string y = 3; N n = 4; }}
        message N {{ string id = 1; string name = 2; }}
        {services}
    "#
    ));
    for (at, (template, path, expected)) in CASES.iter().enumerate() {
        let service = schema.service(&format!("reference.S{at}")).unwrap();
        let methods: Vec<Method> = service.methods().collect();
        let (router, faults) = Router::of_methods(methods, Unbound::Ignore);
        assert!(faults.is_empty(), "{template}: {faults:?}");
        for verb in ["GET", "HEAD"] {
            let found = match router.lookup(verb, path) {
                Lookup::Found(found) => {
                    let variables = found.variables();
                    let shown: Vec<String> = variables
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect();
                    shown.join(" ")
                }
                Lookup::NotFound => "404".to_owned(),
                Lookup::MethodNotAllowed { .. } => "405".to_owned(),
                Lookup::Malformed(_) => "400".to_owned(),
            };
            assert_eq!(found, *expected, "{verb} {path} by {template}");
        }
    }
}

/// Every character of ASCII, by either case of its digits.
#[test]
fn an_encoded_character_is_itself_in_a_value() {
    let schema = compiled(
        r#"
        syntax = "proto3";
        package every;
        import "google/api/annotations.proto";
        message M { string x = 1; }
        service S { rpc Find(M) returns (M) { option (google.api.http) = {get: "/{x}"}; } }
    "#,
    );
    let (router, _) = Router::new(&schema, Unbound::Ignore);
    for byte in 0..0x80_u8 {
        for path in [format!("/%{byte:02x}"), format!("/%{byte:02X}")] {
            let Lookup::Found(found) = router.lookup("GET", &path) else {
                panic!("{path} is not found");
            };
            let values: Vec<_> = found.variables().map(|(_, value)| value).collect();
            assert_eq!(values, [char::from(byte).to_string()], "{path}");
        }
    }
}
