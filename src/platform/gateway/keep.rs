//! Keeps a gateway true: follows the registry by one mirror for all services, learns from each upstream, and shows
//! what is known whenever that changes. One loop owns it all; a service's learner and channel end with its place here.
//! Invariant: what was shown stays while a loop that has ended by a fault begins anew and learns again.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use etcd::{Mirror, MirrorEvent, MirrorOptions};
use fleet::ServiceName;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::{
    GatewayOptions, Upstreams,
    front::{Front, Part},
    learn::{Known, Learning, Lesson, News, Place, learn},
};
use crate::{
    channel::Channel,
    discover::{Directory, TOGETHER},
    running::supervise,
};

/// Services beyond so many are left out, and said to be.
const MOST_SERVICES: usize = 1_000;
/// Servers that are asked for their descriptors at once.
const MOST_ASKED: usize = 8;
/// News that wait to be taken in.
const WAITING: usize = 64;
/// Between two changes of what is shown: many that learn at once are shown together, since each costs a new router of
/// everything.
const PACE: Duration = Duration::from_millis(100);
/// Upstreams that an answer names as unknown; the rest it counts.
const MOST_NAMED: usize = 3;

/// Keeps `front` true to these upstreams until dropped.
pub(super) async fn keep(front: Front, upstreams: Upstreams, options: GatewayOptions) {
    let mut shown = Shown::Outdated;
    let begin = || {
        let mut keeper = Keeper::new(front.clone(), upstreams.clone(), options.clone());
        keeper.shown = std::mem::replace(&mut shown, Shown::Before);
        keeper.run()
    };
    supervise("gateway", |_| {}, begin).await;
}

/// See the module.
struct Keeper {
    front: Front,
    options: GatewayOptions,
    learning: Learning,
    upstreams: BTreeMap<Arc<str>, Upstream>,
    registered: Option<Registered>,
    send: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    /// What is shown, and whether it is still what is known.
    shown: Shown,
    /// Not before this is shown what is known by then.
    next_show: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    /// What a loop before this one knew, which this one is still to learn.
    Before,
    /// Another upstream is known, or one is known otherwise.
    Outdated,
    /// All that is known, and this as pending.
    With(Option<String>),
}

struct Upstream {
    place: Place,
    known: Option<(Known, Channel)>,
    /// Whether anything came of asking it.
    is_asked: bool,
    /// Why nothing is known yet.
    unreached: Option<String>,
    /// Since when it has no instance.
    gone: Option<Instant>,
    _learner: AbortOnDropHandle<()>,
}

/// The services that are registered.
struct Registered {
    directory: Directory,
    events: mpsc::Receiver<MirrorEvent>,
    /// Why etcd was never heard; `None` once it was.
    unheard: Option<String>,
    is_full: bool,
    _mirror: Mirror,
}

impl Keeper {
    fn new(front: Front, upstreams: Upstreams, options: GatewayOptions) -> Self {
        let (send, news) = mpsc::channel(WAITING);
        let learning = Learning {
            channel: options.channel.clone(),
            refresh: options.refresh,
            reflection: options.reflection.clone(),
            fallback: options.fallback.clone(),
            turns: Arc::new(Semaphore::new(MOST_ASKED)),
        };
        let mut keeper = Self {
            front,
            options,
            learning,
            upstreams: BTreeMap::new(),
            registered: None,
            send,
            news,
            shown: Shown::Outdated,
            next_show: Instant::now(),
        };
        match upstreams {
            Upstreams::Addresses(servers) => {
                for replicas in servers.into_iter().filter(|replicas| !replicas.is_empty()) {
                    let names: Vec<&str> = replicas.iter().map(|one| &*one.address).collect();
                    let name = names.join(",").into();
                    keeper.add(name, Place::Fixed(replicas));
                }
            }
            Upstreams::Registry { client, services } => {
                let (mirror, events) =
                    Mirror::spawn(client, services.clone(), MirrorOptions::default());
                keeper.registered = Some(Registered {
                    directory: Directory::new(services),
                    events,
                    unheard: Some("etcd has not answered yet".to_owned()),
                    is_full: false,
                    _mirror: mirror,
                });
            }
        }
        keeper
    }

    /// Ends where the mirror does, which is a fault of the mirror's.
    async fn run(mut self) {
        while self.turn().await.is_continue() {}
    }

    /// Shows what there is to show, waits for what comes next, and takes it in with what has come together with it: so
    /// much that others still get their turn.
    async fn turn(&mut self) -> ControlFlow<()> {
        let late = match self.next_show.checked_duration_since(Instant::now()) {
            None => {
                self.show();
                None
            }
            Some(_) => Some(self.next_show),
        };
        let forget = self.next_to_forget();
        let expire = self
            .registered
            .as_ref()
            .and_then(|one| one.directory.next_deadline());
        let (mut news, mut events) = (Vec::new(), Vec::new());
        let happens = async {
            match &mut self.registered {
                Some(registered) => registered.events.recv_many(&mut events, TOGETHER).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.news.recv_many(&mut news, WAITING) => {}
            came = happens => if came == 0 {
                return ControlFlow::Break(());
            },
            () = at(forget) => self.forget(),
            () = at(expire) => self.expire(),
            () = at(late) => {}
        }
        for one in news {
            self.take(one);
        }
        if !events.is_empty() {
            for event in events {
                self.follow(event);
            }
            self.publish();
        }
        ControlFlow::Continue(())
    }

    fn add(&mut self, name: Arc<str>, place: Place) {
        let learner = {
            let (learning, send) = (self.learning.clone(), self.send.clone());
            let (name, place) = (Arc::clone(&name), place.clone());
            let begin = move || {
                learn(
                    Arc::clone(&name),
                    place.clone(),
                    learning.clone(),
                    send.clone(),
                )
            };
            supervise("gateway learner", |_| {}, begin)
        };
        let upstream = Upstream {
            place,
            known: None,
            is_asked: false,
            unreached: Some("it is being asked".to_owned()),
            gone: None,
            _learner: AbortOnDropHandle::new(tokio::spawn(learner)),
        };
        self.upstreams.insert(name, upstream);
    }

    fn take(&mut self, news: News) {
        let name = news.upstream;
        // It may have been forgotten meanwhile.
        let Some(upstream) = self.upstreams.get_mut(&name) else {
            return;
        };
        upstream.is_asked = true;
        match news.lesson {
            Lesson::Known(known) => {
                let services: Vec<_> = known
                    .services()
                    .map(|one| one.full_name().to_owned())
                    .collect();
                let services = fleet::safe::escape(&services.join(", ")).into_owned();
                tracing::info!(upstream = %name, %services, "serves");
                let kept = upstream
                    .known
                    .take()
                    .filter(|(before, _)| before.repeatable == known.repeatable)
                    .map(|(_, channel)| channel);
                let channel = kept.unwrap_or_else(|| {
                    let mut options = self.options.channel.clone();
                    // What its servers promise, beside what was said beforehand.
                    Arc::make_mut(&mut options.idempotent).extend(known.repeatable.iter().cloned());
                    upstream.place.channel(Arc::clone(&name), options)
                });
                upstream.known = Some((known, channel));
                self.shown = Shown::Outdated;
                upstream.unreached = None;
            }
            Lesson::Unreached(cause) => {
                let text = fleet::safe::escape(&cause).into_owned();
                tracing::warn!(upstream = %name, cause = %text, "cannot be asked what it serves; trying on");
                upstream.unreached = Some(cause);
            }
            Lesson::Unreadable(cause) => {
                let cause = fleet::safe::escape(&cause).into_owned();
                tracing::warn!(upstream = %name, %cause, "does not say what it serves");
                upstream.unreached = None;
            }
        }
    }

    fn follow(&mut self, event: MirrorEvent) {
        let Some(registered) = &mut self.registered else {
            return;
        };
        match &event {
            MirrorEvent::Stale { cause } => {
                if registered.unheard.is_some() {
                    registered.unheard = Some(format!("etcd was never reached: {cause}"));
                }
            }
            _ => registered.unheard = None,
        }
        for name in registered.directory.take(event, Instant::now()) {
            self.judge(&name);
        }
    }

    /// Shows channels and learners what is known of their instances.
    fn publish(&mut self) {
        if let Some(registered) = &mut self.registered {
            registered.directory.publish();
        }
    }

    /// Gives up the instances that a wiped store forgot, where nobody registered them anew.
    fn expire(&mut self) {
        let Some(registered) = &mut self.registered else {
            return;
        };
        for name in registered.directory.expire(Instant::now()) {
            self.judge(&name);
        }
        self.publish();
    }

    fn judge_all(&mut self) {
        let Some(registered) = &self.registered else {
            return;
        };
        let names: Vec<ServiceName> = registered.directory.names().cloned().collect();
        for name in names {
            self.judge(&name);
        }
    }

    /// Takes a service in, or notes that it is gone or back.
    fn judge(&mut self, name: &ServiceName) {
        let Some(registered) = &mut self.registered else {
            return;
        };
        let is_here = registered.directory.is_callable(name);
        if let Some(upstream) = self.upstreams.get_mut(name.as_str()) {
            upstream.gone = match (is_here, upstream.gone) {
                (true, _) => None,
                (false, since) => Some(since.unwrap_or_else(Instant::now)),
            };
        } else if is_here {
            if self.upstreams.len() >= MOST_SERVICES {
                if !std::mem::replace(&mut registered.is_full, true) {
                    tracing::warn!(service = %name, most = MOST_SERVICES, "too many services: the rest is left out");
                }
                return;
            }
            let place = Place::Discovered(registered.directory.view(name));
            self.add(name.as_str().into(), place);
        }
    }

    fn next_to_forget(&self) -> Option<Instant> {
        let gone = self.upstreams.values().filter_map(|one| one.gone).min()?;
        // A moment beyond the clock's end never comes.
        gone.checked_add(self.options.forget_after)
    }

    fn forget(&mut self) {
        let after: Duration = self.options.forget_after;
        self.upstreams.retain(|name, one| {
            let is_over = one.gone.is_some_and(|since| since.elapsed() >= after);
            if is_over {
                tracing::info!(upstream = %name, "forgotten: it has had no instance for long");
            }
            !is_over
        });
        self.shown = Shown::Outdated;
        if let Some(registered) = &mut self.registered {
            registered.is_full = false;
        }
        self.judge_all();
    }

    fn show(&mut self) {
        if self.shown == Shown::Before && !self.has_heard_all() {
            return;
        }
        let waiting: Vec<String> = self
            .upstreams
            .iter()
            .filter(|(_, one)| one.gone.is_none())
            .filter_map(|(name, one)| Some(format!("{name}: {}", one.unreached.as_ref()?)))
            .collect();
        metrics::gauge!("gateway_upstreams").set(self.upstreams.len() as f64);
        metrics::gauge!("gateway_upstreams_unknown").set(waiting.len() as f64);
        let unheard = self.registered.as_ref().and_then(|one| one.unheard.clone());
        let pending = unheard.or_else(|| {
            let (named, rest) = waiting.split_at(waiting.len().min(MOST_NAMED));
            match (named, rest.len()) {
                ([], _) => None,
                (named, 0) => Some(named.join("; ")),
                (named, rest) => Some(format!("{}; and {rest} more", named.join("; "))),
            }
        });
        let wanted = Shown::With(pending.clone());
        // Most of what happens in a fleet changes nothing here.
        if self.shown == wanted {
            return;
        }
        self.shown = wanted;
        self.next_show = Instant::now() + PACE;
        let parts = self.upstreams.iter().filter_map(|(name, one)| {
            let (known, channel) = one.known.as_ref()?;
            Some(Part {
                name,
                known,
                channel,
            })
        });
        self.front.show(parts, pending);
    }

    /// Whether the registry and everybody in it has been asked.
    fn has_heard_all(&self) -> bool {
        let is_heard = |one: &Registered| one.unheard.is_none();
        let mut here = self.upstreams.values().filter(|one| one.gone.is_none());
        self.registered.as_ref().is_none_or(is_heard) && here.all(|one| one.is_asked)
    }
}

/// Ends at this moment; never where there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
