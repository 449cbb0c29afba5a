//! A value being edited and the pending changes. A draft is guarded by what was seen when it began,
//! and survives everything but a save that carried it or the user's own word.

use fleet::config::diff::{self, Difference, Secrets};
use fleet::config::edit::{self, ConfigEdit, EditError};
use fleet::config::schema::Field;
use fleet::config::{ConfigKey, Published, Scope};
use fleet::{Plan, Revision, Seen};

use super::schemas::Verdict;
use super::{ConfigPage, Pane};
use crate::tui::state::editor::{Editor, Shape};

/// What a user wants a key to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This value.
    Set(String),
    /// Gone.
    Unset,
}

/// A pending change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// How the key stood when the user began; what the save is guarded by.
    pub seen: Seen,
    /// What it is to become.
    pub wanted: Wanted,
    /// The difference, made once and not while drawing.
    pub difference: Difference,
    /// What the service's schema finds doubtful in it.
    pub doubt: Option<String>,
}

impl Draft {
    fn new(
        known: &Published,
        key: &ConfigKey,
        seen: Seen,
        wanted: Wanted,
        secrets: Secrets,
    ) -> Self {
        let after = match &wanted {
            Wanted::Set(text) => Some(text.as_bytes()),
            Wanted::Unset => None,
        };
        let difference = diff::of(known, key, seen.value(), after, secrets);
        Self {
            seen,
            wanted,
            difference,
            doubt: None,
        }
    }
}

/// A value being edited.
#[derive(Clone, Debug)]
pub struct Editing {
    /// The key.
    pub key: ConfigKey,
    /// How it stood when editing began.
    pub seen: Seen,
    /// The text.
    pub editor: Editor,
    /// Why the text cannot be kept.
    pub error: Option<String>,
    /// What the service's schema says of the key.
    pub field: Option<Field>,
}

impl ConfigPage {
    /// Begins to edit a key: its draft, else the value that counts.
    pub fn edit(&mut self, key: ConfigKey) {
        let (seen, text) = match self.drafts.get(&key) {
            Some(Draft {
                seen,
                wanted: Wanted::Set(text),
                ..
            }) => (seen.clone(), text.clone()),
            draft => {
                let seen = draft.map_or_else(
                    || Seen::from(self.entry(&key).cloned()),
                    |draft| draft.seen.clone(),
                );
                let below = ConfigKey::new(Scope::Global, key.path()).ok();
                let value = seen
                    .value()
                    .or_else(|| below.and_then(|below| Some(&*self.entry(&below)?.value)));
                let text = value.map(|value| String::from_utf8_lossy(value).into());
                let default = || {
                    let field = self.schemas.field(&key)?;
                    Some(fleet::config::value::one_line(&field.default?))
                };
                let text = text.or_else(default).unwrap_or_default();
                (seen, text)
            }
        };
        // What may not be shown is not put where it shows: a secret is typed anew.
        let hidden = self.hides(&key) || self.veil(&key, text.as_bytes()).is_some();
        let error = (hidden && !self.hides(&key))
            .then(|| "it holds secrets: reveal them first, or type all of it anew".to_owned());
        let text = if hidden {
            ""
        } else {
            text.trim_end_matches('\n')
        };
        self.editing = Some(Editing {
            field: self.schemas.field(&key),
            key,
            seen,
            editor: Editor::new(Shape::Lines, text),
            error,
        });
        self.pane = Pane::Value;
    }

    /// Keeps the edited text as a pending change, or says why not.
    pub fn accept(&mut self) {
        let Some(mut editing) = self.editing.take() else {
            return;
        };
        let text = editing.editor.text();
        let verdict = match fleet::config::value::parse(text.as_bytes()) {
            Ok(value) => self.schemas.judge(&editing.key, &value),
            Err(error) => Verdict::Refused(error.to_string()),
        };
        let doubt = match verdict {
            Verdict::Good => None,
            Verdict::Doubtful(why) => Some(why),
            Verdict::Refused(why) => {
                editing.error = Some(why);
                self.editing = Some(editing);
                return;
            }
        };
        self.want(editing.key, editing.seen, Wanted::Set(text), doubt);
        self.leave();
    }

    /// Leaves the value as it was. A save that was refused meanwhile is decided now.
    pub fn leave(&mut self) {
        self.editing = None;
        self.pane = match self.clash {
            Some(_) => Pane::Conflict,
            None => Pane::Keys,
        };
    }

    /// Notes a pending change, with what its schema finds doubtful; one that changes nothing is none.
    pub fn want(&mut self, key: ConfigKey, seen: Seen, wanted: Wanted, doubt: Option<String>) {
        let same = match (&wanted, seen.value()) {
            (Wanted::Set(text), Some(value)) => text.as_bytes() == value,
            (Wanted::Unset, None) => true,
            _ => false,
        };
        if same {
            self.drafts.remove(&key);
        } else {
            let secrets = self.secrets();
            let mut draft = Draft::new(self.published(), &key, seen, wanted, secrets);
            draft.doubt = doubt;
            self.drafts.insert(key, draft);
        }
        self.saved = None;
        self.keys.outdate_now();
    }

    /// Drops the pending change of a key.
    pub fn discard(&mut self, key: &ConfigKey) -> bool {
        self.keys.outdate_now();
        self.drafts.remove(key).is_some()
    }

    /// Shows secrets, or masks them again.
    pub fn reveal(&mut self) {
        self.revealed = !self.revealed;
        self.keys.outdate_now();
        self.show_drafts();
    }

    /// Makes the differences anew: what is a secret, or whether secrets show, changed.
    pub(super) fn show_drafts(&mut self) {
        let secrets = self.secrets();
        for (key, draft) in &mut self.drafts {
            let known = self.schemas.published();
            let (seen, wanted) = (draft.seen.clone(), draft.wanted.clone());
            draft.difference = Draft::new(known, key, seen, wanted, secrets).difference;
        }
    }

    /// A pending change that its service would refuse, and why: a schema may come later than the
    /// change.
    pub fn refusal(&self) -> Option<(&ConfigKey, String)> {
        self.drafts.iter().find_map(|(key, draft)| {
            let Wanted::Set(text) = &draft.wanted else {
                return None;
            };
            let value = fleet::config::value::parse(text.as_bytes()).ok()?;
            match self.schemas.judge(key, &value) {
                Verdict::Refused(why) => Some((key, why)),
                _ => None,
            }
        })
    }

    /// The plan of all pending changes.
    ///
    /// # Errors
    /// When a value cannot be written or there are too many.
    pub fn plan(&self) -> Result<Plan, EditError> {
        let edits = self.drafts.iter().map(|(key, draft)| match &draft.wanted {
            Wanted::Set(value) => ConfigEdit::Set {
                key: key.clone(),
                value: value.clone(),
            },
            Wanted::Unset => ConfigEdit::Unset { key: key.clone() },
        });
        edit::plan(&self.prefix, edits, |key| {
            self.drafts
                .get(key)
                .map_or(Seen::Absent, |draft| draft.seen.clone())
        })
    }

    /// Pending changes whose key is no longer as it was seen: a save would be refused.
    pub fn overtaken(&self) -> impl Iterator<Item = &ConfigKey> {
        self.drafts.iter().filter_map(|(key, draft)| {
            let now = self
                .entry(key)
                .map_or(Revision::ZERO, |entry| entry.mod_revision);
            (now != draft.seen.revision()).then_some(key)
        })
    }
}

#[cfg(test)]
mod tests {
    use fleet::Change;
    use fleet::config::secret::MASK;

    use super::super::tests::{entry, key, page};
    use super::*;

    #[test]
    fn an_edit_is_guarded_by_what_was_seen_when_it_began() {
        let mut page = page();
        page.edit(key("order/timeout.write"));
        page.apply(&Change::Put(entry("/config/order/timeout.write", "3s", 9)));
        page.editing.as_mut().unwrap().editor.replace("5s");
        page.accept();
        let plan = page.plan().unwrap();
        assert_eq!(plan.edits()[0].seen.revision(), Revision(8));
        assert_eq!(page.overtaken().count(), 1);
    }

    #[test]
    fn a_value_that_is_no_yaml_stays_in_the_editor() {
        let mut page = page();
        page.edit(key("order/timeout.write"));
        page.editing.as_mut().unwrap().editor.replace("{a: [");
        page.accept();
        assert!(page.editing.as_ref().unwrap().error.is_some());
        assert!(page.drafts.is_empty());
    }

    #[test]
    fn an_edit_back_to_what_stands_there_is_no_change() {
        let mut page = page();
        let name = key("order/timeout.write");
        page.edit(name.clone());
        page.accept();
        assert!(page.drafts.is_empty());
    }

    #[test]
    fn a_masked_value_is_not_put_into_the_editor_unless_it_was_revealed() {
        let mut page = page();
        let name = key("order/db.password");
        page.apply(&Change::Put(entry(
            "/config/order/db.password",
            "hunter2",
            9,
        )));
        page.edit(name.clone());
        assert_eq!(page.editing.as_ref().unwrap().editor.text(), "");
        page.editing.as_mut().unwrap().editor.replace("hunter3");
        page.accept();
        let shown = &page.drafts[&name].difference.lines;
        assert!(shown.iter().all(|line| line.text() == MASK), "{shown:?}");
        page.edit(name.clone());
        assert_eq!(page.editing.as_ref().unwrap().editor.text(), "");
        page.leave();
        page.reveal();
        page.edit(name);
        assert_eq!(page.editing.as_ref().unwrap().editor.text(), "hunter3");
    }
}
