//! Mirrors: complete, in order, once each; whatever happens to the connection and to history.

use std::time::{Duration, Instant};

use etcd::{MirrorEvent, MirrorOptions};
use fleet::{Edit, Revision};
use tests::proxy::Mode;

use crate::observer::Observer;
use crate::world::{Server, World, applied, begun, create, prefix, until};

crate::on_both!(
    a_mirror_lists_and_follows,
    a_transaction_arrives_as_one_change,
    etcd_may_come_later_than_the_mirror,
    a_loss_behind_the_listing_is_told_again,
    a_missing_proof_of_progress_is_a_loss,
    a_silent_member_is_asked_for_a_sign_of_life,
    a_cut_connection_misses_and_doubles_nothing,
    a_black_hole_is_noticed_and_survived,
    a_compaction_while_away_is_healed_by_the_difference,
    a_compaction_under_an_idle_mirror_changes_nothing,
    a_slow_reader_gets_everything,
    a_reader_slower_than_a_proof_is_no_loss,
    a_large_revision_arrives_whole,
    a_reader_that_stalls_past_a_compaction_gets_the_truth,
    freshness_is_proved_again_and_again,
    a_dropped_mirror_ends,
);

const PREFIX: &str = "/m/";

async fn a_mirror_lists_and_follows(world: World) {
    world.put("/m/a", "1").await;
    world.put("/other", "x").await;
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    assert!(matches!(seen.next().await, MirrorEvent::Listed { entries, .. } if entries.len() == 1));
    seen.until_fresh().await;
    world.put("/m/b", "2").await;
    world.put("/other", "y").await;
    world.put("/m/a", "3").await;
    let last = world.delete("/m/b").await;
    seen.until_at(last).await;
    assert_eq!(seen.batches.len(), 3);
    assert_eq!(seen.value("/m/a"), Some("3"));
    seen.agrees_with(&world.direct, &prefix(PREFIX)).await;
    assert_eq!(seen.stale, [""; 0]);
}

async fn a_transaction_arrives_as_one_change(world: World) {
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    let edits = (0..100).map(|i| create(&format!("/m/{i}"), "1"));
    let revision = applied(&world.direct, edits).await;
    seen.until_at(revision).await;
    assert_eq!(seen.batches, [(revision, 100)]);
}

async fn etcd_may_come_later_than_the_mirror(world: World) {
    world.proxy.set(Mode::Refuse);
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    let MirrorEvent::Stale { cause } = seen.next().await else {
        panic!("not stale at first");
    };
    // What reached the listener just before it closed is reset; another wording of the same loss is
    // not told.
    let refused = ["connection refused", "connection reset"];
    assert!(refused.iter().any(|one| cause.contains(one)), "{cause}");
    assert!(cause.contains(&world.proxy.endpoint()), "{cause}");
    world.put("/m/a", "1").await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    assert_eq!(seen.value("/m/a"), Some("1"));
    assert_eq!(seen.stale.len(), 1);
}

/// Also where no proof of progress came through in between: a listing is news of an etcd that is
/// there, and a reader that was told of it would believe it for ever.
async fn a_loss_behind_the_listing_is_told_again(world: World) {
    world.proxy.set(Mode::Refuse);
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    assert!(matches!(seen.next().await, MirrorEvent::Stale { .. }));
    world.proxy.set(Mode::Forward);
    assert!(matches!(seen.next().await, MirrorEvent::Listed { .. }));
    world.proxy.set(Mode::BlackHole);
    seen.until("told again", |seen| seen.stale.len() > 1).await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
}

async fn a_cut_connection_misses_and_doubles_nothing(world: World) {
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    let mut written = Vec::new();
    for round in 0..4 {
        for step in 0..10 {
            written.push(world.put("/m/a", &format!("{round}.{step}")).await);
            if step == 5 {
                world.proxy.cut();
            }
        }
    }
    seen.until_at(*written.last().unwrap()).await;
    let given: Vec<Revision> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written);
    seen.until_fresh().await;
    assert!(!seen.stale.is_empty(), "a cut shows");
    assert!(world.proxy.accepted() < 40, "{}", world.proxy.accepted());
}

async fn a_black_hole_is_noticed_and_survived(world: World) {
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    let before = world.proxy.accepted();
    world.proxy.set(Mode::BlackHole);
    let begun = Instant::now();
    let mut written = Vec::new();
    for step in 0..10 {
        written.push(world.put("/m/a", &step.to_string()).await);
    }
    seen.until("stale", |seen| !seen.fresh).await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    world.proxy.set(Mode::Forward);
    seen.until_at(*written.last().unwrap()).await;
    let given: Vec<Revision> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written);
    seen.until_fresh().await;
    assert!(world.proxy.accepted() - before < 40);
}

async fn a_compaction_while_away_is_healed_by_the_difference(world: World) {
    for key in ["/m/kept", "/m/changed", "/m/deleted"] {
        world.put(key, "old").await;
    }
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    world.put("/m/changed", "newer").await;
    world.put("/m/changed", "newest").await;
    world.put("/m/fleeting", "x").await;
    world.delete("/m/fleeting").await;
    world.delete("/m/deleted").await;
    world.put("/m/created", "new").await;
    world.compact().await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    assert_eq!(seen.batches.len(), 1, "{:?}", seen.batches);
    assert_eq!(seen.batches[0].1, 3, "a put, a create and a delete");
    seen.agrees_with(&world.direct, &prefix(PREFIX)).await;
    let last = world.put("/m/after", "1").await;
    seen.until_at(last).await;
    assert_eq!(seen.batches.len(), 2);
}

async fn a_compaction_under_an_idle_mirror_changes_nothing(world: World) {
    world.put("/m/a", "1").await;
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    for step in 0..5 {
        world.put("/elsewhere", &step.to_string()).await;
    }
    world.compact().await;
    world.proxy.cut();
    seen.until("stale", |seen| !seen.fresh).await;
    seen.until_fresh().await;
    assert_eq!(seen.batches, [], "nothing of the prefix changed");
    let last = world.put("/m/a", "2").await;
    seen.until_at(last).await;
    assert_eq!(seen.batches, [(last, 1)]);
}

async fn a_slow_reader_gets_everything(world: World) {
    let options = MirrorOptions {
        capacity: 1,
        ..MirrorOptions::default()
    };
    let mut seen = Observer::with(&world.client, &prefix(PREFIX), options);
    seen.until_fresh().await;
    let value = "x".repeat(20_000);
    let mut written = Vec::new();
    for step in 0..300 {
        written.push(world.put("/m/a", &format!("{step}{value}")).await);
    }
    seen.until_at(*written.last().unwrap()).await;
    let given: Vec<Revision> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written);
}

/// While the reader blocks, the answer to a proof lies unread; that is not the member's silence.
async fn a_reader_slower_than_a_proof_is_no_loss(world: World) {
    let options = MirrorOptions {
        capacity: 1,
        progress_interval: Duration::from_millis(20),
        progress_timeout: Duration::from_millis(200),
        ..MirrorOptions::default()
    };
    let mut seen = Observer::with(&world.client, &prefix(PREFIX), options);
    seen.until_fresh().await;
    let mut written = Vec::new();
    for round in 0..4 {
        // Nobody reads for several times as long as a proof may take.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(700) {
            written.push(
                world
                    .put("/m/a", &format!("{round} {}", written.len()))
                    .await,
            );
        }
        seen.until_at(*written.last().unwrap()).await;
    }
    let given: Vec<Revision> = seen.batches.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(given, written);
    assert_eq!(seen.stale, [""; 0], "the member answered all the time");
}

async fn a_large_revision_arrives_whole(world: World) {
    let value = "x".repeat(12_000);
    let edits = (0..120).map(|i| create(&format!("/m/{i:03}"), &value));
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    let revision = applied(&world.direct, edits).await;
    seen.until_at(revision).await;
    // Two such revisions at once are more than etcd puts into one message.
    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    let listing = world
        .direct
        .list(&prefix(PREFIX), Default::default())
        .await
        .unwrap();
    let again = |entries: Vec<fleet::Entry>, value: String| {
        entries
            .into_iter()
            .map(move |entry| {
                Edit::put(entry.key.clone(), fleet::Seen::At(entry), value.as_bytes())
            })
            .collect::<Vec<_>>()
    };
    let second = applied(&world.direct, again(listing.entries, "y".repeat(12_000))).await;
    let listing = world
        .direct
        .list(&prefix(PREFIX), Default::default())
        .await
        .unwrap();
    let third = applied(&world.direct, again(listing.entries, "z".repeat(12_000))).await;
    world.proxy.set(Mode::Forward);
    seen.until_at(third).await;
    assert_eq!(seen.batches, [(revision, 120), (second, 120), (third, 120)]);
}

async fn freshness_is_proved_again_and_again(world: World) {
    let options = MirrorOptions {
        progress_interval: Duration::from_millis(200),
        ..MirrorOptions::default()
    };
    let mut seen = Observer::with(&world.client, &prefix(PREFIX), options);
    seen.until_fresh().await;
    let elsewhere = world.put("/elsewhere", "1").await;
    // Nothing under the prefix changes, and yet the proof moves on.
    seen.until("a later proof", |seen| seen.freshest >= elsewhere)
        .await;
    assert!(seen.stale.is_empty(), "by a new watch: {:?}", seen.stale);
}

async fn a_dropped_mirror_ends(world: World) {
    let seen = Observer::new(&world.client, &prefix(PREFIX));
    let mut kept = Observer::new(&world.client, &prefix("/kept/"));
    kept.until_fresh().await;
    if let Server::Real(etcd) = &world.server {
        until("two watches", async || watchers(etcd).await == 2).await;
        drop(seen);
        until("one watch", async || watchers(etcd).await == 1).await;
    } else {
        drop(seen);
    }
    drop(kept);
    let (mirror, events) = etcd::Mirror::spawn(
        world.client.clone(),
        prefix(PREFIX),
        MirrorOptions::default(),
    );
    drop(events);
    drop(mirror);
}

/// Whatever waits in buffers when the reader goes on, and whatever was compacted under it.
async fn a_reader_that_stalls_past_a_compaction_gets_the_truth(world: World) {
    let options = MirrorOptions {
        capacity: 1,
        ..MirrorOptions::default()
    };
    let mut seen = Observer::with(&world.client, &prefix(PREFIX), options);
    seen.until_fresh().await;
    // More than the stream's window holds.
    let value = "x".repeat(100_000);
    for step in 0..100 {
        world
            .put(&format!("/m/{}", step % 7), &format!("{step}{value}"))
            .await;
    }
    world.delete("/m/3").await;
    world.compact().await;
    let last = world.put("/m/last", "1").await;
    seen.until_at(last).await;
    seen.agrees_with(&world.direct, &prefix(PREFIX)).await;
    assert_eq!(seen.others, 0);
    let after = world.put("/m/after", "1").await;
    seen.until_at(after).await;
}

/// Hundreds of watches starve etcd: a prefix costs one, and the prefixes of a scope share a stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_prefix_is_one_watch_and_each_mirror_one_stream() {
    let world = World::real().await;
    let Server::Real(etcd) = &world.server else {
        unreachable!()
    };
    let scope = etcd::Scope::new(prefix("/m/"), [prefix("/n/"), prefix("/m/within/")]);
    let mut seen = Observer::over(&world.client, scope, MirrorOptions::default());
    seen.until_fresh().await;
    let mut other = Observer::new(&world.client, &prefix("/o/"));
    other.until_fresh().await;
    for key in ["/m/a", "/n/a", "/m/within/a"] {
        let written = world.put(key, "1").await;
        seen.until_at(written).await;
    }
    assert_eq!(watchers(etcd).await, 3);
    assert_eq!(begun(etcd, "Watch").await, 2);
}

/// How many watches a real etcd serves: each prefix is one.
async fn watchers(etcd: &tests::realetcd::RealEtcd) -> u64 {
    let metrics = etcd.http("/metrics").await.unwrap_or_default();
    metrics
        .lines()
        .find_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "))
        .and_then(|count| count.parse().ok())
        .unwrap_or(u64::MAX)
}

/// An idle watch that proves nothing for long is still known to stand on a member that lives.
async fn a_silent_member_is_asked_for_a_sign_of_life(world: World) {
    let options = MirrorOptions {
        progress_interval: Duration::from_secs(600),
        ..MirrorOptions::default()
    };
    let mut seen = Observer::with(&world.client, &prefix(PREFIX), options);
    seen.until_fresh().await;
    world.proxy.set(Mode::BlackHole);
    let begun = Instant::now();
    seen.until("stale", |seen| !seen.fresh).await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
}

/// Below all that, HTTP/2 pings end a connection that nothing comes back on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_connection_is_found_by_pings_at_last() {
    let world = World::real().await;
    let mut settings = etcd::Settings::new([world.proxy.endpoint()]);
    settings.heartbeat = Duration::from_secs(600);
    let client = etcd::Client::new(settings).unwrap();
    let options = MirrorOptions {
        progress_interval: Duration::from_secs(600),
        ..MirrorOptions::default()
    };
    let mut seen = Observer::with(&client, &prefix(PREFIX), options);
    seen.until_fresh().await;
    world.proxy.set(Mode::BlackHole);
    seen.until("stale", |seen| !seen.fresh).await;
}

/// Without any other sign of life asked for, the proof of progress alone finds the black hole.
async fn a_missing_proof_of_progress_is_a_loss(world: World) {
    let mut settings = etcd::Settings::new([world.proxy.endpoint()]);
    settings.heartbeat = Duration::from_secs(600);
    let client = etcd::Client::new(settings).unwrap();
    let options = MirrorOptions {
        progress_interval: Duration::from_millis(300),
        progress_timeout: Duration::from_millis(700),
        ..MirrorOptions::default()
    };
    let mut seen = Observer::with(&client, &prefix(PREFIX), options);
    seen.until_fresh().await;
    world.proxy.set(Mode::BlackHole);
    seen.until("stale", |seen| !seen.fresh).await;
    assert!(
        seen.stale[0].contains("no proof of progress"),
        "{:?}",
        seen.stale
    );
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
}

/// The watch itself is told of a compaction: after it was created, and without a reason.
#[tokio::test]
async fn a_compaction_between_listing_and_watching_is_healed() {
    let (_server, client, honest) = crate::interposer::compacted_before_the_watch("/m/a");
    let mut seen = Observer::new(&client, &prefix(PREFIX));
    seen.until_fresh().await;
    assert_eq!(seen.value("/m/a"), Some("last"));
    seen.agrees_with(&honest, &prefix(PREFIX)).await;
    assert_eq!(seen.stale, [""; 0], "a new listing is no loss");
}

/// A proof that runs ahead of the events behind it must not make the mirror skip them.
#[tokio::test]
async fn a_proof_of_progress_moves_no_position() {
    let (_server, client, honest) = crate::interposer::ahead_of_itself(1_000_000);
    let mut seen = Observer::new(&client, &prefix(PREFIX));
    seen.until("the forged proof", |seen| {
        seen.freshest == Revision(1_000_000)
    })
    .await;
    let written = applied(&honest, [create("/m/a", "1")]).await;
    seen.until_at(written).await;
    assert_eq!(seen.batches, [(written, 1)]);
}
