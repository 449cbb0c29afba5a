//! What changed the config: who wrote what stands, the history of a scope or a key, and the way back,
//! which becomes pending changes like any other.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::config::conflict::ThreeWay;
use fleet::config::diff::{self, Difference, Secrets};
use fleet::config::secret::redact::redact;
use fleet::config::secret::{MASK, Sensitivity};
use fleet::config::{ConfigKey, Scope};
use fleet::filter::{Field, Row};
use fleet::release::timeline::{Foreign, Happening, Value, When};
use fleet::release::{Action, Changed, Recorded};
use fleet::{Conflict, Edit, Revision, Write};
use jiff::Timestamp;

use super::{ConfigPage, Pane, Wanted};
use crate::change::history::Told;
use crate::tui::state::list::List;

/// Who wrote something, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The time by their clock.
    pub time: Timestamp,
}

/// Who wrote what stands in some scopes.
#[derive(Clone, Debug, Default)]
pub struct Authors {
    /// Whose records these are, and the newest revision there was then.
    pub of: Option<(Vec<Scope>, Revision)>,
    known: BTreeMap<Revision, Author>,
}

impl Authors {
    /// Who made the change of a revision; a change of another tool has no record.
    pub fn at(&self, revision: Revision) -> Option<&Author> {
        self.known.get(&revision)
    }

    /// Takes records in.
    pub fn take(&mut self, records: Vec<Recorded>) {
        self.known = records
            .into_iter()
            .filter_map(|recorded| {
                let release = recorded.release.ok()?;
                let author = Author {
                    name: release.author,
                    time: release.time,
                };
                Some((recorded.revision, author))
            })
            .collect();
    }
}

/// The history that shows.
#[derive(Debug)]
pub struct History {
    /// Whose.
    pub scope: Scope,
    /// Only of this key.
    pub only: Option<ConfigKey>,
    /// Why there is none; `None` while it is asked for, and once it has come.
    pub failed: Option<String>,
    /// What has come, the newest first.
    pub all: Option<Vec<Past>>,
    /// What is not known of other tools' changes, each as a sentence.
    pub gaps: Vec<String>,
    /// The rows that pass the filter, as places in it.
    pub list: List<usize, usize>,
    /// The first line of the difference that shows.
    pub scroll: usize,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Past {
    /// When: `r812`, `after r811`.
    pub when: String,
    /// The revision, where it is a release of ours that can be gone back to.
    pub release: Option<Revision>,
    /// By whom; `None`: by another tool.
    pub author: Option<Author>,
    /// Why.
    pub message: String,
    /// What, in a few words.
    pub what: String,
    /// Key by key.
    pub changes: Vec<(String, Difference)>,
    /// Why it cannot be read.
    pub damaged: Option<String>,
}

/// A way back as it was found: what is to be written, and what has to be chosen.
#[derive(Clone, Debug)]
pub struct WayBack {
    /// Keys that go back as they are.
    pub edits: Vec<Edit>,
    /// Keys that a later change touched too.
    pub open: Vec<ThreeWay>,
    /// The same as conflicts.
    pub conflicts: Vec<Conflict>,
    /// What it is, for its record.
    pub action: Action,
    /// Whether etcd's own history of then is gone.
    pub blind: bool,
}

impl ConfigPage {
    /// The scopes whose authors the keys that show are of, with their newest revision.
    pub fn authored(&self) -> Option<(Vec<Scope>, Revision)> {
        let scope = self.scope.clone()?;
        let mut scopes = vec![scope];
        if scopes[0] != Scope::Global {
            scopes.push(Scope::Global);
        }
        let newest = scopes.iter().flat_map(|scope| self.below(scope));
        let newest = newest.map(|(_, entry)| entry.mod_revision).max()?;
        Some((scopes, newest))
    }

    /// Shows the history of a scope or a key, as soon as it comes.
    pub fn open_history(&mut self, scope: Scope, only: Option<ConfigKey>) {
        self.history = Some(History {
            scope,
            only,
            failed: None,
            all: None,
            gaps: Vec::new(),
            list: List::default(),
            scroll: 0,
        });
        self.pane = Pane::History;
    }

    /// Takes a history in; one that was not asked for last is dropped.
    pub fn take_history(
        &mut self,
        scope: &Scope,
        only: Option<&ConfigKey>,
        found: Result<Told, String>,
    ) {
        let asked =
            |history: &&mut History| history.scope == *scope && history.only.as_ref() == only;
        if self.history.as_mut().filter(asked).is_none() {
            return;
        }
        let found = found.map(|told| {
            let past = told.happenings.iter().map(|one| self.past(one, only));
            (past.collect::<Vec<_>>(), told.gaps)
        });
        if let Some(history) = &mut self.history {
            match found {
                Ok((all, gaps)) => {
                    history.all = Some(all);
                    history.gaps = gaps;
                    history.failed = None;
                }
                Err(why) => history.failed = Some(why),
            }
            history.list.outdate_now();
        }
    }

    fn past(&self, one: &Happening, only: Option<&ConfigKey>) -> Past {
        match one {
            Happening::Foreign(foreign) => self.foreign(foreign),
            Happening::Release(recorded) => self.released(recorded, only),
        }
    }

    fn foreign(&self, foreign: &Foreign) -> Past {
        let when = match foreign.when {
            When::At(revision) => format!("r{revision}"),
            When::After(revision) => format!("after r{revision}"),
        };
        let value = match &foreign.after {
            None => None,
            Some(Value::Unknown) => Some(b"(unknown)".as_slice()),
            Some(Value::Bytes(bytes)) => Some(&**bytes),
        };
        let key = &foreign.key;
        let name = key.to_string();
        Past {
            when,
            release: None,
            author: None,
            message: String::new(),
            what: match value {
                None => format!("{name} removed"),
                Some(value) => format!("{name} {}", self.line(key, value, Secrets::Masked)),
            },
            changes: vec![(
                name,
                diff::of(self.published(), key, None, value, self.secrets()),
            )],
            damaged: None,
        }
    }

    fn released(&self, recorded: &Recorded, only: Option<&ConfigKey>) -> Past {
        let mut past = Past {
            when: format!("r{}", recorded.revision),
            release: Some(recorded.revision),
            author: None,
            message: String::new(),
            what: String::new(),
            changes: Vec::new(),
            damaged: None,
        };
        let release = match &recorded.release {
            Ok(release) => release,
            Err(damaged) => {
                past.damaged = Some(damaged.to_string());
                return past;
            }
        };
        past.author = Some(Author {
            name: release.author.clone(),
            time: release.time,
        });
        past.message.clone_from(&release.message);
        let touched = |changed: &&Changed| only.is_none_or(|key| key.to_string() == changed.key);
        let mut what = vec![release.action.to_string()];
        for changed in release.changes.iter().filter(touched) {
            let key = ConfigKey::parse(&changed.key).ok();
            // Of a key that is none nobody can say whether it is a secret's.
            let mask = |side: &Option<String>| side.as_ref().map(|_| MASK.as_bytes());
            let (before, after) = match &key {
                Some(_) => (
                    changed.before.as_deref().map(str::as_bytes),
                    changed.after.as_deref().map(str::as_bytes),
                ),
                None => (mask(&changed.before), mask(&changed.after)),
            };
            let shown = |side: Option<&[u8]>| match (side, &key) {
                (None, _) => "∅".to_owned(),
                (Some(_), None) => MASK.to_owned(),
                // A record from before a schema named the key a secret's may hold its value; what it
                // does not hold needs no mask.
                (Some(bytes), Some(key)) if changed.is_kept() => {
                    self.line(key, bytes, Secrets::Masked)
                }
                (Some(bytes), Some(key)) => self.line(key, bytes, Secrets::Revealed),
            };
            what.push(format!(
                "{}: {} → {}",
                changed.key,
                shown(before),
                shown(after)
            ));
            let difference = match &key {
                Some(key) if changed.is_kept() => {
                    diff::of(self.published(), key, before, after, self.secrets())
                }
                _ => diff::compare(Sensitivity::Open, before, after, Secrets::Revealed),
            };
            past.changes.push((changed.key.clone(), difference));
        }
        what.retain(|part| !part.is_empty());
        past.what = what.join("; ");
        past
    }

    /// A value of a key in one line.
    fn line(&self, key: &ConfigKey, value: &[u8], secrets: Secrets) -> String {
        match secrets {
            Secrets::Masked => line(&redact(self.published(), key, value)),
            Secrets::Revealed => line(value),
        }
    }

    /// A way back becomes pending changes; where later changes stand in it, each is chosen about.
    ///
    /// # Errors
    /// A sentence: other changes are pending, a value is no text, or nothing is to be done.
    pub fn go_back(&mut self, way: WayBack, at: Duration) -> Result<(), String> {
        if !self.drafts.is_empty() {
            return Err("other changes are pending; save or drop them first".into());
        }
        if way.edits.is_empty() && way.open.is_empty() {
            return Err("it stands like that already; there is nothing to take back".into());
        }
        let mine = way.open.iter();
        let mine = mine.filter_map(|way| way.edit(fleet::config::conflict::Take::Mine));
        let edits: Vec<Edit> = way.edits.iter().cloned().chain(mine).collect();
        let mut wanted = Vec::new();
        for edit in edits {
            let Some(key) = self.name_of(&edit.key) else {
                return Err(format!("{} is no config key", edit.key));
            };
            let becomes = match &edit.write {
                Write::Delete => Wanted::Unset,
                Write::Put { value, .. } => match std::str::from_utf8(value) {
                    Ok(text) => Wanted::Set(text.to_owned()),
                    Err(_) => {
                        return Err(format!(
                            "{key}: the value of then is no text; msctl config rollback brings it back"
                        ));
                    }
                },
            };
            wanted.push((key, edit.seen, becomes));
        }
        for (key, seen, becomes) in wanted {
            // What a later change stands in the way of is guarded by what the release had left.
            let then = way
                .conflicts
                .iter()
                .find(|conflict| self.name_of(&conflict.key) == Some(key.clone()));
            let seen = then.map_or(seen, |conflict| conflict.seen.clone());
            self.want(key, seen, becomes, None);
        }
        self.kind = way.action;
        self.history = None;
        self.pane = Pane::Keys;
        if !way.conflicts.is_empty() {
            self.collide(way.conflicts, at);
        }
        Ok(())
    }
}

/// A value in one line, safe for a terminal.
fn line(value: &[u8]) -> String {
    let text = fleet::safe::escape_bytes(value.trim_ascii());
    crate::tui::text::fit(&text, 60, "…").into_owned()
}

impl History {
    /// Makes the rows anew where it is time.
    pub fn rebuild(&mut self, now: Duration) -> bool {
        if !self.list.wants_build(now) {
            return false;
        }
        let all = self.all.as_deref().unwrap_or_default();
        let passes = |at: &usize| self.list.filter().matches(&all[*at]);
        let rows: Vec<usize> = (0..all.len()).filter(passes).collect();
        self.list.fill(now, rows, all.len(), |at| *at);
        true
    }

    /// The one under the cursor.
    pub fn current(&self) -> Option<&Past> {
        self.all.as_deref()?.get(*self.list.current()?)
    }
}

impl Row for Past {
    fn contains(&self, word: &str) -> bool {
        let author = self.author.as_ref().map_or("another tool", |by| &by.name);
        [author, &self.what, &self.message, &self.when]
            .iter()
            .any(|text| text.to_lowercase().contains(word))
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        match name {
            "author" => Some(Field::Text(&self.author.as_ref()?.name)),
            "revision" => Some(Field::Number(self.release?.0 as f64)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet::Seen;

    use super::super::tests::{entry, key, page};
    use super::*;

    fn recorded(revision: i64, changes: &str) -> Recorded {
        let text = format!(
            r#"{{"author":"lin","time":"2026-11-22T10:00:00Z","message":"slow disk","changes":[{changes}]}}"#
        );
        fleet::release::history([entry("/r/order/1", &text, revision)]).remove(0)
    }

    fn changed(key: &str, before: &str, after: &str) -> String {
        format!(r#"{{"key":"{key}","before":"{before}","after":"{after}","mod_revision":4}}"#)
    }

    #[test]
    fn history_shows_who_changed_what_and_masks_what_is_a_secret_by_now() {
        let mut page = page();
        let scope = Scope::parse("order").unwrap();
        page.open_history(scope.clone(), None);
        let foreign = Foreign {
            key: key("order/page.size"),
            when: When::At(Revision(9)),
            after: Some(Value::Bytes(b"50".as_slice().into())),
        };
        let all = vec![
            Happening::Foreign(foreign),
            Happening::Release(recorded(8, &changed("order/timeout.write", "2s", "5s"))),
            Happening::Release(recorded(7, &changed("order/db.password", "hush", "hush2"))),
            Happening::Release(recorded(
                6,
                &changed("order/db", "{password: hush}", "{a: 1}"),
            )),
            Happening::Foreign(Foreign {
                key: key("order/db"),
                when: When::At(Revision(5)),
                after: Some(Value::Bytes(b"{a: 1, password: hush}".as_slice().into())),
            }),
        ];
        let told = |happenings, gaps: &[&str]| Told {
            happenings,
            gaps: gaps.iter().map(|gap| (*gap).to_owned()).collect(),
        };
        page.take_history(&scope, None, Ok(told(all, &["etcd was compacted"])));
        let history = page.history.as_ref().unwrap();
        assert_eq!(history.gaps, ["etcd was compacted"]);
        let rows: Vec<_> = history.all.as_ref().unwrap().iter().collect();
        let author = |past: &Past| past.author.as_ref().map(|by| by.name.clone());
        assert_eq!(
            (rows[0].what.as_str(), author(rows[0])),
            ("order/page.size 50", None)
        );
        assert_eq!(rows[1].what, "order/timeout.write: 2s → 5s");
        assert_eq!(author(rows[1]).as_deref(), Some("lin"));
        assert!(!format!("{rows:?}").contains("hush"), "{rows:?}");
        assert_eq!(rows[4].what, "order/db {a: 1, password: ••••••}");
        // An answer to another question is not shown in its place.
        page.take_history(&Scope::Global, None, Ok(told(Vec::new(), &[])));
        assert_eq!(page.history.unwrap().all.unwrap().len(), 5);
    }

    #[test]
    fn a_way_back_becomes_pending_changes_and_later_changes_are_chosen_about() {
        let mut page = page();
        let name = key("order/timeout.write");
        let now = page.entry(&name).unwrap().clone();
        let way = ThreeWay {
            key: now.key.clone(),
            base: Some(b"5s".as_slice().into()),
            theirs: Some(now.clone()),
            mine: Some(b"1s".as_slice().into()),
        };
        let conflict = Conflict {
            key: now.key.clone(),
            seen: Seen::At(entry("/config/order/timeout.write", "5s", 7)),
            current: Some(now),
        };
        let edit = Edit::put("/config/order/page.size".into(), Seen::Absent, *b"50");
        let found = WayBack {
            edits: vec![edit],
            open: vec![way],
            conflicts: vec![conflict],
            action: Action::Revert(7),
            blind: false,
        };
        page.go_back(found.clone(), Duration::ZERO).unwrap();
        assert_eq!((page.drafts.len(), page.pane), (2, Pane::Conflict));
        assert_eq!(page.kind, Action::Revert(7));
        assert!(
            page.go_back(found, Duration::ZERO)
                .unwrap_err()
                .contains("pending")
        );
        page.choose(super::super::Choice::Theirs);
        assert!(page.resolve());
        let left: Vec<_> = page.drafts.keys().map(ToString::to_string).collect();
        assert_eq!(left, ["order/page.size"]);
    }
}
