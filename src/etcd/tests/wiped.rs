//! Mirrors over a store that loses its data: what is gone is told as gone, whatever the new store's
//! revisions are by the time it is seen.

use tests::proxy::Mode;

use crate::observer::Observer;
use crate::world::{World, prefix};

crate::on_both!(
    a_wiped_store_is_told_as_deletes,
    a_wiped_store_that_grew_past_the_position_is_noticed,
    a_wiped_store_is_noticed_though_the_newest_key_was_deleted,
    a_wiped_store_is_noticed_though_nothing_was_held,
    a_key_at_the_same_revision_of_another_store_is_told_anew,
    a_wiped_store_that_compacted_its_history_is_noticed,
);

const PREFIX: &str = "/m/";

/// A mirror that is cut off and sees the store again, without its data and `grown` revisions later.
async fn away_and_wiped(
    world: &mut World,
    seen: &mut Observer,
    first: &[(&str, &str)],
    grown: usize,
) {
    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    seen.wiped = true;
    world.wipe().await;
    for (key, value) in first {
        world.put(key, value).await;
    }
    // Other keys take the place of ours in the revisions, and more.
    for step in 0..grown {
        world.put("/elsewhere", &step.to_string()).await;
    }
}

async fn back(world: &World, seen: &mut Observer) {
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    seen.agrees_with(&world.direct, &prefix(PREFIX)).await;
}

async fn a_wiped_store_is_told_as_deletes(mut world: World) {
    for key in ["/m/a", "/m/b", "/m/c"] {
        world.put(key, "old").await;
    }
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    seen.wiped = true;
    world.wipe().await;
    world.put("/m/b", "new").await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    seen.agrees_with(&world.direct, &prefix(PREFIX)).await;
    assert_eq!(seen.value("/m/b"), Some("new"));
    let last = world.put("/m/c", "new").await;
    seen.until("followed", |seen| seen.value("/m/c") == Some("new"))
        .await;
    assert_eq!(seen.last, Some(last));
}

async fn a_wiped_store_that_grew_past_the_position_is_noticed(mut world: World) {
    for key in ["/m/a", "/m/b"] {
        world.put(key, "old").await;
    }
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    seen.wiped = true;
    world.wipe().await;
    // Other keys take the place of ours in the revisions, and more.
    for step in 0..20 {
        world.put("/elsewhere", &step.to_string()).await;
    }
    world.put("/m/b", "new").await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    assert_eq!(seen.value("/m/a"), None);
    seen.agrees_with(&world.direct, &prefix(PREFIX)).await;
}

async fn a_wiped_store_is_noticed_though_the_newest_key_was_deleted(mut world: World) {
    for key in ["/m/a", "/m/b"] {
        world.put(key, "old").await;
    }
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    let last = world.delete("/m/b").await;
    seen.until_at(last).await;
    away_and_wiped(&mut world, &mut seen, &[], 20).await;
    back(&world, &mut seen).await;
    assert_eq!(seen.value("/m/a"), None, "a phantom");
    assert_eq!(seen.others, 1);
    let last = world.put("/m/c", "new").await;
    seen.until_at(last).await;
}

async fn a_wiped_store_is_noticed_though_nothing_was_held(mut world: World) {
    for step in 0..5 {
        world.put("/elsewhere", &step.to_string()).await;
    }
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    away_and_wiped(&mut world, &mut seen, &[("/m/a", "new")], 20).await;
    back(&world, &mut seen).await;
    assert_eq!(seen.value("/m/a"), Some("new"), "written before we resumed");
    assert_eq!(seen.others, 1);
}

async fn a_key_at_the_same_revision_of_another_store_is_told_anew(mut world: World) {
    let before = world.put("/m/a", "old").await;
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    away_and_wiped(&mut world, &mut seen, &[("/m/a", "new")], 20).await;
    let (found, _) = world.direct.get(&"/m/a".into()).await.unwrap();
    assert_eq!(found.unwrap().mod_revision, before);
    back(&world, &mut seen).await;
    assert_eq!(seen.value("/m/a"), Some("new"));
    assert_eq!(seen.others, 1);
}

async fn a_wiped_store_that_compacted_its_history_is_noticed(mut world: World) {
    for key in ["/m/a", "/m/b"] {
        world.put(key, "old").await;
    }
    let mut seen = Observer::new(&world.client, &prefix(PREFIX));
    seen.until_fresh().await;
    away_and_wiped(&mut world, &mut seen, &[("/m/b", "new")], 20).await;
    world.compact().await;
    back(&world, &mut seen).await;
    assert_eq!(seen.value("/m/a"), None);
    assert_eq!(seen.others, 1);
}
