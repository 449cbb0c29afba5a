//! The watches of a stream, without a stream.

use std::sync::Arc;

use etcd_client::proto::{PbResponseHeader, PbWatchResponse};
use prost::Message;

use super::client::{mod_revision, prefix};
use crate::lease::Leases;
use crate::store::{KeyRange, Store};
use crate::txn::Write;
use crate::watch::{Step, Watches, Wish};

fn put(store: &mut Store, key: &str, bytes: usize) -> i64 {
    let mut leases = Leases::new(2);
    let mut write = Write::begin(store, &mut leases);
    write.put(key.into(), Arc::from(vec![0; bytes]), 0);
    write.end()
}

fn delete(store: &mut Store, key: &str) -> i64 {
    let mut leases = Leases::new(2);
    let mut write = Write::begin(store, &mut leases);
    write.delete(&KeyRange::One(key.into()));
    write.end()
}

/// Everything that is to be told, in fragments of at most `limit` bytes where wished.
fn told(watches: &mut Watches, store: &Store, limit: usize) -> Vec<PbWatchResponse> {
    let header = |revision| PbResponseHeader {
        revision,
        ..PbResponseHeader::default()
    };
    let mut messages = Vec::new();
    loop {
        match watches.step(store) {
            Step::News(news) => messages.extend(news.into_messages(header, limit)),
            Step::More => {}
            Step::Idle => return messages,
        }
    }
}

fn revisions(messages: &[PbWatchResponse]) -> Vec<i64> {
    messages
        .iter()
        .flat_map(|message| &message.events)
        .map(mod_revision)
        .collect()
}

#[test]
fn watch_ids_are_the_clients_or_the_next_free_one() {
    let store = Store::new();
    let mut watches = Watches::default();
    let wish = |id| Wish {
        watch_id: id,
        ..prefix("a")
    };
    assert_eq!(watches.create(wish(0), &store), Ok(0));
    assert_eq!(watches.create(wish(1), &store), Ok(1));
    assert_eq!(watches.create(wish(0), &store), Ok(2));
    let duplicate = watches.create(wish(1), &store);
    assert_eq!(
        duplicate.unwrap_err(),
        "mvcc: duplicate watch ID provided on the WatchStream"
    );
    let empty = Wish {
        key: b"b".into(),
        range_end: b"a".into(),
        ..Wish::default()
    };
    assert_eq!(
        watches.create(empty, &store).unwrap_err(),
        "mvcc: watcher range is empty"
    );
    let negative = watches.create(
        Wish {
            start_revision: -1,
            ..prefix("a")
        },
        &store,
    );
    assert_eq!(
        negative.unwrap_err(),
        "etcdserver: mvcc: required revision has been compacted"
    );
    assert!(watches.cancel(1));
    assert!(!watches.cancel(1));
}

#[test]
fn filters_leave_out_one_kind_and_silence_means_no_message() {
    let mut store = Store::new();
    let mut watches = Watches::default();
    for filters in [vec![], vec![0], vec![1], vec![0, 1]] {
        watches
            .create(
                Wish {
                    filters,
                    ..prefix("a")
                },
                &store,
            )
            .unwrap();
    }
    let (first, second) = (put(&mut store, "a", 1), delete(&mut store, "a"));
    let mut seen: Vec<_> = told(&mut watches, &store, usize::MAX)
        .iter()
        .map(|message| {
            (
                message.watch_id,
                message.events.iter().map(mod_revision).collect(),
            )
        })
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            (0, vec![first, second]),
            (1, vec![second]),
            (2, vec![first])
        ]
    );
    assert!(
        watches.all_know(store.current()),
        "the silent one knows everything too"
    );
}

#[test]
fn a_future_start_is_silent_until_it_is_reached() {
    let mut store = Store::new();
    let mut watches = Watches::default();
    watches
        .create(
            Wish {
                start_revision: 4,
                ..prefix("a")
            },
            &store,
        )
        .unwrap();
    put(&mut store, "a", 1);
    put(&mut store, "a", 1);
    assert!(told(&mut watches, &store, usize::MAX).is_empty());
    put(&mut store, "a", 1);
    assert_eq!(revisions(&told(&mut watches, &store, usize::MAX)), [4]);
}

#[test]
fn a_start_before_the_compaction_is_cancelled_with_where_history_begins() {
    let mut store = Store::new();
    for _ in 0..5 {
        put(&mut store, "a", 1);
    }
    store.compact(4).unwrap();
    let mut watches = Watches::default();
    watches
        .create(
            Wish {
                start_revision: 3,
                ..prefix("a")
            },
            &store,
        )
        .unwrap();
    watches
        .create(
            Wish {
                start_revision: 4,
                ..prefix("a")
            },
            &store,
        )
        .unwrap();
    let messages = told(&mut watches, &store, usize::MAX);
    let cancelled: Vec<_> = messages.iter().filter(|message| message.canceled).collect();
    assert_eq!(cancelled.len(), 1);
    assert_eq!(
        (cancelled[0].watch_id, cancelled[0].compact_revision),
        (0, 4)
    );
    assert_eq!(revisions(&messages), [4, 5, 6]);
}

#[test]
fn a_deletion_at_the_compacted_revision_is_still_told() {
    let mut store = Store::new();
    put(&mut store, "a", 1);
    let gone = delete(&mut store, "a");
    put(&mut store, "other", 1);
    store.compact(gone).unwrap();
    let mut watches = Watches::default();
    watches
        .create(
            Wish {
                start_revision: gone,
                ..prefix("a")
            },
            &store,
        )
        .unwrap();
    assert_eq!(revisions(&told(&mut watches, &store, usize::MAX)), [gone]);
}

#[test]
fn only_who_asked_gets_fragments_and_only_the_last_says_it_is_the_last() {
    let mut store = Store::new();
    for number in 0..10 {
        put(&mut store, &format!("a{number}"), 1_000);
    }
    let mut watches = Watches::default();
    for fragment in [true, false] {
        let wish = Wish {
            fragment,
            start_revision: 1,
            ..prefix("a")
        };
        watches.create(wish, &store).unwrap();
    }
    let messages = told(&mut watches, &store, 2_500);
    let (cut, whole): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.watch_id == 0);
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].events.len(), 10);
    assert_eq!(cut.len(), 5);
    assert!(cut.iter().all(|message| message.encoded_len() < 2_500));
    let more: Vec<_> = cut.iter().map(|message| message.fragment).collect();
    assert_eq!(more, [true, true, true, true, false]);
    // An event larger than the limit goes alone.
    assert_eq!(told_once(1_000, 10).len(), 3);
}

fn told_once(bytes: usize, limit: usize) -> Vec<PbWatchResponse> {
    let mut store = Store::new();
    let mut watches = Watches::default();
    watches
        .create(
            Wish {
                fragment: true,
                ..prefix("a")
            },
            &store,
        )
        .unwrap();
    for _ in 0..3 {
        put(&mut store, "a", bytes);
    }
    told(&mut watches, &store, limit)
}

#[test]
fn watches_of_one_stream_take_turns() {
    let mut store = Store::new();
    // More than fits in one answer, for each of three watches.
    for _ in 0..2_500 {
        put(&mut store, "a", 1);
    }
    let mut watches = Watches::default();
    for _ in 0..3 {
        watches
            .create(
                Wish {
                    start_revision: 1,
                    ..prefix("a")
                },
                &store,
            )
            .unwrap();
    }
    let turns: Vec<_> = told(&mut watches, &store, usize::MAX)
        .iter()
        .map(|message| message.watch_id)
        .collect();
    let mut first = turns[..3].to_vec();
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2], "{turns:?}");
}

#[test]
fn a_progress_notice_goes_to_quiet_watches_that_asked_for_it() {
    let mut store = Store::new();
    let mut watches = Watches::default();
    let wish = |progress_notify, start_revision| Wish {
        progress_notify,
        start_revision,
        ..prefix("a")
    };
    watches.create(wish(true, 0), &store).unwrap();
    watches.create(wish(false, 0), &store).unwrap();
    watches.create(wish(true, 100), &store).unwrap();
    assert_eq!(
        watches.tick(store.current()),
        [0],
        "not the one that starts in the future"
    );
    put(&mut store, "a", 1);
    assert!(
        watches.tick(store.current()).is_empty(),
        "it does not know everything"
    );
    told(&mut watches, &store, usize::MAX);
    assert!(
        watches.tick(store.current()).is_empty(),
        "it was just told something"
    );
    assert_eq!(watches.tick(store.current()), [0]);
}
