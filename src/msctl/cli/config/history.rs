//! `config history`: what changed, the newest first, and between our records what other tools did.
//! A record that is damaged is shown as such and hides no other.

use fleet::config::ConfigKey;
use fleet::config::diff::{Secrets, compare};
use fleet::release::timeline::{Foreign, Happening, Value, When};
use fleet::release::{Changed, Recorded};
use serde_json::{Value as Json, json};

use super::{key, preview, scope, shown};
use crate::change::{Schemas, history};
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Show what changed, when, by whom and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes made with other tools have no record; they are shown as far as they left traces.

Examples:
  msctl config history order
  msctl config history order/timeout.write --diff")]
pub(super) struct History {
    /// A service, global, or one key
    what: String,
    /// At most so many changes
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Show each change line by line
    #[arg(long)]
    diff: bool,
}

impl History {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let (scope, only) = if self.what.trim_end_matches('/').contains('/') {
            let named = key(&self.what)?;
            (named.scope.clone(), Some(named))
        } else {
            (scope(&self.what)?, None)
        };
        let schemas = Schemas::read(session, std::slice::from_ref(&scope)).await?;
        let mut all = history::read(session, &scope, only.as_ref()).await?;
        all.truncate(self.limit);
        if all.is_empty() && report.is_table() {
            report.note("nothing is known to have changed");
            return Ok(());
        }
        if !report.is_table() {
            let documents = all.iter().map(|one| document(one, &schemas));
            return report.list(documents, Table::new(&[]), |_| Vec::new());
        }
        if self.diff {
            let palette = report.palette();
            let text: String = all
                .iter()
                .map(|one| lines(one, only.as_ref(), &schemas, palette))
                .collect();
            return report.text(&text);
        }
        let mut table = Table::new(&["REVISION", "TIME", "AUTHOR", "CHANGE", "MESSAGE"]);
        for one in &all {
            table.push(cells(one, only.as_ref(), &schemas));
        }
        report.table(&table)
    }
}

fn document(one: &Happening, schemas: &Schemas) -> Json {
    match one {
        Happening::Release(record) => {
            let mut document = json!({ "revision": record.revision.0 });
            match &record.release {
                Ok(release) => {
                    document["time"] = json!(release.time);
                    document["author"] = json!(release.author);
                    document["message"] = json!(release.message);
                    document["changes"] = json!(release.changes);
                    if release.action != fleet::release::Action::Change {
                        document["action"] = json!(release.action);
                    }
                }
                Err(damaged) => document["problem"] = json!(damaged.to_string()),
            }
            document
        }
        Happening::Foreign(foreign) => json!({
            "revision": match foreign.when {
                When::At(revision) => json!(revision.0),
                When::After(_) => Json::Null,
            },
            "after_revision": match foreign.when {
                When::At(_) => Json::Null,
                When::After(revision) => json!(revision.0),
            },
            "foreign": true,
            "changes": [{ "key": foreign.key.to_string(), "after": after(foreign, schemas) }],
        }),
    }
}

/// What a foreign change left, as text; `None` where it removed the key.
fn after(foreign: &Foreign, schemas: &Schemas) -> Option<String> {
    foreign.after.as_ref().map(|value| match value {
        Value::Unknown => "(unknown)".to_owned(),
        Value::Bytes(_) if schemas.is_secret(&foreign.key) => {
            fleet::config::secret::MASK.to_owned()
        }
        Value::Bytes(bytes) => shown("", bytes, Secrets::Masked),
    })
}

fn side(value: Option<&String>) -> String {
    value.map_or_else(
        || "∅".to_owned(),
        |text| shown("", text.as_bytes(), Secrets::Masked),
    )
}

fn touched<'a>(
    changes: &'a [Changed],
    only: Option<&'a ConfigKey>,
) -> impl Iterator<Item = &'a Changed> {
    changes
        .iter()
        .filter(move |change| only.is_none_or(|key| change.key == key.to_string()))
}

fn cells(one: &Happening, only: Option<&ConfigKey>, schemas: &Schemas) -> Vec<Cell> {
    match one {
        Happening::Foreign(foreign) => {
            let when = match foreign.when {
                When::At(revision) => format!("r{revision}"),
                When::After(revision) => format!("after r{revision}"),
            };
            let change = match after(foreign, schemas) {
                Some(value) => format!("{}: {value}", foreign.key),
                None => format!("{}: removed", foreign.key),
            };
            vec![
                Cell::new(when, Tone::Strong),
                Cell::default(),
                Cell::new("another tool", Tone::Warn),
                change.into(),
                Cell::default(),
            ]
        }
        Happening::Release(record) => {
            let revision = Cell::new(format!("r{}", record.revision), Tone::Strong);
            let release = match &record.release {
                Ok(release) => release,
                Err(damaged) => {
                    return vec![
                        revision,
                        Cell::default(),
                        Cell::default(),
                        Cell::new(damaged.to_string(), Tone::Bad),
                        Cell::default(),
                    ];
                }
            };
            let changes = touched(&release.changes, only).map(|change| {
                let (before, after) = (side(change.before.as_ref()), side(change.after.as_ref()));
                format!("{}: {before} → {after}", change.key)
            });
            let mut parts: Vec<String> = vec![release.action.to_string()];
            parts.extend(changes);
            parts.retain(|part| !part.is_empty());
            let time = release.time.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            vec![
                revision,
                time.into(),
                release.author.as_str().into(),
                parts.join("; ").into(),
                release.message.as_str().into(),
            ]
        }
    }
}

/// One change with its lines.
fn lines(
    one: &Happening,
    only: Option<&ConfigKey>,
    schemas: &Schemas,
    palette: crate::report::Palette,
) -> String {
    let cells = cells(one, only, schemas);
    let head: Vec<String> = cells
        .iter()
        .enumerate()
        .filter(|(column, cell)| *column != 3 && !cell.text().is_empty())
        .map(|(_, cell)| cell.text())
        .collect();
    let mut text = format!(
        "{}\n",
        palette.paint(&fleet::safe::escape(&head.join("  ")), Tone::Strong)
    );
    match one {
        Happening::Release(Recorded {
            release: Ok(release),
            ..
        }) => {
            for change in touched(&release.changes, only) {
                let before = change.before.as_deref().map(str::as_bytes);
                let after = change.after.as_deref().map(str::as_bytes);
                // Records hold no secrets: a mask stands in their place.
                let open = fleet::config::secret::Sensitivity::Open;
                let changed = compare(open, before, after, Secrets::Masked);
                text.push_str(&preview::one(&change.key, &changed, palette));
            }
        }
        _ => text.push_str(&format!("  {}\n", fleet::safe::escape(&cells[3].text()))),
    }
    text
}
