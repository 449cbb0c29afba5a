//! Mirrors of several prefixes: what one revision did to all of them arrives as one change.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd::{MirrorEvent, MirrorOptions, Scope};
use fleet::{Edit, Prefix, Revision};
use tests::proxy::Mode;

use crate::observer::Observer;
use crate::world::{World, applied, create, prefix};

crate::on_both!(
    several_prefixes_are_listed_at_one_revision_in_order,
    a_revision_that_touches_two_prefixes_arrives_whole,
    a_change_of_one_prefix_does_not_wait_for_the_other,
    halves_meet_while_many_write,
    a_cut_connection_tears_no_revision_apart,
    a_compaction_while_away_is_healed_as_one_change,
    a_wiped_store_is_told_for_all_prefixes,
);

fn prefixes() -> Vec<Prefix> {
    ["/g/", "/s/"].map(prefix).to_vec()
}

/// A mirror whose regular proofs are far apart: nothing here may wait for one.
fn observe(world: &World) -> Observer {
    observe_with(world, Duration::from_secs(600))
}

fn observe_with(world: &World, progress_interval: Duration) -> Observer {
    let scope = Scope::new(prefix("/s/"), [prefix("/g/")]);
    let options = MirrorOptions {
        progress_interval,
        page: 2,
        ..MirrorOptions::default()
    };
    Observer::over(&world.client, scope, options)
}

async fn several_prefixes_are_listed_at_one_revision_in_order(world: World) {
    for key in ["/s/c", "/s/a", "/m/elsewhere", "/g/b", "/s/b", "/g/a"] {
        world.put(key, "1").await;
    }
    let mut seen = observe(&world);
    let MirrorEvent::Listed { revision, entries } = seen.next().await else {
        panic!("not listed first");
    };
    let keys: Vec<String> = entries.iter().map(|one| one.key.to_string()).collect();
    assert_eq!(keys, ["/g/a", "/g/b", "/s/a", "/s/b", "/s/c"]);
    assert_eq!(revision, world.direct.get(&"/".into()).await.unwrap().1);
    seen.until_fresh().await;
    let last = world.put("/m/elsewhere", "2").await;
    let after = world.put("/g/a", "2").await;
    seen.until_at(after).await;
    assert_eq!(seen.batches, [(after, 1)], "nothing of {last}");
}

async fn a_revision_that_touches_two_prefixes_arrives_whole(world: World) {
    let mut seen = observe(&world);
    seen.until_fresh().await;
    let mut written = Vec::new();
    for step in 0..40 {
        let (g, s) = (format!("/g/{step}"), format!("/s/{step}"));
        let both = applied(&world.direct, [create(&s, "1"), create(&g, "1")]).await;
        written.push((both, 2));
        written.push((world.put(&g, "2").await, 1));
        written.push((world.delete(&s).await, 1));
        let (found, _) = world.direct.get(&g.as_str().into()).await.unwrap();
        let both = [
            Edit::delete(g.as_str().into(), found.into()),
            create(&s, "3"),
        ];
        written.push((applied(&world.direct, both).await, 2));
        seen.until_at(written[written.len() - 1].0).await;
    }
    assert_eq!(seen.batches, written);
    seen.agrees_with_all(&world.direct, &prefixes()).await;
    assert_eq!(seen.stale, [""; 0]);
}

async fn a_change_of_one_prefix_does_not_wait_for_the_other(world: World) {
    let mut seen = observe(&world);
    seen.until_fresh().await;
    for (step, key) in ["/g/a", "/s/a", "/s/a", "/g/a", "/g/b"].iter().enumerate() {
        let written = world.put(key, &step.to_string()).await;
        seen.until_at(written).await;
    }
    assert_eq!(seen.batches.len(), 5);
}

/// Three authors at once, one of whom writes to both prefixes: each of that one's revisions comes
/// whole, in its place among all the others.
async fn halves_meet_while_many_write(world: World) {
    let mut seen = observe(&world);
    seen.until_fresh().await;
    let authors = [&["/g/"][..], &["/s/"], &["/g/", "/s/"]].map(|prefixes| {
        let client = world.direct.clone();
        tokio::spawn(async move {
            let mut written = Vec::new();
            for step in 0..100 {
                let name = prefixes.len();
                let edits = prefixes
                    .iter()
                    .map(|prefix| create(&format!("{prefix}{name}.{step}"), "1"));
                written.push((applied(&client, edits).await, prefixes.len()));
            }
            written
        })
    });
    let mut expected = BTreeMap::new();
    for author in authors {
        expected.extend(author.await.unwrap());
    }
    let last = *expected.last_key_value().unwrap().0;
    seen.until_at(last).await;
    let expected: Vec<(Revision, usize)> = expected.into_iter().collect();
    assert_eq!(seen.batches, expected);
    seen.agrees_with_all(&world.direct, &prefixes()).await;
}

async fn a_cut_connection_tears_no_revision_apart(world: World) {
    let mut seen = observe(&world);
    seen.until_fresh().await;
    let mut written = Vec::new();
    for step in 0..40 {
        let keys = [format!("/g/{step}"), format!("/s/{step}")];
        let edits = keys.iter().map(|key| create(key, "1"));
        written.push((applied(&world.direct, edits).await, 2));
        if step % 10 == 5 {
            world.proxy.cut();
        }
    }
    seen.until_at(written[written.len() - 1].0).await;
    assert_eq!(seen.batches, written);
    seen.until_fresh().await;
    assert!(!seen.stale.is_empty(), "a cut shows");
}

async fn a_compaction_while_away_is_healed_as_one_change(world: World) {
    for key in ["/g/kept", "/s/kept", "/s/deleted"] {
        world.put(key, "old").await;
    }
    let mut seen = observe(&world);
    seen.until_fresh().await;
    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    applied(
        &world.direct,
        [create("/g/new", "1"), create("/s/new", "1")],
    )
    .await;
    world.delete("/s/deleted").await;
    world.put("/m/elsewhere", "1").await;
    world.compact().await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    assert_eq!(seen.batches.len(), 1, "{:?}", seen.batches);
    assert_eq!(seen.batches[0].1, 3);
    seen.agrees_with_all(&world.direct, &prefixes()).await;
    let keys = ["/g/after", "/s/after"].map(|key| create(key, "1"));
    let after = applied(&world.direct, keys).await;
    seen.until_at(after).await;
    assert_eq!(seen.batches[1..], [(after, 2)]);
}

async fn a_wiped_store_is_told_for_all_prefixes(mut world: World) {
    for key in ["/g/a", "/s/a", "/s/b"] {
        world.put(key, "old").await;
    }
    let mut seen = observe(&world);
    seen.until_fresh().await;
    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    seen.wiped = true;
    world.wipe().await;
    for step in 0..20 {
        world.put("/elsewhere", &step.to_string()).await;
    }
    world.put("/s/b", "new").await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    assert_eq!((seen.batches.len(), seen.others), (1, 1));
    seen.agrees_with_all(&world.direct, &prefixes()).await;
    assert_eq!(seen.state.len(), 1);
}
