//! `config set` and `config unset`: checked, previewed, asked about, written in one guarded
//! transaction with its record, and told with how to undo it.

use std::io::Read;
use std::time::Duration;

use fleet::config::ConfigKey;
use fleet::config::diff::Secrets;
use fleet::config::edit::{ConfigEdit, EditError};
use fleet::config::value;
use fleet::plan::MAX_BYTES;
use fleet::release::{Author, record};
use fleet::{Conflict, Entry, Outcome, Plan, PlanError, Revision, Seen};
use serde_json::{Value as Json, json};

use super::{key, preview, rollout, secrets, shown};
use crate::report::{Answer, Failure, Kind, Report};
use crate::session::{Session, Writer};
use crate::settings::Stage;

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
  msctl config set order/timeout.write 5s --wait 30s             until every instance runs it"
)]
pub(super) struct Set {
    /// Keys and values in turn; a value is YAML, @FILE or - for stdin
    #[arg(required = true, num_args = 1.., value_names = ["KEY", "VALUE"], allow_negative_numbers = true)]
    pairs: Vec<String>,
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
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Why, for the history
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    message: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Show what would change, write nothing
    #[arg(long)]
    dry_run: bool,
    /// Only if the key was last written at this revision; 0 for a key that is not there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    if_revision: Option<i64>,
    /// Wait so long for every instance to run the change
    #[arg(long, value_name = "TIME", value_parser = crate::settings::duration)]
    wait: Option<Duration>,
    /// Show secrets in the preview
    #[arg(long)]
    reveal: bool,
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
        change(session, edits, &self.how, report).await
    }
}

impl Unset {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let mut edits = Vec::new();
        for name in &self.keys {
            edits.push(ConfigEdit::Unset { key: key(name)? });
        }
        change(session, edits, &self.how, report).await
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

async fn change(
    session: &Session,
    edits: Vec<ConfigEdit>,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    let writer = session.writer()?;
    let config = &session.prefixes().config;
    if how.if_revision.is_some() && edits.len() > 1 {
        return Err(Failure::usage(
            "--if-revision speaks of one key, and several are given",
        ));
    }
    let mut seen = Vec::new();
    let mut revision = Revision::ZERO;
    for edit in &edits {
        let (entry, at) = session.get(&edit.key().to_key(config)).await?;
        revision = at;
        if let Some(expected) = how.if_revision {
            let stands = entry.as_ref().map_or(0, |entry| entry.mod_revision.0);
            if stands != expected {
                return Err(conflict_at(edit.key(), expected, entry.as_ref()));
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
    let bare = fleet::config::edit::plan(config, edits, look).map_err(edit_failure)?;
    if bare.is_empty() {
        return unchanged(&seen, report);
    }
    let author = Author {
        name: session.author(),
        time: jiff::Timestamp::now(),
        message: how.message.clone(),
    };
    let plan = record(
        bare.clone(),
        config,
        &session.prefixes().releases,
        &author,
        revision,
        std::process::id() ^ author.time.subsec_nanosecond().unsigned_abs(),
    )
    .map_err(|error| Failure::usage(error.to_string()))?;
    let secrets = secrets(how.reveal);
    if how.dry_run {
        let palette = report.palette();
        return report.one(&planned(&bare, config, secrets), |_, _| {
            preview::plan(&bare, config, secrets, palette)
        });
    }
    ask(session, &bare, how, secrets, report)?;
    let outcome = writer.commit(&plan).await?;
    match outcome {
        Outcome::Applied { revision } => applied(&writer, &bare, revision, how, report).await,
        Outcome::Refused { conflicts } => Err(conflict(config, &conflicts)),
        Outcome::Unknown { cause } => Err(Failure::failed(format!(
            "it is unknown whether the change was written: {cause}"
        ))
        .next("Look with 'msctl config get' before you repeat it.")),
    }
}

/// Shows the change and asks, where someone is there to answer.
fn ask(
    session: &Session,
    plan: &Plan,
    how: &How,
    secrets: Secrets,
    report: &Report,
) -> Result<(), Failure> {
    if how.yes {
        return Ok(());
    }
    let context = session.context();
    if report.can_ask() {
        let config = &session.prefixes().config;
        report.show(&preview::plan(plan, config, secrets, report.err_palette()));
    }
    let stopped = || Failure::failed("nothing was written");
    match context.stage {
        Stage::Production => {
            let question = format!(
                "'{}' is a production context. Type its name to write:",
                context.name
            );
            match report.ask(&question) {
                Some(answer) if answer == *context.name => Ok(()),
                Some(_) => Err(stopped()),
                None => Err(Failure::refused(format!(
                    "context '{}' is production and nobody is here to confirm",
                    context.name
                ))
                .next("Give --yes if you mean it.")),
            }
        }
        Stage::Ordinary => {
            let members = context.members();
            let question = if *context.name == *members {
                format!("Save to etcd {members}?")
            } else {
                format!("Save to {} (etcd {members})?", context.name)
            };
            match report.confirm(&question) {
                Some(Answer::No) => Err(stopped()),
                Some(Answer::Yes) | None => Ok(()),
            }
        }
    }
}

async fn applied(
    writer: &Writer,
    plan: &Plan,
    revision: Revision,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    let session = writer.session();
    let config = &session.prefixes().config;
    let progress = match how.wait {
        None => None,
        Some(limit) => Some(rollout::wait(session, plan, revision, limit).await?),
    };
    let mut answer = planned(plan, config, secrets(how.reveal));
    answer["revision"] = json!(revision.0);
    if let Some(progress) = &progress {
        answer["rollout"] = json!(progress);
    }
    let undo = undo(plan, config);
    report.one(&answer, |_, _| {
        let rolled = progress
            .as_ref()
            .map_or_else(String::new, |p| format!(" · {p}"));
        format!("saved as revision {revision}{rolled}{undo}")
    })?;
    match progress {
        Some(progress) if !progress.is_complete() => Err(progress.failure()),
        _ => Ok(()),
    }
}

/// The command that takes one key's change back, where it can be said in a line.
fn undo(plan: &Plan, config: &fleet::Prefix) -> String {
    let [edit] = plan.edits() else {
        return String::new();
    };
    let Ok(key) = ConfigKey::from_key(config, &edit.key) else {
        return String::new();
    };
    let command = match edit.seen.value() {
        None => format!("msctl config unset {key}"),
        Some(before) => match std::str::from_utf8(before) {
            Ok(text)
                if text.len() < 60
                    && !fleet::config::secret::is_secret(key.path())
                    && !text.contains(['\n', '\'']) =>
            {
                let plain = text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-+:".contains(c));
                let quote = if plain { "" } else { "'" };
                format!(
                    "msctl config set {key} {quote}{}{quote}",
                    fleet::safe::escape(text)
                )
            }
            _ => return String::new(),
        },
    };
    format!(" · undo: {command}")
}

fn unchanged(seen: &[(ConfigKey, Option<Entry>)], report: &mut Report) -> Result<(), Failure> {
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
                    shown(key.path(), &entry.value, Secrets::Masked),
                    entry.mod_revision
                ),
                None => format!("{key} is not there already"),
            })
            .collect();
        format!("nothing to write: {}", keys.join(", "))
    })
}

fn planned(plan: &Plan, config: &fleet::Prefix, secrets: Secrets) -> Json {
    let changes: Vec<Json> = plan
        .edits()
        .iter()
        .filter_map(|edit| {
            let key = ConfigKey::from_key(config, &edit.key).ok()?;
            let text = |value: &[u8]| {
                if secrets == Secrets::Masked && fleet::config::secret::is_secret(key.path()) {
                    fleet::config::secret::MASK.to_owned()
                } else {
                    String::from_utf8_lossy(value).into_owned()
                }
            };
            let after = match &edit.write {
                fleet::Write::Put { value, .. } => Some(text(value)),
                fleet::Write::Delete => None,
            };
            Some(json!({
                "key": key.to_string(),
                "before": edit.seen.value().map(text),
                "after": after,
                "seen_revision": edit.seen.revision().0,
            }))
        })
        .collect();
    json!({ "revision": Json::Null, "changes": changes })
}

fn conflict(config: &fleet::Prefix, conflicts: &[Conflict]) -> Failure {
    let mut sentences = Vec::new();
    let mut details = Vec::new();
    for conflict in conflicts {
        let name = ConfigKey::from_key(config, &conflict.key)
            .map_or_else(|_| conflict.key.to_string(), |key| key.to_string());
        let path = name.split_once('/').map_or("", |(_, path)| path);
        let saw = match conflict.seen.revision() {
            Revision::ZERO => "you saw no such key".to_owned(),
            seen => format!("you saw revision {seen}"),
        };
        sentences.push(match &conflict.current {
            Some(current) => format!(
                "{name} changed at revision {} to {} ({saw})",
                current.mod_revision,
                shown(path, &current.value, Secrets::Masked)
            ),
            None => format!("{name} was removed ({saw})"),
        });
        details.push(json!({
            "key": name,
            "seen_revision": conflict.seen.revision().0,
            "current_revision": conflict.current.as_ref().map_or(0, |c| c.mod_revision.0),
            "current": conflict.current.as_ref().map(|c| shown(path, &c.value, Secrets::Masked)),
        }));
    }
    Failure::new(Kind::Conflict, sentences.join("; "))
        .next("Nothing was written. Look at the new value and repeat.")
        .with_machine_details(Json::Array(details))
}

fn conflict_at(key: &ConfigKey, expected: i64, entry: Option<&Entry>) -> Failure {
    let stands = entry.map_or(0, |entry| entry.mod_revision.0);
    let now = match entry {
        Some(entry) => format!(
            "{key} changed at revision {stands} to {} (you expected revision {expected})",
            shown(key.path(), &entry.value, Secrets::Masked)
        ),
        None => format!("{key} is not there (you expected revision {expected})"),
    };
    Failure::new(Kind::Conflict, now)
        .next("Nothing was written. Look at the value and repeat with its revision.")
        .with_machine_details(json!([{
            "key": key.to_string(),
            "seen_revision": expected,
            "current_revision": stands,
            "current": entry.map(|e| shown(key.path(), &e.value, Secrets::Masked)),
        }]))
}

fn edit_failure(error: EditError) -> Failure {
    match error {
        EditError::Plan(PlanError::TooLarge(bytes)) => Failure::usage(format!(
            "the change has {bytes} bytes, etcd takes at most {MAX_BYTES} at once"
        ))
        .next("Split it, or keep large data elsewhere."),
        error => Failure::usage(error.to_string()),
    }
}
