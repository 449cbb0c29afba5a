//! Calls to a service by its name, for any generated tonic client:
//! `UserServiceClient::new(platform.channel("user"))`. Endpoints come from discovery or a fixed
//! list; each call goes to the cheaper of two, calls that never reached a server are repeated,
//! and a call for which nothing is ready fails at once saying why.
//! A `Channel` is always ready: `poll_ready` says nothing about the fleet.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fleet::{Endpoint, Instance};
use http::{Request, Response, Uri};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

use crate::deadline;
use crate::discover::ServiceView;
use balance::{Balance, Nothing, Stay};
use breaker::Verdict;
use connect::reason;
use replay::{Replay, Replayer, replay};
use reply::{status_of, verdict_of};

mod balance;
pub mod breaker;
pub mod budget;
mod connect;
mod node;
mod options;
pub mod pick;
mod replay;
mod reply;
pub mod subset;

pub use connect::Connector;
pub(crate) use connect::client_config;
pub use options::ChannelOptions;
pub use reply::ReplyBody;

/// See the module. Clones share connections; the last one dropped ends the reconnecting, while
/// answers that are still coming in finish.
#[derive(Clone)]
pub struct Channel {
    balance: Arc<Balance>,
    _follower: Arc<AbortOnDropHandle<()>>,
}

/// One instance as a channel sees it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The instance, or the address where nobody gave it a name.
    pub id: Arc<str>,
    /// Where it speaks gRPC.
    pub endpoint: Endpoint,
    /// Its share of the calls, relative to 100.
    pub weight: u32,
    /// Where it runs.
    pub zone: Option<Arc<str>>,
}

/// A target is the same while instance and address are: weight and zone may change meanwhile.
impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        self.id == other.id && self.endpoint == other.endpoint
    }
}

impl Eq for Target {}

impl std::hash::Hash for Target {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        self.endpoint.hash(state);
    }
}

impl Target {
    /// The instance's first gRPC endpoint; `None` when it has none.
    pub fn of(instance: &Instance) -> Option<Target> {
        Some(Target {
            id: instance.record.id.as_str().into(),
            endpoint: instance.record.grpc()?.clone(),
            weight: instance.record.weight,
            zone: instance.record.zone().map(Into::into),
        })
    }

    /// An endpoint that is in no registry.
    pub fn at(endpoint: Endpoint) -> Target {
        Target {
            id: endpoint.address.clone(),
            endpoint,
            weight: 100,
            zone: None,
        }
    }
}

#[derive(Debug)]
enum Source {
    Fixed(Vec<Target>),
    Discovered(watch::Receiver<Arc<ServiceView>>),
}

impl Channel {
    /// A channel to endpoints that are known. `service` names them in errors and metrics.
    /// Must be called within a tokio runtime; connects in the background at once.
    pub fn fixed(
        service: impl Into<Arc<str>>,
        endpoints: impl IntoIterator<Item = Endpoint>,
        options: ChannelOptions,
    ) -> Channel {
        let targets = endpoints.into_iter().map(Target::at).collect();
        Channel::start(service.into(), Source::Fixed(targets), options)
    }

    /// A channel that follows discovery. Must be called within a tokio runtime.
    pub fn discovered(
        service: impl Into<Arc<str>>,
        views: watch::Receiver<Arc<ServiceView>>,
        options: ChannelOptions,
    ) -> Channel {
        Channel::start(service.into(), Source::Discovered(views), options)
    }

    fn start(service: Arc<str>, source: Source, options: ChannelOptions) -> Channel {
        let balance = Arc::new(Balance::new(service, options));
        let follower = tokio::spawn(balance.clone().follow(source));
        Channel {
            balance,
            _follower: Arc::new(AbortOnDropHandle::new(follower)),
        }
    }

    /// Waits until a call could be sent, at most for `patience`.
    ///
    /// # Errors
    /// UNAVAILABLE with what is known when nothing is ready, as a call would get it.
    pub async fn ready(&self, patience: Duration) -> Result<(), Status> {
        let until = tokio::time::Instant::now() + patience;
        let mut changes = self.balance.changes();
        loop {
            match self.balance.choose() {
                Ok(_) => return Ok(()),
                Err(_) => match timeout_at(until, changes.changed()).await {
                    Ok(Ok(())) => {}
                    _ => return Err(Status::unavailable(self.balance.reason())),
                },
            }
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.balance.service)
    }
}

impl tower::Service<Request<tonic::body::Body>> for Channel {
    type Response = Response<ReplyBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ReplyBody>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let time = Time::new(&request, self.balance.options.timeout);
        Box::pin(call(self.balance.clone(), request, time))
    }
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
struct Time {
    /// The deadline of the whole call, which the server is told too.
    whole: Option<Instant>,
    /// The deadline of the head of the answer.
    head: Option<Instant>,
}

impl Time {
    fn new(request: &Request<tonic::body::Body>, default: Option<Duration>) -> Time {
        let now = Instant::now();
        let asked = deadline::requested(request.headers()).and_then(|left| now.checked_add(left));
        let whole = match (asked, deadline::current()) {
            (Some(asked), Some(inherited)) => Some(asked.min(inherited)),
            (asked, inherited) => asked.or(inherited),
        };
        Time {
            whole,
            head: whole.or_else(|| now.checked_add(default?)),
        }
    }
}

impl Time {
    fn is_all_but_over(self) -> bool {
        let moment = Duration::from_millis(5);
        self.whole
            .is_some_and(|whole| whole.saturating_duration_since(Instant::now()) < moment)
    }
}

async fn call(
    balance: Arc<Balance>,
    request: Request<tonic::body::Body>,
    time: Time,
) -> Result<Response<ReplyBody>, Status> {
    balance.meters.calls.increment(1);
    balance.budget.deposit();
    let (mut parts, body) = request.into_parts();
    let (body, replayer) = replay(body);
    let mut body = Some(body);
    let mut attempt = 1;
    let mut returned = 0;
    // One timer for all attempts; it goes on to guard the body.
    let mut head: Option<Pin<Box<Sleep>>> =
        time.head.map(|head| Box::pin(sleep_until(head.into())));
    loop {
        let stay = choose(&balance, head.as_mut(), &parts.uri).await?;
        let Some(link) = stay.node.link() else {
            // The connection was lost between choosing and sending.
            stay.end(Verdict::Neutral, "");
            tokio::task::yield_now().await;
            continue;
        };
        let Some(view) = body.take().or_else(|| replayer.again()) else {
            return Err(Status::unavailable(
                "the request is too large to be sent again",
            ));
        };
        let request = prepare(&parts, view, &stay, time.whole)?;
        let sent = link.sender.clone().try_send_request(request);
        let result = match head.as_mut() {
            Some(head) => tokio::select! {
                biased;
                result = sent => result,
                () = head => return Err(late(&balance, stay, &parts.uri)),
            },
            None => sent.await,
        };
        match result {
            Ok(response) => match answered(
                &balance, stay, &parts.uri, attempt, response, &mut head, time, &replayer,
            ) {
                Answer::Reply(response) => return Ok(response),
                Answer::Again(view) => body = Some(view),
                Answer::Late(stay) => return Err(late(&balance, stay, &parts.uri)),
            },
            Err(mut failure) => {
                let unsent = failure.take_message();
                let error = failure.into_error();
                let fate = if unsent.is_some() {
                    Fate::Unsent
                } else {
                    fate(&error)
                };
                if matches!(fate, Fate::Unsent | Fate::Goodbye) {
                    // This connection is over: no other call shall try it.
                    stay.node.give_up(&link);
                }
                let text = reason(&error);
                let address = stay.node.target.endpoint.address.clone();
                stay.end(
                    if fate == Fate::Unknown {
                        Verdict::Failure
                    } else {
                        Verdict::Neutral
                    },
                    &text,
                );
                body = match unsent {
                    Some(request) => {
                        let (given, view) = request.into_parts();
                        parts.headers = given.headers;
                        Some(view)
                    }
                    None => replayer.again(),
                };
                // A call that was not even sent is no attempt, and each connection gives it back
                // once at most.
                attempt -= u32::from(fate == Fate::Unsent);
                returned += u32::from(fate == Fate::Unsent);
                let again = body.is_some()
                    && returned < MOST_RETURNED
                    && attempt < balance.options.attempts
                    && may_repeat(&balance, fate, &parts.uri);
                if !again {
                    return Err(Status::unavailable(failed(
                        &balance.service,
                        &address,
                        &parts.uri,
                        fate,
                        &text,
                    )));
                }
            }
        }
        attempt += 1;
        balance.meters.retries.increment(1);
    }
}

/// A call that came back unsent so often meets a fleet in which nothing stays connected.
const MOST_RETURNED: u32 = 32;

/// Whether a failed attempt can have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It never left this process.
    Unsent,
    /// The peer refused it before it began.
    Refused,
    /// It was above the last stream of the peer's GOAWAY: not begun.
    Goodbye,
    /// Nobody can tell.
    Unknown,
}

/// What became of a request that was sent, by what HTTP/2 says that these mean.
fn fate(error: &hyper::Error) -> Fate {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            if error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
                return Fate::Refused;
            }
            if error.is_go_away()
                && error.is_remote()
                && error.reason() == Some(h2::Reason::NO_ERROR)
            {
                return Fate::Goodbye;
            }
        }
        cause = error.source();
    }
    Fate::Unknown
}

fn may_repeat(balance: &Balance, fate: Fate, uri: &Uri) -> bool {
    match fate {
        // Costs no server anything, so it costs no budget: a drain must not fail a call.
        Fate::Unsent | Fate::Refused | Fate::Goodbye => true,
        Fate::Unknown => {
            balance.options.idempotent.contains(uri.path())
                && balance.budget.withdraw(balance.now())
        }
    }
}

enum Answer {
    Reply(Response<ReplyBody>),
    Again(Replay),
    Late(Stay),
}

#[expect(
    clippy::too_many_arguments,
    reason = "the state of one call, taken apart for one step"
)]
fn answered(
    balance: &Balance,
    mut stay: Stay,
    uri: &Uri,
    attempt: u32,
    response: Response<hyper::body::Incoming>,
    head: &mut Option<Pin<Box<Sleep>>>,
    time: Time,
    replayer: &Replayer,
) -> Answer {
    let code = match status_of(response.headers()) {
        Some(code) => Some(code),
        // A proxy in between answers in HTTP's own words.
        None if response.status().is_server_error() => Some(Code::Unavailable),
        None => None,
    };
    let deadline = if time.whole.is_some() {
        head.take()
    } else {
        None
    };
    let Some(code) = code else {
        stay.answered();
        return Answer::Reply(response.map(|body| ReplyBody::new(body, Some(stay), deadline)));
    };
    // Servers word the end of their caller's deadline differently (tonic's says CANCELLED) and may
    // be a moment ahead of our own timer.
    if code == Code::Cancelled && time.is_all_but_over() {
        return Answer::Late(stay);
    }
    let verdict = verdict_of(code, stay.elapsed());
    if verdict == Verdict::Success {
        stay.answered();
    }
    stay.end(verdict, code.description());
    if code == Code::Unavailable
        && attempt < balance.options.attempts
        && may_repeat(balance, Fate::Unknown, uri)
        && let Some(view) = replayer.again()
    {
        *head = deadline.or(head.take());
        return Answer::Again(view);
    }
    Answer::Reply(response.map(|body| ReplyBody::new(body, None, deadline)))
}

/// An endpoint, waiting while one is being connected or looked up; never waits for one that failed.
async fn choose(
    balance: &Arc<Balance>,
    mut head: Option<&mut Pin<Box<Sleep>>>,
    uri: &Uri,
) -> Result<Stay, Status> {
    if let Ok(stay) = balance.choose() {
        return Ok(stay);
    }
    let mut changes = balance.changes();
    let patience = balance
        .options
        .discovery_timeout
        .max(balance.options.connect_timeout);
    let until = tokio::time::Instant::now() + patience;
    loop {
        let text = match balance.choose() {
            Ok(stay) => return Ok(stay),
            Err(Nothing::Ready(text)) => text,
            Err(Nothing::Yet) => {
                let change = timeout_at(until, changes.changed());
                let waited = match head.as_mut() {
                    Some(head) => tokio::select! {
                        waited = change => waited,
                        () = head.as_mut() => {
                            balance.meters.refused.increment(1);
                            let text = balance.reason();
                            return Err(Status::deadline_exceeded(format!("{} was not sent in time: {text}", uri.path())));
                        }
                    },
                    None => change.await,
                };
                if waited.is_ok() {
                    continue;
                }
                balance.reason()
            }
        };
        balance.meters.refused.increment(1);
        return Err(Status::unavailable(text));
    }
}

fn prepare(
    parts: &http::request::Parts,
    body: Replay,
    stay: &Stay,
    whole: Option<Instant>,
) -> Result<Request<Replay>, Status> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(stay.node.scheme.clone());
    uri.authority = Some(stay.node.authority.clone());
    uri.path_and_query = parts
        .uri
        .path_and_query()
        .cloned()
        .or_else(|| "/".parse().ok());
    let uri = Uri::from_parts(uri)
        .map_err(|error| Status::internal(format!("{}: {error}", parts.uri)))?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers.clone();
    if let Some(whole) = whole {
        let left = whole.saturating_duration_since(Instant::now());
        request
            .headers_mut()
            .insert(deadline::GRPC_TIMEOUT, deadline::header(left));
    }
    Ok(request)
}

fn late(balance: &Balance, stay: Stay, uri: &Uri) -> Status {
    let elapsed = Duration::from_nanos(stay.elapsed());
    let address = stay.node.target.endpoint.address.clone();
    let verdict = verdict_of(Code::DeadlineExceeded, stay.elapsed());
    let text = format!(
        "{} {}: no answer from {address} within {elapsed:.0?}",
        balance.service,
        uri.path()
    );
    stay.end(verdict, "no answer in time");
    Status::deadline_exceeded(text)
}

fn failed(service: &str, address: &str, uri: &Uri, fate: Fate, text: &str) -> String {
    let effect = match fate {
        Fate::Unsent | Fate::Refused | Fate::Goodbye => "it was not begun",
        Fate::Unknown => "whether it took effect is unknown",
    };
    format!("{service} {}: {address}: {text}; {effect}", uri.path())
}
