//! `config edit`: a service's keys as a tree in the user's editor, and what came of it as one
//! guarded change. A tree with a fault goes back to the editor with the fault on top; text that
//! could not be saved stays on disk and is named.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::config::apply::{Prune, difference};
use fleet::config::tree::{TreeError, export, from_yaml};
use fleet::config::{ConfigKey, Scope};
use fleet::release::Action;
use fleet::{Edit as Change, Plan};

use super::save::{self, How};
use super::scope;
use crate::change::{self, Proposal, Schemas};
use crate::report::{Answer, Failure, Report};
use crate::session::Session;

/// What a fault stands behind, so that it is taken out again.
const MARK: &str = "#! ";

/// Edit a service's keys in $EDITOR.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The tree that comes back is compared with what was read: keys that are gone are removed, and secrets
marked !masked stay as they are. Without --yes the change is shown and asked for as with set.")]
pub(super) struct Edit {
    /// A service, or global
    scope: String,
    #[command(flatten)]
    how: How,
}

impl Edit {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if !self.how.dry_run {
            session.writer()?;
        }
        let scope = scope(&self.scope)?;
        let config = &session.prefixes().config;
        let listing = session.list(&scope.prefix(config)).await?;
        let schemas = Schemas::read(session, std::slice::from_ref(&scope)).await?;
        let reveal = super::secrets(self.how.reveal);
        let tree = export(config, &listing.entries, reveal, |key| {
            schemas.is_secret(key)
        });
        let before = if tree.text.is_empty() {
            format!("{scope}:\n  # some.key: value\n")
        } else {
            tree.text
        };
        let draft = Draft::new(&scope, &before)?;
        loop {
            draft.open()?;
            let text = draft.read()?;
            if text == before {
                draft.remove();
                report.note("nothing was changed");
                return Ok(());
            }
            let edits = match edits(&text, &scope, config, &listing.entries) {
                Ok(edits) => edits,
                Err(fault) => {
                    draft.write(&format!("{}{text}", marked(&fault)))?;
                    again(report, &draft, &fault)?;
                    continue;
                }
            };
            let plan = match Plan::new(edits) {
                Ok(plan) => plan,
                Err(error) => return Err(draft.kept(change::plan_failure(&error))),
            };
            if plan.is_empty() {
                draft.remove();
                return save::nothing(report, &format!("{scope} stands like that already"));
            }
            let proposal = Proposal::with(
                session,
                plan,
                listing.revision,
                Action::Change,
                schemas.clone(),
            );
            if !self.how.no_check && proposal.errors().next().is_some() {
                let faults: Vec<_> = proposal.errors().map(|f| f.violation.to_string()).collect();
                let fault = faults.join("\n");
                draft.write(&format!("{}{text}", marked(&fault)))?;
                again(report, &draft, &fault)?;
                continue;
            }
            return match save::carry_out(session, proposal, &self.how, report).await {
                Ok(_) => {
                    draft.remove();
                    Ok(())
                }
                Err(failure) => Err(draft.kept(failure)),
            };
        }
    }
}

/// What the text asks for, in its own scope alone.
fn edits(
    text: &str,
    scope: &Scope,
    config: &fleet::Prefix,
    entries: &[fleet::Entry],
) -> Result<Vec<Change>, String> {
    let mut tree = from_yaml(text).map_err(|error: TreeError| error.to_string())?;
    if let Some(other) = tree.scopes.iter().find(|other| *other != scope) {
        return Err(format!("{other} is not what is edited; only {scope} is"));
    }
    if tree.scopes.is_empty() {
        return Err(format!(
            "'{scope}:' is gone from the top; an empty one removes every key"
        ));
    }
    // What is no config key was not in the tree and is left alone.
    let own = |entry: &&fleet::Entry| ConfigKey::from_key(config, &entry.key).is_ok();
    let entries: Vec<_> = entries.iter().filter(own).cloned().collect();
    tree.scopes.truncate(1);
    let found = difference(&tree, config, &entries, Prune::Delete);
    Ok(found.map_err(|error| error.to_string())?.edits)
}

fn marked(fault: &str) -> String {
    let mut text = String::new();
    for line in fault.lines() {
        text.push_str(MARK);
        text.push_str(&fleet::safe::escape(line));
        text.push('\n');
    }
    text
}

/// Back to the editor, where someone is there; else the fault is the answer.
fn again(report: &Report, draft: &Draft, fault: &str) -> Result<(), Failure> {
    report.warn(fault);
    match report.confirm("Edit again?") {
        Some(Answer::Yes) => Ok(()),
        Some(Answer::No) | None => {
            Err(draft.kept(Failure::usage(format!("the tree was not saved: {fault}"))))
        }
    }
}

/// The text on disk, readable by its owner alone.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn new(scope: &Scope, text: &str) -> Result<Self, Failure> {
        let directory = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state")))
            .unwrap_or_else(std::env::temp_dir)
            .join("msctl/drafts");
        let draft = Self {
            path: directory.join(format!("{scope}-{}.yaml", std::process::id())),
        };
        std::fs::create_dir_all(&directory).map_err(|error| draft.fault(&error))?;
        draft.write(text)?;
        Ok(draft)
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&self.path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| self.fault(&error))
    }

    /// The text without the faults that were put on top.
    fn read(&self) -> Result<String, Failure> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| self.fault(&error))?;
        let lines = text.split_inclusive('\n');
        Ok(lines.filter(|line| !line.starts_with(MARK)).collect())
    }

    fn open(&self) -> Result<(), Failure> {
        let editor = ["VISUAL", "EDITOR"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|editor| !editor.trim().is_empty())
            .unwrap_or_else(|| "vi".to_owned());
        // Editors are given with arguments, as in `code --wait`; the shell takes them apart.
        let status = Command::new("sh")
            .args(["-c", &format!("{editor} \"$1\""), "sh"])
            .arg(&self.path)
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.kept(Failure::failed(format!(
                "the editor '{editor}' ended with {status}"
            )))),
            Err(error) => Err(self.kept(
                Failure::failed(format!("the editor '{editor}' cannot be started: {error}"))
                    .next("Set EDITOR."),
            )),
        }
    }

    fn remove(&self) {
        // A draft that stays is no harm.
        let _ = std::fs::remove_file(&self.path);
    }

    /// The failure, which names where the text is.
    fn kept(&self, failure: Failure) -> Failure {
        let next = failure
            .next_step()
            .map_or_else(String::new, |next| format!("{next} "));
        failure.next(format!(
            "{next}Your text is kept in {}.",
            self.path.display()
        ))
    }

    fn fault(&self, error: &std::io::Error) -> Failure {
        Failure::failed(format!("the draft {}: {error}", self.path.display()))
    }
}
