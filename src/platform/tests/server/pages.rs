//! CORS: what pages of other origins may read, and what never changes for the rest.

use http::{Request, StatusCode};
use http_body_util::Full;
use platform::server::{Auth, Cors, Server, ServerError, Service};
use tonic::Code;

use crate::{
    echo::All,
    world::{Answer, World},
};

async fn ask(world: &World, verb: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder()
        .method(verb)
        .uri("/v1/all/1")
        .header("host", "t");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.http(request.body(Full::default()).unwrap()).await
}

const SHOP: (&str, &str) = ("origin", "https://shop.example");
const PREFLIGHT: [(&str, &str); 2] = [
    ("access-control-request-method", "GET"),
    ("access-control-request-headers", "authorization"),
];

#[tokio::test]
async fn a_page_of_a_named_origin_may_read_answers_and_no_other_may() {
    let cors = Cors::origins(["https://shop.example", "http://localhost:3000"])
        .credentials()
        .expose("grpc-metadata-cost");
    let world = World::with(|service| service.cors(cors)).await;
    for (origin, allowed) in [
        ("https://shop.example", true),
        ("http://localhost:3000", true),
        ("https://shop.example.evil.example", false),
        ("null", false),
    ] {
        let answer = ask(&world, "GET", &[("origin", origin)]).await;
        assert_eq!(answer.status, 200, "{origin}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            allowed.then_some(origin)
        );
        assert!(answer.header("vary").unwrap().contains("origin"));
        assert_eq!(
            answer.header("access-control-expose-headers"),
            Some("grpc-metadata-cost")
        );
    }
}

#[tokio::test]
async fn a_preflight_needs_no_credential_and_the_call_after_it_does() {
    let world = World::with(|service| {
        service
            .auth(Auth::token("s3cret"))
            .cors(Cors::origins([SHOP.1]))
    })
    .await;
    let answer = ask(&world, "OPTIONS", &[SHOP, PREFLIGHT[0], PREFLIGHT[1]]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP.1));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization")
    );
    let verbs = answer.header("access-control-allow-methods").unwrap();
    assert!(
        verbs.contains("PATCH") && verbs.contains("DELETE"),
        "{verbs}"
    );
    let refused = ask(&world, "GET", &[SHOP]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some(SHOP.1),
        "a page can read why it was refused"
    );
    let asked = ask(&world, "OPTIONS", &[SHOP]).await;
    assert_eq!(
        asked.status,
        StatusCode::UNAUTHORIZED,
        "this is no preflight"
    );
}

#[tokio::test]
async fn grpc_and_servers_without_cors_are_left_alone() {
    let world = World::with(|service| service.cors(Cors::any_origin())).await;
    let called = world
        .grpc()
        .await
        .call("Get", &All::default(), &[SHOP])
        .await;
    assert_eq!(called.code, Code::Ok);
    assert!(!called.headers.contains_key("access-control-allow-origin"));
    let answer = ask(&world, "GET", &[SHOP]).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let world = World::new().await;
    let answer = ask(&world, "GET", &[SHOP]).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let answer = ask(&world, "OPTIONS", &[SHOP, PREFLIGHT[0]]).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn settings_that_open_too_much_or_nothing_are_refused() {
    for (cors, said) in [
        (Cors::any_origin().credentials(), "any page act"),
        (Cors::origins([""; 0]), "no origin"),
        (Cors::origins(["*"]), "no origin"),
        (Cors::origins(["https://shop.example/"]), "no origin"),
        (Cors::any_origin().expose("a b"), "no name of a header"),
    ] {
        let service = Service::new().cors(cors);
        let error = Server::bind("127.0.0.1:0", service).await.unwrap_err();
        assert!(matches!(error, ServerError::Setting { what: "CORS", .. }));
        assert!(error.to_string().contains(said), "{error}");
    }
}
