//! A channel's endpoints as one: the list follows discovery, a call gets a connected endpoint or
//! the reason why there is none. Deliberately absent: sending (`channel.rs` does).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::breaker::{Admission, Role, Turn, Verdict};
use super::budget::Budget;
use super::node::{Node, Phase};
use super::options::ChannelOptions;
use super::pick::{Candidate as _, Picked, pick};
use super::subset::subset;
use super::{Source, Target};
use crate::discover::Knowledge;

/// See the module.
#[derive(Debug)]
pub(super) struct Balance {
    pub(super) service: Arc<str>,
    pub(super) options: ChannelOptions,
    pub(super) budget: Budget,
    pub(super) meters: Meters,
    epoch: Instant,
    members: ArcSwap<Members>,
    changed: watch::Sender<()>,
}

/// What discovery says, as connections.
#[derive(Debug, Default)]
struct Members {
    all: Vec<Arc<Node>>,
    /// Those of the client's own zone; empty when it names none.
    near: Vec<Arc<Node>>,
    /// How many instances are registered, whether or not they can be called.
    registered: usize,
    knowledge: Knowledge,
}

#[derive(Debug)]
pub(super) struct Meters {
    pub(super) calls: Counter,
    pub(super) failures: Counter,
    pub(super) retries: Counter,
    pub(super) refused: Counter,
    ejections: Counter,
    endpoints: Gauge,
}

/// Why a call got no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nothing {
    /// Something is about to be known or connected: wait for a change.
    Yet,
    /// Nothing can take a call; the text says what is known.
    Ready(String),
}

/// A call's stay at its endpoint; dropping it ends the stay with nothing learnt.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) node: Arc<Node>,
    balance: Arc<Balance>,
    role: Role,
    begun: u64,
    over: bool,
}

impl Balance {
    pub(super) fn new(service: Arc<str>, options: ChannelOptions) -> Balance {
        let labels = [("service", service.to_string())];
        Balance {
            meters: Meters {
                calls: counter!("platform_channel_calls_total", &labels),
                failures: counter!("platform_channel_failures_total", &labels),
                retries: counter!("platform_channel_retries_total", &labels),
                refused: counter!("platform_channel_unavailable_total", &labels),
                ejections: counter!("platform_channel_ejections_total", &labels),
                endpoints: gauge!("platform_channel_endpoints", &labels),
            },
            service,
            options,
            budget: Budget::default(),
            epoch: Instant::now(),
            members: ArcSwap::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Nanoseconds since the channel began: the clock of loads and breakers.
    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Wakes the calls that wait for an endpoint.
    pub(super) fn changed(&self) {
        self.changed.send_replace(());
    }

    /// Told of every change of endpoints and connections from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// An endpoint for one call, near ones first.
    pub(super) fn choose(self: &Arc<Balance>) -> Result<Stay, Nothing> {
        // Looked at again when an endpoint became free between the choice and the look at why
        // there was none: a call must not fail for that.
        loop {
            let members = self.members.load();
            let now = self.now();
            if let Some((node, role)) = members.choose(now) {
                node.load.begin();
                return Ok(Stay {
                    node,
                    balance: self.clone(),
                    role,
                    begun: now,
                    over: false,
                });
            }
            if !members.any_free(now) {
                return Err(members.nothing(&self.service, now));
            }
        }
    }

    /// Follows discovery until dropped; dropping it ends all connection attempts.
    pub(super) async fn follow(self: Arc<Balance>, source: Source) {
        let mut keepers = HashMap::new();
        match source {
            Source::Fixed(targets) => {
                self.adopt(&targets, Knowledge::Fixed, &mut keepers);
                std::future::pending::<()>().await;
            }
            Source::Discovered(mut views) => loop {
                let view = views.borrow_and_update().clone();
                let targets: Vec<Target> = view
                    .instances
                    .iter()
                    .filter_map(|one| Target::of(one))
                    .collect();
                self.adopt(&targets, view.knowledge.clone(), &mut keepers);
                if views.changed().await.is_err() {
                    // Discovery ended with its platform: the last list stays in use.
                    std::future::pending::<()>().await;
                }
            },
        }
    }

    fn adopt(
        self: &Arc<Balance>,
        targets: &[Target],
        knowledge: Knowledge,
        keepers: &mut HashMap<Target, (Arc<Node>, AbortOnDropHandle<()>)>,
    ) {
        let registered = targets.len();
        // Who was drained by hand, by a weight of 0, gets no new call while there is another.
        let others = targets.iter().any(|target| target.weight > 0);
        let targets: Vec<&Target> = targets
            .iter()
            .filter(|target| target.weight > 0 || !others)
            .collect();
        let ids = targets.iter().map(|target| &*target.id);
        let chosen = subset(&self.options.client, ids, self.options.subset);
        let mut kept = HashMap::with_capacity(chosen.len());
        let mut all = Vec::with_capacity(chosen.len());
        for target in chosen.into_iter().map(|index| targets[index]) {
            // The same instance at the same address keeps its connection and history.
            let (node, keeper) = match keepers.remove(target) {
                Some(known) => known,
                None => {
                    let Some(node) = Node::new(target.clone(), self) else {
                        tracing::warn!(service = %self.service, endpoint = %target.endpoint, "an address that cannot be called is left out");
                        continue;
                    };
                    let node = Arc::new(node);
                    let keeper = tokio::spawn(node.clone().keep_connected(self.clone()));
                    (node, AbortOnDropHandle::new(keeper))
                }
            };
            node.load.set_weight(target.weight);
            all.push(node.clone());
            kept.insert(target.clone(), (node, keeper));
        }
        let gone = std::mem::replace(keepers, kept);
        let near = match &self.options.zone {
            Some(zone) => all
                .iter()
                .filter(|node| node.target.zone.as_ref() == Some(zone))
                .cloned()
                .collect(),
            None => Vec::new(),
        };
        self.meters.endpoints.set(all.len() as f64);
        // First out of the list, then closed: no call is sent to a closed node meanwhile.
        self.members.store(Arc::new(Members {
            all,
            near,
            registered,
            knowledge,
        }));
        gone.into_values().for_each(|(node, _)| node.close());
        self.changed();
    }
}

impl Members {
    fn choose(&self, now: u64) -> Option<(Arc<Node>, Role)> {
        let random: u64 = rand::random();
        [&self.near, &self.all]
            .into_iter()
            .find_map(|nodes| match pick(nodes, now, random)? {
                Picked::Ordinary(index) => Some((nodes[index].clone(), Role::Ordinary)),
                Picked::Probe(index) => Some((nodes[index].clone(), Role::Probe)),
            })
    }

    fn any_free(&self, now: u64) -> bool {
        self.all
            .iter()
            .any(|node| node.admission(now) != Admission::Open)
    }

    fn nothing(&self, service: &str, now: u64) -> Nothing {
        let connecting = self.all.iter().any(|node| node.is_connecting());
        if connecting || (self.all.is_empty() && self.knowledge.is_waiting()) {
            return Nothing::Yet;
        }
        Nothing::Ready(self.reason(service, now))
    }

    /// What is known, for people: `no instance of user: 2 registered, 2 ejected (last error: …)`.
    fn reason(&self, service: &str, now: u64) -> String {
        let mut ejected = 0;
        let mut unreachable = 0;
        let mut last = None;
        for node in &self.all {
            let state = node.state();
            match state.phase {
                Phase::Ready if node.breaker.admission(now) == Admission::Closed => {}
                Phase::Ready => ejected += 1,
                Phase::Connecting | Phase::Failed => unreachable += 1,
            }
            if let Some(error) = state.error {
                last = Some(format!("{}: {error}", node.target.endpoint.address));
            }
        }
        let mut text = format!("no instance of {service}: {} registered", self.registered);
        for (count, what) in [(ejected, "ejected"), (unreachable, "unreachable")] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if let Some(error) = last {
            text.push_str(&format!(" (last error: {error})"));
        }
        if let Some(doubt) = self.knowledge.doubt() {
            text.push_str(&format!("; {doubt}"));
        }
        text
    }
}

impl Balance {
    /// The reason given when the wait for discovery or a connection was too long.
    pub(super) fn reason(&self) -> String {
        self.members.load().reason(&self.service, self.now())
    }
}

impl Stay {
    /// Nanoseconds since the call was given to the endpoint.
    pub(super) fn elapsed(&self) -> u64 {
        self.balance.now().saturating_sub(self.begun)
    }

    /// The head of an answer is here: its time counts, and it proves the endpoint of a probe.
    pub(super) fn answered(&mut self) {
        let now = self.balance.now();
        self.node.load.measure(now, now.saturating_sub(self.begun));
        if self.role == Role::Probe {
            self.report(now, Verdict::Success);
            self.role = Role::Ordinary;
        }
    }

    /// The call is over. Failures count as slow answers and towards ejection.
    pub(super) fn end(mut self, verdict: Verdict, error: &str) {
        let now = self.balance.now();
        if verdict == Verdict::Failure {
            self.balance.meters.failures.increment(1);
            self.node.load.penalise(now, now.saturating_sub(self.begun));
            self.node.note(error);
        }
        self.report(now, verdict);
        self.over = true;
        self.node.load.end();
    }

    fn report(&self, now: u64, verdict: Verdict) {
        match self
            .node
            .breaker
            .report(now, self.role, verdict, rand::random())
        {
            Turn::None => {}
            Turn::Ejected { until } => {
                let endpoint = &self.node.target.endpoint;
                let millis = until.saturating_sub(now) / 1_000_000;
                let error = self.node.state().error.unwrap_or_default();
                tracing::warn!(service = %self.balance.service, %endpoint, millis, %error, "endpoint ejected");
                self.balance.meters.ejections.increment(1);
            }
            Turn::Readmitted => {
                self.node.load.forget(now);
                tracing::info!(service = %self.balance.service, endpoint = %self.node.target.endpoint, "endpoint back in use");
            }
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if !self.over {
            self.report(self.balance.now(), Verdict::Neutral);
            self.node.load.end();
        }
    }
}
