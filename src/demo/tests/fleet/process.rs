//! Instances as child processes: this test binary runs itself again to be one.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use demo::{
    Options, Parent,
    pb::{
        fault::{ShowRequest, fault_service_client::FaultServiceClient},
        user::{GetRequest, user_service_client::UserServiceClient},
    },
    run_user,
};
use http::Request;
use serde_json::Value;
use tests::realetcd::RealEtcd;

use crate::world::{answer, channel, soon, until};

const ETCD: &str = "DEMO_TEST_ETCD";
/// Seconds.
const TTL: &str = "DEMO_TEST_TTL";
const KEY: &str = "/services/user/child";

fn options() -> Option<Options> {
    let ttl = std::env::var(TTL).ok()?.parse().ok()?;
    Some(Options {
        etcd: vec![std::env::var(ETCD).ok()?],
        instance: Some("child".into()),
        ttl: Duration::from_secs(ttl),
        drain: Duration::from_secs(600),
        parent: Parent::HoldsStdin,
        ..Options::default()
    })
}

/// Not a test by itself: what the child processes run. Without the variables it has nothing to do.
#[test]
fn the_child() {
    let Some(options) = options() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run_user(options)).unwrap();
}

/// The same, in a process that hangs while its parent wants it to: a line on standard input blocks
/// every thread of the runtime, the next one lets them go.
#[test]
fn the_hanging_child() {
    let Some(options) = options() else {
        return;
    };
    let options = Options {
        parent: Parent::None,
        ..options
    };
    const WORKERS: usize = 2;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .unwrap();
    let serving = runtime.spawn(run_user(options));
    let mut lines = std::io::stdin().lines();
    while let Some(Ok(_)) = lines.next() {
        let blocked: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (release, released) = std::sync::mpsc::channel::<()>();
                runtime.spawn(async move { released.recv().is_ok() });
                release
            })
            .collect();
        // The end of the pipe lets them go as well.
        let _ = lines.next();
        drop(blocked);
    }
    serving.abort();
}

struct Running {
    child: Child,
    etcd: RealEtcd,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves nobody behind, not even one that was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    async fn start(test: &str, ttl: u32) -> Self {
        let etcd = RealEtcd::start().await;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(ETCD, etcd.endpoint())
            .env(TTL, ttl.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { child, etcd };
        running.comes().await;
        running
    }

    async fn get(&self, key: &str) -> Option<Value> {
        let found = self.etcd.etcdctl(&["get", key, "--print-value-only"]).await;
        serde_json::from_str(&found).ok()
    }

    async fn comes(&self) {
        until("the child is registered", async || {
            self.get(KEY).await.is_some()
        })
        .await;
    }

    async fn goes(&self) {
        until("the child is not registered", async || {
            self.get(KEY).await.is_none()
        })
        .await;
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .arg(name)
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(kill.success());
    }

    async fn ends(&mut self) {
        let child = &mut self.child;
        until("the child has ended", async || {
            child.try_wait().unwrap().is_some()
        })
        .await;
    }

    /// Where it answers HTTP.
    async fn address(&self) -> SocketAddr {
        let record = self.get(KEY).await.unwrap();
        let endpoint = record["endpoints"][1].as_str().unwrap();
        endpoint.strip_prefix("http://").unwrap().parse().unwrap()
    }
}

async fn ask(address: SocketAddr, verb: &str, path: &str, body: &'static str) -> u16 {
    let request = Request::builder()
        .method(verb)
        .uri(path)
        .header("host", "demo");
    let asked = answer(address, request.body(body.into()).unwrap());
    asked.await.status.as_u16()
}

#[tokio::test]
async fn a_child_deregisters_and_ends_when_its_parent_lets_go() {
    let mut running = Running::start("process::the_child", 60).await;
    drop(running.child.stdin.take());
    running.ends().await;
    assert!(running.child.wait().unwrap().success());
    // The lease of a minute was revoked.
    assert!(running.get(KEY).await.is_none());
}

#[tokio::test]
async fn a_child_deregisters_and_ends_on_sigterm() {
    let mut running = Running::start("process::the_child", 60).await;
    running.signal("-TERM");
    running.ends().await;
    assert!(running.child.wait().unwrap().success());
    assert!(running.get(KEY).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_a_drain_that_waits_for_a_call() {
    let mut running = Running::start("process::the_child", 60).await;
    let address = running.address().await;
    assert_eq!(
        ask(address, "POST", "/v1/fault", r#"{"mode":"HANG"}"#).await,
        200
    );
    // It would hold the drain for ten minutes. What is asked after it on the same connection is
    // answered, so it is under way.
    let channel = channel(address).await;
    let (mut users, mut faults) = (
        UserServiceClient::new(channel.clone()),
        FaultServiceClient::new(channel),
    );
    let call = async { users.get(GetRequest { id: "1".into() }).await };
    tokio::pin!(call);
    for _ in 0..2 {
        tokio::select! {
            biased;
            answered = &mut call => panic!("{answered:?}"),
            known = faults.show(ShowRequest {}) => assert!(known.is_ok()),
        }
    }
    running.signal("-TERM");
    running.goes().await;
    assert!(
        running.child.try_wait().unwrap().is_none(),
        "it waits for the call"
    );
    running.signal("-TERM");
    running.ends().await;
    assert!(running.child.wait().unwrap().success());
    assert!(soon(call).await.is_err(), "the call was cut off");
}

#[tokio::test]
async fn a_process_that_was_suspended_past_its_lease_comes_back_by_itself_and_catches_up() {
    let running = Running::start("process::the_child", 2).await;
    running.signal("-STOP");
    running.goes().await;
    running
        .etcd
        .etcdctl(&["put", "/config/user/page.size", "77"])
        .await;
    let written = running.etcd.revision().await;
    running.signal("-CONT");
    running.comes().await;
    until("it runs what was written meanwhile", async || {
        let status = running.get("/status/user/child").await;
        status.is_some_and(|status| status["taken"]["service"].as_i64() >= Some(written))
    })
    .await;
}

#[tokio::test]
async fn a_process_that_hangs_falls_out_of_the_registry_and_comes_back_when_it_turns_again() {
    let mut running = Running::start("process::the_hanging_child", 2).await;
    let mut pipe = running.child.stdin.take().unwrap();
    pipe.write_all(b"hang\n").unwrap();
    running.goes().await;
    assert!(
        running.child.try_wait().unwrap().is_none(),
        "it lives, and hangs"
    );
    pipe.write_all(b"turn\n").unwrap();
    running.comes().await;
}
