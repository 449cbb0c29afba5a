//! `config history`: the records of changes, the newest first. A record that is damaged is shown as
//! such and hides no other.

use fleet::release::{Recorded, history};
use serde_json::{Value as Json, json};

use super::{key, scope};
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Show what changed, when, by whom and why.
#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// A service, global, or one key
    what: String,
    /// At most so many changes
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

impl History {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let (scope, only) = if self.what.trim_end_matches('/').contains('/') {
            let named = key(&self.what)?;
            let name = named.to_string();
            (named.scope, Some(name))
        } else {
            (scope(&self.what)?, None)
        };
        let prefix = scope.prefix(&session.prefixes().releases);
        let records = history(session.list(&prefix).await?.entries);
        let records: Vec<Recorded> = records
            .into_iter()
            .filter(|record| touches(record, only.as_deref()))
            .take(self.limit)
            .collect();
        if records.is_empty() && report.is_table() {
            report.note("no recorded change; changes made with other tools leave no record");
            return Ok(());
        }
        let table = Table::new(&["REVISION", "TIME", "AUTHOR", "CHANGE", "MESSAGE"]);
        let palette = report.is_table();
        if palette {
            let mut table = table;
            for record in &records {
                table.push(cells(record));
            }
            return report.table(&table);
        }
        report.list(records.iter().map(document), table, |_| Vec::new())
    }
}

fn touches(record: &Recorded, only: Option<&str>) -> bool {
    match (only, &record.release) {
        (None, _) | (_, Err(_)) => true,
        (Some(key), Ok(release)) => release.changes.iter().any(|change| change.key == key),
    }
}

fn document(record: &Recorded) -> Json {
    let mut document = json!({ "revision": record.revision.0 });
    match &record.release {
        Ok(release) => {
            document["time"] = json!(release.time);
            document["author"] = json!(release.author);
            document["message"] = json!(release.message);
            document["changes"] = json!(release.changes);
        }
        Err(damaged) => document["problem"] = json!(damaged.to_string()),
    }
    document
}

fn cells(record: &Recorded) -> Vec<Cell> {
    let revision = Cell::new(format!("r{}", record.revision), Tone::Strong);
    match &record.release {
        Err(damaged) => vec![
            revision,
            Cell::default(),
            Cell::default(),
            Cell::new(damaged.to_string(), Tone::Bad),
            Cell::default(),
        ],
        Ok(release) => {
            let changes: Vec<String> = release
                .changes
                .iter()
                .map(|change| {
                    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "∅".into());
                    format!(
                        "{}: {} → {}",
                        change.key,
                        side(&change.before),
                        side(&change.after)
                    )
                })
                .collect();
            let time = release.time.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            vec![
                revision,
                time.into(),
                release.author.as_str().into(),
                changes.join("; ").into(),
                release.message.as_str().into(),
            ]
        }
    }
}
