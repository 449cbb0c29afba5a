//! etcd itself dies, and comes back as it was or empty.

use std::time::Instant;

use tests::proxy::{Mode, Proxy};
use tests::realetcd::RealEtcd;

use crate::fleet::{Fleet, Ways};
use crate::ledger::History;

/// One etcd, a proxy before it, a fleet behind.
pub(crate) async fn alone(extra: &[&str]) -> (RealEtcd, Proxy, Fleet) {
    let etcd = RealEtcd::start_with(extra).await;
    let proxy = Proxy::start(etcd.address()).await;
    let ways = Ways {
        fleet: vec![proxy.endpoint()],
        direct: vec![etcd.endpoint()],
        ..Ways::default()
    };
    let fleet = Fleet::start(ways).await;
    (etcd, proxy, fleet)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_was_killed_comes_back_with_its_data() {
    let (etcd, _proxy, fleet) = alone(&[]).await;
    etcd.kill();
    fleet.notices().await;
    etcd.revive();
    etcd.ready().await;
    let since = Instant::now();
    fleet.change().await;
    fleet
        .survives(since, "etcd killed and restarted", History::Whole)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_was_killed_comes_back_without_its_data() {
    let (etcd, _proxy, fleet) = alone(&[]).await;
    etcd.wipe().await;
    let since = Instant::now();
    fleet.change().await;
    fleet
        .survives(since, "etcd restarted without its data", History::Broken)
        .await;
}

/// While the fleet is away, another store takes the place of the old one: other values under the
/// same keys, at revisions that the old one had too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_store_in_the_place_of_the_old_one_is_noticed() {
    let (etcd, proxy, fleet) = alone(&[]).await;
    let before = [("/config/user/before".into(), b"1".to_vec())];
    fleet.write(&before).await;
    fleet
        .converges(Instant::now(), "a key of the first store")
        .await;
    proxy.set(Mode::Refuse);
    fleet.notices().await;
    etcd.wipe().await;
    while etcd.revision().await < 100 {
        fleet.change().await;
    }
    let since = Instant::now();
    proxy.set(Mode::Forward);
    fleet
        .survives(
            since,
            "etcd wiped, and grown past what was",
            History::Broken,
        )
        .await;
    for user in &fleet.users {
        let left = user.platform.config().u64("before");
        assert!(left.is_err(), "a value of the first store: {left:?}");
    }
}
