//! `leases --watch`: leases send no events. Their ids are listed anew each second, one request, and
//! the time of a bounded number is asked again: whose answer is the oldest comes first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use etcd::LeaseInfo;
use fleet::LeaseId;
use serde_json::{Value as Json, json};

use super::{AT_ONCE, When, ask, document, ids};
use crate::report::{Failure, Report};
use crate::session::Session;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// etcd answers in whole seconds, and answers take their time: what is this much above what was left
/// is a renewal.
const ROUNDING: f64 = 1.5;

/// What was last heard of a lease.
struct Held {
    info: Option<LeaseInfo>,
    asked: Option<Instant>,
}

impl Held {
    /// Whether an answer says that the lease was renewed since the last one.
    fn renewed(&self, now: &LeaseInfo, at: Instant) -> bool {
        let (Some(before), Some(asked)) = (&self.info, self.asked) else {
            return false;
        };
        let (Some(before), Some(now)) = (before.ttl, now.ttl) else {
            return false;
        };
        let left = before as f64 - at.saturating_duration_since(asked).as_secs_f64();
        now as f64 > left + ROUNDING
    }
}

/// Follows until the reader goes away or the process is interrupted.
pub(super) async fn run(session: &Session, ttl: When, report: &mut Report) -> Result<(), Failure> {
    let mut held: BTreeMap<LeaseId, Held> = BTreeMap::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut first = true;
    let mut stale = false;
    loop {
        ticks.tick().await;
        let round = match round(session, ttl, &held).await {
            Ok(round) => round,
            Err(failure) if first => return Err(failure),
            Err(failure) => {
                if !stale {
                    stale = true;
                    report.event(&json!({ "change": "stale", "cause": failure.message() }))?;
                }
                continue;
            }
        };
        if stale {
            stale = false;
            report.event(&json!({ "change": "fresh" }))?;
        }
        take(&mut held, &round, first, report)?;
        first = false;
    }
}

/// What one round found.
struct Round {
    ids: Vec<LeaseId>,
    answers: BTreeMap<LeaseId, LeaseInfo>,
    at: Instant,
}

async fn round(
    session: &Session,
    ttl: When,
    held: &BTreeMap<LeaseId, Held>,
) -> Result<Round, Failure> {
    let ids = ids(session).await?;
    let mut oldest: Vec<(Option<Instant>, LeaseId)> = ids
        .iter()
        .map(|id| (held.get(id).and_then(|held| held.asked), *id))
        .collect();
    oldest.sort_unstable();
    oldest.truncate(match ttl {
        When::Never => 0,
        When::Auto => AT_ONCE,
        When::Always => usize::MAX,
    });
    let wanted: Vec<LeaseId> = oldest.into_iter().map(|(_, id)| id).collect();
    Ok(Round {
        answers: ask(session, &wanted).await?,
        at: Instant::now(),
        ids,
    })
}

fn take(
    held: &mut BTreeMap<LeaseId, Held>,
    round: &Round,
    first: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    for id in &round.ids {
        let info = round.answers.get(id);
        let known = held.get(id);
        let change = match (known, info) {
            (None, _) if first => Some("present"),
            (None, _) => Some("granted"),
            (Some(known), Some(info)) => match &known.info {
                Some(before) if before.keys != info.keys => Some("keys"),
                _ if known.renewed(info, round.at) => Some("renewed"),
                _ => None,
            },
            (Some(_), None) => None,
        };
        if let Some(change) = change {
            report.event(&told(change, *id, info))?;
        }
        let held = held.entry(*id).or_insert(Held {
            info: None,
            asked: None,
        });
        if let Some(info) = info {
            held.info = Some(info.clone());
            held.asked = Some(round.at);
        }
    }
    let gone: Vec<LeaseId> = held
        .keys()
        .filter(|id| round.ids.binary_search(id).is_err())
        .copied()
        .collect();
    for id in gone {
        let last = held.remove(&id).and_then(|held| held.info);
        report.event(&told("ended", id, last.as_ref()))?;
    }
    Ok(())
}

fn told(change: &str, id: LeaseId, lease: Option<&LeaseInfo>) -> Json {
    let mut told = json!({ "change": change, "id": id.to_string() });
    if let (Json::Object(told), Some(Json::Object(lease))) = (&mut told, lease.map(document)) {
        told.extend(lease);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_told_from_a_time_that_only_runs() {
        let id = LeaseId::new(7).unwrap();
        let info = |ttl| LeaseInfo {
            id,
            granted: 10,
            ttl: Some(ttl),
            keys: Vec::new(),
        };
        let asked = Instant::now();
        let held = Held {
            info: Some(info(9)),
            asked: Some(asked),
        };
        for (after, ttl, renewed) in [
            (1.0, 8, false),
            (1.05, 9, false),
            (1.0, 10, true),
            (4.0, 6, false),
            (4.0, 7, true),
            // Asked again long after: it cannot have that much left by itself.
            (20.0, 9, true),
        ] {
            let at = asked + Duration::from_secs_f64(after);
            assert_eq!(held.renewed(&info(ttl), at), renewed, "{after} {ttl}");
        }
    }
}
