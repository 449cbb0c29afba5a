//! A cluster of three that loses members: no call fails that could be asked elsewhere, and what
//! watches and leases hold goes on.

use std::time::{Duration, Instant};

use etcd::{Client, Gate, LeaseKeeper, LeaseOptions, LeaseState, Settings};
use fleet::{Edit, Outcome, Plan, Revision};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::{Cluster, RealEtcd};

use crate::observer::Observer;
use crate::world::{PATIENCE, client, patient, prefix, put, until};

/// The member that a client asks first.
fn current(client: &Client) -> usize {
    client
        .link_state()
        .borrow()
        .current
        .expect("a member that answered")
}

async fn leader(client: &Client) -> usize {
    let mut found = None;
    until("a leader", async || {
        let statuses = client.endpoint_statuses().await;
        found = statuses
            .iter()
            .position(|(_, status)| status.as_ref().is_ok_and(etcd::MemberStatus::is_leader));
        found.is_some()
    })
    .await;
    found.unwrap()
}

async fn reads(client: &Client, count: usize) {
    for _ in 0..count {
        client
            .get(&"/f/a".into())
            .await
            .expect("a read that another member could answer");
    }
}

/// Writes in a row; every outcome must be certain, and every one must be applied.
async fn writes(client: &Client, steps: std::ops::Range<usize>) -> Vec<Revision> {
    let mut written = Vec::new();
    for step in steps {
        let (seen, _) = client.get(&"/f/n".into()).await.unwrap();
        let edit = Edit::put("/f/n".into(), seen.into(), step.to_string().into_bytes());
        match client.commit(&Plan::new([edit]).unwrap()).await.unwrap() {
            Outcome::Applied { revision } => written.push(revision),
            other => panic!("write {step}: {other:?}"),
        }
    }
    written
}

async fn a_member_is_lost(lose: impl Fn(&RealEtcd), which: Which) {
    let cluster = Cluster::start().await;
    let client = patient(&cluster.endpoints());
    put(&client, "/f/a", "1", fleet::LeaseRule::None).await;
    let mut seen = Observer::new(&client, &prefix("/f/"));
    seen.until_fresh().await;
    let options = LeaseOptions::new(Duration::from_secs(20));
    let keeper = LeaseKeeper::spawn(client.clone(), options, Gate::Open);
    let mut lease = keeper.state();
    let held = tokio::time::timeout(PATIENCE, lease.wait_for(|lease| lease.id().is_some()));
    let id = held.await.unwrap().unwrap().id();

    let lost = match which {
        Which::Current => current(&client),
        Which::Leader => leader(&client).await,
    };
    lose(&cluster.members[lost]);
    let begun = Instant::now();
    let mut written = writes(&client, 0..1).await;
    let gap = begun.elapsed();
    reads(&client, 200).await;
    written.extend(writes(&client, 1..21).await);
    seen.until_at(*written.last().unwrap()).await;
    let given: Vec<Revision> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written, "missed or doubled");
    seen.until_fresh().await;
    eprintln!(
        "first write after the loss took {gap:?}; stale: {:?}",
        seen.stale
    );
    // The lease is kept alive by another member.
    let begun = Instant::now();
    let kept = |state: &LeaseState| matches!(state, LeaseState::Held { deadline, .. } if *deadline > begun + Duration::from_secs(12));
    tokio::time::timeout(PATIENCE, lease.wait_for(kept))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(lease.borrow().id(), id);
}

enum Which {
    Current,
    Leader,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_member_costs_no_call() {
    a_member_is_lost(RealEtcd::kill, Which::Current).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_costs_no_call() {
    a_member_is_lost(RealEtcd::freeze, Which::Current).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_costs_no_call() {
    a_member_is_lost(RealEtcd::kill, Which::Leader).await;
}

/// One dead endpoint of three, from the beginning: not a single call of a thousand fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_was_costs_no_call() {
    let etcd = RealEtcd::start().await;
    let live = [
        Proxy::start(etcd.address()).await,
        Proxy::start(etcd.address()).await,
    ];
    let dead = Proxy::start_in(etcd.address(), Mode::Refuse).await;
    for _ in 0..4 {
        // The order of members is drawn: several clients, so that some try the dead one first.
        let client = client(&[dead.endpoint(), live[0].endpoint(), live[1].endpoint()]);
        reads(&client, 250).await;
    }
}

/// Black-holed from the beginning: the connection is accepted, nothing answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_swallows_everything_costs_no_call() {
    let etcd = RealEtcd::start().await;
    let hole = Proxy::start_in(etcd.address(), Mode::BlackHole).await;
    for _ in 0..4 {
        let mut settings = Settings::new([hole.endpoint(), etcd.endpoint()]);
        // No probe rescues the read: the second member is asked while the first is silent.
        settings.probe_timeout = PATIENCE;
        let client = Client::new(settings).unwrap();
        let begun = Instant::now();
        client.get(&"/f/a".into()).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
        reads(&client, 50).await;
    }
}

/// Members answer, but know no leader: a watch must not stand there looking alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_cut_off_from_its_cluster_is_noticed() {
    let cluster = Cluster::start().await;
    let cut_off = client(&[cluster.members[0].endpoint()]);
    let mut seen = Observer::new(&cut_off, &prefix("/f/"));
    seen.until_fresh().await;
    cluster.members[1].freeze();
    cluster.members[2].freeze();
    seen.until("stale", |seen| !seen.fresh).await;
    let error = cut_off.get(&"/f/a".into()).await.unwrap_err();
    assert!(error.is_absence(), "{error}");
    cluster.members[1].thaw();
    cluster.members[2].thaw();
    seen.until_fresh().await;
    let written = put(
        &patient(&cluster.endpoints()),
        "/f/a",
        "1",
        fleet::LeaseRule::None,
    )
    .await;
    seen.until_at(written).await;
}

/// With the one member it knows restarted, a client goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_found_again() {
    let etcd = RealEtcd::start().await;
    let client = patient(&[etcd.endpoint()]);
    let mut seen = Observer::new(&client, &prefix("/f/"));
    seen.until_fresh().await;
    for round in 0..2 {
        etcd.kill();
        seen.until("stale", |seen| !seen.fresh).await;
        etcd.revive();
        etcd.ready().await;
        let written = put(&client, "/f/a", &round.to_string(), fleet::LeaseRule::None).await;
        seen.until_at(written).await;
        seen.until_fresh().await;
    }
    assert_eq!(seen.batches.len(), 2);
}
