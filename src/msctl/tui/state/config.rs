//! The Config page: who has config, the keys of one, a value being edited, the pending changes, and
//! what becomes of a save. A draft survives everything but a save or the user's own word.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use fleet::config::diff::{Difference, Secrets, compare};
use fleet::config::edit::{self, ConfigEdit, EditError};
use fleet::config::schema::Field as SchemaField;
use fleet::config::secret::Sensitivity;
use fleet::config::{ConfigKey, Scope};
use fleet::filter::{Field, Row};
use fleet::{Change, Conflict, Entry, Key, Plan, Prefix, Revision, Seen};

use super::editor::{Editor, Shape};
use super::list::List;

pub mod schemas;

use schemas::{Schemas, Verdict};

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
    fn new(seen: Seen, wanted: Wanted, sensitivity: Sensitivity, secrets: Secrets) -> Self {
        let after = match &wanted {
            Wanted::Set(text) => Some(text.as_bytes()),
            Wanted::Unset => None,
        };
        let difference = compare(sensitivity, seen.value(), after, secrets);
        Self {
            seen,
            wanted,
            difference,
            doubt: None,
        }
    }
}

/// One key of a service as the page shows it: the service's own, or the global one below it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRow {
    /// The dotted path.
    pub path: Arc<str>,
    /// The service's own entry.
    pub own: Option<Entry>,
    /// The global entry, hidden by the own one where there is one.
    pub global: Option<Entry>,
    /// What the service's schema says of it.
    pub field: Option<Arc<SchemaField>>,
    /// The default in one line, which counts where there is no entry.
    pub default: Option<String>,
}

impl KeyRow {
    fn new(path: Arc<str>) -> Self {
        Self {
            path,
            own: None,
            global: None,
            field: None,
            default: None,
        }
    }

    fn describe(&mut self, field: &SchemaField) {
        let default = field.default.as_ref();
        self.default = default.map(fleet::config::value::one_line);
        self.field = Some(Arc::new(field.clone()));
    }

    /// The entry that counts.
    pub fn entry(&self) -> Option<&Entry> {
        self.own.as_ref().or(self.global.as_ref())
    }
}

/// A service that has config, or runs and could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeRow {
    /// Global or a service.
    pub scope: Scope,
    /// How many keys of its own.
    pub keys: usize,
    /// The newest of their revisions.
    pub newest: Revision,
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

/// A save that is on its way or was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saving {
    /// Sent.
    Sent {
        /// The keys of it.
        keys: Vec<Key>,
    },
    /// Written; instances take it in.
    Saved {
        /// At this revision.
        revision: Revision,
        /// The keys of it.
        keys: Vec<Key>,
        /// When the answer came, since the console started.
        at: Duration,
    },
}

/// What has the focus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// Who has config.
    #[default]
    Scopes,
    /// The keys of one.
    Keys,
    /// A value being edited.
    Value,
    /// A conflict being resolved.
    Conflict,
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
    pub field: Option<SchemaField>,
}

/// The page.
#[derive(Debug)]
pub struct ConfigPage {
    prefix: Prefix,
    entries: BTreeMap<Key, Entry>,
    /// What services say of their config.
    pub schemas: Schemas,
    /// What has the focus.
    pub pane: Pane,
    /// Who has config.
    pub scopes: List<Scope, ScopeRow>,
    /// The keys of [`ConfigPage::scope`].
    pub keys: List<Arc<str>, KeyRow>,
    /// Whose keys show.
    pub scope: Option<Scope>,
    /// The value being edited.
    pub editing: Option<Editing>,
    /// The pending changes, over all services.
    pub drafts: BTreeMap<ConfigKey, Draft>,
    /// A save that was refused.
    pub clash: Option<Clash>,
    /// The last save.
    pub saving: Option<Saving>,
    /// Whether secrets show.
    pub revealed: bool,
}

impl ConfigPage {
    /// An empty page of what stands under the prefixes of config and of schemas.
    pub fn new(prefix: Prefix, schemas: Prefix) -> Self {
        Self {
            prefix,
            entries: BTreeMap::new(),
            schemas: Schemas::new(schemas),
            pane: Pane::Scopes,
            scopes: List::default(),
            keys: List::default(),
            scope: None,
            editing: None,
            drafts: BTreeMap::new(),
            clash: None,
            saving: None,
            revealed: false,
        }
    }

    /// Takes a change in. Returns what stood there before.
    pub fn apply(&mut self, change: &Change) -> Option<Entry> {
        self.scopes.outdate();
        self.keys.outdate();
        match change {
            Change::Put(entry) => self.entries.insert(entry.key.clone(), entry.clone()),
            Change::Delete { key, .. } => self.entries.remove(key),
        }
    }

    /// Takes a change of a schema in.
    pub fn apply_schema(&mut self, change: &Change) {
        self.schemas.apply(change);
        self.scopes.outdate();
        self.keys.outdate();
        // What is a secret may have changed.
        self.show_drafts();
    }

    /// Whether a key's value is masked.
    pub fn sensitivity(&self, key: &ConfigKey) -> Sensitivity {
        self.schemas.sensitivity(key)
    }

    /// What stands at a key.
    pub fn entry(&self, key: &ConfigKey) -> Option<&Entry> {
        self.entries.get(&key.to_key(&self.prefix))
    }

    /// The name of a key of this page's prefix.
    pub fn name_of(&self, key: &Key) -> Option<ConfigKey> {
        ConfigKey::from_key(&self.prefix, key).ok()
    }

    /// The key of the row under the cursor, in the scope that shows.
    pub fn current(&self) -> Option<ConfigKey> {
        let row = self.keys.current()?;
        ConfigKey::new(self.scope.clone()?, &row.path).ok()
    }

    /// Shows the keys of a scope.
    pub fn open(&mut self, scope: Scope) {
        if self.scope.as_ref() != Some(&scope) {
            self.scope = Some(scope);
            self.keys.set_filter("");
            self.keys.table.restart();
        }
        self.keys.outdate_now();
        self.pane = Pane::Keys;
    }

    /// Makes the rows anew where it is time. `services` are those that run.
    pub fn rebuild<'a>(
        &mut self,
        services: impl Iterator<Item = &'a fleet::ServiceName>,
        now: Duration,
    ) -> bool {
        let mut rebuilt = false;
        if self.scopes.wants_build(now) {
            self.rebuild_scopes(services, now);
            rebuilt = true;
        }
        if self.keys.wants_build(now) {
            self.rebuild_keys(now);
            rebuilt = true;
        }
        rebuilt
    }

    fn rebuild_scopes<'a>(
        &mut self,
        services: impl Iterator<Item = &'a fleet::ServiceName>,
        now: Duration,
    ) {
        let mut scopes: BTreeMap<Scope, (usize, Revision)> = BTreeMap::new();
        scopes.insert(Scope::Global, (0, Revision::ZERO));
        for service in services {
            scopes.insert(Scope::Service(service.clone()), (0, Revision::ZERO));
        }
        for service in self.schemas.services() {
            scopes.insert(Scope::Service(service.clone()), (0, Revision::ZERO));
        }
        for (key, entry) in &self.entries {
            if let Some(key) = self.name_of(key) {
                let (keys, newest) = scopes.entry(key.scope).or_default();
                *keys += 1;
                *newest = (*newest).max(entry.mod_revision);
            }
        }
        let total = scopes.len();
        let rows = scopes
            .into_iter()
            .map(|(scope, (keys, newest))| ScopeRow {
                scope,
                keys,
                newest,
            })
            .filter(|row| self.scopes.filter().matches(&ScopeFacts(row)))
            .collect();
        self.scopes.fill(now, rows, total, |row| row.scope.clone());
    }

    fn rebuild_keys(&mut self, now: Duration) {
        let mut rows: BTreeMap<Arc<str>, KeyRow> = BTreeMap::new();
        if let Some(scope) = &self.scope {
            for layer in [scope, &Scope::Global] {
                for (key, entry) in self.below(layer) {
                    let path: Arc<str> = key.path().into();
                    let row = rows.entry(path.clone());
                    let row = row.or_insert_with(|| KeyRow::new(path));
                    if layer == scope {
                        row.own = Some(entry.clone());
                    } else {
                        row.global = Some(entry.clone());
                    }
                }
            }
            for key in self.drafts.keys().filter(|key| key.scope == *scope) {
                let path: Arc<str> = key.path().into();
                rows.entry(path.clone())
                    .or_insert_with(|| KeyRow::new(path));
            }
            self.describe(scope, &mut rows);
        }
        let total = rows.len();
        let rows = rows
            .into_values()
            .filter(|row| self.keys.filter().matches(row))
            .collect();
        self.keys.fill(now, rows, total, |row| row.path.clone());
    }

    /// Adds what the schema says, and the keys that have a value nowhere. One whose parts stand in
    /// a mapping's key, or that is a mapping whose parts have keys, is no row of its own.
    fn describe(&self, scope: &Scope, rows: &mut BTreeMap<Arc<str>, KeyRow>) {
        for (path, field) in self.schemas.fields(scope) {
            if let Some(row) = rows.get_mut(path) {
                row.describe(field);
                continue;
            }
            let mut ends = path.match_indices('.').map(|(at, _)| &path[..at]);
            let below = format!("{path}.");
            let mut parts = rows.range::<str, _>((Included(below.as_str()), Unbounded));
            let has_parts = parts
                .next()
                .is_some_and(|(next, _)| next.starts_with(&below));
            if has_parts || ends.any(|end| rows.contains_key(end)) {
                continue;
            }
            let mut row = KeyRow::new(path.clone());
            row.describe(field);
            rows.insert(path.clone(), row);
        }
    }

    fn below(&self, scope: &Scope) -> impl Iterator<Item = (ConfigKey, &Entry)> {
        let prefix = scope.prefix(&self.prefix);
        let start = Key::from(prefix.as_bytes());
        self.entries
            .range(start..)
            .take_while(move |(key, _)| prefix.contains(key))
            .filter_map(|(key, entry)| Some((self.name_of(key)?, entry)))
    }

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
        let text = text.trim_end_matches('\n');
        self.editing = Some(Editing {
            field: self.schemas.field(&key),
            key,
            seen,
            editor: Editor::new(Shape::Lines, text),
            error: None,
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
        let key = editing.key;
        self.want(key.clone(), editing.seen, Wanted::Set(text));
        if let Some(draft) = self.drafts.get_mut(&key) {
            draft.doubt = doubt;
        }
        self.pane = Pane::Keys;
    }

    /// Notes a pending change; one that changes nothing is none.
    pub fn want(&mut self, key: ConfigKey, seen: Seen, wanted: Wanted) {
        let same = match (&wanted, seen.value()) {
            (Wanted::Set(text), Some(value)) => text.as_bytes() == value,
            (Wanted::Unset, None) => true,
            _ => false,
        };
        if same {
            self.drafts.remove(&key);
        } else {
            let draft = Draft::new(seen, wanted, self.sensitivity(&key), self.secrets());
            self.drafts.insert(key, draft);
        }
        self.saving = None;
        self.keys.outdate_now();
    }

    /// Drops the pending change of a key.
    pub fn discard(&mut self, key: &ConfigKey) -> bool {
        self.keys.outdate_now();
        self.drafts.remove(key).is_some()
    }

    /// Whether secrets show.
    pub fn secrets(&self) -> Secrets {
        if self.revealed {
            Secrets::Revealed
        } else {
            Secrets::Masked
        }
    }

    /// Shows secrets, or masks them again.
    pub fn reveal(&mut self) {
        self.revealed = !self.revealed;
        self.show_drafts();
    }

    fn show_drafts(&mut self) {
        let secrets = self.secrets();
        for (key, draft) in &mut self.drafts {
            let sensitivity = self.schemas.sensitivity(key);
            let (seen, wanted) = (draft.seen.clone(), draft.wanted.clone());
            draft.difference = Draft::new(seen, wanted, sensitivity, secrets).difference;
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

    /// A save was written: its drafts are done with.
    pub fn saved(&mut self, revision: Revision, at: Duration) {
        let keys = match self.saving.take() {
            Some(Saving::Sent { keys } | Saving::Saved { keys, .. }) => keys,
            None => Vec::new(),
        };
        let done: BTreeSet<ConfigKey> = keys.iter().filter_map(|key| self.name_of(key)).collect();
        self.drafts.retain(|key, _| !done.contains(key));
        self.saving = Some(Saving::Saved { revision, keys, at });
        self.clash = None;
        self.keys.outdate_now();
        if self.pane == Pane::Conflict {
            self.pane = Pane::Keys;
        }
    }

    /// A save was refused: the user decides per key.
    pub fn refused(&mut self, conflicts: Vec<Conflict>, at: Duration) {
        self.saving = None;
        let choices = vec![Choice::Open; conflicts.len()];
        self.clash = Some(Clash {
            conflicts,
            choices,
            cursor: 0,
            at,
        });
        self.pane = Pane::Conflict;
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
        let Some(clash) = &self.clash else {
            return false;
        };
        if clash.choices.contains(&Choice::Open) {
            return false;
        }
        let Some(clash) = self.clash.take() else {
            return false;
        };
        for (conflict, choice) in clash.conflicts.into_iter().zip(clash.choices) {
            let Some(name) = self.name_of(&conflict.key) else {
                continue;
            };
            match choice {
                Choice::Theirs => {
                    self.drafts.remove(&name);
                }
                // From now on theirs is what was seen: the guard holds against a third.
                _ => {
                    if let Some(draft) = self.drafts.remove(&name) {
                        self.want(name.clone(), Seen::from(conflict.current), draft.wanted);
                        if let Some(again) = self.drafts.get_mut(&name) {
                            again.doubt = draft.doubt;
                        }
                    }
                }
            }
        }
        self.pane = Pane::Keys;
        self.keys.outdate_now();
        true
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

    /// How many keys there are in all.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no config at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Row for KeyRow {
    fn contains(&self, word: &str) -> bool {
        self.path.to_lowercase().contains(word)
            || self.entry().is_some_and(|entry| {
                String::from_utf8_lossy(&entry.value)
                    .to_lowercase()
                    .contains(word)
            })
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        match name {
            "key" => Some(Field::Text(&self.path)),
            "revision" | "since" => Some(Field::Number(self.entry()?.mod_revision.0 as f64)),
            "from" => Some(Field::Text(match (&self.own, &self.global) {
                (Some(_), _) => "service",
                (None, Some(_)) => "global",
                (None, None) => "default",
            })),
            _ => None,
        }
    }
}

struct ScopeFacts<'a>(&'a ScopeRow);

impl Row for ScopeFacts<'_> {
    fn contains(&self, word: &str) -> bool {
        self.0.scope.to_string().to_lowercase().contains(word)
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        (name == "keys").then_some(Field::Number(self.0.keys as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str, revision: i64) -> Entry {
        Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(1),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn page() -> ConfigPage {
        let mut page = ConfigPage::new(
            Prefix::new("/config/").unwrap(),
            Prefix::new("/schema/").unwrap(),
        );
        page.apply(&Change::Put(entry("/config/order/timeout.write", "2s", 8)));
        page.apply(&Change::Put(entry("/config/global/timeout.write", "1s", 4)));
        page.apply(&Change::Put(entry("/config/global/timeout.read", "1s", 5)));
        page.open(Scope::parse("order").unwrap());
        page.rebuild(std::iter::empty(), Duration::ZERO);
        page
    }

    fn key(name: &str) -> ConfigKey {
        ConfigKey::parse(name).unwrap()
    }

    #[test]
    fn the_services_own_value_hides_the_global_one() {
        let page = page();
        let rows: Vec<_> = page
            .keys
            .rows()
            .iter()
            .map(|row| (&*row.path, row.entry().unwrap().mod_revision.0))
            .collect();
        assert_eq!(rows, [("timeout.read", 5), ("timeout.write", 8)]);
    }

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
    fn mine_after_a_conflict_is_guarded_by_theirs() {
        let mut page = page();
        let name = key("order/timeout.write");
        let seen = Seen::from(page.entry(&name).cloned());
        page.want(name.clone(), seen.clone(), Wanted::Set("5s".into()));
        let current = Some(entry("/config/order/timeout.write", "3s", 9));
        page.refused(
            vec![Conflict {
                key: "/config/order/timeout.write".into(),
                seen,
                current,
            }],
            Duration::ZERO,
        );
        assert!(!page.resolve());
        page.choose(Choice::Mine);
        assert!(page.resolve());
        assert_eq!(page.drafts[&name].seen.revision(), Revision(9));
    }

    #[test]
    fn an_edit_back_to_what_stands_there_is_no_change() {
        let mut page = page();
        let name = key("order/timeout.write");
        page.edit(name.clone());
        page.accept();
        assert!(page.drafts.is_empty());
    }
}
