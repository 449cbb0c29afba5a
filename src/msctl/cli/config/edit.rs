//! `config edit`: a service's keys as a tree in the user's editor, and what came of it as one
//! guarded change. A tree with a fault goes back to the editor with the fault on top; text that
//! could not be saved stays on disk and is named.

use fleet::config::apply::{Prune, difference};
use fleet::config::secret::redact::holds_secret;
use fleet::config::tree::{TreeError, export, from_yaml};
use fleet::config::{ConfigKey, Scope};
use fleet::release::Action;
use fleet::{Edit as Change, Plan};

use super::canary::Tries;
use super::save::{self, How};
use super::{draft::Draft, scope};
use crate::change::{self, Proposal, schemas};
use crate::report::{Answer, Failure, Report};
use crate::session::Session;

/// Edit a service's keys in $EDITOR.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The tree that comes back is compared with what was read: keys that are gone are removed, and secrets
marked !masked stay as they are. Without --yes the change is shown and asked for as with set.")]
pub(super) struct Edit {
    /// A service, or global
    scope: String,
    #[command(flatten)]
    tries: Tries,
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
        let known = schemas::read(session, std::slice::from_ref(&scope)).await?;
        let reveal = super::secrets(self.how.reveal);
        let tree = export(config, &listing.entries, reveal, |key, value| {
            holds_secret(&known, key, value)
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
                    draft.mark(&fault, &text)?;
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
                known.clone(),
            );
            if !self.how.no_check && proposal.errors().next().is_some() {
                let faults: Vec<_> = proposal.errors().map(|f| f.violation.to_string()).collect();
                let fault = faults.join("\n");
                draft.mark(&fault, &text)?;
                again(report, &draft, &fault)?;
                continue;
            }
            let (tries, how) = (&self.tries, &self.how);
            return match tries.carry_out(session, proposal, how, report).await {
                Ok(()) if self.how.dry_run => {
                    report.note(&draft.place());
                    Ok(())
                }
                Ok(()) => {
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
