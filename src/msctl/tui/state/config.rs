//! The Config page: who has config, the keys of one, a value being edited, the pending changes, and
//! what becomes of a save. A draft survives everything but a save or the user's own word.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::config::{ConfigKey, Scope};
use fleet::{Change, Entry, Key, Prefix, Prefixes, Revision, ServiceName, release};

use super::list::List;

pub mod basket;
pub mod draft;
mod faults;
mod folding;
pub mod line;
pub mod masking;
pub mod past;
pub mod rows;
pub mod saving;
pub mod schemas;
pub mod tree;
pub mod trial;

pub use basket::Review;
use basket::{Layout, ReviewRow};
pub use draft::{Draft, Editing, Wanted};
use faults::Faults;
pub use line::Line;
use past::{Authors, History};
pub use rows::{KeyRow, ScopeRow};
pub use saving::{Choice, Clash, Saved, Sent};
use schemas::Schemas;
use tree::{Arrangement, Folds};
use trial::Trial;

/// What has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// Who has config.
    #[default]
    Scopes,
    /// The keys of one.
    Keys,
    /// A value being edited.
    Value,
    /// The pending changes, read before they are saved.
    Review,
    /// A conflict being resolved.
    Conflict,
    /// What changed the config.
    History,
}

/// The page.
#[derive(Debug)]
pub struct ConfigPage {
    prefixes: Prefixes,
    prefix: Prefix,
    entries: BTreeMap<Key, Entry>,
    faults: Faults,
    /// What services say of their config.
    pub schemas: Schemas,
    /// What has the focus.
    pub pane: Pane,
    /// Who has config.
    pub scopes: List<Scope, ScopeRow>,
    /// The keys of [`ConfigPage::scope`].
    pub keys: List<Arc<str>, Line>,
    /// How many of them pass the filter, folded ones too.
    pub passing: usize,
    /// How they are laid out.
    pub arrangement: Arrangement,
    folds: Folds,
    /// Whose keys show.
    pub scope: Option<Scope>,
    /// The value being edited.
    pub editing: Option<Editing>,
    /// What kind of change the pending ones are.
    pub kind: release::Action,
    /// The pending changes, over all services.
    pub drafts: BTreeMap<ConfigKey, Draft>,
    /// Who wrote what stands in the scope that shows.
    pub authors: Authors,
    /// The history that shows.
    pub history: Option<History>,
    /// The pending changes as they show, row by row.
    pub reviewed: Vec<ReviewRow>,
    /// What is typed while they are read.
    pub review: Option<Review>,
    /// How differences are laid out.
    pub layout: Layout,
    /// The canary of the service that shows.
    pub trial: Option<Trial>,
    /// The canary that is promoted or aborted by itself.
    pub watch: Option<(ServiceName, Revision)>,
    /// A save that was refused.
    pub clash: Option<Clash>,
    /// The save that is on its way.
    pub sent: Option<Sent>,
    /// The last save, until something else is edited.
    pub saved: Option<Saved>,
    saves: u64,
    /// Whether secrets show.
    pub revealed: bool,
}

impl ConfigPage {
    /// An empty page of what stands under the prefixes of config and of schemas.
    pub fn new(prefixes: Prefixes) -> Self {
        Self {
            prefix: prefixes.config.clone(),
            entries: BTreeMap::new(),
            faults: Faults::new(),
            schemas: Schemas::new(prefixes.schema.clone()),
            prefixes,
            pane: Pane::Scopes,
            scopes: List::default(),
            keys: List::default(),
            passing: 0,
            arrangement: Arrangement::default(),
            folds: Folds::default(),
            scope: None,
            editing: None,
            kind: release::Action::Change,
            drafts: BTreeMap::new(),
            authors: Authors::default(),
            history: None,
            reviewed: Vec::new(),
            review: None,
            layout: Layout::Unified,
            trial: None,
            watch: None,
            clash: None,
            sent: None,
            saved: None,
            saves: 0,
            revealed: false,
        }
    }

    /// Takes a change in. Returns what stood there before.
    pub fn apply(&mut self, change: &Change) -> Option<Entry> {
        self.scopes.outdate();
        self.keys.outdate();
        self.examine(change);
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
        let row = self.keys.current()?.key()?;
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

    /// How many keys there are in all.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no config at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tui::state::directory::Directory;

    pub(super) fn entry(key: &str, value: &str, revision: i64) -> Entry {
        Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(1),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    pub(super) fn page() -> ConfigPage {
        let mut page = ConfigPage::new(fleet::Prefixes::default());
        page.apply(&Change::Put(entry("/config/order/timeout.write", "2s", 8)));
        page.apply(&Change::Put(entry("/config/global/timeout.write", "1s", 4)));
        page.apply(&Change::Put(entry("/config/global/timeout.read", "1s", 5)));
        page.open(Scope::parse("order").unwrap());
        page.rebuild(&Directory::new(fleet::Prefixes::default()), Duration::ZERO);
        page
    }

    pub(super) fn key(name: &str) -> ConfigKey {
        ConfigKey::parse(name).unwrap()
    }

    #[test]
    fn the_services_own_value_hides_the_global_one() {
        let page = page();
        let rows: Vec<_> = page
            .keys
            .rows()
            .iter()
            .filter_map(Line::key)
            .map(|row| (&*row.path, row.entry().unwrap().mod_revision.0))
            .collect();
        assert_eq!(rows, [("timeout.read", 5), ("timeout.write", 8)]);
    }
}
