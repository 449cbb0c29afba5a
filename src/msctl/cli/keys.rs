//! `msctl keys`: what is in etcd, as it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::config::secret::redact::redact_stored;
use fleet::{Entry, Key, Prefix};
use serde_json::{Value as Json, json};

use crate::change::schemas;
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Show raw keys under a prefix.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl keys                                 every key that starts with /, values shortened
  msctl keys /services/order/ -o json        values whole; bytes that are no text as base64")]
pub struct Keys {
    /// The prefix, of at least one character
    #[arg(default_value = "/")]
    prefix: String,
    /// Print secrets as they are
    #[arg(long)]
    reveal: bool,
}

impl Keys {
    /// Lists.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let prefix =
            Prefix::new(&self.prefix).map_err(|error| Failure::usage(error.to_string()))?;
        let mut entries = session.list(&prefix).await?.entries;
        if !self.reveal {
            let known = schemas::read_all(session).await?;
            for entry in &mut entries {
                let shown = redact_stored(&known, session.prefixes(), &entry.key, &entry.value);
                if *shown != *entry.value {
                    entry.value = shown.into_owned().into();
                }
            }
        }
        if report.is_table() {
            if entries.is_empty() {
                report.note("no keys here");
                return Ok(());
            }
            let mut table = Table::new(&["KEY", ">REVISION", ">WRITES", ">SIZE", "LEASE", "VALUE"]);
            for entry in &entries {
                table.push(cells(entry));
            }
            return report.table(&table);
        }
        report.list(entries.iter().map(document), Table::new(&[]), |_| {
            Vec::new()
        })
    }
}

fn text(key: &Key) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}

fn document(entry: &Entry) -> Json {
    let mut document = json!({
        "key": text(&entry.key),
        "create_revision": entry.create_revision.0,
        "mod_revision": entry.mod_revision.0,
        "version": entry.version,
        "lease": entry.lease.map(|lease| lease.to_string()),
    });
    match std::str::from_utf8(&entry.value) {
        Ok(text) => document["value"] = json!(text),
        Err(_) => document["value_base64"] = json!(STANDARD.encode(&entry.value)),
    }
    document
}

fn cells(entry: &Entry) -> Vec<Cell> {
    const SHOWN: usize = 200;
    let shown = &entry.value[..entry.value.len().min(SHOWN)];
    let mut value = fleet::safe::escape_bytes(shown).into_owned();
    if entry.value.len() > SHOWN {
        value.push('…');
    }
    vec![
        entry.key.to_string().into(),
        Cell::new(entry.mod_revision.to_string(), Tone::Dim),
        Cell::new(entry.version.to_string(), Tone::Dim),
        Cell::new(entry.value.len().to_string(), Tone::Dim),
        entry
            .lease
            .map_or_else(Cell::default, |lease| lease.to_string().into()),
        value.into(),
    ]
}
