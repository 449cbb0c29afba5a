//! No loop runs hot: what fails at once, time and again, is asked for ever more rarely.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd::client::Transport;
use etcd::{Client, Gate, LeaseKeeper, LeaseOptions, Mirror, MirrorOptions, Settings};
use futures::future::Either;
use tower::ServiceExt;

use crate::world::{prefix, until};

/// A server in this process that fails each call of one method at once.
struct Failing {
    _server: etcdlite::Server,
    client: Client,
    asked: Arc<AtomicUsize>,
}

impl Failing {
    fn at(method: &'static str) -> Failing {
        let (server, channel) = etcdlite::Server::in_process(etcdlite::Options::default());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            if request.uri().path().ends_with(method) {
                count.fetch_add(1, Ordering::Relaxed);
                let failed = tonic::Status::unavailable("not now").into_http();
                return Either::Left(std::future::ready(Ok(failed)));
            }
            Either::Right(channel.clone().oneshot(request))
        });
        let settings = Settings::new(["in process"]);
        Failing {
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
    let failing = Failing::at("/Watch");
    let options = MirrorOptions::default();
    let (_mirror, mut events) = Mirror::spawn(failing.client.clone(), prefix("/a/"), options);
    // The listing, and the loss: it is told once.
    for _ in 0..2 {
        events.recv().await.unwrap();
    }
    failing.is_asked_calmly().await;
    assert!(events.try_recv().is_err());
}

fn keep(failing: &Failing) -> LeaseKeeper {
    let options = LeaseOptions::new(Duration::from_secs(60));
    LeaseKeeper::spawn(failing.client.clone(), options, Gate::Open)
}

#[tokio::test]
async fn a_keepalive_that_fails_at_once_is_tried_ever_more_rarely() {
    let failing = Failing::at("/LeaseKeepAlive");
    let keeper = keep(&failing);
    failing.is_asked_calmly().await;
    assert!(keeper.state().borrow().id().is_some(), "it has not run out");
}

#[tokio::test]
async fn a_lease_that_is_refused_at_once_is_asked_for_ever_more_rarely() {
    let failing = Failing::at("/LeaseGrant");
    let keeper = keep(&failing);
    failing.is_asked_calmly().await;
    assert!(keeper.state().borrow().id().is_none());
}
