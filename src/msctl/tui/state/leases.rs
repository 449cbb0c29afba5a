//! The Leases page: every lease that etcd lists or a record names, the time it has, its keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet::filter::{Field, Row};
use fleet::{Instance, LeaseId};

use super::directory::{Directory, LeaseSeen};
use super::list::List;
use super::table::Sort;

/// The columns, in the order of sorting.
pub const COLUMNS: [&str; 5] = ["LEASE", "SERVICE", "INSTANCE", "GRANTED", "LEFT"];

/// A lease and the instance that lives by it.
#[derive(Clone, Debug)]
pub struct LeaseRow {
    /// The lease.
    pub id: LeaseId,
    /// The first instance whose record has it.
    pub instance: Option<Arc<Instance>>,
}

/// The page.
#[derive(Debug, Default)]
pub struct LeasesPage {
    /// The leases.
    pub list: List<LeaseId, LeaseRow>,
    /// What etcd listed, and when.
    pub listed: BTreeSet<LeaseId>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

impl LeasesPage {
    /// Takes in etcd's list.
    pub fn take(&mut self, listed: Result<Vec<LeaseId>, String>) {
        match listed {
            Ok(ids) => {
                self.listed = ids.into_iter().collect();
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
        self.list.outdate_now();
    }

    /// Makes the rows anew where it is time.
    pub fn rebuild(&mut self, directory: &Directory, now: Duration) -> bool {
        if !self.list.wants_build(now) {
            return false;
        }
        let mut rows: BTreeMap<LeaseId, Option<Arc<Instance>>> =
            self.listed.iter().map(|id| (*id, None)).collect();
        for (_, service) in directory.registry.services() {
            for instance in service.instances() {
                if let Some(id) = instance.lease {
                    rows.entry(id)
                        .or_default()
                        .get_or_insert_with(|| Arc::clone(instance));
                }
            }
        }
        let total = rows.len();
        let filter = self.list.filter();
        let mut rows: Vec<LeaseRow> = rows
            .into_iter()
            .map(|(id, instance)| LeaseRow { id, instance })
            .filter(|row| {
                filter.is_empty()
                    || filter.matches(&Facts {
                        row,
                        directory,
                        now,
                    })
            })
            .collect();
        let Sort { column, descending } = self.list.table.sort;
        match column {
            1 => rows.sort_by(|a, b| service(a).cmp(&service(b))),
            2 => rows.sort_by(|a, b| instance(a).cmp(&instance(b))),
            3 => rows.sort_by_cached_key(|row| directory.lease(row.id).map(|seen| seen.granted)),
            4 => rows.sort_by_cached_key(|row| {
                directory
                    .lease(row.id)
                    .and_then(|seen| seen.left(now))
                    .map(|left| left as u64)
            }),
            _ => {}
        }
        if descending {
            rows.reverse();
        }
        self.list.fill(now, rows, total, |row| row.id);
        true
    }
}

fn service(row: &LeaseRow) -> Option<&str> {
    row.instance
        .as_ref()
        .map(|instance| instance.record.service.as_str())
}

fn instance(row: &LeaseRow) -> Option<&str> {
    row.instance
        .as_ref()
        .map(|instance| instance.record.id.as_str())
}

struct Facts<'a> {
    row: &'a LeaseRow,
    directory: &'a Directory,
    now: Duration,
}

impl Facts<'_> {
    fn seen(&self) -> Option<&LeaseSeen> {
        self.directory.lease(self.row.id)
    }
}

impl Row for Facts<'_> {
    fn contains(&self, word: &str) -> bool {
        self.row.id.to_string().contains(word)
            || [service(self.row), instance(self.row)]
                .into_iter()
                .flatten()
                .any(|text| text.to_lowercase().contains(word))
            || self
                .seen()
                .and_then(|seen| seen.keys.as_ref())
                .is_some_and(|keys| {
                    keys.iter()
                        .any(|key| key.to_string().to_lowercase().contains(word))
                })
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        match name {
            "ttl" | "left" => self.seen()?.left(self.now).map(Field::Number),
            "granted" => Some(Field::Number(self.seen()?.granted as f64)),
            "keys" => Some(Field::Number(self.seen()?.keys.as_ref()?.len() as f64)),
            "service" => service(self.row).map(Field::Text),
            _ => None,
        }
    }
}
