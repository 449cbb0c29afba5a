//! The end of a server: what finishes, what is cut off, and when.

use std::time::Duration;

use platform::server::{Drained, Stage};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    echo::{All, until},
    world::{World, http1, soon},
};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn calls_in_flight_finish_and_nothing_new_is_let_in() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let grpc = grpc.clone();
            tokio::spawn(async move { grpc.call("Wait", &All::default(), &[]).await.code })
        })
        .collect();
    until("20 calls in flight", || world.handle.in_flight() == 20).await;
    world.handle.not_serving();
    assert_eq!(
        grpc.call("Get", &All::default(), &[]).await.code,
        Code::Ok,
        "calls are answered while the news spreads"
    );
    let handle = world.handle.clone();
    let drain = tokio::spawn(async move { handle.shutdown(LONG).await });
    until("the port is closed", || {
        matches!(world.handle.stage(), Stage::Draining { .. })
    })
    .await;
    let addr = world.addr();
    soon(async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} }).await;
    assert_eq!(world.handle.in_flight(), 20);
    world.echo.waiting.notify_waiters();
    for call in calls {
        assert_eq!(soon(call).await.unwrap(), Code::Ok);
    }
    assert_eq!(soon(drain).await.unwrap(), Drained { cut_off: 0 });
    assert_eq!(world.handle.stage(), Stage::Stopped { cut_off: 0 });
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let call =
        tokio::spawn(async move { grpc.try_call("Hang", &All::default(), &[]).await.is_err() });
    until("the call is in flight", || world.handle.in_flight() == 1).await;
    let drained = soon(world.handle.shutdown(Duration::from_millis(50))).await;
    assert_eq!(drained, Drained { cut_off: 1 });
    assert!(
        soon(call).await.unwrap(),
        "the call that did not finish was cut off"
    );
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let call =
        tokio::spawn(async move { grpc.try_call("Hang", &All::default(), &[]).await.is_err() });
    until("the call is in flight", || world.handle.in_flight() == 1).await;
    let handle = world.handle.clone();
    let drain = tokio::spawn(async move { handle.shutdown(LONG).await });
    until("the drain has begun", || world.handle.stage().is_draining()).await;
    world.handle.stop();
    soon(drain).await.unwrap();
    assert!(soon(call).await.unwrap());
}

#[tokio::test]
async fn idle_connections_do_not_hold_a_drain_up() {
    let world = World::new().await;
    let _grpc = world.grpc().await;
    let mut kept = http1(world.addr()).await;
    let request = http::Request::get("/readyz")
        .header("host", "t")
        .body(http_body_util::Full::default())
        .unwrap();
    assert_eq!(kept.send_request(request).await.unwrap().status(), 200);
    let silent = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
    assert_eq!(
        soon(world.handle.shutdown(LONG)).await,
        Drained { cut_off: 0 }
    );
    drop(silent);
}

#[tokio::test]
async fn health_tells_every_stage_and_its_watch_ends_with_the_drain() {
    let world = World::with(|service| service).await;
    let mut health = HealthClient::new(world.channel().await);
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut next = async || {
        soon(watch.message())
            .await
            .unwrap()
            .map(|told| told.status())
    };
    assert_eq!(next().await, Some(ServingStatus::Serving));
    world.handle.not_serving();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    let handle = world.handle.clone();
    let drain = tokio::spawn(async move { handle.shutdown(LONG).await });
    assert_eq!(next().await, None);
    assert_eq!(soon(drain).await.unwrap(), Drained { cut_off: 0 });
}

#[tokio::test]
async fn a_dropped_server_leaves_nothing_behind() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let call =
        tokio::spawn(async move { grpc.try_call("Hang", &All::default(), &[]).await.is_err() });
    until("the call is in flight", || world.handle.in_flight() == 1).await;
    let (addr, handle) = (world.addr(), world.handle.clone());
    drop(world.server);
    assert!(soon(call).await.unwrap());
    until("no call is left", || handle.in_flight() == 0).await;
    soon(async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} }).await;
    // A drain of what is gone ends as well.
    soon(handle.shutdown(LONG)).await;
}
