//! One prefix of etcd or several, mirrored: listed once, then followed event by event for ever.
//!
//! No event is missed and none is given twice. A watch resumes after the last event it gave and
//! after nothing else: a reply to a progress request proves freshness but moves no position. When
//! history was compacted or replaced, a new listing is compared with what was given before. The
//! mirror keeps no values, asks for no previous ones, and drops nothing on a slow reader.

pub(crate) mod batch;
mod held;
mod history;
mod listing;
mod merge;
mod outlet;
mod proof;
mod scope;
mod session;
pub(crate) mod watching;

use std::time::Duration;

use fleet::{Change, Entry, Revision};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::client::Client;
pub use history::History;
use outlet::Outlet;
pub use scope::Scope;
use session::Session;

/// How to mirror.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    /// Events held for a slow reader; beyond it etcd is made to wait.
    pub capacity: usize,
    /// Entries for each request of a listing.
    pub page: usize,
    /// How often an idle watch is made to prove that it is up to date.
    pub progress_interval: Duration,
    /// How long such a proof may take before the watch moves to another member.
    pub progress_timeout: Duration,
    /// The longest wait between two attempts to get back to etcd.
    pub retry_ceiling: Duration,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self {
            capacity: 256,
            page: 2_000,
            progress_interval: Duration::from_secs(10),
            progress_timeout: Duration::from_secs(3),
            retry_ceiling: Duration::from_secs(5),
        }
    }
}

/// What a mirror tells its reader, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorEvent {
    /// All there is, as it stood at one revision; once, and before any change.
    Listed {
        /// When it stood so.
        revision: Revision,
        /// In the order of the keys.
        entries: Vec<Entry>,
    },
    /// What one revision changed, in all prefixes, to be applied at once. After a gap in history it
    /// is the difference to what was given before, deletes included.
    Changed {
        /// The revision.
        revision: Revision,
        /// Never empty; a key stands in it once.
        changes: Vec<Change>,
        /// Whether the store is still the one that the earlier events told of.
        history: History,
    },
    /// What was given so far is all there is as of this revision. Given when the watch stands, and
    /// with every later proof.
    Fresh {
        /// The revision.
        revision: Revision,
    },
    /// etcd or the watch is away: what was given before may be out of date from now on. Given
    /// once, and again where the reason is another one, as when an etcd that was away is back and
    /// refuses the user; whatever else comes next ends it.
    Stale {
        /// Why.
        cause: String,
    },
}

/// What a mirror tells a reader that takes the first listing page by page, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PagedEvent {
    /// Entries of the first listing, as they arrive. They are the truth once `Listed` has come.
    Page {
        /// The first page of a listing: what came of one before, which broke off, is void.
        begins: bool,
        /// In the order of the keys.
        entries: Vec<Entry>,
    },
    /// As every reader gets it. `Listed` has no entries of its own: they are those of the pages
    /// since the last one that began a listing.
    Event(MirrorEvent),
}

/// The task that mirrors. Dropping it ends the task; dropping the receiver does, too.
#[derive(Debug)]
pub struct Mirror {
    scope: Scope,
    _task: AbortOnDropHandle<()>,
}

impl Mirror {
    /// Starts mirroring one prefix, or a [`Scope`] of several: then what one revision did to all
    /// of them comes as one `Changed`, at the price of one more exchange with etcd for each
    /// change. Whoever does not need that spawns a mirror for each prefix.
    ///
    /// Events come through a bounded channel; the first is `Listed`, or `Stale` when etcd is away.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn(
        client: Client,
        scope: impl Into<Scope>,
        options: MirrorOptions,
    ) -> (Self, mpsc::Receiver<MirrorEvent>) {
        let (events, receiver) = mpsc::channel(options.capacity.max(1));
        let mirror = Self::start(client, scope.into(), options, Outlet::Whole(events));
        (mirror, receiver)
    }

    /// As [`Mirror::spawn`], for a reader that can make something of a page while the next one is
    /// under way: a large prefix is there sooner, and is never held twice.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn_paged(
        client: Client,
        scope: impl Into<Scope>,
        options: MirrorOptions,
    ) -> (Self, mpsc::Receiver<PagedEvent>) {
        let (events, receiver) = mpsc::channel(options.capacity.max(1));
        let mirror = Self::start(client, scope.into(), options, Outlet::Paged(events));
        (mirror, receiver)
    }

    fn start(client: Client, scope: Scope, options: MirrorOptions, outlet: Outlet) -> Self {
        let session = Session::new(client, &scope, options, outlet);
        let task = AbortOnDropHandle::new(tokio::spawn(session.run()));
        Self { scope, _task: task }
    }

    /// What is mirrored.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}
