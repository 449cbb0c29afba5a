//! What all services publish of their config, together: which schema speaks of a key, which values
//! are secrets, and what becomes of a value that is to be written.
//!
//! A schema that cannot be read hides nothing and refuses nothing; why it cannot is kept.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::schema::{Field, Schema, Violation, Weight};
use super::secret::{Sensitivity, is_secret};
use super::{ConfigKey, Scope};
use crate::kv::{Change, Key, Prefix};
use crate::service::ServiceName;

/// See the module. Empty, it knows secrets by the names of their keys.
#[derive(Debug, Clone, Default)]
pub struct Published {
    services: BTreeMap<ServiceName, Result<Schema, String>>,
}

impl Published {
    /// Takes in what stands under a key of the schema prefix; other keys are nobody's.
    pub fn learn(&mut self, prefix: &Prefix, key: &Key, value: &[u8]) {
        if let Some(service) = service_of(prefix, key) {
            let read = Schema::from_json(value).map_err(|error| error.to_string());
            self.services.insert(service, read);
        }
    }

    /// Takes in a change below the schema prefix.
    pub fn apply(&mut self, prefix: &Prefix, change: &Change) {
        match change {
            Change::Put(entry) => self.learn(prefix, &entry.key, &entry.value),
            Change::Delete { key, .. } => {
                if let Some(service) = service_of(prefix, key) {
                    self.services.remove(&service);
                }
            }
        }
    }

    /// The schema of a scope; `global` has none of its own.
    #[must_use]
    pub fn get(&self, scope: &Scope) -> Option<&Schema> {
        match scope {
            Scope::Global => None,
            Scope::Service(service) => self.services.get(service)?.as_ref().ok(),
        }
    }

    /// All that can be read.
    pub fn all(&self) -> impl Iterator<Item = (&ServiceName, &Schema)> {
        let services = self.services.iter();
        services.filter_map(|(service, read)| Some((service, read.as_ref().ok()?)))
    }

    /// Services whose schema cannot be read, and why.
    pub fn broken(&self) -> impl Iterator<Item = (&ServiceName, &str)> {
        let services = self.services.iter();
        services.filter_map(|(service, read)| Some((service, read.as_ref().err()?.as_str())))
    }

    /// What a schema says of a key; a global key is what any service says that it is.
    #[must_use]
    pub fn field(&self, key: &ConfigKey) -> Option<Field> {
        self.speaking_of(key)
            .find_map(|(_, schema)| schema.field(key.path()))
    }

    /// Whether the whole value of a key is a secret, by its name or by what a service says. Others
    /// may hold secrets as members: see [`super::secret::redact`].
    #[must_use]
    pub fn is_secret(&self, key: &ConfigKey) -> bool {
        is_secret(key.path())
            || self
                .speaking_of(key)
                .any(|(_, schema)| schema.is_secret(key.path()))
    }

    /// The same as a word.
    #[must_use]
    pub fn sensitivity(&self, key: &ConfigKey) -> Sensitivity {
        if self.is_secret(key) {
            Sensitivity::Secret
        } else {
            Sensitivity::Open
        }
    }

    /// Whether a service says of any key of a scope that its value is a secret.
    #[must_use]
    pub fn has_secrets(&self, scope: &Scope) -> bool {
        let own = |service: &ServiceName| match scope {
            Scope::Global => true,
            Scope::Service(name) => name == service,
        };
        self.all()
            .any(|(service, schema)| own(service) && schema.has_secrets())
    }

    /// What is wrong with a value that a key is to have. A global one must do for every service
    /// that has the key; each fault names whose it is.
    #[must_use]
    pub fn judge(&self, key: &ConfigKey, value: &Value) -> Vec<Violation> {
        match &key.scope {
            Scope::Service(_) => self
                .get(&key.scope)
                .map_or_else(Vec::new, |schema| schema.check(key.path(), value)),
            Scope::Global => {
                let readers = self
                    .all()
                    .filter(|(_, schema)| schema.field(key.path()).is_some());
                let faults = readers.flat_map(|(service, schema)| {
                    let faults = schema.check(key.path(), value).into_iter();
                    faults.map(move |fault| Violation {
                        message: format!("{service} says: {}", fault.message),
                        ..fault
                    })
                });
                faults.collect()
            }
        }
    }

    /// What is wrong with a key that goes. Whether a layer below has it is for others to say: some
    /// layers are the instance's own.
    #[must_use]
    pub fn judge_unset(&self, key: &ConfigKey) -> Vec<Violation> {
        let required = self.speaking_of(key).filter_map(|(service, schema)| {
            let field = schema.field(key.path())?;
            (field.required && field.default.is_none()).then_some(service)
        });
        let fault = |service: &ServiceName| Violation {
            path: key.path().to_owned(),
            message: format!("{service} requires it; another layer has to have it"),
            weight: Weight::Warning,
        };
        required.map(fault).collect()
    }

    fn speaking_of(&self, key: &ConfigKey) -> impl Iterator<Item = (&ServiceName, &Schema)> {
        let named = |service: &ServiceName| match &key.scope {
            Scope::Global => true,
            Scope::Service(name) => name == service,
        };
        self.all().filter(move |(service, _)| named(service))
    }
}

fn service_of(prefix: &Prefix, key: &Key) -> Option<ServiceName> {
    ServiceName::new(std::str::from_utf8(prefix.strip(key)?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value;

    fn published(schemas: &[(&str, &str)]) -> Published {
        let prefix = Prefix::new("/schema/").unwrap();
        let mut published = Published::default();
        for (service, schema) in schemas {
            published.learn(&prefix, &prefix.join(service), schema.as_bytes());
        }
        published
    }

    const TIMEOUT: &str = r#"{"properties": {"timeout": {"format": "duration", "maximum": "9s"}, "pin": {"x-secret": true}}, "additionalProperties": false}"#;

    #[test]
    fn a_global_value_must_do_for_every_service_that_reads_it() {
        let known = published(&[
            ("order", TIMEOUT),
            (
                "user",
                r#"{"properties": {"timeout": {"type": "integer"}}}"#,
            ),
            ("other", r#"{"properties": {}}"#),
            ("odd", "{"),
        ]);
        for (key, text, wanted) in [
            ("order/timeout", "5s", ""),
            ("order/timeout", "10s", "timeout: \"10s\" is too high"),
            (
                "other/timeout",
                "10s",
                "timeout: the service has no such key",
            ),
            ("odd/timeout", "10s", ""),
            ("nobody/timeout", "10s", ""),
            (
                "global/timeout",
                "5s",
                "timeout: user says: \"5s\" is no whole number",
            ),
            ("global/timeout", "3", "timeout: order says: "),
            ("global/else", "3", ""),
        ] {
            let key = ConfigKey::parse(key).unwrap();
            let faults = known.judge(&key, &value::parse(text.as_bytes()).unwrap());
            let said: Vec<_> = faults.iter().map(ToString::to_string).collect();
            let said = said.join("; ");
            assert!(
                said.starts_with(wanted) && wanted.is_empty() == said.is_empty(),
                "{key} {text}: {said}"
            );
        }
        assert_eq!(known.broken().count(), 1);
    }

    #[test]
    fn a_key_that_is_required_is_missed_when_it_goes() {
        let known = published(&[(
            "order",
            r#"{"properties": {"a": {}, "b": {"default": 1}, "c": {}}, "required": ["a", "b"]}"#,
        )]);
        for (key, wanted) in [
            ("order/a", 1),
            ("global/a", 1),
            ("order/b", 0),
            ("order/c", 0),
            ("user/a", 0),
        ] {
            let key = ConfigKey::parse(key).unwrap();
            assert_eq!(known.judge_unset(&key).len(), wanted, "{key}");
        }
    }

    #[test]
    fn a_secret_is_told_by_its_name_or_by_a_schema() {
        let mut known = published(&[("order", TIMEOUT)]);
        for (key, wanted) in [
            ("order/pin", true),
            ("global/pin", true),
            ("user/pin", false),
            ("user/db.password", true),
            ("order/timeout", false),
        ] {
            let key = ConfigKey::parse(key).unwrap();
            assert_eq!(known.is_secret(&key), wanted, "{key}");
        }
        let prefix = Prefix::new("/schema/").unwrap();
        let (key, revision) = (prefix.join("order"), crate::kv::Revision(9));
        known.apply(&prefix, &Change::Delete { key, revision });
        assert!(!known.is_secret(&ConfigKey::parse("order/pin").unwrap()));
    }
}
