//! What one instance remembers: records by age, found by id, told to watchers, and merged with what its peers
//! remember. In memory and bounded. Invariant: a record is only ever replaced by a later one, so that peers that
//! tell each other everything come to rest.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use prost_types::Timestamp;
use tokio::sync::broadcast;
use tonic::Status;

/// No instance keeps more records than this; a demo is no place to run out of memory.
const CAPACITY: usize = 100_000;
/// A watcher that falls this many changes behind is told so and must watch again.
const BACKLOG: usize = 256;
/// The largest page that a list answers with.
const LARGEST_PAGE: usize = 1_000;

/// What can be kept.
pub(crate) trait Record: Clone + Send + 'static {
    fn id(&self) -> &str;
    fn created_at(&self) -> Age;
    fn updated_at(&self) -> Age;
}

/// Seconds and nanoseconds since 1970.
pub(crate) type Age = (i64, i32);

pub(crate) fn age(at: Option<&Timestamp>) -> Age {
    at.map_or((0, 0), |at| (at.seconds, at.nanos))
}

/// Records of one kind.
pub(crate) struct Store<T> {
    shelf: Mutex<Shelf<T>>,
    changes: broadcast::Sender<Change<T>>,
}

struct Shelf<T> {
    /// By creation, and by id where two were created at once: every peer lists them alike.
    records: BTreeMap<(Age, String), T>,
    created: HashMap<String, Age>,
    /// The last number made; numbers are never used again, not even after a restart.
    last: u64,
}

/// What happened to a record, and the record afterwards.
#[derive(Clone, Debug)]
pub(crate) enum Change<T> {
    Created(T),
    Updated(T),
}

/// A part of a list.
pub(crate) struct Page<T> {
    pub(crate) records: Vec<T>,
    /// Empty on the last page.
    pub(crate) next: String,
    pub(crate) total: i32,
}

/// Which part of a list is asked for, as the caller wrote it.
pub(crate) struct PageRequest<'a> {
    pub(crate) size: i32,
    pub(crate) token: &'a str,
    /// Taken when `size` is 0.
    pub(crate) default_size: u64,
}

impl<T: Record> Store<T> {
    /// A check of liveness: somebody who keeps the shelf for ever fails it, by not answering.
    pub(crate) fn check(
        self: &Arc<Self>,
    ) -> impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + use<T> {
        let store = Arc::clone(self);
        move || {
            let store = Arc::clone(&store);
            Box::pin(async move {
                // Waiting for a lock must not hold up the runtime that asks.
                let looked = tokio::task::spawn_blocking(move || drop(store.lock()));
                looked.await.map_err(|error| error.to_string())
            })
        }
    }

    pub(crate) fn new(seed: impl IntoIterator<Item = T>) -> Self {
        let store = Self {
            shelf: Mutex::new(Shelf {
                records: BTreeMap::new(),
                created: HashMap::new(),
                last: 0,
            }),
            changes: broadcast::channel(BACKLOG).0,
        };
        seed.into_iter().for_each(|record| store.merge(record));
        store
    }

    pub(crate) fn get(&self, id: &str) -> Option<T> {
        let shelf = self.lock();
        let created = shelf.created.get(id)?;
        shelf.records.get(&(*created, id.to_owned())).cloned()
    }

    /// Keeps the record that `make` builds from a fresh number. Fails only when the store is full.
    pub(crate) fn create(&self, make: impl FnOnce(u64) -> T) -> Result<T, Status> {
        let mut shelf = self.lock();
        if shelf.records.len() >= CAPACITY {
            return Err(Status::resource_exhausted(format!(
                "this instance keeps at most {CAPACITY} records. Restart the demo to begin anew"
            )));
        }
        // The clock, so that an instance that begins anew makes no number that its peers know already.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        shelf.last = u64::try_from(now).unwrap_or(shelf.last).max(shelf.last + 1);
        let record = make(shelf.last);
        self.put(&mut shelf, record.clone());
        Ok(record)
    }

    /// Replaces a record by what `change` makes of it; an error leaves it as it was.
    pub(crate) fn update(
        &self,
        id: &str,
        change: impl FnOnce(T) -> Result<T, Status>,
    ) -> Result<Option<T>, Status> {
        let mut shelf = self.lock();
        let key = shelf
            .created
            .get(id)
            .map(|created| (*created, id.to_owned()));
        let Some(record) = key.and_then(|key| shelf.records.get(&key)).cloned() else {
            return Ok(None);
        };
        let record = change(record)?;
        self.put(&mut shelf, record.clone());
        Ok(Some(record))
    }

    /// Takes over a record of a peer, unless this one is as new or newer, or nothing more fits.
    pub(crate) fn merge(&self, record: T) {
        let mut shelf = self.lock();
        let key = shelf
            .created
            .get(record.id())
            .map(|created| (*created, record.id().to_owned()));
        let fits = match key.and_then(|key| shelf.records.get(&key)) {
            Some(known) => {
                record.updated_at() > known.updated_at()
                    && record.created_at() == known.created_at()
            }
            None => shelf.records.len() < CAPACITY,
        };
        if fits {
            self.put(&mut shelf, record);
        }
    }

    fn put(&self, shelf: &mut Shelf<T>, record: T) {
        let (id, created) = (record.id().to_owned(), record.created_at());
        shelf.created.insert(id.clone(), created);
        let before = shelf.records.insert((created, id), record.clone());
        let change = if before.is_none() {
            Change::Created(record)
        } else {
            Change::Updated(record)
        };
        // Sent under the lock so that watchers see changes in the order in which they happened.
        // An error only says that nobody watches.
        let _ = self.changes.send(change);
    }

    /// Everything there is and every change after it, with no gap between the two.
    pub(crate) fn watch(&self) -> (Vec<T>, broadcast::Receiver<Change<T>>) {
        let shelf = self.lock();
        (
            shelf.records.values().cloned().collect(),
            self.changes.subscribe(),
        )
    }

    /// The asked part of the records that `keep` keeps.
    pub(crate) fn page(
        &self,
        request: &PageRequest<'_>,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Page<T>, Status> {
        let size = request.size()?;
        let start = request.start()?;
        let shelf = self.lock();
        let mut kept = shelf.records.values().filter(|record| keep(record));
        let records: Vec<T> = kept.by_ref().skip(start).take(size).cloned().collect();
        let end = start.saturating_add(records.len());
        let rest = kept.count();
        let next = if rest > 0 {
            end.to_string()
        } else {
            String::new()
        };
        let total = shelf.records.values().filter(|record| keep(record)).count();
        Ok(Page {
            records,
            next,
            total: i32::try_from(total).unwrap_or(i32::MAX),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shelf<T>> {
        // No code that can panic runs half-way through a change, so what a poisoned lock guards is whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageRequest<'_> {
    fn size(&self) -> Result<usize, Status> {
        let size = usize::try_from(self.size).map_err(|_| {
            Status::invalid_argument(format!("page_size: {} is negative", self.size))
        })?;
        let chosen = if size == 0 {
            usize::try_from(self.default_size).unwrap_or(LARGEST_PAGE)
        } else {
            size
        };
        Ok(chosen.clamp(1, LARGEST_PAGE))
    }

    fn start(&self) -> Result<usize, Status> {
        if self.token.is_empty() {
            return Ok(0);
        }
        self.token.parse().map_err(|_| {
            Status::invalid_argument("page_token: not one that a list answered. Begin without one")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Note {
        id: String,
        created: i64,
        updated: i64,
    }

    impl Record for Note {
        fn id(&self) -> &str {
            &self.id
        }
        fn created_at(&self) -> Age {
            (self.created, 0)
        }
        fn updated_at(&self) -> Age {
            (self.updated, 0)
        }
    }

    fn note(id: i64, updated: i64) -> Note {
        Note {
            id: id.to_string(),
            created: id,
            updated,
        }
    }

    fn store(count: i64) -> Store<Note> {
        Store::new((0..count).map(|n| note(n, n)))
    }

    fn ask(size: i32, token: &str) -> PageRequest<'_> {
        PageRequest {
            size,
            token,
            default_size: 5,
        }
    }

    #[test]
    fn pages_hold_every_record_once() {
        for (count, size) in [
            (0, 3),
            (1, 3),
            (3, 3),
            (4, 3),
            (12, 5),
            (12, 0),
            (12, 1_000_000),
        ] {
            let store = store(count);
            let mut seen = Vec::new();
            let mut token = String::new();
            loop {
                let page = store.page(&ask(size, &token), |_| true).unwrap();
                assert_eq!(i64::from(page.total), count);
                seen.extend(page.records.into_iter().map(|note| note.created));
                if page.next.is_empty() {
                    break;
                }
                token = page.next;
            }
            assert_eq!(
                seen,
                (0..count).collect::<Vec<_>>(),
                "{count} records, {size} a page"
            );
        }
    }

    #[test]
    fn a_bad_page_request_is_refused() {
        for (size, token, word) in [
            (-1, "", "page_size"),
            (0, "x", "page_token"),
            (0, "-1", "page_token"),
        ] {
            let error = store(3).page(&ask(size, token), |_| true).err().unwrap();
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
            assert!(error.message().contains(word));
        }
    }

    #[test]
    fn a_watch_begins_where_the_list_ends() {
        let store = store(2);
        let (existing, mut changes) = store.watch();
        assert_eq!(existing.len(), 2);
        store
            .create(|n| note(i64::try_from(n).unwrap(), 7))
            .unwrap();
        assert!(matches!(changes.try_recv(), Ok(Change::Created(_))));
    }

    #[test]
    fn a_refused_update_changes_nothing() {
        let store = store(2);
        assert!(
            store
                .update("1", |_| Err(Status::invalid_argument("no")))
                .is_err()
        );
        assert_eq!(store.get("1"), Some(note(1, 1)));
        assert!(store.update("9", Ok).unwrap().is_none());
    }

    #[test]
    fn numbers_are_not_used_again() {
        let numbers = std::cell::RefCell::new(Vec::new());
        for store in [store(0), store(0)] {
            for _ in 0..50 {
                store
                    .create(|n| {
                        numbers.borrow_mut().push(n);
                        note(i64::try_from(n).unwrap(), 0)
                    })
                    .unwrap();
            }
        }
        let numbers = numbers.into_inner();
        assert!(numbers[..50].windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn peers_that_tell_each_other_everything_come_to_rest_on_the_latest() {
        let (one, two) = (store(2), store(2));
        one.update("0", |old| Ok(Note { updated: 10, ..old }))
            .unwrap();
        two.update("0", |old| Ok(Note { updated: 20, ..old }))
            .unwrap();
        one.merge(note(7, 7));
        let (mut from_one, mut from_two) = (one.watch(), two.watch());
        let mut told = 0;
        for record in from_one.0.drain(..) {
            two.merge(record);
        }
        for record in from_two.0.drain(..) {
            one.merge(record);
        }
        loop {
            let mut quiet = true;
            while let Ok(Change::Created(record) | Change::Updated(record)) = from_one.1.try_recv()
            {
                two.merge(record);
                quiet = false;
            }
            while let Ok(Change::Created(record) | Change::Updated(record)) = from_two.1.try_recv()
            {
                one.merge(record);
                quiet = false;
            }
            told += 1;
            assert!(told < 10, "they go on for ever");
            if quiet {
                break;
            }
        }
        assert_eq!(one.get("0"), Some(note(0, 20)));
        assert_eq!(one.watch().0, two.watch().0);
    }
}
