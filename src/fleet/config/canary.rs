//! A change that reaches only some instances of a service first.
//!
//! It stands as one key, `/config/<service>/@canary`, inside the service's own prefix: it arrives
//! by the watch that is open anyway, begins and ends in one revision, and no config key can be
//! named like it. The instances it names lay it over the service's keys; the others ignore it. One
//! canary at a time: two would make "which instance runs what" a riddle.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::conflict::written;
use super::value::{self, ValueError};
use super::{ConfigKey, ConfigKeyError, Layer, Layers, Origin, Scope};
use crate::kv::{Entry, Key, Prefix, Revision};
use crate::plan::{Edit, Plan, PlanError, Seen};
use crate::release::MAX_VALUE;
use crate::safe::escape;
use crate::service::{InstanceId, ServiceName};

/// The last part of the key of every canary. Names begin with a letter or digit, so no config key
/// is called so.
pub const NAME: &str = "@canary";

/// The record under the key, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Who gets the values; never empty.
    pub instances: Vec<InstanceId>,
    /// Dotted path → what becomes of it.
    pub changes: BTreeMap<String, Trial>,
    /// Who began it.
    pub author: String,
    /// When, by the author's clock.
    pub time: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One key's value on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// YAML text; `None` where the key is to go.
    pub value: Option<String>,
    /// The service's own value when the canary began, for the three versions of a conflict. `None`
    /// where there was none, or it is no text or longer than [`MAX_VALUE`]: then it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The revision that had written the service's own value when the canary began; 0 where there
    /// was none. Promotion is guarded by it.
    pub mod_revision: i64,
}

/// A canary as it stands in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub service: ServiceName,
    /// Its entry, for guards.
    pub entry: Entry,
    /// What it says.
    pub canary: Canary,
}

/// Why there is no canary to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanaryError {
    /// Global keys have no instances of their own.
    #[error("{0} is for all services; a canary is for chosen instances of one service")]
    Global(ConfigKey),
    /// Keys of several services.
    #[error("the change touches {0} and {1}; a canary is for one service")]
    Several(ServiceName, ServiceName),
    /// Nobody named.
    #[error("no instance is named; a canary needs at least one")]
    Nobody,
    /// Nothing to try.
    #[error("the change changes nothing; there is nothing to try")]
    Nothing,
    /// One is under way.
    #[error("a canary of {0} is under way since revision {1}; promote or abort it first")]
    UnderWay(ServiceName, Revision),
    /// A value that is no text cannot be tried.
    #[error("{0}: the value is not UTF-8; config values are YAML text")]
    NotText(ConfigKey),
    /// What stands under the key is no canary.
    #[error("the canary record is damaged: {0}; abort it to remove it")]
    Damaged(String),
    /// A key in the record is no config key.
    #[error("the canary record: {0}")]
    Key(#[from] ConfigKeyError),
    /// The plan cannot be sent.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// The key of a service's canary.
#[must_use]
pub fn key_of(config: &Prefix, service: &ServiceName) -> Key {
    config.join(&format!("{service}/{NAME}"))
}

/// Whose canary stands under a key; `None` for every other key.
#[must_use]
pub fn service_of(config: &Prefix, key: &Key) -> Option<ServiceName> {
    let rest = std::str::from_utf8(config.strip(key)?).ok()?;
    ServiceName::new(rest.strip_suffix(NAME)?.strip_suffix('/')?).ok()
}

/// Turns the plan of a change into the plan that tries it on some instances first. `standing` is
/// what the canary's key holds now.
///
/// # Errors
/// [`CanaryError`].
pub fn begin(
    config: &Prefix,
    plan: &Plan,
    instances: Vec<InstanceId>,
    standing: Option<&Entry>,
    (author, time, message): (&str, Timestamp, &str),
) -> Result<(ServiceName, Plan), CanaryError> {
    if instances.is_empty() {
        return Err(CanaryError::Nobody);
    }
    let mut whose: Option<ServiceName> = None;
    let mut changes = BTreeMap::new();
    for edit in plan.edits() {
        let key = ConfigKey::from_key(config, &edit.key)?;
        let service = match &key.scope {
            Scope::Global => return Err(CanaryError::Global(key)),
            Scope::Service(name) => name.clone(),
        };
        if let Some(whose) = whose.as_ref().filter(|whose| **whose != service) {
            return Err(CanaryError::Several(whose.clone(), service));
        }
        whose = Some(service);
        let value = written(&edit.write)
            .map(|value| String::from_utf8(value.to_vec()))
            .transpose()
            .map_err(|_| CanaryError::NotText(key.clone()))?;
        let base = edit.seen.value().filter(|base| base.len() <= MAX_VALUE);
        changes.insert(
            key.path().to_owned(),
            Trial {
                value,
                base: base.and_then(|base| String::from_utf8(base.to_vec()).ok()),
                mod_revision: edit.seen.revision().0,
            },
        );
    }
    let service = whose.ok_or(CanaryError::Nothing)?;
    if let Some(standing) = standing {
        return Err(CanaryError::UnderWay(service, standing.mod_revision));
    }
    let canary = Canary {
        instances,
        changes,
        author: author.to_owned(),
        time,
        message: message.to_owned(),
    };
    // Writing to memory, of a type whose parts all have a JSON form, does not fail.
    let value = serde_json::to_vec(&canary).unwrap_or_default();
    let edit = Edit::put(key_of(config, &service), Seen::Absent, value);
    Ok((service, Plan::new([edit])?))
}

impl Canary {
    /// Reads a record.
    ///
    /// # Errors
    /// [`CanaryError::Damaged`] when it is none.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CanaryError> {
        serde_json::from_slice(bytes)
            .map_err(|error| CanaryError::Damaged(escape(&error.to_string()).into_owned()))
    }

    /// Whether this instance gets the values.
    #[must_use]
    pub fn names(&self, instance: &InstanceId) -> bool {
        self.instances.contains(instance)
    }

    /// The values on trial; the ones that cannot be read say why.
    pub fn values(&self) -> impl Iterator<Item = (&str, Result<Value, ValueError>)> {
        self.changes.iter().filter_map(|(path, trial)| {
            let text = trial.value.as_deref()?;
            Some((path.as_str(), value::parse(text.as_bytes())))
        })
    }

    /// The paths that go, so that what stands below the service's own values counts.
    pub fn removed(&self) -> impl Iterator<Item = &str> {
        self.changes
            .iter()
            .filter(|(_, trial)| trial.value.is_none())
            .map(|(path, _)| path.as_str())
    }

    /// Lays the canary over a service's layers, in place of one laid before. Values that cannot be
    /// read are left out.
    pub fn lay_over(&self, layers: &mut Layers, revision: Revision) {
        lift(layers);
        for (path, value) in self.values() {
            if let Ok(value) = value {
                layers.put(Layer::Canary, path, value, Origin::Canary { revision });
            }
        }
        for path in self.removed() {
            layers.hide(path);
        }
    }
}

/// Takes the canary off a service's layers.
pub fn lift(layers: &mut Layers) {
    layers.clear(Layer::Canary);
    let hidden: Vec<_> = layers.hidden().cloned().collect();
    for path in hidden {
        layers.unhide(&path);
    }
}

impl Standing {
    /// The canary of an entry; `None` when its key is no canary's.
    ///
    /// # Errors
    /// [`CanaryError::Damaged`].
    pub fn read(config: &Prefix, entry: &Entry) -> Option<Result<Self, CanaryError>> {
        let service = service_of(config, &entry.key)?;
        Some(Canary::from_json(&entry.value).map(|canary| Self {
            service,
            entry: entry.clone(),
            canary,
        }))
    }

    /// The plan that gives the values to everyone: each key guarded by what stood there when the
    /// canary began, and the canary goes in the same transaction. `seen` says how each key stands
    /// now; a key that changed meanwhile conflicts when the plan is committed.
    ///
    /// # Errors
    /// [`CanaryError::Key`] or [`CanaryError::Plan`].
    pub fn promote(
        &self,
        config: &Prefix,
        mut seen: impl FnMut(&Key) -> Seen,
    ) -> Result<Plan, CanaryError> {
        let mut edits = vec![self.abort()];
        for (path, trial) in &self.canary.changes {
            let key = ConfigKey::new(Scope::Service(self.service.clone()), path)?.to_key(config);
            let seen = as_it_was(&key, seen(&key), trial);
            edits.push(match &trial.value {
                Some(value) => Edit::put(key, seen, value.as_bytes()),
                None => Edit::delete(key, seen),
            });
        }
        Ok(Plan::new(edits)?)
    }

    /// The edit that ends the canary: its instances fall back to the service's own values.
    #[must_use]
    pub fn abort(&self) -> Edit {
        Edit::delete(self.entry.key.clone(), Seen::At(self.entry.clone()))
    }

    /// The keys on trial. What the record names and is no key is left out.
    pub fn keys(&self) -> impl Iterator<Item = (ConfigKey, &Trial)> {
        self.canary.changes.iter().filter_map(|(path, trial)| {
            let scope = Scope::Service(self.service.clone());
            Some((ConfigKey::new(scope, path).ok()?, trial))
        })
    }

    /// What its end does to its instances, as edits that nobody commits: each key goes from the
    /// value on trial back to what the service itself has now.
    pub fn falls_back(
        &self,
        config: &Prefix,
        mut now: impl FnMut(&Key) -> Option<Entry>,
    ) -> Vec<Edit> {
        let back = self.keys().map(|(key, trial)| {
            let key = key.to_key(config);
            let tried = trial.value.as_ref().map(|value| Entry {
                key: key.clone(),
                value: value.as_bytes().into(),
                create_revision: self.entry.mod_revision,
                mod_revision: self.entry.mod_revision,
                version: 1,
                lease: None,
            });
            let seen = Seen::from(tried);
            match now(&key) {
                Some(entry) => Edit::put(key, seen, entry.value),
                None => Edit::delete(key, seen),
            }
        });
        back.filter(|edit| !edit.changes_nothing()).collect()
    }
}

/// What the author of the canary saw of a key. Where the key changed since, the revision and the
/// value of then stand in the guard, and the commit says what stands there now: today's value as
/// the base would make the other's change look like none. An unknown base is empty, which merges
/// with nothing.
fn as_it_was(key: &Key, now: Seen, trial: &Trial) -> Seen {
    let wanted = trial.value.as_deref().map(str::as_bytes);
    if now.revision().0 == trial.mod_revision || now.value() == wanted {
        return now;
    }
    if trial.mod_revision == 0 {
        return Seen::Absent;
    }
    let lease = match now {
        Seen::At(entry) => entry.lease,
        Seen::Absent => None,
    };
    Seen::At(Entry {
        key: key.clone(),
        value: trial.base.as_deref().unwrap_or_default().as_bytes().into(),
        create_revision: Revision(trial.mod_revision),
        mod_revision: Revision(trial.mod_revision),
        version: 1,
        lease,
    })
}

#[cfg(test)]
mod tests;
