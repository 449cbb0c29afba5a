//! How a canary does: watched until it is plain whether it may be given to everyone.
//!
//! Decides and writes nothing. Evidence is what the instances say in etcd and how they answer from
//! here; who could not be reached before is not blamed for it, and one lost answer is no verdict.

use std::time::{Duration, Instant};

use fleet::config::ConfigKey;
use fleet::config::canary::Standing;
use fleet::rollout::{Rollout, Seen as Doing, Verdict, decide};
use fleet::{Health, Instance, InstanceId, ServiceName};
use futures::StreamExt as _;

use crate::change::reach::{Audience, Reach};
use crate::probe::{ProbeOptions, Prober};
use crate::report::{Failure, Kind};
use crate::session::Session;

/// How long instances may take to answer for a canary, and etcd to be heard again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a canary is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Those of a change's instances that no connection is to be had to from here, and all of them.
/// Asked before a canary begins, the first are no evidence against it.
///
/// # Errors
/// When etcd cannot be read.
pub async fn out_of_reach(
    session: &Session,
    keys: &[ConfigKey],
    audience: &Audience,
) -> Result<(Vec<InstanceId>, Vec<InstanceId>), Failure> {
    let reach = Reach::read(session).await?;
    let all = reach.instances(keys, audience);
    let doing = doing(&session.prober(ProbeOptions::default()), all).await;
    let away = doing.iter().filter(|one| is_away(one.health));
    let away = away.map(|one| one.instance.clone()).collect();
    Ok((away, doing.into_iter().map(|one| one.instance).collect()))
}

fn is_away(health: Health) -> bool {
    matches!(health, Health::Unreachable | Health::Hung)
}

async fn doing<'a>(prober: &Prober, instances: impl Iterator<Item = &'a Instance>) -> Vec<Doing> {
    let asked: Vec<_> = instances
        .map(|instance| {
            let id = instance.record.id.clone();
            (id, std::sync::Arc::new(instance.clone()))
        })
        .collect();
    let answers = prober.instances(asked);
    answers
        .map(|(instance, verdict)| Doing {
            instance,
            health: verdict.health,
        })
        .collect()
        .await
}

/// Watches a canary until it is plain what becomes of it; never [`Verdict::Wait`]. `unreached` are
/// instances that could not be reached before it began: of them only their own word counts. `told`
/// hears what is waited for, once for each. Dropping the future leaves the canary as it stands.
///
/// # Errors
/// When another ended it, or etcd was not heard for a minute; the failure says that it still stands.
pub async fn watch(
    session: &Session,
    standing: &Standing,
    quiet: Duration,
    unreached: &[InstanceId],
    mut told: impl FnMut(&str),
) -> Result<Verdict, Failure> {
    let prober = session.prober(ProbeOptions::default());
    let (mut heard, mut unwell_since) = (Instant::now(), Instant::now());
    let mut well_since: Option<Instant> = None;
    let mut missed: Vec<InstanceId> = Vec::new();
    let mut said = String::new();
    loop {
        let because = match look(session, standing, &prober).await {
            Ok(None) => {
                return Err(Failure::failed(format!(
                    "the canary of {} was ended by another",
                    standing.service
                ))
                .next(format!(
                    "See who did: msctl config history {}",
                    standing.service
                )));
            }
            Ok(Some((rollout, mut doing))) => {
                heard = Instant::now();
                let away: Vec<_> = doing.iter().filter(|one| is_away(one.health)).collect();
                let away: Vec<_> = away.iter().map(|one| one.instance.clone()).collect();
                for one in doing.iter_mut().filter(|one| is_away(one.health)) {
                    // One lost packet is no verdict: two looks in a row are.
                    if unreached.contains(&one.instance) || !missed.contains(&one.instance) {
                        one.health = Health::Unknown;
                    }
                }
                missed = away;
                if rollout.is_complete() {
                    well_since.get_or_insert(heard);
                    unwell_since = heard;
                } else {
                    well_since = None;
                }
                let quiet_for = well_since.map_or(Duration::ZERO, |since| since.elapsed());
                match decide(
                    &standing.canary.instances,
                    &rollout,
                    &doing,
                    (unwell_since.elapsed(), PATIENCE),
                    (quiet_for, quiet),
                ) {
                    Verdict::Wait { because } => because,
                    verdict => return Ok(verdict),
                }
            }
            // Nobody can say how the instances do: what was quiet until now counts no more, and
            // nobody is blamed for the time.
            Err(failure) if failure.kind() == Kind::Unreachable && heard.elapsed() < PATIENCE => {
                well_since = None;
                unwell_since = Instant::now();
                failure.message().to_owned()
            }
            Err(failure) => return Err(still_stands(failure, &standing.service)),
        };
        if because != said {
            told(&because);
            said = because;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What an instance of the canary says and how it does; `None` once the canary is another or none.
async fn look(
    session: &Session,
    standing: &Standing,
    prober: &Prober,
) -> Result<Option<(Rollout, Vec<Doing>)>, Failure> {
    let (now, _) = session.get(&standing.entry.key).await?;
    if now.is_none_or(|entry| entry.mod_revision != standing.entry.mod_revision) {
        return Ok(None);
    }
    let keys: Vec<ConfigKey> = standing.keys().map(|(key, _)| key).collect();
    let audience = Audience::Only(standing.canary.instances.clone());
    let reach = Reach::read(session).await?;
    let revision = standing.entry.mod_revision;
    let rollout = reach.rollout(session.prefixes(), revision, &keys, &audience);
    let doing = doing(prober, reach.instances(&keys, &audience)).await;
    Ok(Some((rollout, doing)))
}

/// A failure to act on a canary, with what became of it.
pub async fn with_its_fate(session: &Session, standing: &Standing, failure: Failure) -> Failure {
    match session.get(&standing.entry.key).await {
        Ok((Some(entry), _)) if entry.mod_revision == standing.entry.mod_revision => {
            still_stands(failure, &standing.service)
        }
        Ok(_) => failure,
        Err(_) => and_next(
            failure,
            &format!(
                "Look whether the canary still stands: msctl config status {}",
                standing.service
            ),
        ),
    }
}

fn still_stands(failure: Failure, service: &ServiceName) -> Failure {
    let next =
        format!("The canary still stands: msctl config promote {service}, or abort {service}.");
    and_next(failure, &next)
}

fn and_next(failure: Failure, next: &str) -> Failure {
    let steps = [failure.next_step().unwrap_or_default(), next].join(" ");
    failure.next(steps.trim_start())
}
