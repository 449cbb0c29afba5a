//! What changed a service's config, when, by whom and why: a record written in the same
//! transaction as the change, so that neither is ever without the other.
//!
//! Records are ordered by the revision that created them, never by a clock: clocks are set back.

use std::fmt;

pub mod mask;
pub mod retention;
pub mod rollback;
pub mod timeline;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::conflict::written;
use crate::config::secret::MASK;
use crate::config::secret::redact::{holds_secret, redact};
use crate::config::{ConfigKey, Published, Scope, canary};
use crate::kv::{Entry, Key, Prefix, Revision};
use crate::plan::{Edit, MAX_OPERATIONS, Plan, PlanError, Seen};
use crate::safe::escape;

/// The longest message: history stays a list of lines.
pub const MAX_MESSAGE: usize = 1000;

/// The longest value that a record holds. Longer ones stay in etcd's own history: a record holds
/// two values beside the change that writes one, and all three share one request.
pub const MAX_VALUE: usize = 16 * 1024;

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
    /// What kind of change it was.
    #[serde(default, skip_serializing_if = "Action::is_plain")]
    pub action: Action,
    /// The newest record that went to make room for this one, by its revision; 0 where none did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: i64,
    /// What changed, key by key. The beginning of a canary changes nothing yet.
    pub changes: Vec<Changed>,
}

/// What kind of change a release was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Keys were set and unset.
    #[default]
    Change,
    /// The change of this revision was taken back.
    Revert(i64),
    /// Everything after this revision was taken back.
    RollBack(i64),
    /// A change was given to some instances first.
    Canary {
        /// Which.
        instances: Vec<String>,
        /// The keys that are tried.
        keys: Vec<String>,
    },
    /// The canary of this revision was given to everyone.
    Promote(i64),
    /// The canary of this revision was ended.
    Abort(i64),
    /// Something that a newer msctl knows.
    #[serde(untagged)]
    Other(serde_json::Value),
}

impl Release {
    /// Whether it changed or tried this key.
    #[must_use]
    pub fn touches(&self, key: &ConfigKey) -> bool {
        let name = key.to_string();
        self.changes.iter().any(|changed| changed.key == name)
            || matches!(&self.action, Action::Canary { keys, .. } if keys.iter().any(|tried| tried == key.path()))
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Action {
    fn is_plain(&self) -> bool {
        *self == Self::Change
    }
}

/// In a few words, safe to show; empty for a plain change.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change => Ok(()),
            Self::Revert(revision) => write!(f, "reverts r{revision}"),
            Self::RollBack(revision) => write!(f, "back to r{revision}"),
            Self::Canary { instances, keys } => write!(
                f,
                "tries {} on {}",
                escape(&keys.join(", ")),
                escape(&instances.join(", "))
            ),
            Self::Promote(revision) => write!(f, "promotes canary r{revision}"),
            Self::Abort(revision) => write!(f, "aborts canary r{revision}"),
            Self::Other(_) => f.write_str("of a kind this version does not know"),
        }
    }
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
    /// Whether the values were left out, or a part of them, because they are or hold a secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// Whether values were left out because one is no text or longer than [`MAX_VALUE`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
}

impl Changed {
    /// Whether the record holds the values; otherwise only etcd's own history does.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.secret && !self.withheld
    }
}

/// All that a record needs beside its plan.
#[derive(Clone, Copy)]
pub struct Recording<'a> {
    /// Where config stands.
    pub config: &'a Prefix,
    /// Where records stand.
    pub releases: &'a Prefix,
    /// Who, when, why.
    pub author: &'a Author,
    /// What kind of change.
    pub action: &'a Action,
    /// The store's revision when the plan was made; names the records.
    pub revision: Revision,
    /// A random number; names the records too.
    pub nonce: u32,
    /// Which values are secrets, or hold some.
    pub known: &'a Published,
    /// Records that are too old to keep: see [`retention::expired`].
    pub expired: &'a [Entry],
    /// Older records that must not say any more what they say: see [`mask::masked`].
    pub masked: &'a [Edit],
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
    Recording {
        config,
        releases,
        author,
        action: &Action::Change,
        revision,
        nonce,
        known: &Published::default(),
        expired: &[],
        masked: &[],
    }
    .of(plan)
}

impl Recording<'_> {
    /// Adds to a plan the record of each service it touches; as far as the transaction has room it
    /// masks older records and takes out expired ones. A plan that writes nothing is recorded
    /// nowhere.
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub fn of(&self, plan: Plan) -> Result<Plan, ReleaseError> {
        let length = self.author.message.chars().count();
        if length > MAX_MESSAGE {
            return Err(ReleaseError::Message(length));
        }
        let mut by_scope: Vec<(Scope, Vec<Changed>)> = Vec::new();
        for edit in plan.edits() {
            let (scope, changed) = match ConfigKey::from_key(self.config, &edit.key) {
                Ok(key) => (key.scope.clone(), Some(self.changed(&key, edit))),
                Err(_) => match canary::service_of(self.config, &edit.key) {
                    Some(service) => (Scope::Service(service), None),
                    None => continue,
                },
            };
            match by_scope.iter_mut().find(|(known, _)| *known == scope) {
                Some((_, changes)) => changes.extend(changed),
                None => by_scope.push((scope, changed.into_iter().collect())),
            }
        }
        // Old records may wait: a change never fails for the sake of tidiness.
        let room = MAX_OPERATIONS.saturating_sub(plan.edits().len() + by_scope.len());
        let mut bytes = 0;
        let masked = self.masked.iter().take(room).take_while(|edit| {
            bytes += edit.bytes();
            bytes <= mask::MAX_BYTES
        });
        let masked: Vec<Edit> = masked.cloned().collect();
        let expired = &self.expired[..self.expired.len().min(room - masked.len())];
        let with = |plan: Plan, masked: &[Edit], expired: &[Entry]| {
            let records = by_scope
                .iter()
                .map(|(scope, changes)| self.edit(scope, changes.clone(), expired));
            let gone = expired
                .iter()
                .map(|entry| Edit::delete(entry.key.clone(), Seen::At(entry.clone())));
            plan.with_records(records.chain(masked.iter().cloned()).chain(gone))
        };
        let tidies = !(masked.is_empty() && expired.is_empty());
        match with(plan.clone(), &masked, expired) {
            Err(_) if tidies => Ok(with(plan, &[], &[])?),
            recorded => Ok(recorded?),
        }
    }

    fn edit(&self, scope: &Scope, changes: Vec<Changed>, expired: &[Entry]) -> Edit {
        let own = scope.prefix(self.releases);
        let dropped = expired.iter().filter(|entry| own.contains(&entry.key));
        let release = Release {
            dropped: dropped
                .map(|entry| entry.create_revision.0)
                .max()
                .unwrap_or(0),
            author: self.author.name.clone(),
            time: self.author.time,
            message: self.author.message.clone(),
            action: self.action.clone(),
            changes,
        };
        let key = own.join(&format!("{:016}-{:08x}", self.revision.0, self.nonce));
        // Writing to memory, of a type whose parts all have a JSON form, does not fail.
        let value = serde_json::to_vec(&release).unwrap_or_default();
        Edit::put(key, Seen::Absent, value)
    }

    fn changed(&self, key: &ConfigKey, edit: &Edit) -> Changed {
        let (before, after) = (
            edit.seen.value(),
            written(&edit.write).map(|value| &**value),
        );
        let mut sides = before.iter().chain(&after);
        let secret = sides.any(|value| holds_secret(self.known, key, value));
        let fits = |value: Option<&[u8]>| {
            value.is_none_or(|value| value.len() <= MAX_VALUE && std::str::from_utf8(value).is_ok())
        };
        let withheld = !(secret || (fits(before) && fits(after)));
        let shown = |value: &[u8]| match (secret, withheld) {
            (true, _) if value.len() > MAX_VALUE => MASK.to_owned(),
            (true, _) => String::from_utf8_lossy(&redact(self.known, key, value)).into_owned(),
            (false, true) => format!("({} bytes, kept by etcd alone)", value.len()),
            (false, false) => String::from_utf8_lossy(value).into_owned(),
        };
        Changed {
            key: key.to_string(),
            before: before.map(shown),
            after: after.map(shown),
            mod_revision: edit.seen.revision().0,
            secret,
            withheld,
        }
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
    use crate::plan::Write;

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
    fn a_secret_in_a_mapping_is_not_recorded_either() {
        let plan = recorded(&[("order/db", "{host: h, password: hunter2}")]);
        let changed = &released(&plan.edits()[1]).changes[0];
        assert_eq!(
            (changed.after.as_deref(), changed.is_kept()),
            (Some("{host: h, password: ••••••}"), false)
        );
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
