//! What one instance remembers: records in the order of their creation, found by id, told to watchers.
//! In memory and bounded; nothing is shared between instances and nothing outlives the process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;
use tonic::Status;

/// No instance keeps more records than this; a demo is no place to run out of memory.
const CAPACITY: usize = 100_000;
/// A watcher that falls this many changes behind is told so and must watch again.
const BACKLOG: usize = 256;
/// The largest page that a list answers with.
const LARGEST_PAGE: usize = 1_000;

/// Records of one kind.
pub(crate) struct Store<T> {
    shelf: Mutex<Shelf<T>>,
    changes: broadcast::Sender<Change<T>>,
}

struct Shelf<T> {
    records: Vec<T>,
    by_id: HashMap<String, usize>,
    /// Ids made so far; an id is never used again.
    made: u64,
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

impl<T: Clone + Send + 'static> Store<T> {
    pub(crate) fn new(seed: impl IntoIterator<Item = (String, T)>) -> Self {
        let mut shelf = Shelf {
            records: Vec::new(),
            by_id: HashMap::new(),
            made: 0,
        };
        for (id, record) in seed {
            shelf.push(id, record);
        }
        Self {
            shelf: Mutex::new(shelf),
            changes: broadcast::channel(BACKLOG).0,
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<T> {
        let shelf = self.lock();
        shelf.by_id.get(id).map(|&at| shelf.records[at].clone())
    }

    /// Keeps the record that `make` builds from a fresh number. Fails only when the store is full.
    pub(crate) fn create(&self, make: impl FnOnce(u64) -> (String, T)) -> Result<T, Status> {
        let mut shelf = self.lock();
        if shelf.records.len() >= CAPACITY {
            return Err(Status::resource_exhausted(format!(
                "this instance keeps at most {CAPACITY} records. Restart the demo to begin anew"
            )));
        }
        let (id, record) = make(shelf.made + 1);
        shelf.push(id, record.clone());
        // Sent under the lock so that watchers see changes in the order in which they happened.
        // An error only says that nobody watches.
        let _ = self.changes.send(Change::Created(record.clone()));
        Ok(record)
    }

    /// Replaces a record by what `change` makes of it; an error leaves it as it was.
    pub(crate) fn update(
        &self,
        id: &str,
        change: impl FnOnce(T) -> Result<T, Status>,
    ) -> Result<Option<T>, Status> {
        let mut shelf = self.lock();
        let Some(&at) = shelf.by_id.get(id) else {
            return Ok(None);
        };
        let record = change(shelf.records[at].clone())?;
        shelf.records[at] = record.clone();
        let _ = self.changes.send(Change::Updated(record.clone()));
        Ok(Some(record))
    }

    /// Everything there is and every change after it, with no gap between the two.
    pub(crate) fn watch(&self) -> (Vec<T>, broadcast::Receiver<Change<T>>) {
        let shelf = self.lock();
        (shelf.records.clone(), self.changes.subscribe())
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
        let mut kept = shelf.records.iter().filter(|record| keep(record));
        let records: Vec<T> = kept.by_ref().skip(start).take(size).cloned().collect();
        let end = start.saturating_add(records.len());
        let rest = kept.count();
        let next = if rest > 0 {
            end.to_string()
        } else {
            String::new()
        };
        let total = shelf.records.iter().filter(|record| keep(record)).count();
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

impl<T> Shelf<T> {
    fn push(&mut self, id: String, record: T) {
        self.by_id.insert(id, self.records.len());
        self.records.push(record);
        self.made += 1;
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

    fn store(count: usize) -> Store<usize> {
        Store::new((0..count).map(|n| (n.to_string(), n)))
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
                assert_eq!(page.total, i32::try_from(count).unwrap());
                seen.extend(page.records);
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
        assert_eq!(existing, [0, 1]);
        store.create(|n| (n.to_string(), 7)).unwrap();
        assert!(matches!(changes.try_recv(), Ok(Change::Created(7))));
    }

    #[test]
    fn a_refused_update_changes_nothing() {
        let store = store(2);
        assert!(
            store
                .update("1", |_| Err(Status::invalid_argument("no")))
                .is_err()
        );
        assert_eq!(store.get("1"), Some(1));
        assert!(store.update("9", Ok).unwrap().is_none());
    }
}
