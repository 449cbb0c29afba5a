//! What is known of the fleet: the registry as etcd has it, and what was asked of instances and
//! leases since. Each observation carries the time it was made, and nothing here guesses: what was
//! not asked is unknown. Times are since the console started.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use fleet::config::{ConfigKey, Scope};
use fleet::finding::{self, Code, Finding, Observed, Severity, Ttl};
use fleet::rollout::tally::Tally;
use fleet::rollout::{self, Rollout};
use fleet::status::{StatusRecord, Taken};
use fleet::{
    Change, Health, Instance, InstanceId, Key, LeaseId, Prefixes, Registry, Revision, ServiceName,
};

/// What an instance answered when it was asked for its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSeen {
    /// The answer.
    pub health: Health,
    /// What was said beside it, or why there was no answer.
    pub detail: String,
    /// How long the answer took.
    pub latency: Option<Duration>,
    /// When it was asked last.
    pub at: Duration,
    /// Since when the answer has been the same.
    pub since: Duration,
}

/// For so long a lease's time is counted down from etcd's last answer. Its holder keeps it alive all
/// the while, so a number counted further would show a lease as ending that is not.
const TRUSTED: Duration = Duration::from_secs(6);

/// What etcd said of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Seconds it was granted for.
    pub granted: i64,
    /// Seconds left when etcd was asked; `None`: there is no such lease any longer.
    pub ttl: Option<i64>,
    /// When it was asked.
    pub at: Duration,
    /// The keys it takes with it, where they were asked for.
    pub keys: Option<Vec<Key>>,
}

impl LeaseSeen {
    /// Whether less than a quarter of it was left: it was not renewed when it should have been.
    fn runs_out(&self) -> bool {
        self.ttl.is_some_and(|ttl| ttl * 4 < self.granted)
    }

    /// Seconds left now, if nobody has kept it alive since it was asked. `None` where that was too
    /// long ago to tell, or there is no such lease.
    pub fn left(&self, now: Duration) -> Option<f64> {
        let ttl = self.ttl?;
        let since = now.saturating_sub(self.at);
        (since <= TRUSTED).then(|| (ttl as f64 - since.as_secs_f64()).max(0.0))
    }
}

/// What is true of a service as a whole; made once per change, not per draw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// How many instances are registered.
    pub instances: usize,
    /// How many there are of each [`Health::ALL`].
    pub by_health: [usize; 5],
    /// Versions with their number of instances, the commonest first.
    pub versions: Vec<(String, usize)>,
    /// The newest revision of the config it reads, and how many instances say that they have not
    /// taken it in; absent where etcd holds none, or no instance says what it runs.
    pub config: Option<(i64, usize)>,
    /// How many findings there are that hurt, and that will.
    pub errors: usize,
    /// See [`Summary::errors`].
    pub warnings: usize,
    /// Findings in a few words, the worst first.
    pub findings: Vec<String>,
    /// Another number once other processes or versions are registered.
    pub deployed: u64,
}

impl Summary {
    /// How many are in this state.
    pub fn count(&self, health: Health) -> usize {
        self.by_health[rank(health)]
    }

    /// The worst state any instance is in; unknown counts as good news.
    pub fn worst(&self) -> Health {
        [
            Health::Unreachable,
            Health::Hung,
            Health::NotServing,
            Health::Serving,
        ]
        .into_iter()
        .find(|health| self.count(*health) > 0)
        .unwrap_or(Health::Unknown)
    }
}

/// The place of a state in [`Health::ALL`].
pub fn rank(health: Health) -> usize {
    Health::ALL
        .iter()
        .position(|known| *known == health)
        .unwrap_or(4)
}

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

    /// The newest config keys that a service reads.
    pub fn newest_config(&self, service: &ServiceName) -> Taken {
        let of = |scope: &Scope| self.configured.get(scope).map_or(0, |revision| revision.0);
        Taken {
            service: of(&Scope::Service(service.clone())),
            global: of(&Scope::Global),
        }
    }

    /// A config key of a scope was written.
    pub fn configure(&mut self, scope: Scope, revision: Revision) {
        match &scope {
            Scope::Service(service) => drop(self.dirty.insert(service.clone())),
            Scope::Global => {
                let all = self.registry.services().map(|(name, _)| name.clone());
                self.dirty.extend(all);
            }
        }
        let newest = self.configured.entry(scope).or_default();
        *newest = (*newest).max(revision);
    }

    /// What is wrong with the address of an instance: another one names it too.
    pub fn shared(&self, key: &Key) -> impl Iterator<Item = &Finding> {
        self.shared.get(key).into_iter().flatten()
    }

    /// Takes in a change below the status prefix. A record that cannot be read counts as none.
    pub fn apply_status(&mut self, change: &Change) {
        let Some(name) = self.prefixes.status.strip(change.key()) else {
            return;
        };
        let record = match change {
            Change::Put(entry) => StatusRecord::from_json(&entry.value).ok(),
            Change::Delete { .. } => None,
        };
        match record {
            Some(record) => self.status.insert(name.into(), Arc::new(record)),
            None => self.status.remove(name),
        };
        if let Some((service, _)) = self.prefixes.of_status(change.key()) {
            self.dirty.insert(service);
        }
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

    /// What an instance says of itself.
    pub fn status(&self, instance: &Instance) -> Option<&Arc<StatusRecord>> {
        let record = &instance.record;
        let name = format!("{}/{}", record.service, record.id);
        self.status.get(name.as_bytes())
    }

    /// The instances that read a scope's config.
    fn readers(&self, scope: &Scope) -> impl Iterator<Item = &Instance> {
        let services = self.registry.services().filter(|(name, _)| match scope {
            Scope::Global => true,
            Scope::Service(service) => service == *name,
        });
        services.flat_map(|(_, service)| service.instances().map(|instance| &**instance))
    }

    /// Who of a scope runs what, for all its keys.
    pub fn tally(&self, scope: &Scope) -> Tally {
        Tally::of(self.readers(scope), |instance| self.said(instance))
    }

    /// The running instances of a service that have these names.
    pub fn instances_named<'a>(
        &'a self,
        service: &ServiceName,
        names: &'a [InstanceId],
    ) -> impl Iterator<Item = &'a Arc<Instance>> {
        let service = self.registry.service(service.as_str());
        let all = service.into_iter().flat_map(|service| service.instances());
        all.filter(|instance| names.contains(&instance.record.id))
    }

    /// How far a change of these keys of a scope has come, with all its instances or with some.
    pub fn rollout(
        &self,
        scope: &Scope,
        changes: &[(ConfigKey, Revision)],
        only: Option<&[InstanceId]>,
    ) -> Rollout {
        let reached =
            |instance: &&Instance| only.is_none_or(|names| names.contains(&instance.record.id));
        let readers = self.readers(scope).filter(reached);
        rollout::rollout(changes, readers, |instance| self.said(instance))
    }

    fn said(&self, instance: &Instance) -> Option<&StatusRecord> {
        self.status(instance).map(|status| &**status)
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

    fn summarize(&self, name: &ServiceName, now: Duration) -> Option<Summary> {
        let service = self.registry.service(name.as_str())?;
        let mut summary = Summary {
            instances: service.len(),
            ..Summary::default()
        };
        let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
        let newest = self.newest_config(name);
        let mut behind = 0;
        let mut told: Option<i64> = None;
        let mut deployed = DefaultHasher::new();
        let mut codes: BTreeMap<(Reverse<Severity>, Code), usize> = BTreeMap::new();
        if let Some(poisoned) = self.poisoned.get(name) {
            codes.insert((Reverse(Severity::Warning), Code::PoisonRecord), *poisoned);
        }
        for instance in service.instances() {
            instance.create_revision.0.hash(&mut deployed);
            instance.record.version.hash(&mut deployed);
            summary.by_health[rank(self.state_of(&instance.key))] += 1;
            *versions.entry(&instance.record.version).or_default() += 1;
            let status = self.status(instance);
            for found in finding::of_instance(instance, &self.observed(instance, now)) {
                *codes
                    .entry((Reverse(found.severity), found.code))
                    .or_default() += 1;
            }
            if let Some(status) = status {
                told = told.max(Some(status.revision));
                behind += usize::from(status.behind(&newest).is_some());
            }
        }
        // An unset leaves no key behind: who took it in is beyond the newest key.
        let newest = newest.service.max(newest.global);
        summary.config = told
            .filter(|_| newest > 0)
            .map(|told| (told.max(newest), behind));
        summary.versions = versions
            .into_iter()
            .map(|(v, n)| (v.to_owned(), n))
            .collect();
        summary
            .versions
            .sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.0.cmp(&a.0)));
        let count = |severity| {
            codes
                .iter()
                .filter(move |((Reverse(of), _), _)| *of == severity)
                .map(|(_, count)| count)
                .sum()
        };
        summary.errors = count(Severity::Error);
        summary.warnings = count(Severity::Warning);
        let counted = codes.iter().map(|((_, code), count)| code.counted(*count));
        summary.findings = counted.collect();
        let others: usize = summary
            .versions
            .iter()
            .skip(1)
            .map(|(_, count)| count)
            .sum();
        if others > 0 {
            summary
                .findings
                .push(format!("{others} on another version"));
        }
        summary.deployed = deployed.finish();
        Some(summary)
    }
}

/// How far etcd's word reaches.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Freshness {
    /// The first list has not come.
    #[default]
    Loading,
    /// Proved to be the truth.
    Fresh {
        /// When it was proved last.
        at: Duration,
    },
    /// Held from before, perhaps no longer true.
    Stale {
        /// Since when.
        since: Duration,
        /// Why.
        cause: String,
    },
}

/// One mirrored prefix: how fresh it is and up to which revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// How fresh.
    pub freshness: Freshness,
    /// The newest revision seen.
    pub revision: Revision,
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

    #[test]
    fn a_lease_runs_down_between_two_answers_and_is_not_guessed_for_long() {
        let lease = LeaseSeen {
            granted: 10,
            ttl: Some(7),
            at: Duration::from_secs(100),
            keys: None,
        };
        assert_eq!(lease.left(Duration::from_secs(102)), Some(5.0));
        let short = LeaseSeen {
            ttl: Some(1),
            ..lease.clone()
        };
        assert_eq!(short.left(Duration::from_secs(104)), Some(0.0));
        assert_eq!(lease.left(Duration::from_secs(200)), None);
        assert_eq!(
            LeaseSeen { ttl: None, ..lease }.left(Duration::from_secs(100)),
            None
        );
    }
}
