//! One change of one key, and the ranges that select keys.
//! Invariant: a record never changes; a tombstone carries its key and revision and nothing else.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use etcd_client::proto::PbKeyValue;

/// A put, or a deletion when `tombstone`.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: Arc<[u8]>,
    pub(crate) value: Arc<[u8]>,
    /// The revision of the change, and its place inside that revision.
    pub(crate) main: i64,
    pub(crate) sub: u32,
    pub(crate) created: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    pub(crate) tombstone: bool,
}

impl Record {
    /// The message for it; a tombstone shows key and modification revision only, as in etcd.
    pub(crate) fn to_message(&self) -> PbKeyValue {
        PbKeyValue {
            key: self.key.to_vec(),
            value: self.value.to_vec(),
            create_revision: self.created,
            mod_revision: self.main,
            version: self.version,
            lease: self.lease,
        }
    }

    /// Whether this put made the key.
    pub(crate) fn is_create(&self) -> bool {
        !self.tombstone && self.created == self.main
    }

    /// Memory it takes, about: its bytes, and its places in the index and the history.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + size_of::<Self>() + 64
    }
}

/// Keys selected as etcd does: one key, `[key, end)`, or from a key on (`end` of a single zero byte).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRange {
    One(Vec<u8>),
    Span(Vec<u8>, Vec<u8>),
    From(Vec<u8>),
}

impl KeyRange {
    pub(crate) fn new(key: Vec<u8>, end: Vec<u8>) -> Self {
        match end.as_slice() {
            [] => Self::One(key),
            [0] => Self::From(key),
            _ => Self::Span(key, end),
        }
    }

    /// Whether no key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Span(key, end) if key.cmp(end) != Ordering::Less)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one.as_slice() == key,
            Self::Span(start, end) => start.as_slice() <= key && key < end.as_slice(),
            Self::From(start) => start.as_slice() <= key,
        }
    }

    /// Bounds for an ordered map; only for a range that is not empty.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::One(key) => (Bound::Included(key), Bound::Included(key)),
            Self::Span(start, end) => (Bound::Included(start), Bound::Excluded(end)),
            Self::From(start) => (Bound::Included(start), Bound::Unbounded),
        }
    }
}
