//! What an instance says of itself under `/status/<service>/<instance-id>`: which config it runs,
//! what it refused, whether it is alive and how fresh its view is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The record. Fields that a writer does not know are absent, and readers tolerate more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// The revision of the newest config change the instance has taken in, whatever its scope.
    /// Changes it refused count as taken in: see `rejected`.
    pub revision: i64,
    /// The same for each scope; absent in records of writers that do not tell them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
    /// The revision of the canary that the instance runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<i64>,
    /// The paths of which it runs another value than etcd's ordinary one, whatever is written
    /// there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
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

/// The newest change of each scope that an instance has taken in. A change of one scope says
/// nothing of the other: their news may come by different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Taken {
    /// Of the service's own keys.
    pub service: i64,
    /// Of the global keys.
    pub global: i64,
}

/// A path that something above etcd's ordinary values gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Overridden {
    /// The dotted path.
    pub path: String,
    /// The environment variable that gives it; where there is none, the record's canary does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
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

    /// Whether the instance runs the change of `key` (`order/timeout.write`,
    /// `global/timeout.write`) that this revision made, an unset as well. Asked of a canary's own
    /// revision, it is about the value on trial.
    #[must_use]
    pub fn applied(&self, key: &str, revision: i64) -> Applied<'_> {
        let tried = |at: i64| self.canary == Some(at);
        let refused = self.rejected.iter().find(|rejected| {
            // What the canary refused says nothing of the ordinary value, which is older.
            let of_this = rejected.revision == revision || !tried(rejected.revision);
            rejected.key == key && rejected.revision >= revision && of_this
        });
        if let Some(refused) = refused {
            return Applied::Refused(refused);
        }
        let (scope, path) = key.split_once('/').unwrap_or(("", key));
        if self.taken_of(scope) < revision {
            return Applied::NotYet;
        }
        let above = self.overridden.iter().find(|one| {
            let on_trial = one.variable.is_none() && tried(revision);
            !on_trial && related(&one.path, path)
        });
        above.map_or(Applied::Yes, Applied::Overridden)
    }

    /// What the instance runs and what there is, where it has not taken in the newest of a scope.
    #[must_use]
    pub fn behind(&self, newest: &Taken) -> Option<(i64, i64)> {
        [("global", newest.global), ("", newest.service)]
            .into_iter()
            .map(|(scope, newest)| (self.taken_of(scope), newest))
            .filter(|(taken, newest)| taken < newest)
            .max_by_key(|(_, newest)| *newest)
    }

    /// The newest change of a scope that the instance has taken in.
    #[must_use]
    pub fn taken_of(&self, scope: &str) -> i64 {
        match self.taken {
            Some(taken) if scope == "global" => taken.global,
            Some(taken) => taken.service,
            None => self.revision,
        }
    }
}

/// Whether one path is the other, or a part of it.
fn related(one: &str, other: &str) -> bool {
    let within = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    within(one, other) || within(other, one)
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
    /// It has taken it in, and runs another value of its own all the same.
    Overridden(&'a Overridden),
}

impl StatusRecord {
    /// What gives an overridden path, in words: `the environment's ORDER__TIMEOUT__WRITE`.
    #[must_use]
    pub fn by(&self, overridden: &Overridden) -> String {
        match (&overridden.variable, self.canary) {
            (Some(variable), _) => {
                format!("the environment's {}", crate::safe::escape(variable))
            }
            (None, Some(revision)) => format!("canary r{revision}"),
            (None, None) => "a canary".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> StatusRecord {
        StatusRecord {
            revision: 12,
            taken: Some(Taken {
                service: 9,
                global: 12,
            }),
            canary: None,
            overridden: Vec::new(),
            rejected: Vec::new(),
            liveness: Liveness {
                alive: true,
                detail: String::new(),
            },
            watch: WatchFreshness {
                revision: 20,
                stale: None,
            },
            written_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        }
    }

    fn rejected(key: &str, revision: i64) -> Rejected {
        Rejected {
            key: key.into(),
            revision,
            error: "no duration".into(),
        }
    }

    fn overridden(path: &str, variable: Option<&str>) -> Overridden {
        Overridden {
            path: path.into(),
            variable: variable.map(Into::into),
        }
    }

    #[test]
    fn a_refused_change_does_not_count_as_applied() {
        let status = StatusRecord {
            rejected: vec![rejected("order/a", 9)],
            ..status()
        };
        assert!(matches!(status.applied("order/a", 9), Applied::Refused(_)));
        assert_eq!(status.applied("order/b", 9), Applied::Yes);
        assert_eq!(status.applied("order/b", 13), Applied::NotYet);
        let json = status.to_json().unwrap();
        assert_eq!(StatusRecord::from_json(&json).unwrap(), status);
        assert!(StatusRecord::from_json(b"\x1b[2J").is_err_and(|e| !e.contains('\x1b')));
    }

    #[test]
    fn news_of_one_scope_proves_nothing_of_the_other() {
        let status = status();
        assert_eq!(status.applied("global/a", 12), Applied::Yes);
        assert_eq!(status.applied("order/a", 9), Applied::Yes);
        assert_eq!(status.applied("order/a", 10), Applied::NotYet);
        // A record that does not tell them apart is taken by its word.
        let old = br#"{"revision":12,"liveness":{"alive":true},"watch":{"revision":12},"written_at":"2026-11-22T10:00:00Z"}"#;
        let old = StatusRecord::from_json(old).unwrap();
        assert_eq!(old.applied("order/a", 10), Applied::Yes);
    }

    #[test]
    fn what_the_environment_gives_is_not_what_was_written() {
        let status = StatusRecord {
            overridden: vec![overridden("retry.n", Some("ORDER__RETRY__N"))],
            ..status()
        };
        for key in ["order/retry.n", "order/retry", "global/retry.n"] {
            match status.applied(key, 9) {
                Applied::Overridden(one) => {
                    assert_eq!(status.by(one), "the environment's ORDER__RETRY__N");
                }
                other => panic!("{key}: {other:?}"),
            }
        }
        assert_eq!(status.applied("order/retry.next", 9), Applied::Yes);
        assert_eq!(status.applied("order/retry.n", 10), Applied::NotYet);
    }

    #[test]
    fn an_instance_on_trial_runs_the_canary_and_not_the_ordinary_value() {
        let status = StatusRecord {
            taken: Some(Taken {
                service: 11,
                global: 1,
            }),
            canary: Some(11),
            overridden: vec![overridden("a", None)],
            ..status()
        };
        assert!(matches!(
            status.applied("order/a", 9),
            Applied::Overridden(_)
        ));
        assert_eq!(status.applied("order/a", 11), Applied::Yes);
        let refusing = StatusRecord {
            overridden: Vec::new(),
            rejected: vec![rejected("order/a", 11)],
            ..status
        };
        assert!(matches!(
            refusing.applied("order/a", 11),
            Applied::Refused(_)
        ));
        assert_eq!(refusing.applied("order/a", 9), Applied::Yes);
    }
}
