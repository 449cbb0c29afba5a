//! HTTP/JSON by the rules of the descriptors.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use platform::server::JsonOptions;
use reflect::{PrintOptions, UnknownFields};
use serde_json::{Value, json};

use crate::{
    contract::conforms,
    world::{Answer, World},
};

/// An answer with unpopulated fields, of which the test names the populated ones.
pub fn populated(json: &Value) -> Value {
    let Value::Object(map) = json else {
        return json.clone();
    };
    let is_set = |value: &Value| {
        !(value.is_null()
            || *value == json!("")
            || *value == json!(0)
            || *value == json!("0")
            || *value == json!(false)
            || *value == json!([])
            || *value == json!({})
            || *value == json!("KIND_UNSPECIFIED"))
    };
    map.iter()
        .map(|(key, value)| (key.clone(), populated(value)))
        .filter(|(_, value)| is_set(value))
        .collect()
}

pub async fn check(world: &World, verb: &str, path: &str, body: &str, expected: Value) {
    let answer = world.send(verb, path, body).await;
    assert_eq!(
        answer.status,
        200,
        "{verb} {path} {body}: {}",
        answer.text()
    );
    assert_eq!(populated(&answer.json()), expected, "{verb} {path} {body}");
    conforms(world, verb, path, &answer).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn paths_queries_and_bodies_become_the_request() {
    let world = World::new().await;
    for (verb, path, body, expected) in [
        ("GET", "/v1/all/7", "", json!({"id": "7"})),
        ("GET", "/v1/all/a%2Fb", "", json!({"id": "a/b"})),
        (
            "GET",
            "/v1/all/x%20y?name=a+b%2B",
            "",
            json!({"id": "x y", "name": "a b+"}),
        ),
        ("GET", "/v1/all/1:verb", "", json!({"id": "1"})),
        ("GET", "/v1/all/1%3Averb", "", json!({"id": "1:verb"})),
        ("GET", "/v1/all/1:zap", "", json!({"id": "1:zap"})),
        (
            "GET",
            "/v1/named/shelves/s1/books/b2",
            "",
            json!({"inner": {"name": "shelves/s1/books/b2"}}),
        ),
        ("GET", "/v1/deep/a/b/c", "", json!({"name": "a/b/c"})),
        (
            "GET",
            "/v1/num/42/SQUARE",
            "",
            json!({"number": 42, "kind": "SQUARE"}),
        ),
        (
            "GET",
            "/v1/num/42/2",
            "",
            json!({"number": 42, "kind": "SQUARE"}),
        ),
        (
            "GET",
            "/v1/all/1?numbers=1&numbers=2",
            "",
            json!({"id": "1", "numbers": [1, 2]}),
        ),
        (
            "GET",
            "/v1/all/1?inner.inner.count=3",
            "",
            json!({"id": "1", "inner": {"inner": {"count": 3}}}),
        ),
        (
            "GET",
            "/v1/all/1?labels[a]=b",
            "",
            json!({"id": "1", "labels": {"a": "b"}}),
        ),
        (
            "GET",
            "/v1/all/1?big=9007199254740993",
            "",
            json!({"id": "1", "big": "9007199254740993"}),
        ),
        (
            "GET",
            "/v1/all/1?at=2026-01-02T03:04:05Z&length=1.5s",
            "",
            json!({"id": "1", "at": "2026-01-02T03:04:05Z", "length": "1.500s"}),
        ),
        (
            "GET",
            "/v1/all/1?mask=a.bC,d",
            "",
            json!({"id": "1", "mask": "a.bC,d"}),
        ),
        (
            "GET",
            "/v1/all/1?wrapped=w&maybe=m&flag=true&ratio=0.5",
            "",
            json!({"id": "1", "wrapped": "w", "maybe": "m", "flag": true, "ratio": 0.5}),
        ),
        ("GET", "/v1/all/1?nobody=1", "", json!({"id": "1"})),
        ("DELETE", "/v1/all/9", "", json!({"id": "9"})),
        ("POST", "/v1/all", "", json!({})),
        ("POST", "/v1/all", " \n", json!({})),
        (
            "POST",
            "/v1/all",
            r#"{"id":"5","inner":{"inner":{"inner":{"name":"deep","words":["a"]}}}}"#,
            json!({"id": "5", "inner": {"inner": {"inner": {"name": "deep", "words": ["a"]}}}}),
        ),
        (
            "POST",
            "/v1/all",
            r#"{"list":[{"name":"a"},{"count":2}],"inners":{"k":{"count":1}}}"#,
            json!({"list": [{"name": "a", "count": 0, "inner": null, "words": []}, {"name": "", "count": 2, "inner": null, "words": []}], "inners": {"k": {"count": 1}}}),
        ),
        (
            "POST",
            "/v1/all",
            r#"{"nobody":{"x":[1]},"id":"1"}"#,
            json!({"id": "1"}),
        ),
        (
            "PUT",
            "/v1/all/3",
            r#"{"name":"n"}"#,
            json!({"id": "3", "inner": {"name": "n"}}),
        ),
        (
            "PUT",
            "/v1/all/3?name=q",
            r#"{"count":1}"#,
            json!({"id": "3", "name": "q", "inner": {"count": 1}}),
        ),
        (
            "PATCH",
            "/v1/all/3",
            r#"{"name":"n","inner":{"count":0}}"#,
            json!({"all": {"id": "3", "name": "n"}, "updateMask": "name,inner.count"}),
        ),
        (
            "PATCH",
            "/v1/all/3?update_mask=number",
            r#"{"name":"n"}"#,
            json!({"all": {"id": "3", "name": "n"}, "updateMask": "number"}),
        ),
        (
            "PATCH",
            "/v1/all/3?updateMask=",
            r#"{"name":"n"}"#,
            json!({"all": {"id": "3", "name": "n"}, "updateMask": "name"}),
        ),
        ("GET", "/v1/either/users/1", "", json!({"name": "users/1"})),
        (
            "GET",
            "/v1/either/orders/1",
            "",
            json!({"name": "orders/1"}),
        ),
        ("GET", "/v1/greedy/a", "", json!({"name": "a"})),
        ("GET", "/v1/greedy/a/b", "", json!({"name": "a/b"})),
        (
            "POST",
            "/v1/all",
            r#"{"extra":{"a":[null,1,{"b":"c"}]},"any":[true],"data":"-_8="}"#,
            json!({"extra": {"a": [null, 1, {"b": "c"}]}, "any": [true], "data": "+/8="}),
        ),
        ("POST", "/echo.v1.Echo/Stall", "", json!(null)),
    ] {
        if expected.is_null() {
            // Has a rule of its own, so the method's own path is none.
            assert_eq!(world.send(verb, path, body).await.status, 404);
        } else {
            check(&world, verb, path, body, expected).await;
        }
    }
}

#[tokio::test]
async fn a_field_may_be_the_body_and_the_answer() {
    let world = World::new().await;
    for (verb, path, body, expected) in [
        ("POST", "/v1/number", "7", "\"7\""),
        (
            "POST",
            "/v1/number",
            "\"9007199254740993\"",
            "\"9007199254740993\"",
        ),
        ("POST", "/v1/number", "", "\"0\""),
        ("GET", "/v1/inner/1", "", "null"),
        (
            "GET",
            "/v1/inner/1?inner.count=2",
            "",
            r#"{"name":"","count":2,"inner":null,"words":[]}"#,
        ),
    ] {
        let answer = world.send(verb, path, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, expected),
            "{verb} {path} {body}"
        );
        conforms(&world, verb, path, &answer).await;
    }
}

#[tokio::test]
async fn what_is_wrong_is_a_400_that_names_the_place() {
    let world = World::new().await;
    for (verb, path, body, place) in [
        ("POST", "/v1/all", "{", ""),
        ("POST", "/v1/all", "[]", ""),
        ("POST", "/v1/all", "{} {}", ""),
        ("POST", "/v1/all", r#"{"number":"x"}"#, "number"),
        (
            "POST",
            "/v1/all",
            r#"{"list":[{},{"count":1.5}]}"#,
            "list[1].count",
        ),
        ("POST", "/v1/all", r#"{"id":"a","id":"b"}"#, "id"),
        ("POST", "/v1/all", r#"{"left":"a","right":1}"#, ""),
        ("POST", "/v1/all", r#"{"labels":{"a":1}}"#, "labels"),
        ("POST", "/v1/all", r#"{"kind":"OVAL"}"#, "kind"),
        ("GET", "/v1/num/forty/ROUND", "", "number"),
        ("GET", "/v1/all/1?number=x", "", "number"),
        ("GET", "/v1/all/1?inner=x", "", "inner"),
        ("GET", "/v1/all/1?name=%ff", "", ""),
        ("GET", "/v1/all/%ff", "", ""),
        ("GET", "/v1/all/%zz", "", ""),
        (
            "PUT",
            "/v1/all/3",
            r#"{"inner":{"count":1},"name":1}"#,
            "inner.name",
        ),
        ("PATCH", "/v1/all/3", r#"{"all":{"name":"n"}}"#, "all"),
    ] {
        let answer = world.send(verb, path, body).await;
        assert_eq!(
            answer.status,
            400,
            "{verb} {path} {body}: {}",
            answer.text()
        );
        let error = answer.json();
        assert_eq!(error["code"], 3);
        assert_eq!(error["details"], json!([]));
        assert!(
            error["message"].as_str().unwrap().contains(place),
            "{verb} {path} {body}: {error} names no {place}"
        );
        conforms(&world, verb, path, &answer).await;
    }
}

#[tokio::test]
async fn paths_and_verbs_that_do_not_exist_are_told_apart() {
    let world = World::new().await;
    for (verb, path, status, allow) in [
        ("GET", "/nowhere", 404, None),
        ("GET", "/v1/all/", 404, None),
        ("POST", "/v1/all/1/2", 404, None),
        (
            "POST",
            "/v1/all/1",
            405,
            Some("DELETE, GET, HEAD, PATCH, PUT"),
        ),
        ("GET", "/v1/all", 405, Some("POST")),
        ("HEAD", "/v1/all", 405, Some("POST")),
    ] {
        let answer = world.send(verb, path, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (status, allow),
            "{verb} {path}"
        );
        if verb != "HEAD" {
            assert_eq!(answer.json()["code"], if status == 404 { 5 } else { 12 });
        }
    }
    let get = world.get("/v1/all/1").await;
    let head = world.send("HEAD", "/v1/all/1", "").await;
    assert_eq!((head.status.as_u16(), head.text()), (200, ""));
    assert_eq!(
        head.header("content-length"),
        Some(get.body.len().to_string().as_str())
    );
}

#[tokio::test]
async fn unpopulated_fields_are_written_and_names_are_a_choice() {
    let world = World::new().await;
    let json = world.get("/v1/raw-less").await;
    assert_eq!(json.status, 404);
    let all = world.get("/v1/all/1").await.json();
    assert_eq!(all["numbers"], json!([]));
    assert_eq!(all["inner"], Value::Null);
    let path = "/v1/all/1?ratio=NaN&single=-Infinity&measure=NaN&unsigned=18446744073709551615&fixed=4294967295&any=%22x%22";
    let answer = world.get(path).await;
    assert_eq!(answer.json()["ratio"], "NaN");
    assert_eq!(answer.json()["unsigned"], "18446744073709551615");
    conforms(&world, "GET", path, &answer).await;
    assert!(all.get("left").is_none(), "an unset oneof is not written");
    let print = PrintOptions {
        proto_names: true,
        ..PrintOptions::default()
    };
    let world = World::with(|service| {
        service.json(JsonOptions {
            print,
            ..JsonOptions::default()
        })
    })
    .await;
    let answer = world.send("PATCH", "/v1/all/1?update_mask=name", "").await;
    assert_eq!(
        answer.json(),
        json!({"all": {"id": "1"}, "update_mask": "name"})
    );
}

#[tokio::test]
async fn a_strict_server_names_unknown_fields() {
    let mut options = JsonOptions::default();
    options.parse.unknown_fields = UnknownFields::Reject;
    let world = World::with(|service| service.json(options)).await;
    for (verb, path, body, place) in [
        (
            "POST",
            "/v1/all",
            r#"{"inner":{"list":[],"nobody":1}}"#,
            "inner",
        ),
        ("POST", "/v1/all", r#"{"kind":"OVAL"}"#, "kind"),
        ("GET", "/v1/all/1?nobody=1", "", "nobody"),
    ] {
        let answer = world.send(verb, path, body).await;
        assert_eq!(answer.status, 400, "{verb} {path}");
        assert!(
            answer.json()["message"].as_str().unwrap().contains(place),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_status_becomes_its_http_status() {
    let world = World::new().await;
    let expected = [
        499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
    ];
    for (code, expected) in (1..).zip(expected) {
        let answer = world.get(&format!("/v1/fail/{code}?name=why%20not")).await;
        assert_eq!(answer.status, expected, "code {code}");
        assert_eq!(
            answer.json(),
            json!({"code": code, "message": "why not", "details": []})
        );
        assert_eq!(answer.header("grpc-trailer-cost"), Some("3"));
        conforms(&world, "GET", "/v1/fail/1", &answer).await;
    }
}

#[tokio::test]
async fn headers_cross_over_both_ways() {
    let world = World::new().await;
    let request = Request::get("/v1/all/1")
        .header("host", "shop.example")
        .header("grpc-metadata-tenant", "blue")
        .header("grpc-metadata-trace-bin", "AAEC")
        .header("authorization", "Bearer t")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("x-secret-internal", "1")
        .header("user-agent", "curl/8")
        .body(Full::default())
        .unwrap();
    let answer = world.http(request).await;
    for (name, expected) in [
        ("grpc-metadata-tenant", Some("blue")),
        ("grpc-metadata-trace-bin", Some("AAEC")),
        ("grpc-metadata-authorization", Some("Bearer t")),
        ("grpc-metadata-grpcgateway-user-agent", Some("curl/8")),
        ("grpc-metadata-grpcgateway-host", Some("shop.example")),
        (
            "grpc-metadata-traceparent",
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ),
        ("grpc-metadata-x-secret-internal", None),
        ("grpc-trailer-cost", Some("3")),
    ] {
        assert_eq!(answer.header(name), expected, "{name}");
    }
}

#[tokio::test]
async fn raw_bodies_are_passed_on_untouched() {
    let world = World::new().await;
    let answer = world.get("/v1/raw/b%7B%7D").await;
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        ("b{}", Some("text/css"))
    );
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_whichever_side_they_come_from() {
    let options = || JsonOptions {
        max_request: 100,
        max_response: 100,
        ..JsonOptions::default()
    };
    let world = World::with(|service| service.json(options())).await;
    let big = format!("{{\"id\":\"{}\"}}", "x".repeat(100));
    let answer = world.send("POST", "/v1/all", &big).await;
    assert_eq!(answer.status, 413);
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .contains("100 bytes")
    );
    assert_eq!(world.send("POST", "/v1/collect", &big).await.status, 413);
    let answer = world.get(&format!("/v1/all/{}", "x".repeat(100))).await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .contains("the limit is 100")
    );
    let request = Request::post("/v1/all")
        .header("host", "t")
        .header("content-encoding", "gzip");
    assert_eq!(
        world
            .http(request.body(Full::from("x")).unwrap())
            .await
            .status,
        415
    );
}

#[tokio::test]
async fn json_over_http_2_is_the_same() {
    let world = World::new().await;
    let request = Request::get("http://t/v1/all/1")
        .body(Full::<Bytes>::default())
        .unwrap();
    let mut sender = crate::world::http2(world.addr()).await;
    let answer = Answer::of(sender.send_request(request).await.unwrap()).await;
    assert_eq!(populated(&answer.json()), json!({"id": "1"}));
}

#[tokio::test]
async fn a_package_may_be_called_as_the_fleets_own_services_are() {
    use platform::server::{Server, Service};
    /// The service under a package of the same length.
    #[derive(Clone)]
    struct Renamed(crate::echo::Echo);
    impl tonic::server::NamedService for Renamed {
        const NAME: &'static str = "grpc.v1.Echo";
    }
    impl tower::Service<Request<tonic::body::Body>> for Renamed {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = futures::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;
        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
            self.0.call(request)
        }
    }
    let mut set = crate::echo::descriptors().to_vec();
    for at in 0..set.len() - 7 {
        if &set[at..at + 7] == b"echo.v1" {
            set[at..at + 7].copy_from_slice(b"grpc.v1");
        }
    }
    let echo = crate::echo::Echo::default();
    let service = Service::new().grpc(Renamed(echo.clone())).descriptors(&set);
    let server = Server::bind("127.0.0.1:0", service).await.unwrap();
    let world = World {
        handle: server.handle(),
        server,
        echo,
    };
    check(&world, "GET", "/v1/all/7", "", json!({"id": "7"})).await;
    assert_eq!(
        world
            .send("POST", "/grpc.health.v1.Health/Check", "{}")
            .await
            .status,
        404,
        "health speaks gRPC alone"
    );
}
