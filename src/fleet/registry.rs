//! The registry as it stands: changes of the services prefix folded into services and instances.
//!
//! One key at a time: a record that cannot be read is quarantined with its reason and never hides
//! a good one, and what was true of it before is not shown any longer.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::btree_map::Entry as Slot;
use std::fmt;
use std::sync::Arc;

use crate::kv::{Change, Entry, Key, LeaseId, Prefix, Revision};
use crate::service::{Instance, ServiceName};

mod foreign;
mod native;

/// All services that are registered.
#[derive(Debug, Clone)]
pub struct Registry {
    prefix: Prefix,
    services: BTreeMap<ServiceName, Service>,
    quarantined: BTreeMap<Key, Poison>,
    /// Where each good key was put, so that its deletion finds it.
    placed: HashMap<Key, ServiceName>,
}

/// A service that has at least one instance.
#[derive(Debug, Clone, Default)]
pub struct Service {
    instances: BTreeMap<Key, Arc<Instance>>,
}

/// A key under the services prefix that holds no instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Why it cannot be read, safe to show.
    pub reason: String,
    /// The size of its value in bytes.
    pub size: usize,
    /// The lease it has.
    pub lease: Option<LeaseId>,
    /// When it was written.
    pub mod_revision: Revision,
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Service {
    /// Its instances, in the order of their keys.
    pub fn instances(&self) -> impl ExactSizeIterator<Item = &Arc<Instance>> + DoubleEndedIterator {
        self.instances.values()
    }

    /// The instance that a key holds.
    #[must_use]
    pub fn instance(&self, key: &Key) -> Option<&Arc<Instance>> {
        self.instances.get(key)
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Never so for a service of a [`Registry`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

/// What one key under the services prefix holds.
#[derive(Debug)]
pub enum Found {
    /// An instance.
    Instance(Box<Instance>),
    /// A folder or marker that another framework puts beside instances; no fault.
    Marker,
    /// Nothing that can be read.
    Poison(Poison),
}

impl Found {
    /// Reads one entry by the format that it has. What no format knows is judged by the native one.
    #[must_use]
    pub fn read(prefix: &Prefix, entry: &Entry) -> Self {
        let reason = match native::read(prefix, entry) {
            Ok(instance) => return Self::Instance(Box::new(instance)),
            Err(reason) => reason,
        };
        let reason = match foreign::read(prefix, entry) {
            Some(Ok(Some(instance))) => return Self::Instance(instance),
            Some(Ok(None)) => return Self::Marker,
            Some(Err(foreign)) => foreign,
            None => reason,
        };
        Self::Poison(Poison {
            reason,
            size: entry.value.len(),
            lease: entry.lease,
            mod_revision: entry.mod_revision,
        })
    }
}

impl Registry {
    /// An empty registry of what stands under the prefix.
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            services: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            placed: HashMap::new(),
        }
    }

    /// Takes one change in. Returns the services whose instances differ now: none, one, or two when
    /// a rewritten record moved.
    pub fn apply(&mut self, change: &Change) -> [Option<ServiceName>; 2] {
        let key = change.key();
        if !self.prefix.contains(key) {
            return [None, None];
        }
        match change {
            Change::Delete { .. } => [self.remove(key), None],
            Change::Put(entry) => match Found::read(&self.prefix, entry) {
                Found::Instance(instance) => {
                    self.quarantined.remove(key);
                    self.place(*instance)
                }
                Found::Marker => [self.remove(key), None],
                Found::Poison(poison) => {
                    let before = self.remove(key);
                    self.quarantined.insert(key.clone(), poison);
                    [before, None]
                }
            },
        }
    }

    /// Forgets everything and takes these entries as the whole truth.
    pub fn replace(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.services.clear();
        self.quarantined.clear();
        self.placed.clear();
        for entry in entries {
            self.apply(&Change::Put(entry));
        }
    }

    /// All services with their names, in the order of the names.
    pub fn services(
        &self,
    ) -> impl ExactSizeIterator<Item = (&ServiceName, &Service)> + DoubleEndedIterator {
        self.services.iter()
    }

    /// The service of a name, when it has instances.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// The instance that a key holds.
    #[must_use]
    pub fn instance(&self, key: &Key) -> Option<&Arc<Instance>> {
        self.services.get(self.placed.get(key)?)?.instance(key)
    }

    /// How many instances there are in all.
    #[must_use]
    pub fn instance_count(&self) -> usize {
        self.placed.len()
    }

    /// The keys that hold no readable instance.
    pub fn quarantined(&self) -> impl ExactSizeIterator<Item = (&Key, &Poison)> {
        self.quarantined.iter()
    }

    /// Whether a key holds no readable instance.
    #[must_use]
    pub fn is_quarantined(&self, key: &Key) -> bool {
        self.quarantined.contains_key(key)
    }

    fn place(&mut self, instance: Instance) -> [Option<ServiceName>; 2] {
        let key = instance.key.clone();
        let name = instance.record.service.clone();
        let left = match self.placed.get(&key) {
            Some(before) if *before != name => self.remove(&key),
            _ => None,
        };
        self.services
            .entry(name.clone())
            .or_default()
            .instances
            .insert(key.clone(), Arc::new(instance));
        self.placed.insert(key, name.clone());
        [Some(name), left]
    }

    fn remove(&mut self, key: &Key) -> Option<ServiceName> {
        self.quarantined.remove(key);
        let name = self.placed.remove(key)?;
        if let Slot::Occupied(mut service) = self.services.entry(name.clone()) {
            service.get_mut().instances.remove(key);
            if service.get().is_empty() {
                service.remove();
            }
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> Prefix {
        Prefix::new("/services/").unwrap()
    }

    fn put(key: &str, value: &str, revision: i64) -> Change {
        Change::Put(Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(1),
            mod_revision: Revision(revision),
            version: 1,
            lease: LeaseId::new(7),
        })
    }

    fn good(service: &str, id: &str) -> Change {
        let value = format!(r#"{{"service":"{service}","id":"{id}","endpoints":["grpc://h:1"]}}"#);
        put(&format!("/services/{service}/{id}"), &value, 2)
    }

    fn names(registry: &Registry) -> Vec<(String, usize)> {
        registry
            .services()
            .map(|(name, service)| (name.to_string(), service.len()))
            .collect()
    }

    #[test]
    fn a_poison_record_is_quarantined_beside_good_ones() {
        let mut registry = Registry::new(prefix());
        registry.apply(&good("order", "o-1"));
        registry.apply(&put("/services/order/o-2", "{not json", 3));
        registry.apply(&put("/services/order/o-3/deeper", "{}", 3));
        registry.apply(&good("user", "u-1"));
        assert_eq!(names(&registry), [("order".into(), 1), ("user".into(), 1)]);
        let keys: Vec<_> = registry
            .quarantined()
            .map(|(key, _)| key.to_string())
            .collect();
        assert_eq!(keys, ["/services/order/o-2", "/services/order/o-3/deeper"]);
    }

    #[test]
    fn a_record_that_turns_bad_is_no_longer_shown_as_good_and_heals_when_rewritten() {
        let mut registry = Registry::new(prefix());
        registry.apply(&good("order", "o-1"));
        registry.apply(&put("/services/order/o-1", "\"text\"", 3));
        assert_eq!(names(&registry), []);
        assert_eq!(registry.quarantined().len(), 1);
        registry.apply(&good("order", "o-1"));
        assert_eq!(names(&registry), [("order".into(), 1)]);
        assert_eq!(registry.quarantined().len(), 0);
    }

    #[test]
    fn a_service_goes_with_its_last_instance() {
        let mut registry = Registry::new(prefix());
        registry.apply(&good("order", "o-1"));
        let changed = registry.apply(&Change::Delete {
            key: "/services/order/o-1".into(),
            revision: Revision(3),
        });
        assert_eq!(changed[0].as_ref().map(ServiceName::as_str), Some("order"));
        assert_eq!(names(&registry), []);
        assert_eq!(registry.instance_count(), 0);
    }

    #[test]
    fn keys_elsewhere_are_not_ours() {
        let mut registry = Registry::new(prefix());
        registry.apply(&put("/config/order/a", "1", 2));
        assert_eq!(
            (registry.instance_count(), registry.quarantined().len()),
            (0, 0)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_instance_or_a_folder_or_in_quarantine(
            key in "/services/[a-c/.-]{0,6}",
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut registry = Registry::new(prefix());
            registry.apply(&Change::Put(Entry {
                key: key.clone().into(), value: value.clone().into(), create_revision: Revision(1),
                mod_revision: Revision(1), version: 1, lease: None,
            }));
            let held = registry.instance_count() + registry.quarantined().len();
            let name = key["/services/".len()..].trim_end_matches('/');
            // White space around a value is none of it.
            let says = std::str::from_utf8(&value).map(str::trim);
            let folder = !name.is_empty() && !name.contains('/') && says.is_ok_and(|says| says.is_empty() || says == name);
            prop_assert_eq!(held, usize::from(!folder));
            registry.apply(&Change::Delete { key: key.into(), revision: Revision(2) });
            prop_assert_eq!(registry.instance_count() + registry.quarantined().len(), 0);
        }

        #[test]
        fn the_fold_of_changes_equals_the_list_of_what_is_left(
            steps in prop::collection::vec((0..3u8, 0..3u8, any::<bool>(), any::<bool>()), 0..40),
        ) {
            let mut folded = Registry::new(prefix());
            let mut left = BTreeMap::new();
            for (service, id, keep, sound) in steps {
                let (service, id) = (format!("s{service}"), format!("i{id}"));
                let change = if sound { good(&service, &id) } else { put(&format!("/services/{service}/{id}"), "x", 2) };
                let key = change.key().clone();
                folded.apply(&change);
                if keep {
                    if let Change::Put(entry) = change { left.insert(key, entry); }
                } else {
                    folded.apply(&Change::Delete { key: key.clone(), revision: Revision(3) });
                    left.remove(&key);
                }
            }
            let mut listed = Registry::new(prefix());
            listed.replace(left.into_values());
            prop_assert_eq!(names(&folded), names(&listed));
            prop_assert_eq!(folded.quarantined().collect::<Vec<_>>(), listed.quarantined().collect::<Vec<_>>());
        }
    }
}
