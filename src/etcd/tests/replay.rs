//! What etcd's own history tells of a prefix, and what is said where it no longer tells.

use etcd::{Lost, Replay, ReplayOptions};
use fleet::{Change, Revision};
use tests::proxy::Mode;

use crate::world::{PATIENCE, World, prefix};

crate::on_both!(
    every_change_in_a_row_is_told,
    a_prefix_in_which_nothing_happened_has_no_history,
    what_was_compacted_is_said_and_what_stood_then_is_told,
    more_than_is_to_be_kept_is_cut_at_the_beginning,
    without_time_it_is_said_how_far_it_came_and_without_etcd_what_failed,
);

fn patient() -> ReplayOptions {
    ReplayOptions {
        time: PATIENCE,
        ..ReplayOptions::default()
    }
}

fn told(replay: &Replay) -> Vec<String> {
    let one = |change: &Change| match change {
        Change::Put(entry) => {
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            format!("{} = {value} at {}", entry.key, entry.mod_revision)
        }
        Change::Delete { key, revision } => format!("{key} gone at {revision}"),
    };
    replay.changes.iter().map(one).collect()
}

async fn every_change_in_a_row_is_told(world: World) {
    world.put("/p/stays", "s").await;
    let first = world.put("/p/a", "1").await;
    let second = world.put("/p/a", "2").await;
    world.put("/q/a", "another prefix").await;
    let gone = world.delete("/p/a").await;
    let last = world.put("/q/b", "another prefix").await;
    let replay = world
        .client
        .replay(&prefix("/p/"), patient())
        .await
        .unwrap();
    assert_eq!(
        told(&replay)[1..],
        [
            format!("/p/a = 1 at {first}"),
            format!("/p/a = 2 at {second}"),
            format!("/p/a gone at {gone}"),
        ]
    );
    assert_eq!((replay.lost, replay.after), (None, Revision::ZERO));
    assert_eq!((replay.through, replay.current), (last, last));
}

async fn a_prefix_in_which_nothing_happened_has_no_history(world: World) {
    let last = world.put("/q/a", "another prefix").await;
    let replay = world
        .client
        .replay(&prefix("/p/"), patient())
        .await
        .unwrap();
    assert_eq!((replay.changes.len(), replay.lost), (0, None));
    assert_eq!(replay.through, last);
}

async fn what_was_compacted_is_said_and_what_stood_then_is_told(world: World) {
    world.put("/p/a", "0").await;
    let stood = world.put("/p/a", "1").await;
    world.put("/p/b", "x").await;
    let compacted = world.delete("/p/b").await;
    world.compact().await;
    let replay = world
        .client
        .replay(&prefix("/p/"), patient())
        .await
        .unwrap();
    assert_eq!(told(&replay), [format!("/p/a = 1 at {stood}")]);
    assert_eq!(replay.lost, Some(Lost::Compacted));
    assert_eq!((replay.after, replay.through), (compacted, compacted));

    let next = world.put("/p/a", "2").await;
    let gone = world.delete("/p/a").await;
    let replay = world
        .client
        .replay(&prefix("/p/"), patient())
        .await
        .unwrap();
    assert_eq!(
        told(&replay),
        [
            format!("/p/a = 1 at {stood}"),
            format!("/p/a = 2 at {next}"),
            format!("/p/a gone at {gone}"),
        ]
    );
    assert_eq!((replay.after, replay.through), (compacted, gone));
}

async fn more_than_is_to_be_kept_is_cut_at_the_beginning(world: World) {
    let mut written = Vec::new();
    for number in 0..20 {
        written.push(world.put("/p/a", &number.to_string()).await);
    }
    let few = ReplayOptions {
        changes: 5,
        ..patient()
    };
    let replay = world.client.replay(&prefix("/p/"), few).await.unwrap();
    let kept: Vec<_> = replay.changes.iter().map(Change::revision).collect();
    assert_eq!(kept, written[15..]);
    assert_eq!(
        (replay.lost, replay.after),
        (Some(Lost::Cut), written[14]),
        "{replay:?}"
    );
}

async fn without_time_it_is_said_how_far_it_came_and_without_etcd_what_failed(world: World) {
    let last = world.put("/p/a", "1").await;
    world
        .client
        .replay(&prefix("/p/"), patient())
        .await
        .unwrap();
    let none = ReplayOptions {
        time: std::time::Duration::ZERO,
        ..ReplayOptions::default()
    };
    let replay = world.client.replay(&prefix("/p/"), none).await.unwrap();
    // What had come by then is kept; nothing is made up.
    assert!(
        replay.through <= last && replay.current == last,
        "{replay:?}"
    );
    world.proxy.set(Mode::Refuse);
    let lost = world.client.replay(&prefix("/p/"), none).await;
    assert!(lost.is_err(), "{lost:?}");
}
