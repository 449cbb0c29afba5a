//! Who has config, and the keys of one as the page lists them: made anew when what they come from
//! changed, never while drawing.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use fleet::config::schema::Field as SchemaField;
use fleet::config::value::one_line;
use fleet::config::{ConfigKey, Scope};
use fleet::filter::{Field, Row};
use fleet::rollout::tally::Count;
use fleet::{Entry, Key, Revision};

use super::ConfigPage;
use super::line::Line;
use super::tree::{Arrangement, Place};
use crate::tui::state::directory::Directory;
use crate::tui::state::table::Sort;

/// How many columns the keys can be ordered by: key, value, from, since, runs.
pub const COLUMNS: usize = 5;

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
    /// Whether its value stays masked, or a part of it.
    pub hidden: bool,
    /// Why the value that counts cannot be read.
    pub fault: Option<Arc<str>>,
    /// Who runs the value that counts; `None` where nobody says.
    pub runs: Option<Count>,
}

impl KeyRow {
    fn new(path: Arc<str>) -> Self {
        Self {
            path,
            own: None,
            global: None,
            field: None,
            default: None,
            hidden: false,
            fault: None,
            runs: None,
        }
    }

    fn describe(&mut self, field: &SchemaField, default: Option<String>) {
        self.default = default;
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
    /// How many records below it cannot be read.
    pub unreadable: usize,
}

impl ConfigPage {
    /// Makes the rows anew where it is time.
    pub fn rebuild(&mut self, directory: &Directory, now: Duration) -> bool {
        let mut rebuilt = false;
        if self.scopes.wants_build(now) {
            let services = directory.registry.services().map(|(name, _)| name);
            self.rebuild_scopes(services, now);
            rebuilt = true;
        }
        if let Some(history) = &mut self.history {
            rebuilt |= history.rebuild(now);
        }
        if self.keys.wants_build(now) {
            self.rebuild_keys(directory, now);
            self.rebuild_review(directory);
            self.rebuild_trial(directory);
            if let Some(saved) = &mut self.saved {
                saved.follow(directory);
            }
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
        let mut unreadable: BTreeMap<Scope, usize> = BTreeMap::new();
        for scope in self.faulty() {
            scopes.entry(scope.clone()).or_default();
            *unreadable.entry(scope).or_default() += 1;
        }
        let total = scopes.len();
        let rows = scopes
            .into_iter()
            .map(|(scope, (keys, newest))| ScopeRow {
                unreadable: unreadable.get(&scope).copied().unwrap_or(0),
                scope,
                keys,
                newest,
            })
            .filter(|row| self.scopes.filter().matches(&ScopeFacts(row)))
            .collect();
        self.scopes.fill(now, rows, total, |row| row.scope.clone());
    }

    fn rebuild_keys(&mut self, directory: &Directory, now: Duration) {
        let mut rows: BTreeMap<Arc<str>, KeyRow> = BTreeMap::new();
        let mut strays = Vec::new();
        if let Some(scope) = &self.scope {
            strays = self.strays(scope);
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
            let tally = directory.tally(scope);
            for row in rows.values_mut() {
                let key = ConfigKey::new(scope.clone(), &row.path);
                row.hidden = key.is_ok_and(|key| self.hides_in(&key, row));
                let from = if row.own.is_some() {
                    scope
                } else {
                    &Scope::Global
                };
                let name = format!("{from}/{}", row.path);
                let revision = row.entry().map(|entry| entry.mod_revision);
                row.runs = revision.and_then(|revision| tally.count(&name, revision));
                let fault = row.entry().and_then(|entry| self.faults.get(&entry.key));
                row.fault = fault.map(|why| match row.hidden {
                    // A reason may quote what it is about.
                    true => "the value is no YAML".into(),
                    false => Arc::clone(why),
                });
            }
        }
        let total = rows.len() + strays.len();
        let mut rows: Vec<KeyRow> = rows
            .into_values()
            .filter(|row| self.keys.filter().matches(row))
            .collect();
        strays.retain(|stray| self.keys.filter().matches(stray));
        self.passing = rows.len() + strays.len();
        let mut lines = match self.arrangement {
            Arrangement::Flat => {
                self.sort(&mut rows);
                let line = |row| Line::Key(Box::new(row), Place::default());
                rows.into_iter().map(line).collect()
            }
            Arrangement::Tree => self.fold(rows),
        };
        lines.extend(strays.into_iter().map(|stray| Line::Stray(Box::new(stray))));
        self.keys.fill(now, lines, total, Line::id);
    }

    /// Whether a key is a secret, or a value that shows of it holds some.
    fn hides_in(&self, key: &ConfigKey, row: &KeyRow) -> bool {
        let mut entries = [&row.own, &row.global].into_iter().flatten();
        self.hides(key) || entries.any(|entry| self.veil(key, &entry.value).is_some())
    }

    /// In the order of a column; keys are in theirs already, and equals stay so.
    fn sort(&self, rows: &mut [KeyRow]) {
        let Sort { column, descending } = self.keys.table.sort;
        let value = |row: &KeyRow| match (row.hidden, row.entry(), &row.default) {
            // An order of what is masked would tell it.
            (true, ..) => None,
            (false, Some(entry), _) => Some(entry.value.to_vec()),
            (false, None, default) => default.clone().map(String::into_bytes),
        };
        let rank = |row: &KeyRow| match (&row.own, &row.global) {
            (Some(_), _) => 0,
            (None, Some(_)) => 1,
            (None, None) => 2,
        };
        let behind = |row: &KeyRow| {
            let runs = row.runs.as_ref();
            std::cmp::Reverse(runs.map_or(0, |count| count.total - count.applied))
        };
        match column {
            1 => rows.sort_by_cached_key(value),
            2 => rows.sort_by_key(rank),
            3 => rows.sort_by_key(|row| row.entry().map(|entry| entry.mod_revision)),
            4 => rows.sort_by_key(behind),
            _ => {}
        }
        if descending {
            rows.reverse();
        }
    }

    /// Adds what the schema says, and the keys that have a value nowhere. One whose parts stand in
    /// a mapping's key, or that is a mapping whose parts have keys, is no row of its own.
    fn describe(&self, scope: &Scope, rows: &mut BTreeMap<Arc<str>, KeyRow>) {
        for (path, field) in self.schemas.fields(scope) {
            let key = ConfigKey::new(scope.clone(), path).ok();
            let default = field.default.as_ref().zip(key);
            let default = default.map(|(default, key)| one_line(&self.shown(&key, default)));
            if let Some(row) = rows.get_mut(path) {
                row.describe(field, default);
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
            row.describe(field, default);
            rows.insert(path.clone(), row);
        }
    }

    pub(super) fn below(&self, scope: &Scope) -> impl Iterator<Item = (ConfigKey, &Entry)> {
        let prefix = scope.prefix(&self.prefix);
        let start = Key::from(prefix.as_bytes());
        self.entries
            .range(start..)
            .take_while(move |(key, _)| prefix.contains(key))
            .filter_map(|(key, entry)| Some((self.name_of(key)?, entry)))
    }
}

impl Row for KeyRow {
    fn contains(&self, word: &str) -> bool {
        self.path.to_lowercase().contains(word)
            // A filter that finds what is masked tells it letter by letter.
            || self.entry().filter(|_| !self.hidden).is_some_and(|entry| {
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
