//! HTTP/JSON beside plain gRPC, in process and behind the port: what a request costs, and what of it is the
//! transcoder's. The service echoes, so nothing of the cost is its own.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot go on says so"
)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use platform::server::{Server, Service, Stack};
use tonic::body::Body;
use tower::ServiceExt as _;

#[path = "../tests/server/echo.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod echo;

const NESTED: &str = r#"{"id":"7","name":"order","big":"9007199254740993","list":[{"name":"ENGINE-1","count":1,"words":["a","b"]},{"name":"CARD-80","count":500,"inner":{"name":"deep","inner":{"count":3}}}],"labels":{"zone":"a","tier":"gold"},"at":"2026-01-02T03:04:05Z"}"#;

fn service() -> Service {
    Service::new()
        .grpc(echo::Echo::default())
        .descriptors(echo::descriptors())
}

fn http(verb: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(verb)
        .uri(path)
        .header("host", "bench");
    request.body(Full::from(body)).unwrap()
}

async fn through(stack: &Stack, request: Request<Full<Bytes>>) -> usize {
    let Ok(response) = stack.clone().oneshot(request.map(Body::new)).await;
    response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .len()
}

fn in_process(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (stack, handle) = service().in_process().unwrap();
    handle.ready();
    let mut group = c.benchmark_group("in process");
    group.bench_function("gRPC unary", |b| {
        b.to_async(&runtime).iter(|| {
            let request =
                Request::post("/echo.v1.Echo/Get").header("content-type", "application/grpc");
            through(
                &stack,
                request.body(Full::new(echo::framed(b"\x0a\x017"))).unwrap(),
            )
        });
    });
    for (name, verb, path, body) in [
        ("HTTP GET unary", "GET", "/v1/all/7?name=x", ""),
        ("HTTP nested POST", "POST", "/v1/all", NESTED),
    ] {
        group.bench_function(name, |b| {
            b.to_async(&runtime)
                .iter(|| async { black_box(through(&stack, http(verb, path, body)).await) });
        });
    }
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("HTTP stream of 1000", |b| {
        b.to_async(&runtime).iter(|| async {
            black_box(through(&stack, http("GET", "/v1/stream/1000?id=7", "")).await)
        });
    });
    group.finish();
}

/// One connection, one request at a time, client and server on one thread: the sum of both sides' work.
fn behind_the_port(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = runtime
        .block_on(Server::bind("127.0.0.1:0", service()))
        .unwrap();
    server.handle().ready();
    let sender = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.local_addr())
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    });
    let sender = tokio::sync::Mutex::new(sender);
    let call = async |verb: &str, path: &str, body: &'static str| {
        let mut sender = sender.lock().await;
        let response = sender.send_request(http(verb, path, body)).await.unwrap();
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .len()
    };
    let mut group = c.benchmark_group("behind the port");
    group.bench_function("no call: /readyz", |b| {
        b.to_async(&runtime).iter(|| call("GET", "/readyz", ""));
    });
    group.bench_function("HTTP GET unary", |b| {
        b.to_async(&runtime)
            .iter(|| call("GET", "/v1/all/7?name=x", ""));
    });
    group.bench_function("HTTP nested POST", |b| {
        b.to_async(&runtime)
            .iter(|| call("POST", "/v1/all", NESTED));
    });
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("HTTP stream of 1000", |b| {
        b.to_async(&runtime)
            .iter(|| call("GET", "/v1/stream/1000?id=7", ""));
    });
    group.finish();
}

criterion_group!(benches, in_process, behind_the_port);
criterion_main!(benches);
