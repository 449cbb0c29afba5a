//! `config set` and `config unset`: any number of keys, written together or not at all.

use std::io::Read;

use fleet::config::edit::{ConfigEdit, EditError};
use fleet::config::{ConfigKey, value};
use fleet::release::Action;
use fleet::{Entry, Revision, Seen};
use serde_json::json;

use super::canary::Tries;
use super::save::How;
use super::{key, one_line};
use crate::change::{self, Proposal};
use crate::report::{Failure, Report};
use crate::session::Session;

/// How much of a value from a file or stdin is read before it is refused.
const READ_LIMIT: u64 = 16 << 20;

/// Change values.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "msctl config set [OPTIONS] <KEY> <VALUE> [<KEY> <VALUE>]...",
    after_help = "\
Examples:
  msctl config set order/timeout.write 5s -m \"slow disk on b\"
  msctl config set order/timeout.write 5s order/page.size 50     both or none
  msctl config set order/rules @rules.yaml                       from a file; '-' reads stdin
  msctl config set order/timeout.write 5s --if-revision 811      only if nobody changed it since
  msctl config set order/timeout.write 5s --wait 30s             until every instance runs it
  msctl config set order/timeout.write 5s --canary order-7f3a-1  this instance alone, for now"
)]
pub(super) struct Set {
    /// Keys and values in turn; a value is YAML, @FILE or - for stdin
    #[arg(required = true, num_args = 1.., value_names = ["KEY", "VALUE"], allow_negative_numbers = true)]
    pairs: Vec<String>,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    how: How,
}

/// Remove values, so that the layer below counts.
#[derive(Debug, clap::Args)]
pub(super) struct Unset {
    /// Keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Only {
    /// Only if the key was last written at this revision; 0 for a key that is not there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    if_revision: Option<i64>,
    #[command(flatten)]
    tries: Tries,
}

impl Set {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let mut edits = Vec::new();
        for pair in self.pairs.chunks(2) {
            let [name, text] = pair else {
                return Err(Failure::usage(format!("no value for {}", pair.join("")))
                    .next("Give keys and values in turn; '\"\"' is an empty text."));
            };
            let key = key(name)?;
            let value = read_value(text)?;
            // Told before etcd is asked for anything.
            value::parse(&value).map_err(|source| refused(&key, &source.to_string()))?;
            let value = String::from_utf8(value)
                .map_err(|_| refused(&key, &value::ValueError::NotText.to_string()))?;
            edits.push(ConfigEdit::Set { key, value });
        }
        run(session, edits, &self.only, &self.how, report).await
    }
}

impl Unset {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let mut edits = Vec::new();
        for name in &self.keys {
            edits.push(ConfigEdit::Unset { key: key(name)? });
        }
        run(session, edits, &self.only, &self.how, report).await
    }
}

fn refused(key: &ConfigKey, why: &str) -> Failure {
    Failure::usage(format!("{key}: {why}"))
}

/// The bytes of a value: as given, from a file, or from stdin. A line end at the end of a file is
/// the file's, not the value's.
fn read_value(text: &str) -> Result<Vec<u8>, Failure> {
    let read = |reader: &mut dyn Read, name: &str| {
        let mut bytes = Vec::new();
        reader
            .take(READ_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        if bytes.ends_with(b"\n") && !bytes[..bytes.len() - 1].contains(&b'\n') {
            bytes.pop();
        }
        Ok::<_, Failure>(bytes)
    };
    match text.strip_prefix('@') {
        Some(path) => {
            let mut file = std::fs::File::open(path)
                .map_err(|error| Failure::usage(format!("{path}: {error}")))?;
            read(&mut file, path)
        }
        None if text == "-" => read(&mut std::io::stdin().lock(), "stdin"),
        None => Ok(text.as_bytes().to_vec()),
    }
}

async fn run(
    session: &Session,
    edits: Vec<ConfigEdit>,
    only: &Only,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    if !how.dry_run {
        session.writer()?;
    }
    let config = &session.prefixes().config;
    if only.if_revision.is_some() && edits.len() > 1 {
        return Err(Failure::usage(
            "--if-revision speaks of one key, and several are given",
        ));
    }
    let mut seen = Vec::new();
    let mut revision = Revision::ZERO;
    for edit in &edits {
        let (entry, at) = session.get(&edit.key().to_key(config)).await?;
        revision = at;
        if let Some(expected) = only.if_revision {
            let stands = entry.as_ref().map_or(0, |entry| entry.mod_revision.0);
            if stands != expected {
                let own = std::slice::from_ref(&edit.key().scope);
                let known = change::schemas::read(session, own).await?;
                let entry = entry.as_ref();
                return Err(super::conflict::at(&known, edit.key(), expected, entry));
            }
        }
        if matches!(edit, ConfigEdit::Unset { .. }) && entry.is_none() {
            return Err(super::read::absent(session, edit.key()).await?);
        }
        seen.push((edit.key().clone(), entry));
    }
    let look = |key: &ConfigKey| {
        let found = seen.iter().find(|(seen, _)| seen == key);
        Seen::from(found.and_then(|(_, entry)| entry.clone()))
    };
    let plan = fleet::config::edit::plan(config, edits, look).map_err(|error| match error {
        EditError::Plan(error) => change::plan_failure(&error),
        error => Failure::usage(error.to_string()),
    })?;
    if plan.is_empty() {
        return unchanged(session, &seen, report).await;
    }
    let proposal = Proposal::of(session, plan, revision, Action::Change).await?;
    only.tries.carry_out(session, proposal, how, report).await
}

async fn unchanged(
    session: &Session,
    seen: &[(ConfigKey, Option<Entry>)],
    report: &mut Report,
) -> Result<(), Failure> {
    let scopes: Vec<_> = seen.iter().map(|(key, _)| key.scope.clone()).collect();
    let mask = super::Mask::read(session, &scopes, false).await?;
    let revision = seen
        .iter()
        .filter_map(|(_, entry)| entry.as_ref())
        .map(|entry| entry.mod_revision.0)
        .max();
    report.one(&json!({ "revision": revision, "changes": [] }), |_, _| {
        let keys: Vec<String> = seen
            .iter()
            .map(|(key, entry)| match entry {
                Some(entry) => format!(
                    "{key} is {} already (r{})",
                    one_line(&mask.shown(key, &entry.value)),
                    entry.mod_revision
                ),
                None => format!("{key} is not there already"),
            })
            .collect();
        format!("nothing to write: {}", keys.join(", "))
    })
}
