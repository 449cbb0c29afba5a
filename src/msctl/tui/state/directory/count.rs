//! What each instance adds to its service, counted once and counted anew when something of it changed:
//! a change in a fleet of a hundred thousand instances costs as much as in one of ten.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use fleet::finding::{self, Addresses, Code, Severity};
use fleet::status::Taken;
use fleet::{Health, Instance, Key, ServiceName};

use super::{Directory, Summary, rank};

/// What one instance adds.
#[derive(Debug)]
pub(super) struct Counted {
    /// As it was when it was counted.
    instance: Arc<Instance>,
    health: Health,
    /// The config revision it says it runs.
    told: Option<i64>,
    behind: bool,
    /// Its findings, in the order of the rules.
    codes: Box<[(Severity, Code)]>,
}

/// What the instances of a service add up to.
#[derive(Debug, Default)]
pub(super) struct Sums {
    instances: usize,
    by_health: [usize; 5],
    versions: BTreeMap<String, usize>,
    codes: BTreeMap<(Reverse<Severity>, Code), usize>,
    told: BTreeMap<i64, usize>,
    behind: usize,
    deployed: u64,
    /// Who names which address.
    pub(super) addresses: Addresses,
    /// The instances that have findings of their own.
    pub(super) troubled: BTreeSet<Key>,
}

/// Takes one from a count, and the count away with the last.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// A number for what runs: the sum over a service differs once another process or version is there.
fn deployed(instance: &Instance) -> u64 {
    let mut hash = DefaultHasher::new();
    instance.create_revision.0.hash(&mut hash);
    instance.record.version.hash(&mut hash);
    hash.finish()
}

impl Sums {
    fn add(&mut self, counted: &Counted) {
        let instance = &counted.instance;
        self.instances += 1;
        self.by_health[rank(counted.health)] += 1;
        let version = &instance.record.version;
        match self.versions.get_mut(version) {
            Some(count) => *count += 1,
            None => drop(self.versions.insert(version.clone(), 1)),
        }
        for (severity, code) in &counted.codes {
            *self.codes.entry((Reverse(*severity), *code)).or_default() += 1;
        }
        if let Some(told) = counted.told {
            *self.told.entry(told).or_default() += 1;
        }
        self.behind += usize::from(counted.behind);
        self.deployed = self.deployed.wrapping_add(deployed(instance));
        self.addresses.add(instance);
        if !counted.codes.is_empty() {
            self.troubled.insert(instance.key.clone());
        }
    }

    fn remove(&mut self, counted: &Counted) {
        let instance = &counted.instance;
        self.instances -= 1;
        self.by_health[rank(counted.health)] -= 1;
        less(&mut self.versions, &instance.record.version);
        for (severity, code) in &counted.codes {
            less(&mut self.codes, &(Reverse(*severity), *code));
        }
        if let Some(told) = counted.told {
            less(&mut self.told, &told);
        }
        self.behind -= usize::from(counted.behind);
        self.deployed = self.deployed.wrapping_sub(deployed(instance));
        self.addresses.remove(instance);
        self.troubled.remove(&instance.key);
    }

    /// The service in one row, where it has instances: beside them records that are none, and the
    /// newest config it reads.
    fn summary(&self, poisoned: usize, newest: Taken) -> Option<Summary> {
        if self.instances == 0 {
            return None;
        }
        let mut codes = self.codes.clone();
        if poisoned > 0 {
            codes.insert((Reverse(Severity::Warning), Code::PoisonRecord), poisoned);
        }
        let mut versions: Vec<_> = self.versions.iter().map(|(v, n)| (v.clone(), *n)).collect();
        versions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.0.cmp(&a.0)));
        let count = |severity| {
            let of = codes.iter().filter(|((Reverse(of), _), _)| *of == severity);
            of.map(|(_, count)| count).sum()
        };
        // An unset leaves no key behind: who took it in is beyond the newest key.
        let newest = newest.service.max(newest.global);
        let told = self.told.keys().next_back().filter(|_| newest > 0);
        let counted = codes.iter().map(|((_, code), count)| code.counted(*count));
        let mut findings: Vec<String> = counted.collect();
        let others: usize = versions.iter().skip(1).map(|(_, count)| count).sum();
        if others > 0 {
            findings.push(format!("{others} on another version"));
        }
        Some(Summary {
            instances: self.instances,
            by_health: self.by_health,
            config: told.map(|told| ((*told).max(newest), self.behind)),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            versions,
            findings,
            deployed: self.deployed,
        })
    }
}

impl Directory {
    /// Counts an instance anew, and says whose summary that concerns.
    pub(super) fn count(
        &mut self,
        key: &Key,
        now: Duration,
        concerned: &mut BTreeSet<ServiceName>,
    ) {
        if let Some(before) = self.counted.remove(key) {
            let name = &before.instance.record.service;
            if let Some(sums) = self.sums.get_mut(name) {
                sums.remove(&before);
            }
            concerned.insert(name.clone());
        }
        let Some(instance) = self.registry.instance(key).map(Arc::clone) else {
            return;
        };
        let observed = self.observed(&instance, now);
        let status = observed.status;
        let newest = observed.config.unwrap_or_default();
        let found = finding::of_instance(&instance, &observed);
        let counted = Counted {
            health: observed.health,
            told: status.map(|status| status.revision),
            behind: status.is_some_and(|status| status.behind(&newest).is_some()),
            codes: found.iter().map(|one| (one.severity, one.code)).collect(),
            instance,
        };
        let name = &counted.instance.record.service;
        concerned.insert(name.clone());
        match self.sums.get_mut(name) {
            Some(sums) => sums.add(&counted),
            None => self.sums.entry(name.clone()).or_default().add(&counted),
        }
        self.counted.insert(key.clone(), counted);
    }

    /// Makes the summary of a service anew.
    pub(super) fn summarize(&mut self, name: ServiceName) {
        let poisoned = self.poisoned.get(&name).copied().unwrap_or(0);
        let newest = self.newest_config(&name);
        let sums = self.sums.get(&name);
        match sums.and_then(|sums| sums.summary(poisoned, newest)) {
            Some(summary) => drop(self.summaries.insert(name, summary)),
            None => {
                self.sums.remove(&name);
                self.summaries.remove(&name);
            }
        }
    }
}
