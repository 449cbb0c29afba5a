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

/// Which member is lost: the one that serves this client, with or without the lead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Follower,
    Leader,
}

/// A client with the default settings, served by a member of the kind that is to be lost.
async fn served_by(endpoints: &[String], leader: usize, which: Which) -> Client {
    loop {
        // The order of members is drawn anew for each.
        let client = client(endpoints);
        client.get(&"/f/a".into()).await.unwrap();
        if (current(&client) == leader) == (which == Which::Leader) {
            return client;
        }
    }
}

/// Reads and guarded writes without end, several at once, until told to stop.
struct Traffic {
    stop: tokio_util::sync::CancellationToken,
    workers: Vec<tokio::task::JoinHandle<(usize, Vec<String>)>>,
}

impl Traffic {
    fn start(client: &Client) -> Self {
        let stop = tokio_util::sync::CancellationToken::new();
        let workers = (0..4).map(|worker| {
            let (client, stop) = (client.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut calls, mut failures) = (0, Vec::new());
                let key = fleet::Key::from(format!("/traffic/{worker}"));
                while !stop.is_cancelled() {
                    calls += 1;
                    let seen = match client.get(&key).await {
                        Ok((seen, _)) => seen,
                        Err(error) => {
                            failures.push(format!("read: {error}"));
                            continue;
                        }
                    };
                    let value = calls.to_string().into_bytes();
                    let edit = Edit::put(key.clone(), seen.into(), value);
                    match client.commit(&Plan::new([edit]).unwrap()).await {
                        Ok(Outcome::Applied { .. }) => {}
                        // Nobody else writes here: a conflict would be a write taken for lost.
                        other => failures.push(format!("write: {other:?}")),
                    }
                }
                (calls, failures)
            })
        });
        Self {
            workers: workers.collect(),
            stop,
        }
    }

    /// Ends it; how many rounds there were, and what failed.
    async fn stop(self) -> (usize, Vec<String>) {
        self.stop.cancel();
        let (mut calls, mut failures) = (0, Vec::new());
        for worker in self.workers {
            let (more, failed) = worker.await.unwrap();
            calls += more;
            failures.extend(failed);
        }
        (calls, failures)
    }
}

/// With default settings: what is in flight when a member is lost may fail, and nothing after it.
/// Where the leader is lost, the cluster itself takes no calls until it has elected another.
async fn a_member_is_lost(lose: impl AsyncFn(&RealEtcd, &Proxy), which: Which) {
    let cluster = Cluster::start().await;
    let mut proxies = Vec::new();
    for member in &cluster.members {
        proxies.push(Proxy::start(member.address()).await);
    }
    let endpoints: Vec<String> = proxies.iter().map(Proxy::endpoint).collect();
    let lead = cluster.leader().await;
    let client = served_by(&endpoints, lead, which).await;
    let mut seen = Observer::new(&client, &prefix("/f/"));
    seen.until_fresh().await;
    let options = LeaseOptions::new(Duration::from_secs(20));
    let keeper = LeaseKeeper::spawn(client.clone(), options, Gate::Open);
    let mut lease = keeper.state();
    let held = tokio::time::timeout(PATIENCE, lease.wait_for(|lease| lease.id().is_some()));
    let id = held.await.unwrap().unwrap().id();

    let traffic = Traffic::start(&client);
    let lost = current(&client);
    let begun = Instant::now();
    lose(&cluster.members[lost], &proxies[lost]).await;
    // The cluster itself, asked beside the client: it has to elect a leader first, if need be.
    cluster.leader_beside(&[lost]).await;
    until("a write that is applied", async || {
        let (seen, _) = match client.get(&"/f/first".into()).await {
            Ok(found) => found,
            Err(_) => return false,
        };
        let value = begun.elapsed().as_millis().to_string();
        let edit = Edit::put("/f/first".into(), seen.into(), value.into_bytes());
        let plan = Plan::new([edit]).unwrap();
        matches!(client.commit(&plan).await, Ok(Outcome::Applied { .. }))
    })
    .await;
    let gap = begun.elapsed();
    let (calls, failed) = traffic.stop().await;
    // Four at once, each at most once with a read and once with a write; an election takes
    // longer than that for none of them to be in time.
    if which == Which::Follower {
        assert!(failed.len() <= 8, "{failed:?}");
    }
    eprintln!("written {gap:?} after the loss; {calls} rounds beside it, failed: {failed:?}");

    reads(&client, 200).await;
    let written = writes(&client, 1..21).await;
    seen.until_at(*written.last().unwrap()).await;
    let given = seen.batches.iter().map(|(revision, _)| *revision);
    let given: Vec<Revision> = given.filter(|at| *at >= written[0]).collect();
    assert_eq!(given, written, "missed or doubled");
    seen.until_fresh().await;
    // The lease is kept alive by another member.
    let begun = Instant::now();
    let kept = |state: &LeaseState| matches!(state, LeaseState::Held { deadline, .. } if *deadline > begun + Duration::from_secs(12));
    tokio::time::timeout(PATIENCE, lease.wait_for(kept))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(lease.borrow().id(), id);
}

async fn kill(member: &RealEtcd, _: &Proxy) {
    member.kill();
}

async fn freeze(member: &RealEtcd, _: &Proxy) {
    member.freeze();
}

/// The member lives and leads, yet nothing of ours reaches it, or comes back.
async fn swallow(_: &RealEtcd, proxy: &Proxy) {
    proxy.set(Mode::BlackHole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_member_costs_no_further_call() {
    a_member_is_lost(kill, Which::Follower).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_costs_no_further_call() {
    a_member_is_lost(freeze, Which::Follower).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_holed_member_costs_no_further_call() {
    a_member_is_lost(swallow, Which::Follower).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_costs_no_further_call() {
    a_member_is_lost(kill, Which::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_costs_no_further_call() {
    a_member_is_lost(freeze, Which::Leader).await;
}

/// Two of three are gone: nothing can be read or written, and it is said so; once one of them is
/// back, all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_majority_is_told_and_its_return_is_noticed() {
    let cluster = Cluster::start().await;
    let client = client(&cluster.endpoints());
    put(&client, "/f/a", "1", fleet::LeaseRule::None).await;
    let mut seen = Observer::new(&client, &prefix("/f/"));
    seen.until_fresh().await;
    cluster.members[0].kill();
    cluster.members[2].kill();
    seen.until("stale", |seen| !seen.fresh).await;
    let error = client.get(&"/f/a".into()).await.unwrap_err();
    assert!(error.is_absence(), "{error}");
    assert_eq!(seen.value("/f/a"), Some("1"), "what was known stays");
    cluster.members[0].revive();
    cluster.members[0].ready().await;
    seen.until_fresh().await;
    reads(&client, 100).await;
    let written = writes(&client, 0..10).await;
    seen.until_at(*written.last().unwrap()).await;
    let given: Vec<Revision> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written);
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
