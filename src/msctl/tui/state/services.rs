//! The Services page: services, the instances of the one under the cursor, and one instance in full.
//! Which rows there are and in what order; what they look like is the view's.

use std::sync::Arc;
use std::time::Duration;

use fleet::filter::{Field, Row};
use fleet::{Health, Instance, Key, ServiceName};
use jiff::Timestamp;

use super::directory::{Directory, Refreshed, Summary};
use super::list::List;
use super::table::Sort;

/// Above this many instances a service's least TTL is not asked: it would take a request for each.
pub const TTL_ASKED_UP_TO: usize = 32;

/// The columns of the services, in the order of sorting.
pub const SERVICE_COLUMNS: [&str; 6] = [
    "SERVICE", "HEALTH", "VERSION", "CONFIG", "TTL MIN", "FINDINGS",
];

/// The columns of the instances, in the order of sorting.
pub const INSTANCE_COLUMNS: [&str; 7] = [
    "INSTANCE", "ENDPOINT", "HEALTH", "LEASE", "CONFIG", "UP", "ZONE",
];

/// What has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The services.
    #[default]
    Services,
    /// The instances of the service under the cursor.
    Instances,
    /// One instance, on the whole page.
    Detail,
}

/// The page.
#[derive(Debug)]
pub struct ServicesPage {
    /// What has the focus.
    pub pane: Pane,
    /// The services that pass the filter.
    pub services: List<ServiceName, ServiceName>,
    /// The instances of [`ServicesPage::of`] that pass theirs.
    pub instances: List<Key, Arc<Instance>>,
    /// First line of the detail that shows.
    pub detail_scroll: usize,
    of: Option<ServiceName>,
}

impl Default for ServicesPage {
    fn default() -> Self {
        let mut services = List::default();
        services.table.sort = Sort {
            column: 1,
            descending: true,
        };
        Self {
            pane: Pane::Services,
            services,
            instances: List::default(),
            detail_scroll: 0,
            of: None,
        }
    }
}

impl ServicesPage {
    /// The service whose instances show.
    pub fn of(&self) -> Option<&ServiceName> {
        self.of.as_ref()
    }

    /// The instance under the cursor.
    pub fn instance(&self) -> Option<&Arc<Instance>> {
        self.instances.current()
    }

    /// Says that the fleet changed.
    pub fn outdate(&mut self, what: Refreshed) {
        self.services.outdate();
        // A health that is asked now and then reorders nothing that is in the order of its records.
        let observed = matches!(self.instances.table.sort.column, 2..=4);
        if what == Refreshed::Records || observed || !self.instances.filter().is_empty() {
            self.instances.outdate();
        }
    }

    /// Makes the rows anew where it is time.
    pub fn rebuild(&mut self, directory: &Directory, now: Duration, wall: Timestamp) -> bool {
        let mut rebuilt = false;
        if self.services.wants_build(now) {
            self.rebuild_services(directory, now);
            rebuilt = true;
        }
        let of = self
            .services
            .table
            .selected()
            .filter(|_| !self.services.rows().is_empty());
        if self.pane == Pane::Services && of != self.of.as_ref() {
            self.of = of.cloned();
            self.instances.table.restart();
            self.instances.set_filter("");
        }
        if self.instances.wants_build(now) {
            self.rebuild_instances(directory, now, wall);
            rebuilt = true;
        }
        rebuilt
    }

    fn rebuild_services(&mut self, directory: &Directory, now: Duration) {
        let filter = self.services.filter();
        let mut rows: Vec<(&ServiceName, &Summary)> = directory
            .summaries()
            .filter(|(name, summary)| {
                filter.is_empty()
                    || filter.matches(&ServiceFacts {
                        name,
                        summary,
                        directory,
                        now,
                    })
            })
            .collect();
        let Sort { column, descending } = self.services.table.sort;
        let ttl = |name| {
            directory
                .least_ttl(name, now, TTL_ASKED_UP_TO)
                .map_or(u64::MAX, |ttl| ttl as u64)
        };
        // Names are in order already, and the sorts are stable: ties stay by name.
        match column {
            1 => rows.sort_by_key(|(_, summary)| badness(summary)),
            2 => rows.sort_by(|a, b| a.1.versions.first().cmp(&b.1.versions.first())),
            3 => rows.sort_by_key(|(_, summary)| summary.config),
            4 => rows.sort_by_cached_key(|(name, _)| ttl(name)),
            5 => rows.sort_by_key(|(_, summary)| summary.findings.len()),
            _ => {}
        }
        if descending {
            reverse_by_groups(
                &mut rows,
                |(_, summary)| match column {
                    1 => badness(summary),
                    5 => summary.findings.len(),
                    _ => 0,
                },
                matches!(column, 1 | 5),
            );
        }
        let rows = rows.into_iter().map(|(name, _)| name.clone()).collect();
        self.services
            .fill(now, rows, directory.summaries().len(), Clone::clone);
    }

    fn rebuild_instances(&mut self, directory: &Directory, now: Duration, wall: Timestamp) {
        let service = self
            .of
            .as_ref()
            .and_then(|of| directory.registry.service(of.as_str()));
        let Some(service) = service else {
            self.instances
                .fill(now, Vec::new(), 0, |instance| instance.key.clone());
            return;
        };
        let filter = self.instances.filter();
        let passes = |instance: &Arc<Instance>| {
            filter.is_empty()
                || filter.matches(&InstanceFacts {
                    instance,
                    directory,
                    now,
                    wall,
                })
        };
        let mut rows: Vec<Arc<Instance>> = if self.instances.narrows() {
            // In their order already; a sort of what is sorted costs little.
            self.instances
                .rows()
                .iter()
                .filter(|instance| passes(instance))
                .cloned()
                .collect()
        } else {
            service
                .instances()
                .filter(|instance| passes(instance))
                .cloned()
                .collect()
        };
        let Sort { column, descending } = self.instances.table.sort;
        match column {
            1 => rows.sort_by_cached_key(|i| i.record.endpoints.first().map(ToString::to_string)),
            2 => rows.sort_by_cached_key(|i| directory.state_of(&i.key)),
            3 => rows.sort_by_cached_key(|i| {
                i.lease
                    .and_then(|id| directory.lease(id)?.left(now))
                    .map(|left| left as u64)
            }),
            4 => rows.sort_by_cached_key(|i| directory.status(i).map(|status| status.revision)),
            5 => rows.sort_by_key(|i| std::cmp::Reverse(i.record.started_at)),
            6 => rows.sort_by(|a, b| a.record.zone().cmp(&b.record.zone())),
            _ => {}
        }
        // Rows that are only fewer stand in their order, unless a sort has just turned them round.
        if descending && (column != 0 || !self.instances.narrows()) {
            rows.reverse();
        }
        self.instances
            .fill(now, rows, service.len(), |instance| instance.key.clone());
    }
}

/// Greatest first, while equals stay in their order.
fn reverse_by_groups<T, K: Ord>(rows: &mut [T], key: impl Fn(&T) -> K, grouped: bool) {
    if grouped {
        rows.sort_by_key(|row| std::cmp::Reverse(key(row)));
    } else {
        rows.reverse();
    }
}

fn badness(summary: &Summary) -> usize {
    // What hurts outweighs any number of things that merely will.
    summary
        .errors
        .saturating_mul(1 << 20)
        .saturating_add(summary.warnings)
}

/// The word a filter finds a state by. `serving` must not find those that are not.
fn health_word(health: Health) -> &'static str {
    match health {
        Health::NotServing => "draining",
        other => other.word(),
    }
}

fn names_state(health: Health, word: &str) -> bool {
    health_word(health).contains(word) || (health == Health::NotServing && word.starts_with("not"))
}

/// Whether a text contains a lower-case word; most names are in lower case already.
fn contains(text: &str, word: &str) -> bool {
    text.contains(word)
        || (text
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || byte >= 0x80)
            && text.to_lowercase().contains(word))
}

struct ServiceFacts<'a> {
    name: &'a ServiceName,
    summary: &'a Summary,
    directory: &'a Directory,
    now: Duration,
}

impl Row for ServiceFacts<'_> {
    fn contains(&self, word: &str) -> bool {
        let summary = self.summary;
        contains(self.name.as_str(), word)
            || summary
                .versions
                .iter()
                .any(|(version, _)| contains(version, word))
            || match summary.worst() {
                Health::Serving => health_word(Health::Serving).contains(word),
                _ => Health::ALL.iter().any(|health| {
                    *health != Health::Serving
                        && summary.count(*health) > 0
                        && names_state(*health, word)
                }),
            }
            || (word != "serving"
                && summary
                    .findings
                    .iter()
                    .any(|finding| contains(finding, word)))
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        Some(match name {
            "ttl" => Field::Number(self.directory.least_ttl(
                self.name,
                self.now,
                TTL_ASKED_UP_TO,
            )?),
            "instances" => Field::Number(self.summary.instances as f64),
            "findings" => Field::Number(self.summary.findings.len() as f64),
            "config" => Field::Number(self.summary.config?.0 as f64),
            "version" => Field::Text(&self.summary.versions.first()?.0),
            "service" => Field::Text(self.name.as_str()),
            "health" => Field::Text(self.summary.worst().word()),
            _ => return None,
        })
    }
}

struct InstanceFacts<'a> {
    instance: &'a Instance,
    directory: &'a Directory,
    now: Duration,
    wall: Timestamp,
}

impl Row for InstanceFacts<'_> {
    fn contains(&self, word: &str) -> bool {
        let record = &self.instance.record;
        contains(record.id.as_str(), word)
            || contains(&record.version, word)
            || record
                .endpoints
                .iter()
                .any(|endpoint| contains(&endpoint.address, word))
            || record.metadata.values().any(|value| contains(value, word))
            || names_state(self.directory.state_of(&self.instance.key), word)
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        let record = &self.instance.record;
        Some(match name {
            "ttl" => Field::Number(self.directory.lease(self.instance.lease?)?.left(self.now)?),
            "weight" => Field::Number(f64::from(record.weight)),
            "up" => Field::Number(self.wall.duration_since(record.started_at?).as_secs_f64()),
            "config" => Field::Number(self.directory.status(self.instance)?.revision as f64),
            "version" => Field::Text(&record.version),
            "id" | "instance" => Field::Text(record.id.as_str()),
            "health" => Field::Text(self.directory.state_of(&self.instance.key).word()),
            other => Field::Text(record.metadata.get(other)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use fleet::{Change, Entry, LeaseId, Prefixes, Revision};

    use super::super::directory::HealthSeen;
    use super::*;

    fn directory(instances: &[(&str, &str, Health)]) -> Directory {
        let mut directory = Directory::new(Prefixes::default());
        for (service, id, health) in instances {
            let key = Key::from(format!("/services/{service}/{id}"));
            let value = format!(
                r#"{{"service":"{service}","id":"{id}","version":"1.4.2","metadata":{{"zone":"a"}}}}"#
            );
            directory.apply(&Change::Put(Entry {
                key: key.clone(),
                value: value.into_bytes().into(),
                create_revision: Revision(1),
                mod_revision: Revision(1),
                version: 1,
                lease: LeaseId::new(7),
            }));
            let at = Duration::ZERO;
            directory.observe(
                &key,
                HealthSeen {
                    health: *health,
                    detail: String::new(),
                    latency: None,
                    at,
                    since: at,
                },
            );
        }
        directory.refresh(Duration::ZERO);
        directory
    }

    fn services(directory: &Directory, filter: &str) -> Vec<String> {
        let mut page = ServicesPage::default();
        page.services.set_filter(filter);
        page.rebuild(directory, Duration::ZERO, Timestamp::UNIX_EPOCH);
        page.services
            .rows()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_worst_service_comes_first_and_serving_ones_can_be_hidden() {
        let fleet = directory(&[
            ("audit", "a-1", Health::Serving),
            ("order", "o-1", Health::Serving),
            ("order", "o-2", Health::Hung),
            ("user", "u-1", Health::NotServing),
            ("wire", "w-1", Health::Unknown),
        ]);
        assert_eq!(services(&fleet, ""), ["order", "user", "audit", "wire"]);
        assert_eq!(services(&fleet, "!serving"), ["order", "user", "wire"]);
        assert_eq!(services(&fleet, "hung"), ["order"]);
        assert_eq!(services(&fleet, "instances>1"), ["order"]);
    }

    #[test]
    fn instances_are_found_by_word_field_and_state() {
        let fleet = directory(&[
            ("order", "o-1", Health::Serving),
            ("order", "O-2", Health::Hung),
            ("order", "o-3", Health::NotServing),
        ]);
        let mut page = ServicesPage::default();
        page.rebuild(&fleet, Duration::ZERO, Timestamp::UNIX_EPOCH);
        for (filter, ids) in [
            ("", vec!["O-2", "o-1", "o-3"]),
            ("o-2", vec!["O-2"]),
            ("!serving", vec!["O-2", "o-3"]),
            ("not", vec!["o-3"]),
            ("zone=a version=1.4.2 !hung", vec!["o-1", "o-3"]),
            ("zone=b", vec![]),
        ] {
            page.instances.set_filter(filter);
            page.rebuild(&fleet, Duration::ZERO, Timestamp::UNIX_EPOCH);
            let found: Vec<_> = page
                .instances
                .rows()
                .iter()
                .map(|i| i.record.id.to_string())
                .collect();
            assert_eq!(found, ids, "{filter}");
        }
    }
}
