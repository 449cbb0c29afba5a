//! Changes in the order they happened, for watches.
//! Invariant: a batch holds whole revisions, and says the revision to go on from. A narrow range far
//! behind is answered from the index, so it never walks through everybody else's changes.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::index::Index;
use super::record::{KeyRange, Record};

/// Compacted changes kept for watches that run already. etcd hands every change to a watch's buffer
/// as it happens, so a compaction right after it costs no running watch anything; neither here.
const GRACE_RECORDS: usize = 4096;
const GRACE_BYTES: usize = 8 << 20;

/// Records by revision, oldest first: the compacted ones still in grace, then all later ones.
#[derive(Debug, Default)]
pub(super) struct History {
    grace: VecDeque<Arc<Record>>,
    grace_bytes: usize,
    floor: i64,
    log: VecDeque<Arc<Record>>,
}

impl History {
    pub(super) fn push(&mut self, record: Arc<Record>) {
        self.log.push_back(record);
    }

    /// The first revision a running watch can still read.
    pub(super) fn floor(&self) -> i64 {
        self.floor
    }

    /// Takes the oldest record before `revision` out of the log, into the grace.
    pub(super) fn retire_before(&mut self, revision: i64) -> Option<Arc<Record>> {
        let record = pop_front_if(&mut self.log, |record| record.main < revision)?;
        self.grace_bytes += record.bytes();
        self.grace.push_back(Arc::clone(&record));
        while (self.grace.len() > GRACE_RECORDS || self.grace_bytes > GRACE_BYTES)
            && let Some(oldest) = self.grace.front().map(|oldest| oldest.main)
        {
            // A revision leaves whole.
            self.floor = oldest + 1;
            while let Some(gone) = pop_front_if(&mut self.grace, |record| record.main == oldest) {
                self.grace_bytes -= gone.bytes();
            }
        }
        Some(record)
    }

    fn since(&self, from: i64) -> impl Iterator<Item = &Arc<Record>> {
        let grace = self.grace.partition_point(|record| record.main < from);
        self.grace
            .range(grace..)
            .chain(self.log.range(self.position(from)..))
    }

    fn position(&self, from: i64) -> usize {
        self.log.partition_point(|record| record.main < from)
    }
}

fn pop_front_if(
    records: &mut VecDeque<Arc<Record>>,
    wanted: impl Fn(&Record) -> bool,
) -> Option<Arc<Record>> {
    records
        .front()
        .is_some_and(|record| wanted(record))
        .then(|| records.pop_front())
        .flatten()
}

/// How much one batch may hold; the first revision always fits, however large.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Records looked at under one lock.
    pub(crate) scanned: usize,
    /// Records returned.
    pub(crate) records: usize,
    /// Bytes of keys and values returned.
    pub(crate) bytes: usize,
}

/// Some of the changes asked for.
#[derive(Debug)]
pub(crate) struct Batch {
    /// In order; a revision is in here whole or not at all.
    pub(crate) records: Vec<Arc<Record>>,
    /// Where to go on: nothing before it is left to tell.
    pub(crate) next: i64,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        (self.main, self.sub) == (other.main, other.sub)
    }
}

impl Eq for Record {}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.main, self.sub).cmp(&(other.main, other.sub))
    }
}

/// Below this many changes the log is simply walked.
const SHORT: usize = 256;
/// A key looked up in the index costs about as much as this many steps along the log.
const STEPS_PER_KEY: usize = 8;

pub(super) fn read(
    history: &History,
    index: &Index,
    range: &KeyRange,
    from: i64,
    (compacted, current): (i64, i64),
    limits: Limits,
) -> Batch {
    if from > current {
        return Batch {
            records: Vec::new(),
            next: from,
        };
    }
    let left = history.log.len() - history.position(from);
    let in_grace = from < compacted;
    if !in_grace && left > SHORT && index.is_narrow(range, left / STEPS_PER_KEY) {
        return through_index(history, index, range, from, current, limits);
    }
    let mut batch = Collector::new(limits);
    let mut scanned = 0;
    for record in history.since(from) {
        scanned += 1;
        if scanned > limits.scanned && batch.may_stop_before(record.main) {
            return batch.finish(record.main);
        }
        if range.contains(&record.key) && !batch.take(record) {
            return batch.finish(record.main);
        }
        batch.reached = record.main;
    }
    batch.finish(current + 1)
}

/// Gathers the oldest records of the range with a bounded heap, then orders them.
fn through_index(
    history: &History,
    index: &Index,
    range: &KeyRange,
    from: i64,
    current: i64,
    limits: Limits,
) -> Batch {
    let mut oldest: BinaryHeap<&Arc<Record>> = BinaryHeap::new();
    let mut cut: Option<i64> = None;
    for versions in index.since(range, from) {
        for record in versions {
            let full = oldest.len() >= limits.records;
            if full && oldest.peek().is_some_and(|youngest| record >= *youngest) {
                cut = Some(cut.map_or(record.main, |cut| cut.min(record.main)));
                break;
            }
            oldest.push(record);
            if oldest.len() > limits.records
                && let Some(dropped) = oldest.pop()
            {
                cut = Some(cut.map_or(dropped.main, |cut| cut.min(dropped.main)));
            }
        }
    }
    let mut batch = Collector::new(limits);
    for record in oldest.into_sorted_vec() {
        if cut.is_some_and(|cut| record.main >= cut) {
            break;
        }
        if !batch.take(record) {
            return batch.finish(record.main);
        }
    }
    match cut {
        None => batch.finish(current + 1),
        Some(cut) if !batch.records.is_empty() => batch.finish(cut),
        // One revision alone is larger than a batch: it goes out whole.
        Some(cut) => {
            let revision = history.log.range(history.position(cut)..);
            let whole = revision.take_while(|record| record.main == cut);
            let records = whole
                .filter(|record| range.contains(&record.key))
                .cloned()
                .collect();
            Batch {
                records,
                next: cut + 1,
            }
        }
    }
}

struct Collector {
    limits: Limits,
    records: Vec<Arc<Record>>,
    bytes: usize,
    /// The revision last walked over.
    reached: i64,
}

impl Collector {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            records: Vec::new(),
            bytes: 0,
            reached: i64::MIN,
        }
    }

    /// Takes the record, unless the batch is full and the record begins another revision.
    fn take(&mut self, record: &Arc<Record>) -> bool {
        let full = self.records.len() >= self.limits.records || self.bytes >= self.limits.bytes;
        if full
            && self
                .records
                .last()
                .is_some_and(|last| last.main != record.main)
        {
            return false;
        }
        self.bytes += record.key.len() + record.value.len();
        self.records.push(Arc::clone(record));
        true
    }

    fn may_stop_before(&self, revision: i64) -> bool {
        self.reached != revision
    }

    fn finish(self, next: i64) -> Batch {
        Batch {
            records: self.records,
            next,
        }
    }
}
