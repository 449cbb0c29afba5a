//! `config validate`: what the services' schemas say against the store, or against a file before it
//! is written. Exits 1 where a service would refuse something.

use std::path::{Path, PathBuf};

use fleet::config::explain::layers;
use fleet::config::schema::{Violation, Weight};
use fleet::config::tree::Leaf;
use fleet::config::{ConfigKey, Scope, value};
use fleet::{Entry, Revision};
use serde::Serialize;

use super::{files, scope};
use crate::change::schemas;
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Check config against what the services say of it.
#[derive(Debug, clap::Args)]
pub(super) struct Validate {
    /// A service; all of them when absent
    scope: Option<String>,
    /// Check a file or a folder in place of the store, as apply reads them
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Row {
    key: String,
    severity: &'static str,
    message: String,
}

impl Validate {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let config = &session.prefixes().config;
        let known = schemas::read_all(session).await?;
        let only = self.scope.as_deref().map(scope).transpose()?;
        let entries = match &self.file {
            None => session.list(config).await?.entries,
            Some(path) => from_files(path, config)?,
        };
        let mut rows: Vec<Row> = Vec::new();
        for entry in &entries {
            if fleet::config::canary::service_of(config, &entry.key).is_some() {
                continue;
            }
            let fault = match ConfigKey::from_key(config, &entry.key) {
                Err(error) => Some((entry.key.to_string(), error.to_string())),
                Ok(key) if only.as_ref().is_some_and(|only| *only != key.scope) => None,
                Ok(key) => value::parse(&entry.value)
                    .err()
                    .map(|error| (key.to_string(), error.to_string())),
            };
            rows.extend(fault.map(|(key, message)| Row {
                key,
                severity: "error",
                message,
            }));
        }
        // A global value must do for every service that reads it.
        for entry in &entries {
            let (Ok(key), Ok(value)) = (
                ConfigKey::from_key(config, &entry.key),
                value::parse(&entry.value),
            ) else {
                continue;
            };
            if key.scope == Scope::Global && only.as_ref().is_none_or(|only| *only == key.scope) {
                let faults = known.judge(&key, &value).into_iter();
                rows.extend(faults.map(|fault| Row {
                    key: format!("global/{}", fault.path),
                    severity: match fault.weight {
                        Weight::Error => "error",
                        Weight::Warning => "warning",
                    },
                    message: fault.message,
                }));
            }
        }
        for (service, schema) in known.all() {
            let scope = Scope::Service(service.clone());
            if only.as_ref().is_some_and(|only| *only != scope) {
                continue;
            }
            let (layers, _) = layers(config, service, &entries, Some(schema), None);
            let mut faults = Vec::new();
            // Each key as it is written, whether or not it counts; a default is the service's own.
            for (path, value, _) in layers.keys(fleet::config::Layer::Service) {
                faults.extend(schema.check(path, value));
            }
            let missing =
                |fault: &Violation| fault.message.starts_with("it is required and no layer");
            faults.extend(
                schema
                    .check_all(&layers.effective())
                    .into_iter()
                    .filter(|fault| {
                        // A required key may be in a file that only the instances see.
                        self.file.is_none() && missing(fault)
                    }),
            );
            rows.extend(faults.into_iter().map(|fault| Row {
                key: format!("{scope}/{}", fault.path),
                severity: match fault.weight {
                    Weight::Error if !missing(&fault) => "error",
                    _ => "warning",
                },
                message: fault.message,
            }));
        }
        for (service, why) in known.broken() {
            report.warn(&format!("the schema of {service} is not used: {why}"));
        }
        let errors = rows.iter().filter(|row| row.severity == "error").count();
        if rows.is_empty() && report.is_table() {
            report.note(&format!("{} keys, no fault", entries.len()));
            return Ok(());
        }
        report.list(rows, Table::new(&["", "KEY", "FAULT"]), |row| {
            let (mark, tone) = match row.severity {
                "error" => ("✗", Tone::Bad),
                _ => ("!", Tone::Warn),
            };
            vec![
                Cell::new(mark, tone),
                row.key.as_str().into(),
                row.message.as_str().into(),
            ]
        })?;
        match errors {
            0 => Ok(()),
            _ => Err(Failure::new(crate::report::Kind::Differs, "")),
        }
    }
}

/// The keys of files as if they stood in the store.
fn from_files(path: &Path, config: &fleet::Prefix) -> Result<Vec<Entry>, Failure> {
    let tree = files::tree(path, &[])?;
    let entries = tree.leaves.into_iter().filter_map(|(key, leaf)| {
        let value = match leaf {
            Leaf::Text(text) => text.into_text().into_bytes(),
            Leaf::Meaning(value) => fleet::config::tree::text_of(&value).into_bytes(),
            Leaf::Bytes(bytes) => bytes,
            Leaf::Masked => return None,
        };
        Some(Entry {
            key: key.to_key(config),
            value: value.into(),
            create_revision: Revision::ZERO,
            mod_revision: Revision::ZERO,
            version: 1,
            lease: None,
        })
    });
    Ok(entries.collect())
}
