//! A lease kept alive for as long as its owner lives, and granted anew whenever it is lost.
//!
//! One keepalive stream for each lease: etcd serves a stream in order, and one slow lease would
//! hold up the others. A lease counts as held only until its own deadline on this machine's
//! clock. What hangs on the lease is its owner's to put anew when the id changes.

use std::time::{Duration, Instant};

use etcd_client::proto as pb;
use fleet::LeaseId;
use tokio::sync::watch;
use tokio::time::Instant as Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::client::call;
use crate::client::stream::{End, Stream};
use crate::figures;
use crate::running::watched;

/// How long a loop that ended by a fault waits before it begins anew: at first, and at most.
const FAULT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// How a lease is kept.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// How long the lease outlives its last sign of life; etcd may raise it. Whole seconds.
    pub ttl: Duration,
    /// The longest wait between two attempts to get the lease back.
    pub retry_ceiling: Duration,
    /// A lease that was lost is granted anew after a wait drawn from nothing to what this says then:
    /// a fault of etcd's takes the leases of a whole fleet at once, and etcd grants a few thousand a
    /// second beside its other work. Half a second for every thousand instances is enough. Attempts
    /// that fail are spread over as much.
    pub regrant_spread: watch::Receiver<Duration>,
}

impl LeaseOptions {
    /// A lease of this time to live.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            retry_ceiling: Duration::from_secs(5),
            regrant_spread: watch::channel(Duration::from_secs(1)).1,
        }
    }
}

/// Whether the lease may be kept alive: a process that hangs must fall out by itself.
#[derive(Debug, Clone)]
pub enum Gate {
    /// Always.
    Open,
    /// While this is `true`. When its sender is gone, the gate is closed for good.
    Watched(watch::Receiver<bool>),
}

impl Gate {
    /// Ends when the gate is open.
    async fn opened(&mut self) {
        if let Self::Watched(open) = self {
            // The value outlives its sender, who alone can vouch for it.
            let vouched = open.wait_for(|open| *open).await.is_ok();
            if !vouched || open.has_changed().is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends when the gate is closed.
    async fn closed(&mut self) {
        match self {
            Self::Open => std::future::pending().await,
            // An error means that whoever opened it is gone.
            Self::Watched(open) => {
                let _ = open.wait_for(|open| !*open).await;
            }
        }
    }
}

/// Where a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// It lives until the deadline at least, which every keepalive moves on.
    Held {
        /// The lease; another id than before means that everything is to be put anew.
        id: LeaseId,
        /// When it counts as lost unless kept alive.
        deadline: Instant,
    },
    /// There is none; one is being asked for, unless the gate is closed.
    Lost {
        /// Since when.
        since: Instant,
        /// Why.
        cause: String,
    },
}

impl LeaseState {
    /// The lease, while it is held.
    #[must_use]
    pub fn id(&self) -> Option<LeaseId> {
        match self {
            Self::Held { id, .. } => Some(*id),
            Self::Lost { .. } => None,
        }
    }
}

/// Keeps one lease. Dropping it ends the keeping, and the lease runs out by itself;
/// [`LeaseKeeper::revoke`] ends it at once.
#[derive(Debug)]
pub struct LeaseKeeper {
    client: Client,
    state: watch::Receiver<LeaseState>,
    leave: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl LeaseKeeper {
    /// Starts a task that grants a lease and keeps it, for ever.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn(client: Client, options: LeaseOptions, gate: Gate) -> Self {
        let (state_in, state) = watch::channel(LeaseState::Lost {
            since: Instant::now(),
            cause: "no lease was granted yet".to_owned(),
        });
        let backoff = Backoff::new(Duration::from_millis(200), options.retry_ceiling);
        let leave = CancellationToken::new();
        let task = Task {
            client: client.clone(),
            options,
            gate,
            state: state_in,
            backoff,
            leave: leave.clone(),
        };
        Self {
            client,
            state,
            leave,
            task: AbortOnDropHandle::new(tokio::spawn(task.keep_on())),
        }
    }

    /// Where the lease stands. Closed when the keeper is dropped.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// Stops keeping the lease and revokes it, which deletes its keys; gives up after `within`,
    /// when the lease runs out by itself.
    ///
    /// # Errors
    /// When etcd could not be told in time.
    pub async fn revoke(self, within: Duration) -> Result<(), crate::Error> {
        let until = Clock::now() + within;
        let id = self.state.borrow().id();
        self.leave.cancel();
        // A lease that is being granted right now would be left behind: its end shows the last state.
        // Where etcd does not answer there is nothing to wait for.
        let _ = tokio::time::timeout(within / 2, self.task).await;
        let Some(id) = self.state.borrow().id().or(id) else {
            return Ok(());
        };
        tokio::time::timeout_at(until, self.client.lease_revoke(id))
            .await
            .unwrap_or_else(|_| {
                Err(crate::Error::Deadline {
                    endpoint: self.client.link.endpoints().join(", "),
                    method: call::LEASE_REVOKE.name,
                    after: within,
                    cause: None,
                })
            })
    }
}

struct Task {
    client: Client,
    options: LeaseOptions,
    gate: Gate,
    state: watch::Sender<LeaseState>,
    backoff: Backoff,
    leave: CancellationToken,
}

/// A lease while it is held.
struct Holding {
    id: LeaseId,
    ttl: Duration,
    deadline: Clock,
}

/// Why a stretch of keepalives ended.
enum Pause {
    /// The lease is gone.
    Lost(String),
    /// The stream is; the lease may still be there.
    Broken(String, Option<usize>),
    /// The token was renewed.
    Renewed,
    /// The gate closed.
    Closed,
}

impl Task {
    /// Keeps leases until it is to leave, whatever befalls it.
    async fn keep_on(mut self) {
        let mut pause = Backoff::new(FAULT.0, FAULT.1);
        while let Err(cause) = watched("lease", Box::pin(self.run())).await {
            // The lease may still be there. What hangs on it moves to the next one, and it runs out.
            figures::lease_lost();
            self.lose(format!(
                "the loop that keeps the lease ended by a fault: {cause}"
            ));
            if self.leave.run_until_cancelled(pause.wait()).await.is_none() {
                return;
            }
        }
    }

    async fn run(&mut self) {
        let leave = self.leave.clone();
        loop {
            let opened = leave.run_until_cancelled(self.gate.opened()).await;
            if opened.is_none() {
                return;
            }
            let asked = Clock::now();
            // Never cut: who leaves has to know of the lease.
            let granted = self.client.lease_grant(self.options.ttl).await;
            let granted = granted.map(|granted| {
                let holding = Holding {
                    id: granted.id,
                    ttl: granted.ttl.max(Duration::from_secs(1)),
                    deadline: asked + granted.ttl,
                };
                figures::lease_granted();
                self.show(&holding);
                holding
            });
            let went_on = leave.run_until_cancelled(self.live(granted)).await;
            if went_on.is_none() {
                return;
            }
        }
    }

    /// Keeps what was granted until it is lost, and ends when it is time to ask again.
    async fn live(&mut self, granted: Result<Holding, crate::Error>) {
        match granted {
            Ok(mut holding) => {
                let cause = self.keep(&mut holding).await;
                tracing::warn!(lease = %holding.id, %cause, "lease lost");
                figures::lease_lost();
                self.lose(cause);
                // After a fault of etcd's, a whole fleet comes by here at once.
                let over = *self.options.regrant_spread.borrow();
                tokio::time::sleep(self.backoff.spread(over)).await;
            }
            Err(error) => {
                figures::lease_refused();
                self.lose(error.to_string());
                // What the back-off spreads is soon not enough for a large fleet.
                let over = *self.options.regrant_spread.borrow();
                let over = over.saturating_sub(self.options.retry_ceiling);
                tokio::time::sleep(self.backoff.spread(over)).await;
            }
        }
        self.backoff.wait().await;
    }

    fn show(&self, holding: &Holding) {
        figures::lease_held(holding.deadline.duration_since(Clock::now()));
        self.state.send_replace(LeaseState::Held {
            id: holding.id,
            deadline: holding.deadline.into_std(),
        });
    }

    fn lose(&self, cause: String) {
        self.state.send_modify(|state| match state {
            // The first moment stands; the cause is the latest.
            LeaseState::Lost { cause: shown, .. } => *shown = cause,
            held @ LeaseState::Held { .. } => {
                *held = LeaseState::Lost {
                    since: Instant::now(),
                    cause,
                };
            }
        });
    }

    /// Keeps a lease until it is lost, and says why it was.
    async fn keep(&mut self, holding: &mut Holding) -> String {
        let mut pause = Backoff::new(Duration::from_millis(50), holding.ttl / 4);
        let mut avoid = None;
        loop {
            let before = holding.deadline;
            let ended = self.stream(holding, avoid).await;
            if holding.deadline > before {
                pause.reset();
                self.backoff.reset();
            }
            match ended {
                Pause::Lost(cause) => return cause,
                Pause::Renewed => {}
                Pause::Broken(cause, member) => {
                    avoid = member;
                    let waited = tokio::time::timeout_at(holding.deadline, pause.wait()).await;
                    if waited.is_err() {
                        return cause;
                    }
                }
                Pause::Closed => {
                    let opened = tokio::time::timeout_at(holding.deadline, self.gate.opened());
                    if opened.await.is_err() {
                        return "the liveness gate is closed".to_owned();
                    }
                }
            }
        }
    }

    /// Keeps a lease alive on one stream until one of them ends.
    async fn stream(&mut self, holding: &mut Holding, avoid: Option<usize>) -> Pause {
        let keep_alive = pb::PbLeaseKeepAliveRequest {
            id: holding.id.get(),
        };
        let mut sent = Clock::now();
        let open = Stream::<_, pb::PbLeaseKeepAliveResponse>::open(
            &self.client.link,
            &call::LEASE_KEEP_ALIVE,
            keep_alive,
            avoid,
        );
        let mut stream = match tokio::time::timeout_at(holding.deadline, open).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Pause::Broken(error.to_string(), None),
            Err(_) => return Pause::Lost("no member took a keepalive in time".to_owned()),
        };
        let mut waiting = true;
        loop {
            tokio::select! {
                // An answer that lies unread is none that is missing.
                biased;
                response = stream.next() => match response {
                    Ok(response) if response.ttl <= 0 => {
                        return Pause::Lost("it expired or was revoked".to_owned());
                    }
                    Ok(response) => {
                        let ttl = Duration::from_secs(response.ttl.unsigned_abs());
                        // Counted from the sending: the answer may have been long under way.
                        holding.deadline = sent + ttl;
                        holding.ttl = ttl;
                        waiting = false;
                        self.show(holding);
                    }
                    Err(End::Renewed) => return Pause::Renewed,
                    Err(End::Failed(error)) => {
                        return Pause::Broken(error.to_string(), Some(stream.index));
                    }
                },
                () = self.gate.closed() => return Pause::Closed,
                () = tokio::time::sleep_until(sent + pace(holding.ttl, waiting)) => {
                    if waiting || !stream.send(keep_alive) {
                        stream.suspect();
                        let cause = format!("{}: no answer to a keepalive", stream.endpoint());
                        return Pause::Broken(cause, Some(stream.index));
                    }
                    sent = Clock::now();
                    waiting = true;
                }
            }
        }
    }
}

/// How long after a keepalive was sent the next is due, or, while its answer is awaited, when that
/// is overdue. A member that is far away takes its time; what is left lets another one be asked.
fn pace(ttl: Duration, waiting: bool) -> Duration {
    ttl / if waiting { 2 } else { 3 }
}
