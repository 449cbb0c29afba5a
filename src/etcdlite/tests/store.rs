//! The store against a naive model: every version in a list, every question a walk through it.

use std::sync::Arc;

use proptest::prelude::*;

use crate::auto_compact;
use crate::lease::Leases;
use crate::store::{KeyRange, Limits, Store};
use crate::txn::Write;

/// A change as a test sees it: revision, place in it, key, value; a deletion has none.
type Change = (i64, u32, Vec<u8>, Option<Vec<u8>>);

const ALL: Limits = Limits {
    scanned: usize::MAX,
    records: usize::MAX,
    bytes: usize::MAX,
};

#[derive(Debug, Clone)]
enum Step {
    /// Puts (a value) and deletions (none) in one revision.
    Write(Vec<(u8, Option<u8>)>),
    CompactBack(i64),
}

fn steps(keys: u8) -> impl Strategy<Value = Vec<Step>> {
    let change = (0..keys, prop::option::weighted(0.7, any::<u8>()));
    let step = prop_oneof![
        12 => prop::collection::vec(change, 1..4).prop_map(Step::Write),
        1 => (0..12_i64).prop_map(Step::CompactBack),
    ];
    prop::collection::vec(step, 1..120)
}

fn key(number: u8) -> Vec<u8> {
    vec![b'k', number]
}

#[derive(Default)]
struct Model {
    changes: Vec<Change>,
    compacted: i64,
}

impl Model {
    fn live(&self, revision: i64) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
        let mut keys: Vec<_> = self.changes.iter().map(|change| change.2.clone()).collect();
        keys.sort();
        keys.dedup();
        let last = |key: &Vec<u8>| {
            let known = |change: &&Change| change.0 <= revision && change.2 == *key;
            self.changes.iter().rfind(known).cloned()
        };
        keys.iter()
            .filter_map(last)
            .filter_map(|(main, _, key, value)| Some((key, main, value?)))
            .collect()
    }

    fn since(&self, from: i64, range: &KeyRange) -> Vec<Change> {
        let later = self.changes.iter().filter(|change| change.0 >= from);
        later
            .filter(|change| range.contains(&change.2))
            .cloned()
            .collect()
    }
}

fn run(steps: &[Step]) -> (Store, Model) {
    let (mut store, mut leases) = (Store::new(), Leases::new(2));
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Write(changes) => {
                let mut write = Write::begin(&mut store, &mut leases);
                let mut sub = 0;
                let mut written = Vec::new();
                for (number, value) in changes {
                    match value {
                        Some(value) => write.put(key(*number), Arc::from([*value]), 0),
                        None if write.delete(&KeyRange::One(key(*number))).is_empty() => continue,
                        None => {}
                    }
                    written.push((sub, key(*number), value.map(|value| vec![value])));
                    sub += 1;
                }
                let revision = write.end();
                model.changes.extend(
                    written
                        .into_iter()
                        .map(|(sub, key, value)| (revision, sub, key, value)),
                );
            }
            Step::CompactBack(back) => {
                let revision = store.current() - back;
                if store.compact(revision).is_ok() {
                    model.compacted = revision;
                }
            }
        }
    }
    (store, model)
}

fn events(store: &Store, range: &KeyRange, from: i64, limits: Limits) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut next = from;
    while next <= store.current() {
        let batch = store.events(range, next, limits);
        assert!(batch.next > next, "a batch must lead on");
        let mut mains: Vec<_> = batch.records.iter().map(|record| record.main).collect();
        mains.dedup();
        assert!(
            mains.iter().all(|main| *main >= next && *main < batch.next),
            "{mains:?}"
        );
        changes.extend(batch.records.iter().map(|record| {
            let value = (!record.tombstone).then(|| record.value.to_vec());
            (record.main, record.sub, record.key.to_vec(), value)
        }));
        next = batch.next;
    }
    changes
}

proptest! {
    #[test]
    fn every_readable_revision_shows_what_was_there(steps in steps(6)) {
        let (store, model) = run(&steps);
        for revision in model.compacted.max(1)..=store.current() {
            let range = KeyRange::From(vec![0]);
            let shown: Vec<_> = store
                .range(&range, revision)
                .map(|record| (record.key.to_vec(), record.main, record.value.to_vec()))
                .collect();
            let expected = model.live(revision);
            prop_assert_eq!(store.count(&range, revision), expected.len());
            prop_assert_eq!(shown, expected, "at revision {}", revision);
        }
    }

    #[test]
    fn history_tells_every_change_once_in_order_whatever_the_batches(
        steps in steps(6),
        records in 1..5_usize,
        scanned in 1..9_usize,
        from in 0..30_i64,
    ) {
        let (store, model) = run(&steps);
        let from = (model.compacted + from).max(1);
        for range in [KeyRange::From(vec![0]), KeyRange::Span(key(1), key(4)), KeyRange::One(key(2))]
        {
            let expected = model.since(from, &range);
            let small = Limits { scanned, records, bytes: usize::MAX };
            prop_assert_eq!(&events(&store, &range, from, ALL), &expected);
            prop_assert_eq!(&events(&store, &range, from, small), &expected);
        }
    }

    /// Enough changes to others that the narrow range is read through the index.
    #[test]
    fn a_narrow_range_far_behind_misses_nothing(
        steps in steps(4),
        noise in 300..600_i64,
        records in 1..9_usize,
        from in 1..40_i64,
    ) {
        let (mut store, mut model) = run(&steps);
        let mut leases = Leases::new(2);
        for number in 0..noise {
            let mut write = Write::begin(&mut store, &mut leases);
            write.put(format!("other{}", number % 7).into_bytes(), Arc::default(), 0);
            if number % 50 == 0 {
                write.put(key(1), Arc::from([1]), 0);
            }
            let revision = write.end();
            if number % 50 == 0 {
                model.changes.push((revision, 1, key(1), Some(vec![1])));
            }
        }
        let from = from.max(model.compacted);
        let limits = Limits { scanned: 64, records, bytes: usize::MAX };
        for range in [KeyRange::Span(key(0), key(9)), KeyRange::One(key(1))] {
            let expected = model.since(from, &range);
            prop_assert_eq!(events(&store, &range, from, limits), expected);
        }
    }
}

#[test]
fn a_revision_larger_than_a_batch_goes_out_whole() {
    let (mut store, mut leases) = (Store::new(), Leases::new(2));
    for _ in 0..2 {
        let mut write = Write::begin(&mut store, &mut leases);
        for number in 0..50 {
            write.put(key(number), Arc::default(), 0);
        }
        write.end();
    }
    let limits = Limits {
        scanned: 7,
        records: 5,
        bytes: 1,
    };
    let batch = store.events(&KeyRange::From(vec![0]), 1, limits);
    assert_eq!((batch.records.len(), batch.next), (50, 3));
    // And the same when the index answers: many changes to others in between.
    for number in 0..5_000_u32 {
        let mut write = Write::begin(&mut store, &mut leases);
        write.put(format!("other{number}").into_bytes(), Arc::default(), 0);
        write.end();
    }
    let batch = store.events(&KeyRange::Span(key(0), key(60)), 1, limits);
    assert_eq!((batch.records.len(), batch.next), (50, 3));
}

#[test]
fn a_running_watch_survives_a_compaction_right_after_a_change_but_not_for_ever() {
    let (mut store, mut leases) = (Store::new(), Leases::new(2));
    let mut put = |store: &mut Store| {
        let mut write = Write::begin(store, &mut leases);
        write.put(key(1), Arc::default(), 0);
        write.end()
    };
    for _ in 0..10 {
        put(&mut store);
    }
    store.compact(11).unwrap();
    assert!(store.floor() <= 2);
    let seen = events(&store, &KeyRange::One(key(1)), 2, ALL);
    assert_eq!(
        seen.iter().map(|change| change.0).collect::<Vec<_>>(),
        (2..=11).collect::<Vec<_>>()
    );
    for _ in 0..10_000 {
        put(&mut store);
    }
    store.compact(store.current()).unwrap();
    assert!(store.floor() > 5_000, "the grace is bounded");
}

#[test]
fn compacted_memory_is_given_back() {
    let (mut store, mut leases) = (Store::new(), Leases::new(2));
    let mut write = Write::begin(&mut store, &mut leases);
    write.put(key(1), Arc::from(vec![0; 1_000]), 0);
    write.end();
    let one = store.bytes();
    for _ in 0..100 {
        let mut write = Write::begin(&mut store, &mut leases);
        write.put(key(1), Arc::from(vec![0; 1_000]), 0);
        write.end();
    }
    assert!(store.bytes() > 100_000);
    store.compact(store.current()).unwrap();
    assert_eq!(store.bytes(), one);
    let mut write = Write::begin(&mut store, &mut leases);
    write.delete(&KeyRange::One(key(1)));
    let revision = write.end();
    let mut write = Write::begin(&mut store, &mut leases);
    write.put(key(2), Arc::default(), 0);
    write.end();
    store.compact(revision + 1).unwrap();
    assert_eq!(store.count(&KeyRange::From(vec![0]), store.current()), 1);
    assert!(store.get(&key(1), revision + 1).is_none());
}

#[test]
fn history_is_compacted_once_twice_what_is_kept_is_held() {
    for (current, compacted, keep, due) in [
        (1_000, -1, None, None),
        (199, -1, Some(100), None),
        (200, -1, Some(100), Some(100)),
        (299, 100, Some(100), None),
        (300, 100, Some(100), Some(200)),
        (2, -1, Some(0), Some(1)),
        (1_000, -1, Some(u64::MAX), None),
    ] {
        assert_eq!(
            auto_compact::due(current, compacted, keep),
            due,
            "{current} {compacted} {keep:?}"
        );
    }
}
