//! Authentication, the same for both protocols.

use std::time::Duration;

use http::StatusCode;
use platform::server::{ApiKeys, Auth, Call, Credential, Identity, ServerError, Surface};
use tonic::{Code, Status};

use crate::{
    echo::All,
    world::{Answer, World},
};

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

async fn with_key(world: &World, key: &str) -> Answer {
    let request = http::Request::get("/v1/all/1").header("host", "t");
    let request = request.header("x-api-key", key);
    world
        .http(request.body(http_body_util::Full::default()).unwrap())
        .await
}

#[tokio::test]
async fn each_key_is_somebodys() {
    let auth = Auth::keys([("ann", "k1"), ("bob", "k2"), ("nobody", "")]);
    let world = World::with(|service| service.auth(auth)).await;
    for (key, caller) in [
        ("k1", Some("ann")),
        ("k2", Some("bob")),
        ("k3", None),
        ("", None),
    ] {
        let answer = with_key(&world, key).await;
        assert_eq!(answer.header("grpc-metadata-caller"), caller, "{key}");
        let status = if caller.is_some() { 200 } else { 401 };
        assert_eq!(answer.status, status, "{key}");
        let grpc = world.grpc().await;
        let headers = [("x-api-key", key)];
        let called = grpc.call("Get", &All::default(), &headers).await;
        assert_eq!(called.code == Code::Ok, caller.is_some(), "{key}");
    }
}

#[tokio::test]
async fn a_changed_list_of_keys_counts_and_a_broken_one_leaves_the_last_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "ann k1\n").unwrap();
    let keys = ApiKeys::file(&file, Duration::from_millis(10))
        .await
        .unwrap();
    let world = World::with(|service| service.auth(Auth::new(keys))).await;
    let answers = async |key: &str, status: u16| {
        let asking = async {
            while with_key(&world, key).await.status != status {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let answered = tokio::time::timeout(Duration::from_secs(60), asking).await;
        assert!(answered.is_ok(), "{key} never answers {status}");
    };
    answers("k1", 200).await;
    std::fs::write(&file, "bob k2\n").unwrap();
    answers("k2", 200).await;
    answers("k1", 401).await;
    std::fs::write(&file, "one too many\n").unwrap();
    let noticed = async {
        loop {
            let request = http::Request::get("/metrics")
                .header("host", "t")
                .header("x-api-key", "k2");
            let request = request.body(http_body_util::Full::default()).unwrap();
            let metrics = world.http(request).await;
            let mut lines = metrics.text().lines();
            if lines.any(|line| {
                line.strip_prefix("server_key_reload_failures_total ")
                    .is_some_and(|count| count != "0")
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let noticed = tokio::time::timeout(Duration::from_secs(60), noticed).await;
    assert!(noticed.is_ok(), "the broken list was never looked at");
    answers("k2", 200).await;
    std::fs::write(&file, "bob k2\ncid k3\n").unwrap();
    answers("k3", 200).await;
    answers("k2", 200).await;
    let missing = ApiKeys::file(folder.path().join("none"), Duration::from_secs(1)).await;
    let error = missing.unwrap_err();
    assert!(
        matches!(
            &error,
            ServerError::Setting {
                what: "API keys",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_check_sees_where_a_call_comes_from() {
    let local = |_: Credential<'_>, call: &Call| match call.peer() {
        Some(peer) if peer.ip().is_loopback() && call.certificates().next().is_none() => {
            Ok(Identity {
                subject: peer.ip().to_string(),
                ..Identity::default()
            })
        }
        _ => Err(Status::unauthenticated("from here alone")),
    };
    let world = World::with(|service| service.auth(Auth::new(local))).await;
    let answer = world.get("/v1/all/1").await;
    assert_eq!(answer.header("grpc-metadata-caller"), Some("127.0.0.1"));
    let called = world.grpc().await.call("Get", &All::default(), &[]).await;
    assert_eq!(called.headers["caller"], "127.0.0.1");
}
