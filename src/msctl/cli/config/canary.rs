//! `config promote` and `config abort`: what becomes of a change that some instances try, decided
//! by a person or, with `--auto`, by how the instances do.

use std::time::Duration;

use fleet::config::Scope;
use fleet::config::canary::Standing;
use fleet::rollout::Verdict;
use fleet::{InstanceId, ServiceName};
use serde_json::json;

use super::save::{self, How};
use super::scope;
use crate::change::canary::watch::{out_of_reach, watch, with_its_fate};
use crate::change::canary::{end, end_any, promotion, standing};
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
pub(super) async fn auto(
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
