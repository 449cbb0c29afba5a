//! A service in one row: its instances by state and version, how far its config has come, its
//! findings in a few words. Made once per change, never per draw.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use fleet::finding::{self, Code, Severity};
use fleet::{Health, ServiceName};

use super::Directory;

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

impl Directory {
    pub(super) fn summarize(&self, name: &ServiceName, now: Duration) -> Option<Summary> {
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
