//! Tells the fleet what this instance runs: `/status/<service>/<instance>`, on the instance's own
//! lease. Changes are coalesced and spread by chance, and the slower etcd answers the rarer they
//! are written, so that ten thousand instances that take in one change do not stampede.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd::Client;
use fleet::status::{Liveness, StatusRecord, Taken, WatchFreshness};
use fleet::{Edit, Key, LeaseId, LeaseRule, Outcome, Plan, Seen, Write};
use metrics::counter;
use rand::Rng as _;
use tokio::sync::watch;

use crate::config::Standing;
use crate::liveness::Alive;
use crate::register::RegistrationState;

/// A lone change is told after a wait drawn from this: a rollout is seen at once.
const FIRST: Duration = Duration::from_millis(20);

/// Between two reports lies at least this…
const GAP: Duration = Duration::from_millis(200);

/// …and this many times what the last one took: a loaded etcd is asked less.
const TIMES: u32 = 10;

/// The rarest: one report in this time at least, while there is news.
const LONGEST: Duration = Duration::from_secs(5);

/// What is told, but for the time of writing.
type Told = (LeaseId, StatusRecord);

/// Reports until dropped. The record goes with the lease.
pub(crate) async fn report(
    client: Client,
    key: Key,
    mut standing: watch::Receiver<Standing>,
    mut alive: watch::Receiver<Alive>,
    mut registration: watch::Receiver<RegistrationState>,
) {
    let mut told: Option<Told> = None;
    let mut rest = Duration::ZERO;
    loop {
        // Not while unregistered: another process may hold the name.
        let lease = match &*registration.borrow_and_update() {
            RegistrationState::Registered { lease, .. } => Some(*lease),
            _ => None,
        };
        let now = record(&standing.borrow_and_update(), &alive.borrow_and_update());
        let news = lease.filter(|lease| told.as_ref().is_none_or(|told| !same(told, *lease, &now)));
        let Some(lease) = news else {
            let woken = tokio::select! {
                changed = standing.changed() => changed,
                changed = alive.changed() => changed,
                changed = registration.changed() => changed,
            };
            if woken.is_err() {
                return;
            }
            continue;
        };
        // More changes may come while it waits; the newest is told.
        let spread = rand::rng().random_range(Duration::ZERO..FIRST.max(rest / 2));
        tokio::time::sleep(rest + spread).await;
        let record = record(&standing.borrow_and_update(), &alive.borrow_and_update());
        let begun = Instant::now();
        match put(&client, &key, lease, &record).await {
            Ok(()) => {
                counter!("platform_status_reports_total").increment(1);
                told = Some((lease, record));
            }
            // Tried again after the rest; the registration's own trouble is logged there.
            Err(cause) => tracing::debug!(%key, %cause, "status not reported"),
        }
        rest = (begun.elapsed() * TIMES).clamp(GAP, LONGEST);
    }
}

fn record(standing: &Standing, alive: &Alive) -> StatusRecord {
    StatusRecord {
        revision: standing.applied.0,
        taken: Some(Taken {
            service: standing.service.0,
            global: standing.global.0,
        }),
        canary: standing.canary.map(|revision| revision.0),
        overridden: standing.overridden.clone(),
        rejected: standing.rejected.clone(),
        liveness: match alive {
            Alive::Yes => Liveness {
                alive: true,
                detail: String::new(),
            },
            Alive::No { detail } => Liveness {
                alive: false,
                detail: detail.clone(),
            },
        },
        watch: WatchFreshness {
            revision: standing.proved.0,
            stale: standing.stale.clone(),
        },
        written_at: jiff::Timestamp::now(),
    }
}

/// Whether there is nothing new to tell. That etcd proved the same again is no news.
fn same(told: &Told, lease: LeaseId, now: &StatusRecord) -> bool {
    let (before_lease, before) = told;
    let proved = StatusRecord {
        watch: WatchFreshness {
            revision: before.watch.revision,
            stale: now.watch.stale.clone(),
        },
        written_at: before.written_at,
        ..now.clone()
    };
    *before_lease == lease && *before == proved
}

async fn put(
    client: &Client,
    key: &Key,
    lease: LeaseId,
    record: &StatusRecord,
) -> Result<(), String> {
    let value = record.to_json().map_err(|error| error.to_string())?;
    let (found, now) = client.get(key).await.map_err(|error| error.to_string())?;
    if record.revision > now.0 {
        // It lost its data since: what was taken in is none of its changes.
        return Err("the config has not been heard from this etcd yet".into());
    }
    let edit = Edit {
        key: key.clone(),
        seen: Seen::from(found),
        write: Write::Put {
            value: Arc::from(value),
            lease: LeaseRule::Attach(lease),
        },
    };
    let plan = Plan::new([edit]).map_err(|error| error.to_string())?;
    match client
        .commit(&plan)
        .await
        .map_err(|error| error.to_string())?
    {
        Outcome::Applied { .. } => Ok(()),
        Outcome::Refused { .. } => Err("it changed meanwhile".into()),
        Outcome::Unknown { cause } => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use fleet::Revision;

    use super::*;

    #[test]
    fn a_new_proof_of_freshness_alone_is_no_news() {
        let lease = LeaseId::new(7).unwrap();
        let mut standing = Standing {
            applied: Revision(5),
            proved: Revision(5),
            ..Standing::default()
        };
        let told = (lease, record(&standing, &Alive::Yes));
        standing.proved = Revision(9);
        assert!(same(&told, lease, &record(&standing, &Alive::Yes)));
        standing.applied = Revision(9);
        assert!(!same(&told, lease, &record(&standing, &Alive::Yes)));
        assert!(
            !same(&told, LeaseId::new(8).unwrap(), &told.1),
            "another lease needs its own record"
        );
        assert!(!same(
            &told,
            lease,
            &record(&standing, &Alive::No { detail: "x".into() })
        ));
    }
}
