//! What people and time do to etcd's content: history compacted, keys deleted, leases revoked.

use std::time::Instant;

use fleet::LeaseId;
use platform::register::RegistrationState;
use tests::proxy::Mode;

use crate::fleet::{Fleet, GUEST};
use crate::ledger::History;
use crate::restart::alone;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_that_was_compacted_meanwhile_is_made_up_for() {
    let (etcd, proxy, fleet) = alone(&[]).await;
    proxy.set(Mode::Refuse);
    fleet.notices().await;
    for _ in 0..3 {
        fleet.change().await;
    }
    // A deletion that no watch will ever tell of.
    fleet.delete(&[GUEST.into()]).await;
    etcd.compact().await;
    let since = Instant::now();
    proxy.set(Mode::Forward);
    fleet
        .survives(since, "history compacted while away", History::Gapped)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_deleted_by_hand_is_put_again() {
    let (_etcd, _proxy, fleet) = alone(&[]).await;
    let keys: Vec<_> = fleet.users.iter().map(|user| user.key.clone()).collect();
    let since = Instant::now();
    fleet.delete(&keys).await;
    fleet
        .survives(since, "records deleted by hand", History::Whole)
        .await;
}

pub(crate) fn lease(fleet: &Fleet, user: usize) -> LeaseId {
    let state = fleet.users[user].serving.registration().unwrap();
    let state = state.borrow().clone();
    match state {
        RegistrationState::Registered { lease, .. } => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_revoked_by_hand_is_granted_anew() {
    let (_etcd, _proxy, fleet) = alone(&[]).await;
    let before = lease(&fleet, 0);
    let since = Instant::now();
    fleet.direct.lease_revoke(before).await.unwrap();
    fleet
        .survives(since, "lease revoked by hand", History::Whole)
        .await;
    assert_ne!(lease(&fleet, 0), before);
}
