//! What services say of their config, as the page needs it: the fields of a scope, what a value may
//! be, what is a secret. A schema that cannot be read hides nothing and refuses nothing; why it
//! cannot is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::config::schema::{Field, Schema, Violation, Weight};
use fleet::config::secret::{Sensitivity, is_secret};
use fleet::config::{ConfigKey, Scope};
use fleet::{Change, Prefix, ServiceName};
use serde_yaml::Value;

/// A schema with its fields, listed once.
#[derive(Debug)]
struct Known {
    schema: Schema,
    fields: BTreeMap<Arc<str>, Field>,
}

/// See the module.
#[derive(Debug)]
pub struct Schemas {
    prefix: Prefix,
    services: BTreeMap<ServiceName, Result<Known, String>>,
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
            services: BTreeMap::new(),
        }
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: &Change) {
        let name = self.prefix.strip(change.key());
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        let Some(service) = name.and_then(|name| ServiceName::new(name).ok()) else {
            return;
        };
        match change {
            Change::Put(entry) => {
                let read = Schema::from_json(&entry.value).map(|schema| {
                    let fields = schema.fields().into_iter();
                    let fields = fields.map(|field| (field.path.as_str().into(), field));
                    Known {
                        fields: fields.collect(),
                        schema,
                    }
                });
                let read = read.map_err(|error| error.to_string());
                self.services.insert(service, read);
            }
            Change::Delete { .. } => {
                self.services.remove(&service);
            }
        }
    }

    /// The services that say what their config is.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// The keys a scope's schema names.
    pub fn fields(&self, scope: &Scope) -> impl Iterator<Item = (&Arc<str>, &Field)> {
        self.known(scope)
            .into_iter()
            .flat_map(|known| &known.fields)
    }

    /// What a schema says of a key; a global key is what any service says that it is.
    pub fn field(&self, key: &ConfigKey) -> Option<Field> {
        let of = |known: &Known| match known.fields.get(key.path()) {
            Some(field) => Some(field.clone()),
            None => known.schema.field(key.path()),
        };
        match &key.scope {
            Scope::Global => self.all().find_map(|(_, known)| of(known)),
            scope => of(self.known(scope)?),
        }
    }

    /// Why a scope's schema is not used.
    pub fn broken(&self, scope: &Scope) -> Option<&str> {
        match scope {
            Scope::Service(service) => self
                .services
                .get(service)?
                .as_ref()
                .err()
                .map(String::as_str),
            Scope::Global => None,
        }
    }

    /// Whether a key's value is masked, by its name or by what a service says.
    pub fn sensitivity(&self, key: &ConfigKey) -> Sensitivity {
        let says = match &key.scope {
            Scope::Global => self
                .all()
                .any(|(_, known)| known.schema.is_secret(key.path())),
            scope => self
                .known(scope)
                .is_some_and(|known| known.schema.is_secret(key.path())),
        };
        if says || is_secret(key.path()) {
            Sensitivity::Secret
        } else {
            Sensitivity::Open
        }
    }

    /// What becomes of a value. A global one must do for every service that has the key.
    pub fn judge(&self, key: &ConfigKey, value: &Value) -> Verdict {
        let (path, of) = (key.path(), |known: &Known| {
            known.schema.check(key.path(), value)
        });
        match &key.scope {
            Scope::Global => {
                let using = self
                    .all()
                    .filter(|(_, known)| known.schema.field(path).is_some());
                let verdicts = using.map(|(service, known)| match told(of(known)) {
                    Verdict::Refused(why) => {
                        Verdict::Refused(format!("{service} would refuse it: {why}"))
                    }
                    other => other,
                });
                verdicts.max_by_key(Verdict::rank).unwrap_or(Verdict::Good)
            }
            scope => self
                .known(scope)
                .map_or(Verdict::Good, |known| told(of(known))),
        }
    }

    /// A scope's schema.
    pub fn schema(&self, scope: &Scope) -> Option<&Schema> {
        Some(&self.known(scope)?.schema)
    }

    fn known(&self, scope: &Scope) -> Option<&Known> {
        match scope {
            Scope::Service(service) => self.services.get(service)?.as_ref().ok(),
            Scope::Global => None,
        }
    }

    fn all(&self) -> impl Iterator<Item = (&ServiceName, &Known)> {
        let known = self.services.iter();
        known.filter_map(|(service, known)| Some((service, known.as_ref().ok()?)))
    }
}

impl Verdict {
    fn rank(&self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Doubtful(_) => 1,
            Self::Refused(_) => 2,
        }
    }
}

fn told(faults: Vec<Violation>) -> Verdict {
    // The gravest first, and of those the first that was met.
    let worst = faults
        .into_iter()
        .min_by_key(|fault| fault.weight != Weight::Error);
    match worst {
        None => Verdict::Good,
        Some(fault) if fault.weight == Weight::Error => Verdict::Refused(fault.to_string()),
        Some(fault) => Verdict::Doubtful(fault.to_string()),
    }
}
