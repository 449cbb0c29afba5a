//! Lease keepers: held while they live, granted anew after every loss, silent behind a closed gate.

use std::time::{Duration, Instant};

use etcd::{Gate, LeaseKeeper, LeaseOptions, LeaseState};
use fleet::{LeaseId, LeaseRule};
use tests::proxy::Mode;
use tokio::sync::watch;

use crate::observer::Observer;
use crate::world::{PATIENCE, Server, World, begun, keys_of, prefix, put, until};

crate::on_both!(
    a_lease_is_kept_beyond_its_time,
    a_lost_lease_is_granted_anew,
    a_lease_survives_a_cut_connection,
    a_lease_counts_as_lost_at_its_own_deadline,
    a_closed_gate_lets_the_lease_run_out,
    a_gate_that_opens_in_time_keeps_the_lease,
    an_orderly_stop_deletes_the_keys_at_once,
    a_dropped_keeper_lets_the_lease_run_out,
    a_lease_is_granted_though_etcd_comes_late,
    a_wiped_store_gives_a_new_lease,
);

fn keep(world: &World, seconds: u64, gate: Gate) -> LeaseKeeper {
    let options = LeaseOptions::new(Duration::from_secs(seconds));
    LeaseKeeper::spawn(world.client.clone(), options, gate)
}

async fn held(state: &mut watch::Receiver<LeaseState>) -> LeaseId {
    let held = tokio::time::timeout(PATIENCE, state.wait_for(|state| state.id().is_some()));
    held.await.expect("a lease in time").unwrap().id().unwrap()
}

/// Waits for another lease than this one.
async fn another(state: &mut watch::Receiver<LeaseState>, than: LeaseId) -> LeaseId {
    let other = |state: &LeaseState| state.id().is_some_and(|id| id != than);
    let held = tokio::time::timeout(PATIENCE, state.wait_for(other));
    held.await
        .expect("another lease in time")
        .unwrap()
        .id()
        .unwrap()
}

async fn lost(state: &mut watch::Receiver<LeaseState>) -> String {
    let lost = tokio::time::timeout(PATIENCE, state.wait_for(|state| state.id().is_none()));
    match &*lost.await.expect("a loss in time").unwrap() {
        LeaseState::Lost { cause, .. } => cause.clone(),
        LeaseState::Held { .. } => unreachable!(),
    }
}

async fn a_lease_is_kept_beyond_its_time(world: World) {
    let keeper = keep(&world, 2, Gate::Open);
    let mut state = keeper.state();
    let id = held(&mut state).await;
    put(&world.direct, "/l/a", "1", LeaseRule::Attach(id)).await;
    let first = match *state.borrow() {
        LeaseState::Held { deadline, .. } => deadline,
        LeaseState::Lost { .. } => panic!("lost"),
    };
    // The deadline is moved on, time and again, well past the first one.
    let later = |state: &LeaseState| match state {
        LeaseState::Held { deadline, .. } => *deadline > first + Duration::from_secs(3),
        LeaseState::Lost { cause, .. } => panic!("lost: {cause}"),
    };
    tokio::time::timeout(PATIENCE, state.wait_for(later))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(keys_of(&world.direct, id).await, ["/l/a".into()]);
}

async fn a_lost_lease_is_granted_anew(world: World) {
    let keeper = keep(&world, 3, Gate::Open);
    let mut state = keeper.state();
    let mut seen = Observer::new(&world.direct, &prefix("/l/"));
    let mut id = held(&mut state).await;
    for _ in 0..2 {
        put(&world.direct, "/l/a", "1", LeaseRule::Attach(id)).await;
        world.direct.lease_revoke(id).await.unwrap();
        let next = state.wait_for(|state| state.id() != Some(id)).await;
        if let LeaseState::Lost { cause, .. } = &*next.unwrap() {
            assert_eq!(cause, "it expired or was revoked", "by etcd's answer");
        }
        id = another(&mut state, id).await;
        seen.until("the key is gone with its lease", |seen| {
            seen.last.is_some() && seen.value("/l/a").is_none()
        })
        .await;
    }
}

async fn a_lease_survives_a_cut_connection(world: World) {
    let keeper = keep(&world, 10, Gate::Open);
    let mut state = keeper.state();
    let id = held(&mut state).await;
    let before = world.proxy.accepted();
    for _ in 0..3 {
        world.proxy.cut();
        let deadline = deadline(&state);
        tokio::time::timeout(
            PATIENCE,
            state.wait_for(
                |state| matches!(state, LeaseState::Held { deadline: now, .. } if *now > deadline),
            ),
        )
        .await
        .expect("kept alive after the cut")
        .unwrap();
    }
    assert_eq!(state.borrow().id(), Some(id));
    assert!(world.proxy.accepted() - before < 20);
}

fn deadline(state: &watch::Receiver<LeaseState>) -> Instant {
    match *state.borrow() {
        LeaseState::Held { deadline, .. } => deadline,
        LeaseState::Lost { ref cause, .. } => panic!("lost: {cause}"),
    }
}

async fn a_lease_counts_as_lost_at_its_own_deadline(world: World) {
    let keeper = keep(&world, 2, Gate::Open);
    let mut state = keeper.state();
    let id = held(&mut state).await;
    let before = world.proxy.accepted();
    world.proxy.set(Mode::BlackHole);
    let begun = Instant::now();
    lost(&mut state).await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    world.proxy.set(Mode::Forward);
    another(&mut state, id).await;
    assert!(world.proxy.accepted() - before < 40);
}

async fn a_closed_gate_lets_the_lease_run_out(world: World) {
    let (gate, open) = watch::channel(true);
    let keeper = keep(&world, 2, Gate::Watched(open));
    let mut state = keeper.state();
    let id = held(&mut state).await;
    gate.send_replace(false);
    assert!(lost(&mut state).await.contains("gate"));
    until("the lease is gone", async || {
        matches!(
            world.direct.lease_ttl(id, etcd::LeaseKeys::Omitted).await,
            Err(etcd::Error::LeaseNotFound { .. })
        )
    })
    .await;
    assert_eq!(
        state.borrow().id(),
        None,
        "nothing is granted while it is closed"
    );
    gate.send_replace(true);
    another(&mut state, id).await;
    // A gate that nobody holds any more is closed: its owner is gone.
    drop(gate);
    lost(&mut state).await;
}

async fn a_gate_that_opens_in_time_keeps_the_lease(world: World) {
    let (gate, open) = watch::channel(true);
    let keeper = keep(&world, 30, Gate::Watched(open));
    let mut state = keeper.state();
    let id = held(&mut state).await;
    gate.send_replace(false);
    gate.send_replace(true);
    let before = deadline(&state);
    let moved = |state: &LeaseState| matches!(state, LeaseState::Held { deadline, .. } if *deadline > before);
    gate.send_replace(false);
    gate.send_replace(true);
    tokio::time::timeout(PATIENCE, state.wait_for(moved))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(state.borrow().id(), Some(id));
}

async fn an_orderly_stop_deletes_the_keys_at_once(world: World) {
    let keeper = keep(&world, 60, Gate::Open);
    let id = held(&mut keeper.state()).await;
    put(&world.direct, "/l/a", "1", LeaseRule::Attach(id)).await;
    keeper.revoke(PATIENCE).await.unwrap();
    assert_eq!(world.direct.get(&"/l/a".into()).await.unwrap().0, None);
    // With etcd away it gives up in time.
    let keeper = keep(&world, 60, Gate::Open);
    held(&mut keeper.state()).await;
    world.proxy.set(Mode::BlackHole);
    let begun = Instant::now();
    keeper.revoke(Duration::from_millis(300)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

async fn a_dropped_keeper_lets_the_lease_run_out(world: World) {
    let keeper = keep(&world, 2, Gate::Open);
    let id = held(&mut keeper.state()).await;
    drop(keeper);
    until("the lease is gone", async || {
        world
            .direct
            .lease_ttl(id, etcd::LeaseKeys::Omitted)
            .await
            .is_err()
    })
    .await;
}

async fn a_lease_is_granted_though_etcd_comes_late(world: World) {
    world.proxy.set(Mode::Refuse);
    let keeper = keep(&world, 5, Gate::Open);
    let mut state = keeper.state();
    let refused = |state: &LeaseState| matches!(state, LeaseState::Lost { cause, .. } if cause.contains("refused"));
    tokio::time::timeout(PATIENCE, state.wait_for(refused))
        .await
        .unwrap()
        .unwrap();
    world.proxy.set(Mode::Forward);
    held(&mut state).await;
}

async fn a_wiped_store_gives_a_new_lease(mut world: World) {
    let keeper = keep(&world, 3, Gate::Open);
    let mut state = keeper.state();
    let id = held(&mut state).await;
    world.wipe().await;
    another(&mut state, id).await;
}

/// etcd serves a keepalive stream in order, and one slow lease would hold up the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lease_is_kept_on_one_stream_of_its_own() {
    let world = World::real().await;
    let Server::Real(etcd) = &world.server else {
        unreachable!()
    };
    let keepers = [2, 2, 2].map(|seconds| keep(&world, seconds, Gate::Open));
    for keeper in &keepers {
        let mut state = keeper.state();
        held(&mut state).await;
        let first = deadline(&state);
        let later = |state: &LeaseState| matches!(state, LeaseState::Held { deadline, .. } if *deadline > first + Duration::from_secs(3));
        tokio::time::timeout(PATIENCE, state.wait_for(later))
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(begun(etcd, "LeaseKeepAlive").await, 3);
}

/// A new leader does not know when a lease was last kept alive: each gets its whole time again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_gives_a_lease_its_whole_time_again() {
    let cluster = tests::realetcd::Cluster::start().await;
    let client = crate::world::patient(&cluster.endpoints());
    let lease = client.lease_grant(Duration::from_secs(60)).await.unwrap();
    let left = async || {
        let info = client.lease_ttl(lease.id, etcd::LeaseKeys::Omitted).await;
        info.unwrap().ttl.unwrap()
    };
    until("some of it has passed", async || left().await <= 52).await;
    let leader = cluster.leader().await;
    cluster.members[leader].kill();
    cluster.leader_beside(&[leader]).await;
    until("all of it is left", async || left().await >= 54).await;
    client.lease_revoke(lease.id).await.unwrap();
}
