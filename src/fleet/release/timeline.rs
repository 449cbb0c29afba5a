//! The history of a scope as people want it: our releases, and between them what other tools did.
//!
//! A change that no record tells of is found by its traces: a record whose author saw a value that
//! the record before had not written, a key that stands at a revision no record has, and, where
//! etcd still knows them, the versions of the key themselves. Nothing is guessed: where a trace
//! gives no revision or value, there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{ConfigKey, Scope};
use crate::kv::{Change, Entry, Prefix, Revision};
use crate::release::{Changed, Recorded};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A change with a record.
    Release(Recorded),
    /// A change that no record tells of: etcdctl, another console, a script.
    Foreign(Foreign),
}

/// A change made by another tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The key.
    pub key: ConfigKey,
    /// When.
    pub when: When,
    /// The value it left: `None` where the key was removed.
    pub after: Option<Value>,
}

/// When a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At this revision.
    At(Revision),
    /// After this revision; etcd no longer says when.
    After(Revision),
}

/// A value of a foreign change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// It was there, and nobody kept it.
    Unknown,
}

impl When {
    /// For sorting: what is known of the time.
    #[must_use]
    pub fn revision(self) -> Revision {
        match self {
            Self::At(revision) | Self::After(revision) => revision,
        }
    }
}

impl Happening {
    /// Where it stands in the order of things.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Release(recorded) => recorded.revision,
            Self::Foreign(foreign) => foreign.when.revision(),
        }
    }

    /// Whether it is about this key. A damaged record may be about every key.
    #[must_use]
    pub fn touches(&self, key: &ConfigKey) -> bool {
        match self {
            Self::Foreign(foreign) => foreign.key == *key,
            Self::Release(Recorded { release, .. }) => match release {
                Ok(release) => release.touches(key),
                Err(_) => true,
            },
        }
    }
}

/// Everything that happened to a scope, the newest first. `records` are its records, in any order;
/// `current` is what stands in it; `versions` are changes that etcd's own history still has, of any
/// keys, in any order; they may be none.
///
/// A damaged record tells nothing of its keys: a change at its revision is taken for its own. What
/// is older than the records that retention took away is left out: nobody can tell whose it was.
#[must_use]
pub fn timeline(
    scope: &Scope,
    config: &Prefix,
    records: Vec<Recorded>,
    current: &[Entry],
    versions: &[Change],
) -> Vec<Happening> {
    let forgotten = records
        .iter()
        .filter_map(|recorded| recorded.release.as_ref().ok())
        .map(|release| Revision(release.dropped))
        .max()
        .unwrap_or_default();
    let damaged: BTreeSet<Revision> = records
        .iter()
        .filter(|recorded| recorded.release.is_err())
        .map(|recorded| recorded.revision)
        .collect();
    let mut by_key: BTreeMap<ConfigKey, Traces> = BTreeMap::new();
    for recorded in &records {
        let changes = recorded.release.iter().flat_map(|release| &release.changes);
        for changed in changes {
            if let Ok(key) = ConfigKey::parse(&changed.key)
                && key.scope == *scope
            {
                let traces = by_key.entry(key).or_default();
                traces.recorded.insert(recorded.revision, changed);
            }
        }
    }
    let own = |key| {
        ConfigKey::from_key(config, key)
            .ok()
            .filter(|key| key.scope == *scope)
    };
    for entry in current {
        if let Some(key) = own(&entry.key) {
            by_key.entry(key).or_default().current = Some(entry);
        }
    }
    for change in versions {
        if let Some(key) = own(change.key()) {
            let traces = by_key.entry(key).or_default();
            traces.versions.insert(change.revision(), change);
        }
    }
    let mut all: Vec<_> = by_key
        .into_iter()
        .flat_map(|(key, traces)| traces.foreign(&key, &damaged))
        .filter(|foreign| foreign.when.revision() > forgotten)
        .map(Happening::Foreign)
        .collect();
    all.extend(records.into_iter().map(Happening::Release));
    all.sort_by_key(|happening| std::cmp::Reverse(happening.revision()));
    all
}

/// What is known of one key.
#[derive(Default)]
struct Traces<'a> {
    recorded: BTreeMap<Revision, &'a Changed>,
    versions: BTreeMap<Revision, &'a Change>,
    current: Option<&'a Entry>,
}

impl Traces<'_> {
    fn foreign(&self, key: &ConfigKey, damaged: &BTreeSet<Revision>) -> Vec<Foreign> {
        // Revision → what it left. Better knowledge of the same revision replaces worse.
        let mut found: BTreeMap<Revision, Option<Value>> = BTreeMap::new();
        let mut removed_after: BTreeSet<Revision> = BTreeSet::new();
        let mut last: Option<(Revision, &Changed)> = None;
        for (revision, changed) in &self.recorded {
            let saw = Revision(changed.mod_revision);
            match last {
                // Its author saw what the record before had written.
                Some((before, was)) if saw == before && was.after.is_some() => {}
                Some((_, was)) if saw == Revision::ZERO && was.after.is_none() => {}
                Some((before, _)) if saw == Revision::ZERO => {
                    // A damaged record in between may be the one that removed it.
                    if damaged.range(before.next()..*revision).next().is_none() {
                        removed_after.insert(before);
                    }
                }
                None if saw == Revision::ZERO => {}
                _ => {
                    let value = match &changed.before {
                        Some(text) if changed.is_kept() => Value::Bytes(text.as_bytes().into()),
                        _ => Value::Unknown,
                    };
                    found.insert(saw, Some(value));
                }
            }
            last = Some((*revision, changed));
        }
        match (self.current, last) {
            (Some(entry), _) => {
                let value = Value::Bytes(entry.value.clone());
                found.insert(entry.mod_revision, Some(value));
            }
            (None, Some((revision, changed)))
                if changed.after.is_some() && damaged.range(revision.next()..).next().is_none() =>
            {
                removed_after.insert(revision);
            }
            _ => {}
        }
        for (revision, change) in &self.versions {
            let value = match change {
                Change::Put(entry) => Some(Value::Bytes(entry.value.clone())),
                Change::Delete { .. } => {
                    // Now it is known when.
                    let before = removed_after.range(..revision).next_back().copied();
                    before.map(|before| removed_after.remove(&before));
                    None
                }
            };
            found.insert(*revision, value);
        }
        let known = |revision: &Revision| {
            self.recorded.contains_key(revision) || damaged.contains(revision)
        };
        let dated = found
            .into_iter()
            .filter(|(revision, _)| !known(revision))
            .map(|(revision, after)| (When::At(revision), after));
        let undated = removed_after
            .into_iter()
            .map(|revision| (When::After(revision), None));
        dated
            .chain(undated)
            .map(|(when, after)| Foreign {
                key: key.clone(),
                when,
                after,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Key;
    use crate::release::{Action, Release, history};

    fn config() -> Prefix {
        Prefix::new("/config/").unwrap()
    }

    fn scope() -> Scope {
        Scope::parse("order").unwrap()
    }

    fn entry(key: &str, value: &str, revision: i64) -> Entry {
        Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    /// A record of one change of `order/a` at a revision, whose author had seen another.
    fn record(at: i64, saw: i64, after: Option<&str>) -> Recorded {
        dropping(at, saw, after, 0)
    }

    fn dropping(at: i64, saw: i64, after: Option<&str>, dropped: i64) -> Recorded {
        let release = Release {
            author: "lin".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
            message: String::new(),
            action: Action::Change,
            dropped,
            changes: vec![Changed {
                key: "order/a".into(),
                before: (saw > 0).then(|| format!("v{saw}")),
                after: after.map(Into::into),
                mod_revision: saw,
                secret: false,
                withheld: false,
            }],
        };
        Recorded {
            key: Key::from(format!("/r/order/{at}")),
            revision: Revision(at),
            release: Ok(release),
        }
    }

    fn damaged(at: i64) -> Recorded {
        history([entry("/r/order/x", "{", at)]).remove(0)
    }

    fn check(
        records: Vec<Recorded>,
        current: Option<(&str, i64)>,
        versions: &[Change],
    ) -> Vec<String> {
        let current: Vec<_> = current
            .map(|(value, at)| entry("/config/order/a", value, at))
            .into_iter()
            .collect();
        timeline(&scope(), &config(), records, &current, versions)
            .into_iter()
            .map(|happening| match happening {
                Happening::Release(recorded) => format!("release {}", recorded.revision),
                Happening::Foreign(foreign) => {
                    let when = match foreign.when {
                        When::At(revision) => format!("at {revision}"),
                        When::After(revision) => format!("after {revision}"),
                    };
                    let value = match foreign.after {
                        None => "removed".into(),
                        Some(Value::Unknown) => "?".into(),
                        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                    };
                    format!("{when} {value}")
                }
            })
            .collect()
    }

    #[test]
    fn changes_by_other_tools_leave_traces() {
        for (name, records, current, wanted) in [
            (
                "all recorded",
                vec![record(5, 0, Some("1")), record(8, 5, Some("2"))],
                Some(("2", 8)),
                vec!["release 8", "release 5"],
            ),
            (
                "put afterwards",
                vec![record(5, 0, Some("1"))],
                Some(("x", 7)),
                vec!["at 7 x", "release 5"],
            ),
            (
                "put in between",
                vec![record(5, 0, Some("1")), record(8, 6, Some("2"))],
                Some(("2", 8)),
                vec!["release 8", "at 6 v6", "release 5"],
            ),
            (
                "put before",
                vec![record(8, 6, Some("2"))],
                Some(("2", 8)),
                vec!["release 8", "at 6 v6"],
            ),
            (
                "removed afterwards",
                vec![record(5, 0, Some("1"))],
                None,
                vec!["after 5 removed", "release 5"],
            ),
            (
                "removed in between",
                vec![record(5, 0, Some("1")), record(8, 0, Some("2"))],
                Some(("2", 8)),
                vec!["release 8", "after 5 removed", "release 5"],
            ),
            (
                "removed by us",
                vec![
                    record(5, 0, Some("1")),
                    record(6, 5, None),
                    record(8, 0, Some("2")),
                ],
                Some(("2", 8)),
                vec!["release 8", "release 6", "release 5"],
            ),
            ("never by us", vec![], Some(("x", 7)), vec!["at 7 x"]),
            (
                "a damaged record's change is its own",
                vec![record(5, 0, Some("1")), damaged(8)],
                Some(("x", 8)),
                vec!["release 8", "release 5"],
            ),
            (
                "a damaged record may have removed it",
                vec![record(5, 0, Some("1")), damaged(8)],
                None,
                vec!["release 8", "release 5"],
            ),
            (
                "older than what is kept",
                vec![dropping(8, 6, Some("2"), 6)],
                Some(("2", 8)),
                vec!["release 8"],
            ),
        ] {
            assert_eq!(check(records, current, &[]), wanted, "{name}");
        }
    }

    #[test]
    fn etcds_own_history_fills_in_what_the_traces_lack() {
        let versions = [
            Change::Put(entry("/config/order/a", "x", 6)),
            Change::Delete {
                key: "/config/order/a".into(),
                revision: Revision(7),
            },
            Change::Put(entry("/config/user/a", "other scope", 7)),
            Change::Put(entry("/config/order/a", "2", 8)),
        ];
        let records = vec![record(5, 0, Some("1")), record(8, 0, Some("2"))];
        assert_eq!(
            check(records, Some(("2", 8)), &versions),
            ["release 8", "at 7 removed", "at 6 x", "release 5"]
        );
    }

    #[test]
    fn a_clock_set_back_does_not_change_the_order() {
        let mut late = record(8, 5, Some("2"));
        if let Ok(release) = &mut late.release {
            release.time = "1999-01-01T00:00:00Z".parse().unwrap();
        }
        let found = check(vec![record(5, 0, Some("1")), late], Some(("2", 8)), &[]);
        assert_eq!(found, ["release 8", "release 5"]);
    }
}
