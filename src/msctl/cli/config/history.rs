//! `config history`: what changed, the newest first, and between our records what other tools did.
//! A record that is damaged is shown as such and hides no other.

use std::borrow::Cow;

use fleet::config::diff::{Secrets, compare};
use fleet::config::secret::redact::redact;
use fleet::config::{ConfigKey, Published};
use fleet::release::timeline::{Foreign, Happening, Value, When};
use fleet::release::{Changed, Recorded};
use serde_json::{Value as Json, json};

use super::{key, one_line, preview, scope};
use crate::change::{history, schemas};
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
        let known = schemas::read(session, std::slice::from_ref(&scope)).await?;
        let told = history::read(session, &scope, only.as_ref()).await?;
        for gap in &told.gaps {
            report.note(gap);
        }
        let mut all = told.happenings;
        all.truncate(self.limit);
        if all.is_empty() && report.is_table() {
            report.note("nothing is known to have changed");
            return Ok(());
        }
        if !report.is_table() {
            let documents = all.iter().map(|one| document(one, &known));
            return report.list(documents, Table::new(&[]), |_| Vec::new());
        }
        if self.diff {
            let palette = report.palette();
            let text: String = all
                .iter()
                .map(|one| lines(one, only.as_ref(), &known, palette))
                .collect();
            return report.text(&text);
        }
        let mut table = Table::new(&["REVISION", "TIME", "AUTHOR", "CHANGE", "MESSAGE"]);
        for one in &all {
            table.push(cells(one, only.as_ref(), &known));
        }
        report.table(&table)
    }
}

fn document(one: &Happening, known: &Published) -> Json {
    match one {
        Happening::Release(record) => {
            let mut document = json!({ "revision": record.revision.0 });
            match &record.release {
                Ok(release) => {
                    document["time"] = json!(release.time);
                    document["author"] = json!(release.author);
                    document["message"] = json!(release.message);
                    let changes = release.changes.iter().map(|changed| {
                        let text = |value| {
                            let side = side(changed, value, known);
                            side.map(|side| String::from_utf8_lossy(&side).into_owned())
                        };
                        Changed {
                            before: text(changed.before.as_ref()),
                            after: text(changed.after.as_ref()),
                            ..changed.clone()
                        }
                    });
                    document["changes"] = json!(changes.collect::<Vec<_>>());
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
            "changes": [{ "key": foreign.key.to_string(), "after": after(foreign, known) }],
        }),
    }
}

/// What a foreign change left, as text; `None` where it removed the key.
fn after(foreign: &Foreign, known: &Published) -> Option<String> {
    foreign.after.as_ref().map(|value| match value {
        Value::Unknown => "(unknown)".to_owned(),
        Value::Bytes(bytes) => one_line(&redact(known, &foreign.key, bytes)),
    })
}

/// A value of a record as it may be shown: a schema may have learnt since that it is a secret.
fn side<'v>(
    changed: &Changed,
    value: Option<&'v String>,
    known: &Published,
) -> Option<Cow<'v, [u8]>> {
    let value = value?.as_bytes();
    Some(match ConfigKey::parse(&changed.key) {
        Ok(key) if changed.is_kept() => redact(known, &key, value),
        _ => Cow::Borrowed(value),
    })
}

fn touched<'a>(
    changes: &'a [Changed],
    only: Option<&'a ConfigKey>,
) -> impl Iterator<Item = &'a Changed> {
    changes
        .iter()
        .filter(move |change| only.is_none_or(|key| change.key == key.to_string()))
}

fn cells(one: &Happening, only: Option<&ConfigKey>, known: &Published) -> Vec<Cell> {
    match one {
        Happening::Foreign(foreign) => {
            let when = match foreign.when {
                When::At(revision) => format!("r{revision}"),
                When::After(revision) => format!("after r{revision}"),
            };
            let change = match after(foreign, known) {
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
                let shown = |value| {
                    let side = side(change, value, known);
                    side.map_or_else(|| "∅".to_owned(), |value| one_line(&value))
                };
                let (before, after) = (shown(change.before.as_ref()), shown(change.after.as_ref()));
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
    known: &Published,
    palette: crate::report::Palette,
) -> String {
    let cells = cells(one, only, known);
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
                let before = side(change, change.before.as_ref(), known);
                let after = side(change, change.after.as_ref(), known);
                // What may not be shown is masked already.
                let open = fleet::config::secret::Sensitivity::Open;
                let (before, after) = (before.as_deref(), after.as_deref());
                let changed = compare(open, before, after, Secrets::Revealed);
                text.push_str(&preview::one(
                    &change.key,
                    &changed,
                    preview::Layout::Unified,
                    palette,
                ));
            }
        }
        _ => text.push_str(&format!("  {}\n", fleet::safe::escape(&cells[3].text()))),
    }
    text
}
