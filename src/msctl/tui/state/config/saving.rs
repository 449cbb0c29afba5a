//! What becomes of a save: on its way, written, refused. An answer counts only for the save it names,
//! and takes away only the drafts that this save carried: what was edited meanwhile stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet::config::{ConfigKey, Scope};
use fleet::rollout::Rollout;
use fleet::{Conflict, Entry, Key, Revision, Seen};

use super::draft::{Draft, Wanted};
use super::{ConfigPage, Pane};
use crate::tui::state::directory::Directory;

/// A save that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its number; the answer carries it.
    pub id: u64,
    /// The pending changes as it carries them.
    carried: BTreeMap<ConfigKey, Draft>,
}

/// A save that was written; instances take it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// At this revision.
    pub revision: Revision,
    /// The keys of it.
    pub keys: Vec<ConfigKey>,
    /// When the answer came, since the console started.
    pub at: Duration,
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
}

/// A save that was refused because keys had changed.
#[derive(Clone, Debug)]
pub struct Clash {
    /// The keys, what was seen of them and what stands there now.
    pub conflicts: Vec<Conflict>,
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

    /// A save is sent with all pending changes as they are now.
    pub fn send(&mut self, id: u64) {
        self.saved = None;
        self.sent = Some(Sent {
            id,
            carried: self.drafts.clone(),
        });
    }

    /// A save was written. Returns whether it was the one that is out.
    pub fn saved(&mut self, id: u64, revision: Revision, at: Duration) -> bool {
        let Some(sent) = self.sent.take_if(|sent| sent.id == id) else {
            return false;
        };
        for (key, carried) in &sent.carried {
            self.landed(key, carried, revision);
        }
        self.saved = Some(Saved {
            revision,
            keys: sent.carried.into_keys().collect(),
            at,
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
        if self.sent.take_if(|sent| sent.id == id).is_none() {
            return false;
        }
        let choices = vec![Choice::Open; conflicts.len()];
        self.clash = Some(Clash {
            conflicts,
            choices,
            cursor: 0,
            at,
        });
        // Keys that are being typed into a value must not choose between two of them.
        if self.pane != Pane::Value {
            self.pane = Pane::Conflict;
        }
        true
    }

    /// A save came to nothing that is known. Returns whether it was the one that is out.
    pub fn unwritten(&mut self, id: u64) -> bool {
        self.sent.take_if(|sent| sent.id == id).is_some()
    }

    /// Chooses for the key under the cursor, and goes to the next.
    pub fn choose(&mut self, choice: Choice) {
        if let Some(clash) = &mut self.clash
            && let Some(chosen) = clash.choices.get_mut(clash.cursor)
        {
            *chosen = choice;
            clash.cursor = (clash.cursor + 1).min(clash.conflicts.len().saturating_sub(1));
        }
    }

    /// Applies the choices to the drafts. Returns whether all were made.
    pub fn resolve(&mut self) -> bool {
        let Some(clash) = self
            .clash
            .take_if(|clash| !clash.choices.contains(&Choice::Open))
        else {
            return false;
        };
        for (conflict, choice) in clash.conflicts.into_iter().zip(clash.choices) {
            let Some(name) = self.name_of(&conflict.key) else {
                continue;
            };
            let Some(draft) = self.drafts.remove(&name) else {
                continue;
            };
            if choice == Choice::Mine {
                // From now on theirs is what was seen: the guard holds against a third.
                self.want(
                    name,
                    Seen::from(conflict.current),
                    draft.wanted,
                    draft.doubt,
                );
            }
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
                let own: Vec<ConfigKey> = own.cloned().collect();
                (scope.clone(), directory.rollout(scope, &own, self.revision))
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

    #[test]
    fn mine_after_a_conflict_is_guarded_by_theirs() {
        let mut page = page();
        let name = key("order/timeout.write");
        let seen = Seen::from(page.entry(&name).cloned());
        page.want(name.clone(), seen.clone(), Wanted::Set("5s".into()), None);
        page.send(1);
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
        page.send(7);
        page.want(sent.clone(), seen, Wanted::Set("6s".into()), None);
        page.want(later.clone(), Seen::Absent, Wanted::Set("50".into()), None);
        assert!(!page.saved(6, Revision(11), Duration::ZERO), "another save");
        assert_eq!(page.drafts.len(), 2);
        assert!(page.saved(7, Revision(12), Duration::ZERO));
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
        page.send(1);
        page.edit(name.clone());
        page.editing.as_mut().unwrap().editor.replace("6s");
        page.saved(1, Revision(12), Duration::ZERO);
        page.accept();
        assert_eq!(page.drafts[&name].seen.revision(), Revision(12));
    }

    #[test]
    fn a_refusal_waits_until_the_value_being_typed_is_done() {
        let mut page = page();
        let name = key("order/timeout.write");
        let seen = Seen::from(page.entry(&name).cloned());
        page.want(name.clone(), seen.clone(), Wanted::Set("5s".into()), None);
        page.send(1);
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
