//! Authentication, the same for both protocols.

use http::StatusCode;
use platform::server::{Auth, Surface};
use tonic::Code;

use crate::{echo::All, world::World};

async fn guarded(open: &'static [Surface]) -> World {
    World::with(|service| service.auth(Auth::token("s3cret").open(open))).await
}

#[tokio::test]
async fn both_protocols_are_refused_by_the_same_layer() {
    let world = guarded(&[]).await;
    for (headers, is_in) in [
        (vec![], false),
        (vec![("authorization", "Bearer wrong")], false),
        (vec![("authorization", "Basic s3cret")], false),
        (vec![("authorization", "Bearer s3cret")], true),
        (vec![("x-api-key", "s3cret")], true),
    ] {
        let called = world
            .grpc()
            .await
            .call("Get", &All::default(), &headers)
            .await;
        assert_eq!(
            called.code,
            if is_in {
                Code::Ok
            } else {
                Code::Unauthenticated
            },
            "{headers:?}"
        );
        let mut request = http::Request::get("/v1/all/1").header("host", "t");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let answer = world
            .http(request.body(http_body_util::Full::default()).unwrap())
            .await;
        let expected = if is_in {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        };
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
        if is_in {
            assert_eq!(called.headers["caller"], "token");
            assert_eq!(answer.header("grpc-metadata-caller"), Some("token"));
        } else {
            assert_eq!(answer.json()["code"], 16);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.text().contains("s3cret"));
        }
    }
}

#[tokio::test]
async fn what_stays_open_is_a_choice() {
    for (open, expected) in [
        (&[][..], [401, 401, 401, 401, 401]),
        (
            &[Surface::Health, Surface::Metrics],
            [200, 200, 200, 401, 401],
        ),
        (
            &[Surface::Health, Surface::Metrics, Surface::Reflection],
            [200, 200, 200, 200, 401],
        ),
    ] {
        let world = guarded(open).await;
        for (path, expected) in [
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/v1/all/1",
        ]
        .into_iter()
        .zip(expected)
        {
            assert_eq!(
                world.get(path).await.status,
                expected,
                "{path} with {open:?} open"
            );
        }
        let mut health = tonic_health::pb::health_client::HealthClient::new(world.channel().await);
        let checked = health
            .check(tonic_health::pb::HealthCheckRequest::default())
            .await;
        assert_eq!(checked.is_ok(), expected[0] == 200);
    }
}
