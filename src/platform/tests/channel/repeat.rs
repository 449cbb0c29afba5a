//! Second attempts: only where the first cannot have had an effect, or where a second one does no harm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::ChannelOptions;
use platform::channel::Hedge;
use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorSet, MethodOptions};
use tonic::Code;

use super::{AwaitWith as _, CHECK, all_called, channel, options, ready};
use crate::peer::{Manner, Peer};
use crate::world::{check, check_named, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_is_repeated_elsewhere() {
    let peers = [Peer::start(), Peer::start()];
    let idempotent = Arc::new(BTreeSet::from([CHECK.to_owned()]));
    let channel = channel(
        &[&peers[0], &peers[1]],
        ChannelOptions {
            idempotent,
            ..options()
        },
    );
    // Elsewhere is only where somebody is connected.
    all_called(&channel, &peers).await;
    peers[0].behave(Manner::With(Code::Unavailable));
    let (before, mut failed) = (peers[0].calls(), 0);
    until("the bad one was called", || peers[0].calls() > before)
        .await_with(&channel, &mut failed)
        .await;
    assert_eq!(failed, 0);
}

/// The descriptors of the health service, whose `Check` promises this.
fn promising(level: Option<IdempotencyLevel>) -> Vec<u8> {
    let mut set = FileDescriptorSet::decode(tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
    let methods = set
        .file
        .iter_mut()
        .flat_map(|file| &mut file.service)
        .flat_map(|service| &mut service.method);
    for method in methods.filter(|method| method.name() == "Check") {
        method.options = level.map(|level| MethodOptions {
            idempotency_level: Some(level.into()),
            ..MethodOptions::default()
        });
    }
    set.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_promises_it_is_repeated_without_a_list() {
    for (level, is_repeated) in [
        (None, false),
        (Some(IdempotencyLevel::IdempotencyUnknown), false),
        (Some(IdempotencyLevel::NoSideEffects), true),
        (Some(IdempotencyLevel::Idempotent), true),
    ] {
        let peers = [Peer::start(), Peer::start()];
        for peer in &peers {
            peer.behave(Manner::With(Code::Unavailable));
        }
        let options = options().descriptors(&promising(level)).unwrap();
        let channel = channel(&[&peers[0], &peers[1]], options);
        check(&channel).await.unwrap_err();
        let calls = peers[0].calls() + peers[1].calls();
        assert_eq!(calls > 1, is_repeated, "{level:?}: {calls} attempts");
    }
}

#[test]
fn a_list_says_it_of_others_and_descriptors_that_are_none_are_refused() {
    let options = ChannelOptions {
        idempotent: Arc::new(["/a.B/C".to_owned()].into()),
        ..options()
    };
    let set = promising(Some(IdempotencyLevel::Idempotent));
    let both = options.clone().descriptors(&set).unwrap();
    assert_eq!(
        *both.idempotent,
        ["/a.B/C".to_owned(), CHECK.to_owned()].into()
    );
    let error = options.descriptors(b"nothing").unwrap_err().to_string();
    assert!(error.contains("FileDescriptorSet"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_have_had_its_effect_is_not_repeated() {
    let peers = [Peer::start(), Peer::start()];
    for peer in &peers {
        peer.behave(Manner::With(Code::Unavailable));
    }
    let channel = channel(&[&peers[0], &peers[1]], options());
    check(&channel).await.unwrap_err();
    assert_eq!(peers[0].calls() + peers[1].calls(), 1);
}

/// The quantile of some times, in milliseconds.
fn millis(times: &mut [Duration], quantile: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() - 1) as f64 * quantile) as usize;
    times[index].as_secs_f64() * 1e3
}

/// One of three is slow for the hundredth call or so: no balance can foresee that.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_call_is_sent_twice_where_that_is_allowed_and_the_first_answer_counts() {
    let peers = [Peer::start(), Peer::start(), Peer::start()];
    let all = [&peers[0], &peers[1], &peers[2]];
    let slow = Duration::from_millis(700);
    let figures = async |idempotent: &[&str]| {
        let options = ChannelOptions {
            hedge_after: Some(Hedge::After(Duration::from_millis(60))),
            idempotent: Arc::new(idempotent.iter().map(|&path| path.into()).collect()),
            ..options()
        };
        let channel = channel(&all, options);
        ready(&channel).await;
        let before: u64 = peers.iter().map(Peer::named).sum();
        let mut times = Vec::new();
        for number in 0..200 {
            let manner = if number % 20 == 0 {
                Manner::OnceAfter(slow)
            } else {
                Manner::Well
            };
            peers[number % 3].behave(manner);
            let begun = Instant::now();
            check_named(&channel).await.unwrap();
            times.push(begun.elapsed());
        }
        let after: u64 = peers.iter().map(Peer::named).sum();
        (millis(&mut times, 0.99), after - before)
    };
    let (without, calls) = figures(&[]).await;
    assert_eq!(calls, 200, "what is not idempotent is never sent twice");
    let (with, calls) = figures(&[CHECK]).await;
    println!("p99 {without:.0} ms, hedged {with:.0} ms with {calls} attempts for 200 calls");
    assert!(calls > 200 && calls < 300, "{calls}");
}

/// The other one may be so much slower that no first attempt would ever go there.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_goes_elsewhere_however_dear_that_is() {
    let peers = [Peer::start(), Peer::start()];
    let idempotent = Arc::new(BTreeSet::from([CHECK.to_owned()]));
    let options = ChannelOptions {
        hedge_after: Some(Hedge::After(Duration::from_millis(400))),
        idempotent,
        ..options()
    };
    let channel = channel(&[&peers[0], &peers[1]], options);
    all_called(&channel, &peers).await;
    peers[1].behave(Manner::After(Duration::from_millis(300)));
    let before = peers[1].calls();
    until("it is known to be slow", || peers[1].calls() > before)
        .await_with(&channel, &mut 0)
        .await;
    check(&channel).await.unwrap();
    peers[0].behave(Manner::Never);
    let begun = Instant::now();
    check(&channel).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_attempts_the_loser_is_cancelled() {
    let peers = [Peer::start(), Peer::start()];
    let idempotent = Arc::new(BTreeSet::from([CHECK.to_owned()]));
    let options = ChannelOptions {
        hedge_after: Some(Hedge::After(Duration::from_millis(20))),
        idempotent,
        timeout: None,
        ..options()
    };
    let channel = channel(&[&peers[0], &peers[1]], options);
    all_called(&channel, &peers).await;
    for peer in &peers {
        peer.behave(Manner::Never);
    }
    let first = tokio::spawn({
        let channel = channel.clone();
        async move { check(&channel).await }
    });
    until("both hang", || peers.iter().all(|peer| peer.hanging() == 1)).await;
    first.abort();
    until("both are cancelled", || {
        peers.iter().all(|peer| peer.hanging() == 0)
    })
    .await;
    let before = peers[0].calls();
    peers[1].behave(Manner::Well);
    until("one hung and was outrun", || peers[0].calls() > before)
        .await_with(&channel, &mut 0)
        .await;
    until("the loser is cancelled", || peers[0].hanging() == 0).await;
}
