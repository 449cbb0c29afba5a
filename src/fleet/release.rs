//! What changed a service's config, when, by whom and why: a record written in the same
//! transaction as the change, so that neither is ever without the other.
//!
//! Records are ordered by the revision that created them, never by a clock: clocks are set back.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::secret::{MASK, is_secret};
use crate::config::{ConfigKey, Scope};
use crate::kv::{Entry, Key, Prefix, Revision};
use crate::plan::{Edit, Plan, PlanError, Seen, Write};
use crate::safe::escape;

/// The longest message: history stays a list of lines.
pub const MAX_MESSAGE: usize = 1000;

/// The record, as it stands under `/msctl/releases/<service>/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Who made the change.
    pub author: String,
    /// When, by the author's clock; for people, never for order.
    pub time: Timestamp,
    /// Why.
    #[serde(default)]
    pub message: String,
    /// What changed, key by key.
    pub changes: Vec<Changed>,
}

/// One key's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// `order/timeout.write`.
    pub key: String,
    /// The value before; `None` where there was none. The values of secrets are not recorded.
    pub before: Option<String>,
    /// The value after; `None` where it was removed.
    pub after: Option<String>,
    /// The revision that had written the value before; 0 where there was none.
    pub mod_revision: i64,
    /// Whether the values were left out because the key is a secret's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// Who changes config, when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The name that history shows.
    pub name: String,
    /// The time by the author's clock.
    pub time: Timestamp,
    /// Why the change is made; may be empty.
    pub message: String,
}

/// Why a plan cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The message is a document.
    #[error(
        "the message has {0} characters, at most {MAX_MESSAGE} are kept; put the rest where the message can link to it"
    )]
    Message(usize),
    /// The plan and its records are too much for one transaction.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Adds to a plan of config edits the record of each service it touches. `revision` is the store's
/// revision when the plan was made and `nonce` a random number: together they name the records.
/// A plan that writes nothing is recorded nowhere.
///
/// # Errors
/// [`ReleaseError`].
pub fn record(
    plan: Plan,
    config: &Prefix,
    releases: &Prefix,
    author: &Author,
    revision: Revision,
    nonce: u32,
) -> Result<Plan, ReleaseError> {
    let length = author.message.chars().count();
    if length > MAX_MESSAGE {
        return Err(ReleaseError::Message(length));
    }
    let mut by_scope: Vec<(Scope, Vec<Changed>)> = Vec::new();
    for edit in plan.edits() {
        let Ok(key) = ConfigKey::from_key(config, &edit.key) else {
            continue;
        };
        let changed = changed(&key, edit);
        match by_scope.iter_mut().find(|(scope, _)| *scope == key.scope) {
            Some((_, changes)) => changes.push(changed),
            None => by_scope.push((key.scope, vec![changed])),
        }
    }
    let records = by_scope.into_iter().map(|(scope, changes)| {
        let release = Release {
            author: author.name.clone(),
            time: author.time,
            message: author.message.clone(),
            changes,
        };
        let key = scope
            .prefix(releases)
            .join(&format!("{:016}-{nonce:08x}", revision.0));
        // Writing to memory, of a type whose parts all have a JSON form, does not fail.
        let value = serde_json::to_vec(&release).unwrap_or_default();
        Edit::put(key, Seen::Absent, value)
    });
    Ok(plan.with_records(records)?)
}

fn changed(key: &ConfigKey, edit: &Edit) -> Changed {
    let secret = is_secret(key.path());
    let shown = |value: &[u8]| {
        if secret {
            MASK.to_owned()
        } else {
            String::from_utf8_lossy(value).into_owned()
        }
    };
    Changed {
        key: key.to_string(),
        before: edit.seen.value().map(shown),
        after: match &edit.write {
            Write::Put { value, .. } => Some(shown(value)),
            Write::Delete => None,
        },
        mod_revision: edit.seen.revision().0,
        secret,
    }
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where it stands.
    pub key: Key,
    /// The revision of the change it records.
    pub revision: Revision,
    /// The record, or why it cannot be read: a damaged record never hides the others.
    pub release: Result<Release, Damaged>,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged(String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record is damaged: {}", self.0)
    }
}

/// The history of a scope, the newest first.
#[must_use]
pub fn history(entries: impl IntoIterator<Item = Entry>) -> Vec<Recorded> {
    let mut found: Vec<_> = entries
        .into_iter()
        .map(|entry| Recorded {
            release: serde_json::from_slice(&entry.value)
                .map_err(|error| Damaged(escape(&error.to_string()).into_owned())),
            revision: entry.create_revision,
            key: entry.key,
        })
        .collect();
    found.sort_by(|a, b| b.revision.cmp(&a.revision).then_with(|| a.key.cmp(&b.key)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::edit::{ConfigEdit, plan};

    fn prefix(text: &str) -> Prefix {
        Prefix::new(text).unwrap()
    }

    fn author() -> Author {
        Author {
            name: "lin".into(),
            time: "2026-11-22T10:00:00Z".parse().unwrap(),
            message: "slow disk on b".into(),
        }
    }

    fn recorded(sets: &[(&str, &str)]) -> Plan {
        let edits = sets.iter().map(|(key, value)| ConfigEdit::Set {
            key: ConfigKey::parse(key).unwrap(),
            value: (*value).into(),
        });
        let plan = plan(&prefix("/config/"), edits, |_| Seen::Absent).unwrap();
        record(
            plan,
            &prefix("/config/"),
            &prefix("/r/"),
            &author(),
            Revision(41),
            7,
        )
        .unwrap()
    }

    fn released(edit: &Edit) -> Release {
        let Write::Put { value, .. } = &edit.write else {
            panic!("a put")
        };
        serde_json::from_slice(value).unwrap()
    }

    #[test]
    fn each_touched_service_gets_a_record_in_the_same_plan() {
        let plan = recorded(&[("order/a", "1"), ("user/b", "2"), ("order/c", "3")]);
        let keys: Vec<_> = plan
            .edits()
            .iter()
            .map(|edit| edit.key.to_string())
            .collect();
        assert_eq!(
            keys,
            [
                "/config/order/a",
                "/config/user/b",
                "/config/order/c",
                "/r/order/0000000000000041-00000007",
                "/r/user/0000000000000041-00000007",
            ]
        );
        let release = released(&plan.edits()[3]);
        assert_eq!((release.author.as_str(), release.changes.len()), ("lin", 2));
        assert_eq!(release.changes[0].after.as_deref(), Some("1"));
    }

    #[test]
    fn the_value_of_a_secret_is_not_recorded() {
        let plan = recorded(&[("order/db.password", "hunter2")]);
        let release = released(&plan.edits()[1]);
        assert!(release.changes[0].secret);
        assert_eq!(release.changes[0].after.as_deref(), Some(MASK));
    }

    #[test]
    fn nothing_written_is_nothing_recorded() {
        assert!(recorded(&[]).is_empty());
    }

    #[test]
    fn a_full_transaction_is_refused_when_its_records_do_not_fit() {
        let edits = (0..127).map(|i| ConfigEdit::Set {
            key: ConfigKey::parse(&format!("s{i}/a")).unwrap(),
            value: "1".into(),
        });
        let plan = plan(&prefix("/config/"), edits, |_| Seen::Absent).unwrap();
        let refused = record(
            plan,
            &prefix("/config/"),
            &prefix("/r/"),
            &author(),
            Revision(1),
            1,
        );
        assert!(matches!(
            refused,
            Err(ReleaseError::Plan(PlanError::TooMany(_)))
        ));
    }

    #[test]
    fn history_goes_by_revision_and_shows_damaged_records_beside_good_ones() {
        let entry = |key: &str, value: &str, revision| Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        };
        let good = r#"{"author":"a","time":"2020-01-01T00:00:00Z","changes":[]}"#;
        let found = history([
            entry("/r/o/1", good, 5),
            entry("/r/o/2", "{", 9),
            entry("/r/o/3", good, 7),
        ]);
        let revisions: Vec<_> = found
            .iter()
            .map(|r| (r.revision.0, r.release.is_ok()))
            .collect();
        assert_eq!(revisions, [(9, false), (7, true), (5, true)]);
    }
}
