//! Keeps this instance's own record true: put under a lease, put anew after any loss (lease lost,
//! key deleted by hand, etcd wiped, partition), for ever and with jitter. A record of the same
//! name that is provably our own earlier one is taken over; another's never is. What is written is
//! always guarded by what was read. Deliberately absent: giving up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd::backoff::Backoff;
use etcd::{Client, LeaseState, MirrorEvent};
use fleet::drain;
use fleet::{
    Change, Edit, Entry, InstanceRecord, Key, LeaseId, LeaseRule, Outcome, Plan, Prefix, Revision,
    Seen, Write,
};
use metrics::{Gauge, counter, gauge};
use rand::Rng as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::running::supervise;
use crate::spread::FleetSize;
use crate::watched::Watched;

/// A fleet whose keys were deleted comes back spread over this at least; a large one over more.
const SPREAD: Duration = Duration::from_millis(200);

/// How often a name that another process holds is looked at again, beside being watched.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);

/// Leases of this process that are remembered as proof that a record is ours.
const REMEMBERED: usize = 16;

/// Where the registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationState {
    /// Not in the registry yet, or fallen out of it; tried again for ever.
    Waiting {
        /// What is in the way.
        cause: String,
    },
    /// In the registry.
    Registered {
        /// The lease that holds the record.
        lease: LeaseId,
        /// When it was written.
        revision: Revision,
    },
    /// Another process holds the name; tried again in case it goes.
    Refused {
        /// Who does, as far as its record says.
        cause: String,
    },
}

/// The task that keeps the record. Dropping it ends the keeping; the lease's owner revokes.
#[derive(Debug)]
pub struct Registration {
    state: watch::Receiver<RegistrationState>,
    registered: Gauge,
    _task: AbortOnDropHandle<()>,
}

impl Registration {
    /// Starts to keep `record` under `key` on this lease. Must be called within a tokio runtime.
    pub(crate) fn spawn(
        client: Client,
        lease: watch::Receiver<LeaseState>,
        key: Key,
        record: InstanceRecord,
        fleet: FleetSize,
    ) -> Registration {
        let (publish, state) = watch::channel(RegistrationState::Waiting {
            cause: "no lease yet".into(),
        });
        let registered = gauge!("platform_registered", "instance" => record.id.to_string());
        let said = Said {
            registered: registered.clone(),
            publish,
            key,
        };
        let failing = said.clone();
        let failed = move |cause: &str| {
            let cause = format!("the loop that registers ended by a fault: {cause}");
            failing.tell(RegistrationState::Waiting { cause });
        };
        let begin = move || {
            let task = Task::new(client.clone(), said.clone(), record.clone(), fleet.clone());
            task.run(lease.clone())
        };
        let task = supervise("registration", failed, begin);
        Registration {
            state,
            registered,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    /// Where it stands, live.
    pub fn state(&self) -> watch::Receiver<RegistrationState> {
        self.state.clone()
    }
}

/// What is to be done about the record as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Move {
    /// It is as it should be, or an operator's drain of it.
    Keep,
    /// It is to be written; nothing or our own stands there.
    Put,
    /// It is to be written over an earlier process's of ours, whose lease is to be revoked.
    TakeOver(Option<LeaseId>),
    /// Another holds the name.
    Refuse(String),
}

/// Pure. A record is ours when it hangs on a lease of this process, when it says that this very
/// process started it, or when it names the address that we are bound to: nobody else can be alive there.
fn decide(
    record: &InstanceRecord,
    value: &[u8],
    lease: LeaseId,
    leases: &VecDeque<LeaseId>,
    found: Option<&Entry>,
) -> Move {
    let Some(found) = found else {
        return Move::Put;
    };
    let drained = || drain::is_own_drained(record, &found.value);
    if found.lease == Some(lease) && (*found.value == *value || drained()) {
        return Move::Keep;
    }
    if found
        .lease
        .is_some_and(|one| one == lease || leases.contains(&one))
    {
        return Move::Put;
    }
    let holder = match serde_json::from_slice::<InstanceRecord>(&found.value) {
        Ok(holder) => holder,
        // It names no living process that could be wronged, and it stands where only we may. Its
        // lease may hold other things.
        Err(_) => return Move::TakeOver(None),
    };
    let same_name = holder.service == record.service && holder.id == record.id;
    let same_start = holder.started_at.is_some() && holder.started_at == record.started_at;
    let same_place = !record.endpoints.is_empty() && holder.endpoints == record.endpoints;
    if same_name && (same_start || same_place) {
        return Move::TakeOver(found.lease);
    }
    let place: Vec<String> = holder.endpoints.iter().map(ToString::to_string).collect();
    Move::Refuse(format!(
        "the instance id {} is held by another process at {}; give this one another with instance_id()",
        record.id,
        if place.is_empty() {
            "an unknown address".into()
        } else {
            place.join(", ")
        },
    ))
}

/// What is said of the registration of a key, to who asks and to operators.
#[derive(Clone)]
struct Said {
    key: Key,
    publish: watch::Sender<RegistrationState>,
    registered: Gauge,
}

impl Said {
    fn tell(&self, state: RegistrationState) {
        let registered = matches!(state, RegistrationState::Registered { .. });
        self.registered.set(if registered { 1.0 } else { 0.0 });
        self.publish.send_if_modified(|now| {
            let differs = *now != state;
            if differs {
                if let RegistrationState::Refused { cause } = &state {
                    tracing::error!(key = %self.key, %cause, "not registered");
                }
                *now = state;
            }
            differs
        });
    }
}

/// With the last of it nothing is registered: the record goes, or is left to its lease.
impl Drop for Registration {
    fn drop(&mut self) {
        self.registered.set(0.0);
    }
}

struct Task {
    client: Client,
    said: Said,
    record: InstanceRecord,
    fleet: FleetSize,
    /// This process's leases, the newest last.
    leases: VecDeque<LeaseId>,
    backoff: Backoff,
    /// An operator has drained it: what is put anew says so too.
    drained: bool,
    /// etcd has said once how the registration stands.
    answered: bool,
}

/// When to look again without being told.
enum Next {
    /// When something happens.
    Event,
    After(Duration),
}

impl Task {
    fn new(client: Client, said: Said, record: InstanceRecord, fleet: FleetSize) -> Task {
        Task {
            client,
            said,
            record,
            fleet,
            leases: VecDeque::new(),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            drained: false,
            answered: false,
        }
    }

    async fn run(mut self, mut lease: watch::Receiver<LeaseState>) {
        let Ok(prefix) = Prefix::new(self.said.key.as_bytes()) else {
            return;
        };
        let mut watched = Watched::default();
        loop {
            let state = lease.borrow_and_update().clone();
            let next = match &state {
                LeaseState::Held { id, .. } => {
                    if self.leases.back().is_some_and(|last| last != id) {
                        // What took the last lease may have taken everyone's.
                        tokio::time::sleep(self.fleet.moment(Duration::ZERO)).await;
                    }
                    self.remember(*id);
                    self.reconcile(*id).await
                }
                LeaseState::Lost { cause, .. } => {
                    let cause = cause.clone();
                    self.said.tell(RegistrationState::Waiting { cause });
                    Next::Event
                }
            };
            if self.answered {
                watched.begin(&self.client, &prefix);
            }
            let woken = self.woken(&mut lease, &mut watched, &state, next);
            if woken.await.is_none() {
                return;
            }
        }
    }

    /// Waits for a reason to look again; `None` when the mirror has ended.
    async fn woken(
        &mut self,
        lease: &mut watch::Receiver<LeaseState>,
        watched: &mut Watched,
        known: &LeaseState,
        next: Next,
    ) -> Option<()> {
        let timer = async {
            match next {
                Next::Event => std::future::pending().await,
                Next::After(wait) => tokio::time::sleep(wait).await,
            }
        };
        tokio::pin!(timer);
        loop {
            tokio::select! {
                () = lease_news(lease, known) => return Some(()),
                event = watched.heard() => {
                    if self.concerns(&event?) {
                        tokio::time::sleep(self.fleet.moment(SPREAD)).await;
                        return Some(());
                    }
                }
                () = &mut timer => return Some(()),
            }
        }
    }

    /// Whether an event means that the record may not be as it should.
    fn concerns(&mut self, event: &MirrorEvent) -> bool {
        let key = self.said.key.clone();
        match event {
            // It may have been deleted or edited before it was watched.
            MirrorEvent::Listed { entries, .. } => {
                let found = entries.iter().find(|entry| entry.key == key);
                found.is_none_or(|entry| !self.is_ours(entry))
            }
            MirrorEvent::Changed { changes, .. } => {
                let mut concerned = false;
                for change in changes.iter().filter(|change| *change.key() == key) {
                    concerned |= match change {
                        Change::Put(entry) => !self.is_ours(entry),
                        Change::Delete { .. } => {
                            tracing::warn!(%key, "the registration was deleted; putting it again");
                            true
                        }
                    };
                }
                concerned
            }
            MirrorEvent::Fresh { .. } | MirrorEvent::Stale { .. } => false,
        }
    }

    /// Whether this is the record as this process keeps it.
    fn is_ours(&mut self, entry: &Entry) -> bool {
        entry.lease == self.leases.back().copied() && self.knows(&entry.value)
    }

    /// Whether a value under one of our leases is this process's record, as it is or drained. Which
    /// of them is remembered; any other hand's edit is no drain.
    fn knows(&mut self, value: &[u8]) -> bool {
        let drained = drain::is_own_drained(&self.record, value);
        if self.drained != drained {
            self.drained = drained;
            tracing::warn!(key = %self.said.key, drained, "an operator turned calls away from this instance, or back");
        }
        drained || self.record.to_json().is_ok_and(|wanted| wanted == value)
    }

    async fn reconcile(&mut self, lease: LeaseId) -> Next {
        match self.attempt(lease).await {
            Ok(next) => {
                self.answered = true;
                next
            }
            Err(cause) => {
                counter!("platform_registration_failures_total").increment(1);
                tracing::warn!(key = %self.said.key, %cause, "not registered; trying again");
                self.said.tell(RegistrationState::Waiting { cause });
                Next::After(self.backoff.next_wait())
            }
        }
    }

    async fn attempt(&mut self, lease: LeaseId) -> Result<Next, String> {
        let (found, _) = self
            .client
            .get(&self.said.key)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(found) = &found
            && found.lease == Some(lease)
        {
            self.knows(&found.value);
        }
        let value = match self.drained {
            true => drain::drained(&self.record).to_json(),
            false => self.record.to_json(),
        }
        .map_err(|error| error.to_string())?;
        let step = decide(&self.record, &value, lease, &self.leases, found.as_ref());
        let revoke = match step {
            Move::Keep => {
                let revision = found.map_or(Revision::ZERO, |found| found.mod_revision);
                self.said
                    .tell(RegistrationState::Registered { lease, revision });
                self.backoff.reset();
                return Ok(Next::Event);
            }
            Move::Refuse(cause) => {
                self.said.tell(RegistrationState::Refused { cause });
                let half = REFUSED_AGAIN / 2;
                return Ok(Next::After(
                    half + rand::rng().random_range(Duration::ZERO..half),
                ));
            }
            Move::Put => None,
            Move::TakeOver(old) => old,
        };
        let edit = Edit {
            key: self.said.key.clone(),
            seen: Seen::from(found),
            write: Write::Put {
                value: Arc::from(value),
                lease: LeaseRule::Attach(lease),
            },
        };
        let plan = Plan::new([edit]).map_err(|error| error.to_string())?;
        match self
            .client
            .commit(&plan)
            .await
            .map_err(|error| error.to_string())?
        {
            Outcome::Applied { revision } => {
                tracing::info!(key = %self.said.key, %lease, %revision, "registered");
                counter!("platform_registrations_total").increment(1);
                self.said
                    .tell(RegistrationState::Registered { lease, revision });
                self.backoff.reset();
                if let Some(old) = revoke {
                    // What else the dead process left behind goes with its lease; should this fail,
                    // it expires by itself.
                    let revoked = self.client.lease_revoke(old).await;
                    tracing::info!(lease = %old, failed = revoked.is_err(), "the earlier process's lease is revoked");
                }
                Ok(Next::Event)
            }
            Outcome::Refused { .. } => Ok(Next::After(self.backoff.next_wait())),
            Outcome::Unknown { cause } => Err(cause),
        }
    }

    fn remember(&mut self, lease: LeaseId) {
        if self.leases.back() != Some(&lease) {
            self.leases.push_back(lease);
            if self.leases.len() > REMEMBERED {
                self.leases.pop_front();
            }
        }
    }
}

/// Ends when another lease is held than is known, or none, or none for another reason: after a loss
/// comes why no new one is granted. Each keepalive moves the deadline, which is no news. Without its
/// keeper the owner is gone, who ends this as well.
async fn lease_news(lease: &mut watch::Receiver<LeaseState>, known: &LeaseState) {
    let is_news = |state: &LeaseState| match (state, known) {
        (LeaseState::Lost { cause, .. }, LeaseState::Lost { cause: known, .. }) => cause != known,
        _ => state.id() != known.id(),
    };
    if lease.wait_for(is_news).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
