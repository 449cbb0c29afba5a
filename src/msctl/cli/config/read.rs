//! `config get` and `config list`: values as they stand, and which layer they come from.

use fleet::config::diff::Secrets;
use fleet::config::secret::redact::redact_value;
use fleet::config::{ConfigKey, Layer, Layers, Origin, Scope, value};
use fleet::{Entry, Revision};
use serde::Serialize;
use serde_json::Value as Json;

use super::{Mask, as_json, key, one_line, scope};
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Print one value.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// <service>/<dotted.key>, or global/<dotted.key>
    key: String,
    /// Print secrets as they are
    #[arg(long)]
    reveal: bool,
    /// The value as it stood at this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    revision: Option<i64>,
}

#[derive(Serialize)]
struct Got {
    key: String,
    value: Json,
    text: String,
    revision: i64,
    version: i64,
}

impl Get {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let named = key(&self.key)?;
        let at = named.to_key(&session.prefixes().config);
        let revision = Revision(self.revision.unwrap_or(0));
        let (entry, _) = session
            .client()
            .get_at(&at, revision)
            .await
            .map_err(|error| session.failure(&error))?;
        let Some(entry) = entry else {
            return Err(absent(session, &named).await?);
        };
        let scopes = std::slice::from_ref(&named.scope);
        let mask = Mask::read(session, scopes, self.reveal).await?;
        let shown = mask.shown(&named, &entry.value);
        if mask.hides(&named) {
            report.note(&format!("{named} is a secret; --reveal prints it"));
        } else if *shown != *entry.value {
            report.note(&format!("{named} holds a secret; --reveal prints it"));
        }
        let got = Got {
            key: named.to_string(),
            value: if mask.hides(&named) {
                Json::Null
            } else {
                as_json(&shown)
            },
            text: String::from_utf8_lossy(&shown).into_owned(),
            revision: entry.mod_revision.0,
            version: entry.version,
        };
        report.one(&got, |got, _| crate::report::lines_safe(&got.text))
    }
}

/// The failure for a key that is not there: what stands in its place, or what was meant.
pub(super) async fn absent(session: &Session, named: &ConfigKey) -> Result<Failure, Failure> {
    let config = &session.prefixes().config;
    let failure = Failure::not_found(format!("no key {named}"));
    if named.scope != Scope::Global
        && let Ok(global) = ConfigKey::new(Scope::Global, named.path())
        && let (Some(entry), _) = session.get(&global.to_key(config)).await?
    {
        let mask = Mask::read(session, &[Scope::Global], false).await?;
        return Ok(failure.next(format!(
            "It falls back to {global}: {} (r{}).",
            one_line(&mask.shown(&global, &entry.value)),
            entry.mod_revision
        )));
    }
    let listing = session.list(&named.scope.prefix(config)).await?;
    let known: Vec<String> = listing
        .entries
        .iter()
        .filter_map(|entry| ConfigKey::from_key(config, &entry.key).ok())
        .map(|key| key.path().to_owned())
        .collect();
    Ok(
        match fleet::suggest::closest(named.path(), known.iter().map(String::as_str)) {
            Some(close) => failure.next(format!("Did you mean '{}/{close}'?", named.scope)),
            None => failure.next(format!(
                "'msctl config list {}' lists what there is.",
                named.scope
            )),
        },
    )
}

/// List keys with values and where they come from.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// A service, or global; everything when absent
    scope: Option<String>,
    /// Print secrets as they are
    #[arg(long)]
    reveal: bool,
    /// The values as they stood at this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    revision: Option<i64>,
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: Json,
    text: String,
    from: &'static str,
    revision: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl List {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let mask = Mask::read(session, &[Scope::Global], self.reveal).await?;
        let revision = self.revision.map(Revision);
        let rows = match &self.scope {
            None => all(session, &mask, revision).await?,
            Some(text) => {
                let scope = scope(text)?;
                effective(session, &scope, &mask, revision).await?
            }
        };
        for row in &rows {
            if let Some(problem) = &row.problem {
                report.warn(&format!("{}: {problem}", row.key));
            }
        }
        if rows.is_empty() {
            if report.is_table() {
                report.note("no config here");
                return Ok(());
            }
        } else if let Some(name) = &self.scope
            && !rows.iter().any(|row| row.from == "service")
            && name != "global"
        {
            report.note(&format!("{name} has no keys of its own"));
        }
        report.list(
            rows,
            Table::new(&["KEY", "VALUE", "FROM", ">SINCE"]),
            |row| {
                let tone = if row.problem.is_some() {
                    Tone::Bad
                } else {
                    Tone::Plain
                };
                vec![
                    row.key.as_str().into(),
                    Cell::new(&row.text, tone),
                    Cell::new(row.from, Tone::Dim),
                    match row.revision {
                        0 => Cell::new("–", Tone::Dim),
                        revision => Cell::new(format!("r{revision}"), Tone::Dim),
                    },
                ]
            },
        )
    }
}

async fn entries(
    session: &Session,
    prefix: &fleet::Prefix,
    revision: Option<Revision>,
) -> Result<Vec<Entry>, Failure> {
    let options = etcd::ListOptions {
        revision,
        ..etcd::ListOptions::default()
    };
    let listing = session.client().list(prefix, options).await;
    let mut entries = listing.map_err(|error| session.failure(&error))?.entries;
    // A canary is no key; `config status` and `explain` tell of it.
    let config = &session.prefixes().config;
    entries.retain(|entry| fleet::config::canary::service_of(config, &entry.key).is_none());
    Ok(entries)
}

/// Every key as it stands.
async fn all(
    session: &Session,
    mask: &Mask,
    revision: Option<Revision>,
) -> Result<Vec<Row>, Failure> {
    let config = &session.prefixes().config;
    let entries = entries(session, config, revision).await?;
    Ok(entries
        .iter()
        .map(|entry| row(session, entry, mask))
        .collect())
}

fn row(session: &Session, entry: &Entry, mask: &Mask) -> Row {
    let config = &session.prefixes().config;
    let named = ConfigKey::from_key(config, &entry.key);
    let problem = match &named {
        Err(error) => Some(error.to_string()),
        Ok(_) => value::parse(&entry.value)
            .err()
            .map(|error| error.to_string()),
    };
    let shown = mask.stored(session, &entry.key, &entry.value);
    Row {
        text: one_line(&shown),
        value: match &named {
            Ok(named) if mask.hides(named) => Json::Null,
            _ => as_json(&shown),
        },
        from: match &named {
            Ok(ConfigKey {
                scope: Scope::Global,
                ..
            }) => "global",
            Ok(_) => "service",
            Err(_) => "",
        },
        key: named.map_or_else(|_| entry.key.to_string(), |key| key.to_string()),
        revision: entry.mod_revision.0,
        problem,
    }
}

/// What a service gets: its own keys over the global ones, over what it says are its defaults, leaf
/// by leaf.
async fn effective(
    session: &Session,
    scope: &Scope,
    mask: &Mask,
    revision: Option<Revision>,
) -> Result<Vec<Row>, Failure> {
    let config = &session.prefixes().config;
    let mut layers = Layers::new();
    let mut broken = Vec::new();
    let mut scopes = vec![scope.clone()];
    if *scope != Scope::Global {
        scopes.push(Scope::Global);
    }
    for layered in scopes {
        for entry in entries(session, &layered.prefix(config), revision).await? {
            let named = ConfigKey::from_key(config, &entry.key);
            let parsed = value::parse(&entry.value);
            let (Ok(named), Ok(parsed)) = (named, parsed) else {
                broken.push(row(session, &entry, mask));
                continue;
            };
            let revision = entry.mod_revision;
            let (layer, origin) = match layered {
                Scope::Global => (Layer::Global, Origin::Global { revision }),
                Scope::Service(_) => (Layer::Service, Origin::Service { revision }),
            };
            layers.put(layer, named.path(), parsed, origin);
        }
    }
    // What a service says today is no news of a revision that is past.
    if let (None, Some(schema)) = (revision, mask.known.get(scope)) {
        for field in schema.fields() {
            if let Some(default) = field.default {
                layers.put(Layer::Default, &field.path, default, Origin::Default);
            }
        }
    }
    let effective = layers.effective();
    let mut rows: Vec<Row> = effective
        .leaves()
        .map(|(path, leaf)| {
            let named = ConfigKey::new(scope.clone(), path).ok();
            let masked = named.as_ref().is_some_and(|key| mask.hides(key));
            let value = match (&named, mask.secrets) {
                (Some(key), Secrets::Masked) => redact_value(&mask.known, key, &leaf.value),
                _ => leaf.value.clone(),
            };
            let (from, revision) = match &leaf.origin {
                Origin::Global { revision } => ("global", revision.0),
                Origin::Service { revision } => ("service", revision.0),
                Origin::Default => ("default", 0),
                _ => ("", 0),
            };
            Row {
                key: format!("{scope}/{path}"),
                value: if masked {
                    Json::Null
                } else {
                    serde_json::to_value(&value).unwrap_or(Json::Null)
                },
                text: value::one_line(&value),
                from,
                revision,
                problem: None,
            }
        })
        .collect();
    rows.extend(broken);
    Ok(rows)
}
