//! Taking changes back: one release on top of newer changes, or everything after a release.
//!
//! Records leave some values out (secrets, binary and large values); those are asked of etcd's
//! history, and a rollback that needs a value which nobody has any more is refused by name. What
//! comes out are edits guarded by what stands now: a rollback is a change like any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::conflict::{ThreeWay, means_the_same};
use crate::config::{ConfigKey, ConfigKeyError, Scope};
use crate::kv::{Entry, Key, Prefix, Revision};
use crate::plan::{Edit, Seen, Write};
use crate::release::{Changed, Recorded};

/// A value that only etcd's history has: the key as it stood at a revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// The key.
    pub key: Key,
    /// The revision to read it at.
    pub revision: Revision,
}

/// What a read found; a compacted revision answers with `Err`.
pub type Answer = Result<Option<Entry>, Compacted>;

/// etcd's history does not go back that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest revision it can still be asked for.
    pub oldest: Revision,
}

/// Answers to reads, filled by the caller between two attempts.
pub type Answers = BTreeMap<Read, Answer>;

/// How far a rollback came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollback {
    /// These values are needed first: read them and ask again.
    Wants(Vec<Read>),
    /// This is what is to be written.
    Ready {
        /// Keys that stand as the release left them.
        edits: Vec<Edit>,
        /// Keys that a later change touched: base is what the release wrote, mine what was before.
        conflicts: Vec<ThreeWay>,
    },
}

/// Why there is no way back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// The record cannot be read.
    #[error("{0}; its change cannot be taken back from it")]
    Damaged(String),
    /// A key in a record is no config key.
    #[error("the record names a key that is none: {0}")]
    Key(#[from] ConfigKeyError),
    /// The record does not belong to the scope.
    #[error("the record of {scope} names {key}, which is another's; it was changed by hand")]
    Foreign {
        /// Whose record it is.
        scope: Scope,
        /// The key that is not theirs.
        key: ConfigKey,
    },
    /// A value is gone.
    #[error(
        "{key}: its value at revision {revision} is not in the record, and etcd is compacted up to {oldest}; set the value by hand"
    )]
    Compacted {
        /// The key.
        key: Key,
        /// When it had the value.
        revision: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
}

/// Takes one release back, on top of whatever came after it. `seen` says how a key stands now.
///
/// # Errors
/// [`RollbackError`] names the key and what is missing.
pub fn revert(
    scope: &Scope,
    config: &Prefix,
    release: &Recorded,
    mut seen: impl FnMut(&Key) -> Option<Entry>,
    answers: &Answers,
) -> Result<Rollback, RollbackError> {
    let mut wants = Vec::new();
    let (mut edits, mut conflicts) = (Vec::new(), Vec::new());
    for changed in changes(release)? {
        let key = own_key(scope, config, changed)?;
        let before = wanted(&key, changed, release.revision, answers, &mut wants)?;
        let Some(before) = before else { continue };
        let now = seen(&key);
        let stands = now.as_ref().map(|entry| &*entry.value);
        if means_the_same(stands, before.as_deref()) {
            continue;
        }
        let untouched = match &now {
            Some(entry) => entry.mod_revision == release.revision,
            None => changed.after.is_none(),
        };
        if untouched {
            edits.push(put_or_delete(key, now, before));
        } else {
            conflicts.push(ThreeWay {
                key,
                base: changed
                    .after
                    .as_ref()
                    .filter(|_| changed.is_kept())
                    .map(|text| text.as_bytes().into()),
                theirs: now,
                mine: before,
            });
        }
    }
    Ok(finish(wants, edits, conflicts))
}

/// Brings a scope back to how it stood at a release: everything after it is undone. `current` is
/// all that stands in the scope now; `then` is all that stood there at the release's revision,
/// where etcd still knows. Without `then` the records after the release are walked back, and a key
/// that another tool touched since is asked of etcd's history one by one.
///
/// # Errors
/// [`RollbackError`] names the key and what is missing.
pub fn roll_back(
    scope: &Scope,
    config: &Prefix,
    to: Revision,
    history: &[Recorded],
    current: &[Entry],
    then: Option<&[Entry]>,
    answers: &Answers,
) -> Result<Rollback, RollbackError> {
    let own = |entry: &&Entry| {
        ConfigKey::from_key(config, &entry.key).is_ok_and(|key| key.scope == *scope)
    };
    let now: BTreeMap<&Key, &Entry> = current
        .iter()
        .filter(own)
        .map(|entry| (&entry.key, entry))
        .collect();
    let mut wants = Vec::new();
    // What each key is to become; keys that are not in it stay.
    let mut back: BTreeMap<Key, Option<Arc<[u8]>>> = BTreeMap::new();
    match then {
        Some(then) => {
            back.extend(now.keys().map(|key| ((*key).clone(), None)));
            back.extend(
                then.iter()
                    .filter(own)
                    .map(|entry| (entry.key.clone(), Some(entry.value.clone()))),
            );
        }
        None => {
            // From the newest to the oldest: the oldest change after the release has the last word.
            let mut earliest: BTreeMap<Key, (&Changed, Revision)> = BTreeMap::new();
            for release in history.iter().filter(|release| release.revision > to) {
                for changed in changes(release)? {
                    let key = own_key(scope, config, changed)?;
                    earliest.insert(key, (changed, release.revision));
                }
            }
            for (key, entry) in &now {
                if entry.mod_revision > to && !earliest.contains_key(*key) {
                    let value = at(key, to, answers, &mut wants)?;
                    back.extend(value.map(|value| ((*key).clone(), value)));
                }
            }
            for (key, (changed, revision)) in earliest {
                let value = if changed.mod_revision > to.0 {
                    // Another tool wrote it between the release and the first record after it.
                    at(&key, to, answers, &mut wants)?
                } else {
                    wanted(&key, changed, revision, answers, &mut wants)?
                };
                back.extend(value.map(|value| (key, value)));
            }
        }
    }
    let edits = back
        .into_iter()
        .filter_map(|(key, value)| {
            let entry = now.get(&key).map(|entry| (*entry).clone());
            let stands = entry.as_ref().map(|entry| &*entry.value);
            (stands != value.as_deref()).then(|| put_or_delete(key, entry, value))
        })
        .collect();
    Ok(finish(wants, edits, Vec::new()))
}

fn changes(release: &Recorded) -> Result<&[Changed], RollbackError> {
    match &release.release {
        Ok(release) => Ok(&release.changes),
        Err(damaged) => Err(RollbackError::Damaged(format!(
            "the record of revision {}: {damaged}",
            release.revision
        ))),
    }
}

fn own_key(scope: &Scope, config: &Prefix, changed: &Changed) -> Result<Key, RollbackError> {
    let key = ConfigKey::parse(&changed.key)?;
    if key.scope == *scope {
        Ok(key.to_key(config))
    } else {
        Err(RollbackError::Foreign {
            scope: scope.clone(),
            key,
        })
    }
}

/// The value before a recorded change; `None` while it is still to be read.
#[allow(
    clippy::option_option,
    reason = "still unknown and known to be absent are two answers"
)]
fn wanted(
    key: &Key,
    changed: &Changed,
    revision: Revision,
    answers: &Answers,
    wants: &mut Vec<Read>,
) -> Result<Option<Option<Arc<[u8]>>>, RollbackError> {
    match &changed.before {
        None => Ok(Some(None)),
        Some(text) if changed.is_kept() => Ok(Some(Some(text.as_bytes().into()))),
        // The guard held: just before the change, the key stood as its author had seen it.
        Some(_) => at(key, Revision(revision.0.saturating_sub(1)), answers, wants),
    }
}

#[allow(
    clippy::option_option,
    reason = "still unknown and known to be absent are two answers"
)]
fn at(
    key: &Key,
    revision: Revision,
    answers: &Answers,
    wants: &mut Vec<Read>,
) -> Result<Option<Option<Arc<[u8]>>>, RollbackError> {
    let read = Read {
        key: key.clone(),
        revision,
    };
    match answers.get(&read) {
        Some(Ok(entry)) => Ok(Some(entry.as_ref().map(|entry| entry.value.clone()))),
        Some(Err(Compacted { oldest })) => Err(RollbackError::Compacted {
            key: key.clone(),
            revision,
            oldest: *oldest,
        }),
        None => {
            wants.push(read);
            Ok(None)
        }
    }
}

fn put_or_delete(key: Key, now: Option<Entry>, value: Option<Arc<[u8]>>) -> Edit {
    let seen = Seen::from(now);
    match value {
        Some(value) => Edit::put(key, seen, value),
        None => Edit {
            key,
            seen,
            write: Write::Delete,
        },
    }
}

fn finish(wants: Vec<Read>, edits: Vec<Edit>, conflicts: Vec<ThreeWay>) -> Rollback {
    if wants.is_empty() {
        Rollback::Ready { edits, conflicts }
    } else {
        Rollback::Wants(wants)
    }
}

#[cfg(test)]
mod tests;
