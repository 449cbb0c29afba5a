//! How far what is shown can be trusted: each mirrored prefix with its revision, and whether etcd
//! still vouches for it.

use std::time::Duration;

use fleet::Revision;

/// How far etcd's word reaches.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Freshness {
    /// The first list has not come.
    #[default]
    Loading,
    /// Proved to be the truth.
    Fresh {
        /// When it was proved last.
        at: Duration,
    },
    /// Held from before, perhaps no longer true.
    Stale {
        /// Since when.
        since: Duration,
        /// Why.
        cause: String,
    },
}

/// One mirrored prefix: how fresh it is and up to which revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// How fresh.
    pub freshness: Freshness,
    /// The newest revision seen.
    pub revision: Revision,
}
