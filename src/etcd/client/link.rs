//! The link to a cluster: picks a member for each call and moves on to the next when it fails.
//!
//! A call that may be repeated fails only when every member failed it or its deadline passed; a
//! write is never sent twice. What the messages mean is the callers'.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use prost::Message;
use rand::seq::SliceRandom;
use tokio::sync::watch;
use tokio::time::Instant;

use super::attempt::{Failure, not_reached};
use super::auth::{Auth, Pass};
use super::call::Method;
use super::dial::Dial;
use super::member::{Connection, Member, Rank};
use super::patience::Patience;
use super::state::{Condition, LinkState, MemberState};
use crate::backoff::Backoff;
use crate::error::{Error, Verdict};
use crate::figures;
use crate::settings::Settings;

/// etcd's default `--max-request-bytes`.
pub(crate) const MAX_REQUEST: usize = 1_572_864;

/// What repeating a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing: it reads. A slow answer is asked of a second member, too.
    Reads,
    /// The same again: it carries its own identity.
    Same,
    /// It could happen twice: sent once.
    Never,
}

/// What a call is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) method: &'static Method,
    pub(crate) repeat: Repeat,
    pub(crate) within: Duration,
    pub(crate) lease: Option<fleet::LeaseId>,
    pub(crate) revision: fleet::Revision,
}

/// Shared by all clones of a client; dropping the last ends the members' tasks.
pub(crate) struct Link {
    pub(crate) settings: Settings,
    pub(crate) auth: Auth,
    dials: Vec<(Arc<str>, Arc<Dial>)>,
    members: OnceLock<Vec<Member>>,
    /// The order in which members are tried; drawn once, to spread clients over them.
    order: Vec<usize>,
    preferred: AtomicUsize,
    /// How long a member may be silent before it is asked for a sign of life, in milliseconds.
    heartbeat: Arc<AtomicU64>,
    state: watch::Sender<LinkState>,
}

impl Link {
    pub(crate) fn new(settings: Settings, dials: Vec<(Arc<str>, Dial)>) -> Self {
        let mut order: Vec<usize> = (0..dials.len()).collect();
        order.shuffle(&mut rand::rng());
        let members = dials
            .iter()
            .map(|(endpoint, _)| MemberState {
                endpoint: Arc::clone(endpoint),
                condition: Condition::Untried,
                last_error: None,
            })
            .collect();
        let state = LinkState {
            members,
            current: None,
        };
        Self {
            auth: Auth::new(settings.user.clone()),
            preferred: AtomicUsize::new(order.first().copied().unwrap_or(0)),
            heartbeat: Arc::new(AtomicU64::new(millis(settings.heartbeat))),
            settings,
            dials: dials
                .into_iter()
                .map(|(endpoint, dial)| (endpoint, Arc::new(dial)))
                .collect(),
            members: OnceLock::new(),
            order,
            state: watch::Sender::new(state),
        }
    }

    pub(crate) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// The members' tasks start with the first call, so that making a client needs no runtime.
    pub(crate) fn members(&self) -> &[Member] {
        self.members.get_or_init(|| {
            self.dials
                .iter()
                .enumerate()
                .map(|(index, (endpoint, dial))| {
                    Member::spawn(
                        index,
                        Arc::clone(endpoint),
                        Arc::clone(dial),
                        &self.settings,
                        Arc::clone(&self.heartbeat),
                        self.state.clone(),
                    )
                })
                .collect()
        })
    }

    /// From now on a silent member is asked for a sign of life so often, and not more often than
    /// the settings say.
    pub(crate) fn slow_heartbeat(&self, every: Duration) {
        let every = every.max(self.settings.heartbeat);
        self.heartbeat.store(millis(every), Ordering::Relaxed);
    }

    /// Each endpoint with how to connect to it.
    pub(crate) fn dials(&self) -> &[(Arc<str>, Arc<Dial>)] {
        &self.dials
    }

    /// The names of all members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.dials
            .iter()
            .map(|(endpoint, _)| endpoint.to_string())
            .collect()
    }

    /// Every member once, the most promising first; the one to avoid comes after its equals.
    pub(crate) fn candidates(&self, avoid: Option<usize>) -> Vec<usize> {
        let members = self.members();
        let preferred = self.preferred.load(Ordering::Relaxed);
        let mut candidates = self.order.clone();
        candidates.sort_by_cached_key(|index| {
            let rank = match members.get(*index).map_or(Rank::Down, Member::rank) {
                Rank::Up if Some(*index) == avoid => Rank::Avoided,
                rank => rank,
            };
            (rank, *index != preferred)
        });
        candidates
    }

    fn prefer(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
        self.state.send_if_modified(|state| {
            let before = state.current.replace(index);
            if before.is_some_and(|before| before != index) {
                figures::failed_over();
            }
            before != Some(index)
        });
    }

    /// Makes a call, on as many members as it takes.
    ///
    /// # Errors
    /// When etcd refused it, when no member could be reached, when the deadline passed, or when a
    /// call that must not be repeated was sent and not answered.
    pub(crate) async fn call<Req, Res>(&self, call: Call, message: Req) -> Result<Res, Error>
    where
        Req: Message + Clone + Send + Sync + 'static,
        Res: Message + Default + Send + Sync + 'static,
    {
        let bytes = message.encoded_len();
        if bytes > MAX_REQUEST {
            let limit = MAX_REQUEST;
            return Err(Error::TooLarge { bytes, limit });
        }
        let deadline = Instant::now() + call.within;
        let mut patience = Patience::new(call.within);
        let mut last = None;
        let mut pause = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
        loop {
            let round = self.round(call, &message, deadline, &mut last);
            let ended = patience.wait(pin!(round)).await;
            match ended {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(Some(error))) => return Err(error),
                Some(Err(None)) => {}
                None => break,
            }
            if patience.wait(pause.wait()).await.is_none() {
                // Nothing is under way: a write that only ever met members that could not take
                // it was not written.
                if let (Repeat::Never, Some(error)) = (call.repeat, last.take()) {
                    return Err(error);
                }
                break;
            }
        }
        Err(Error::Deadline {
            endpoint: self.endpoints().join(", "),
            method: call.method.name,
            after: call.within,
            cause: last.map(|error: Error| error.to_string()),
        })
    }

    /// Asks each member at most once; `Err(None)` when it makes sense to ask them again.
    async fn round<Req, Res>(
        &self,
        call: Call,
        message: &Req,
        deadline: Instant,
        last: &mut Option<Error>,
    ) -> Result<Res, Option<Error>>
    where
        Req: Message + Clone + Send + Sync + 'static,
        Res: Message + Default + Send + Sync + 'static,
    {
        let mut next = self.candidates(None).into_iter();
        let mut asked = Vec::new();
        let mut running = FuturesUnordered::new();
        let mut unreached = Vec::new();
        let mut repasses = 0;
        let attempt = |index: usize| async move {
            (
                index,
                self.attempt(index, call, message.clone(), deadline).await,
            )
        };
        if let Some(index) = next.next() {
            asked.push(index);
            running.push(attempt(index));
        }
        let hedge = tokio::time::sleep(self.settings.hedge_after);
        tokio::pin!(hedge);
        let mut waiting = true;
        loop {
            let (index, result) = tokio::select! {
                Some(done) = running.next() => done,
                () = &mut hedge, if waiting => {
                    // What cannot be asked twice is at least not waited for at a dead member.
                    self.look_at(&asked);
                    let second = if call.repeat == Repeat::Reads { next.next() } else { None };
                    match second {
                        Some(index) => {
                            asked.push(index);
                            running.push(attempt(index));
                            hedge.as_mut().reset(Instant::now() + self.settings.hedge_after);
                        }
                        None => waiting = false,
                    }
                    continue;
                }
                else => break,
            };
            asked.retain(|asked| *asked != index);
            match result {
                Ok(answer) => {
                    self.prefer(index);
                    self.look_at(&asked);
                    return Ok(answer);
                }
                Err(failure) => {
                    match failure.verdict {
                        Verdict::Final => return Err(Some(failure.error)),
                        Verdict::Ambiguous if call.repeat == Repeat::Never => {
                            return Err(Some(failure.error));
                        }
                        Verdict::Reauthenticate if repasses < 2 => {
                            repasses += 1;
                            *last = Some(failure.error);
                            asked.push(index);
                            running.push(attempt(index));
                            continue;
                        }
                        Verdict::Reauthenticate => return Err(Some(failure.error)),
                        Verdict::NotDone | Verdict::Ambiguous => {}
                    }
                    match failure.unreached {
                        Some(cause) => unreached.push((index, cause)),
                        None => self.look_at(&[index]),
                    }
                    *last = Some(failure.error);
                    if let Some(index) = next.next() {
                        asked.push(index);
                        running.push(attempt(index));
                    }
                }
            }
        }
        if unreached.len() == self.dials.len() {
            return Err(Some(self.unreachable(&unreached)));
        }
        Err(None)
    }

    /// The error for a cluster of which no member could be connected to.
    pub(crate) fn unreachable(&self, causes: &[(usize, String)]) -> Error {
        let same = causes
            .iter()
            .all(|(_, cause)| Some(cause) == causes.first().map(|(_, c)| c));
        let cause = match causes.first() {
            None => "no member was tried".to_owned(),
            Some((_, cause)) if same => cause.clone(),
            Some(_) => causes
                .iter()
                .map(|(index, cause)| {
                    let endpoint = self.dials.get(*index).map_or("", |(endpoint, _)| endpoint);
                    format!("{endpoint}: {cause}")
                })
                .collect::<Vec<_>>()
                .join("; "),
        };
        Error::Unreachable {
            endpoints: self.endpoints(),
            cause,
        }
    }

    /// Has the tasks of these members see whether they still answer.
    fn look_at(&self, indexes: &[usize]) {
        for index in indexes {
            if let Some(member) = self.members().get(*index) {
                member.suspect_current();
            }
        }
    }

    pub(crate) async fn connect(&self, index: usize) -> Result<(&Member, Connection), Failure> {
        let Some(member) = self.members().get(index) else {
            return Err(Failure {
                error: Error::Settings("no such member".to_owned()),
                verdict: Verdict::Final,
                unreached: None,
            });
        };
        match member.connection().await {
            Ok(connection) => Ok((member, connection)),
            Err(cause) => Err(not_reached(member, cause)),
        }
    }

    /// A connection to the best member, and how to name it in errors; for streams.
    pub(crate) async fn connect_for_stream(
        &self,
        index: usize,
        deadline: Instant,
    ) -> Result<(Arc<str>, Connection, Pass), Result<(usize, String), Error>> {
        let (member, connection) = match self.connect(index).await {
            Ok(found) => found,
            Err(failure) => {
                return Err(match failure.unreached {
                    Some(cause) => Ok((index, cause)),
                    None => Err(failure.error),
                });
            }
        };
        match self.pass(index, deadline).await {
            Ok(pass) => Ok((Arc::clone(&member.endpoint), connection, pass)),
            Err(failure) => Err(Err(failure.error)),
        }
    }

    pub(crate) async fn pass(&self, index: usize, deadline: Instant) -> Result<Pass, Failure> {
        self.auth
            .pass(self, index, deadline)
            .await
            .map_err(|(error, verdict)| Failure {
                error,
                verdict,
                unreached: None,
            })
    }

    /// Tells the member of a stream that broke or fell silent.
    pub(crate) fn report(&self, index: usize, connection: &Connection, trouble: Trouble<'_>) {
        if let Some(member) = self.members().get(index) {
            match trouble {
                Trouble::Broken(cause) => member.broken(connection, cause),
                Trouble::Silent => member.suspect(connection),
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a stream found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble<'a> {
    Broken(&'a str),
    Silent,
}
