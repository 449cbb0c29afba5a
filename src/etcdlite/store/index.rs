//! From a key to its versions, oldest first.
//! Invariant: a key without versions is not in the map. What counting and skipping need lies in
//! the map itself, so a count over 100,000 keys touches no record.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::record::{KeyRange, Record};

#[derive(Debug, Default)]
pub(super) struct Index {
    keys: BTreeMap<Arc<[u8]>, Versions>,
}

#[derive(Debug)]
struct Versions {
    older: Vec<Arc<Record>>,
    last: Arc<Record>,
    last_main: i64,
    last_is_tombstone: bool,
}

impl Versions {
    fn new(record: &Arc<Record>) -> Self {
        Self {
            older: Vec::new(),
            last_main: record.main,
            last_is_tombstone: record.tombstone,
            last: Arc::clone(record),
        }
    }

    fn push(&mut self, record: &Arc<Record>) {
        self.last_main = record.main;
        self.last_is_tombstone = record.tombstone;
        self.older
            .push(std::mem::replace(&mut self.last, Arc::clone(record)));
    }

    /// The live record as of `revision`.
    fn at(&self, revision: i64) -> Option<&Arc<Record>> {
        if revision >= self.last_main {
            return (!self.last_is_tombstone).then_some(&self.last);
        }
        let after = self.older.partition_point(|record| record.main <= revision);
        self.older[..after]
            .last()
            .filter(|record| !record.tombstone)
    }

    fn lives_at(&self, revision: i64) -> bool {
        if revision >= self.last_main {
            !self.last_is_tombstone
        } else {
            self.at(revision).is_some()
        }
    }

    /// Records of revision `from` and later, oldest first.
    fn since(&self, from: i64) -> impl Iterator<Item = &Arc<Record>> {
        let start = self.older.partition_point(|record| record.main < from);
        let last = (self.last_main >= from).then_some(&self.last);
        self.older[start..].iter().chain(last)
    }

    /// Drops what no revision from `revision` on shows. Returns the bytes freed, and whether
    /// nothing is left.
    fn compact(&mut self, revision: i64) -> (usize, bool) {
        if self.last_main < revision {
            let mut freed: usize = self.older.drain(..).map(|record| record.bytes()).sum();
            if self.last_is_tombstone {
                freed += self.last.bytes();
            }
            return (freed, self.last_is_tombstone);
        }
        // The youngest record before the revision stays when it is what the revision shows.
        let before = self.older.partition_point(|record| record.main < revision);
        let at = self.older.get(before).unwrap_or(&self.last);
        let shown = at.main != revision && before > 0 && !self.older[before - 1].tombstone;
        let cut = if shown { before - 1 } else { before };
        let freed = self.older.drain(..cut).map(|record| record.bytes()).sum();
        (freed, false)
    }
}

impl Index {
    pub(super) fn get(&self, key: &[u8], revision: i64) -> Option<&Arc<Record>> {
        self.keys
            .get(key)
            .and_then(|versions| versions.at(revision))
    }

    pub(super) fn range<'a>(
        &'a self,
        range: &KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = &'a Arc<Record>> {
        self.select(range)
            .filter_map(move |versions| versions.at(revision))
    }

    pub(super) fn count(&self, range: &KeyRange, revision: i64) -> usize {
        self.select(range)
            .filter(|versions| versions.lives_at(revision))
            .count()
    }

    /// Whether fewer than `bound` keys, dead ones included, are in `range`.
    pub(super) fn is_narrow(&self, range: &KeyRange, bound: usize) -> bool {
        self.select(range).take(bound).count() < bound
    }

    /// For each key in `range`, its records of revision `from` and later.
    pub(super) fn since<'a>(
        &'a self,
        range: &KeyRange,
        from: i64,
    ) -> impl Iterator<Item = impl Iterator<Item = &'a Arc<Record>>> {
        self.select(range)
            .filter(move |versions| versions.last_main >= from)
            .map(move |versions| versions.since(from))
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.keys
            .values()
            .flat_map(|versions| versions.since(i64::MIN))
    }

    pub(super) fn insert(&mut self, record: &Arc<Record>) {
        match self.keys.entry(Arc::clone(&record.key)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Versions::new(record));
            }
            Entry::Occupied(mut held) => held.get_mut().push(record),
        }
    }

    /// Compacts one key; returns the bytes freed.
    pub(super) fn compact(&mut self, key: &[u8], revision: i64) -> usize {
        let Some(versions) = self.keys.get_mut(key) else {
            return 0;
        };
        let (freed, gone) = versions.compact(revision);
        if gone {
            self.keys.remove(key);
        }
        freed
    }

    fn select<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = &'a Versions> {
        // An ordered map panics on inverted bounds, and clients may send them.
        let selected = (!range.is_empty()).then(|| self.keys.range::<[u8], _>(range.bounds()));
        selected.into_iter().flatten().map(|(_, versions)| versions)
    }
}
