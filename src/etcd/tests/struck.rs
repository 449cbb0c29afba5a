//! Background loops that a panic struck: each begins anew, is counted, and does its work again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd::client::Transport;
use etcd::{Client, Gate, LeaseKeeper, LeaseOptions, Settings};
use fleet::Key;
use tower::ServiceExt;

use crate::figures::{figure, recorder};
use crate::world::until;

/// A server in this process behind a transport in which the next call of an armed method panics, in
/// whatever loop made it.
struct Mined {
    _server: etcdlite::Server,
    client: Client,
    armed: Arc<Mutex<Option<&'static str>>>,
}

impl Mined {
    fn new() -> Mined {
        recorder();
        let (server, channel) = etcdlite::Server::in_process(etcdlite::Options::default());
        let armed: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let mine = Arc::clone(&armed);
        let service = tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let mut armed = mine.lock().unwrap();
            let struck = armed.take_if(|method| request.uri().path().ends_with(*method));
            drop(armed);
            assert!(struck.is_none(), "struck");
            channel.clone().oneshot(request)
        });
        let settings = Settings {
            heartbeat: Duration::from_millis(50),
            ..Settings::new(["in process"])
        };
        let client = Client::from_service(settings, Transport::new(service));
        Mined {
            _server: server,
            client,
            armed,
        }
    }

    fn arm(&self, method: &'static str) {
        *self.armed.lock().unwrap() = Some(method);
    }

    fn is_armed(&self) -> bool {
        self.armed.lock().unwrap().is_some()
    }
}

fn faults(name: &str) -> f64 {
    figure(&format!("etcd_loop_faults_total{{loop=\"{name}\"}}"))
}

#[tokio::test]
async fn the_loop_of_a_lease_that_panics_gets_a_lease_again() {
    let mined = Mined::new();
    let before = faults("lease");
    mined.arm("/LeaseGrant");
    let options = LeaseOptions::new(Duration::from_secs(2));
    let keeper = LeaseKeeper::spawn(mined.client.clone(), options, Gate::Open);
    let state = keeper.state();
    until("a lease after a panic", async || {
        state.borrow().id().is_some()
    })
    .await;
    assert!(!mined.is_armed());

    let first = state.borrow().id();
    mined.client.lease_revoke(first.unwrap()).await.unwrap();
    mined.arm("/LeaseKeepAlive");
    until("another lease after a panic while it is kept", async || {
        state.borrow().id().is_some_and(|id| Some(id) != first) && !mined.is_armed()
    })
    .await;
    assert!(faults("lease") >= before + 2.0);
    keeper.revoke(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn the_loop_of_a_member_that_panics_connects_again() {
    let mined = Mined::new();
    let (before, key) = (faults("member"), Key::from("/a"));
    mined.client.get(&key).await.unwrap();
    let keeper = LeaseKeeper::spawn(
        mined.client.clone(),
        LeaseOptions::new(Duration::from_secs(60)),
        Gate::Open,
    );
    mined.arm("/Status");
    // An open stream has its silent member asked for a sign of life.
    until("a panic", async || !mined.is_armed()).await;
    until("an answer after it", async || {
        faults("member") > before && mined.client.get(&key).await.is_ok()
    })
    .await;
    drop(keeper);
}
