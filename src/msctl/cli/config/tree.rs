//! `config export`, `import` and `apply`: config as a tree that can live in git. Applying what was
//! exported finds nothing to do, and applying anything twice finds nothing the second time.

use std::path::PathBuf;
use std::sync::Arc;

use fleet::config::apply::{Difference, Prune, difference};
use fleet::config::import::Notation;
use fleet::config::secret::redact::holds_secret;
use fleet::config::tree::{Tree, export};
use fleet::config::{Published, Scope};
use fleet::release::Action;
use fleet::{Entry, Revision};
use futures::future::try_join_all;

use super::canary::Tries;
use super::save::{self, How};
use super::{files, scope, secrets};
use crate::change::{self, Proposal, schemas};
use crate::report::{Failure, Report};
use crate::session::Session;

/// How many scopes are listed one by one; of more, all config is read at once.
const MOST_LISTS: usize = 4;

/// Print config as a tree that apply takes back.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// A service, or global; everything when absent
    scope: Option<String>,
    /// Print secrets as they are; without it they are marked, and left alone when applied
    #[arg(long)]
    reveal: bool,
}

impl Export {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let config = &session.prefixes().config;
        let scope = self.scope.as_deref().map(scope).transpose()?;
        let prefix = scope
            .as_ref()
            .map_or_else(|| config.clone(), |scope| scope.prefix(config));
        let entries = session.list(&prefix).await?.entries;
        let known = schemas::read_all(session).await?;
        let tree = export(config, &entries, secrets(self.reveal), |key, value| {
            holds_secret(&known, key, value)
        });
        for key in &tree.left_out {
            if fleet::config::canary::service_of(config, key).is_none() {
                report.warn(&format!("{key} is no config key; it is left out"));
            }
        }
        if !tree.masked.is_empty() {
            report.note(&match tree.masked.len() {
                1 => "one secret is marked, not printed; --reveal prints it".to_owned(),
                many => format!("{many} secrets are marked, not printed; --reveal prints them"),
            });
        }
        if tree.keys == 0 {
            report.note("no config here");
        }
        report.text(&tree.text)
    }
}

/// Set a service's keys from a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys that the file does not have stay. JSON and TOML are taken apart into dotted keys; in .env files
__ stands for a dot.

Examples:
  msctl config import order config.toml
  msctl config import order prod.env --dry-run
  kubectl get cm order -o jsonpath='{.data}' | msctl config import order - --format json")]
pub(super) struct Import {
    /// A service, or global
    scope: String,
    /// A YAML, JSON, TOML, .env or .properties file; - is stdin
    file: PathBuf,
    /// How it is written, where its name does not tell: yaml, json, toml, env, properties
    #[arg(long, value_name = "NAME", value_parser = notation)]
    format: Option<Notation>,
    #[command(flatten)]
    tries: Tries,
    #[command(flatten)]
    how: How,
}

impl Import {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if !self.how.dry_run {
            session.writer()?;
        }
        let scope = scope(&self.scope)?;
        let notation = self
            .format
            .or_else(|| Notation::of(&self.file))
            .ok_or_else(|| {
                Failure::usage(format!(
                    "{}: its name does not tell how it is written",
                    self.file.display()
                ))
                .next("Give --format yaml, json, toml, env or properties.")
            })?;
        let text = files::read_text(&self.file)?;
        let config = &session.prefixes().config;
        let standing = standing(session, std::slice::from_ref(&scope)).await?;
        let known = files::keys(config, &standing.entries);
        let tree = files::keys_of(&self.file, notation, &text, &scope, &known)?;
        let found = difference(&tree, config, &standing.entries, Prune::Keep)
            .map_err(|error| files::failure(&self.file, &error))?;
        write(session, found, standing, (&self.tries, &self.how), report).await
    }
}

/// Make the store what a tree says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A file is a tree: services at the top, dotted keys below. A folder is all its files together, those
of its folders too, save what begins with a dot; in it order.env and order.properties are keys of
'order'. Keys that the tree does not have stay, unless
--prune deletes them, in the services the tree speaks of.

--dry-run exits 0 when there is nothing to do and 1 when there is, as diff does.

Examples:
  msctl config export > config.yaml
  msctl config apply -f config.yaml --dry-run
  msctl config apply -f config/ --prune --yes -m \"$CI_COMMIT\"")]
pub(super) struct Apply {
    /// A file or a folder; - is a YAML tree on stdin
    #[arg(short, long, value_name = "PATH", required = true)]
    file: Vec<PathBuf>,
    /// Delete keys that the tree does not have
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    tries: Tries,
    #[command(flatten)]
    how: How,
}

impl Apply {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if !self.how.dry_run {
            session.writer()?;
        }
        let config = &session.prefixes().config;
        let read: Vec<_> = self
            .file
            .iter()
            .map(|path| files::read(path))
            .collect::<Result<_, _>>()?;
        let mut scopes: Vec<Scope> = read
            .iter()
            .flat_map(files::Source::scopes)
            .cloned()
            .collect();
        scopes.sort();
        scopes.dedup();
        let standing = standing(session, &scopes).await?;
        let known = files::keys(config, &standing.entries);
        let trees: Vec<_> = read
            .into_iter()
            .map(|read| read.tree(&known))
            .collect::<Result<_, _>>()?;
        let tree = Tree::merge(trees).map_err(|error| Failure::usage(error.to_string()))?;
        let prune = if self.prune {
            Prune::Delete
        } else {
            Prune::Keep
        };
        let found = difference(&tree, config, &standing.entries, prune)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let deletes = found
            .edits
            .iter()
            .filter(|edit| edit.write == fleet::Write::Delete)
            .count();
        if deletes > 0 && !self.how.yes && !self.how.dry_run && !report.can_ask() {
            return Err(Failure::refused(format!(
                "{deletes} keys would be deleted and nobody is here to confirm"
            ))
            .next("Look with --dry-run, and give --yes if you mean it."));
        }
        if !found.left.is_empty() {
            report.detail(&format!(
                "{} keys are not in the tree and stay; --prune deletes them",
                found.left.len()
            ));
        }
        write(session, found, standing, (&self.tries, &self.how), report).await
    }
}

/// What stands in some scopes, and what their services say of it.
struct Standing {
    entries: Vec<Entry>,
    /// Each key is guarded by its own revision; this one is the oldest of all lists.
    revision: Revision,
    schemas: Arc<Published>,
}

/// Reads some scopes, all that is to be known of them at once. A large store costs nothing where a
/// tree speaks of a little.
async fn standing(session: &Session, scopes: &[Scope]) -> Result<Standing, Failure> {
    let config = &session.prefixes().config;
    let prefixes = if scopes.len() > MOST_LISTS {
        vec![config.clone()]
    } else {
        scopes.iter().map(|scope| scope.prefix(config)).collect()
    };
    let lists = try_join_all(prefixes.iter().map(|prefix| session.list(prefix)));
    let (lists, schemas) = tokio::try_join!(lists, schemas::read(session, scopes))?;
    let revisions = lists.iter().map(|found| found.revision);
    Ok(Standing {
        revision: revisions.min().unwrap_or(Revision::ZERO),
        entries: lists.into_iter().flat_map(|found| found.entries).collect(),
        schemas: schemas.into(),
    })
}

/// Writes what differs, in one transaction where it fits, else in several, service by service.
async fn write(
    session: &Session,
    found: Difference,
    Standing {
        revision, schemas, ..
    }: Standing,
    (tries, how): (&Tries, &How),
    report: &mut Report,
) -> Result<(), Failure> {
    let plans = change::batches_of(session, found.edits)?;
    if plans.is_empty() {
        let why = format!("{} keys stand as they should", found.unchanged);
        return save::nothing(report, &why);
    }
    let with = |plan| Proposal::with(session, plan, revision, Action::Change, schemas.clone());
    let proposals: Vec<Proposal> = plans.into_iter().map(with).collect();
    tries.carry_out_all(session, proposals, how, report).await?;
    if how.dry_run {
        return Err(Failure::new(crate::report::Kind::Differs, ""));
    }
    Ok(())
}

fn notation(text: &str) -> Result<Notation, String> {
    Notation::parse(text).ok_or_else(|| "one of yaml, json, toml, env, properties".to_owned())
}
