//! The words etcd speaks: keys, prefixes, revisions, leases, entries and their changes.
//!
//! A `Prefix` is never empty and a `LeaseId` never zero, so that neither "the whole keyspace" nor
//! "no lease" can be meant by accident. Nothing here does I/O.

use std::fmt;
use std::num::NonZeroI64;
use std::sync::Arc;

use crate::safe::escape_bytes;

/// A point in etcd's history. Revision 0 stands for "does not exist" in a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision of a key that does not exist.
    pub const ZERO: Self = Self(0);

    /// The revision after this one: where a watch resumes.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease that exists or existed. Shown in lower-case hexadecimal, as etcdctl does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(NonZeroI64);

impl LeaseId {
    /// `None` for 0, by which etcd means "no lease".
    #[must_use]
    pub const fn new(id: i64) -> Option<Self> {
        match NonZeroI64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as it stands in etcd's messages.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0.get()
    }

    /// Reads what `Display` writes. `None` when it is not hexadecimal or zero.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16)
            .ok()
            .and_then(|id| Self::new(id.cast_signed()))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0.get())
    }
}

/// An etcd key: any bytes. Clones share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// The bytes as etcd holds them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text; `None` when it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// Lets ordered maps of keys be searched by bytes.
impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Safe for a terminal: control characters and invalid UTF-8 are escaped.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape_bytes(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// The start of many keys, never empty: an empty prefix would select the whole store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Arc<[u8]>);

/// An empty prefix was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an empty prefix would select the whole store; name at least one character")]
pub struct EmptyPrefix;

impl Prefix {
    /// A prefix of at least one byte.
    ///
    /// # Errors
    /// [`EmptyPrefix`] when there is none.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, EmptyPrefix> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            Err(EmptyPrefix)
        } else {
            Ok(Self(bytes.into()))
        }
    }

    /// The bytes every key of the prefix starts with.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first key after the prefix: etcd's `range_end`. A prefix of 0xff bytes alone ends where
    /// the keyspace does, which etcd writes as one zero byte.
    #[must_use]
    pub fn range_end(&self) -> Vec<u8> {
        match self.0.iter().rposition(|byte| *byte < 0xff) {
            Some(last) => {
                let mut end = self.0[..=last].to_vec();
                end[last] += 1;
                end
            }
            None => vec![0],
        }
    }

    /// Whether the key lies under the prefix.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.as_bytes().starts_with(&self.0)
    }

    /// What follows the prefix in the key; `None` when the key lies elsewhere.
    #[must_use]
    pub fn strip<'k>(&self, key: &'k Key) -> Option<&'k [u8]> {
        key.as_bytes().strip_prefix(&*self.0)
    }

    /// The key that continues the prefix.
    #[must_use]
    pub fn join(&self, rest: &str) -> Key {
        Key::from([&*self.0, rest.as_bytes()].concat())
    }

    /// The narrower prefix that continues this one.
    #[must_use]
    pub fn narrow(&self, rest: &str) -> Self {
        Self([&*self.0, rest.as_bytes()].concat().into())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape_bytes(&self.0))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

/// A key with its value as it stands at `mod_revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value: any bytes.
    pub value: Arc<[u8]>,
    /// When the key came to be.
    pub create_revision: Revision,
    /// When this value was written.
    pub mod_revision: Revision,
    /// How many times the key was written since it came to be; 1 at first.
    pub version: i64,
    /// The lease that takes the key with it when it ends.
    pub lease: Option<LeaseId>,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was created or written.
    Put(Entry),
    /// The key was deleted, by hand or with its lease.
    Delete {
        /// The key that is gone.
        key: Key,
        /// When it went.
        revision: Revision,
    },
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// When it changed.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_ends_at_the_first_key_after_the_prefix() {
        for (prefix, end) in [
            (b"/a/".as_slice(), b"/a0".as_slice()),
            (b"a\xff", b"b"),
            (b"\xff\xff", b"\0"),
            (b"a\xfe\xff", b"a\xff"),
        ] {
            assert_eq!(Prefix::new(prefix).unwrap().range_end(), end);
        }
    }

    #[test]
    fn an_empty_prefix_cannot_be_made() {
        assert_eq!(Prefix::new(""), Err(EmptyPrefix));
    }

    #[test]
    fn a_lease_id_is_shown_and_read_as_etcdctl_does() {
        let id = LeaseId::new(0x0694_d8a1_2bcd_ef01).unwrap();
        assert_eq!(id.to_string(), "694d8a12bcdef01");
        assert_eq!(LeaseId::parse_hex("694d8a12bcdef01"), Some(id));
        assert_eq!(
            LeaseId::parse_hex(&LeaseId::new(-2).unwrap().to_string()),
            LeaseId::new(-2)
        );
        assert_eq!(LeaseId::parse_hex("0"), None);
        assert_eq!(LeaseId::parse_hex("xyz"), None);
    }

    #[test]
    fn a_hostile_key_is_shown_escaped() {
        assert_eq!(
            Key::from(b"/a/\x1b[2J\xff".as_slice()).to_string(),
            "/a/\\u{1b}[2J\\xff"
        );
    }

    proptest! {
        #[test]
        fn a_key_is_in_the_range_exactly_when_it_has_the_prefix(
            prefix in prop::collection::vec(any::<u8>(), 1..4),
            key in prop::collection::vec(any::<u8>(), 0..6),
        ) {
            let prefix = Prefix::new(prefix).unwrap();
            let key = Key::from(key);
            let end = prefix.range_end();
            let in_range = key.as_bytes() >= prefix.as_bytes()
                && (end == [0] || key.as_bytes() < end.as_slice());
            prop_assert_eq!(in_range, prefix.contains(&key));
        }
    }
}
