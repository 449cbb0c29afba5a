//! Endpoints that die, drain, freeze, leave and come back.

use std::time::{Duration, Instant};

use platform::channel::Connector;
use platform::{Channel, ChannelOptions, Server, Service};
use tests::proxy::{Mode, Proxy};
use tokio::sync::watch;
use tonic::Code;

use super::{AwaitWith as _, CALLERS, Load, channel, options, ready, view, watch_health};
use crate::peer::{Manner, Peer, at};
use crate::world::{check, check_within, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_endpoint_costs_no_call_beyond_those_in_flight() {
    let mut peers = [Peer::start(), Peer::start(), Peer::start()];
    let channel = channel(&[&peers[0], &peers[1], &peers[2]], options());
    let load = Load::start(&channel);
    until("all are called", || {
        peers.iter().all(|peer| peer.calls() > 50)
    })
    .await;
    peers[0].kill();
    load.calls(2_000).await;
    let failed = load.end().await;
    assert!(
        failed.len() <= CALLERS,
        "{} failed: {failed:?}",
        failed.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_endpoint_costs_no_call_at_all() {
    let leaving = Server::bind("127.0.0.1:0", Service::new()).await.unwrap();
    let staying = Server::bind("127.0.0.1:0", Service::new()).await.unwrap();
    leaving.handle().ready();
    staying.handle().ready();
    let endpoints = [at(leaving.local_addr()), at(staying.local_addr())];
    let channel = Channel::fixed("user", endpoints, options());
    ready(&channel).await;
    let load = Load::start(&channel);
    load.calls(200).await;
    leaving.handle().not_serving();
    let drained = leaving.handle().shutdown(Duration::from_secs(20)).await;
    load.calls(500).await;
    assert_eq!(drained.cut_off, 0);
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_is_ready_a_call_fails_at_once_and_says_why() {
    let mut peer = Peer::start();
    let endpoint = peer.endpoint();
    peer.kill();
    let channel = Channel::fixed("user", [endpoint.clone()], options());
    let begun = Instant::now();
    let status = check(&channel).await.unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(status.code(), Code::Unavailable);
    for part in [
        "no instance of user",
        "1 registered",
        "1 unreachable",
        &*endpoint.address,
        "refused",
    ] {
        assert!(
            status.message().contains(part),
            "{part} in {}",
            status.message()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_comes_up_later_is_found() {
    let mut first = Peer::start();
    let address = first.address();
    first.kill();
    let channel = Channel::fixed("user", [at(address)], options());
    check(&channel).await.unwrap_err();
    let _second = Peer::start_at(address);
    ready(&channel).await;
    check(&channel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_endpoint_is_found_by_pings_though_its_connection_stands() {
    let frozen = Peer::start();
    let proxy = Proxy::start(frozen.address()).await;
    let connector =
        Connector::default().pings(Duration::from_millis(200), Duration::from_millis(300));
    let channel = Channel::fixed(
        "user",
        [at(proxy.address())],
        ChannelOptions {
            connector,
            ..options()
        },
    );
    // On a busy machine so short a patience loses a connection now and then; it comes back.
    let answers = || async { check(&channel).await.is_ok().then_some(()) };
    crate::world::eventually("it answers", answers).await;
    proxy.set(Mode::BlackHole);
    // Without the pings the channel would stay ready and each call would wait for its deadline.
    crate::world::eventually("it is given up", || async {
        let begun = Instant::now();
        let status = check_within(&channel, Duration::from_secs(20))
            .await
            .unwrap_err();
        (status.code() == Code::Unavailable && begun.elapsed() < Duration::from_secs(2))
            .then_some(())
    })
    .await;
    proxy.set(Mode::Forward);
    crate::world::eventually("it answers again", answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goodbyes_cost_no_call_while_streams_go_on() {
    let peer = Peer::start_with_age(Duration::from_millis(1_500));
    let channel = channel(&[&peer], options());
    ready(&channel).await;
    // It keeps the first connection open beyond its goodbye.
    let mut stream = watch_health(&channel).await;
    stream.message().await.unwrap().unwrap();
    let load = Load::start(&channel);
    let begun = Instant::now();
    until("several goodbyes", || {
        begun.elapsed() > Duration::from_secs(5)
    })
    .await;
    load.calls(200).await;
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_endpoint_finishes_its_calls_and_gets_no_more() {
    let (leaving, staying) = (Peer::start(), Peer::start());
    let (change, views) = watch::channel(view(&[("a", &leaving)]));
    let channel = Channel::discovered("user", views, options());
    ready(&channel).await;
    leaving.behave(Manner::After(Duration::from_millis(500)));
    let under_way = tokio::spawn({
        let channel = channel.clone();
        async move { check(&channel).await }
    });
    until("the call is there", || leaving.calls() == 1).await;
    change.send(view(&[("a", &staying)])).unwrap();
    until("the other is called", || staying.calls() > 0)
        .await_with(&channel, &mut 0)
        .await;
    under_way.await.unwrap().unwrap();
    assert!(leaving.calls() <= 2, "{}", leaving.calls());
}
