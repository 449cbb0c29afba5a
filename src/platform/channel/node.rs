//! One endpoint of a channel: its connection, kept warm and made anew for ever with jittered
//! back-off, its load, its breaker and its health. A node takes calls only while it is really
//! connected and does not say that it serves nobody.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use etcd::backoff::Backoff;
use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::time::timeout;
use tonic::Status;

use super::balance::Balance;
use super::breaker::{Admission, Breaker};
use super::connect::{Sender, reason};
use super::health::{self, Word};
use super::meters::Shown;
use super::pick::{Candidate, Load};
use super::target::Target;
use super::zone::Distant;

/// A connection that lasted less than this counts as a failed attempt, so that a peer that accepts
/// and hangs up is not called in a hot loop.
const PROVEN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) target: Target,
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) load: Load,
    pub(super) breaker: Breaker,
    link: ArcSwapOption<Link>,
    /// The number of the connection that takes calls; [`NONE`] while there is none.
    connected: AtomicU64,
    /// A [`Word`]: what this connection's endpoint says of its health.
    told: AtomicU8,
    state: Mutex<State>,
    shown: Mutex<Standing>,
}

/// What the gauges say of a node.
#[derive(Debug)]
struct Standing {
    ready: Shown,
    ejected: Shown,
    unhealthy: Shown,
}

/// One connection of a node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) sender: Sender,
    number: u64,
}

const NONE: u64 = 0;

/// Where a node's connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first attempt, or a new one right after a loss, is under way.
    Connecting,
    /// Connected.
    Ready,
    /// The last attempt failed; the next one comes after a while.
    Failed,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// The last failure of the connection or of a call.
    pub(super) error: Option<String>,
}

impl Node {
    /// A node that is not connected yet; `None` when its address is no authority.
    pub(super) fn new(target: Target, balance: &Balance) -> Option<Node> {
        let authority = match &balance.options.authority {
            Some(authority) => authority.parse().ok()?,
            None => target.endpoint.address.parse().ok()?,
        };
        Some(Node {
            scheme: if target.endpoint.secure {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            authority,
            load: Load::new(target.weight),
            breaker: Breaker::new(balance.options.breaker.clone()),
            link: ArcSwapOption::empty(),
            connected: AtomicU64::new(NONE),
            told: AtomicU8::new(Word::Awaited as u8),
            state: Mutex::new(State {
                phase: Phase::Connecting,
                error: None,
            }),
            shown: Mutex::new(Standing {
                ready: Shown::of(&balance.meters.ready),
                ejected: Shown::of(&balance.meters.ejected),
                unhealthy: Shown::of(&balance.meters.unhealthy),
            }),
            target,
        })
    }

    /// The connection to send on, while there is one.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.link.load_full()
    }

    /// A call came back from this connection unsent: no other shall try it. The keeper learns of
    /// its end by itself, yet perhaps later than the next calls come.
    pub(super) fn give_up(&self, link: &Link) {
        let ours =
            self.connected
                .compare_exchange(link.number, NONE, Ordering::AcqRel, Ordering::Relaxed);
        if ours.is_ok() {
            self.lock().phase = Phase::Connecting;
            self.show();
        }
    }

    /// Takes no more calls: removed from the fleet, or about to be connected anew. Calls under way finish.
    pub(super) fn close(&self) {
        self.connected.store(NONE, Ordering::Release);
        self.link.store(None);
        self.show();
    }

    /// The gauges follow what is so now.
    pub(super) fn show(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: who comes last has seen what the others did.
        let connected = self.connected.load(Ordering::Acquire) != NONE;
        let ejected = self.breaker.is_open();
        let word = self.word();
        let taken = matches!(word, Word::Serving | Word::Silent);
        shown.ready.show(connected && !ejected && taken);
        shown.ejected.show(connected && ejected);
        shown.unhealthy.show(connected && word == Word::NotServing);
    }

    /// What the endpoint says of its health.
    pub(super) fn word(&self) -> Word {
        Word::from_number(self.told.load(Ordering::Acquire))
    }

    /// The endpoint said something of its health, or nothing when it should have.
    pub(super) fn hear(&self, word: Word, balance: &Balance) {
        let before = Word::from_number(self.told.swap(word as u8, Ordering::AcqRel));
        if before == word {
            return;
        }
        let (service, endpoint) = (&balance.service, &self.target.endpoint);
        match (before, word) {
            (_, Word::NotServing) => {
                tracing::info!(%service, %endpoint, "the endpoint says NOT_SERVING: it gets no calls");
            }
            (_, Word::Silent) => {
                tracing::info!(%service, %endpoint, "the endpoint does not say whether it serves: others are preferred");
            }
            (Word::NotServing | Word::Silent, Word::Serving) => {
                tracing::info!(%service, %endpoint, "the endpoint serves");
            }
            _ => {}
        }
        self.show();
        balance.changed();
    }

    /// Where a call with this target goes.
    pub(super) fn uri(&self, target: &Uri) -> Result<Uri, Status> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = target
            .path_and_query()
            .cloned()
            .or_else(|| "/".parse().ok());
        Uri::from_parts(parts).map_err(|error| Status::internal(format!("{target}: {error}")))
    }

    /// Whether it may take calls in a moment: no attempt has failed since it last was connected, and
    /// it was not yet asked in vain whether it serves.
    pub(super) fn is_connecting(&self) -> bool {
        match self.lock().phase {
            Phase::Connecting => true,
            Phase::Ready => {
                self.connected.load(Ordering::Acquire) == NONE || self.word() == Word::Awaited
            }
            Phase::Failed => false,
        }
    }

    pub(super) fn state(&self) -> State {
        self.lock().clone()
    }

    /// Notes why a call failed, for the reason given when nothing is ready.
    pub(super) fn note(&self, error: &str) {
        self.lock().error = Some(error.to_owned());
    }

    /// Keeps the node connected until the future is dropped.
    pub(super) async fn keep_connected(self: Arc<Node>, balance: Arc<Balance>) {
        let mut backoff =
            Backoff::new(balance.options.reconnect, balance.options.reconnect_longest);
        let mut number = NONE;
        let mut connector = balance.options.connector.clone();
        loop {
            let attempt = connector.connect(&self);
            let error = match timeout(balance.options.connect_timeout, attempt).await {
                Ok(Ok((sender, lost))) => {
                    number += 1;
                    let asked = sender.clone();
                    self.link.store(Some(Arc::new(Link { sender, number })));
                    self.load.forget(balance.now());
                    self.breaker.reset();
                    let first = match balance.options.health {
                        Some(_) => Word::Awaited,
                        None => Word::Serving,
                    };
                    self.told.store(first as u8, Ordering::Release);
                    self.connected.store(number, Ordering::Release);
                    self.enter(Phase::Ready, None, &balance);
                    let since = tokio::time::Instant::now();
                    let lost = tokio::select! {
                        lost = lost => lost.unwrap_or_default(),
                        never = health::follow(&self, asked, &balance) => match never {},
                    };
                    self.close();
                    let proven = since.elapsed() >= PROVEN;
                    if lost.too_many_pings {
                        tracing::info!(service = %balance.service, endpoint = %self.target.endpoint, "the server minds pings; it gets none");
                        connector = connector.no_pings();
                    }
                    let why = lost
                        .reason
                        .unwrap_or_else(|| "the server said goodbye".into());
                    tracing::debug!(service = %balance.service, endpoint = %self.target.endpoint, %why, "connection ended");
                    if proven {
                        backoff.reset();
                        self.enter(Phase::Connecting, Some(why), &balance);
                        continue;
                    }
                    why
                }
                Ok(Err(error)) => match error.raw_os_error() {
                    // "Connection refused (os error 111)" says the same twice.
                    Some(_) => error.kind().to_string(),
                    None => reason(&error),
                },
                Err(_) => format!("no connection within {:?}", balance.options.connect_timeout),
            };
            self.enter(Phase::Failed, Some(error), &balance);
            backoff.wait().await;
        }
    }

    fn enter(&self, phase: Phase, error: Option<String>, balance: &Balance) {
        {
            let mut state = self.lock();
            if state.phase != phase {
                match (&error, phase) {
                    (Some(error), Phase::Failed) => {
                        tracing::warn!(service = %balance.service, endpoint = %self.target.endpoint, %error, "no connection; trying again");
                    }
                    _ => {
                        tracing::debug!(service = %balance.service, endpoint = %self.target.endpoint, ?phase, "connection");
                    }
                }
            }
            state.phase = phase;
            if error.is_some() {
                state.error = error;
            }
        }
        self.show();
        balance.changed();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Whether a call may go there now, of those of which this is known.
    fn admits(&self, word: Word, now: u64) -> Admission {
        let is_connected = self.connected.load(Ordering::Acquire) != NONE;
        if is_connected && self.told.load(Ordering::Acquire) == word as u8 {
            self.breaker.admission(now)
        } else {
            Admission::Open
        }
    }
}

impl Candidate for Arc<Node> {
    fn admission(&self, now: u64) -> Admission {
        self.admits(Word::Serving, now)
    }

    fn claim_probe(&self, now: u64) -> bool {
        self.breaker.claim(now)
    }

    fn cost(&self, now: u64) -> f64 {
        self.load.cost(now)
    }
}

impl Distant for Arc<Node> {
    fn usual_cost(&self, now: u64, least: Duration) -> f64 {
        self.load.usual_cost(now, least)
    }
}

/// A node as a candidate for calls that nobody takes who says that it serves: it does not say.
pub(super) struct Doubtful<'a>(pub(super) &'a Arc<Node>);

impl Candidate for Doubtful<'_> {
    fn admission(&self, now: u64) -> Admission {
        self.0.admits(Word::Silent, now)
    }

    fn claim_probe(&self, now: u64) -> bool {
        self.0.breaker.claim(now)
    }

    fn cost(&self, now: u64) -> f64 {
        self.0.load.cost(now)
    }
}
