//! Instances as child processes: this test binary runs itself again to be one.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use demo::{Options, Parent, run_user};
use tests::realetcd::RealEtcd;

use crate::world::until;

const ETCD: &str = "DEMO_TEST_ETCD";

/// Not a test by itself: what the child processes run. Without the variable it has nothing to do.
#[test]
fn the_child() {
    let Ok(endpoint) = std::env::var(ETCD) else {
        return;
    };
    let options = Options {
        etcd: vec![endpoint],
        instance: Some("child".into()),
        ttl: Duration::from_secs(60),
        parent: Parent::HoldsStdin,
        ..Options::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run_user(options)).unwrap();
}

async fn registered(etcd: &RealEtcd) -> bool {
    !etcd
        .etcdctl(&["get", "/services/user/child", "--keys-only"])
        .await
        .trim()
        .is_empty()
}

fn child(etcd: &RealEtcd) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::the_child"])
        .env(ETCD, etcd.endpoint())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_child_deregisters_and_ends_when_its_parent_lets_go() {
    let etcd = RealEtcd::start().await;
    let mut child = child(&etcd);
    until("the child is registered", async || registered(&etcd).await).await;
    drop(child.stdin.take());
    until("the child has ended", async || {
        child.try_wait().unwrap().is_some()
    })
    .await;
    assert!(child.wait().unwrap().success());
    assert!(
        !registered(&etcd).await,
        "the lease of a minute was revoked"
    );
}

#[tokio::test]
async fn a_child_deregisters_and_ends_on_sigterm() {
    let etcd = RealEtcd::start().await;
    let mut child = child(&etcd);
    until("the child is registered", async || registered(&etcd).await).await;
    let kill = Command::new("kill")
        .arg("-TERM")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    until("the child has ended", async || {
        child.try_wait().unwrap().is_some()
    })
    .await;
    assert!(child.wait().unwrap().success());
    assert!(!registered(&etcd).await);
}
