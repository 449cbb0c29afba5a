//! What services say of their config, as the page needs it: the fields of a scope, listed once, and
//! what becomes of a value in one verdict. What schemas mean, and what is a secret, is
//! [`Published`]'s to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::config::schema::{Field, Schema, Weight};
use fleet::config::{ConfigKey, Published, Scope};
use fleet::{Change, Prefix, ServiceName};
use serde_yaml::Value;

/// See the module.
#[derive(Debug)]
pub struct Schemas {
    prefix: Prefix,
    published: Published,
    fields: BTreeMap<ServiceName, BTreeMap<Arc<str>, Field>>,
}

/// What is said of a value that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Good,
    /// It may be meant.
    Doubtful(String),
    /// Its service would refuse it.
    Refused(String),
}

impl Schemas {
    /// None yet, of what stands under a prefix.
    pub fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            published: Published::default(),
            fields: BTreeMap::new(),
        }
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: &Change) {
        let name = self.prefix.strip(change.key());
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        let Some(service) = name.and_then(|name| ServiceName::new(name).ok()) else {
            return;
        };
        self.published.apply(&self.prefix, change);
        self.fields.remove(&service);
        if let Some(schema) = self.published.get(&Scope::Service(service.clone())) {
            let fields = schema.fields().into_iter();
            let fields = fields.map(|field| (field.path.as_str().into(), field));
            self.fields.insert(service, fields.collect());
        }
    }

    /// All that is published.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// The services that say what their config is, readable or not.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        let readable = self.published.all().map(|(service, _)| service);
        readable.chain(self.published.broken().map(|(service, _)| service))
    }

    /// The keys a scope's schema names.
    pub fn fields(&self, scope: &Scope) -> impl Iterator<Item = (&Arc<str>, &Field)> {
        let fields = match scope {
            Scope::Service(service) => self.fields.get(service),
            Scope::Global => None,
        };
        fields.into_iter().flatten()
    }

    /// What a schema says of a key; a global key is what any service says that it is.
    pub fn field(&self, key: &ConfigKey) -> Option<Field> {
        let listed = match &key.scope {
            Scope::Service(service) => self.fields.get(service)?.get(key.path()),
            Scope::Global => None,
        };
        listed.cloned().or_else(|| self.published.field(key))
    }

    /// Why a scope's schema is not used.
    pub fn broken(&self, scope: &Scope) -> Option<&str> {
        let mut broken = self.published.broken();
        broken.find_map(|(service, why)| match scope {
            Scope::Service(name) if name == service => Some(why),
            _ => None,
        })
    }

    /// What becomes of a value: the gravest that is said of it, and of those the first.
    pub fn judge(&self, key: &ConfigKey, value: &Value) -> Verdict {
        let faults = self.published.judge(key, value).into_iter();
        let worst = faults.min_by_key(|fault| fault.weight != Weight::Error);
        match worst {
            None => Verdict::Good,
            Some(fault) if fault.weight == Weight::Error => Verdict::Refused(fault.to_string()),
            Some(fault) => Verdict::Doubtful(fault.to_string()),
        }
    }

    /// A scope's schema.
    pub fn schema(&self, scope: &Scope) -> Option<&Schema> {
        self.published.get(scope)
    }
}
