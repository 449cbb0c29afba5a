//! Which endpoint a call goes to, by load, zone and what was learnt of each.

use std::time::Duration;

use platform::{Channel, ChannelOptions};
use tokio::sync::watch;

use super::{AwaitWith as _, Load, channel, options, ready, view};
use crate::peer::{Manner, Peer};
use crate::world::{check, until};

#[tokio::test(flavor = "multi_thread")]
async fn calls_spread_over_the_endpoints() {
    let peers = [Peer::start(), Peer::start(), Peer::start()];
    let channel = channel(&[&peers[0], &peers[1], &peers[2]], options());
    let load = Load::start(&channel);
    until("all are called", || {
        peers.iter().all(|peer| peer.calls() > 50)
    })
    .await;
    assert_eq!(load.end().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_gets_few_calls() {
    let peers = [Peer::start(), Peer::start(), Peer::start()];
    peers[0].behave(Manner::After(Duration::from_millis(300)));
    let channel = channel(&[&peers[0], &peers[1], &peers[2]], options());
    let load = Load::start(&channel);
    load.calls(2_000).await;
    assert_eq!(load.end().await.len(), 0);
    assert!(
        peers[0].calls() < 100,
        "{} of 2000 went to the slow one",
        peers[0].calls()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_give_up_by_themselves_teach_the_channel_too() {
    let peers = [Peer::start(), Peer::start()];
    let channel = channel(&[&peers[0], &peers[1]], options());
    ready(&channel).await;
    let mut failed = 0;
    until("both are known", || {
        peers.iter().all(|peer| peer.calls() > 0)
    })
    .await_with(&channel, &mut failed)
    .await;
    peers[0].behave(Manner::Never);
    let before = peers[0].calls();
    for _ in 0..200 {
        let patience = Duration::from_millis(150);
        let _ = tokio::time::timeout(patience, check(&channel)).await;
    }
    let to_frozen = peers[0].calls() - before;
    assert!(to_frozen < 40, "{to_frozen} of 200 went to the frozen one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_zone_is_preferred_and_others_stand_in_for_it() {
    let (mut near, far) = (Peer::start(), Peer::start());
    let (_keep, views) = watch::channel(view(&[("a", &near), ("b", &far)]));
    let zoned = ChannelOptions {
        zone: Some("a".into()),
        ..options()
    };
    let channel = Channel::discovered("user", views, zoned);
    // Before the near one is connected a call may go to the far one.
    until("the near one is called", || near.calls() > 0)
        .await_with(&channel, &mut 0)
        .await;
    let before = far.calls();
    for _ in 0..100 {
        check(&channel).await.unwrap();
    }
    // A busy machine may make the near one look overloaded for a call or two.
    assert!(far.calls() < before + 20, "{} of 100", far.calls() - before);
    near.kill();
    crate::world::eventually("the far one stands in", || async {
        check(&channel).await.ok()
    })
    .await;
    assert!(far.calls() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_zone_spills_over() {
    let (near, far) = (Peer::start(), Peer::start());
    let (_keep, views) = watch::channel(view(&[("a", &near), ("b", &far)]));
    let zoned = ChannelOptions {
        zone: Some("a".into()),
        ..options()
    };
    let channel = Channel::discovered("user", views, zoned);
    until("the near one is called", || near.calls() > 0)
        .await_with(&channel, &mut 0)
        .await;
    near.behave(Manner::After(Duration::from_millis(400)));
    let before = (near.calls(), far.calls());
    let load = Load::start(&channel);
    load.calls(2_000).await;
    assert_eq!(load.end().await.len(), 0);
    let (near, far) = (near.calls() - before.0, far.calls() - before.1);
    assert!(far > near * 4, "{near} of 2000 stayed, {far} went away");
}
