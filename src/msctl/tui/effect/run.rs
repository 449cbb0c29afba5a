//! The only place where the console touches the world. Every effect is a task that ends by a deadline
//! or with its owner, and answers with events stamped with the generation it was started in.

use std::sync::Arc;

use etcd::LeaseKeys;
use fleet::config::Scope;
use fleet::drain::{self, Turn};
use fleet::release::{Action, Recorded};
use fleet::{Conflict, Instance, LeaseId, Outcome, Plan, Revision};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::{Effect, Keys};
use crate::change::canary::watch;
use crate::change::{self, Proposal, history, rollback};
use crate::invoke::server::Reach;
use crate::probe::{ProbeOptions, Prober};
use crate::session::Session;
use crate::settings::host_port;
use crate::tui::event::{
    ClusterView, Deed, Event, HealthAnswer, KeyFacts, LeaseAnswer, MemberFacts, MemberView, Reply,
};
use crate::tui::state::config::past::WayBack;

mod feed;
mod invoke;

/// How many leases are asked at once.
const LEASES_AT_ONCE: usize = 16;

/// How many records are read at once.
const RECORDS_AT_ONCE: usize = 16;

/// At most so many raw keys are listed.
const KEYS_LISTED: usize = 50_000;

/// Does what `update` asks for. Dropping it ends everything it started.
pub struct Runner {
    session: Session,
    generation: u64,
    events: mpsc::Sender<Event>,
    prober: Prober,
    invoker: Arc<invoke::Invoker>,
    tasks: JoinSet<()>,
    call: Option<AbortHandle>,
    canary: Option<AbortHandle>,
}

impl Runner {
    /// Starts the feeds of a context.
    pub fn start(session: Session, generation: u64, events: mpsc::Sender<Event>) -> Self {
        let mut tasks = JoinSet::new();
        feed::start(&session, generation, &events, &mut tasks);
        Self {
            invoker: Arc::new(invoke::Invoker::new(session.trusted(Reach::default()))),
            generation,
            events,
            prober: session.prober(ProbeOptions::default()),
            session,
            tasks,
            call: None,
            canary: None,
        }
    }

    /// Starts an effect. Those on the terminal are the loop's and do nothing here.
    pub fn run(&mut self, effect: Effect) {
        while self.tasks.try_join_next().is_some() {}
        let to = Answers {
            events: self.events.clone(),
            generation: self.generation,
        };
        let session = self.session.clone();
        match effect {
            Effect::Quit
            | Effect::Suspend
            | Effect::SwitchContext(_)
            | Effect::Redraw
            | Effect::Copy(_)
            | Effect::EditOutside { .. } => {}
            Effect::ProbeHealth(instances) => {
                self.tasks
                    .spawn(probe_health(self.prober.clone(), instances, to));
            }
            Effect::ProbeLeases { ids, keys } => {
                self.tasks.spawn(probe_leases(session, ids, keys, to));
            }
            Effect::ListLeases => {
                self.tasks.spawn(async move {
                    let listed = session.client().leases().await;
                    let listed = listed.map_err(|error| session.failure(&error).to_string());
                    to.send(Reply::LeaseList(listed)).await;
                });
            }
            Effect::AskCluster => {
                self.tasks.spawn(async move {
                    let cluster = ask_cluster(&session).await;
                    to.send(Reply::Cluster(cluster)).await;
                });
            }
            Effect::ListKeys => {
                self.tasks.spawn(async move {
                    let keys = list_keys(&session).await;
                    to.send(Reply::Keys(keys)).await;
                });
            }
            Effect::Read(key) => {
                self.tasks.spawn(async move {
                    let entry = session.get(&key).await;
                    let entry = entry.map(|(entry, _)| entry).map_err(|why| why.to_string());
                    to.send(Reply::Raw(key, entry)).await;
                });
            }
            Effect::Save {
                id,
                plan,
                action,
                message,
                revision,
            } => {
                self.tasks.spawn(async move {
                    let outcome = save(&session, plan, action, &message, revision).await;
                    to.send(Reply::Written(Deed::SaveConfig(id), outcome)).await;
                });
            }
            Effect::WatchCanary {
                standing,
                quiet,
                unreached,
            } => {
                self.leave_canary();
                let task = self.tasks.spawn(async move {
                    let watched = watch::watch(&session, &standing, quiet, &unreached, |_| {});
                    let verdict = watched.await.map_err(|why| why.to_string());
                    to.send(Reply::Judged(standing, verdict)).await;
                });
                self.canary = Some(task);
            }
            Effect::LeaveCanary => self.leave_canary(),
            Effect::ReadHistory { scope, only } => {
                self.tasks.spawn(async move {
                    let found = history::read(&session, &scope, only.as_ref()).await;
                    let found = found.map_err(|why| why.to_string());
                    to.send(Reply::History(scope, only, found)).await;
                });
            }
            Effect::ReadRecords(scopes) => {
                self.tasks.spawn(async move {
                    let found = records(&session, &scopes).await;
                    to.send(Reply::Records(scopes, found)).await;
                });
            }
            Effect::FindWayBack { scope, target } => {
                self.tasks.spawn(async move {
                    let way = rollback::find(&session, &scope, target).await;
                    let way = way.map(|way| WayBack {
                        conflicts: way.conflicts(),
                        edits: way.edits,
                        open: way.open,
                        action: way.action,
                        blind: way.blind,
                    });
                    let way = way.map_err(|why| why.to_string());
                    to.send(Reply::WayBack(scope, way)).await;
                });
            }
            Effect::Commit { plan, deed } => {
                self.tasks.spawn(async move {
                    let outcome = commit(&session, &plan).await;
                    to.send(Reply::Written(deed, outcome)).await;
                });
            }
            Effect::Turn {
                instances,
                turn,
                what,
            } => {
                self.tasks.spawn(async move {
                    let outcome = turned(&session, instances, turn).await;
                    to.send(Reply::Written(Deed::Turn(turn, what), outcome))
                        .await;
                });
            }
            Effect::Revoke(id) => {
                self.tasks.spawn(async move {
                    let result = revoke(&session, id).await;
                    to.send(Reply::Revoked(id, result)).await;
                });
            }
            Effect::AskMethods { service, instances } => {
                let invoker = Arc::clone(&self.invoker);
                self.tasks.spawn(async move {
                    let methods = invoker.methods(&service, &instances).await;
                    to.send(Reply::Methods(service, methods)).await;
                });
            }
            Effect::Call(call) => {
                // A new call takes the place of one that runs.
                self.cancel();
                let invoker = Arc::clone(&self.invoker);
                let task = self.tasks.spawn(async move {
                    let id = call.id;
                    let tell = |progress| to.send(Reply::Call(id, progress));
                    invoker.call(call, tell).await;
                });
                self.call = Some(task);
            }
            Effect::CancelCall => self.cancel(),
        }
    }

    fn leave_canary(&mut self) {
        if let Some(watch) = self.canary.take() {
            watch.abort();
        }
    }

    fn cancel(&mut self) {
        if let Some(call) = self.call.take() {
            call.abort();
        }
    }
}

/// Where answers go, with their stamp.
struct Answers {
    events: mpsc::Sender<Event>,
    generation: u64,
}

impl Answers {
    async fn send(&self, reply: Reply) {
        // A console that is gone wants no answers.
        let _ = self.events.send(Event::Reply(self.generation, reply)).await;
    }
}

async fn probe_health(prober: Prober, instances: Vec<Arc<Instance>>, to: Answers) {
    let asked = instances
        .into_iter()
        .map(|instance| (instance.key.clone(), instance));
    // Quick answers are told together; one that hangs holds up nobody else's.
    let answers = prober.instances(asked).ready_chunks(64);
    futures::pin_mut!(answers);
    while let Some(answers) = answers.next().await {
        let answers = answers
            .into_iter()
            .map(|(key, verdict)| HealthAnswer {
                key,
                health: verdict.health,
                detail: verdict.detail,
                latency: verdict.latency,
            })
            .collect();
        to.send(Reply::Health(answers)).await;
    }
    to.send(Reply::HealthDone).await;
}

async fn probe_leases(session: Session, ids: Vec<LeaseId>, keys: Keys, to: Answers) {
    let asked = ids.into_iter().map(|id| {
        let client = session.client().clone();
        async move {
            let wanted = match keys {
                Keys::With => LeaseKeys::Listed,
                Keys::Without => LeaseKeys::Omitted,
            };
            match client.lease_ttl(id, wanted).await {
                Ok(info) => Some(LeaseAnswer {
                    id,
                    granted: info.granted,
                    ttl: info.ttl,
                    keys: (keys == Keys::With).then_some(info.keys),
                }),
                Err(etcd::Error::LeaseNotFound { .. }) => Some(LeaseAnswer {
                    id,
                    granted: 0,
                    ttl: None,
                    keys: None,
                }),
                Err(_) => None,
            }
        }
    });
    let answers: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(LEASES_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    to.send(Reply::Leases(answers)).await;
}

async fn ask_cluster(session: &Session) -> Result<ClusterView, String> {
    let client = session.client();
    let words = |error: etcd::Error| session.failure(&error).to_string();
    let members = client.members().await.map_err(words)?;
    let statuses = futures::future::join_all(members.iter().map(|m| client.status(m))).await;
    // Alarms are a courtesy: a cluster that does not tell them is shown all the same, and says so.
    let (alarms, alarms_unknown) = match client.alarms().await {
        Ok(alarms) => (alarms, None),
        Err(error) => (Vec::new(), Some(session.failure(&error).to_string())),
    };
    let examined = crate::cli::cluster::seen(&members, &statuses, &alarms);
    let views = members
        .iter()
        .zip(statuses)
        .map(|(member, status)| {
            let endpoint = member
                .client_urls
                .first()
                .map_or("", |url| host_port(url))
                .to_owned();
            MemberView {
                name: if member.name.is_empty() {
                    endpoint.clone()
                } else {
                    member.name.clone()
                },
                endpoint,
                status: status
                    .map_err(|error| error.to_string())
                    .map(|status| MemberFacts {
                        leads: status.is_leader(),
                        version: status.version,
                        db_size: u64::try_from(status.db_size).unwrap_or(0),
                        revision: status.revision,
                        errors: status.errors,
                    }),
            }
        })
        .collect();
    let alarms = alarms
        .iter()
        .map(|alarm| format!("{:?}", alarm.kind))
        .collect();
    Ok(ClusterView {
        members: views,
        alarms,
        alarms_unknown,
        examined,
    })
}

async fn list_keys(session: &Session) -> Result<(Vec<KeyFacts>, bool), String> {
    let prefixes = session.prefixes();
    let mut keys = Vec::new();
    for prefix in [
        &prefixes.config,
        &prefixes.releases,
        &prefixes.schema,
        &prefixes.services,
        &prefixes.status,
    ] {
        let listed = session
            .client()
            .keys(prefix, etcd::ListOptions::default())
            .await;
        let listed = listed.map_err(|error| session.failure(&error).to_string())?;
        for head in listed.keys {
            if keys.len() >= KEYS_LISTED {
                return Ok((keys, true));
            }
            keys.push(KeyFacts {
                key: head.key,
                mod_revision: head.mod_revision,
                version: head.version,
            });
        }
    }
    Ok((keys, false))
}

async fn records(session: &Session, scopes: &[Scope]) -> Result<Vec<Recorded>, String> {
    let mut all = Vec::new();
    for scope in scopes {
        let records = history::records(session, scope).await;
        all.extend(records.map_err(|why| why.to_string())?);
    }
    Ok(all)
}

async fn save(
    session: &Session,
    plan: Plan,
    action: Action,
    message: &str,
    revision: Revision,
) -> Result<Outcome, String> {
    let writer = session.writer().map_err(|why| why.to_string())?;
    let proposal = Proposal::of(session, plan, revision, action);
    let proposal = proposal.await.map_err(|why| why.to_string())?;
    if let Some(fault) = proposal.errors().next() {
        return Err(format!("{}/{}", fault.key.scope, fault.violation));
    }
    let outcome = change::commit(&writer, &proposal, message).await;
    outcome.map_err(|why| why.to_string())
}

async fn commit(session: &Session, plan: &Plan) -> Result<Outcome, String> {
    let writer = session.writer().map_err(|why| why.to_string())?;
    writer.commit(plan).await.map_err(|why| why.to_string())
}

/// Turns instances whose records stand as they were shown; where one does not, nothing is written.
async fn turned(
    session: &Session,
    instances: Vec<Arc<Instance>>,
    turn: Turn,
) -> Result<Outcome, String> {
    let read = instances.into_iter().map(|instance| async move {
        let read = session.get(&instance.key).await;
        read.map(|(entry, _)| (instance, entry))
    });
    let mut read = futures::stream::iter(read).buffered(RECORDS_AT_ONCE);
    let (mut edits, mut conflicts) = (Vec::new(), Vec::new());
    while let Some(found) = read.next().await {
        let (instance, entry) = found.map_err(|why| why.to_string())?;
        match entry {
            Some(entry) if entry.mod_revision == instance.mod_revision => {
                let edit = drain::edit(&entry, turn);
                edits.push(edit.map_err(|why| format!("{}: {why}", instance.key))?);
            }
            current => conflicts.push(Conflict {
                key: instance.key.clone(),
                seen: instance.seen(),
                current,
            }),
        }
    }
    if !conflicts.is_empty() {
        return Ok(Outcome::Refused { conflicts });
    }
    let plan = Plan::new(edits).map_err(|why| why.to_string())?;
    commit(session, &plan).await
}

async fn revoke(session: &Session, id: LeaseId) -> Result<(), String> {
    let writer = session.writer().map_err(|why| why.to_string())?;
    let session = writer.session();
    let revoked = session.client().lease_revoke(id).await;
    revoked.map_err(|error| session.failure(&error).to_string())
}
