//! What stands below the prefix of config and cannot be read: keys that are none, values that are no
//! YAML. Looked at once, when it comes in; drawing and filtering only read the reasons.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::config::{ConfigKey, Scope, canary, value};
use fleet::{Change, Entry, Key};

use super::ConfigPage;
use super::line::{Stray, StrayKind};

/// Why keys and values cannot be read, by key.
pub(super) type Faults = BTreeMap<Key, Arc<str>>;

impl ConfigPage {
    /// Looks at what came.
    pub(super) fn examine(&mut self, change: &Change) {
        let why = match change {
            Change::Delete { .. } => None,
            Change::Put(entry) => self.fault(entry),
        };
        match why {
            Some(why) => self.faults.insert(change.key().clone(), why.into()),
            None => self.faults.remove(change.key()),
        };
    }

    fn fault(&self, entry: &Entry) -> Option<String> {
        if canary::service_of(&self.prefix, &entry.key).is_some() {
            let standing = canary::Standing::read(&self.prefix, entry)?;
            return standing.err().map(|error| error.to_string());
        }
        match ConfigKey::from_key(&self.prefix, &entry.key) {
            Err(error) => Some(format!("no config key: {error}")),
            Ok(_) => {
                let error = value::parse(&entry.value).err()?;
                Some(error.to_string())
            }
        }
    }

    /// For whom a key stands below the prefix, where that can be told.
    fn owner(&self, key: &Key) -> Option<(Scope, String)> {
        let rest = std::str::from_utf8(self.prefix.strip(key)?).ok()?;
        let (scope, name) = rest.split_once('/')?;
        Some((Scope::parse(scope).ok()?, name.to_owned()))
    }

    /// How much of a scope cannot be read. What belongs to nobody counts as global.
    pub(super) fn faulty(&self) -> impl Iterator<Item = Scope> {
        let owner = |key| self.owner(key).map_or(Scope::Global, |(scope, _)| scope);
        self.faults.keys().map(owner)
    }

    /// What stands below a scope and is no key of it.
    pub(super) fn strays(&self, scope: &Scope) -> Vec<Stray> {
        let mut strays = Vec::new();
        if let Scope::Service(service) = scope
            && let Some(entry) = self.entries.get(&canary::key_of(&self.prefix, service))
        {
            let kind = match self.standing(service) {
                Some(Ok(standing)) => {
                    let keys = standing.keys().count();
                    let names = &standing.canary.instances;
                    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                    let s = if keys == 1 { "" } else { "s" };
                    StrayKind::Canary(format!("{keys} key{s} on {}", names.join(", ")))
                }
                Some(Err(error)) => StrayKind::Unreadable(error.to_string()),
                None => StrayKind::Unreadable("no record of a canary".into()),
            };
            strays.push(Stray {
                entry: entry.clone(),
                name: canary::NAME.into(),
                kind,
            });
        }
        for (key, why) in &self.faults {
            let is_key = self.name_of(key).is_some();
            if is_key || canary::service_of(&self.prefix, key).is_some() {
                continue;
            }
            let name = match self.owner(key) {
                Some((owner, name)) if owner == *scope => name,
                None if *scope == Scope::Global => key.to_string(),
                _ => continue,
            };
            let Some(entry) = self.entries.get(key) else {
                continue;
            };
            strays.push(Stray {
                entry: entry.clone(),
                name,
                kind: StrayKind::Unreadable(why.to_string()),
            });
        }
        strays
    }
}
