//! A mirror's reader that keeps books of all of etcd: what stands there as far as it was told, and
//! everything that it was told twice, out of order or for nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use etcd::{Client, Listing, Mirror, MirrorEvent, MirrorOptions};
use fleet::{Change, Key, Prefix, Revision};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::fleet::NUMBER;

/// What a fault leaves of etcd's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    /// Every change can be told, and has to be, once.
    Whole,
    /// Changes that nobody was told of in time are gone: the last state has to be told.
    Gapped,
    /// Another history began: revisions may be lower.
    Broken,
}

pub(crate) struct Ledger {
    book: Arc<Mutex<Book>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Book {
    state: BTreeMap<Key, (Revision, Arc<[u8]>)>,
    last: Option<Revision>,
    fresh: bool,
    /// A loss was told, for this reason, and nothing came since.
    lost: Option<String>,
    /// It was told that another history began.
    another: bool,
    /// At which revisions the number was told.
    numbers: Vec<Revision>,
    wrongs: Vec<String>,
}

impl Ledger {
    /// Opens the books. Must be called within the fleet's runtime.
    pub(crate) fn open(client: Client) -> Ledger {
        let everything = Prefix::new("/").unwrap();
        let (mirror, events) = Mirror::spawn(client, everything, MirrorOptions::default());
        let book = Arc::default();
        let task = tokio::spawn(keep(mirror, events, Arc::clone(&book)));
        Ledger {
            book,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.book.lock().unwrap().fresh
    }

    /// What it has otherwise than a listing of everything; `None` when nothing.
    pub(crate) fn differs_from(&self, listing: &Listing) -> Option<String> {
        let book = self.book.lock().unwrap();
        if !book.fresh {
            return Some("the ledger is stale".into());
        }
        if listing.entries.len() != book.state.len() {
            let (listed, held) = (listing.entries.len(), book.state.len());
            return Some(format!("the ledger holds {held} keys of {listed}"));
        }
        listing.entries.iter().find_map(|entry| {
            let held = book.state.get(&entry.key);
            let same = held
                .is_some_and(|(at, value)| *at == entry.mod_revision && **value == *entry.value);
            (!same).then(|| format!("the ledger holds an older {}", entry.key))
        })
    }

    /// Looks through the books since the last time: what was told wrongly, or not at all of what
    /// was written.
    pub(crate) fn audit(&self, written: &[Revision], history: History) -> Option<String> {
        let mut book = self.book.lock().unwrap();
        let another = std::mem::take(&mut book.another);
        let told = std::mem::take(&mut book.numbers);
        let wrongs = std::mem::take(&mut book.wrongs);
        if !wrongs.is_empty() {
            return Some(wrongs.join("; "));
        }
        if another != (history == History::Broken) {
            return Some(format!("told of another store: {another}"));
        }
        let right = match history {
            History::Whole => told == written,
            History::Gapped => {
                told.last() == written.last() && told.iter().all(|one| written.contains(one))
            }
            History::Broken => told.last() == written.last(),
        };
        (!right).then(|| format!("written at {written:?}, told of {told:?}"))
    }
}

async fn keep(_mirror: Mirror, mut events: mpsc::Receiver<MirrorEvent>, book: Arc<Mutex<Book>>) {
    while let Some(event) = events.recv().await {
        book.lock().unwrap().take(event);
    }
}

impl Book {
    fn take(&mut self, event: MirrorEvent) {
        if !matches!(event, MirrorEvent::Stale { .. }) {
            self.lost = None;
        }
        match event {
            MirrorEvent::Listed { revision, entries } => {
                if self.last.replace(revision).is_some() {
                    self.wrongs.push("listed twice".into());
                }
                for entry in entries {
                    self.put(&entry.key, entry.mod_revision, entry.value);
                }
            }
            MirrorEvent::Changed {
                revision,
                changes,
                history,
            } => {
                let before = self.last.replace(revision);
                let same = history == etcd::History::Same;
                if !same {
                    // The difference to the other store is told as changes of what is held.
                    self.another = true;
                    for (at, _) in self.state.values_mut() {
                        *at = Revision::ZERO;
                    }
                }
                if before.is_none_or(|before| before >= revision) && same {
                    self.wrongs.push(format!("{revision} after {before:?}"));
                }
                if changes.is_empty() {
                    self.wrongs.push(format!("nothing changed at {revision}"));
                }
                for change in changes {
                    match change {
                        Change::Put(entry) => self.put(&entry.key, entry.mod_revision, entry.value),
                        Change::Delete { key, .. } => {
                            if self.state.remove(&key).is_none() {
                                self.wrongs.push(format!("{key} deleted twice"));
                            }
                        }
                    }
                }
            }
            MirrorEvent::Fresh { .. } => self.fresh = true,
            MirrorEvent::Stale { cause } => {
                self.fresh = false;
                if self.lost.as_ref() == Some(&cause) {
                    self.wrongs.push(format!("stale twice: {cause}"));
                }
                self.lost = Some(cause);
            }
        }
    }

    fn put(&mut self, key: &Key, at: Revision, value: Arc<[u8]>) {
        if *key == Key::from(NUMBER) {
            self.numbers.push(at);
        }
        let before = self.state.insert(key.clone(), (at, value));
        if let Some((before, _)) = before.filter(|(before, _)| *before >= at) {
            self.wrongs.push(format!("{key} at {at} after {before}"));
        }
    }
}
