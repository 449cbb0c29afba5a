//! What is known of the fleet: the registry as etcd has it, and what was asked of instances and
//! leases since. Each observation carries the time it was made, and nothing here guesses: what was
//! not asked is unknown. Times are since the console started.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fleet::config::Scope;
use fleet::finding::{self, Finding, Observed, Ttl};
use fleet::status::StatusRecord;
use fleet::{Change, Health, Instance, Key, LeaseId, Prefixes, Registry, Revision, ServiceName};

mod running;
mod seen;
mod summary;

pub use seen::{HealthSeen, LeaseSeen};
pub use summary::{Summary, rank};

/// The fleet as far as it is known.
#[derive(Debug)]
pub struct Directory {
    /// Services and instances.
    pub registry: Registry,
    prefixes: Prefixes,
    health: HashMap<Key, HealthSeen>,
    leases: HashMap<LeaseId, LeaseSeen>,
    /// Keyed by `<service>/<id>` below the status prefix.
    status: HashMap<Box<[u8]>, Arc<StatusRecord>>,
    summaries: BTreeMap<ServiceName, Summary>,
    dirty: HashSet<ServiceName>,
    /// How many records below a service's name are none.
    poisoned: BTreeMap<ServiceName, usize>,
    /// The newest revision that wrote config of a scope.
    configured: BTreeMap<Scope, Revision>,
    /// Services whose records changed since shared addresses were looked for.
    recorded: HashSet<ServiceName>,
    shared: HashMap<Key, Vec<Finding>>,
}

impl Directory {
    /// An empty directory.
    pub fn new(prefixes: Prefixes) -> Self {
        Self {
            registry: Registry::new(prefixes.services.clone()),
            prefixes,
            health: HashMap::new(),
            leases: HashMap::new(),
            status: HashMap::new(),
            summaries: BTreeMap::new(),
            dirty: HashSet::new(),
            poisoned: BTreeMap::new(),
            configured: BTreeMap::new(),
            recorded: HashSet::new(),
            shared: HashMap::new(),
        }
    }

    /// Takes in a change below the services prefix. Returns the lease the instance had.
    pub fn apply(&mut self, change: &Change) -> Option<LeaseId> {
        let lease = self
            .registry
            .instance(change.key())
            .and_then(|instance| instance.lease);
        let touched = self.registry.apply(change);
        if let Change::Delete { key, .. } = change {
            self.health.remove(key);
        }
        self.dirty.extend(touched.into_iter().flatten());
        // A record that is none, or no longer, is told beside the good ones.
        let service = self.service_of(change.key());
        self.recorded.extend(service.clone());
        self.dirty.extend(service);
        lease
    }

    /// The service a key below the services prefix is named under.
    fn service_of(&self, key: &Key) -> Option<ServiceName> {
        let rest = std::str::from_utf8(self.prefixes.services.strip(key)?).ok()?;
        ServiceName::new(rest.split('/').next()?).ok()
    }

    /// What is known of an instance, as findings want it. For how long is left out: what is counted
    /// once says nothing of time.
    pub fn observed<'a>(&'a self, instance: &Instance, now: Duration) -> Observed<'a> {
        let seen = self.health(&instance.key);
        let lease = instance.lease.and_then(|id| self.lease(id));
        let seconds = |value: i64| Duration::from_secs(u64::try_from(value).unwrap_or(0));
        Observed {
            health: seen.map_or(Health::Unknown, |seen| seen.health),
            detail: seen.map_or("", |seen| &seen.detail),
            since: None,
            ttl: lease.and_then(|lease| {
                // Between two answers nobody knows whether it was kept alive: only answers count.
                lease.left(now)?;
                Some(Ttl {
                    granted: seconds(lease.granted),
                    left: seconds(lease.ttl?),
                })
            }),
            flaps: None,
            status: self.said(instance),
            config: Some(self.newest_config(&instance.record.service)),
        }
    }

    /// What is wrong with the address of an instance: another one names it too.
    pub fn shared(&self, key: &Key) -> impl Iterator<Item = &Finding> {
        self.shared.get(key).into_iter().flatten()
    }

    /// Takes in what an instance answered. An answer about one that left meanwhile is dropped.
    /// Returns whether anything differs from before that a person would call news.
    pub fn observe(&mut self, key: &Key, mut seen: HealthSeen) -> bool {
        let Some(instance) = self.registry.instance(key) else {
            return false;
        };
        let before = self.health.get(key);
        let same = before.is_some_and(|before| before.health == seen.health);
        if let Some(before) = before.filter(|_| same) {
            seen.since = before.since;
        }
        if !same {
            self.dirty.insert(instance.record.service.clone());
        }
        self.health.insert(key.clone(), seen);
        !same
    }

    /// Takes in what etcd said of a lease. Returns whether it began, or ceased, to run out.
    pub fn observe_lease(&mut self, id: LeaseId, mut seen: LeaseSeen) -> bool {
        if seen.keys.is_none() {
            seen.keys = self
                .leases
                .get_mut(&id)
                .and_then(|before| before.keys.take());
        }
        let runs_out = seen.runs_out();
        let before = self.leases.insert(id, seen);
        before.is_some_and(|before| before.runs_out()) != runs_out
    }

    /// Has the summary of a service made anew.
    pub fn touch(&mut self, service: ServiceName) {
        self.dirty.insert(service);
    }

    /// How many leases are known.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// Forgets leases that neither a record nor the list names, so that the table stays bounded.
    pub fn keep_leases(&mut self, known: &HashSet<LeaseId>) {
        self.leases.retain(|id, _| known.contains(id));
    }

    /// What is known of an instance's health.
    pub fn health(&self, key: &Key) -> Option<&HealthSeen> {
        self.health.get(key)
    }

    /// An instance's state; unknown where it was not asked.
    pub fn state_of(&self, key: &Key) -> Health {
        self.health
            .get(key)
            .map_or(Health::Unknown, |seen| seen.health)
    }

    /// What is known of a lease.
    pub fn lease(&self, id: LeaseId) -> Option<&LeaseSeen> {
        self.leases.get(&id)
    }

    /// A service's summary; made by [`Directory::refresh`].
    pub fn summary(&self, service: &ServiceName) -> Option<&Summary> {
        self.summaries.get(service)
    }

    /// All summaries, by name.
    pub fn summaries(&self) -> impl ExactSizeIterator<Item = (&ServiceName, &Summary)> {
        self.summaries.iter()
    }

    /// Whether summaries are behind the registry.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Brings the summaries of changed services up to date.
    pub fn refresh(&mut self, now: Duration) {
        self.poisoned.clear();
        for (key, _) in self.registry.quarantined() {
            if let Some(service) = self.service_of(key) {
                *self.poisoned.entry(service).or_default() += 1;
            }
        }
        for name in std::mem::take(&mut self.recorded) {
            self.share(&name);
        }
        for name in std::mem::take(&mut self.dirty) {
            match self.summarize(&name, now) {
                Some(summary) => self.summaries.insert(name, summary),
                None => self.summaries.remove(&name),
            };
        }
    }

    /// The least time left among a service's leases, where all of up to `most` are known.
    pub fn least_ttl(&self, service: &ServiceName, now: Duration, most: usize) -> Option<f64> {
        let service = self.registry.service(service.as_str())?;
        if service.len() > most {
            return None;
        }
        service
            .instances()
            .filter_map(|instance| self.leases.get(&instance.lease?)?.left(now))
            .min_by(f64::total_cmp)
    }

    /// Looks for addresses that several instances of a service name.
    fn share(&mut self, name: &ServiceName) {
        let prefix = format!("{name}/");
        let own = |key: &Key| {
            let rest = self.prefixes.services.strip(key);
            rest.is_some_and(|rest| rest.starts_with(prefix.as_bytes()))
        };
        self.shared.retain(|key, _| !own(key));
        if let Some(service) = self.registry.service(name.as_str()) {
            for (key, found) in finding::shared_addresses(service) {
                self.shared.entry(key).or_default().push(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet::Entry;

    use super::*;

    fn put(key: &str, value: &str) -> Change {
        Change::Put(Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            version: 1,
            lease: LeaseId::new(7),
        })
    }

    fn seen(health: Health, at: u64) -> HealthSeen {
        HealthSeen {
            health,
            detail: String::new(),
            latency: None,
            at: Duration::from_secs(at),
            since: Duration::from_secs(at),
        }
    }

    #[test]
    fn a_state_lasts_since_it_began_and_not_since_it_was_asked() {
        let mut directory = Directory::new(Prefixes::default());
        let key = Key::from("/services/order/o-1");
        assert!(!directory.observe(&key, seen(Health::Hung, 1)));
        directory.apply(&put(
            "/services/order/o-1",
            r#"{"service":"order","id":"o-1"}"#,
        ));
        assert!(directory.observe(&key, seen(Health::Hung, 2)));
        assert!(!directory.observe(&key, seen(Health::Hung, 9)));
        assert_eq!(
            directory.health(&key).unwrap().since,
            Duration::from_secs(2)
        );
        directory.refresh(Duration::from_secs(9));
        let (_, summary) = directory.summaries().next().unwrap();
        assert_eq!(summary.worst(), Health::Hung);
        assert_eq!(summary.findings, ["1 hung", "1 without endpoint"]);
    }
}
