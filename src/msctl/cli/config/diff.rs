//! `config diff`: a service's config beside an earlier revision, another service, or a file.
//! Exits 0 when both are the same and 1 when they differ, as diff does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fleet::Revision;
use fleet::config::diff::{Meaning, compare};
use fleet::config::secret::Sensitivity;
use fleet::config::{ConfigKey, Layer, Layers, Origin, Scope, secret, value};
use serde_json::json;

use super::{Mask, preview, scope};
use crate::report::{Failure, Kind, Report};
use crate::session::Session;

/// Compare with an earlier revision, another service, or a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits 0 when nothing differs and 1 when something does.

Examples:
  msctl config diff order --revision 811     what changed since
  msctl config diff order payment            two services
  msctl config diff order -f order.yaml      etcd beside a file of keys or a tree")]
#[command(group(clap::ArgGroup::new("with").required(true).args(["other", "revision", "file"])))]
pub(super) struct Diff {
    /// A service, or global
    scope: String,
    /// Another service, or global, to compare with
    other: Option<String>,
    /// Compare with how it stood at this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    revision: Option<i64>,
    /// Compare with a YAML file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show secrets as they are
    #[arg(long)]
    reveal: bool,
}

/// Values by path, as text.
type Side = BTreeMap<String, String>;

impl Diff {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let scope = scope(&self.scope)?;
        let now = stored(session, &scope, None).await?;
        // What is shown reads from the other side to what stands now, save for a file, which is
        // what is to come.
        let (before, after) = if let Some(path) = &self.file {
            (leaves(&now)?, from_file(path)?)
        } else if let Some(revision) = self.revision {
            (
                stored(session, &scope, Some(Revision(revision))).await?,
                now,
            )
        } else {
            let other = super::scope(self.other.as_deref().unwrap_or_default())?;
            (stored(session, &other, None).await?, now)
        };
        let mask = Mask::read(session, std::slice::from_ref(&scope), self.reveal).await?;
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let mut text = String::new();
        let mut differing = Vec::new();
        for path in paths {
            let (b, a) = (before.get(path), after.get(path));
            let named = ConfigKey::new(scope.clone(), path);
            let sensitivity = named.map_or(Sensitivity::Open, |key| mask.schemas.sensitivity(&key));
            let changed = compare(
                sensitivity,
                b.map(String::as_bytes),
                a.map(String::as_bytes),
                mask.secrets,
            );
            if changed.meaning == Meaning::Stays {
                continue;
            }
            let hidden = !self.reveal && sensitivity == Sensitivity::Secret;
            let show = |side: Option<&String>| {
                side.map(|text| {
                    if hidden {
                        secret::MASK.to_owned()
                    } else {
                        text.clone()
                    }
                })
            };
            let key = format!("{scope}/{path}");
            text.push_str(&preview::one(&key, &changed, report.palette()));
            differing.push(json!({ "key": key, "before": show(b), "after": show(a) }));
        }
        let count = differing.len();
        if report.is_table() {
            report.text(&text)?;
        } else {
            report.list(differing, crate::report::Table::new(&[]), |_| Vec::new())?;
        }
        match count {
            0 => Ok(()),
            _ => Err(Failure::new(Kind::Differs, "")),
        }
    }
}

async fn stored(
    session: &Session,
    scope: &Scope,
    revision: Option<Revision>,
) -> Result<Side, Failure> {
    let config = &session.prefixes().config;
    let options = etcd::ListOptions {
        revision,
        ..etcd::ListOptions::default()
    };
    let listing = session
        .client()
        .list(&scope.prefix(config), options)
        .await
        .map_err(|error| session.failure(&error))?;
    Ok(listing
        .entries
        .iter()
        .filter_map(|entry| {
            let key = ConfigKey::from_key(config, &entry.key).ok()?;
            let text = String::from_utf8_lossy(&entry.value).into_owned();
            Some((key.path().to_owned(), text))
        })
        .collect())
}

/// Mappings taken apart, so that a tree and a list of keys that say the same are the same.
fn leaves(side: &Side) -> Result<Side, Failure> {
    let mut layers = Layers::new();
    for (path, text) in side {
        let parsed = value::parse(text.as_bytes())
            .map_err(|error| Failure::failed(format!("{path}: {error}")))?;
        layers.put(Layer::Service, path, parsed, Origin::Default);
    }
    Ok(flat(&layers))
}

fn from_file(path: &Path) -> Result<Side, Failure> {
    let problem = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    let parsed = value::parse(&bytes).map_err(|error| problem(error.to_string()))?;
    let serde_yaml::Value::Mapping(document) = parsed else {
        return Err(problem("it is no mapping of keys to values".to_owned()));
    };
    let mut layers = Layers::new();
    layers.set_document(Layer::Service, document, &Origin::Default);
    Ok(flat(&layers))
}

fn flat(layers: &Layers) -> Side {
    layers
        .effective()
        .leaves()
        .map(|(path, leaf)| (path.to_string(), value::one_line(&leaf.value)))
        .collect()
}
