//! What the mirror has told its reader: each key with the revision it was last written at.
//!
//! Pure. Enough to tell a new listing from the old state; values are the reader's to keep.

use std::collections::HashMap;

use fleet::{Change, Entry, Key, Revision};

/// How far a new listing can be trusted to continue the old state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    /// The same store, later: an equal revision means an equal value.
    Continued,
    /// Another store, or the same one wiped: revisions say nothing about what was held.
    Broken,
}

/// The keys held and their revisions.
#[derive(Debug, Default)]
pub(crate) struct Held {
    keys: HashMap<Key, Revision>,
    /// The key written last, by which a store shows that it still is the one we know.
    anchor: Option<(Key, Revision)>,
}

impl Held {
    /// Starts from a listing.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut held = Self::default();
        for entry in entries {
            held.put(entry);
        }
        held
    }

    fn put(&mut self, entry: &Entry) {
        self.keys.insert(entry.key.clone(), entry.mod_revision);
        if self
            .anchor
            .as_ref()
            .is_none_or(|(_, at)| *at <= entry.mod_revision)
        {
            self.anchor = Some((entry.key.clone(), entry.mod_revision));
        }
    }

    /// Takes note of a change that the reader gets.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => self.put(entry),
            Change::Delete { key, .. } => {
                self.keys.remove(key);
                if self
                    .anchor
                    .as_ref()
                    .is_some_and(|(anchor, _)| anchor == key)
                {
                    self.anchor = None;
                }
            }
        }
    }

    /// A key that is held, and the revision it must have had at every later point until now.
    pub(crate) fn anchor(&self) -> Option<&(Key, Revision)> {
        self.anchor.as_ref()
    }

    /// Replaces what is held by a new listing and gives the difference, deletes included.
    pub(crate) fn replace(
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
                history == History::Broken || before != Some(entry.mod_revision)
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
        let changes = held.replace(listing.clone(), Revision(9), History::Continued);
        assert_eq!(shape(&changes), ["put /b 7", "put /d 8", "delete /c 9"]);
        assert!(
            held.replace(listing, Revision(9), History::Continued)
                .is_empty()
        );
    }

    #[test]
    fn in_another_store_an_equal_revision_proves_nothing() {
        let mut held = Held::of(&[entry("/a", 2), entry("/b", 3)]);
        let changes = held.replace(vec![entry("/a", 2)], Revision(2), History::Broken);
        assert_eq!(shape(&changes), ["put /a 2", "delete /b 2"]);
    }

    #[test]
    fn the_anchor_is_a_key_that_is_still_held() {
        let mut held = Held::of(&[entry("/a", 2), entry("/b", 3)]);
        assert_eq!(held.anchor(), Some(&("/b".into(), Revision(3))));
        held.apply(&Change::Put(entry("/a", 5)));
        assert_eq!(held.anchor(), Some(&("/a".into(), Revision(5))));
        held.apply(&Change::Delete {
            key: "/a".into(),
            revision: Revision(6),
        });
        assert_eq!(held.anchor(), None);
    }
}
