//! What becomes of a save: on its way, written, refused. An answer counts only for the save it names,
//! and takes away only the drafts that this save carried: what was edited meanwhile stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet::config::conflict::{Relation, ThreeWay};
use fleet::config::{ConfigKey, Scope};
use fleet::rollout::Rollout;
use fleet::{Conflict, Entry, InstanceId, Key, Revision, Seen, release};

use super::draft::{Draft, Wanted};
use super::{ConfigPage, Pane};
use crate::tui::state::directory::Directory;

/// A save that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its number; the answer carries it.
    pub id: u64,
    /// What it carries.
    pub cargo: Cargo,
}

/// What a save carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cargo {
    /// The pending changes as they were when it was sent.
    Drafts(BTreeMap<ConfigKey, Draft>),
    /// The same, for some instances to try.
    Canary(BTreeMap<ConfigKey, Draft>, Vec<InstanceId>),
    /// The end of a canary, which tried these keys.
    End(Vec<ConfigKey>),
}

/// A save that was written; instances take it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// At this revision.
    pub revision: Revision,
    /// The keys of it.
    pub keys: Vec<ConfigKey>,
    /// The instances that try it; `None`: it is for all.
    pub only: Option<Vec<InstanceId>>,
    /// How far it has come, for each scope it touched.
    pub rollouts: Vec<(Scope, Rollout)>,
}

/// What a key is to become where two people changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Not chosen yet.
    Open,
    /// What the other one wrote stays.
    Theirs,
    /// Mine is written on top.
    Mine,
    /// Both changes, where they are of different members of one mapping.
    Both,
}

/// A save that was refused because keys had changed.
#[derive(Clone, Debug)]
pub struct Clash {
    /// The keys, what was seen of them and what stands there now.
    pub conflicts: Vec<Conflict>,
    /// Both changes in one value, where that can be.
    pub merged: Vec<Option<String>>,
    /// What becomes of each.
    pub choices: Vec<Choice>,
    /// The one under the cursor.
    pub cursor: usize,
    /// When it was found, since the console started.
    pub at: Duration,
}

impl ConfigPage {
    /// The number of the next save.
    pub fn number_save(&mut self) -> u64 {
        self.saves += 1;
        self.saves
    }

    /// A save is sent.
    pub fn send(&mut self, id: u64, cargo: Cargo) {
        self.saved = None;
        self.sent = Some(Sent { id, cargo });
    }

    /// A save was written. Returns whether it was the one that is out.
    pub fn saved(&mut self, id: u64, revision: Revision) -> bool {
        let Some(sent) = self.sent.take_if(|sent| sent.id == id) else {
            return false;
        };
        let (keys, only) = match sent.cargo {
            Cargo::Drafts(carried) => {
                for (key, carried) in &carried {
                    self.landed(key, carried, revision);
                }
                (carried.into_keys().collect(), None)
            }
            Cargo::Canary(carried, instances) => {
                // The keys stand as they stood: what was edited meanwhile goes on from there.
                self.drafts.retain(|key, draft| {
                    let same =
                        |sent: &Draft| sent.seen == draft.seen && sent.wanted == draft.wanted;
                    !carried.get(key).is_some_and(same)
                });
                (carried.into_keys().collect(), Some(instances))
            }
            Cargo::End(keys) => (keys, None),
        };
        if self.drafts.is_empty() {
            self.kind = release::Action::Change;
        }
        self.saved = Some(Saved {
            revision,
            keys,
            only,
            rollouts: Vec::new(),
        });
        self.clash = None;
        self.keys.outdate_now();
        if self.pane == Pane::Conflict {
            self.pane = Pane::Keys;
        }
        true
    }

    /// What a save carried for a key stands there now. A draft or an edit that began on the same
    /// ground goes on from it: my own change is no one else's.
    fn landed(&mut self, key: &ConfigKey, carried: &Draft, revision: Revision) {
        let left = carried.left_at(key.to_key(&self.prefix), revision);
        if let Some(editing) = &mut self.editing
            && editing.key == *key
            && editing.seen == carried.seen
        {
            editing.seen = left.clone();
        }
        match self.drafts.get(key) {
            Some(draft) if draft.seen == carried.seen && draft.wanted == carried.wanted => {
                self.drafts.remove(key);
            }
            Some(draft) if draft.seen == carried.seen => {
                let (wanted, doubt) = (draft.wanted.clone(), draft.doubt.clone());
                self.want(key.clone(), left, wanted, doubt);
            }
            _ => {}
        }
    }

    /// A save was refused: the user decides per key. Returns whether it was the one that is out.
    pub fn refused(&mut self, id: u64, conflicts: Vec<Conflict>, at: Duration) -> bool {
        let Some(sent) = self.sent.take_if(|sent| sent.id == id) else {
            return false;
        };
        // There is no choosing about a canary: it is looked at again, and decided anew.
        if !matches!(sent.cargo, Cargo::Drafts(_)) {
            return true;
        }
        self.collide(conflicts, at);
        true
    }

    /// Puts keys to the user that two people changed.
    pub(super) fn collide(&mut self, conflicts: Vec<Conflict>, at: Duration) {
        let ways: Vec<_> = conflicts
            .iter()
            .map(|conflict| self.way(conflict))
            .collect();
        let agreed = |way: &Option<ThreeWay>| match way {
            // Both wrote the same: there is nothing to choose.
            Some(way) if way.relation() == Relation::Agree => Choice::Theirs,
            Some(_) => Choice::Open,
            None => Choice::Theirs,
        };
        let both = |way: &Option<ThreeWay>| {
            let merged = way.as_ref()?.merged()?;
            Some(String::from_utf8_lossy(&merged).trim_end().to_owned())
        };
        self.clash = Some(Clash {
            conflicts,
            merged: ways.iter().map(both).collect(),
            choices: ways.iter().map(agreed).collect(),
            cursor: 0,
            at,
        });
        // Keys that are being typed into a value must not choose between two of them.
        if self.pane != Pane::Value {
            self.pane = Pane::Conflict;
        }
    }

    /// The three versions of a key in conflict; `None` where nothing is wanted of it any longer.
    fn way(&self, conflict: &Conflict) -> Option<ThreeWay> {
        let draft = self.drafts.get(&self.name_of(&conflict.key)?)?;
        Some(ThreeWay {
            key: conflict.key.clone(),
            base: conflict.seen.value().map(Into::into),
            theirs: conflict.current.clone(),
            mine: match &draft.wanted {
                Wanted::Set(text) => Some(text.as_bytes().into()),
                Wanted::Unset => None,
            },
        })
    }

    /// A save came to nothing that is known. Returns whether it was the one that is out.
    pub fn unwritten(&mut self, id: u64) -> bool {
        self.sent.take_if(|sent| sent.id == id).is_some()
    }

    /// Chooses for the key under the cursor, and goes to the next. Returns whether it can be so.
    pub fn choose(&mut self, choice: Choice) -> bool {
        let Some(clash) = &mut self.clash else {
            return false;
        };
        let mergeable = matches!(clash.merged.get(clash.cursor), Some(Some(_)));
        if choice == Choice::Both && !mergeable {
            return false;
        }
        if let Some(chosen) = clash.choices.get_mut(clash.cursor) {
            *chosen = choice;
        }
        clash.cursor = (clash.cursor + 1).min(clash.conflicts.len().saturating_sub(1));
        true
    }

    /// Applies the choices to the drafts. Returns whether all were made.
    pub fn resolve(&mut self) -> bool {
        let Some(clash) = self
            .clash
            .take_if(|clash| !clash.choices.contains(&Choice::Open))
        else {
            return false;
        };
        let merged = clash.merged.into_iter().zip(clash.choices);
        for (conflict, (merged, choice)) in clash.conflicts.into_iter().zip(merged) {
            let Some(name) = self.name_of(&conflict.key) else {
                continue;
            };
            let Some(draft) = self.drafts.remove(&name) else {
                continue;
            };
            let (wanted, doubt) = match (choice, merged) {
                (Choice::Mine, _) => (draft.wanted, draft.doubt),
                (Choice::Both, Some(text)) => (Wanted::Set(text), None),
                _ => continue,
            };
            // From now on theirs is what was seen: the guard holds against a third.
            self.want(name, Seen::from(conflict.current), wanted, doubt);
        }
        self.pane = Pane::Keys;
        self.keys.outdate_now();
        true
    }
}

impl Saved {
    /// Asks the fleet how far it has come. One that everyone has taken in is told no more.
    pub fn follow(&mut self, directory: &Directory) {
        let told = !self.rollouts.is_empty();
        if told && self.rollouts.iter().all(|(_, all)| all.is_complete()) {
            return;
        }
        let scopes: BTreeSet<&Scope> = self.keys.iter().map(|key| &key.scope).collect();
        self.rollouts = scopes
            .into_iter()
            .map(|scope| {
                let own = self.keys.iter().filter(|key| key.scope == *scope);
                let own: Vec<_> = own.map(|key| (key.clone(), self.revision)).collect();
                let only = self.only.as_deref();
                (scope.clone(), directory.rollout(scope, &own, only))
            })
            .collect();
    }
}

impl Draft {
    /// How the key stands once this was written at a revision.
    fn left_at(&self, key: Key, revision: Revision) -> Seen {
        let Wanted::Set(text) = &self.wanted else {
            return Seen::Absent;
        };
        let before = match &self.seen {
            Seen::At(entry) => Some(entry),
            Seen::Absent => None,
        };
        Seen::At(Entry {
            key,
            value: text.as_bytes().into(),
            create_revision: before.map_or(revision, |entry| entry.create_revision),
            mod_revision: revision,
            version: before.map_or(1, |entry| entry.version + 1),
            lease: before.and_then(|entry| entry.lease),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, key, page};
    use super::*;

    fn send(page: &mut ConfigPage, id: u64) {
        page.send(id, Cargo::Drafts(page.drafts.clone()));
    }

    #[test]
    fn changes_of_different_members_can_both_be_kept() {
        for (base, theirs, mine, both) in [
            ("{a: 1, b: 1}", "{a: 2, b: 1}", "{a: 1, b: 2}", true),
            ("{a: 1, b: 1}", "{a: 2, b: 1}", "{a: 3, b: 1}", false),
        ] {
            let mut page = page();
            let name = key("order/retry");
            let seen = Seen::At(entry("/config/order/retry", base, 8));
            page.want(name.clone(), seen.clone(), Wanted::Set(mine.into()), None);
            send(&mut page, 1);
            let conflict = Conflict {
                key: "/config/order/retry".into(),
                seen,
                current: Some(entry("/config/order/retry", theirs, 9)),
            };
            page.refused(1, vec![conflict], Duration::ZERO);
            assert_eq!(page.choose(Choice::Both), both, "{theirs} {mine}");
            assert_eq!(page.resolve(), both);
            if both {
                let Wanted::Set(text) = &page.drafts[&name].wanted else {
                    panic!()
                };
                let merged = fleet::config::value::parse(text.as_bytes()).unwrap();
                assert_eq!(fleet::config::value::one_line(&merged), "{a: 2, b: 2}");
                assert_eq!(page.drafts[&name].seen.revision(), Revision(9));
            }
        }
    }

    #[test]
    fn mine_after_a_conflict_is_guarded_by_theirs() {
        let mut page = page();
        let name = key("order/timeout.write");
        let seen = Seen::from(page.entry(&name).cloned());
        page.want(name.clone(), seen.clone(), Wanted::Set("5s".into()), None);
        send(&mut page, 1);
        let current = Some(entry("/config/order/timeout.write", "3s", 9));
        let conflict = Conflict {
            key: "/config/order/timeout.write".into(),
            seen,
            current,
        };
        assert!(page.refused(1, vec![conflict], Duration::ZERO));
        assert!(!page.resolve());
        page.choose(Choice::Mine);
        assert!(page.resolve());
        assert_eq!(page.drafts[&name].seen.revision(), Revision(9));
    }

    #[test]
    fn what_was_edited_while_a_save_was_out_goes_on_from_what_the_save_wrote() {
        let mut page = page();
        let (sent, later) = (key("order/timeout.write"), key("order/page.size"));
        let seen = Seen::from(page.entry(&sent).cloned());
        page.want(sent.clone(), seen.clone(), Wanted::Set("5s".into()), None);
        send(&mut page, 7);
        page.want(sent.clone(), seen, Wanted::Set("6s".into()), None);
        page.want(later.clone(), Seen::Absent, Wanted::Set("50".into()), None);
        assert!(!page.saved(6, Revision(11)), "another save");
        assert_eq!(page.drafts.len(), 2);
        assert!(page.saved(7, Revision(12)));
        assert_eq!(page.drafts[&sent].seen.revision(), Revision(12));
        assert_eq!(page.drafts[&sent].seen.value(), Some(&b"5s"[..]));
        assert!(page.drafts.contains_key(&later));
        assert_eq!(page.saved.as_ref().unwrap().keys, [sent]);
    }

    #[test]
    fn a_value_being_typed_while_its_save_lands_does_not_conflict_with_itself() {
        let mut page = page();
        let name = key("order/timeout.write");
        page.edit(name.clone());
        page.editing.as_mut().unwrap().editor.replace("5s");
        page.accept();
        send(&mut page, 1);
        page.edit(name.clone());
        page.editing.as_mut().unwrap().editor.replace("6s");
        page.saved(1, Revision(12));
        page.accept();
        assert_eq!(page.drafts[&name].seen.revision(), Revision(12));
    }

    #[test]
    fn a_refusal_waits_until_the_value_being_typed_is_done() {
        let mut page = page();
        let name = key("order/timeout.write");
        let seen = Seen::from(page.entry(&name).cloned());
        page.want(name.clone(), seen.clone(), Wanted::Set("5s".into()), None);
        send(&mut page, 1);
        page.edit(key("order/page.size"));
        let conflict = Conflict {
            key: name.to_key(&page.prefix),
            seen,
            current: None,
        };
        page.refused(1, vec![conflict], Duration::ZERO);
        assert_eq!(page.pane, Pane::Value);
        page.leave();
        assert_eq!(page.pane, Pane::Conflict);
    }
}
