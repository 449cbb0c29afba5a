//! A channel's endpoints as one: the list follows discovery, a call gets a connected endpoint or
//! the reason why there is none. Deliberately absent: sending (`call.rs` does), and which endpoint
//! is best (`members.rs` says).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fleet::Instance;
use http::Uri;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::breaker::Role;
use super::budget::Budget;
use super::hedge::Lateness;
use super::members::{Members, Nothing};
use super::meters::{Meters, Shown};
use super::node::Node;
use super::options::ChannelOptions;
use super::stay::Stay;
use super::subset::near_first;
use super::target::{Source, Target};
use super::zone::Side;
use crate::discover::Knowledge;

/// Changes of a long list that come within this time are taken in as one, so that a rollout of
/// thousands of instances does not cost a look at thousands of instances for each of them…
const SETTLE: Duration = Duration::from_millis(50);

/// …while a list of so many is looked at in no time.
const SHORT: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Balance {
    pub(super) service: Arc<str>,
    pub(super) options: ChannelOptions,
    pub(super) meters: Meters,
    budget: Budget,
    lateness: Lateness,
    epoch: Instant,
    members: ArcSwap<Members>,
    changed: watch::Sender<()>,
}

impl Balance {
    pub(super) fn new(service: Arc<str>, options: ChannelOptions) -> Balance {
        Balance {
            meters: Meters::of(&service),
            service,
            budget: Budget::default(),
            lateness: Lateness::of(&options),
            options,
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

    /// A call begins, and pays for others to be repeated.
    pub(super) fn begin(&self) {
        self.meters.calls.increment(1);
        if let Some(level) = self.budget.deposit() {
            self.meters.budget.set(level);
        }
    }

    /// Pays for an attempt beyond the first, where there is enough left for it.
    pub(super) fn afford_one_more(&self) -> bool {
        let is_paid = self.budget.withdraw(self.now());
        if !is_paid {
            self.meters.denied.increment(1);
        }
        self.meters.budget.set(self.budget.level());
        is_paid
    }

    /// Whether a call may be repeated although its first attempt may have had its effect.
    pub(super) fn is_idempotent(&self, uri: &Uri) -> bool {
        self.options.idempotent.contains(uri.path())
    }

    /// How long a call's first attempt has before a second one runs beside it.
    pub(super) fn patience(&self, uri: &Uri) -> Option<Duration> {
        let patience = self.lateness.of_method(uri.path())?;
        self.is_idempotent(uri).then_some(patience)
    }

    /// How long the first attempt of a call took.
    pub(super) fn learn(&self, uri: &Uri, took: u64) {
        self.lateness.learn(uri.path(), Duration::from_nanos(took));
    }

    /// An endpoint for one call, near ones first.
    pub(super) fn choose(self: &Arc<Balance>) -> Result<Stay, Nothing> {
        // Looked at again when an endpoint became free between the choice and the look at why
        // there was none: a call must not fail for that.
        loop {
            let members = self.members.load();
            let now = self.now();
            if let Some(stay) = self.take(&members, now) {
                return Ok(stay);
            }
            if !members.any_free(now) {
                return Err(members.nothing(&self.service, now));
            }
        }
    }

    /// An endpoint other than `one` that can take a call now.
    pub(super) fn choose_beside(self: &Arc<Balance>, one: &Arc<Node>) -> Option<Stay> {
        let now = self.now();
        let (node, side) = self.members.load().choose_beside(one, now)?;
        Some(self.begin_stay(node, Role::Ordinary, side, now))
    }

    fn take(self: &Arc<Balance>, members: &Members, now: u64) -> Option<Stay> {
        let (node, role, side) = members.choose(now)?;
        Some(self.begin_stay(node, role, side, now))
    }

    fn begin_stay(self: &Arc<Balance>, node: Arc<Node>, role: Role, side: Side, now: u64) -> Stay {
        if self.options.zone.is_some() {
            match side {
                Side::Near => self.meters.near.increment(1),
                Side::Far => self.meters.far.increment(1),
            }
        }
        Stay::begin(self.clone(), node, role, now)
    }

    /// The reason given when the wait for discovery or a connection was too long.
    pub(super) fn reason(&self) -> String {
        self.members.load().reason(&self.service, self.now())
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
                let callable = |one: &&Arc<Instance>| one.record.grpc().is_some();
                let instances: Vec<_> = view.instances.iter().filter(callable).collect();
                self.adopt(&instances, view.knowledge.clone(), &mut keepers);
                if view.instances.len() > SHORT {
                    sleep(SETTLE).await;
                }
                if views.changed().await.is_err() {
                    // Discovery ended with its platform: the last list stays in use.
                    std::future::pending::<()>().await;
                }
            },
        }
    }

    fn adopt(
        self: &Arc<Balance>,
        listed: &[impl Listed],
        knowledge: Knowledge,
        keepers: &mut HashMap<Target, Kept>,
    ) {
        let registered = listed.len();
        // Who was drained by hand, by a weight of 0, gets no new call while there is another.
        let others = listed.iter().any(|one| one.weight() > 0);
        let listed: Vec<_> = listed
            .iter()
            .filter(|one| one.weight() > 0 || !others)
            .collect();
        let zone = self.options.zone.as_deref();
        let is_near = |of: Option<&str>| zone.is_some() && of == zone;
        let members = listed.iter().map(|one| (one.id(), is_near(one.zone())));
        let chosen = near_first(&self.options.client, members, self.options.subset);
        let mut kept = HashMap::with_capacity(chosen.len());
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for one in chosen.into_iter().map(|index| listed[index]) {
            let Some(target) = one.target() else { continue };
            // The same instance at the same address keeps its connection and history.
            let Some(mut one) = keepers.remove(&target).or_else(|| self.keep(&target)) else {
                tracing::warn!(service = %self.service, endpoint = %target.endpoint, "an address that cannot be called is left out");
                continue;
            };
            one.node.load.set_weight(target.weight);
            let is_near = is_near(target.zone.as_deref());
            one.near.show(is_near);
            let side = if is_near { &mut near } else { &mut far };
            side.push(one.node.clone());
            kept.insert(target, one);
        }
        let gone = std::mem::replace(keepers, kept);
        // First out of the list, then closed: no call is sent to a closed node meanwhile.
        self.members.store(Arc::new(Members {
            near,
            far,
            registered,
            knowledge,
        }));
        gone.into_values().for_each(|one| one.node.close());
        self.changed();
    }

    fn keep(self: &Arc<Balance>, target: &Target) -> Option<Kept> {
        let node = Arc::new(Node::new(target.clone(), self)?);
        let keeper = tokio::spawn(node.clone().keep_connected(self.clone()));
        let mut counted = Shown::of(&self.meters.endpoints);
        counted.show(true);
        Some(Kept {
            node,
            near: Shown::of(&self.meters.near_endpoints),
            _counted: counted,
            _keeper: AbortOnDropHandle::new(keeper),
        })
    }
}

/// An endpoint that is kept connected. Dropping it ends that.
#[derive(Debug)]
struct Kept {
    node: Arc<Node>,
    near: Shown,
    _counted: Shown,
    _keeper: AbortOnDropHandle<()>,
}

/// What the choice of endpoints wants to know of each in a list. Targets are made of the chosen
/// alone: a list may hold thousands.
trait Listed {
    fn id(&self) -> &str;
    fn zone(&self) -> Option<&str>;
    fn weight(&self) -> u32;
    fn target(&self) -> Option<Target>;
}

impl Listed for Target {
    fn id(&self) -> &str {
        &self.id
    }
    fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }
    fn weight(&self) -> u32 {
        self.weight
    }
    fn target(&self) -> Option<Target> {
        Some(self.clone())
    }
}

impl Listed for &Arc<Instance> {
    fn id(&self) -> &str {
        self.record.id.as_str()
    }
    fn zone(&self) -> Option<&str> {
        self.record.zone()
    }
    fn weight(&self) -> u32 {
        self.record.weight
    }
    fn target(&self) -> Option<Target> {
        Target::of(self)
    }
}

#[cfg(test)]
mod tests {
    use fleet::{Format, InstanceId, InstanceRecord, Revision, ServiceName};

    use super::*;
    use crate::discover::ServiceView;

    fn view(revision: i64) -> Arc<ServiceView> {
        let service = ServiceName::new("user").unwrap();
        let instance = |number: u32| {
            let id = InstanceId::new(format!("u-{number}")).unwrap();
            Arc::new(Instance {
                key: format!("/services/user/{id}").into(),
                // Without an endpoint: nothing is connected.
                record: InstanceRecord::new(service.clone(), id),
                lease: None,
                mod_revision: Revision(1),
                create_revision: Revision(1),
                format: Format::Native,
            })
        };
        let instances = (0..1_000).map(instance).collect();
        Arc::new(ServiceView {
            service,
            instances,
            quarantined: 0,
            knowledge: Knowledge::Fresh {
                revision: Revision(revision),
            },
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_changes_is_taken_in_by_few_looks_and_the_last_one_counts() {
        let balance = Arc::new(Balance::new("user".into(), ChannelOptions::default()));
        let (change, views) = watch::channel(view(0));
        let following = balance.clone().follow(Source::Discovered(views));
        let following = AbortOnDropHandle::new(tokio::spawn(following));
        let mut looks = balance.changes();
        let counting = tokio::spawn(async move {
            let mut count = 0;
            while tokio::time::timeout(Duration::from_secs(60), looks.changed())
                .await
                .is_ok_and(|changed| changed.is_ok())
            {
                count += 1;
            }
            count
        });
        for revision in 1..=1_000 {
            change.send_replace(view(revision));
            sleep(Duration::from_millis(1)).await;
        }
        let looks = counting.await.unwrap();
        assert!((10..=22).contains(&looks), "{looks} looks at 1000 changes");
        let last = balance.members.load().knowledge.clone();
        assert!(
            matches!(&last, Knowledge::Fresh { revision } if revision.0 == 1_000),
            "{last:?}"
        );
        drop(following);
    }
}
