//! The guide, `docs/platform.md`, held true: each of its code blocks stands in a file that compiles,
//! and what it says of the service is tried on the service as a process, with a real etcd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hello::pb::GreetRequest;
use hello::pb::hello_service_client::HelloServiceClient;
use http::Request as HttpRequest;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use platform::{Builder, Platform};
use serde_json::Value;
use tests::realetcd::RealEtcd;
use tonic::{Request, Status};

mod callers;
mod config;
mod pages;
mod service;

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut found: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(it) = found().await {
            return it;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A builder that touches nothing of the machine's own.
fn alone(service: &str) -> Builder {
    Platform::builder(service)
        .environment([])
        .no_config_cache()
        .lease_ttl(Duration::from_secs(2))
        .drain_spread(Duration::from_millis(50))
}

async fn record(etcd: &RealEtcd, prefix: &str) -> Option<Value> {
    let text = etcd
        .etcdctl(&["get", "--prefix", "--print-value-only", prefix])
        .await;
    serde_json::from_str(text.lines().next()?).ok()
}

/// Status and body of a GET.
async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut request = HttpRequest::get(path).header("host", "hello");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender
        .send_request(request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Greets Ada over a channel.
async fn call(platform: &Platform) -> Result<String, Status> {
    let mut hello = HelloServiceClient::new(platform.channel("hello"));
    let mut request = Request::new(GreetRequest { name: "Ada".into() });
    request.set_timeout(Duration::from_secs(5));
    Ok(hello.greet(request).await?.into_inner().text)
}
