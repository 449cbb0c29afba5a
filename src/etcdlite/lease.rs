//! Leases: who holds which keys, and until when. Pure: the clock is handed in.
//! Invariant: a key is attached to at most one lease, the one its live record names.
//! Absent: deleting keys; a revoked lease hands its keys to the caller.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Refusal;

/// etcd's own bound, in seconds.
pub(crate) const MAX_TTL: i64 = 9_000_000_000;

#[derive(Debug)]
struct Lease {
    granted: i64,
    expiry: Instant,
    keys: BTreeSet<Arc<[u8]>>,
}

/// Every lease, by id and by expiry.
#[derive(Debug)]
pub(crate) struct Leases {
    min_ttl: i64,
    by_id: HashMap<i64, Lease>,
    by_expiry: BTreeSet<(Instant, i64)>,
}

/// What `TimeToLive` tells of a lease; seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remaining {
    pub(crate) ttl: i64,
    pub(crate) granted: i64,
    pub(crate) keys: Vec<Vec<u8>>,
}

impl Leases {
    /// Shorter grants are raised to `min_ttl` seconds, itself between 1 and the longest grant.
    pub(crate) fn new(min_ttl: i64) -> Self {
        Self {
            min_ttl,
            by_id: HashMap::new(),
            by_expiry: BTreeSet::new(),
        }
    }

    /// Grants `id` for at least `ttl` seconds; returns what was granted.
    pub(crate) fn grant(&mut self, id: i64, ttl: i64, now: Instant) -> Result<i64, Refusal> {
        if ttl > MAX_TTL {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.by_id.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        let granted = ttl.max(self.min_ttl);
        let expiry = now + seconds(granted);
        self.by_id.insert(
            id,
            Lease {
                granted,
                expiry,
                keys: BTreeSet::new(),
            },
        );
        self.by_expiry.insert((expiry, id));
        Ok(granted)
    }

    /// Sets a lease back to its full time; `None` when it is gone or its time is over.
    pub(crate) fn renew(&mut self, id: i64, now: Instant) -> Option<i64> {
        let lease = self.by_id.get_mut(&id).filter(|lease| lease.expiry > now)?;
        self.by_expiry.remove(&(lease.expiry, id));
        lease.expiry = now + seconds(lease.granted);
        self.by_expiry.insert((lease.expiry, id));
        Some(lease.granted)
    }

    /// Makes a lease expire at `now`; whether it was there.
    pub(crate) fn expire(&mut self, id: i64, now: Instant) -> bool {
        let Some(lease) = self.by_id.get_mut(&id) else {
            return false;
        };
        self.by_expiry.remove(&(lease.expiry, id));
        lease.expiry = now;
        self.by_expiry.insert((now, id));
        true
    }

    /// Takes a lease away; its keys, in order, are the caller's to delete.
    pub(crate) fn revoke(&mut self, id: i64) -> Result<BTreeSet<Arc<[u8]>>, Refusal> {
        let lease = self.by_id.remove(&id).ok_or(Refusal::LeaseNotFound)?;
        self.by_expiry.remove(&(lease.expiry, id));
        Ok(lease.keys)
    }

    pub(crate) fn exists(&self, id: i64) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn attach(&mut self, id: i64, key: &Arc<[u8]>) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.insert(Arc::clone(key));
        }
    }

    pub(crate) fn detach(&mut self, id: i64, key: &[u8]) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// Whole seconds left, rounded towards zero as etcd does.
    pub(crate) fn remaining(&self, id: i64, now: Instant) -> Option<Remaining> {
        let lease = self.by_id.get(&id)?;
        let left = lease.expiry.saturating_duration_since(now);
        Some(Remaining {
            ttl: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            granted: lease.granted,
            keys: lease.keys.iter().map(|key| key.to_vec()).collect(),
        })
    }

    /// Every id, the soonest to expire first.
    pub(crate) fn ids(&self) -> Vec<i64> {
        self.by_expiry.iter().map(|(_, id)| *id).collect()
    }

    /// When the next lease expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.by_expiry.first().map(|(expiry, _)| *expiry)
    }

    /// A lease whose time is over.
    pub(crate) fn expired(&self, now: Instant) -> Option<i64> {
        self.by_expiry
            .first()
            .filter(|(expiry, _)| *expiry <= now)
            .map(|(_, id)| *id)
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
