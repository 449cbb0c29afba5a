//! Calls end in time, and servers are told when that is.

use std::time::{Duration, Instant};

use platform::{ChannelOptions, deadline};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{CHECK, channel, options, ready};
use crate::peer::{Manner, Peer};
use crate::world::{check, check_within};

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_call_and_is_told_to_the_server() {
    let peer = Peer::start();
    let channel = channel(&[&peer], options());
    ready(&channel).await;
    check_within(&channel, Duration::from_secs(20))
        .await
        .unwrap();
    let told = peer.last_timeout().unwrap();
    assert!(
        told.ends_with('u') && told.len() >= 8,
        "what is left of 20 s: {told}"
    );
    peer.behave(Manner::Never);
    let begun = Instant::now();
    let status = check_within(&channel, Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(
        status.message().contains(&peer.address().to_string()) && status.message().contains(CHECK),
        "{}",
        status.message()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_inherits_the_deadline_it_is_made_under() {
    let peer = Peer::start();
    let channel = channel(&[&peer], options());
    ready(&channel).await;
    peer.behave(Manner::Never);
    let soon = Instant::now() + Duration::from_millis(200);
    let status = deadline::within(soon, check_within(&channel, Duration::from_secs(50)))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(soon.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_deadline_does_not_wait_for_ever() {
    let peer = Peer::start();
    peer.behave(Manner::Never);
    let channel = channel(
        &[&peer],
        ChannelOptions {
            timeout: Some(Duration::from_millis(300)),
            ..options()
        },
    );
    assert_eq!(
        check(&channel).await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_always_has_more_ends_at_its_deadline() {
    let peer = Peer::start();
    peer.behave(Manner::Flood);
    let health = None;
    let channel = channel(
        &[&peer],
        ChannelOptions {
            health,
            ..options()
        },
    );
    ready(&channel).await;
    // A deadline that is over before the first message shows nothing. The head of such a stream leaves with its first
    // 400 KiB: to write these takes an unoptimised build 0.2 s, and seconds where the machine is busy.
    let mut time = Duration::from_millis(200);
    let (mut stream, over) = loop {
        assert!(time < crate::world::PATIENCE, "no message within {time:?}");
        let over = Instant::now() + time;
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.set_timeout(time);
        let mut client = HealthClient::new(channel.clone());
        let first = async {
            let mut stream = client.watch(request).await?.into_inner();
            stream.message().await.map(|_| stream)
        };
        match first.await {
            Ok(stream) => break (stream, over),
            Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded),
        }
        time *= 2;
    };
    // More has come meanwhile than is read in one piece, and all of it could be had.
    tokio::time::sleep_until(over.into()).await;
    let mut read = 0;
    let status = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
        read += 1;
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // What the piece of the first message holds, and no more.
    assert!(read < 10_000, "{read} messages after the deadline");
}
