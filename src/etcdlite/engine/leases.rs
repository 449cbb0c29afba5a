//! Leases over the state: grants, renewals, and revocations that delete what the lease held.
//! Invariant: the keys of a revoked lease go at one revision, in key order.

use std::hash::BuildHasher;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Engine, State};
use crate::Refusal;
use crate::lease::Remaining;
use crate::store::KeyRange;

/// A lease as granted: id, seconds, and the revision it was granted at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Granted {
    pub(crate) id: i64,
    pub(crate) ttl: i64,
    pub(crate) revision: i64,
}

impl Engine {
    /// Grants a lease; id 0 asks for one to be chosen.
    pub(crate) fn lease_grant(&self, id: i64, ttl: i64) -> Result<Granted, Refusal> {
        let mut state = self.lock_mut();
        state.refuse_growth()?;
        let id = if id == 0 {
            self.free_lease_id(&state)
        } else {
            id
        };
        let ttl = state.leases.grant(id, ttl, Instant::now())?;
        let revision = state.store.current();
        drop(state);
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.leases_changed.notify_one();
        Ok(Granted { id, ttl, revision })
    }

    /// Revokes a lease and deletes its keys; returns the revision afterwards.
    pub(crate) fn lease_revoke(&self, id: i64) -> Result<i64, Refusal> {
        let mut state = self.lock_mut();
        state.refuse_corrupt()?;
        state.revoke(id)?;
        Ok(self.commit(state))
    }

    /// Renews a lease: its full seconds, or `None` when it is gone or its time is over.
    pub(crate) fn lease_renew(&self, id: i64) -> Option<i64> {
        self.lock_mut().leases.renew(id, Instant::now())
    }

    pub(crate) fn lease_remaining(&self, id: i64) -> Option<Remaining> {
        self.lock().leases.remaining(id, Instant::now())
    }

    pub(crate) fn lease_ids(&self) -> Vec<i64> {
        self.lock().leases.ids()
    }

    /// Makes a lease's time be over now; whether it exists.
    pub(crate) fn lease_expire(&self, id: i64) -> bool {
        let known = self.lock_mut().leases.expire(id, Instant::now());
        self.leases_changed.notify_one();
        known
    }

    /// Revokes each lease as its time is over. Never ends; dropping it ends it.
    pub(crate) async fn revoke_expired(&self) {
        loop {
            let next = self.lock().leases.next_expiry();
            let Some(next) = next else {
                self.leases_changed.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.leases_changed.notified() => continue,
            }
            while self.revoke_one_expired() {
                // Thousands may expire at once; others get the lock and the thread in between.
                tokio::task::yield_now().await;
            }
        }
    }

    fn revoke_one_expired(&self) -> bool {
        let mut state = self.lock_mut();
        let Some(id) = state.leases.expired(Instant::now()) else {
            return false;
        };
        if state.revoke(id).is_ok() {
            let revision = self.commit(state);
            tracing::debug!(lease = format_args!("{id:x}"), revision, "lease expired");
        }
        true
    }

    fn free_lease_id(&self, state: &State) -> i64 {
        let mut salt = self.applied.load(Ordering::Relaxed);
        loop {
            let id = i64::try_from(self.lease_ids.hash_one(salt) >> 1).unwrap_or(1);
            if id != 0 && !state.leases.exists(id) {
                return id;
            }
            salt = salt.wrapping_add(1);
        }
    }
}

impl State {
    fn revoke(&mut self, id: i64) -> Result<(), Refusal> {
        let keys = self.leases.revoke(id)?;
        let mut write = self.write();
        for key in keys {
            write.delete(&KeyRange::One(key.to_vec()));
        }
        write.end();
        Ok(())
    }
}
