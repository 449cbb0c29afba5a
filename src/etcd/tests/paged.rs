//! Mirrors that list page by page: nothing is believed before all is here, and a listing that broke
//! off counts for nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd::{ListOptions, Mirror, MirrorEvent, MirrorOptions, PagedEvent};
use fleet::{Change, Entry, Key, Revision};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::world::{World, applied, create, prefix};

crate::on_both!(
    pages_come_before_the_word_that_they_are_all,
    an_empty_prefix_is_one_empty_page,
    a_listing_that_broke_off_begins_anew,
);

const PREFIX: &str = "/m/";
const KEYS: usize = 2_000;

async fn fill(world: &World) -> Revision {
    let mut last = Revision::ZERO;
    for first in (0..KEYS).step_by(100) {
        let edits = (first..first + 100).map(|i| create(&format!("/m/{i:05}"), "1"));
        last = applied(&world.direct, edits).await;
    }
    last
}

/// A reader that holds a page, while another waits to be read.
fn spawn(world: &World) -> (Mirror, mpsc::Receiver<PagedEvent>) {
    let options = MirrorOptions {
        capacity: 1,
        page: 50,
        ..MirrorOptions::default()
    };
    Mirror::spawn_paged(world.client.clone(), prefix(PREFIX), options)
}

async fn next(events: &mut mpsc::Receiver<PagedEvent>) -> PagedEvent {
    let event = timeout(Duration::from_secs(30), events.recv()).await;
    event.expect("nothing came").expect("the mirror ended")
}

/// What the reader holds once it is told that it is all, how many pages it got, and how many of
/// them began a listing.
async fn listed(events: &mut mpsc::Receiver<PagedEvent>) -> (Vec<Entry>, Revision, usize, usize) {
    let (mut held, mut pages, mut begun) = (Vec::new(), 0, 0);
    loop {
        match next(events).await {
            PagedEvent::Page { begins, entries } => {
                if begins {
                    held.clear();
                }
                begun += usize::from(begins);
                pages += 1;
                held.extend(entries);
            }
            PagedEvent::Event(MirrorEvent::Listed { revision, entries }) => {
                assert!(entries.is_empty(), "they came in pages");
                return (held, revision, pages, begun);
            }
            PagedEvent::Event(other) => panic!("{other:?}"),
        }
    }
}

async fn pages_come_before_the_word_that_they_are_all(world: World) {
    let last = fill(&world).await;
    let (_mirror, mut events) = spawn(&world);
    let (held, revision, pages, begun) = listed(&mut events).await;
    assert_eq!((held.len(), revision, begun), (KEYS, last, 1));
    assert!(pages > 5, "{pages}");
    assert!(held.is_sorted_by(|a, b| a.key < b.key));
    // And it goes on as any mirror does.
    let written = world.put("/m/a", "2").await;
    loop {
        match next(&mut events).await {
            PagedEvent::Event(MirrorEvent::Fresh { .. }) => {}
            PagedEvent::Event(MirrorEvent::Changed { revision, .. }) => {
                assert_eq!(revision, written);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn an_empty_prefix_is_one_empty_page(world: World) {
    let (_mirror, mut events) = spawn(&world);
    let (held, _, pages, begun) = listed(&mut events).await;
    assert_eq!((held.len(), pages, begun), (0, 1, 1));
}

async fn a_listing_that_broke_off_begins_anew(world: World) {
    fill(&world).await;
    let (_mirror, mut events) = spawn(&world);
    let first = next(&mut events).await;
    assert!(matches!(first, PagedEvent::Page { begins: true, .. }));
    // The reader reads nothing meanwhile, so most pages are still to come when their revision goes.
    world.delete("/m/00000").await;
    let last = world.put("/m/99999", "1").await;
    world.compact().await;
    let (held, revision, _, begun) = listed(&mut events).await;
    assert_eq!((revision, begun), (last, 1), "anew, as it stands now");
    let held: BTreeMap<Key, Revision> = held
        .into_iter()
        .map(|one| (one.key, one.mod_revision))
        .collect();
    let (prefix, options) = (prefix(PREFIX), ListOptions::default());
    let listing = world.direct.list(&prefix, options).await.unwrap();
    let truth: BTreeMap<Key, Revision> = listing
        .entries
        .into_iter()
        .map(|one| (one.key, one.mod_revision))
        .collect();
    assert_eq!(held, truth);
    // Nothing of before the listing comes behind it.
    let written = world.put("/m/after", "1").await;
    loop {
        if let PagedEvent::Event(MirrorEvent::Changed { changes, .. }) = next(&mut events).await {
            assert!(matches!(&changes[..], [Change::Put(one)] if one.mod_revision == written));
            return;
        }
    }
}
