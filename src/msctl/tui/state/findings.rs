//! The Doctor page: what is wrong in the whole fleet, as far as it was asked, the worst first.

use std::time::Duration;

use fleet::filter::{Field, Row};
use fleet::finding::{self, Finding, Observed, Severity};
use fleet::{Instance, Key};

use super::directory::Directory;
use super::list::List;

/// A finding and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRow {
    /// The key of the instance, or of the record that cannot be read.
    pub key: Key,
    /// Its id, or the key.
    pub subject: String,
    /// What is wrong.
    pub finding: Finding,
}

/// The page.
#[derive(Debug, Default)]
pub struct DoctorPage {
    /// The findings.
    pub list: List<(Key, finding::Code, usize), (usize, FindingRow)>,
}

/// What is known of an instance, as findings want it.
pub fn of_instance(directory: &Directory, instance: &Instance, now: Duration) -> Vec<Finding> {
    let seen = directory.health(&instance.key);
    let observed = Observed {
        since: seen.map(|seen| now.saturating_sub(seen.since)),
        ..directory.observed(instance, now)
    };
    let mut found = finding::of_instance(instance, &observed);
    found.extend(directory.shared(&instance.key).cloned());
    found
}

impl DoctorPage {
    /// Makes the rows anew where it is time.
    pub fn rebuild(&mut self, directory: &Directory, now: Duration) -> bool {
        if !self.list.wants_build(now) {
            return false;
        }
        let mut rows: Vec<FindingRow> = directory
            .registry
            .quarantined()
            .map(|(key, poison)| FindingRow {
                key: key.clone(),
                subject: key
                    .to_string()
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                finding: finding::of_poison(key, poison),
            })
            .collect();
        for (_, service) in directory.registry.services() {
            for instance in service.instances() {
                rows.extend(
                    of_instance(directory, instance, now)
                        .into_iter()
                        .map(|finding| FindingRow {
                            key: instance.key.clone(),
                            subject: instance.record.id.to_string(),
                            finding,
                        }),
                );
            }
        }
        let total = rows.len();
        rows.retain(|row| self.list.filter().matches(row));
        rows.sort_by_key(|row| std::cmp::Reverse(row.finding.severity));
        let rows: Vec<_> = rows.into_iter().enumerate().collect();
        self.list.fill(now, rows, total, |(at, row)| {
            (row.key.clone(), row.finding.code, *at)
        });
        true
    }

    /// How many errors and warnings there are among the rows.
    pub fn counts(&self) -> (usize, usize) {
        let count = |severity| {
            self.list
                .rows()
                .iter()
                .filter(|(_, row)| row.finding.severity == severity)
                .count()
        };
        (count(Severity::Error), count(Severity::Warning))
    }
}

impl Row for FindingRow {
    fn contains(&self, word: &str) -> bool {
        self.subject.to_lowercase().contains(word)
            || self.finding.code.word().contains(word)
            || self.finding.message.to_lowercase().contains(word)
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        match name {
            "code" => Some(Field::Text(self.finding.code.word())),
            _ => None,
        }
    }
}
