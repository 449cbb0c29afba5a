//! Leases as single calls: grant, revoke, look. Keeping one alive is `LeaseKeeper`'s.
//!
//! A grant names its own id, so that repeating it after a lost answer makes no second lease.

use std::time::Duration;

use etcd_client::proto as pb;
use fleet::{Key, LeaseId};
use rand::Rng;

use super::Client;
use super::call;
use super::link::{Call, Repeat};
use crate::error::Error;

/// A lease that was just granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantedLease {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives without being kept alive; etcd may raise what was asked for.
    pub ttl: Duration,
}

/// Whether to ask for the keys that a lease takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseKeys {
    /// With the keys.
    Listed,
    /// Without.
    Omitted,
}

/// A lease as etcd sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its id.
    pub id: LeaseId,
    /// The time to live it was granted with, in seconds.
    pub granted: i64,
    /// What is left of it, in seconds; `None` when it has expired and waits for its revocation.
    pub ttl: Option<i64>,
    /// The keys that go with it; empty unless asked for.
    pub keys: Vec<Key>,
}

impl Client {
    /// Grants a lease of at least a second.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn lease_grant(&self, ttl: Duration) -> Result<GrantedLease, Error> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).max(1);
        let id = rand::rng().random_range(1..=i64::MAX);
        let lease = LeaseId::new(id);
        let request = pb::PbLeaseGrantRequest { ttl: seconds, id };
        let call = Call {
            repeat: Repeat::Same,
            lease,
            ..self.reading(&call::LEASE_GRANT)
        };
        let granted = match self.link.call(call, request).await {
            Ok::<pb::PbLeaseGrantResponse, _>(response) => response.ttl,
            // An attempt whose answer was lost had made it.
            Err(Error::LeaseExists { .. }) => seconds,
            Err(error) => return Err(error),
        };
        let id = lease.ok_or_else(|| Error::Settings("a lease id cannot be zero".to_owned()))?;
        Ok(GrantedLease {
            id,
            ttl: Duration::from_secs(u64::try_from(granted).unwrap_or(0)),
        })
    }

    /// Ends a lease and deletes its keys. A lease that is gone already is no error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        let call = Call {
            repeat: Repeat::Same,
            lease: Some(id),
            ..self.reading(&call::LEASE_REVOKE)
        };
        let request = pb::PbLeaseRevokeRequest { id: id.get() };
        match self
            .link
            .call::<_, pb::PbLeaseRevokeResponse>(call, request)
            .await
        {
            Ok(_) | Err(Error::LeaseNotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What is left of a lease. One call for each, answered by the leader: ask for what is shown.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] when there is no such lease.
    pub async fn lease_ttl(&self, id: LeaseId, keys: LeaseKeys) -> Result<LeaseInfo, Error> {
        let request = pb::PbLeaseTimeToLiveRequest {
            id: id.get(),
            keys: keys == LeaseKeys::Listed,
        };
        let call = Call {
            lease: Some(id),
            ..self.reading(&call::LEASE_TIME_TO_LIVE)
        };
        let response: pb::PbLeaseTimeToLiveResponse = self.link.call(call, request).await?;
        read_ttl(id, response)
    }

    /// The ids of the leases that the member asked knows of.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        let request = pb::PbLeaseLeasesRequest::default();
        let response: pb::PbLeaseLeasesResponse = self.read(&call::LEASE_LEASES, request).await?;
        let leases = response.leases.iter();
        Ok(leases.filter_map(|lease| LeaseId::new(lease.id)).collect())
    }
}

/// −1 with nothing granted is etcd's "not found"; negative with a grant is "expired, not revoked".
fn read_ttl(id: LeaseId, response: pb::PbLeaseTimeToLiveResponse) -> Result<LeaseInfo, Error> {
    if response.ttl < 0 && response.granted_ttl == 0 {
        return Err(Error::LeaseNotFound { id });
    }
    Ok(LeaseInfo {
        id,
        granted: response.granted_ttl,
        ttl: (response.ttl >= 0).then_some(response.ttl),
        keys: response.keys.into_iter().map(Key::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_lease_and_an_expired_one_are_told_apart() {
        let id = LeaseId::new(7).unwrap();
        let read = |ttl, granted_ttl| {
            read_ttl(
                id,
                pb::PbLeaseTimeToLiveResponse {
                    ttl,
                    granted_ttl,
                    ..Default::default()
                },
            )
        };
        assert_eq!(read(-1, 0), Err(Error::LeaseNotFound { id }));
        assert_eq!(read(-3, 10).unwrap().ttl, None);
        assert_eq!(read(0, 10).unwrap().ttl, Some(0));
        assert_eq!(read(7, 10).unwrap().ttl, Some(7));
    }
}
