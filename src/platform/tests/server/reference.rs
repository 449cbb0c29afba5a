//! What grpc-gateway's own tests say of requests over HTTP, as tables of facts, and what its users trip over. Where ours
//! differs on purpose, the row says why.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    json::{check, populated},
    world::{Answer, World},
};

type Headers = &'static [(&'static str, &'static str)];

async fn send(world: &World, line: &str, headers: Headers, body: &str) -> Answer {
    let (verb, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder()
        .method(verb)
        .uri(path)
        .header("host", "bar.foo.example.com");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    world.http(request.body(body).unwrap()).await
}

#[tokio::test]
async fn values_cross_over_as_protobuf_says() {
    let world = World::new().await;
    for (verb, path, body, expected) in [
        (
            "POST",
            "/v1/all",
            r#"{"ratio":"NaN","single":"-Infinity","measure":"Infinity"}"#,
            json!({"ratio": "NaN", "single": "-Infinity", "measure": "Infinity"}),
        ),
        (
            "GET",
            "/v1/all/1?ratio=NaN&measure=-Infinity",
            "",
            json!({"id": "1", "ratio": "NaN", "measure": "-Infinity"}),
        ),
        (
            "POST",
            "/v1/all",
            r#"{"data":"-_8","kind":2}"#,
            json!({"data": "+/8=", "kind": "SQUARE"}),
        ),
        (
            "POST",
            "/v1/all",
            r#"{"big":1e3,"number":1.0,"unsigned":"18446744073709551615","fixed":4294967295}"#,
            json!({"big": "1000", "number": 1, "unsigned": "18446744073709551615", "fixed": 4_294_967_295_u32}),
        ),
        (
            "POST",
            "/v1/all",
            r#"{"maybe":null,"inner":null,"numbers":null}"#,
            json!({}),
        ),
        (
            "GET",
            "/v1/all/1?count=0&measure=0.5",
            "",
            json!({"id": "1", "measure": 0.5}),
        ),
        // Reserved characters of a path, encoded.
        (
            "GET",
            "/v1/all/a%3Fb%23c%2Fd%3Ae%40f%25g%26h",
            "",
            json!({"id": "a?b#c/d:e@f%g&h"}),
        ),
        ("GET", "/v1/all/a:b:verb", "", json!({"id": "a:b"})),
        ("GET", "/v1/all/a%3Ab%3Averb", "", json!({"id": "a:b:verb"})),
        ("GET", "/v1/all/a+b", "", json!({"id": "a+b"})),
        (
            "GET",
            "/v1/all/%E4%BD%A0?name=%E5%A5%BD",
            "",
            json!({"id": "你", "name": "好"}),
        ),
        (
            "GET",
            "/v1/all/1?numbers=3&name=x&numbers=1&numbers=2",
            "",
            json!({"id": "1", "name": "x", "numbers": [3, 1, 2]}),
        ),
        (
            "GET",
            "/v1/all/1?labels[a.b]=c&labels%5Bd%5D=e%3Df",
            "",
            json!({"id": "1", "labels": {"a.b": "c", "d": "e=f"}}),
        ),
        // What the path says is not the query's to say.
        ("GET", "/v1/all/1?id=2", "", json!({"id": "1"})),
    ] {
        check(&world, verb, path, body, expected).await;
    }
    // A number that no name stands for is kept, as the reference does, though the document promises names: a newer
    // client sent it to a newer service.
    for (line, body) in [
        ("POST /v1/all", r#"{"kind":77}"#),
        ("GET /v1/all/1?kind=77", ""),
    ] {
        let answer = send(&world, line, &[], body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["kind"]),
            (200, &json!(77)),
            "{line}"
        );
    }
}

#[tokio::test]
async fn what_is_unset_is_written_as_it_is() {
    let world = World::new().await;
    let whole = world.get("/v1/all/1").await.json();
    for (field, unset) in [
        ("at", Value::Null),
        ("length", Value::Null),
        ("mask", Value::Null),
        ("inner", Value::Null),
        ("wrapped", Value::Null),
        ("big", json!("0")),
        ("ratio", json!(0)),
        ("data", json!("")),
        ("kind", json!("KIND_UNSPECIFIED")),
        ("numbers", json!([])),
        ("labels", json!({})),
    ] {
        assert_eq!(whole.get(field), Some(&unset), "{field}");
    }
    // No member of a oneof, and no optional field, is there unless it is set.
    for field in ["left", "right"] {
        assert_eq!(whole.get(field), None, "{field}");
    }
    let set = world.get("/v1/all/1?left=").await.json();
    assert_eq!(set.get("left"), Some(&json!("")));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_its_name() {
    let world = World::new().await;
    for (line, headers, status, place) in [
        ("GET /v1/all/1?left=a&right=1", &[][..], 400, "right"),
        ("GET /v1/all/1?number=1&number=2", &[], 400, "number"),
        ("GET /v1/all/1?inner.name.x=1&number=x", &[], 400, "number"),
        ("GET /v1/all/1?at=yesterday", &[], 400, "at"),
        ("GET /v1/all/1?data=%25", &[], 400, "data"),
        ("GET /v1/all/1/", &[], 404, "/v1/all/1/"),
        ("GET //v1/all/1", &[], 404, "//v1/all/1"),
        ("GET /V1/all/1", &[], 404, "/V1/all/1"),
        ("OPTIONS /v1/all/1", &[], 405, "answers to"),
        // The reference lets a form that is posted, or a header, be a GET: any page could then make a visitor's
        // browser call what is no POST. Here a verb is what it says.
        (
            "POST /v1/all/1",
            &[("content-type", "application/x-www-form-urlencoded")],
            405,
            "answers to",
        ),
        (
            "POST /v1/all/1",
            &[("x-http-method-override", "GET")],
            405,
            "answers to",
        ),
    ] {
        let answer = send(&world, line, headers, "").await;
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
        let error = answer.json();
        let said = error["message"].as_str().unwrap();
        assert!(said.contains(place), "{line}: {said} names no {place}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let allow = answer.header("allow");
        let expected = (status == 405).then_some("DELETE, GET, HEAD, PATCH, PUT");
        assert_eq!(allow, expected, "{line}");
    }
}

#[tokio::test]
async fn head_says_what_get_would() {
    let world = World::new().await;
    for path in [
        "/v1/all/1?number=3",
        "/v1/all/1?number=x",
        "/nowhere",
        "/v1/fail/5",
    ] {
        let get = world.get(path).await;
        let head = world.send("HEAD", path, "").await;
        assert_eq!((head.status, head.text()), (get.status, ""), "{path}");
        for name in ["content-type", "content-length", "grpc-metadata-colour"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}

/// The reference's table of metadata. Echo sends back what reached it.
#[tokio::test]
async fn headers_become_metadata() {
    let world = World::new().await;
    let answer = send(
        &world,
        "GET /v1/all/1",
        &[
            ("some-irrelevant-header", "some value"),
            ("grpc-metadata-foobar", "Value1"),
            ("grpc-metadata-foo-baz", "Value2"),
            ("grpc-metadata-foo-bAz", "Value3"),
            ("grpc-metadata-test-bin", "AHRlc3QtYmluYXJ5LWRhdGE="),
            ("authorization", "Token 1234567890"),
            ("accept", "text/*"),
            ("x-forwarded-for", "192.0.2.100"),
        ],
        "",
    )
    .await;
    assert_eq!(answer.status, 200);
    for (name, expected) in [
        ("foobar", &["Value1"][..]),
        ("foo-baz", &["Value2", "Value3"]),
        ("test-bin", &["AHRlc3QtYmluYXJ5LWRhdGE="]),
        ("authorization", &["Token 1234567890"]),
        ("grpcgateway-authorization", &["Token 1234567890"]),
        ("grpcgateway-accept", &["text/*"]),
        ("x-forwarded-for", &["192.0.2.100, 127.0.0.1"]),
        ("x-forwarded-host", &["bar.foo.example.com"]),
        ("some-irrelevant-header", &[]),
        ("grpcgateway-some-irrelevant-header", &[]),
    ] {
        let all = answer.headers.get_all(format!("grpc-metadata-{name}"));
        let all: Vec<&str> = all.iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(all, expected, "{name}");
    }
}

#[tokio::test]
async fn timeouts_are_read_or_refused() {
    let world = World::new().await;
    for (timeout, status) in [
        ("17H", 200),
        ("19M", 200),
        ("23S", 200),
        ("10009m", 200),
        ("10000003u", 200),
        // Nine digits, which the reference takes; gRPC's own limit is eight.
        ("100000007n", 400),
        ("", 400),
        ("17", 400),
        ("S", 400),
        ("-1S", 400),
        ("1.5S", 400),
        ("17s", 400),
        // Over before it began.
        ("0S", 504),
        ("1n", 504),
    ] {
        let request = Request::get("/v1/all/1")
            .header("host", "t")
            .header("grpc-timeout", timeout)
            .body(Full::default())
            .unwrap();
        let answer = world.http(request).await;
        assert_eq!(answer.status, status, "{timeout:?}: {}", answer.text());
    }
    let answer = send(&world, "GET /v1/hang", &[("grpc-timeout", "50m")], "").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["code"]),
        (504, &json!(4))
    );
}

/// What a page shows is JSON whatever it asks to accept.
#[tokio::test]
async fn answers_are_json_whatever_is_asked_for() {
    let world = World::new().await;
    for accept in ["*/*", "text/html", "application/x-yaml"] {
        let request = Request::get("/v1/all/1")
            .header("host", "t")
            .header("accept", accept)
            .body(Full::default())
            .unwrap();
        let answer = world.http(request).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(populated(&answer.json()), json!({"id": "1"}), "{accept}");
    }
}
