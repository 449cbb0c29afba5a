//! Endpoints that are there and connected, and say that they do not serve, or say nothing.

use std::time::{Duration, Instant};

use fleet::Endpoint;
use platform::{Channel, ChannelOptions};
use tests::proxy::{Mode, Proxy};
use tokio::net::TcpListener;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{AwaitWith as _, Load, channel, options, ready};
use crate::peer::{Peer, Says, at};
use crate::world::{check, check_within, eventually, until};

const SERVING: Says = Says::Status(ServingStatus::Serving);
const NOT_SERVING: Says = Says::Status(ServingStatus::NotServing);

async fn call(channel: &Channel, times: usize) {
    for _ in 0..times {
        check(channel).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_not_serving_gets_no_call_until_it_says_otherwise() {
    let peers = [Peer::start(), Peer::start()];
    peers[0].say(NOT_SERVING);
    let channel = channel(&[&peers[0], &peers[1]], options());
    ready(&channel).await;
    call(&channel, 200).await;
    assert_eq!(peers[0].calls(), 0, "from the first moment on");
    peers[0].say(SERVING);
    until("it is called", || peers[0].calls() > 0)
        .await_with(&channel, &mut 0)
        .await;
    // In the midst of calls too: none fails, and soon none goes there.
    let load = Load::start(&channel);
    load.calls(200).await;
    peers[0].say(NOT_SERVING);
    eventually("it is left alone", || async {
        let before = peers[0].calls();
        load.calls(200).await;
        (peers[0].calls() == before).then_some(())
    })
    .await;
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_serves_a_call_fails_at_once_and_says_so() {
    let peers = [Peer::start(), Peer::start()];
    for peer in &peers {
        peer.say(NOT_SERVING);
    }
    let channel = channel(&[&peers[0], &peers[1]], options());
    let begun = Instant::now();
    let status = check(&channel).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Code::Unavailable);
    let said = "no instance of user: 2 registered, 2 not serving";
    assert!(status.message().starts_with(said), "{}", status.message());
    peers[1].say(SERVING);
    ready(&channel).await;
    call(&channel, 10).await;
    assert_eq!(peers[0].calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_or_will_not_be_asked_is_taken_to_serve() {
    for code in [
        Code::Unimplemented,
        Code::Unauthenticated,
        Code::PermissionDenied,
    ] {
        let peers = [Peer::start(), Peer::start()];
        peers[0].say(Says::Refuses(code));
        let channel = channel(&[&peers[0], &peers[1]], options());
        // As good as the one that says that it serves.
        until("both are called", || {
            peers.iter().all(|peer| peer.calls() > 20)
        })
        .await_with(&channel, &mut 0)
        .await;
        assert_eq!(peers[0].watches(), 1, "{code:?}: asked once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_called_only_where_nobody_else_serves() {
    for says in [Says::Nothing, Says::Refuses(Code::Unavailable)] {
        let (silent, well) = (Peer::start(), Peer::start());
        silent.say(says);
        let alone = channel(&[&silent], options());
        ready(&alone).await;
        call(&alone, 10).await;
        let both = channel(&[&silent, &well], options());
        until("the other one serves", || well.calls() > 0)
            .await_with(&both, &mut 0)
            .await;
        let before = silent.calls();
        call(&both, 200).await;
        assert_eq!(silent.calls(), before, "{says:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_ends_is_begun_anew_and_not_in_a_hot_loop() {
    let peer = Peer::start();
    peer.say(Says::Ends);
    let channel = channel(&[&peer], options());
    let begun = Instant::now();
    ready(&channel).await;
    until("asked again and again", || peer.watches() >= 5).await;
    // At least half of 200, 400, 800 and 1,600 ms.
    assert!(begun.elapsed() >= Duration::from_millis(1_500));
    call(&channel, 10).await;
    // What was said before the end counts until something else is said.
    peer.say(NOT_SERVING);
    eventually("it is heard", || async { check(&channel).await.err() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_that_is_the_setting() {
    let peer = Peer::start();
    peer.say(NOT_SERVING);
    let health = None;
    let channel = channel(
        &[&peer],
        ChannelOptions {
            health,
            ..options()
        },
    );
    ready(&channel).await;
    call(&channel, 10).await;
    assert_eq!(peer.watches(), 0);
}

/// Its system takes connections for it, as it does for a stopped process.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_process_gets_no_call_while_another_serves() {
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let well = Peer::start();
    let endpoints: [Endpoint; 2] = [at(hung.local_addr().unwrap()), well.endpoint()];
    let channel = Channel::fixed("user", endpoints, options());
    ready(&channel).await;
    // No call waits for the hung one, and none fails.
    for _ in 0..200 {
        check_within(&channel, Duration::from_secs(10))
            .await
            .unwrap();
    }
    assert_eq!(well.calls(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_later_costs_few_calls() {
    let (hanging, well) = (Peer::start(), Peer::start());
    let proxy = Proxy::start(hanging.address()).await;
    let channel = Channel::fixed("user", [at(proxy.address()), well.endpoint()], options());
    until("both are called", || {
        hanging.calls() > 0 && well.calls() > 0
    })
    .await_with(&channel, &mut 0)
    .await;
    proxy.set(Mode::BlackHole);
    let mut late = 0;
    for _ in 0..200 {
        let patience = Duration::from_millis(400);
        late += u32::from(check_within(&channel, patience).await.is_err());
    }
    assert!(late <= 8, "{late} of 200 calls were late");
}
