//! `config status`: which instances run which change, by their own word. Exits 1 when not all run
//! the newest.

use std::time::Duration;

use fleet::config::canary::Standing;
use fleet::config::{ConfigKey, Scope};
use fleet::rollout::{Answer, Rollout};
use fleet::{InstanceId, Revision};
use serde_json::json;

use super::{key, save, scope};
use crate::change::reach::{Audience, Reach, wait};
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
        let mut keys = Vec::new();
        let mut newest = Revision::ZERO;
        for entry in &entries {
            let Ok(named) = ConfigKey::from_key(config, &entry.key) else {
                continue;
            };
            if only.as_ref().is_none_or(|only| *only == named) {
                newest = newest.max(entry.mod_revision);
                keys.push(named);
            }
        }
        if let (Some(only), true) = (&only, keys.is_empty()) {
            return Err(super::read::absent(session, only).await?);
        }
        if keys.is_empty() {
            keys.extend(ConfigKey::new(scope.clone(), "x").ok());
        }
        let rollout = match self.wait {
            Some(limit) => {
                let whom = (&keys[..], &Audience::Everyone);
                wait(session, whom, newest, limit, |_| {}).await?.0
            }
            None => {
                let reach = Reach::read(session).await?;
                reach.rollout(session.prefixes(), newest, &keys, &Audience::Everyone)
            }
        };
        let canary = entries
            .iter()
            .find_map(|entry| Standing::read(config, entry));
        show(
            report,
            &scope,
            &rollout,
            canary.and_then(Result::ok).as_ref(),
        )?;
        if rollout.is_complete() {
            Ok(())
        } else if report.is_table() {
            Err(Failure::new(crate::report::Kind::Differs, ""))
        } else {
            Err(save::incomplete(&rollout))
        }
    }
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
