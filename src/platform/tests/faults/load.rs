//! More than anybody needs: twenty thousand registrations of one name, five thousand changes a
//! second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd::ListOptions;
use fleet::{Edit, Entry, Key, Prefix, Revision, Seen, ServiceName};
use platform::discover::ServiceView;
use tests::proxy::Mode;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::fleet::{Fleet, eventually};
use crate::ledger::History;
use crate::restart::alone;

const CROWD: usize = 20_000;

/// As many keys as fit into one transaction.
const AT_ONCE: usize = 120;

/// Changes of single keys in a second, in transactions of a hundred.
const FLOOD: usize = 5_000;
const FLOODED: usize = 100;

/// Waits until a view has exactly what stands in etcd.
async fn whole(fleet: &Fleet, view: &watch::Receiver<Arc<ServiceView>>) {
    let crowd = Prefix::new("/services/crowd/").unwrap();
    eventually("the whole crowd is known", async || {
        let listing = fleet.direct.list(&crowd, ListOptions::default()).await;
        let listed = listing.ok()?.entries;
        let view = view.borrow().clone();
        let known = view
            .instances
            .iter()
            .map(|one| (&one.key, one.mod_revision));
        let same = known.eq(listed.iter().map(|entry| (&entry.key, entry.mod_revision)));
        (same && view.knowledge.doubt().is_none()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_registrations_of_one_name_are_known_and_forgotten() {
    let (_etcd, proxy, fleet) = alone(&[]).await;
    let caller = fleet.caller.clone();
    let crowd = ServiceName::new("crowd").unwrap();
    let view = fleet.within(async move { caller.instances(&crowd) }).await;
    let view = view.unwrap();
    let keys: Vec<Key> = (0..CROWD)
        .map(|number| format!("/services/crowd/c-{number:05}").as_str().into())
        .collect();
    let record = |key: &Key| {
        let id = key.as_str().unwrap().rsplit('/').next().unwrap();
        fleet.record("crowd", id, 1)
    };
    let begun = Instant::now();
    for keys in keys.chunks(AT_ONCE) {
        let put = |key: &Key| Edit::put(key.clone(), Seen::Absent, record(key));
        fleet.commit(keys.iter().map(put).collect()).await.unwrap();
    }
    println!("{CROWD} registrations written in {:.2?}", begun.elapsed());
    let begun = Instant::now();
    whole(&fleet, &view).await;
    println!(
        "{CROWD} registrations: known {:.2?} after the last",
        begun.elapsed()
    );
    proxy.cut();
    let begun = Instant::now();
    fleet.change().await;
    whole(&fleet, &view).await;
    fleet
        .survives(
            begun,
            "20,000 registrations, connections dropped",
            History::Whole,
        )
        .await;
    // All go while nobody is told.
    proxy.set(Mode::Refuse);
    fleet.notices().await;
    for keys in keys.chunks(AT_ONCE) {
        fleet.delete(keys).await;
    }
    let since = Instant::now();
    proxy.set(Mode::Forward);
    whole(&fleet, &view).await;
    assert!(view.borrow().instances.is_empty());
    fleet
        .survives(since, "20,000 registrations gone at once", History::Whole)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_changes_is_followed_to_its_last() {
    let (_etcd, _proxy, fleet) = alone(&[]).await;
    let rounds = 3 * FLOOD / FLOODED;
    let mut pace = interval(Duration::from_millis((1000 * FLOODED / FLOOD) as u64));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    let mut last = 0;
    let mut seen: Vec<Seen> = Vec::new();
    for _ in 0..rounds {
        pace.tick().await;
        last = fleet.next_number();
        let mut puts = fleet.edits(last);
        let more = FLOODED - puts.len();
        puts.extend((0..more).map(|key| flooded(key, last)));
        let at = if seen.is_empty() {
            fleet.write(&puts).await
        } else {
            let edits = puts.iter().zip(seen);
            let edit = |((key, value), seen): (&(Key, Vec<u8>), Seen)| {
                Edit::put(key.clone(), seen, value.clone())
            };
            let at = fleet.commit(edits.map(edit).collect()).await.unwrap();
            fleet.wrote_number(at);
            at
        };
        // Nobody else writes them: they need not be read before they are written again.
        seen = puts.into_iter().map(|put| standing(put, at)).collect();
    }
    let took = begun.elapsed();
    let rate = (rounds * FLOODED) as f64 / took.as_secs_f64();
    let since = Instant::now();
    let converged = fleet.converges(since, "a flood").await;
    println!("flood of {rate:.0} changes/s for {took:.2?}: converged in {converged}");
    for user in &fleet.users {
        for key in 0..FLOODED - 4 {
            let value = user.platform.config().u64(&format!("flood.k{key}"));
            assert_eq!(value.unwrap(), last);
        }
    }
    fleet
        .survives(Instant::now(), "after the flood", History::Whole)
        .await;
}

fn flooded(key: usize, number: u64) -> (Key, Vec<u8>) {
    let key = format!("/config/user/flood.k{key}");
    (key.as_str().into(), number.to_string().into_bytes())
}

fn standing((key, value): (Key, Vec<u8>), at: Revision) -> Seen {
    Seen::At(Entry {
        key,
        value: value.into(),
        create_revision: at,
        mod_revision: at,
        version: 1,
        lease: None,
    })
}
