//! `msctl doctor`: what is wrong in the whole fleet, each finding with its evidence and the next
//! step. What was not asked is said; nothing is called well that was not looked at.

use std::collections::BTreeMap;
use std::time::Instant;

use fleet::finding::{self, Finding, Severity};
use fleet::{Key, Registry};
use serde::Serialize;
use serde_json::json;

use super::cluster;
use super::services::{Asking, When, gather};
use crate::report::{Failure, Format, Kind, Palette, Report, Tone};
use crate::session::Session;

/// Beyond so many findings a person is given counts.
const SHOWN: usize = 100;

/// Show what is wrong in the fleet, and what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits 1 when one of the findings is an error.

Examples:
  msctl doctor
  msctl doctor -o json | jq '.findings[] | select(.severity == \"error\")'
  msctl doctor --probe never                 without asking the instances themselves")]
pub struct Doctor {
    #[command(flatten)]
    asking: Asking,
}

/// One finding with what it is about.
#[derive(Debug, Serialize)]
struct Found {
    /// `order/order-1`, a key, or a member of the cluster.
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    code: &'static str,
    severity: Severity,
    message: String,
    next: String,
}

impl Found {
    fn new(subject: String, finding: Finding) -> Self {
        Self {
            subject,
            service: None,
            instance: None,
            key: None,
            code: finding.code.word(),
            severity: finding.severity,
            message: finding.message,
            next: finding.next,
        }
    }
}

impl Doctor {
    /// Looks and tells.
    ///
    /// # Errors
    /// When etcd cannot be read; kind `Differs` when a finding is an error.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let begun = Instant::now();
        let prefix = &session.prefixes().services;
        let listing = session.list(prefix).await?;
        let revision = listing.revision;
        let mut registry = Registry::new(prefix.clone());
        registry.replace(listing.entries);
        let asked = gather::ask(session, &registry, None, self.asking, report);
        let (mut asked, cluster) = tokio::join!(asked, cluster::examine(session));
        if self.asking.probe == When::Never {
            asked
                .left_out
                .push("no instance was asked for its health".into());
        }
        let mut found = of_registry(&registry, &asked);
        match cluster {
            Ok(cluster) => found.extend(
                finding::of_cluster(&cluster)
                    .into_iter()
                    .map(|(member, finding)| Found::new(format!("etcd {member}"), finding)),
            ),
            Err(failure) => {
                let sentence = format!("the cluster is not known: {}", failure.message());
                report.warn(&sentence);
                asked.left_out.push(sentence);
            }
        }
        found.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| a.subject.cmp(&b.subject))
        });
        let count = |severity| found.iter().filter(|f| f.severity == severity).count();
        let errors = count(Severity::Error);
        let summary = json!({
            "revision": revision.0,
            "services": registry.services().len(),
            "instances": registry.instance_count(),
            "asked_for_health": asked.probed,
            "not_asked": asked.left_out,
            "errors": errors,
            "warnings": count(Severity::Warning),
            "infos": count(Severity::Info),
            "seconds": (begun.elapsed().as_secs_f64() * 1e3).round() / 1e3,
        });
        match report.format() {
            Format::Table => {
                let palette = report.palette();
                report.text(&text(&found, &summary, palette))?;
            }
            Format::Ndjson => {
                for found in &found {
                    report.event(found)?;
                }
                report.event(&json!({ "summary": summary }))?;
            }
            Format::Json | Format::Yaml => {
                let mut document = summary;
                document["findings"] = serde_json::to_value(&found)
                    .map_err(|error| Failure::failed(error.to_string()))?;
                report.one(&document, |_, _| String::new())?;
            }
        }
        match errors {
            0 => Ok(()),
            _ => Err(Failure::new(Kind::Differs, "")),
        }
    }
}

fn of_registry(registry: &Registry, asked: &gather::Asked) -> Vec<Found> {
    let text = |key: &Key| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    let mut found = Vec::new();
    for (_, service) in registry.services() {
        for instance in service.instances() {
            let record = &instance.record;
            for finding in asked.findings(instance, None) {
                found.push(Found {
                    service: Some(record.service.to_string()),
                    instance: Some(record.id.to_string()),
                    key: Some(text(&instance.key)),
                    ..Found::new(format!("{}/{}", record.service, record.id), finding)
                });
            }
        }
    }
    found.extend(registry.quarantined().map(|(key, poison)| Found {
        key: Some(text(key)),
        ..Found::new(text(key), finding::of_poison(key, poison))
    }));
    found
}

fn text(found: &[Found], summary: &serde_json::Value, palette: Palette) -> String {
    let safe = |text: &str| fleet::safe::escape(text).into_owned();
    let mut text = String::new();
    let width = found.iter().take(SHOWN).map(|f| f.subject.chars().count());
    let width = width.max().unwrap_or(0).min(40);
    for one in found.iter().take(SHOWN) {
        let (mark, tone) = match one.severity {
            Severity::Error => ("✗", Tone::Bad),
            Severity::Warning => ("!", Tone::Warn),
            Severity::Info => ("·", Tone::Dim),
        };
        text.push_str(&format!(
            "{} {:<width$}  {}\n  {:<width$}  next: {}\n",
            palette.paint(mark, tone),
            safe(&one.subject),
            safe(&one.message),
            "",
            safe(&one.next),
        ));
    }
    if found.len() > SHOWN {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &found[SHOWN..] {
            *counts.entry(one.code).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(code, count)| format!("{count} {}", code.replace('_', " ")))
            .collect();
        text.push_str(&format!(
            "and {} more: {}; -o json lists them all\n",
            found.len() - SHOWN,
            counts.join(", ")
        ));
    }
    let number = |name: &str| summary[name].as_u64().unwrap_or(0);
    let of = |count: u64, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let findings = match found.len() {
        0 => "nothing is wrong, as far as it was asked,".to_owned(),
        all => format!(
            "{}: {}, {}, {}",
            of(all as u64, "finding"),
            of(number("errors"), "error"),
            of(number("warnings"), "warning"),
            of(number("infos"), "note"),
        ),
    };
    text.push_str(&format!(
        "{findings} in {}, {} (revision {}, {:.1} s)\n",
        of(number("services"), "service"),
        of(number("instances"), "instance"),
        number("revision"),
        summary["seconds"].as_f64().unwrap_or(0.0),
    ));
    text
}
