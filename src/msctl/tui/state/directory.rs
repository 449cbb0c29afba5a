//! What is known of the fleet: the registry as etcd has it, and what was asked of instances and
//! leases since. Each observation carries the time it was made, and nothing here guesses: what was
//! not asked is unknown. Times are since the console started.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fleet::config::Scope;
use fleet::finding::{self, Comings, Finding, Observed, Ttl};
use fleet::status::StatusRecord;
use fleet::{Change, Health, Instance, Key, LeaseId, Prefixes, Registry, Revision, ServiceName};

mod count;
mod running;
mod seen;
mod summary;

use count::{Counted, Sums};
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
    /// The newest revision that wrote config of a scope.
    configured: BTreeMap<Scope, Revision>,
    /// How many records below a service's name are none.
    poisoned: BTreeMap<ServiceName, usize>,
    /// Who came back lately.
    comings: Comings,
    counted: HashMap<Key, Counted>,
    sums: BTreeMap<ServiceName, Sums>,
    summaries: BTreeMap<ServiceName, Summary>,
    behind: Behind,
}

/// What a refresh found changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Records were written or deleted.
    Records,
    /// Only what is known of them: health, leases, what they say they run.
    Observations,
}

/// What changed since it was counted.
#[derive(Debug, Default)]
struct Behind {
    /// Instances of which something changed.
    instances: HashSet<Key>,
    /// Whether a record was written or deleted.
    records: bool,
    /// Scopes whose config was written: all their instances are to be counted anew.
    scopes: BTreeSet<Scope>,
    /// Services of which something changed that is no instance's.
    services: BTreeSet<ServiceName>,
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
            configured: BTreeMap::new(),
            poisoned: BTreeMap::new(),
            comings: Comings::default(),
            counted: HashMap::new(),
            sums: BTreeMap::new(),
            summaries: BTreeMap::new(),
            behind: Behind::default(),
        }
    }

    /// Takes in a change below the services prefix. Returns the lease the instance had.
    pub fn apply(&mut self, change: &Change) -> Option<LeaseId> {
        let key = change.key();
        let before = self.registry.instance(key);
        let lease = before.and_then(|instance| instance.lease);
        let bad = self.registry.is_quarantined(key);
        self.registry.apply(change);
        if let Change::Delete { key, .. } = change {
            self.health.remove(key);
        }
        self.behind.instances.insert(key.clone());
        self.behind.records = true;
        if bad != self.registry.is_quarantined(key) {
            self.poison(key);
        }
        lease
    }

    /// A record became none, or one again: that is told beside the good ones.
    fn poison(&mut self, key: &Key) {
        let Some(service) = self.service_of(key) else {
            return;
        };
        let count = self.poisoned.entry(service.clone()).or_default();
        if self.registry.is_quarantined(key) {
            *count += 1;
        } else {
            *count = count.saturating_sub(1);
        }
        if *count == 0 {
            self.poisoned.remove(&service);
        }
        self.behind.services.insert(service);
    }

    /// Something was written at a key that held no instance a moment ago.
    pub fn came(&mut self, key: &Key, now: Duration) {
        if self.registry.instance(key).is_none() {
            return;
        }
        self.behind.instances.extend(self.comings.forget(now));
        self.comings.came(key, now);
        self.behind.instances.insert(key.clone());
    }

    /// When a finding may end by time alone; `None` while none does.
    pub fn calm_at(&self) -> Option<Duration> {
        self.comings.due()
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
            flaps: self.comings.of(&instance.key),
            status: self.said(instance),
            config: Some(self.newest_config(&instance.record.service)),
        }
    }

    /// Everything that is wrong with an instance, and since when.
    pub fn findings(&self, instance: &Instance, now: Duration) -> Vec<Finding> {
        let seen = self.health(&instance.key);
        let observed = Observed {
            since: seen.map(|seen| now.saturating_sub(seen.since)),
            ..self.observed(instance, now)
        };
        let mut found = finding::of_instance(instance, &observed);
        if let Some(sums) = self.sums.get(&instance.record.service) {
            found.extend(sums.addresses.findings(instance));
        }
        found
    }

    /// The instances that may have findings, by service and key. Most of a fleet has none.
    pub fn suspected(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.sums.values().flat_map(|sums| {
            let sharing = sums.addresses.sharing().map(|instance| &instance.key);
            let keys: BTreeSet<&Key> = sums.troubled.iter().chain(sharing).collect();
            keys.into_iter()
                .filter_map(|key| self.registry.instance(key))
        })
    }

    /// Takes in what an instance answered. An answer about one that left meanwhile is dropped.
    /// Returns whether anything differs from before that a person would call news.
    pub fn observe(&mut self, key: &Key, mut seen: HealthSeen) -> bool {
        if self.registry.instance(key).is_none() {
            return false;
        }
        let before = self.health.get(key);
        let same = before.is_some_and(|before| before.health == seen.health);
        if let Some(before) = before.filter(|_| same) {
            seen.since = before.since;
        }
        if !same {
            self.behind.instances.insert(key.clone());
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

    /// Has an instance counted anew.
    pub fn touch(&mut self, key: Key) {
        self.behind.instances.insert(key);
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

    /// Whether summaries are behind what is known.
    pub fn is_dirty(&self) -> bool {
        let behind = &self.behind;
        !(behind.instances.is_empty() && behind.scopes.is_empty() && behind.services.is_empty())
    }

    /// Notes who flaps no longer, where it is time.
    pub fn forget(&mut self, now: Duration) {
        if self.comings.due().is_some_and(|due| now >= due) {
            self.behind.instances.extend(self.comings.forget(now));
        }
    }

    /// Brings the summaries of changed services up to date. Returns what changed.
    pub fn refresh(&mut self, now: Duration) -> Refreshed {
        let Behind {
            mut instances,
            records,
            scopes,
            mut services,
        } = std::mem::take(&mut self.behind);
        for (name, service) in self.registry.services() {
            let reads = scopes.iter().any(|scope| match scope {
                Scope::Global => true,
                Scope::Service(of) => of == name,
            });
            if reads {
                instances.extend(service.instances().map(|instance| instance.key.clone()));
            }
        }
        for key in instances {
            self.count(&key, now, &mut services);
        }
        for name in services {
            self.summarize(name);
        }
        if records {
            Refreshed::Records
        } else {
            Refreshed::Observations
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
}

#[cfg(test)]
mod tests {
    use fleet::Entry;
    use proptest::prelude::*;

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

    /// What happens to a fleet of two services with three names each.
    fn step(directory: &mut Directory, kind: u8, at: u8, value: u8) {
        let (service, id) = (["order", "user"][usize::from(at % 2)], at / 2 % 3);
        let key = format!("/services/{service}/{id}");
        let revision = i64::from(value);
        match kind {
            0 => {
                let lease = value.is_multiple_of(2);
                let record = format!(
                    r#"{{"service":"{service}","id":"{id}","version":"{}","endpoints":["grpc://h:{}"]}}"#,
                    value % 3,
                    value % 4
                );
                let Change::Put(entry) = put(&key, &record) else {
                    return;
                };
                directory.apply(&Change::Put(Entry {
                    lease: entry.lease.filter(|_| lease),
                    create_revision: Revision(revision),
                    ..entry
                }));
            }
            1 => drop(directory.apply(&Change::Delete {
                key: key.as_str().into(),
                revision: Revision(1),
            })),
            2 => drop(directory.apply(&put(&key, "{"))),
            3 => {
                let health = Health::ALL[usize::from(value) % 5];
                directory.observe(&key.as_str().into(), seen(health, 1));
            }
            4 => {
                let status = format!(
                    r#"{{"revision":{revision},"rejected":[],"liveness":{{"alive":{}}},
                        "watch":{{"revision":1}},"written_at":"2026-11-23T13:00:00Z"}}"#,
                    !value.is_multiple_of(3)
                );
                directory.apply_status(&put(&format!("/status/{service}/{id}"), &status));
            }
            5 => directory.configure(Scope::parse(service).unwrap(), Revision(revision)),
            6 => directory.configure(Scope::Global, Revision(revision)),
            _ => drop(directory.refresh(Duration::from_secs(1))),
        }
    }

    proptest! {
        #[test]
        fn what_was_counted_bit_by_bit_is_what_is_counted_at_once(
            steps in prop::collection::vec((0u8..8, any::<u8>(), 0u8..9), 0..40),
        ) {
            let mut stepwise = Directory::new(Prefixes::default());
            let mut at_once = Directory::new(Prefixes::default());
            let now = Duration::from_secs(1);
            for (kind, at, value) in steps {
                step(&mut stepwise, kind, at, value);
                if kind < 7 {
                    step(&mut at_once, kind, at, value);
                }
            }
            stepwise.refresh(now);
            at_once.refresh(now);
            prop_assert!(!stepwise.is_dirty());
            prop_assert_eq!(&stepwise.summaries, &at_once.summaries);
            let told = |directory: &Directory| -> Vec<_> {
                let suspected = directory.suspected();
                suspected.map(|one| (one.key.clone(), directory.findings(one, now))).collect()
            };
            prop_assert_eq!(told(&stepwise), told(&at_once));
            // Who is suspected of nothing has no finding.
            let all = stepwise.registry.services().flat_map(|(_, service)| service.instances());
            let found = all.filter(|one| !stepwise.findings(one, now).is_empty()).count();
            prop_assert_eq!(found, told(&stepwise).len());
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
