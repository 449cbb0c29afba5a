//! What the mirror has told its reader of one prefix: each key with a mark of what was told.
//!
//! Pure. Enough to tell a new listing from the old state, and another store from the one that was
//! left; values are the reader's to keep.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use fleet::{Change, Entry, Key, Revision};
use foldhash::fast::{FixedState, RandomState};

use super::History;

/// When a key was written, and a print of all else that stood there: a store that was wiped may
/// hold the same key at the same revision, but hardly with the same lease, history and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    created: Revision,
    modified: Revision,
    print: u64,
}

impl Mark {
    fn of(entry: &Entry) -> Self {
        let mut print = FixedState::default().build_hasher();
        let lease = entry.lease.map_or(0, fleet::LeaseId::get);
        (entry.version, lease).hash(&mut print);
        entry.value.hash(&mut print);
        Self {
            created: entry.create_revision,
            modified: entry.mod_revision,
            print: print.finish(),
        }
    }
}

/// The keys held and their marks.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: HashMap<Key, Mark, RandomState>,
}

impl Held {
    /// Starts from a listing.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut held = Self::default();
        held.add(entries);
        held
    }

    /// Takes note of a part of a listing.
    pub(super) fn add(&mut self, entries: &[Entry]) {
        let marks = entries.iter();
        self.keys
            .extend(marks.map(|entry| (entry.key.clone(), Mark::of(entry))));
    }

    /// Takes note of a change that the reader gets.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => {
                self.keys.insert(entry.key.clone(), Mark::of(entry));
            }
            Change::Delete { key, .. } => {
                self.keys.remove(key);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether this very entry was told.
    pub(super) fn knows(&self, entry: &Entry) -> bool {
        self.keys.get(&entry.key) == Some(&Mark::of(entry))
    }

    /// Whether an entry of the same store, read later, can be what was told or what became of it.
    pub(super) fn knows_or_knew(&self, entry: &Entry) -> bool {
        let now = Mark::of(entry);
        self.keys.get(&entry.key).is_some_and(|then| {
            *then == now || (then.created == now.created && then.modified < now.modified)
        })
    }

    /// The keys written first and last, by which a store shows that it still is the one we know:
    /// as long as the reader's state stands, they are in it. None only when nothing is held.
    pub(super) fn witnesses(&self) -> Vec<Key> {
        let first = self.keys.iter().min_by_key(|(_, mark)| mark.modified);
        let last = self.keys.iter().max_by_key(|(_, mark)| mark.modified);
        let mut witnesses: Vec<Key> = [first, last]
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect();
        witnesses.dedup();
        witnesses
    }

    /// Replaces what is held by a new listing and gives the difference, deletes included.
    pub(super) fn replace(
        &mut self,
        entries: Vec<Entry>,
        at: Revision,
        history: History,
    ) -> Vec<Change> {
        let new = Self::of(&entries);
        let mut old = std::mem::replace(self, new).keys;
        let mut changes: Vec<Change> = entries
            .into_iter()
            .filter(|entry| {
                let before = old.remove(&entry.key);
                history == History::Another || before != Some(Mark::of(entry))
            })
            .map(Change::Put)
            .collect();
        let mut gone: Vec<Key> = old.into_keys().collect();
        gone.sort();
        changes.extend(
            gone.into_iter()
                .map(|key| Change::Delete { key, revision: at }),
        );
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, revision: i64) -> Entry {
        Entry {
            key: key.into(),
            value: (*b"v").into(),
            create_revision: Revision(1),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn shape(changes: &[Change]) -> Vec<String> {
        changes
            .iter()
            .map(|change| match change {
                Change::Put(entry) => format!("put {} {}", entry.key, entry.mod_revision),
                Change::Delete { key, revision } => format!("delete {key} {revision}"),
            })
            .collect()
    }

    #[test]
    fn a_new_listing_differs_by_what_was_written_and_what_is_gone() {
        let mut held = Held::of(&[entry("/a", 2), entry("/b", 3), entry("/c", 4)]);
        let listing = vec![entry("/a", 2), entry("/b", 7), entry("/d", 8)];
        let changes = held.replace(listing.clone(), Revision(9), History::Same);
        assert_eq!(shape(&changes), ["put /b 7", "put /d 8", "delete /c 9"]);
        assert!(
            held.replace(listing, Revision(9), History::Same).is_empty(),
            "nothing has changed since"
        );
    }

    #[test]
    fn in_another_store_an_equal_revision_proves_nothing() {
        let mut held = Held::of(&[entry("/a", 2), entry("/b", 3)]);
        let changes = held.replace(vec![entry("/a", 2)], Revision(2), History::Another);
        assert_eq!(shape(&changes), ["put /a 2", "delete /b 2"]);
    }

    #[test]
    fn an_entry_is_known_by_all_that_stands_in_it() {
        let held = Held::of(&[entry("/a", 2)]);
        assert!(held.knows(&entry("/a", 2)));
        let mut leased = entry("/a", 2);
        leased.lease = fleet::LeaseId::new(7);
        let mut changed = entry("/a", 2);
        changed.value = (*b"w").into();
        for other in [leased, changed, entry("/a", 3), entry("/b", 2)] {
            assert!(!held.knows(&other), "{other:?}");
        }
    }

    #[test]
    fn a_key_that_was_written_since_is_known_by_its_creation() {
        let held = Held::of(&[entry("/a", 2)]);
        let mut later = entry("/a", 9);
        assert!(held.knows_or_knew(&later) && held.knows_or_knew(&entry("/a", 2)));
        later.create_revision = Revision(9);
        assert!(!held.knows_or_knew(&later), "deleted and made anew");
        assert!(!held.knows_or_knew(&entry("/a", 1)), "from before");
    }

    #[test]
    fn a_deleted_key_leaves_others_to_bear_witness() {
        let mut held = Held::of(&[entry("/a", 2), entry("/b", 3), entry("/c", 4)]);
        let names = |held: &Held| {
            let witnesses = held.witnesses().into_iter();
            witnesses.map(|key| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&held), ["/a", "/c"]);
        for (key, left) in [("/c", vec!["/a", "/b"]), ("/a", vec!["/b"]), ("/b", vec![])] {
            held.apply(&Change::Delete {
                key: key.into(),
                revision: Revision(6),
            });
            assert_eq!(names(&held), left);
        }
    }
}
