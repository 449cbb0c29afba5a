//! `config status`: which instances run which change, by their own word. Exits 1 when not all run
//! the newest.

use std::collections::HashSet;
use std::time::Duration;

use fleet::config::canary::Standing;
use fleet::config::{ConfigKey, Scope};
use fleet::release::Recorded;
use fleet::rollout::{Answer, Rollout};
use fleet::{InstanceId, Revision};
use serde_json::json;

use super::{key, save, scope};
use crate::change::history;
use crate::change::reach::{Audience, Reach, wait_for};
use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::session::Session;

/// Show which instances run which change.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// A service, or one key
    what: String,
    /// Wait so long for all to run it
    #[arg(long, value_name = "TIME", value_parser = crate::settings::duration)]
    wait: Option<Duration>,
}

impl Status {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        let (scope, only) = if self.what.trim_end_matches('/').contains('/') {
            let named = key(&self.what)?;
            (named.scope.clone(), Some(named))
        } else {
            (scope(&self.what)?, None)
        };
        let config = &session.prefixes().config;
        let entries = session.list(&scope.prefix(config)).await?.entries;
        let mut changes = Vec::new();
        for entry in &entries {
            let Ok(named) = ConfigKey::from_key(config, &entry.key) else {
                continue;
            };
            if only.as_ref().is_none_or(|only| *only == named) {
                changes.push((named, entry.mod_revision));
            }
        }
        let records = history::records(session, &scope).await?;
        let standing: Vec<_> = changes.iter().map(|(key, _)| key.clone()).collect();
        changes.extend(unset(records).filter(|(key, _)| {
            only.as_ref().is_none_or(|only| only == key) && !standing.contains(key)
        }));
        if let (Some(only), true) = (&only, changes.is_empty()) {
            return Err(super::read::absent(session, only).await?);
        }
        if changes.is_empty() {
            // Any key of the scope names its readers.
            let any = ConfigKey::new(scope.clone(), "x").ok();
            changes.extend(any.map(|key| (key, Revision::ZERO)));
        }
        let rollout = match self.wait {
            Some(limit) => {
                let whom = (&changes[..], &Audience::Everyone);
                wait_for(session, whom, limit, |_| {}).await?.0
            }
            None => {
                let reach = Reach::read(session).await?;
                reach.rollout_of(session.prefixes(), &changes, &Audience::Everyone)
            }
        };
        let canary = entries
            .iter()
            .find_map(|entry| Standing::read(config, entry));
        let canary = super::canary::readable(canary, &scope, report);
        show(report, &scope, &rollout, canary.as_ref())?;
        if rollout.is_complete() {
            Ok(())
        } else if report.is_table() {
            Err(Failure::new(crate::report::Kind::Differs, ""))
        } else {
            Err(save::incomplete(&rollout))
        }
    }
}

/// The keys that the records say were unset last, with the revision that did.
fn unset(records: Vec<Recorded>) -> impl Iterator<Item = (ConfigKey, Revision)> {
    let mut seen = HashSet::new();
    let mut gone = Vec::new();
    // The newest first: what is said of a key first is what holds.
    for record in records {
        let Ok(release) = record.release else {
            continue;
        };
        for changed in release.changes {
            let is_gone = changed.after.is_none();
            if seen.insert(changed.key.clone())
                && is_gone
                && let Ok(key) = ConfigKey::parse(&changed.key)
            {
                gone.push((key, record.revision));
            }
        }
    }
    gone.into_iter()
}

fn show(
    report: &mut Report,
    scope: &Scope,
    rollout: &Rollout,
    canary: Option<&Standing>,
) -> Result<(), Failure> {
    let tries = |id: &InstanceId| canary.is_some_and(|standing| standing.canary.names(id));
    if !report.is_table() {
        let mut document = save::rollout_document(rollout);
        document["canary"] = json!(canary.map(|standing| json!({
            "revision": standing.entry.mod_revision.0,
            "instances": standing.canary.instances,
            "keys": standing.canary.changes.keys().collect::<Vec<_>>(),
        })));
        return report.one(&document, |_, _| String::new());
    }
    let mut table = Table::new(&["INSTANCE", "CONFIG", ""]);
    for target in &rollout.instances {
        let (mark, tone) = match target.answer {
            Answer::Applied => (format!("r{}", rollout.revision), Tone::Good),
            Answer::Refused { .. } => ("refused".to_owned(), Tone::Bad),
            Answer::Waiting { runs, .. } => (format!("r{runs}"), Tone::Warn),
            Answer::Overridden { .. } => ("overridden".to_owned(), Tone::Warn),
            Answer::Silent => ("?".to_owned(), Tone::Dim),
        };
        let mut note = match &target.answer {
            Answer::Applied => String::new(),
            other => other.to_string(),
        };
        if tries(&target.instance) {
            note.push_str(" runs the canary");
        }
        table.push(vec![
            target.instance.as_str().into(),
            Cell::new(mark, tone),
            note.trim().to_owned().into(),
        ]);
    }
    report.table(&table)?;
    report.text(&format!("{scope} at r{}: {rollout}\n", rollout.revision))
}
