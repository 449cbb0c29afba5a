//! `config diff`: a service's config beside an earlier revision, another service, or files. Exits 0
//! when both are the same and 1 when they differ, as diff does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fleet::config::apply::{Prune, difference};
use fleet::config::conflict::written;
use fleet::config::diff::{self, Meaning};
use fleet::config::{ConfigKey, Scope};
use fleet::{Entry, Revision};
use serde_json::json;

use super::{Mask, files, preview, scope};
use crate::report::{Failure, Kind, Report};
use crate::session::Session;

/// Compare with an earlier revision, another service, or files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits 0 when nothing differs and 1 when something does. A file or folder is read as 'config apply'
reads it; here what stands in etcd and not in the tree differs too.

Examples:
  msctl config diff order --revision 811     what changed since
  msctl config diff order payment            two services
  msctl config diff -f config/               etcd beside what apply would make of it
  msctl config diff order -f prod.env        the same for the keys of one service")]
#[command(group(clap::ArgGroup::new("with").required(true).args(["other", "revision", "file"])))]
pub(super) struct Diff {
    /// A service, or global
    #[arg(required_unless_present = "file")]
    scope: Option<String>,
    /// Another service, or global, to compare with
    other: Option<String>,
    /// Compare with how it stood at this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    revision: Option<i64>,
    /// Compare with a file or a folder; - is a YAML tree on stdin
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Show secrets as they are
    #[arg(long)]
    reveal: bool,
    /// Show what goes beside what comes, not above it
    #[arg(long)]
    side_by_side: bool,
}

/// One key on both sides.
type Pair = (ConfigKey, Option<Vec<u8>>, Option<Vec<u8>>);

impl Diff {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let scope = self.scope.as_deref().map(scope).transpose()?;
        let pairs = match (&self.file, &scope) {
            (Some(path), scope) => beside_files(session, path, scope.as_ref()).await?,
            (None, Some(scope)) => {
                let now = stored(session, scope, None).await?;
                // What is shown reads from the other side to what stands now.
                let before = match (&self.other, self.revision) {
                    (_, Some(revision)) => stored(session, scope, Some(Revision(revision))).await?,
                    (other, None) => {
                        let other = super::scope(other.as_deref().unwrap_or_default())?;
                        stored(session, &other, None).await?
                    }
                };
                beside(scope, before, now)
            }
            (None, None) => return Err(Failure::usage("no service and no file is named")),
        };
        let mask = Mask::read(session, &[Scope::Global], self.reveal).await?;
        let layout = super::layout(self.side_by_side);
        let mut text = String::new();
        let mut differing = Vec::new();
        for (key, before, after) in &pairs {
            let (before, after) = (before.as_deref(), after.as_deref());
            let changed = diff::of(&mask.known, key, before, after, mask.secrets);
            if changed.meaning == Meaning::Stays {
                continue;
            }
            text.push_str(&preview::one(
                &key.to_string(),
                &changed,
                layout,
                report.palette(),
            ));
            let show = |side: Option<&[u8]>| {
                side.map(|side| String::from_utf8_lossy(&mask.shown(key, side)).into_owned())
            };
            differing.push(
                json!({ "key": key.to_string(), "before": show(before), "after": show(after) }),
            );
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
) -> Result<Vec<Entry>, Failure> {
    let options = etcd::ListOptions {
        revision,
        ..etcd::ListOptions::default()
    };
    let prefix = scope.prefix(&session.prefixes().config);
    let listing = session.client().list(&prefix, options).await;
    let mut entries = listing.map_err(|error| session.failure(&error))?.entries;
    // Their paths are what is compared.
    for entry in &mut entries {
        if let Some(path) = prefix.strip(&entry.key) {
            entry.key = fleet::Key::from(path);
        }
    }
    Ok(entries)
}

/// Both sides of a scope, whose entries are named by their paths.
fn beside(scope: &Scope, before: Vec<Entry>, now: Vec<Entry>) -> Vec<Pair> {
    let side = |entries: Vec<Entry>| -> BTreeMap<ConfigKey, Vec<u8>> {
        let entries = entries.into_iter().filter_map(|entry| {
            let key = ConfigKey::new(scope.clone(), entry.key.as_str()?).ok()?;
            Some((key, entry.value.to_vec()))
        });
        entries.collect()
    };
    let (mut before, mut now) = (side(before), side(now));
    let keys: BTreeSet<ConfigKey> = before.keys().chain(now.keys()).cloned().collect();
    keys.into_iter()
        .map(|key| {
            let (before, now) = (before.remove(&key), now.remove(&key));
            (key, before, now)
        })
        .collect()
}

/// What would have to be written for the store to be what files say.
async fn beside_files(
    session: &Session,
    path: &Path,
    scope: Option<&Scope>,
) -> Result<Vec<Pair>, Failure> {
    let config = &session.prefixes().config;
    let entries = session.list(config).await?.entries;
    let known = files::keys(config, &entries);
    let tree = match scope {
        Some(scope) => files::scope_of(path, scope, &known)?,
        None => files::tree(path, &known)?,
    };
    let found = difference(&tree, config, &entries, Prune::Delete)
        .map_err(|error| files::failure(path, &error))?;
    let pair = |edit: &fleet::Edit| {
        let key = ConfigKey::from_key(config, &edit.key).ok()?;
        let after = written(&edit.write).map(|value| value.to_vec());
        Some((key, edit.seen.value().map(<[u8]>::to_vec), after))
    };
    Ok(found.edits.iter().filter_map(pair).collect())
}
