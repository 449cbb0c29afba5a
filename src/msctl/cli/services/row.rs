//! One instance as `services` prints it: the JSON that scripts rely on, and table cells.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::finding::{self, Flaps, age};
use fleet::{Endpoint, Finding, Health, Instance, Key, LeaseId, Poison, Severity};
use serde::{Serialize, Serializer};

use super::gather::Asked;
use crate::report::{Cell, Table, Tone};

/// Headings of the table of instances.
pub(super) const TITLES: [&str; 8] = [
    "INSTANCE", "ENDPOINT", "HEALTH", ">TTL", "VERSION", "UP", "ZONE", "FINDINGS",
];

/// The stable JSON form of an instance. A key that holds no instance is a row too, with its finding
/// and without names.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceRow<'a> {
    service: Option<&'a str>,
    instance: Option<&'a str>,
    format: Option<fleet::Format>,
    #[serde(serialize_with = "key_text")]
    key: &'a Key,
    version: &'a str,
    weight: Option<u32>,
    #[serde(serialize_with = "endpoint_rows")]
    endpoints: &'a [Endpoint],
    metadata: &'a BTreeMap<String, String>,
    lease: Option<LeaseRow>,
    health: HealthRow,
    findings: Vec<FindingRow>,
    #[serde(skip)]
    started_at: Option<jiff::Timestamp>,
    #[serde(skip)]
    latency: Option<Duration>,
}

#[derive(Debug, Serialize)]
struct EndpointRow<'a> {
    protocol: &'a str,
    address: &'a str,
    secure: bool,
}

#[derive(Debug, Serialize)]
struct LeaseRow {
    #[serde(serialize_with = "shown")]
    id: LeaseId,
    granted: Option<i64>,
    ttl: Option<i64>,
}

#[derive(Debug, Serialize)]
struct HealthRow {
    #[serde(serialize_with = "health_word")]
    status: Health,
    detail: String,
}

#[derive(Debug, Serialize)]
struct FindingRow {
    code: &'static str,
    severity: Severity,
    message: String,
}

fn key_text<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    match key.as_str() {
        Some(text) => serializer.serialize_str(text),
        None => serializer.collect_str(key),
    }
}

fn shown<S: Serializer>(id: &LeaseId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn endpoint_rows<S: Serializer>(endpoints: &[Endpoint], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(endpoints.iter().map(|endpoint| EndpointRow {
        protocol: &endpoint.protocol,
        address: &endpoint.address,
        secure: endpoint.secure,
    }))
}

fn health_word<S: Serializer>(health: &Health, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(health.word())
}

impl From<Finding> for FindingRow {
    fn from(finding: Finding) -> Self {
        Self {
            code: finding.code.word(),
            severity: finding.severity,
            message: finding.message,
        }
    }
}

/// A key that holds no instance has none.
static NO_METADATA: BTreeMap<String, String> = BTreeMap::new();

impl<'a> InstanceRow<'a> {
    /// An instance with what was found out about it.
    pub(super) fn of(instance: &'a Instance, asked: &Asked, flaps: Option<Flaps>) -> Self {
        let record = &instance.record;
        let verdict = asked.verdict(instance);
        let info = asked.lease(instance);
        Self {
            service: Some(record.service.as_str()),
            instance: Some(record.id.as_str()),
            format: Some(instance.format),
            key: &instance.key,
            version: &record.version,
            weight: Some(record.weight),
            endpoints: &record.endpoints,
            metadata: &record.metadata,
            lease: instance.lease.map(|id| LeaseRow {
                id,
                granted: info.map(|info| info.granted),
                ttl: info.and_then(|info| info.ttl),
            }),
            findings: asked
                .findings(instance, flaps)
                .into_iter()
                .map(FindingRow::from)
                .collect(),
            health: HealthRow {
                status: verdict.health,
                detail: verdict.detail,
            },
            started_at: record.started_at,
            latency: verdict.latency,
        }
    }

    /// A key under the services prefix that holds no instance.
    pub(super) fn of_poison(service: Option<&'a str>, key: &'a Key, poison: &Poison) -> Self {
        Self {
            service,
            instance: None,
            format: None,
            key,
            version: "",
            weight: None,
            endpoints: &[],
            metadata: &NO_METADATA,
            lease: poison.lease.map(|id| LeaseRow {
                id,
                granted: None,
                ttl: None,
            }),
            health: HealthRow {
                status: Health::Unknown,
                detail: "it holds no instance".into(),
            },
            findings: vec![finding::of_poison(key, poison).into()],
            started_at: None,
            latency: None,
        }
    }

    /// The row of the table of instances.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let up = self.started_at.map_or_else(String::new, |started| {
            let since = jiff::Timestamp::now().duration_since(started);
            Duration::try_from(since).map_or_else(|_| String::new(), age)
        });
        vec![
            self.instance.map_or_else(
                || Cell::new(self.key.to_string(), Tone::Bad),
                |instance| instance.into(),
            ),
            self.endpoints.first().map_or("", |e| &*e.address).into(),
            self.health_cell(),
            self.ttl_cell(),
            self.version.into(),
            up.into(),
            self.metadata.get("zone").map_or("", String::as_str).into(),
            self.findings_cell(),
        ]
    }

    fn health_cell(&self) -> Cell {
        let health = self.health.status;
        let latency = self
            .latency
            .map_or_else(String::new, |latency| match latency.as_millis() {
                0 => " <1ms".to_owned(),
                millis => format!(" {millis}ms"),
            });
        Cell::new(format!("{} {health}", health.glyph()), tone(health)).with(latency, Tone::Dim)
    }

    fn ttl_cell(&self) -> Cell {
        match &self.lease {
            None => Cell::new("no lease", Tone::Warn),
            Some(LeaseRow {
                ttl: Some(ttl),
                granted: Some(granted),
                ..
            }) => format!("{ttl}/{granted}s").into(),
            Some(LeaseRow {
                granted: Some(_), ..
            }) => Cell::new("expired", Tone::Bad),
            Some(_) => Cell::new("?", Tone::Dim),
        }
    }

    fn findings_cell(&self) -> Cell {
        let mut cell = Cell::default();
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                cell = cell.with(" · ", Tone::Dim);
            }
            cell = cell.with(&finding.message, severity_tone(finding.severity));
        }
        cell
    }
}

/// The table with one line a service.
pub(super) fn by_service(rows: &[InstanceRow<'_>]) -> Table {
    let mut table = Table::new(&["SERVICE", "HEALTH", "VERSION", ">TTL MIN", "FINDINGS"]);
    let instances: Vec<&InstanceRow<'_>> =
        rows.iter().filter(|row| row.instance.is_some()).collect();
    for group in instances.chunk_by(|a, b| a.service == b.service) {
        let service = group.first().and_then(|row| row.service).unwrap_or("");
        let versions = super::tally(
            group
                .iter()
                .map(|row| row.version)
                .filter(|v| !v.is_empty()),
        );
        let ttl = group.iter().filter_map(|row| row.lease.as_ref()?.ttl).min();
        table.push(vec![
            service.into(),
            health_bar(group),
            versions.into(),
            ttl.map_or_else(Cell::default, |ttl| format!("{ttl}s").into()),
            findings_of(group),
        ]);
    }
    table
}

/// `5/6 ●●●●●⧗`, the worst last; beyond a dozen instances the counts alone.
fn health_bar(group: &[&InstanceRow<'_>]) -> Cell {
    let count = |health| {
        group
            .iter()
            .filter(|row| row.health.status == health)
            .count()
    };
    let mut cell = if count(Health::Unknown) == group.len() {
        Cell::new(format!("?/{} ", group.len()), Tone::Plain)
    } else {
        Cell::new(
            format!("{}/{} ", count(Health::Serving), group.len()),
            Tone::Plain,
        )
    };
    for health in Health::ALL {
        let glyph = health.glyph();
        match count(health) {
            0 => {}
            n if group.len() <= 12 => cell = cell.with(glyph.to_string().repeat(n), tone(health)),
            n => cell = cell.with(format!("{glyph}{n} "), tone(health)),
        }
    }
    cell
}

/// The findings of one service: each named while they are few, counted when they are many.
fn findings_of(group: &[&InstanceRow<'_>]) -> Cell {
    let all: Vec<(&str, &FindingRow)> = group
        .iter()
        .flat_map(|row| {
            let instance = row.instance.unwrap_or("");
            row.findings.iter().map(move |finding| (instance, finding))
        })
        .collect();
    let mut cell = Cell::default();
    if all.len() <= 2 {
        for (index, (instance, finding)) in all.iter().enumerate() {
            if index > 0 {
                cell = cell.with(" · ", Tone::Dim);
            }
            cell = cell
                .with(format!("{instance} "), Tone::Plain)
                .with(&finding.message, severity_tone(finding.severity));
        }
        return cell;
    }
    let mut counts: BTreeMap<&str, (usize, Severity)> = BTreeMap::new();
    for (_, finding) in &all {
        counts
            .entry(finding.code)
            .or_insert((0, finding.severity))
            .0 += 1;
    }
    for (index, (code, (count, severity))) in counts.into_iter().enumerate() {
        if index > 0 {
            cell = cell.with(" · ", Tone::Dim);
        }
        cell = cell.with(
            format!("{count} {}", code.replace('_', " ")),
            severity_tone(severity),
        );
    }
    cell
}

fn tone(health: Health) -> Tone {
    match health {
        Health::Serving => Tone::Good,
        Health::NotServing | Health::Hung => Tone::Warn,
        Health::Unreachable => Tone::Bad,
        Health::Unknown => Tone::Dim,
    }
}

fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Info => Tone::Dim,
        Severity::Warning => Tone::Warn,
        Severity::Error => Tone::Bad,
    }
}
