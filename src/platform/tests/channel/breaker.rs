//! Endpoints that fail: ejected, tried again, and never ejected for what is not their fault.

use std::time::{Duration, Instant};

use platform::ChannelOptions;
use platform::channel::breaker::Policy;
use tonic::Code;

use super::{AwaitWith as _, all_called, channel, options, ready};
use crate::peer::{Manner, Peer};
use crate::world::{check, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_endpoint_is_ejected_and_comes_back_by_one_probe() {
    let peer = Peer::start();
    let breaker = Policy {
        ejection: Duration::from_millis(400),
        ..Policy::default()
    };
    let channel = channel(
        &[&peer],
        ChannelOptions {
            breaker,
            ..options()
        },
    );
    peer.behave(Manner::With(Code::Unavailable));
    for _ in 0..5 {
        assert_eq!(check(&channel).await.unwrap_err().message(), "as told");
    }
    let ejected = Instant::now();
    let probe = crate::world::eventually("a probe", || async {
        let status = check(&channel).await.unwrap_err();
        (status.message() == "as told").then(Instant::now)
    })
    .await;
    assert!(
        probe - ejected >= Duration::from_millis(150),
        "{:?}",
        probe - ejected
    );
    assert_eq!(peer.calls(), 6, "one probe");
    peer.behave(Manner::Well);
    crate::world::eventually("it is back", || async { check(&channel).await.ok() }).await;
    assert_eq!(peer.calls(), 7, "the next probe is the call that succeeds");
    check(&channel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_this_caller_ejects_nobody() {
    let peers = [Peer::start(), Peer::start()];
    let channel = channel(&[&peers[0], &peers[1]], options());
    ready(&channel).await;
    for peer in &peers {
        peer.behave(Manner::With(Code::ResourceExhausted));
    }
    for _ in 0..50 {
        let status = check(&channel).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
    peers[0].behave(Manner::Well);
    until("the one that is not busy is preferred", || {
        peers[0].calls() > 50
    })
    .await_with(&channel, &mut 0)
    .await;
    check(&channel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_endpoint_among_good_ones_costs_few_calls() {
    let peers = [Peer::start(), Peer::start()];
    let channel = channel(&[&peers[0], &peers[1]], options());
    all_called(&channel, &peers).await;
    peers[0].behave(Manner::With(Code::Unavailable));
    let before = peers[0].calls();
    let mut failed = 0;
    until("the bad one was found", || peers[0].calls() > before)
        .await_with(&channel, &mut failed)
        .await;
    for _ in 0..300 {
        failed += u32::from(check(&channel).await.is_err());
    }
    assert!(failed <= 5, "{failed} of 300 calls failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_ejected_a_call_fails_at_once_and_says_so() {
    let peer = Peer::start();
    peer.behave(Manner::With(Code::Unavailable));
    let breaker = Policy {
        ejection: Duration::from_secs(60),
        longest: Duration::from_secs(60),
        ..Policy::default()
    };
    let channel = channel(
        &[&peer],
        ChannelOptions {
            breaker,
            ..options()
        },
    );
    for _ in 0..5 {
        check(&channel).await.unwrap_err();
    }
    let calls = peer.calls();
    let status = check(&channel).await.unwrap_err();
    assert!(
        status.message().contains("1 registered, 1 ejected"),
        "{}",
        status.message()
    );
    assert_eq!(peer.calls(), calls, "an ejected endpoint is not called");
}
