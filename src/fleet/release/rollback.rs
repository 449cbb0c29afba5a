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
mod tests {
    use super::*;
    use crate::config::edit::{ConfigEdit, plan};
    use crate::kv::Change;
    use crate::plan::Plan;
    use crate::release::{Author, history, record};
    use proptest::prelude::*;

    fn config() -> Prefix {
        Prefix::new("/config/").unwrap()
    }

    fn scope() -> Scope {
        Scope::parse("order").unwrap()
    }

    /// A store that keeps its history, as etcd does.
    #[derive(Default)]
    struct Store {
        states: Vec<BTreeMap<Key, Entry>>,
        log: Vec<Change>,
    }

    impl Store {
        fn now(&self) -> BTreeMap<Key, Entry> {
            self.states.last().cloned().unwrap_or_default()
        }

        fn get(&self, key: &Key) -> Option<Entry> {
            self.now().get(key).cloned()
        }

        fn commit(&mut self, plan: &Plan) -> Revision {
            let mut state = self.now();
            let revision = Revision(self.states.len() as i64 + 1);
            for edit in plan.edits() {
                assert_eq!(
                    edit.seen.revision(),
                    state
                        .get(&edit.key)
                        .map_or(Revision::ZERO, |e| e.mod_revision)
                );
                match &edit.write {
                    Write::Delete => drop(state.remove(&edit.key)),
                    Write::Put { value, .. } => {
                        let entry = Entry {
                            key: edit.key.clone(),
                            value: value.clone(),
                            create_revision: state
                                .get(&edit.key)
                                .map_or(revision, |e| e.create_revision),
                            mod_revision: revision,
                            version: 1,
                            lease: None,
                        };
                        self.log.push(Change::Put(entry.clone()));
                        state.insert(edit.key.clone(), entry);
                    }
                }
            }
            self.states.push(state);
            revision
        }

        fn change(&mut self, edits: &[(&str, Option<&str>)], recorded: Recorder) -> Revision {
            let edits = edits.iter().map(|(path, value)| {
                let key = ConfigKey::parse(&format!("order/{path}")).unwrap();
                match value {
                    Some(value) => ConfigEdit::Set {
                        key,
                        value: (*value).into(),
                    },
                    None => ConfigEdit::Unset { key },
                }
            });
            let bare = plan(&config(), edits, |key| {
                self.get(&key.to_key(&config())).into()
            })
            .unwrap();
            let author = Author {
                name: "lin".into(),
                time: jiff::Timestamp::UNIX_EPOCH,
                message: String::new(),
            };
            let revision = Revision(self.states.len() as i64);
            let plan = match recorded {
                Recorder::Ours => record(
                    bare,
                    &config(),
                    &Prefix::new("/r/").unwrap(),
                    &author,
                    revision,
                    1,
                )
                .unwrap(),
                Recorder::Foreign => bare,
            };
            if plan.is_empty() {
                revision
            } else {
                self.commit(&plan)
            }
        }

        fn under(&self, prefix: &str, at: Revision) -> Vec<Entry> {
            let state = usize::try_from(at.0 - 1)
                .ok()
                .and_then(|at| self.states.get(at));
            state
                .into_iter()
                .flatten()
                .filter(|(key, _)| key.as_bytes().starts_with(prefix.as_bytes()))
                .map(|(_, e)| e.clone())
                .collect()
        }

        fn values(&self, at: Revision) -> BTreeMap<String, String> {
            self.under("/config/", at)
                .iter()
                .map(|e| {
                    (
                        e.key.to_string(),
                        String::from_utf8_lossy(&e.value).into_owned(),
                    )
                })
                .collect()
        }

        fn history(&self) -> Vec<Recorded> {
            history(self.under("/r/", self.revision()))
        }

        fn revision(&self) -> Revision {
            Revision(self.states.len() as i64)
        }

        fn read(&self, read: &Read) -> Answer {
            Ok(self
                .under(&read.key.to_string(), read.revision)
                .into_iter()
                .find(|e| e.key == read.key))
        }

        /// Asks until nothing more has to be read.
        fn ready(
            &self,
            mut ask: impl FnMut(&Answers) -> Result<Rollback, RollbackError>,
        ) -> Result<(Vec<Edit>, Vec<ThreeWay>), RollbackError> {
            let mut answers = Answers::new();
            loop {
                match ask(&answers)? {
                    Rollback::Ready { edits, conflicts } => return Ok((edits, conflicts)),
                    Rollback::Wants(reads) => answers.extend(
                        reads
                            .into_iter()
                            .map(|read| (read.clone(), self.read(&read))),
                    ),
                }
            }
        }

        fn revert(&self, at: Revision) -> Result<(Vec<Edit>, Vec<ThreeWay>), RollbackError> {
            let history = self.history();
            let release = history
                .iter()
                .find(|release| release.revision == at)
                .unwrap();
            self.ready(|answers| revert(&scope(), &config(), release, |key| self.get(key), answers))
        }

        fn roll_back(
            &self,
            to: Revision,
            then: Option<&[Entry]>,
        ) -> Result<Vec<Edit>, RollbackError> {
            let (history, current) = (self.history(), self.under("/config/", self.revision()));
            let (edits, conflicts) = self.ready(|answers| {
                roll_back(&scope(), &config(), to, &history, &current, then, answers)
            })?;
            assert!(conflicts.is_empty());
            Ok(edits)
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Recorder {
        Ours,
        Foreign,
    }
    use Recorder::{Foreign, Ours};

    #[test]
    fn one_release_is_taken_back_on_top_of_newer_changes() {
        let mut store = Store::default();
        store.change(
            &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
            Ours,
        );
        let bad = store.change(&[("a", Some("2")), ("b", Some("2")), ("c", None)], Ours);
        store.change(&[("b", Some("3")), ("d", Some("4"))], Ours);
        let (edits, conflicts) = store.revert(bad).unwrap();
        let keys: Vec<_> = edits.iter().map(|edit| edit.key.to_string()).collect();
        assert_eq!(keys, ["/config/order/a", "/config/order/c"]);
        let [way] = &conflicts[..] else {
            panic!("one conflict")
        };
        assert_eq!(way.base.as_deref(), Some(b"2".as_slice()));
        assert_eq!(
            way.theirs.as_ref().map(|e| &*e.value),
            Some(b"3".as_slice())
        );
        assert_eq!(way.mine.as_deref(), Some(b"1".as_slice()));
        store.commit(&Plan::new(edits).unwrap());
        assert_eq!(store.values(store.revision())["/config/order/c"], "1");
    }

    #[test]
    fn a_revert_of_what_stands_as_before_writes_nothing() {
        let mut store = Store::default();
        store.change(&[("a", Some("1"))], Ours);
        let bad = store.change(&[("a", Some("2"))], Ours);
        store.change(&[("a", Some("1"))], Foreign);
        assert_eq!(store.revert(bad).unwrap(), (vec![], vec![]));
    }

    #[test]
    fn the_value_of_a_secret_comes_from_etcds_history_or_not_at_all() {
        let mut store = Store::default();
        store.change(&[("db.password", Some("old"))], Ours);
        let bad = store.change(&[("db.password", Some("new"))], Ours);
        let (edits, _) = store.revert(bad).unwrap();
        assert!(matches!(&edits[0].write, Write::Put { value, .. } if **value == *b"old"));

        let history = store.history();
        let read = Read {
            key: "/config/order/db.password".into(),
            revision: Revision(bad.0 - 1),
        };
        let compacted = Answers::from([(
            read,
            Err(Compacted {
                oldest: Revision(9),
            }),
        )]);
        let error = revert(
            &scope(),
            &config(),
            &history[0],
            |key| store.get(key),
            &compacted,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("db.password")
                && error.contains("compacted up to 9")
                && !error.contains("old is"),
            "{error}"
        );
    }

    #[test]
    fn a_large_value_is_recorded_without_its_text_and_still_comes_back() {
        let mut store = Store::default();
        let large = "x".repeat(100_000);
        store.change(&[("a", Some(&large))], Ours);
        let bad = store.change(&[("a", Some("small"))], Ours);
        assert!(store.history()[0].release.as_ref().unwrap().changes[0].withheld);
        let (edits, _) = store.revert(bad).unwrap();
        assert!(matches!(&edits[0].write, Write::Put { value, .. } if value.len() == 100_000));
    }

    #[test]
    fn a_damaged_or_foreign_record_is_refused_by_name() {
        let mut store = Store::default();
        let at = store.change(&[("a", Some("1"))], Ours);
        let mut record = store.history().remove(0);
        if let Ok(release) = &mut record.release {
            release.changes[0].key = "user/a".into();
        }
        let refused = revert(&scope(), &config(), &record, |_| None, &Answers::new()).unwrap_err();
        assert!(matches!(refused, RollbackError::Foreign { .. }));
        record.release = history([Entry {
            value: (*b"{").into(),
            ..store.under("/r/", at).remove(0)
        }])
        .remove(0)
        .release;
        let refused = revert(&scope(), &config(), &record, |_| None, &Answers::new()).unwrap_err();
        assert!(
            refused.to_string().contains("the record of revision 1"),
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn a_rollback_brings_back_exactly_what_was(
            steps in prop::collection::vec((prop::collection::btree_map("[ab]|db\\.password", prop::option::of("[1-4]"), 1..3), any::<bool>()), 1..10),
            to in any::<prop::sample::Index>(),
        ) {
            let mut store = Store::default();
            let mut ours = vec![];
            let mut deleted_by_others = false;
            for (edits, recorded) in &steps {
                let edits: Vec<_> = edits.iter().map(|(path, value)| (path.as_str(), value.as_deref())).collect();
                let before = store.revision();
                deleted_by_others |= !recorded && edits.iter().any(|(_, value)| value.is_none());
                let at = store.change(&edits, if *recorded { Ours } else { Foreign });
                if at > before && *recorded { ours.push(at); }
            }
            prop_assume!(!ours.is_empty());
            let to = *to.get(&ours);
            let then = store.under("/config/", to);
            for then in [Some(&then[..]), None] {
                // A key that another tool removed leaves no trace but in etcd's own history.
                if then.is_none() && deleted_by_others { continue; }
                let edits = store.roll_back(to, then).unwrap();
                let mut rolled = Store { states: store.states.clone(), log: vec![] };
                let plan = Plan::new(edits).unwrap();
                if !plan.is_empty() { rolled.commit(&plan); }
                prop_assert_eq!(rolled.values(rolled.revision()), store.values(to));
            }
        }
    }
}
