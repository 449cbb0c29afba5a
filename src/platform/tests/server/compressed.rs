//! Which answers are compressed, and that they are still the same.

use std::io::Read as _;

use http::Request;
use http_body_util::Full;
use platform::server::{Server, Service};
use tonic::Code;

use crate::{
    echo::All,
    world::{Answer, World},
};

async fn get(world: &World, path: &str, accepted: &str) -> Answer {
    let request = Request::get(path)
        .header("host", "t")
        .header("accept-encoding", accepted);
    world.http(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn large_json_answers_are_compressed_for_who_accepts_it() {
    let world = World::with(|service| service.gzip_from(1024)).await;
    let long = "x".repeat(5_000);
    let large = format!("/v1/all/1?name={long}");
    let plain = get(&world, &large, "identity").await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.json()["name"], long);
    for accepted in ["gzip", "br;q=1, gzip;q=0.5"] {
        let answer = get(&world, &large, accepted).await;
        assert_eq!(
            answer.header("content-encoding"),
            Some("gzip"),
            "{accepted}"
        );
        assert!(answer.header("vary").unwrap().contains("accept-encoding"));
        assert!(answer.body.len() < plain.body.len() / 4);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*answer.body)
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, plain.body);
    }
    for (path, accepted) in [(&*large, "br"), (&*large, "gzip;q=0"), ("/metrics", "gzip")] {
        let answer = get(&world, path, accepted).await;
        assert_eq!(answer.header("content-encoding"), None, "{path} {accepted}");
    }
}

#[tokio::test]
async fn small_answers_streams_and_grpc_are_not_compressed() {
    let world = World::with(|service| service.gzip_from(50_000)).await;
    assert_eq!(
        get(&world, "/v1/all/1", "gzip")
            .await
            .header("content-encoding"),
        None
    );
    let world = World::with(|service| service.gzip_from(256)).await;
    let all = All {
        number: 100,
        name: "y".repeat(1_000),
        ..All::default()
    };
    let answer = get(&world, &format!("/v1/stream/100?name={}", all.name), "gzip").await;
    assert_eq!(answer.header("content-encoding"), None);
    let name = format!("\"{}\"", all.name);
    assert_eq!(
        answer.text().matches(&name).count(),
        100,
        "{}",
        answer.text()
    );
    let headers = [("accept-encoding", "gzip")];
    let called = world.grpc().await.call("Get", &all, &headers).await;
    assert_eq!(called.code, Code::Ok);
    assert!(!called.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn compressing_what_would_grow_is_refused() {
    let service = Service::new().gzip_from(10);
    let error = Server::bind("127.0.0.1:0", service).await.unwrap_err();
    assert!(error.to_string().contains("256 or more"), "{error}");
}
