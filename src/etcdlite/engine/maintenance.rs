//! Alarms, hashes and sizes.
//! Invariant: an active alarm refuses what it refuses in etcd: NOSPACE what grows the store, CORRUPT
//! every change. Nothing raises an alarm but a request: there is no quota and no disk.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::atomic::Ordering;

use super::{Engine, RAFT_TERM, State};
use crate::Refusal;

const NO_SPACE: i32 = 1;
const CORRUPT: i32 = 2;

/// Figures for `Status`.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) revision: i64,
    pub(crate) bytes: i64,
    pub(crate) raft_index: u64,
    pub(crate) raft_term: u64,
    /// Active alarms: member and kind.
    pub(crate) alarms: Vec<(u64, i32)>,
}

/// A hash over what is stored, with the revisions it speaks of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreHash {
    pub(crate) hash: u32,
    pub(crate) revision: i64,
    pub(crate) hashed: i64,
    pub(crate) compacted: i64,
}

impl Engine {
    pub(crate) fn figures(&self) -> Figures {
        let state = self.lock();
        Figures {
            revision: state.store.current(),
            bytes: i64::try_from(state.store.bytes()).unwrap_or(i64::MAX),
            raft_index: self.applied.load(Ordering::Relaxed),
            raft_term: RAFT_TERM,
            alarms: state.alarms.iter().copied().collect(),
        }
    }

    /// Hashes everything retained up to `revision` (0: all). Equal contents and histories hash
    /// equally on any etcdlite; the value means nothing to an etcd, whose bytes on disk differ.
    pub(crate) fn hash(&self, revision: i64) -> Result<StoreHash, Refusal> {
        let state = self.lock();
        let store = &state.store;
        let hashed = store.readable(revision, store.current())?;
        let mut hasher = DefaultHasher::new();
        for record in store.records(hashed) {
            hasher.write_i64(record.main);
            hasher.write_u32(record.sub);
            hasher.write_usize(record.key.len());
            hasher.write(&record.key);
            hasher.write_usize(record.value.len());
            hasher.write(&record.value);
            hasher.write_i64(record.lease);
            hasher.write_u8(u8::from(record.tombstone));
        }
        let wide = hasher.finish();
        let folded = (wide ^ (wide >> 32)) & u64::from(u32::MAX);
        Ok(StoreHash {
            hash: u32::try_from(folded).unwrap_or(u32::MAX),
            revision: store.current(),
            hashed,
            compacted: store.compacted(),
        })
    }

    /// Active alarms of a kind; kind 0 asks for all.
    pub(crate) fn alarms(&self, kind: i32) -> Vec<(u64, i32)> {
        let state = self.lock();
        state
            .alarms
            .iter()
            .filter(|alarm| kind == 0 || alarm.1 == kind)
            .copied()
            .collect()
    }

    /// Raises an alarm; whether there is such a kind.
    pub(crate) fn raise_alarm(&self, member: u64, kind: i32) -> bool {
        let known = matches!(kind, NO_SPACE | CORRUPT);
        if known {
            self.lock_mut().alarms.insert((member, kind));
        }
        known
    }

    /// Ends an alarm; whether it was active.
    pub(crate) fn end_alarm(&self, member: u64, kind: i32) -> bool {
        self.lock_mut().alarms.remove(&(member, kind))
    }
}

impl State {
    pub(super) fn refuse_growth(&self) -> Result<(), Refusal> {
        self.refuse_corrupt()?;
        if self.alarm(NO_SPACE) {
            Err(Refusal::NoSpace)
        } else {
            Ok(())
        }
    }

    pub(super) fn refuse_corrupt(&self) -> Result<(), Refusal> {
        if self.alarm(CORRUPT) {
            Err(Refusal::Corrupt)
        } else {
            Ok(())
        }
    }

    fn alarm(&self, kind: i32) -> bool {
        self.alarms.iter().any(|alarm| alarm.1 == kind)
    }
}
