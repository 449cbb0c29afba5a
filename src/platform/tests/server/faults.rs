//! Handlers that panic, hang or run late.

use std::time::Duration;

use platform::server::{Call, Gate, Server, Service};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Status};

use crate::{
    echo::{All, until},
    world::{Grpc, World, soon},
};

#[tokio::test]
async fn a_panic_costs_its_own_call_alone() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let beside = tokio::spawn({
        let grpc = grpc.clone();
        async move { grpc.call("Wait", &All::default(), &[]).await.code }
    });
    until("a call beside", || world.handle.in_flight() == 1).await;
    for number in [0, 2] {
        let called = grpc
            .call(
                "Panic",
                &All {
                    number,
                    ..All::default()
                },
                &[],
            )
            .await;
        assert_eq!(called.code, Code::Internal);
        assert!(
            !called.message.contains("asked"),
            "what the panic said is not told: {}",
            called.message
        );
    }
    let answer = world.get("/v1/panic/0").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["code"].as_i64()),
        (500, Some(13))
    );
    let answer = world.get("/v1/panic/2").await;
    let last: serde_json::Value =
        serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!(
        (answer.status.as_u16(), last["error"]["code"].as_i64()),
        (200, Some(13))
    );
    world.echo.waiting.notify_waiters();
    assert_eq!(soon(beside).await.unwrap(), Code::Ok);
}

#[tokio::test]
async fn a_deadline_ends_calls_of_both_protocols() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let timeout = [("grpc-timeout", "30m")];
    for method in ["Hang", "Stall"] {
        let called = soon(grpc.call(method, &All::default(), &timeout)).await;
        assert_eq!(called.code, Code::DeadlineExceeded, "{method}");
    }
    for (path, status) in [("/v1/hang", 504), ("/v1/stall", 200)] {
        let request = http::Request::get(path)
            .header("host", "t")
            .header("grpc-timeout", "30m");
        let answer = soon(world.http(request.body(http_body_util::Full::default()).unwrap())).await;
        assert_eq!(answer.status, status, "{path}");
        let last: serde_json::Value =
            serde_json::from_str(answer.text().trim().lines().last().unwrap()).unwrap();
        let error = if status == 200 { &last["error"] } else { &last };
        assert_eq!(error["code"], 4, "{}", answer.text());
        assert!(answer.whole);
    }
    assert_eq!(
        grpc.call("Get", &All::default(), &[("grpc-timeout", "5s")])
            .await
            .code,
        Code::InvalidArgument
    );
    until("nothing is left in flight", || {
        world.handle.in_flight() == 0
    })
    .await;
}

/// Before it is whole there is no gRPC call that could be late.
#[tokio::test]
async fn a_deadline_ends_the_wait_for_the_body_of_a_request_over_http() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    let head =
        "POST /v1/all HTTP/1.1\r\nhost: t\r\ngrpc-timeout: 50m\r\ncontent-length: 10\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A minute is also how long a body may take without a deadline, and then it is a 408.
    soon(async {
        while !answer.ends_with(b"}") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
    })
    .await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains(r#""code":4"#), "{answer}");
}

#[tokio::test]
async fn a_deadline_ends_a_stream_that_always_has_more() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let called = soon(grpc.call("Flood", &All::default(), &[("grpc-timeout", "30m")])).await;
    assert_eq!(called.code, Code::DeadlineExceeded);
}

#[tokio::test]
async fn calls_made_while_a_stream_is_produced_inherit_its_deadline() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let timeout = [("grpc-timeout", "60S")];
    let called = soon(grpc.call("Inherit", &All::default(), &timeout)).await;
    assert_eq!(called.message, "inherited");
    let called = soon(grpc.call("Inherit", &All::default(), &[])).await;
    assert_eq!(called.message, "alone");
}

#[tokio::test]
async fn a_default_timeout_is_for_callers_that_set_none() {
    let world = World::with(|service| service.default_timeout(Duration::from_millis(30))).await;
    let called = soon(world.grpc().await.call("Hang", &All::default(), &[])).await;
    assert_eq!(called.code, Code::DeadlineExceeded);
    assert_eq!(soon(world.get("/v1/hang")).await.status, 504);
}

struct Closed;

#[tonic::async_trait]
impl Gate for Closed {
    async fn admit(&self, call: &Call) -> Result<(), Status> {
        if call.method() == "/echo.v1.Echo/Get" {
            Err(Status::unavailable("closed"))
        } else {
            Ok(())
        }
    }
}

#[tokio::test]
async fn a_gate_and_a_layer_see_both_protocols() {
    let layer = tower::layer::layer_fn(|inner: crate::echo::Layered| {
        tower::util::MapResponse::new(inner, |mut response: http::Response<tonic::body::Body>| {
            response
                .headers_mut()
                .insert("layered", http::HeaderValue::from_static("yes"));
            response
        })
    });
    let world = World::with(|service| service.gate(Closed).layer(layer)).await;
    let grpc = world.grpc().await;
    assert_eq!(
        grpc.call("Get", &All::default(), &[]).await.code,
        Code::Unavailable
    );
    let answer = world.get("/v1/all/1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["message"].as_str()),
        (503, Some("closed"))
    );
    assert_eq!(
        grpc.call("Delete", &All::default(), &[]).await.headers["layered"],
        "yes"
    );
    assert_eq!(
        world
            .send("DELETE", "/v1/all/1", "")
            .await
            .header("layered"),
        Some("yes")
    );
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_and_probes_are_not() {
    let world = World::with(|service| service.most_in_flight(1)).await;
    let grpc = world.grpc().await;
    let first = tokio::spawn({
        let grpc = grpc.clone();
        async move { grpc.call("Wait", &All::default(), &[]).await.code }
    });
    until("a call in flight", || world.handle.in_flight() == 1).await;
    assert_eq!(
        grpc.call("Get", &All::default(), &[]).await.code,
        Code::ResourceExhausted
    );
    assert_eq!(world.get("/v1/all/1").await.status, 429);
    assert_eq!(world.get("/readyz").await.status, 200);
    world.echo.waiting.notify_waiters();
    assert_eq!(soon(first).await.unwrap(), Code::Ok);
}

#[tokio::test]
async fn a_taken_port_and_bad_descriptors_are_named() {
    let world = World::new().await;
    let error = Server::bind(world.addr(), Service::new())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(&world.addr().to_string()), "{error}");
    let error = Server::bind("127.0.0.1:0", Service::new().descriptors(b"junk"))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("descriptors"), "{error}");
}

#[tokio::test]
async fn garbage_on_the_port_hurts_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
    }
    assert_eq!(
        Grpc::connect(world.addr())
            .await
            .call("Get", &All::default(), &[])
            .await
            .code,
        Code::Ok
    );
}

/// The clock moves on whenever nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn whoever_begins_to_speak_and_stops_is_hung_up_on() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM", b"GET / HTT"] {
        let mut stream = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let hour = Duration::from_secs(3600);
        let hung_up = tokio::time::timeout(hour, stream.read_to_end(&mut answer)).await;
        assert!(hung_up.is_ok(), "still waited for after {begun:?}");
    }
}
