//! Tells the fleet what this instance runs: `/status/<service>/<instance>`, on the instance's own
//! lease. Changes are coalesced and spread by chance over what the size of the fleet asks for, and
//! the slower etcd answers the rarer they are written, so that ten thousand instances that take in
//! one change do not stampede. A record that somebody deletes or edits is put again.

use std::sync::Arc;
use std::time::Duration;

use etcd::{Client, History, MirrorEvent};
use fleet::status::{Liveness, StatusRecord, Taken, WatchFreshness};
use fleet::{Edit, Key, LeaseId, LeaseRule, Outcome, Plan, Prefix, Revision, Seen, Write};
use metrics::counter;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::Standing;
use crate::liveness::Alive;
use crate::register::RegistrationState;
use crate::running::supervise;
use crate::spread::FleetSize;
use crate::watched::Watched;

/// A lone change is told after a wait drawn from this, in a small fleet: a rollout is seen at once.
const FIRST: Duration = Duration::from_millis(20);

/// Between two reports lies at least this…
const GAP: Duration = Duration::from_millis(200);

/// …and this many times what the last one took: a loaded etcd is asked less.
const TIMES: u32 = 10;

/// The rarest: one report in this time at least, while there is news.
const LONGEST: Duration = Duration::from_secs(5);

/// How soon after its own start an instance counts the fleet again: others were starting too.
const SETTLED: Duration = Duration::from_secs(60);

/// How often it does afterwards. To count ten thousand costs etcd a millisecond.
const COUNTED: Duration = Duration::from_secs(600);

/// What is told, but for the time of writing.
type Told = (LeaseId, StatusRecord);

/// What a report is made of, and where it goes.
#[derive(Clone)]
pub(crate) struct Reporter {
    pub(crate) client: Client,
    pub(crate) key: Key,
    /// Whose instances are the fleet.
    pub(crate) services: Prefix,
    pub(crate) fleet: FleetSize,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) alive: watch::Receiver<Alive>,
    pub(crate) registration: watch::Receiver<RegistrationState>,
}

impl Reporter {
    /// Reports until dropped. The record goes with the lease.
    pub(crate) async fn run(self) {
        supervise("status", |_| {}, || self.clone().report()).await;
    }

    async fn report(mut self) {
        let Ok(prefix) = Prefix::new(self.key.as_bytes()) else {
            return;
        };
        let mut watched = Watched::default();
        let mut told: Option<Told> = None;
        let mut written = Revision::ZERO;
        let mut rest = Duration::ZERO;
        let mut rested = Instant::now();
        let mut count_at = Instant::now();
        loop {
            // Not while unregistered: another process may hold the name.
            let lease = match &*self.registration.borrow_and_update() {
                RegistrationState::Registered { lease, .. } => Some(*lease),
                _ => None,
            };
            if lease.is_some() && count_at <= Instant::now() {
                let next = if told.is_some() { COUNTED } else { SETTLED };
                count_at = Instant::now() + by_chance(next);
                if let Ok((instances, _)) = self.client.count(&self.services).await {
                    self.fleet.set(instances);
                    self.client.slow_heartbeat(self.fleet.heartbeat());
                }
            }
            let now = self.record();
            let news =
                lease.filter(|lease| told.as_ref().is_none_or(|told| !same(told, *lease, &now)));
            let Some(lease) = news else {
                let woken = tokio::select! {
                    () = told_by(&mut self.standing) => Some(()),
                    () = told_by(&mut self.alive) => Some(()),
                    () = told_by(&mut self.registration) => Some(()),
                    event = watched.heard() => event.map(|event| {
                        if self.is_undone_by(&event, written) {
                            tracing::warn!(key = %self.key, "the status was changed by another; putting it again");
                            told = None;
                        }
                    }),
                    () = sleep_until(count_at), if lease.is_some() => Some(()),
                };
                if woken.is_none() {
                    return;
                }
                continue;
            };
            // More changes may come while it waits; the newest is told.
            let left = rested.saturating_duration_since(Instant::now());
            let least = if left.is_zero() { FIRST } else { rest / 2 };
            tokio::time::sleep(left + self.fleet.moment(least)).await;
            let record = self.record();
            let begun = Instant::now();
            match put(&self.client, &self.key, lease, &record).await {
                Ok(revision) => {
                    counter!("platform_status_reports_total").increment(1);
                    told = Some((lease, record));
                    written = revision;
                    watched.begin(&self.client, &prefix);
                }
                // Tried again after the rest; the registration's own trouble is logged there.
                Err(cause) => tracing::debug!(key = %self.key, %cause, "status not reported"),
            }
            rest = (begun.elapsed() * TIMES).clamp(GAP, LONGEST);
            rested = Instant::now() + rest;
        }
    }

    fn record(&mut self) -> StatusRecord {
        record(
            &self.standing.borrow_and_update(),
            &self.alive.borrow_and_update(),
        )
    }

    /// Whether an event means that what was written last does not stand there any longer.
    fn is_undone_by(&self, event: &MirrorEvent, written: Revision) -> bool {
        match event {
            // It may have been deleted or edited before it was watched.
            MirrorEvent::Listed { entries, .. } => {
                let stands = entries.iter().find(|entry| entry.key == self.key);
                stands.is_none_or(|entry| entry.mod_revision != written)
            }
            MirrorEvent::Changed {
                changes, history, ..
            } => {
                let later = |revision| *history == History::Another || revision > written;
                changes
                    .iter()
                    .any(|change| *change.key() == self.key && later(change.revision()))
            }
            MirrorEvent::Fresh { .. } | MirrorEvent::Stale { .. } => false,
        }
    }
}

/// Ends at news. Without its sender the owner is gone, who ends this as well.
async fn told_by<T>(of: &mut watch::Receiver<T>) {
    if of.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Half of it up to one and a half times.
fn by_chance(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.5..1.5))
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
) -> Result<Revision, String> {
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
        Outcome::Applied { revision } => Ok(revision),
        Outcome::Refused { .. } => Err("it changed meanwhile".into()),
        Outcome::Unknown { cause } => Err(cause),
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn a_report_lost_or_edited_before_it_was_watched_is_put_again() {
        let prefixes = fleet::Prefixes::default();
        let client = Client::new(etcd::Settings::new(["127.0.0.1:1"])).unwrap();
        let waiting = RegistrationState::Waiting {
            cause: String::new(),
        };
        let reporter = Reporter {
            client,
            key: "/status/order/o-1".into(),
            services: prefixes.services,
            fleet: FleetSize::default(),
            standing: watch::channel(Standing::default()).1,
            alive: watch::channel(Alive::Yes).1,
            registration: watch::channel(waiting).1,
        };
        let listed = |entries: &[(&str, i64)]| {
            let entry = |&(key, revision): &(&str, i64)| fleet::Entry {
                key: key.into(),
                value: b"{}".as_slice().into(),
                create_revision: Revision(1),
                mod_revision: Revision(revision),
                version: 1,
                lease: LeaseId::new(7),
            };
            let listed = MirrorEvent::Listed {
                revision: Revision(9),
                entries: entries.iter().map(entry).collect(),
            };
            reporter.is_undone_by(&listed, Revision(5))
        };
        assert!(!listed(&[
            ("/status/order/o-1", 5),
            ("/status/order/o-10", 6)
        ]));
        assert!(listed(&[("/status/order/o-10", 5)]), "deleted");
        assert!(listed(&[("/status/order/o-1", 6)]), "edited");
    }
}
