//! Calls over a channel while its endpoints die, drain, fail, hang and come back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use etcd::TlsSettings;
use fleet::{Endpoint, Format, Instance, InstanceId, InstanceRecord, Revision, ServiceName};
use platform::channel::breaker::Policy;
use platform::channel::{Connector, Hedge, TlsFiles};
use platform::discover::{Knowledge, ServiceView};
use platform::{Channel, ChannelOptions, Server, Service, deadline};
use tests::proxy::{Mode, Proxy};
use tokio::sync::watch;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::peer::{Manner, Peer, at};
use crate::world::{check, check_named, check_within, until};

const CHECK: &str = "/grpc.health.v1.Health/Check";

fn options() -> ChannelOptions {
    ChannelOptions::default()
}

fn channel(peers: &[&Peer], options: ChannelOptions) -> Channel {
    Channel::fixed("user", peers.iter().map(|peer| peer.endpoint()), options)
}

async fn ready(channel: &Channel) {
    channel.ready(Duration::from_secs(30)).await.unwrap();
}

/// Calls without pause from several tasks; counts what failed.
struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<tonic::Status>>>,
}

const CALLERS: usize = 8;

impl Load {
    fn start(channel: &Channel) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let tasks = (0..CALLERS).map(|_| {
            let (channel, over, done) = (channel.clone(), over.clone(), done.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    if let Err(status) = check(&channel).await {
                        failed.push(status);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        });
        Load {
            tasks: tasks.collect(),
            over,
            done,
        }
    }

    async fn calls(&self, more: u64) {
        let from = self.done.load(Ordering::Relaxed);
        until("calls to be made", || {
            self.done.load(Ordering::Relaxed) >= from + more
        })
        .await;
    }

    async fn end(self) -> Vec<tonic::Status> {
        self.over.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for task in self.tasks {
            failed.extend(task.await.unwrap());
        }
        failed
    }
}

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
    peers[0].behave(Manner::With(Code::Unavailable));
    let mut failed = 0;
    until("the bad one was found", || peers[0].calls() > 0)
        .await_with(&channel, &mut failed)
        .await;
    for _ in 0..300 {
        failed += u32::from(check(&channel).await.is_err());
    }
    assert!(failed <= 5, "{failed} of 300 calls failed");
}

/// Lets a condition wait while calls are made.
trait AwaitWith: Future<Output = ()> + Sized {
    async fn await_with(self, channel: &Channel, failed: &mut u32) {
        let calls = async {
            loop {
                *failed += u32::from(check(channel).await.is_err());
            }
        };
        tokio::select! {
            () = self => {}
            () = calls => {}
        }
    }
}

impl<F: Future<Output = ()>> AwaitWith for F {}

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
async fn an_idempotent_call_is_repeated_elsewhere() {
    let peers = [Peer::start(), Peer::start()];
    peers[0].behave(Manner::With(Code::Unavailable));
    let idempotent = Arc::new(BTreeSet::from([CHECK.to_owned()]));
    let channel = channel(
        &[&peers[0], &peers[1]],
        ChannelOptions {
            idempotent,
            ..options()
        },
    );
    let mut failed = 0;
    until("the bad one was called", || peers[0].calls() > 0)
        .await_with(&channel, &mut failed)
        .await;
    assert_eq!(failed, 0);
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
    ready(&channel).await;
    check(&channel).await.unwrap();
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
    ready(&channel).await;
    check(&channel).await.unwrap();
}

async fn watch_health(
    channel: &Channel,
    timeout: Option<Duration>,
) -> tonic::Streaming<HealthCheckResponse> {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let mut client = HealthClient::new(channel.clone());
    client.watch(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_always_has_more_ends_at_its_deadline() {
    let peer = Peer::start();
    peer.behave(Manner::Flood);
    let channel = channel(&[&peer], options());
    ready(&channel).await;
    let mut stream = watch_health(&channel, Some(Duration::from_millis(500))).await;
    let read = async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(crate::world::PATIENCE, read).await;
    assert_eq!(status.unwrap().code(), Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn goodbyes_cost_no_call_while_streams_go_on() {
    let peer = Peer::start_with_age(Duration::from_millis(1_500));
    let channel = channel(&[&peer], options());
    ready(&channel).await;
    // It keeps the first connection open beyond its goodbye.
    let mut stream = watch_health(&channel, None).await;
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

fn endpoint(scheme: &str, peer: &Peer) -> Endpoint {
    Endpoint::parse(&format!("{scheme}://{}", peer.address())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secure_endpoint_is_called_over_tls_and_only_when_trusted() {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let peer = Peer::start_secure(signed.cert.pem(), signed.signing_key.serialize_pem());
    let trust = |ca: Vec<u8>| {
        let settings = TlsSettings {
            ca: Some(ca),
            ..TlsSettings::default()
        };
        let connector = Connector::default().tls(&settings).unwrap();
        Channel::fixed(
            "user",
            [endpoint("grpcs", &peer)],
            ChannelOptions {
                connector,
                ..options()
            },
        )
    };
    check(&trust(signed.cert.pem().into_bytes())).await.unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let status = check(&trust(stranger.cert.pem().into_bytes()))
        .await
        .unwrap_err();
    assert!(
        status.message().contains("certificate"),
        "{}",
        status.message()
    );
}

#[test]
fn a_bad_certificate_is_named_and_a_key_never_shown() {
    let tls = |ca: Option<&str>, identity: Option<(&str, &str)>| {
        let settings = TlsSettings {
            ca: ca.map(|ca| ca.as_bytes().to_vec()),
            identity: identity
                .map(|(one, other)| (one.as_bytes().to_vec(), other.as_bytes().to_vec())),
            server_name: None,
        };
        Connector::default().tls(&settings).unwrap_err().to_string()
    };
    assert!(tls(Some("nothing"), None).contains("CA certificates"));
    let signed = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let error = tls(Some(&certificate), Some((&certificate, "s3cret")));
    assert!(
        error.contains("client key") && !error.contains("s3cret"),
        "{error}"
    );
    let error = tls(Some(&certificate), Some(("nothing", &key)));
    assert!(error.contains("client certificate"), "{error}");
}

fn view(peers: &[(&str, &Peer)]) -> Arc<ServiceView> {
    let service = ServiceName::new("user").unwrap();
    let instances = peers.iter().enumerate().map(|(number, (zone, peer))| {
        let id = InstanceId::new(format!("u-{number}")).unwrap();
        let mut record = InstanceRecord::new(service.clone(), id);
        record.endpoints = vec![peer.endpoint()];
        record.metadata.insert("zone".into(), (*zone).into());
        Arc::new(Instance {
            key: format!("/services/user/u-{number}").into(),
            record,
            lease: None,
            mod_revision: Revision(1),
            create_revision: Revision(1),
            format: Format::Native,
        })
    });
    let instances = instances.collect();
    let knowledge = Knowledge::Fresh {
        revision: Revision(1),
    };
    Arc::new(ServiceView {
        service,
        instances,
        quarantined: 0,
        knowledge,
    })
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

#[tokio::test(flavor = "multi_thread")]
async fn of_two_attempts_the_loser_is_cancelled() {
    let peers = [Peer::start(), Peer::start()];
    for peer in &peers {
        peer.behave(Manner::OnceAfter(Duration::from_secs(3_600)));
    }
    let idempotent = Arc::new(BTreeSet::from([CHECK.to_owned()]));
    let options = ChannelOptions {
        hedge_after: Some(Hedge::After(Duration::from_millis(20))),
        idempotent,
        timeout: None,
        ..options()
    };
    let channel = channel(&[&peers[0], &peers[1]], options);
    ready(&channel).await;
    // The first two attempts hang; a second pair is needed for an answer.
    let first = tokio::spawn({
        let channel = channel.clone();
        async move { check(&channel).await }
    });
    until("both hang", || peers.iter().all(|peer| peer.calls() == 1)).await;
    assert_eq!(peers.iter().map(Peer::hanging).sum::<u64>(), 2);
    first.abort();
    until("both are cancelled", || {
        peers.iter().all(|peer| peer.hanging() == 0)
    })
    .await;
    peers[0].behave(Manner::OnceAfter(Duration::from_secs(3_600)));
    peers[1].behave(Manner::Well);
    until("one hung and was outrun", || peers[0].calls() > 1)
        .await_with(&channel, &mut 0)
        .await;
    until("the loser is cancelled", || peers[0].hanging() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_files_are_in_use_from_the_next_connection_on() {
    let make = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (old, new) = (make(), make());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, old.cert.pem()).unwrap();
    let files = TlsFiles {
        ca: Some(ca.clone()),
        ..TlsFiles::default()
    };
    let connector = Connector::default().tls_files(files).unwrap();
    let mut peer = Peer::start_secure(old.cert.pem(), old.signing_key.serialize_pem());
    let address = peer.address();
    let options = ChannelOptions {
        connector,
        ..options()
    };
    let channel = Channel::fixed("user", [endpoint("grpcs", &peer)], options);
    ready(&channel).await;
    check(&channel).await.unwrap();
    peer.kill();
    let peer = Peer::start_secure_at(address, new.cert.pem(), new.signing_key.serialize_pem());
    crate::world::eventually("the new server is not trusted yet", || async {
        let status = check(&channel).await.unwrap_err();
        status.message().contains("certificate").then_some(())
    })
    .await;
    // A half written file is no reason to trust nobody, and the next one is.
    std::fs::write(&ca, "-----BEGIN").unwrap();
    check(&channel).await.unwrap_err();
    std::fs::write(&ca, new.cert.pem()).unwrap();
    ready(&channel).await;
    check(&channel).await.unwrap();
    assert_eq!(peer.calls(), 1);
    let missing = TlsFiles {
        ca: Some(folder.path().join("nowhere.crt")),
        ..TlsFiles::default()
    };
    let error = Connector::default()
        .tls_files(missing)
        .unwrap_err()
        .to_string();
    assert!(error.contains("nowhere.crt"), "{error}");
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
