//! No loop runs hot: what fails at once, time and again, is asked for ever more rarely.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd::client::Transport;
use etcd::{Client, Gate, LeaseKeeper, LeaseOptions, Mirror, MirrorOptions, Settings};
use futures::future::Either;
use tower::ServiceExt;

use crate::world::{prefix, until};

/// A server in this process that counts the calls of one method.
struct Counting {
    _server: etcdlite::Server,
    client: Client,
    asked: Arc<AtomicUsize>,
}

impl Counting {
    /// One that fails each of them at once.
    fn failing(method: &'static str) -> Counting {
        let settings = Settings::new(["in process"]);
        Counting::with(settings, move |path| path.ends_with(method), true)
    }

    fn with(
        settings: Settings,
        counts: impl Fn(&str) -> bool + Clone + Send + Sync + 'static,
        fails: bool,
    ) -> Counting {
        let (server, channel) = etcdlite::Server::in_process(etcdlite::Options::default());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let counted = counts(request.uri().path());
            count.fetch_add(usize::from(counted), Ordering::Relaxed);
            if counted && fails {
                let failed = tonic::Status::unavailable("not now").into_http();
                return Either::Left(std::future::ready(Ok(failed)));
            }
            Either::Right(channel.clone().oneshot(request))
        });
        Counting {
            _server: server,
            client: Client::from_service(settings, Transport::new(service)),
            asked,
        }
    }

    /// Waits for six calls. With waits that double from 25–50 ms to half a second or more they take
    /// this long at least, and in a hot loop no time at all.
    async fn is_asked_calmly(&self) {
        let begun = Instant::now();
        until("six calls", async || {
            self.asked.load(Ordering::Relaxed) >= 6
        })
        .await;
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(600), "six calls in {took:?}");
    }
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_opened_ever_more_rarely() {
    let failing = Counting::failing("/Watch");
    let options = MirrorOptions::default();
    let (_mirror, mut events) = Mirror::spawn(failing.client.clone(), prefix("/a/"), options);
    // The listing, and the loss: it is told once.
    for _ in 0..2 {
        events.recv().await.unwrap();
    }
    failing.is_asked_calmly().await;
    assert!(events.try_recv().is_err());
}

fn keep(failing: &Counting) -> LeaseKeeper {
    let options = LeaseOptions::new(Duration::from_secs(60));
    LeaseKeeper::spawn(failing.client.clone(), options, Gate::Open)
}

#[tokio::test]
async fn a_keepalive_that_fails_at_once_is_tried_ever_more_rarely() {
    let failing = Counting::failing("/LeaseKeepAlive");
    let keeper = keep(&failing);
    failing.is_asked_calmly().await;
    assert!(keeper.state().borrow().id().is_some(), "it has not run out");
}

#[tokio::test]
async fn a_lease_that_is_refused_at_once_is_asked_for_ever_more_rarely() {
    let failing = Counting::failing("/LeaseGrant");
    let keeper = keep(&failing);
    failing.is_asked_calmly().await;
    assert!(keeper.state().borrow().id().is_none());
}

/// Of a large fleet each process asks for signs of life more rarely: all together would be a load.
#[tokio::test]
async fn a_slowed_heartbeat_asks_an_idle_etcd_for_fewer_signs_of_life() {
    let mut settings = Settings::new(["in process"]);
    settings.heartbeat = Duration::from_millis(50);
    let status = |path: &str| path.ends_with("/Status");
    let quick = Counting::with(settings.clone(), status, false);
    let slow = Counting::with(settings, status, false);
    slow.client.slow_heartbeat(Duration::from_secs(600));
    let mut mirrors = Vec::new();
    for one in [&quick, &slow] {
        let options = MirrorOptions::default();
        let (mirror, mut events) = Mirror::spawn(one.client.clone(), prefix("/a/"), options);
        events.recv().await.unwrap();
        mirrors.push((mirror, events));
    }
    let count = |one: &Counting| one.asked.load(Ordering::Relaxed);
    until("twenty signs of life", async || count(&quick) >= 20).await;
    assert!(count(&slow) <= 2, "{}", count(&slow));
}
