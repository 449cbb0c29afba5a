//! One member of the cluster: a task that owns its connection and says whether it stands.
//!
//! All calls on a member share one connection and one connection attempt. A member that was down
//! is up again only once it has answered: a paused process still accepts connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_client::proto as pb;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::dial::{Dial, Transport};
use super::patience;
use super::state::{Condition, LinkState};
use crate::backoff::Backoff;
use crate::figures;
use crate::running::watched;
use crate::settings::Settings;

/// The least time between two connection attempts, however many calls ask for one.
const LEAST_GAP: Duration = Duration::from_millis(20);

/// A standing connection. It is lost for everyone at once, when its member's task says so.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    /// Cancelled when the connection is given up: whoever waits on it goes elsewhere.
    pub(crate) lost: CancellationToken,
    epoch: u64,
    born: Instant,
    heard: Arc<AtomicU64>,
    streams: Arc<AtomicUsize>,
}

impl Connection {
    /// Notes that the member answered.
    pub(crate) fn hear(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    /// How long the member has said nothing.
    pub(crate) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(heard)
    }

    /// Counts a stream: while there is one, silence is looked into.
    pub(crate) fn open_stream(&self) -> StreamGuard {
        self.streams.fetch_add(1, Ordering::Relaxed);
        StreamGuard(Arc::clone(&self.streams))
    }
}

/// One open stream; dropping it uncounts it.
#[derive(Debug)]
pub(crate) struct StreamGuard(Arc<AtomicUsize>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Phase {
    Untried,
    Dialing,
    Up(Connection),
    Down(Arc<str>),
}

#[derive(Clone, Debug)]
struct Standing {
    phase: Phase,
    /// How many connection attempts have failed so far.
    failures: u64,
    /// Answers, but knows no leader.
    leaderless: bool,
}

enum Ask {
    /// A call needs a connection now.
    Want,
    /// A call found the connection broken.
    Broken { epoch: u64, cause: String },
    /// A call found the member slow or leaderless: look.
    Suspect { epoch: u64 },
}

/// How gladly a member is asked; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Up,
    Untried,
    /// Up, but it just failed a stream.
    Avoided,
    Leaderless,
    Dialing,
    Down,
}

/// The handle of a member's task. Dropping it ends the task and its connection.
pub(crate) struct Member {
    pub(crate) endpoint: Arc<str>,
    standing: watch::Receiver<Standing>,
    asks: mpsc::Sender<Ask>,
    _task: AbortOnDropHandle<()>,
}

impl Member {
    pub(crate) fn spawn(
        index: usize,
        endpoint: Arc<str>,
        dial: Arc<Dial>,
        settings: &Settings,
        heartbeat: Arc<AtomicU64>,
        link: watch::Sender<LinkState>,
    ) -> Self {
        let (standing_in, standing) = watch::channel(Standing {
            phase: Phase::Untried,
            failures: 0,
            leaderless: false,
        });
        let (asks, inbox) = mpsc::channel(64);
        let task = Task {
            index,
            endpoint: Arc::clone(&endpoint),
            dial,
            connect_timeout: settings.connect_timeout,
            heartbeat,
            leaderless_beat: settings.heartbeat.max(SHORTEST_BEAT),
            probe_timeout: settings.probe_timeout,
            standing: standing_in,
            inbox,
            link,
            epoch: 0,
            recovering: false,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
        };
        Self {
            endpoint,
            standing,
            asks,
            _task: AbortOnDropHandle::new(tokio::spawn(task.run())),
        }
    }

    pub(crate) fn rank(&self) -> Rank {
        let standing = self.standing.borrow();
        match &standing.phase {
            Phase::Up(connection) if connection.lost.is_cancelled() => Rank::Dialing,
            Phase::Up(_) if standing.leaderless => Rank::Leaderless,
            Phase::Up(_) => Rank::Up,
            Phase::Untried => Rank::Untried,
            Phase::Dialing => Rank::Dialing,
            Phase::Down(_) => Rank::Down,
        }
    }

    /// The connection, made if there is none. Fails with the next attempt's cause. Cancelling it
    /// leaves the attempt to whoever else waits for it.
    pub(crate) async fn connection(&self) -> Result<Connection, String> {
        const ENDED: &str = "the runtime that served this client has ended";
        let mut standing = self.standing.clone();
        let failures = {
            let now = standing.borrow_and_update();
            match &now.phase {
                Phase::Up(connection) if !connection.lost.is_cancelled() => {
                    return Ok(connection.clone());
                }
                _ => now.failures,
            }
        };
        // A full inbox holds a wish like this one already.
        if let Err(mpsc::error::TrySendError::Closed(_)) = self.asks.try_send(Ask::Want) {
            return Err(ENDED.to_owned());
        }
        loop {
            standing.changed().await.map_err(|_| ENDED.to_owned())?;
            let now = standing.borrow_and_update();
            match &now.phase {
                Phase::Up(connection) if !connection.lost.is_cancelled() => {
                    return Ok(connection.clone());
                }
                Phase::Down(cause) if now.failures > failures => return Err(cause.to_string()),
                _ => {}
            }
        }
    }

    /// Tells that this connection broke, so that nobody else waits on it.
    pub(crate) fn broken(&self, connection: &Connection, cause: &str) {
        // A full inbox costs the cause alone: the task sees the loss as well.
        let _ = self.asks.try_send(Ask::Broken {
            epoch: connection.epoch,
            cause: cause.to_owned(),
        });
        connection.lost.cancel();
    }

    /// Asks the member's task to look whether it answers, on whatever connection it has.
    pub(crate) fn suspect_current(&self) {
        if let Phase::Up(connection) = &self.standing.borrow().phase {
            self.suspect(connection);
        }
    }

    /// Asks the member's task to look whether it answers.
    pub(crate) fn suspect(&self, connection: &Connection) {
        let _ = self.asks.try_send(Ask::Suspect {
            epoch: connection.epoch,
        });
    }
}

/// No setting makes it ask more often.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

struct Task {
    index: usize,
    endpoint: Arc<str>,
    dial: Arc<Dial>,
    connect_timeout: Duration,
    /// In milliseconds; the link may slow it.
    heartbeat: Arc<AtomicU64>,
    /// How soon one without a leader is asked again, at whatever pace others are.
    leaderless_beat: Duration,
    probe_timeout: Duration,
    standing: watch::Sender<Standing>,
    inbox: mpsc::Receiver<Ask>,
    link: watch::Sender<LinkState>,
    epoch: u64,
    /// It was down: a connection alone does not make it up again.
    recovering: bool,
    backoff: Backoff,
}

impl Task {
    async fn run(mut self) {
        while let Some(ask) = self.inbox.recv().await {
            if matches!(ask, Ask::Want) {
                break;
            }
        }
        while let Err(cause) = watched("member", self.attend()).await {
            if let Phase::Up(connection) = &self.standing.borrow().phase {
                connection.lost.cancel();
            }
            self.down(&cause, 1);
            if !self.pause().await {
                return;
            }
        }
    }

    /// Connects and watches over the connection, time and again, until the link ends.
    async fn attend(&mut self) {
        loop {
            match self.connect().await {
                Ok(connection) => {
                    self.up(&connection);
                    let Some(cause) = self.serve(&connection).await else {
                        return;
                    };
                    connection.lost.cancel();
                    // No attempt that failed: whoever waits is told of the next one.
                    self.down(&cause, 0);
                }
                Err(cause) => {
                    self.down(&cause, 1);
                    if !self.pause().await {
                        return;
                    }
                }
            }
            tokio::time::sleep(LEAST_GAP).await;
        }
    }

    /// Waits for the back-off or for a call that needs a connection; `false` when the link ended.
    async fn pause(&mut self) -> bool {
        let wait = tokio::time::sleep(self.backoff.next_wait());
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return true,
                ask = self.inbox.recv() => match ask {
                    Some(Ask::Want) => return true,
                    Some(_) => {}
                    None => return false,
                },
            }
        }
    }

    async fn connect(&mut self) -> Result<Connection, String> {
        if !self.recovering {
            self.standing
                .send_modify(|standing| standing.phase = Phase::Dialing);
        }
        let transport = self.dial.connect(self.connect_timeout).await?;
        self.epoch += 1;
        let connection = Connection {
            transport,
            lost: CancellationToken::new(),
            epoch: self.epoch,
            born: Instant::now(),
            heard: Arc::default(),
            streams: Arc::default(),
        };
        if self.recovering {
            self.probe(&connection).await?;
        }
        Ok(connection)
    }

    /// Watches over a connection until it is lost; `None` when the link ended.
    async fn serve(&mut self, connection: &Connection) -> Option<String> {
        let mut looked = tokio::time::Instant::now();
        loop {
            let heartbeat = self.heartbeat();
            let look = tokio::select! {
                // The inbox first: it may hold the cause of the loss.
                biased;
                ask = self.inbox.recv() => match ask? {
                    Ask::Want => false,
                    Ask::Broken { epoch, cause } if epoch == connection.epoch => return Some(cause),
                    Ask::Suspect { epoch } => epoch == connection.epoch,
                    Ask::Broken { .. } => false,
                },
                () = connection.lost.cancelled() => {
                    return Some("the connection broke".to_owned());
                }
                () = tokio::time::sleep_until(looked + heartbeat) => {
                    looked = tokio::time::Instant::now();
                    let silent = connection.streams.load(Ordering::Relaxed) > 0
                        && connection.silence() >= heartbeat;
                    silent || self.standing.borrow().leaderless
                }
            };
            if look {
                match self.probe(connection).await {
                    Ok(()) => self.backoff.reset(),
                    Err(cause) => return Some(cause),
                }
                if let Some(cause) = self.answered(connection) {
                    return Some(cause);
                }
            }
        }
    }

    fn heartbeat(&self) -> Duration {
        if self.standing.borrow().leaderless {
            return self.leaderless_beat;
        }
        Duration::from_millis(self.heartbeat.load(Ordering::Relaxed)).max(SHORTEST_BEAT)
    }

    /// One answer is enough for all who asked meanwhile: where calls are slow, each of them asks.
    /// Gives why the connection is lost, where one of them says so.
    fn answered(&mut self, connection: &Connection) -> Option<String> {
        while let Ok(ask) = self.inbox.try_recv() {
            match ask {
                Ask::Broken { epoch, cause } if epoch == connection.epoch => return Some(cause),
                Ask::Want | Ask::Broken { .. } | Ask::Suspect { .. } => {}
            }
        }
        None
    }

    /// Asks for the member's status. Any answer is a sign of life; a leader is noted.
    async fn probe(&mut self, connection: &Connection) -> Result<(), String> {
        let asked = ask_status(&connection.transport);
        let begun = Instant::now();
        match patience::within(self.probe_timeout, asked).await {
            Some(Ok(status)) => {
                connection.hear();
                figures::member_up(&self.endpoint);
                self.standing.send_if_modified(|standing| {
                    let leaderless = status.leader == 0;
                    std::mem::replace(&mut standing.leaderless, leaderless) != leaderless
                });
                Ok(())
            }
            Some(Err(status)) => match super::call::broken_by(&status) {
                Some(cause) => Err(cause),
                None => {
                    connection.hear();
                    Ok(())
                }
            },
            // Too busy for this question, and not for others.
            None if connection.silence() < begun.elapsed() => Ok(()),
            None => Err(format!(
                "no sign of life within {:.1} s",
                self.probe_timeout.as_secs_f64()
            )),
        }
    }

    fn up(&mut self, connection: &Connection) {
        figures::member_up(&self.endpoint);
        self.backoff.reset();
        self.standing
            .send_modify(|standing| standing.phase = Phase::Up(connection.clone()));
        let since = Instant::now();
        self.link.send_modify(|link| {
            if let Some(member) = link.members.get_mut(self.index) {
                member.condition = Condition::Up { since };
            }
        });
        tracing::debug!(endpoint = %self.endpoint, "etcd member is up");
    }

    fn down(&mut self, cause: &str, failures: u64) {
        self.recovering = true;
        figures::member_down(&self.endpoint);
        let cause: Arc<str> = cause.into();
        self.standing.send_modify(|standing| {
            standing.phase = Phase::Down(Arc::clone(&cause));
            standing.failures += failures;
        });
        let now = Instant::now();
        self.link.send_modify(|link| {
            if let Some(member) = link.members.get_mut(self.index) {
                if !matches!(member.condition, Condition::Down { .. }) {
                    tracing::warn!(endpoint = %self.endpoint, %cause, "etcd member is down");
                    member.condition = Condition::Down { since: now };
                }
                member.last_error = Some(cause);
            }
        });
    }
}

/// The status of the member behind a transport; needs no authentication.
pub(crate) async fn ask_status(
    transport: &Transport,
) -> Result<pb::PbStatusResponse, tonic::Status> {
    super::call::plain(
        transport,
        &super::call::STATUS,
        pb::PbStatusRequest::default(),
    )
    .await
}

#[cfg(test)]
mod tests;
