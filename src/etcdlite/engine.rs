//! The one owner of the state: store, leases and alarms behind one lock, and the news of each commit.
//! Invariant: a request is answered from one consistent state; the lock is never held across an
//! await, and messages are built once it is released. Absent: sockets and streams.

mod leases;
mod maintenance;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbPutRequest,
    PbPutResponse, PbRangeRequest, PbRangeResponse, PbResponseHeader, PbTxnRequest, PbTxnResponse,
};
use tokio::sync::{Notify, watch};

use crate::lease::Leases;
use crate::store::Store;
use crate::txn::{self, Write};
use crate::{Refusal, auto_compact, range};

/// What `Status` says: the etcd whose behaviour this is, marked as another build of it.
pub const VERSION: &str = "3.6.0+etcdlite";

/// A raft term and leader that never change: there is one member.
const RAFT_TERM: u64 = 2;

/// Who the server says it is. Ids are new for every server, as its data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// In every response header.
    pub cluster_id: u64,
    /// In every response header.
    pub member_id: u64,
    /// The member's name in the member list.
    pub name: String,
    /// What the member list says clients should dial; empty without a socket.
    pub client_urls: Vec<String>,
}

impl Identity {
    pub(crate) fn new(name: String) -> Self {
        let seed = RandomState::new();
        Self {
            cluster_id: seed.hash_one("cluster"),
            member_id: seed.hash_one("member"),
            name,
            client_urls: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) leases: Leases,
    alarms: BTreeSet<(u64, i32)>,
}

/// Everything the RPCs share.
#[derive(Debug)]
pub(crate) struct Engine {
    state: RwLock<State>,
    committed: watch::Sender<i64>,
    leases_changed: Notify,
    identity: Identity,
    auto_compact_revisions: Option<u64>,
    applied: AtomicU64,
    lease_ids: RandomState,
}

impl Engine {
    pub(crate) fn new(identity: Identity, min_ttl: i64, auto_compact: Option<u64>) -> Self {
        let store = Store::new();
        Self {
            committed: watch::Sender::new(store.current()),
            state: RwLock::new(State {
                store,
                leases: Leases::new(min_ttl),
                alarms: BTreeSet::new(),
            }),
            leases_changed: Notify::new(),
            identity,
            auto_compact_revisions: auto_compact,
            applied: AtomicU64::new(0),
            lease_ids: RandomState::new(),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// News of each new revision.
    pub(crate) fn commits(&self) -> watch::Receiver<i64> {
        self.committed.subscribe()
    }

    /// Reads under the lock; keep it short.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        read(&self.lock().store)
    }

    pub(crate) fn revision(&self) -> i64 {
        self.read(Store::current)
    }

    pub(crate) fn header(&self, revision: i64) -> PbResponseHeader {
        PbResponseHeader {
            cluster_id: self.identity.cluster_id,
            member_id: self.identity.member_id,
            revision,
            raft_term: RAFT_TERM,
        }
    }

    /// The revision a txn or write left, with the rest of the header.
    fn filled(&self, header: Option<PbResponseHeader>) -> Option<PbResponseHeader> {
        header.map(|header| self.header(header.revision))
    }

    pub(crate) fn range(&self, request: &PbRangeRequest) -> Result<PbRangeResponse, Refusal> {
        range::check(request)?;
        let selection = {
            let state = self.lock();
            range::select(&state.store, state.store.current(), request)?
        };
        let header = self.header(selection.revision);
        Ok(selection.into_message(header))
    }

    pub(crate) fn put(&self, request: PbPutRequest) -> Result<PbPutResponse, Refusal> {
        txn::check_put(&request)?;
        let mut state = self.lock_mut();
        state.refuse_growth()?;
        let mut write = state.write();
        let mut response = txn::put(&mut write, request)?;
        write.end();
        self.commit(state);
        response.header = self.filled(response.header);
        Ok(response)
    }

    pub(crate) fn delete(&self, request: PbDeleteRequest) -> Result<PbDeleteResponse, Refusal> {
        txn::check_delete(&request)?;
        let mut state = self.lock_mut();
        state.refuse_corrupt()?;
        let mut write = state.write();
        let mut response = txn::delete(&mut write, request);
        write.end();
        self.commit(state);
        response.header = self.filled(response.header);
        Ok(response)
    }

    pub(crate) fn txn(&self, request: PbTxnRequest) -> Result<PbTxnResponse, Refusal> {
        txn::check_txn(&request)?;
        let mut response = if txn::is_read_only(&request) {
            let state = self.lock();
            txn::read(&state.store, &state.leases, request)?
        } else {
            let mut state = self.lock_mut();
            if txn::puts(&request) {
                state.refuse_growth()?;
            }
            state.refuse_corrupt()?;
            let state_ref = &mut *state;
            let response = txn::write(&mut state_ref.store, &mut state_ref.leases, request)?;
            self.commit(state);
            response
        };
        response.header = self.filled(response.header);
        Ok(response)
    }

    pub(crate) fn compact(
        &self,
        request: PbCompactionRequest,
    ) -> Result<PbCompactionResponse, Refusal> {
        let mut state = self.lock_mut();
        state.refuse_corrupt()?;
        state.store.compact(request.revision)?;
        self.applied.fetch_add(1, Ordering::Relaxed);
        Ok(PbCompactionResponse {
            header: Some(self.header(state.store.current())),
        })
    }

    fn lock(&self) -> RwLockReadGuard<'_, State> {
        // A panic while writing is a bug, but the maps themselves stay sound.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a write: compacts when it is time, and tells the watches.
    fn commit(&self, mut state: RwLockWriteGuard<'_, State>) -> i64 {
        let store = &mut state.store;
        let current = store.current();
        let keep = self.auto_compact_revisions;
        if let Some(revision) = auto_compact::due(current, store.compacted(), keep)
            && let Err(refusal) = store.compact(revision)
        {
            tracing::warn!(revision, %refusal, "automatic compaction was refused");
        }
        self.applied.fetch_add(1, Ordering::Relaxed);
        // Sent under the lock, so that the news never runs backwards.
        self.committed
            .send_if_modified(|seen| std::mem::replace(seen, current) != current);
        drop(state);
        current
    }
}

impl State {
    fn write(&mut self) -> Write<'_> {
        Write::begin(&mut self.store, &mut self.leases)
    }
}
