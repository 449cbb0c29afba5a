//! Headers and trailers across the two protocols, over sockets.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use platform::server::{Allowed, Auth, JsonOptions};

use crate::world::{Answer, World, http2};

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header("host", "shop.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.http(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn no_second_credential_stands_behind_the_one_that_was_checked() {
    let world = World::with(|service| service.auth(Auth::token("s3cret"))).await;
    let answer = get(
        &world,
        "/v1/all/1",
        &[
            ("authorization", "Bearer s3cret"),
            ("grpc-metadata-authorization", "Bearer other"),
            ("grpc-metadata-x-api-key", "other"),
        ],
    )
    .await;
    assert_eq!(answer.status, 200);
    let all = answer.headers.get_all("grpc-metadata-authorization");
    assert_eq!(all.iter().collect::<Vec<_>>(), ["Bearer s3cret"]);
    assert_eq!(answer.header("grpc-metadata-x-api-key"), None);
}

#[tokio::test]
async fn what_callers_may_set_is_a_list_where_one_is_given() {
    let json = JsonOptions {
        metadata: Allowed::only(["tenant", "trace-*"]),
        ..JsonOptions::default()
    };
    let world = World::with(|service| service.json(json)).await;
    let answer = get(
        &world,
        "/v1/all/1",
        &[
            ("grpc-metadata-tenant", "blue"),
            ("grpc-metadata-trace-id", "7"),
            ("grpc-metadata-colour", "red"),
        ],
    )
    .await;
    for (name, expected) in [
        ("grpc-metadata-tenant", Some("blue")),
        ("grpc-metadata-trace-id", Some("7")),
        ("grpc-metadata-colour", None),
    ] {
        assert_eq!(answer.header(name), expected, "{name}");
    }
}

#[tokio::test]
async fn where_a_call_came_from_is_handed_on() {
    let world = World::new().await;
    let answer = get(&world, "/v1/all/1", &[("x-forwarded-for", "192.0.2.7")]).await;
    assert_eq!(
        answer.header("grpc-metadata-x-forwarded-for"),
        Some("192.0.2.7, 127.0.0.1")
    );
    assert_eq!(
        answer.header("grpc-metadata-x-forwarded-host"),
        Some("shop.example")
    );
}

#[tokio::test]
async fn binary_metadata_that_is_not_base64_is_a_400() {
    let world = World::new().await;
    let answer = get(&world, "/v1/all/1", &[("grpc-metadata-trace-bin", "%%")]).await;
    assert_eq!(answer.status, 400);
    let said = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(said.contains("grpc-metadata-trace-bin"), "{said}");
}

#[tokio::test]
async fn a_stream_ends_in_its_trailers_where_the_caller_takes_them() {
    let world = World::new().await;
    let mut sender = http2(world.addr()).await;
    for (te, path, expected) in [
        (Some("trailers"), "/v1/stream/2", Some("3")),
        (Some("trailers"), "/v1/stream/2?small=8", Some("3")),
        (Some("trailers"), "/v1/stream/0", Some("3")),
        (None, "/v1/stream/2", None),
    ] {
        let mut request = Request::get(format!("http://t{path}"));
        if let Some(te) = te {
            request = request.header("te", te);
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        let cost = body.trailers().and_then(|all| all.get("grpc-trailer-cost"));
        let cost = cost.map(|cost| cost.to_str().unwrap().to_owned());
        assert_eq!(cost.as_deref(), expected, "{path} with te {te:?}");
    }
}
