//! The multi-version store: every change since the last compaction, by key and by revision. Pure.
//! Invariant: revisions only grow; the index and the history hold the very same records, and both
//! keep each one that a range or a watch at or after the compacted revision can still ask for.
//! Absent: leases (`write.rs` keeps the two in step), clocks, locks.

mod history;
mod index;
mod record;

pub(crate) use history::{Batch, Limits};
pub(crate) use record::{KeyRange, Record};

use std::sync::Arc;

use crate::Refusal;
use history::History;
use index::Index;

/// Keys and their past.
#[derive(Debug)]
pub(crate) struct Store {
    index: Index,
    history: History,
    current: i64,
    compacted: i64,
    bytes: usize,
}

/// etcd starts at revision 1, and says −1 while nothing was compacted.
const FIRST_REVISION: i64 = 1;
const NEVER_COMPACTED: i64 = -1;

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            index: Index::default(),
            history: History::default(),
            current: FIRST_REVISION,
            compacted: NEVER_COMPACTED,
            bytes: 0,
        }
    }

    /// The revision of the last change.
    pub(crate) fn current(&self) -> i64 {
        self.current
    }

    /// The revision up to which history is gone; −1 when there was no compaction.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The first revision that a watch already running can go on from.
    pub(crate) fn floor(&self) -> i64 {
        self.history.floor()
    }

    /// About how many bytes the keys, values and their past take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What `asked` means as a revision to read at: 0 and less is the present one.
    pub(crate) fn readable(&self, asked: i64, current: i64) -> Result<i64, Refusal> {
        if asked > current {
            return Err(Refusal::FutureRevision);
        }
        let revision = if asked <= 0 { current } else { asked };
        if revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        Ok(revision)
    }

    /// The record of `key` as of `revision`.
    pub(crate) fn get(&self, key: &[u8], revision: i64) -> Option<&Arc<Record>> {
        self.index.get(key, revision)
    }

    /// The live records in `range` as of `revision`, in key order.
    pub(crate) fn range<'a>(
        &'a self,
        range: &KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = &'a Arc<Record>> {
        self.index.range(range, revision)
    }

    /// How many keys live in `range` as of `revision`.
    pub(crate) fn count(&self, range: &KeyRange, revision: i64) -> usize {
        self.index.count(range, revision)
    }

    /// Changes in `range` from revision `from` on, whole revisions only, at most about `limits`.
    pub(crate) fn events(&self, range: &KeyRange, from: i64, limits: Limits) -> Batch {
        let present = (self.compacted, self.current);
        history::read(&self.history, &self.index, range, from, present, limits)
    }

    /// Every retained record up to `revision`, oldest first, for hashing.
    pub(crate) fn records(&self, revision: i64) -> Vec<&Arc<Record>> {
        let mut records: Vec<_> = self
            .index
            .records()
            .filter(|r| r.main <= revision)
            .collect();
        records.sort_by_key(|record| (record.main, record.sub));
        records
    }

    /// Adds a record of the revision being written.
    pub(crate) fn append(&mut self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        self.bytes += record.bytes();
        self.index.insert(&record);
        self.history.push(Arc::clone(&record));
        record
    }

    /// Makes `revision` the present one.
    pub(crate) fn commit(&mut self, revision: i64) {
        self.current = revision;
    }

    /// Forgets what only revisions below `revision` could show. The cost grows with the number of
    /// changes forgotten, not with the number of keys.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.current {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        while let Some(record) = self.history.retire_before(revision) {
            self.bytes -= self.index.compact(&record.key, revision);
        }
        Ok(())
    }
}
