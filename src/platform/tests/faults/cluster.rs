//! Three members: one of them lost in every way, and the majority.

use std::time::Instant;

use tests::realetcd::Cluster;

use crate::fleet::{Fleet, Ways};
use crate::ledger::History;

async fn fleet(cluster: &Cluster) -> Fleet {
    let ways = Ways {
        fleet: cluster.endpoints(),
        direct: cluster.endpoints(),
        ..Ways::default()
    };
    Fleet::start(ways).await
}

/// Nobody can hear of a change sooner than it is written, and a write that was on its way to a lost
/// member takes until etcd gives it up.
async fn change(fleet: &Fleet, since: Instant, fault: &str) {
    fleet.change().await;
    println!("{fault}: written after {:.2?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_survived_and_may_come_back() {
    let cluster = Cluster::start().await;
    let fleet = fleet(&cluster).await;
    let leader = &cluster.members[cluster.leader().await];
    let since = Instant::now();
    leader.kill();
    change(&fleet, since, "cluster: leader killed").await;
    fleet
        .survives(since, "cluster: leader killed", History::Whole)
        .await;
    leader.revive();
    leader.ready().await;
    fleet
        .survives(
            Instant::now(),
            "cluster: the killed member is back",
            History::Whole,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_is_survived_and_may_come_back() {
    let cluster = Cluster::start().await;
    let fleet = fleet(&cluster).await;
    let leader = &cluster.members[cluster.leader().await];
    let since = Instant::now();
    leader.freeze();
    change(&fleet, since, "cluster: leader paused").await;
    fleet
        .survives(since, "cluster: leader paused", History::Whole)
        .await;
    let since = Instant::now();
    leader.thaw();
    change(&fleet, since, "cluster: the paused member goes on").await;
    fleet
        .survives(since, "cluster: the paused member goes on", History::Whole)
        .await;
}

/// The member answers its clients, and knows nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_leader_is_survived_and_may_come_back() {
    let cluster = Cluster::start_divisible().await;
    let fleet = fleet(&cluster).await;
    let leader = cluster.leader().await;
    let since = Instant::now();
    cluster.isolate(&[leader]).await;
    change(&fleet, since, "cluster: leader partitioned").await;
    fleet
        .survives(since, "cluster: leader partitioned", History::Whole)
        .await;
    let since = Instant::now();
    cluster.isolate(&[]).await;
    change(&fleet, since, "cluster: the partition ends").await;
    fleet
        .survives(since, "cluster: the partition ends", History::Whole)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_majority_stops_writes_and_comes_back() {
    let cluster = Cluster::start().await;
    let fleet = fleet(&cluster).await;
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    for lost in [leader, other] {
        cluster.members[lost].kill();
    }
    let noticed = fleet.notices().await;
    println!("cluster: majority lost: noticed after {noticed:.2?}");
    for lost in [leader, other] {
        cluster.members[lost].revive();
    }
    for member in &cluster.members {
        member.ready().await;
    }
    let since = Instant::now();
    change(&fleet, since, "cluster: majority lost and back").await;
    fleet
        .survives(since, "cluster: majority lost and back", History::Whole)
        .await;
}
