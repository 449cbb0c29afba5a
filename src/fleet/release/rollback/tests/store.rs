//! A store that keeps its history, as etcd does, with changes recorded or made behind our back.

use std::collections::BTreeMap;

use super::{config, scope};
use crate::config::ConfigKey;
use crate::config::conflict::ThreeWay;
use crate::config::edit::{ConfigEdit, plan};
use crate::kv::{Change, Entry, Key, Prefix, Revision};
use crate::plan::{Edit, Plan, Write};
use crate::release::rollback::{Answer, Answers, Read, Rollback, RollbackError, revert, roll_back};
use crate::release::{Author, Recorded, history, record};

/// Who made a change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Recorder {
    Ours,
    Foreign,
}

/// What stood in it at each revision.
#[derive(Default)]
pub(super) struct Store {
    pub(super) states: Vec<BTreeMap<Key, Entry>>,
    pub(super) log: Vec<Change>,
}

impl Store {
    pub(super) fn now(&self) -> BTreeMap<Key, Entry> {
        self.states.last().cloned().unwrap_or_default()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.now().get(key).cloned()
    }

    pub(super) fn commit(&mut self, plan: &Plan) -> Revision {
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

    pub(super) fn change(
        &mut self,
        edits: &[(&str, Option<&str>)],
        recorded: Recorder,
    ) -> Revision {
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

    pub(super) fn under(&self, prefix: &str, at: Revision) -> Vec<Entry> {
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

    pub(super) fn values(&self, at: Revision) -> BTreeMap<String, String> {
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

    pub(super) fn history(&self) -> Vec<Recorded> {
        history(self.under("/r/", self.revision()))
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.states.len() as i64)
    }

    pub(super) fn read(&self, read: &Read) -> Answer {
        Ok(self
            .under(&read.key.to_string(), read.revision)
            .into_iter()
            .find(|e| e.key == read.key))
    }

    /// Asks until nothing more has to be read.
    pub(super) fn ready(
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

    pub(super) fn revert(&self, at: Revision) -> Result<(Vec<Edit>, Vec<ThreeWay>), RollbackError> {
        let history = self.history();
        let release = history
            .iter()
            .find(|release| release.revision == at)
            .unwrap();
        self.ready(|answers| revert(&scope(), &config(), release, |key| self.get(key), answers))
    }

    pub(super) fn roll_back(
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
