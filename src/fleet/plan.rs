//! The one road for writes: an edit that carries what its author saw, and the plan that commits
//! many of them as one guarded transaction.
//!
//! A plan that exists can be sent: no key twice, at most [`MAX_EDITS`] of them, within etcd's
//! request limit, and nothing in it that would change nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kv::{Entry, Key, LeaseId, Revision};

/// etcd refuses a transaction of more than 128 compares or operations.
pub(crate) const MAX_OPERATIONS: usize = 128;

/// The most keys one plan edits: one place is left for the record of the change.
pub const MAX_EDITS: usize = MAX_OPERATIONS - 1;

/// etcd's default `--max-request-bytes` of 1.5 MiB, less room for the envelope of a transaction.
pub const MAX_BYTES: usize = 1_572_864 - 16_384;

/// What the author of an edit saw. The write happens only while it is still so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// There was no such key.
    Absent,
    /// The key stood like this.
    At(Entry),
}

impl Seen {
    /// The revision the guard compares with; zero stands for absent.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Absent => Revision::ZERO,
            Self::At(entry) => entry.mod_revision,
        }
    }

    /// The value that was seen.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Absent => None,
            Self::At(entry) => Some(&entry.value),
        }
    }
}

impl From<Option<Entry>> for Seen {
    fn from(entry: Option<Entry>) -> Self {
        entry.map_or(Self::Absent, Self::At)
    }
}

/// What becomes of the key's lease. A put that says nothing detaches it, and a registration
/// edited that way outlives its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseRule {
    /// The key has no lease afterwards.
    None,
    /// The key keeps the lease it has (`ignore_lease`).
    Keep,
    /// The key lives as long as this lease.
    Attach(LeaseId),
}

/// What an edit writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put this value.
    Put {
        /// The new value.
        value: Arc<[u8]>,
        /// What becomes of the lease.
        lease: LeaseRule,
    },
    /// Delete the key.
    Delete,
}

/// One key's change, with what its author saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The key.
    pub key: Key,
    /// What the author saw; the guard.
    pub seen: Seen,
    /// What to write.
    pub write: Write,
}

impl Edit {
    /// Puts a value, keeping the lease of a key that has one.
    #[must_use]
    pub fn put(key: Key, seen: Seen, value: impl Into<Arc<[u8]>>) -> Self {
        let lease = match &seen {
            Seen::At(Entry { lease: Some(_), .. }) => LeaseRule::Keep,
            _ => LeaseRule::None,
        };
        Self {
            key,
            seen,
            write: Write::Put {
                value: value.into(),
                lease,
            },
        }
    }

    /// Deletes the key.
    #[must_use]
    pub fn delete(key: Key, seen: Seen) -> Self {
        Self {
            key,
            seen,
            write: Write::Delete,
        }
    }

    /// Whether the store would be the same afterwards.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        match (&self.seen, &self.write) {
            (Seen::Absent, Write::Delete) => true,
            (Seen::At(entry), Write::Put { value, lease }) => {
                entry.value == *value
                    && match lease {
                        LeaseRule::Keep => true,
                        LeaseRule::None => entry.lease.is_none(),
                        LeaseRule::Attach(id) => entry.lease == Some(*id),
                    }
            }
            _ => false,
        }
    }

    /// About how many bytes of a request it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // The key stands in the compare, in the write and in the read of the failure branch; each
        // of these has some framing.
        let value = match &self.write {
            Write::Put { value, .. } => value.len(),
            Write::Delete => 0,
        };
        self.key.as_bytes().len() * 3 + value + 64
    }
}

/// Edits that are written together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    edits: Vec<Edit>,
}

/// Why edits are no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// One key, two edits: which is meant?
    #[error("{0} is edited twice in one change; keep one of the edits")]
    Twice(Key),
    /// More keys than a transaction takes.
    #[error(
        "{0} keys in one change, etcd takes {MAX_EDITS} at once; split it by service or by prefix"
    )]
    TooMany(usize),
    /// More bytes than a request takes.
    #[error(
        "the change is {0} bytes, etcd takes {MAX_BYTES} at once; split it, or keep large values elsewhere"
    )]
    TooLarge(usize),
    /// A key without a character.
    #[error("a key is empty; name it")]
    EmptyKey,
}

impl Plan {
    /// Makes a plan of the edits that change something.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(edits: impl IntoIterator<Item = Edit>) -> Result<Self, PlanError> {
        let mut keys = BTreeSet::new();
        let mut kept = Vec::new();
        let mut bytes = 0usize;
        for edit in edits {
            if edit.key.as_bytes().is_empty() {
                return Err(PlanError::EmptyKey);
            }
            if !keys.insert(edit.key.clone()) {
                return Err(PlanError::Twice(edit.key));
            }
            if !edit.changes_nothing() {
                bytes += edit.bytes();
                kept.push(edit);
            }
        }
        if kept.len() > MAX_EDITS {
            return Err(PlanError::TooMany(kept.len()));
        }
        if bytes > MAX_BYTES {
            return Err(PlanError::TooLarge(bytes));
        }
        Ok(Self { edits: kept })
    }

    /// Adds records of the change, which are written with it or not at all; to a plan that writes
    /// nothing it adds nothing.
    ///
    /// # Errors
    /// [`PlanError`] when plan and records are too much for one transaction, or one key is in both.
    pub fn with_records(
        mut self,
        records: impl IntoIterator<Item = Edit>,
    ) -> Result<Self, PlanError> {
        if self.is_empty() {
            return Ok(self);
        }
        self.edits.extend(records);
        let (edits, bytes) = (self.edits.len(), self.edits.iter().map(Edit::bytes).sum());
        if edits > MAX_OPERATIONS {
            return Err(PlanError::TooMany(edits));
        }
        if bytes > MAX_BYTES {
            return Err(PlanError::TooLarge(bytes));
        }
        let mut keys = BTreeSet::new();
        match self.edits.iter().find(|edit| !keys.insert(&edit.key)) {
            Some(twice) => Err(PlanError::Twice(twice.key.clone())),
            None => Ok(self),
        }
    }

    /// The edits, in the order given.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was written, at this revision. An empty plan writes nothing and is applied at the
    /// revision the store was seen at.
    Applied {
        /// The revision of the transaction.
        revision: Revision,
    },
    /// Nothing was written: these keys had changed.
    Refused {
        /// Each key that was not as seen.
        conflicts: Vec<Conflict>,
    },
    /// It was sent and no answer came, and reading did not tell.
    Unknown {
        /// Why.
        cause: String,
    },
}

/// A key that was not as its author had seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Key,
    /// What the author had seen.
    pub seen: Seen,
    /// What stands there now.
    pub current: Option<Entry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str, lease: i64) -> Entry {
        Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(3),
            mod_revision: Revision(5),
            version: 2,
            lease: LeaseId::new(lease),
        }
    }

    #[test]
    fn an_edit_keeps_the_lease_of_a_key_that_has_one() {
        let leased = Edit::put("/a".into(), Seen::At(entry("/a", "1", 7)), *b"2");
        assert!(matches!(
            leased.write,
            Write::Put {
                lease: LeaseRule::Keep,
                ..
            }
        ));
        let free = Edit::put("/a".into(), Seen::At(entry("/a", "1", 0)), *b"2");
        assert!(matches!(
            free.write,
            Write::Put {
                lease: LeaseRule::None,
                ..
            }
        ));
    }

    #[test]
    fn what_changes_nothing_is_left_out() {
        let same = Edit::put("/a".into(), Seen::At(entry("/a", "1", 0)), *b"1");
        let gone = Edit::delete("/b".into(), Seen::Absent);
        let real = Edit::put("/c".into(), Seen::Absent, *b"1");
        let plan = Plan::new([same, gone, real.clone()]).unwrap();
        assert_eq!(plan.edits(), [real]);
    }

    #[test]
    fn a_new_lease_on_an_equal_value_is_a_change() {
        let edit = Edit {
            key: "/a".into(),
            seen: Seen::At(entry("/a", "1", 7)),
            write: Write::Put {
                value: (*b"1").into(),
                lease: LeaseRule::Attach(LeaseId::new(8).unwrap()),
            },
        };
        assert!(!edit.changes_nothing());
    }

    #[test]
    fn a_plan_that_cannot_be_sent_cannot_be_made() {
        let put = |key: String| Edit::put(key.into(), Seen::Absent, *b"1");
        assert!(Plan::new((0..MAX_EDITS).map(|i| put(format!("/k{i}")))).is_ok());
        assert_eq!(
            Plan::new((0..=MAX_EDITS).map(|i| put(format!("/k{i}")))),
            Err(PlanError::TooMany(MAX_EDITS + 1))
        );
        assert_eq!(
            Plan::new([put("/a".into()), put("/a".into())]),
            Err(PlanError::Twice("/a".into()))
        );
        assert_eq!(Plan::new([put(String::new())]), Err(PlanError::EmptyKey));
        let large = Edit::put("/a".into(), Seen::Absent, vec![0; 2 << 20]);
        assert!(matches!(Plan::new([large]), Err(PlanError::TooLarge(_))));
    }

    #[test]
    fn the_guard_of_an_absent_key_is_revision_zero() {
        assert_eq!(Seen::Absent.revision(), Revision::ZERO);
        assert_eq!(Seen::At(entry("/a", "1", 0)).revision(), Revision(5));
    }
}
