//! What an instance says of itself under `/status/<service>/<instance-id>`: which config it runs,
//! what it refused, whether it is alive and how fresh its view is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The record. Fields that a writer does not know are absent, and readers tolerate more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// The revision of the newest config change the instance has taken in. Changes it refused
    /// count as taken in: see `rejected`.
    pub revision: i64,
    /// The values it refused, keeping the last good one.
    #[serde(default)]
    pub rejected: Vec<Rejected>,
    /// What its own liveness probe says.
    pub liveness: Liveness,
    /// How fresh its view of etcd is.
    pub watch: WatchFreshness,
    /// When the record was written, by the clock of the instance.
    pub written_at: Timestamp,
}

/// A value that an instance refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rejected {
    /// Where it stands: `order/timeout.write` or `global/timeout.write`.
    pub key: String,
    /// The revision that wrote it.
    pub revision: i64,
    /// Why it was refused; never the value of a secret.
    pub error: String,
}

/// The answer of the instance's own liveness probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Whether it holds itself for alive.
    pub alive: bool,
    /// Which check failed; empty while alive.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How fresh the instance's view of etcd is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchFreshness {
    /// The newest revision etcd proved to it.
    pub revision: i64,
    /// Why its view may be old; absent while it is fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
}

impl StatusRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// The reason in one line, safe to show.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes)
            .map_err(|e| crate::safe::escape(&format!("not a status record: {e}")).into_owned())
    }

    /// The value of the record's key.
    ///
    /// # Errors
    /// Does not fail for records that can be made; the error is serde's.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Whether the instance runs everything up to this revision without refusing it.
    #[must_use]
    pub fn applied(&self, key: &str, revision: i64) -> Applied<'_> {
        match self
            .rejected
            .iter()
            .find(|rejected| rejected.key == key && rejected.revision >= revision)
        {
            Some(rejected) => Applied::Refused(rejected),
            None if self.revision >= revision => Applied::Yes,
            None => Applied::NotYet,
        }
    }
}

/// Whether an instance runs a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied<'a> {
    /// It does.
    Yes,
    /// It has not taken it in.
    NotYet,
    /// It keeps the value it had.
    Refused(&'a Rejected),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_change_does_not_count_as_applied() {
        let status = StatusRecord {
            revision: 12,
            rejected: vec![Rejected {
                key: "order/a".into(),
                revision: 12,
                error: "no duration".into(),
            }],
            liveness: Liveness {
                alive: true,
                detail: String::new(),
            },
            watch: WatchFreshness {
                revision: 20,
                stale: None,
            },
            written_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        };
        assert!(matches!(status.applied("order/a", 12), Applied::Refused(_)));
        assert_eq!(status.applied("order/b", 12), Applied::Yes);
        assert_eq!(status.applied("order/b", 13), Applied::NotYet);
        let json = status.to_json().unwrap();
        assert_eq!(StatusRecord::from_json(&json).unwrap(), status);
        assert!(StatusRecord::from_json(b"\x1b[2J").is_err_and(|e| !e.contains('\x1b')));
    }
}
