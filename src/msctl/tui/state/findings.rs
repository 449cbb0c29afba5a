//! The Doctor page: what is wrong in the whole fleet, as far as it was asked, the worst first.

use std::time::Duration;

use fleet::Key;
use fleet::filter::{Field, Row};
use fleet::finding::{self, Finding, Severity};

use super::directory::Directory;
use super::list::List;
use crate::tui::event::ClusterView;

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// An instance, or a record that cannot be read.
    Key(Key),
    /// A member of etcd.
    Member(String),
}

/// A finding and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRow {
    /// What it is about.
    pub about: About,
    /// An instance's id, the key, or `etcd m1`.
    pub subject: String,
    /// What is wrong.
    pub finding: Finding,
}

/// The page.
#[derive(Debug, Default)]
pub struct DoctorPage {
    /// The findings.
    pub list: List<(About, finding::Code, usize), (usize, FindingRow)>,
    /// Why nothing, or not all, is known of the cluster.
    pub unknown: Option<String>,
}

/// What is wrong with etcd itself, by the same rules as `msctl doctor`.
fn of_cluster(cluster: &Result<ClusterView, String>) -> Vec<FindingRow> {
    let Ok(cluster) = cluster else {
        return Vec::new();
    };
    let found = finding::of_cluster(&cluster.examined).into_iter();
    let row = |(member, finding)| FindingRow {
        subject: format!("etcd {member}"),
        about: About::Member(member),
        finding,
    };
    found.map(row).collect()
}

impl DoctorPage {
    /// Makes the rows anew where it is time.
    pub fn rebuild(
        &mut self,
        directory: &Directory,
        cluster: Option<&Result<ClusterView, String>>,
        now: Duration,
    ) -> bool {
        if !self.list.wants_build(now) {
            return false;
        }
        self.unknown = match cluster {
            None => Some("the cluster was not asked yet".into()),
            Some(Err(why)) => Some(format!("the cluster is not known: {why}")),
            Some(Ok(cluster)) => {
                let why = cluster.alarms_unknown.as_ref();
                why.map(|why| format!("alarms are not known: {why}"))
            }
        };
        let mut rows: Vec<FindingRow> = cluster.map_or_else(Vec::new, of_cluster);
        let poison = directory
            .registry
            .quarantined()
            .map(|(key, poison)| FindingRow {
                about: About::Key(key.clone()),
                subject: key
                    .to_string()
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                finding: finding::of_poison(key, poison),
            });
        rows.extend(poison);
        for instance in directory.suspected() {
            let found = directory.findings(instance, now).into_iter();
            rows.extend(found.map(|finding| FindingRow {
                about: About::Key(instance.key.clone()),
                subject: instance.record.id.to_string(),
                finding,
            }));
        }
        let total = rows.len();
        rows.retain(|row| self.list.filter().matches(row));
        rows.sort_by_key(|row| std::cmp::Reverse(row.finding.severity));
        let rows: Vec<_> = rows.into_iter().enumerate().collect();
        self.list.fill(now, rows, total, |(at, row)| {
            (row.about.clone(), row.finding.code, *at)
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
