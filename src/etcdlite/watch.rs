//! The watches of one stream: what each wants, how far it was told, what it is told next. Pure.
//! Invariant: a watch holds a place in history and no events, so a slow reader costs no memory; it is
//! told every matching change from its place on, in order, each revision whole.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use etcd_client::proto::{PbEvent, PbResponseHeader, PbWatchResponse};
use prost::Message;

use crate::Refusal;
use crate::store::{KeyRange, Limits, Record, Store};

/// The id in answers that belong to no watch.
pub(crate) const NO_WATCH: i64 = -1;

/// One answer holds about this much: etcd's 1,000 revisions, and no more bytes than every client takes.
const BATCH: Limits = Limits {
    scanned: 16_384,
    records: 1_000,
    bytes: 1 << 20,
};

/// Answers of this many bytes are cut up for watches that asked for fragments, as in etcd.
pub(crate) const FRAGMENT_BYTES: usize = 2 << 20;

/// What a client wants to watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) key: Vec<u8>,
    pub(crate) range_end: Vec<u8>,
    pub(crate) start_revision: i64,
    pub(crate) filters: Vec<i32>,
    pub(crate) prev_kv: bool,
    pub(crate) progress_notify: bool,
    pub(crate) fragment: bool,
    pub(crate) watch_id: i64,
}

#[derive(Debug)]
struct Watch {
    range: KeyRange,
    next: i64,
    /// Wanted from before the compaction: cancelled as soon as it was announced.
    too_old: bool,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    progress_notify: bool,
    fragment: bool,
    /// Nothing was sent since the last progress tick.
    quiet: bool,
}

/// What a watch is told. Turned into messages once no lock is held.
#[derive(Debug)]
pub(crate) enum News {
    Events {
        id: i64,
        revision: i64,
        events: Vec<Change>,
        fragment: bool,
    },
    Compacted {
        id: i64,
        compacted: i64,
    },
}

/// What looking at a part of history brought.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something to tell.
    News(News),
    /// Nothing yet, and history goes on.
    More,
    /// Every watch knows everything.
    Idle,
}

/// A change with what was there before, if wanted.
#[derive(Debug)]
pub(crate) struct Change {
    record: Arc<Record>,
    before: Option<Arc<Record>>,
}

/// All watches of a stream.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_id: BTreeMap<i64, Watch>,
    next_id: i64,
    /// The watch served last; the next one's turn comes first.
    served: i64,
}

impl Watches {
    /// Adds a watch; the error is etcd's reason for cancelling it at once.
    pub(crate) fn create(&mut self, wish: Wish, store: &Store) -> Result<i64, String> {
        if wish.start_revision < 0 {
            return Err(Refusal::Compacted.to_string());
        }
        // The empty key means the smallest there is.
        let key = if wish.key.is_empty() {
            vec![0]
        } else {
            wish.key
        };
        let range = KeyRange::new(key, wish.range_end);
        if range.is_empty() {
            return Err("mvcc: watcher range is empty".to_owned());
        }
        let id = match wish.watch_id {
            0 => self.free_id(),
            id if self.by_id.contains_key(&id) => {
                return Err("mvcc: duplicate watch ID provided on the WatchStream".to_owned());
            }
            id => id,
        };
        let next = match wish.start_revision {
            0 => store.current() + 1,
            start => start,
        };
        let watch = Watch {
            range,
            next,
            too_old: next < store.compacted(),
            no_put: wish.filters.contains(&0),
            no_delete: wish.filters.contains(&1),
            prev_kv: wish.prev_kv,
            progress_notify: wish.progress_notify,
            fragment: wish.fragment,
            quiet: true,
        };
        self.by_id.insert(id, watch);
        Ok(id)
    }

    /// Ends a watch; whether there was one.
    pub(crate) fn cancel(&mut self, id: i64) -> bool {
        self.by_id.remove(&id).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The next thing to tell, each watch in its turn. Looks at a bounded part of history.
    pub(crate) fn step(&mut self, store: &Store) -> Step {
        let after_turn = (Bound::Excluded(self.served), Bound::Unbounded);
        let up_to_turn = (Bound::Unbounded, Bound::Included(self.served));
        let mut step = Step::Idle;
        'turns: for turns in [after_turn, up_to_turn] {
            for (id, watch) in self.by_id.range_mut(turns) {
                match watch.step(*id, store) {
                    Step::News(news) => {
                        step = Step::News(news);
                        break 'turns;
                    }
                    Step::More => step = Step::More,
                    Step::Idle => {}
                }
            }
        }
        match &step {
            Step::News(News::Events { id, .. }) => self.served = *id,
            Step::News(News::Compacted { id, .. }) => {
                self.by_id.remove(id);
            }
            Step::More | Step::Idle => {}
        }
        step
    }

    /// The revision up to which every watch was told everything, if that is `current` for all; a
    /// watch that starts in the future cannot say so yet.
    pub(crate) fn all_know(&self, current: i64) -> bool {
        !self.by_id.is_empty() && self.by_id.values().all(|watch| watch.next == current + 1)
    }

    /// Watches to be sent a progress notice: those that asked for it, know everything up to `current`,
    /// and were sent nothing since the last tick.
    pub(crate) fn tick(&mut self, current: i64) -> Vec<i64> {
        let mut due = Vec::new();
        for (id, watch) in &mut self.by_id {
            if !watch.progress_notify {
                continue;
            }
            if watch.quiet && watch.next == current + 1 {
                due.push(*id);
            }
            watch.quiet = true;
        }
        due
    }

    fn free_id(&mut self) -> i64 {
        while self.by_id.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }
}

impl Watch {
    fn step(&mut self, id: i64, store: &Store) -> Step {
        if self.too_old || self.next < store.floor() {
            return Step::News(News::Compacted {
                id,
                compacted: store.compacted(),
            });
        }
        if self.next > store.current() {
            return Step::Idle;
        }
        let batch = store.events(&self.range, self.next, BATCH);
        self.next = batch.next;
        let wanted = batch
            .records
            .into_iter()
            .filter(|record| self.wants(record));
        let events: Vec<_> = wanted.map(|record| self.change(record, store)).collect();
        if events.is_empty() {
            return if self.next > store.current() {
                Step::Idle
            } else {
                Step::More
            };
        }
        self.quiet = false;
        let revision = self.next - 1;
        Step::News(News::Events {
            id,
            revision,
            events,
            fragment: self.fragment,
        })
    }

    fn wants(&self, record: &Record) -> bool {
        if record.tombstone {
            !self.no_delete
        } else {
            !self.no_put
        }
    }

    fn change(&self, record: Arc<Record>, store: &Store) -> Change {
        let before = record.main - 1;
        let asked = self.prev_kv && !record.is_create() && before >= store.compacted();
        let before = asked
            .then(|| store.get(&record.key, before).cloned())
            .flatten();
        Change { record, before }
    }
}

impl Change {
    fn into_message(self) -> PbEvent {
        PbEvent {
            r#type: i32::from(self.record.tombstone),
            kv: Some(self.record.to_message()),
            prev_kv: self.before.map(|before| before.to_message()),
        }
    }
}

impl News {
    /// The messages for it, in order; more than one only as fragments.
    pub(crate) fn into_messages(
        self,
        header: impl Fn(i64) -> PbResponseHeader,
        fragment_bytes: usize,
    ) -> Vec<PbWatchResponse> {
        match self {
            Self::Compacted { id, compacted } => vec![PbWatchResponse {
                // etcd leaves the revision of this header at zero.
                header: Some(header(0)),
                watch_id: id,
                canceled: true,
                compact_revision: compacted,
                ..PbWatchResponse::default()
            }],
            Self::Events {
                id,
                revision,
                events,
                fragment,
            } => {
                let events: Vec<_> = events.into_iter().map(Change::into_message).collect();
                let whole = PbWatchResponse {
                    header: Some(header(revision)),
                    watch_id: id,
                    events,
                    ..PbWatchResponse::default()
                };
                if fragment {
                    fragments(whole, fragment_bytes)
                } else {
                    vec![whole]
                }
            }
        }
    }
}

/// Cuts an answer into parts below `limit` bytes, of one event at least; all but the last say that
/// more follows.
fn fragments(mut whole: PbWatchResponse, limit: usize) -> Vec<PbWatchResponse> {
    let events = std::mem::take(&mut whole.events);
    let empty = whole.encoded_len();
    let mut parts = Vec::new();
    let mut part = whole.clone();
    let mut bytes = empty;
    for event in events {
        let size = event.encoded_len() + 8;
        if !part.events.is_empty() && bytes + size >= limit {
            part.fragment = true;
            parts.push(std::mem::replace(&mut part, whole.clone()));
            bytes = empty;
        }
        bytes += size;
        part.events.push(event);
    }
    parts.push(part);
    parts
}
