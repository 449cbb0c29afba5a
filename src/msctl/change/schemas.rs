//! What services publish of their config. A schema that cannot be read is told and checks nothing:
//! a service's fault never stands in the way of its operator.

use std::collections::BTreeMap;

use fleet::config::schema::Schema;
use fleet::config::secret::{Sensitivity, is_secret};
use fleet::config::{ConfigKey, Scope};
use fleet::{Entry, Key, ServiceName};

use crate::report::Failure;
use crate::session::Session;

/// Schemas by service.
#[derive(Debug, Clone, Default)]
pub struct Schemas {
    known: BTreeMap<ServiceName, Schema>,
    /// Services whose schema cannot be read, and why.
    pub broken: Vec<(ServiceName, String)>,
}

impl Schemas {
    /// Reads those of some scopes; a global key may be any service's, so `global` reads all.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn read(session: &Session, scopes: &[Scope]) -> Result<Self, Failure> {
        let prefix = &session.prefixes().schema;
        let mut schemas = Self::default();
        if scopes.contains(&Scope::Global) || scopes.len() > 4 {
            for entry in session.list(prefix).await?.entries {
                schemas.add(session, &entry);
            }
            return Ok(schemas);
        }
        for scope in scopes {
            if let Scope::Service(service) = scope
                && let (Some(entry), _) = session.get(&key_of(session, service)).await?
            {
                schemas.add(session, &entry);
            }
        }
        Ok(schemas)
    }

    fn add(&mut self, session: &Session, entry: &Entry) {
        let rest = session.prefixes().schema.strip(&entry.key);
        let name = rest.and_then(|rest| std::str::from_utf8(rest).ok());
        let Some(service) = name.and_then(|name| ServiceName::new(name).ok()) else {
            return;
        };
        match Schema::from_json(&entry.value) {
            Ok(schema) => {
                self.known.insert(service, schema);
            }
            Err(error) => self.broken.push((service, error.to_string())),
        }
    }

    /// The schema of a scope; `global` has none.
    #[must_use]
    pub fn get(&self, scope: &Scope) -> Option<&Schema> {
        match scope {
            Scope::Global => None,
            Scope::Service(service) => self.known.get(service),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&ServiceName, &Schema)> {
        self.known.iter()
    }

    /// Whether a key's value is a secret, by its name or by a schema.
    #[must_use]
    pub fn is_secret(&self, key: &ConfigKey) -> bool {
        is_secret(key.path())
            || match &key.scope {
                Scope::Global => self
                    .known
                    .values()
                    .any(|schema| schema.is_secret(key.path())),
                scope => self
                    .get(scope)
                    .is_some_and(|schema| schema.is_secret(key.path())),
            }
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
}

fn key_of(session: &Session, service: &ServiceName) -> Key {
    session.prefixes().schema.join(service.as_str())
}
