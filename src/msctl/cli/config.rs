//! `msctl config`: values read, changed and followed. A write is previewed, guarded by what was
//! seen, recorded with author and message, and told with how to undo it.

mod canary;
mod conflict;
mod diff;
mod draft;
mod edit;
mod explain;
mod files;
mod foreseen;
mod history;
mod preview;
mod read;
mod rollback;
mod save;
mod status;
mod tree;
mod validate;
mod watch;
mod write;

use std::borrow::Cow;

use fleet::Key;
use fleet::config::diff::Secrets;
use fleet::config::secret::redact::{redact, redact_stored};
use fleet::config::{ConfigKey, Published, Scope};

use crate::report::{Failure, Report};
use crate::session::Session;

/// Read and change configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A key is <service>/<dotted.key>, or global/<dotted.key> for all services; a value is YAML.

Examples:
  msctl config list order
  msctl config get order/timeout.write
  msctl config set order/timeout.write 5s -m \"slow disk on b\"
  msctl config set order/retry '{attempts: 3, backoff: 100ms}' --wait 30s
  msctl config unset order/timeout.write
  msctl config diff order --revision 811
  msctl config watch order")]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print one value
    Get(read::Get),
    /// List keys with values and where they come from
    List(read::List),
    /// Change values
    Set(write::Set),
    /// Remove values, so that the layer below counts
    Unset(write::Unset),
    /// Compare with an earlier revision, another service, or files
    Diff(diff::Diff),
    /// Follow changes, one JSON document each
    Watch(watch::Watch),
    /// Show what changed, when, by whom and why
    History(history::History),
    /// Bring a service's config back to a release, or take one release back
    Rollback(rollback::Rollback),
    /// Edit a service's keys in $EDITOR
    Edit(edit::Edit),
    /// Print config as a tree that apply takes back
    Export(tree::Export),
    /// Set a service's keys from a file
    Import(tree::Import),
    /// Make the store what a tree says
    Apply(tree::Apply),
    /// Check config against what the services say of it
    Validate(validate::Validate),
    /// Show every layer's value of a key, which one counts and since when
    Explain(explain::Explain),
    /// Show which instances run which change
    Status(status::Status),
    /// Give the change that some instances try to all
    Promote(canary::Promote),
    /// End the change that some instances try
    Abort(canary::Abort),
}

impl Config {
    /// Does what was asked.
    ///
    /// # Errors
    /// The verb's own.
    pub async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        match &self.verb {
            Verb::Get(verb) => verb.run(session, report).await,
            Verb::List(verb) => verb.run(session, report).await,
            Verb::Set(verb) => verb.run(session, report).await,
            Verb::Unset(verb) => verb.run(session, report).await,
            Verb::Diff(verb) => verb.run(session, report).await,
            Verb::Watch(verb) => verb.run(session, report).await,
            Verb::History(verb) => verb.run(session, report).await,
            Verb::Rollback(verb) => verb.run(session, report).await,
            Verb::Edit(verb) => verb.run(session, report).await,
            Verb::Export(verb) => verb.run(session, report).await,
            Verb::Import(verb) => verb.run(session, report).await,
            Verb::Apply(verb) => verb.run(session, report).await,
            Verb::Validate(verb) => verb.run(session, report).await,
            Verb::Explain(verb) => verb.run(session, report).await,
            Verb::Status(verb) => verb.run(session, report).await,
            Verb::Promote(verb) => verb.run(session, report).await,
            Verb::Abort(verb) => verb.run(session, report).await,
        }
    }
}

fn key(text: &str) -> Result<ConfigKey, Failure> {
    ConfigKey::parse(text).map_err(|error| Failure::usage(error.to_string()))
}

fn scope(text: &str) -> Result<Scope, Failure> {
    Scope::parse(text.trim_end_matches('/')).map_err(|error| {
        Failure::usage(error.to_string())
            .next("Name a service, or global; 'msctl config list' lists all.")
    })
}

/// Whether secrets are shown.
fn secrets(reveal: bool) -> Secrets {
    if reveal {
        Secrets::Revealed
    } else {
        Secrets::Masked
    }
}

/// How differences of several lines are laid out.
fn layout(side_by_side: bool) -> preview::Layout {
    if side_by_side {
        preview::Layout::SideBySide
    } else {
        preview::Layout::Unified
    }
}

/// What of the values may be shown.
struct Mask {
    secrets: Secrets,
    known: Published,
}

impl Mask {
    /// Reads what the services say of some scopes.
    async fn read(session: &Session, scopes: &[Scope], reveal: bool) -> Result<Self, Failure> {
        Ok(Self {
            secrets: secrets(reveal),
            known: crate::change::schemas::read(session, scopes).await?,
        })
    }

    /// A key's value as it may be shown.
    fn shown<'v>(&self, key: &ConfigKey, value: &'v [u8]) -> Cow<'v, [u8]> {
        match self.secrets {
            Secrets::Masked => redact(&self.known, key, value),
            Secrets::Revealed => Cow::Borrowed(value),
        }
    }

    /// Whether all of it is hidden.
    fn hides(&self, key: &ConfigKey) -> bool {
        self.secrets == Secrets::Masked && self.known.is_secret(key)
    }

    /// The same for whatever stands under the config prefix, a canary too.
    fn stored<'v>(&self, session: &Session, key: &Key, value: &'v [u8]) -> Cow<'v, [u8]> {
        match self.secrets {
            Secrets::Masked => redact_stored(&self.known, session.prefixes(), key, value),
            Secrets::Revealed => Cow::Borrowed(value),
        }
    }
}

/// YAML as JSON where it has a JSON form, else its text.
fn as_json(value: &[u8]) -> serde_json::Value {
    let text = String::from_utf8_lossy(value);
    match fleet::config::value::parse(value) {
        Ok(parsed) => serde_json::to_value(&parsed)
            .unwrap_or_else(|_| serde_json::Value::String(text.into_owned())),
        Err(_) => serde_json::Value::String(text.into_owned()),
    }
}

/// A value that may be shown, on one line for a table.
fn one_line(value: &[u8]) -> String {
    match fleet::config::value::parse(value) {
        Ok(parsed) => fleet::config::value::one_line(&parsed),
        Err(_) => fleet::safe::escape_bytes(value).into_owned(),
    }
}
