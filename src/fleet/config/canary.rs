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
        let mod_revision = edit.seen.revision().0;
        changes.insert(
            key.path().to_owned(),
            Trial {
                value,
                mod_revision,
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
}

/// What the author of the canary saw of a key. Where the key changed since, the revision of then
/// stands in the guard, and the commit says what stands there now.
fn as_it_was(key: &Key, now: Seen, trial: &Trial) -> Seen {
    let wanted = trial.value.as_deref().map(str::as_bytes);
    if now.revision().0 == trial.mod_revision || now.value() == wanted {
        return now;
    }
    if trial.mod_revision == 0 {
        return Seen::Absent;
    }
    let (value, lease) = match now {
        Seen::At(entry) => (entry.value, entry.lease),
        Seen::Absent => ([].into(), None),
    };
    Seen::At(Entry {
        key: key.clone(),
        value,
        create_revision: Revision(trial.mod_revision),
        mod_revision: Revision(trial.mod_revision),
        version: 1,
        lease,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::edit::{ConfigEdit, plan};
    use proptest::prelude::*;

    fn config() -> Prefix {
        Prefix::new("/config/").unwrap()
    }

    fn id(name: &str) -> InstanceId {
        InstanceId::new(name).unwrap()
    }

    fn entry(key: Key, value: &[u8], revision: i64) -> Entry {
        Entry {
            key,
            value: value.into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn set(key: &str, value: &str) -> ConfigEdit {
        ConfigEdit::Set {
            key: ConfigKey::parse(key).unwrap(),
            value: value.into(),
        }
    }

    fn unset(key: &str) -> ConfigEdit {
        ConfigEdit::Unset {
            key: ConfigKey::parse(key).unwrap(),
        }
    }

    fn start(edits: Vec<ConfigEdit>, standing: Option<&Entry>) -> Result<Standing, CanaryError> {
        let seen = |key: &ConfigKey| Seen::At(entry(key.to_key(&config()), b"1", 4));
        let plan = plan(&config(), edits, seen).unwrap();
        let time = "2026-11-22T10:00:00Z".parse().unwrap();
        let who = ("lin", time, "try it");
        let (_, plan) = begin(&config(), &plan, vec![id("o-1")], standing, who)?;
        let value = written(&plan.edits()[0].write).unwrap();
        let entry = entry(plan.edits()[0].key.clone(), value, 7);
        Standing::read(&config(), &entry).unwrap()
    }

    #[test]
    fn a_canary_is_one_key_that_no_config_key_is_called_like() {
        let standing = start(vec![set("order/a", "2"), unset("order/b")], None).unwrap();
        assert_eq!(standing.entry.key.to_string(), "/config/order/@canary");
        assert!(ConfigKey::from_key(&config(), &standing.entry.key).is_err());
        assert_eq!(service_of(&config(), &"/config/order/a".into()), None);
        assert_eq!(service_of(&config(), &"/config/a/b/@canary".into()), None);
        assert!(standing.canary.names(&id("o-1")) && !standing.canary.names(&id("o-2")));
    }

    #[test]
    fn what_cannot_be_tried_is_refused() {
        let under_way = entry("/config/order/@canary".into(), b"{}", 6);
        for (edits, standing, wanted) in [
            (vec![set("global/a", "2")], None, "for all services"),
            (
                vec![set("order/a", "2"), set("user/a", "2")],
                None,
                "touches order and user",
            ),
            (vec![], None, "changes nothing"),
            (
                vec![set("order/a", "2")],
                Some(&under_way),
                "under way since revision 6",
            ),
        ] {
            let error = start(edits, standing).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(
            matches!(Canary::from_json(b"{\x1b"), Err(CanaryError::Damaged(why)) if !why.contains('\x1b'))
        );
    }

    #[test]
    fn chosen_instances_run_the_canary_and_fall_back_when_it_ends() {
        let standing = start(vec![set("order/a", "2"), unset("order/b")], None).unwrap();
        let mut layers = Layers::new();
        let service = Origin::Service {
            revision: Revision(4),
        };
        layers.put(Layer::Service, "a", Value::from(1), service.clone());
        layers.put(Layer::Service, "b", Value::from(1), service);
        layers.put(
            Layer::Global,
            "b",
            Value::from(9),
            Origin::Global {
                revision: Revision(2),
            },
        );
        standing.canary.lay_over(&mut layers, Revision(7));
        let value = |layers: &Layers, path: &str| layers.effective().get(path).unwrap().value;
        assert_eq!(
            (value(&layers, "a"), value(&layers, "b")),
            (Value::from(2), Value::from(9))
        );
        assert_eq!(
            layers.effective().get("a").unwrap().origin.to_string(),
            "canary r7"
        );
        lift(&mut layers);
        assert_eq!(
            (value(&layers, "a"), value(&layers, "b")),
            (Value::from(1), Value::from(1))
        );
    }

    #[test]
    fn promotion_is_guarded_by_what_stood_there_when_the_canary_began() {
        let standing = start(vec![set("order/a", "2")], None).unwrap();
        for (now, guard) in [
            (Some(("1", 4)), Some(4)),
            (Some(("5", 9)), Some(4)),
            (None, Some(4)),
            // The wanted value stands there already: nothing to write but the end of the canary.
            (Some(("2", 9)), None),
        ] {
            let seen = |key: &Key| {
                Seen::from(now.map(|(value, at)| entry(key.clone(), value.as_bytes(), at)))
            };
            let plan = standing.promote(&config(), seen).unwrap();
            assert_eq!(plan.edits()[0], standing.abort());
            let found = plan.edits().get(1).map(|edit| edit.seen.revision().0);
            assert_eq!(found, guard, "{now:?}");
        }
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            values in prop::collection::btree_map("[a-z]{1,4}(\\.[a-z]{1,4})?", prop::option::of(".{0,20}"), 1..5),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let changes = values.into_iter().map(|(path, value)| (path, Trial { value, mod_revision: 3 })).collect();
            let canary = Canary { instances: vec![id("o-1")], changes, author: "a".into(), time: Timestamp::UNIX_EPOCH, message: String::new() };
            prop_assert_eq!(Canary::from_json(&serde_json::to_vec(&canary).unwrap()).unwrap(), canary);
            let _ = Canary::from_json(&bytes);
        }
    }
}
