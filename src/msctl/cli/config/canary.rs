//! `config promote` and `config abort`: what becomes of a change that some instances try, decided
//! by a person or, with `--auto`, by how the instances do.

use std::time::Duration;

use fleet::config::Scope;
use fleet::config::canary::{CanaryError, Standing};
use fleet::rollout::Verdict;
use fleet::{InstanceId, ServiceName};
use serde_json::json;

use super::save::{self, How};
use super::scope;
use crate::change::Proposal;
use crate::change::canary::watch::{out_of_reach, watch, with_its_fate};
use crate::change::canary::{begin, begun, end, end_any, promotion, standing};
use crate::change::reach::Audience;
use crate::report::{Failure, Report};
use crate::session::Session;

/// Give the change that some instances try to all.
#[derive(Debug, clap::Args)]
pub(super) struct Promote {
    /// The service
    service: String,
    /// Watch first: promote after so long without trouble, abort at the first sign of it
    #[arg(long, value_name = "TIME", value_parser = crate::settings::duration)]
    auto: Option<Duration>,
    #[command(flatten)]
    how: How,
}

/// End the change that some instances try; they fall back to what the others run.
#[derive(Debug, clap::Args)]
pub(super) struct Abort {
    /// The service
    service: String,
    #[command(flatten)]
    how: How,
}

/// Whether a change is tried first.
#[derive(Debug, clap::Args)]
pub(super) struct Tries {
    /// Give it to these instances first; 'promote' gives it to all, 'abort' takes it back
    #[arg(long, value_name = "INSTANCE", value_delimiter = ',')]
    canary: Vec<String>,
    /// With --canary: promote after so long without trouble, abort at the first sign of it
    #[arg(long, value_name = "TIME", requires = "canary", value_parser = crate::settings::duration)]
    auto: Option<Duration>,
}

impl Tries {
    /// Carries a change out, for everyone or for the named instances first.
    pub(super) async fn carry_out(
        &self,
        session: &Session,
        proposal: Proposal,
        how: &How,
        report: &mut Report,
    ) -> Result<(), Failure> {
        if self.canary.is_empty() {
            return save::carry_out(session, proposal, how, report)
                .await
                .map(drop);
        }
        save::check(&proposal, how, report)?;
        let proposal = begin(session, proposal, &self.canary, &how.message).await?;
        let Some(quiet) = self.auto.filter(|_| !how.dry_run) else {
            return save::carry_out(session, proposal, how, report)
                .await
                .map(drop);
        };
        // Who could not be reached before the change cannot be blamed on it. Who answers is watched
        // for anyway; --wait is for those who get it when it is promoted.
        let config = &session.prefixes().config;
        let keys = proposal.keys(config);
        let (unreached, _) = out_of_reach(session, &keys, &proposal.audience()).await?;
        let tried = How {
            wait: None,
            ..how.clone()
        };
        let written = save::carry_out(session, proposal.clone(), &tried, report).await?;
        match written.and_then(|revision| begun(config, &proposal, revision)) {
            Some(standing) => auto(session, &standing, quiet, &unreached, how, report).await,
            None => Ok(()),
        }
    }

    /// The same of changes that one transaction may not be enough for.
    pub(super) async fn carry_out_all(
        &self,
        session: &Session,
        mut proposals: Vec<Proposal>,
        how: &How,
        report: &mut Report,
    ) -> Result<(), Failure> {
        match proposals.pop() {
            Some(only) if proposals.is_empty() => self.carry_out(session, only, how, report).await,
            Some(_) if !self.canary.is_empty() => Err(Failure::usage(
                "the change is too large for a canary, which is one key that holds all of it",
            )
            .next("Try a part of it first.")),
            last => {
                proposals.extend(last);
                save::carry_out_all(session, proposals, how, report).await
            }
        }
    }
}

impl Promote {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if !self.how.dry_run {
            session.writer()?;
        }
        let service = service(&self.service)?;
        let standing = standing(session, &service).await?;
        let proposal = promotion(session, &standing).await?;
        let Some(quiet) = self.auto.filter(|_| !self.how.dry_run) else {
            return save::carry_out(session, proposal, &self.how, report)
                .await
                .map(drop);
        };
        // What will be done later is agreed to now; nobody is asked again.
        save::check(&proposal, &self.how, report)?;
        save::ask(session, &proposal, &self.how, report).await?;
        let unreached = unreached(session, &standing).await?;
        auto(session, &standing, quiet, &unreached, &self.how, report).await
    }
}

impl Abort {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if !self.how.dry_run {
            session.writer()?;
        }
        let proposal = end_any(session, &service(&self.service)?).await?;
        save::carry_out(session, proposal, &self.how, report)
            .await
            .map(drop)
    }
}

/// A canary that was found; one whose record is damaged is told of, it may not be there in vain.
pub(super) fn readable(
    found: Option<Result<Standing, CanaryError>>,
    scope: &Scope,
    report: &Report,
) -> Option<Standing> {
    match found? {
        Ok(standing) => Some(standing),
        Err(error) => {
            report.warn(&format!("{scope}: {error}: msctl config abort {scope}"));
            None
        }
    }
}

fn service(text: &str) -> Result<ServiceName, Failure> {
    match scope(text)? {
        Scope::Service(service) => Ok(service),
        Scope::Global => Err(Failure::usage(
            "a canary is for chosen instances of one service",
        )),
    }
}

/// The canary's instances that cannot be reached from here, where no other instance of the service
/// can be either: then it is this place, not the change.
async fn unreached(session: &Session, standing: &Standing) -> Result<Vec<InstanceId>, Failure> {
    let keys: Vec<_> = standing.keys().map(|(key, _)| key).collect();
    let (away, all) = out_of_reach(session, &keys, &Audience::Everyone).await?;
    let tried = &standing.canary.instances;
    let elsewhere = all
        .iter()
        .any(|id| !tried.contains(id) && !away.contains(id));
    Ok(if elsewhere { Vec::new() } else { away })
}

/// Watches this canary until it is promoted or aborted, and does so. Exit 1 when it was aborted.
/// `unreached` are instances of which only their own word counts.
async fn auto(
    session: &Session,
    standing: &Standing,
    quiet: Duration,
    unreached: &[InstanceId],
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    let tried = &standing.canary.instances;
    for id in unreached.iter().filter(|id| tried.contains(id)) {
        report.warn(&format!(
            "{id} cannot be reached from here; only its own word in etcd is listened to"
        ));
    }
    let verdict = watch(session, standing, quiet, unreached, |because| {
        report.detail(because);
    })
    .await?;
    let done = |message: String, wait| How {
        message: if how.message.is_empty() {
            message
        } else {
            format!("{} ({message})", how.message)
        },
        yes: true,
        no_check: how.no_check,
        reveal: how.reveal,
        side_by_side: how.side_by_side,
        wait,
        dry_run: false,
    };
    let (how, because) = match verdict {
        Verdict::Abort { because } => (
            done(format!("canary aborted: {because}"), None),
            Some(because),
        ),
        Verdict::Promote | Verdict::Wait { .. } => {
            let quiet = fleet::finding::age(quiet);
            (
                done(format!("canary was quiet for {quiet}"), how.wait),
                None,
            )
        }
    };
    let proposal = match because {
        Some(_) => end(session, standing).await,
        None => promotion(session, standing).await,
    };
    let carried = match proposal {
        Ok(proposal) => save::carry_out(session, proposal, &how, report).await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = carried {
        return Err(with_its_fate(session, standing, failure).await);
    }
    match because {
        None => Ok(()),
        Some(because) => Err(
            Failure::failed(format!("the canary was aborted: {because}"))
                .next("The other instances never ran the change.")
                .with_machine_details(json!({ "aborted": because })),
        ),
    }
}
