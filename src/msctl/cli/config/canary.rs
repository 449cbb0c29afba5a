//! `config promote` and `config abort`: what becomes of a change that some instances try, decided
//! by a person or, with `--auto`, by how the instances do.

use std::time::{Duration, Instant};

use fleet::config::canary::{Standing, key_of};
use fleet::config::{ConfigKey, Scope};
use fleet::release::Action;
use fleet::rollout::{Seen as Doing, Verdict, decide};
use fleet::{Plan, Seen, ServiceName};
use futures::StreamExt as _;
use serde_json::json;

use super::save::{self, How};
use super::scope;
use crate::change::reach::{Audience, Reach};
use crate::change::{self, Proposal};
use crate::probe::{ProbeOptions, Prober};
use crate::report::{Failure, Report};
use crate::session::Session;

/// How long instances may take to answer for a canary.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a canary is looked at.
const LOOK: Duration = Duration::from_millis(500);

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
        match self.auto {
            Some(quiet) => watch(session, &service, quiet, report).await,
            None => promote(session, &service, &self.how, report).await,
        }
    }
}

impl Abort {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if !self.how.dry_run {
            session.writer()?;
        }
        let service = service(&self.service)?;
        abort(session, &service, &self.how, report).await
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

async fn standing(session: &Session, service: &ServiceName) -> Result<Standing, Failure> {
    let config = &session.prefixes().config;
    let key = key_of(config, service);
    let (Some(entry), _) = session.get(&key).await? else {
        return Err(
            Failure::not_found(format!("no canary of {service} is under way"))
                .next("Begin one with 'msctl config set KEY VALUE --canary INSTANCE'."),
        );
    };
    match Standing::read(config, &entry) {
        Some(Ok(standing)) => Ok(standing),
        Some(Err(error)) => Err(save::canary_failure(&error)),
        None => Err(Failure::failed(format!("{key} is no canary's key"))),
    }
}

async fn promote(
    session: &Session,
    service: &ServiceName,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    let config = &session.prefixes().config;
    let standing = standing(session, service).await?;
    let listing = session
        .list(&Scope::Service(service.clone()).prefix(config))
        .await?;
    let seen = |key: &fleet::Key| {
        let found = listing.entries.iter().find(|entry| entry.key == *key);
        Seen::from(found.cloned())
    };
    let plan = standing
        .promote(config, seen)
        .map_err(|error| save::canary_failure(&error))?;
    let action = Action::Promote(standing.entry.mod_revision.0);
    let proposal = Proposal::of(session, plan, listing.revision, action).await?;
    save::carry_out(session, proposal, how, report).await
}

async fn abort(
    session: &Session,
    service: &ServiceName,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    let config = &session.prefixes().config;
    let key = key_of(config, service);
    // A damaged record can be ended too.
    let (Some(entry), revision) = session.get(&key).await? else {
        return Err(Failure::not_found(format!(
            "no canary of {service} is under way"
        )));
    };
    let action = Action::Abort(entry.mod_revision.0);
    let edit = fleet::Edit::delete(key, Seen::At(entry));
    let plan = Plan::new([edit]).map_err(|error| change::plan_failure(&error))?;
    let proposal = Proposal::of(session, plan, revision, action).await?;
    save::carry_out(session, proposal, how, report).await
}

/// Watches a canary until it is promoted or aborted, and does so. Exit 1 when it was aborted.
pub(super) async fn watch(
    session: &Session,
    service: &ServiceName,
    quiet: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let standing = standing(session, service).await?;
    let revision = standing.entry.mod_revision;
    let canary = &standing.canary;
    let scope = Scope::Service(service.clone());
    let keys: Vec<ConfigKey> = canary
        .changes
        .keys()
        .filter_map(|path| ConfigKey::new(scope.clone(), path).ok())
        .collect();
    let audience = Audience::Only(canary.instances.clone());
    let prober = Prober::new(ProbeOptions::default());
    let mut well_since: Option<Instant> = None;
    let mut said = String::new();
    loop {
        let (now, _) = session.get(&standing.entry.key).await?;
        if now.is_none_or(|entry| entry.mod_revision != revision) {
            return Err(
                Failure::failed(format!("the canary of {service} was ended by another"))
                    .next(format!("See who did: msctl config history {service}")),
            );
        }
        let reach = Reach::read(session).await?;
        let rollout = reach.rollout(session.prefixes(), revision, &keys, &audience);
        let asked = reach.instances(&keys, &audience).map(|instance| {
            (
                instance.record.id.clone(),
                std::sync::Arc::new(instance.clone()),
            )
        });
        let doing: Vec<Doing> = prober
            .instances(asked.collect::<Vec<_>>())
            .map(|(instance, verdict)| Doing {
                instance,
                health: verdict.health,
            })
            .collect()
            .await;
        if rollout.is_complete() {
            well_since.get_or_insert_with(Instant::now);
        } else {
            well_since = None;
        }
        let quiet_for = well_since.map_or(Duration::ZERO, |since| since.elapsed());
        let how = |message: String| How {
            message,
            yes: true,
            ..How::default()
        };
        match decide(
            &canary.instances,
            &rollout,
            &doing,
            (begun.elapsed(), PATIENCE),
            (quiet_for, quiet),
        ) {
            Verdict::Wait { because } => {
                if because != said {
                    report.detail(&because);
                    said = because;
                }
                tokio::time::sleep(LOOK).await;
            }
            Verdict::Promote => {
                let message = format!("canary was quiet for {}", fleet::finding::age(quiet));
                return promote(session, service, &how(message), report).await;
            }
            Verdict::Abort { because } => {
                let mut silent = how(format!("canary aborted: {because}"));
                silent.wait = None;
                abort(session, service, &silent, report).await?;
                return Err(
                    Failure::failed(format!("the canary was aborted: {because}"))
                        .next("The other instances never ran the change.")
                        .with_machine_details(json!({ "aborted": because })),
                );
            }
        }
    }
}
