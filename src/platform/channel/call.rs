//! One call: an endpoint is chosen, the request sent, and sent again while that is safe, until there
//! is an answer, no time, or nothing left to try. Deliberately absent: which endpoint (the balance
//! says), and what is safe (its fate says).

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Sleep, sleep, sleep_until, timeout_at};
use tonic::{Code, Status};

use super::balance::Balance;
use super::breaker::Verdict;
use super::connect::reason;
use super::fate::Fate;
use super::members::Nothing;
use super::node::Link;
use super::replay::{Replay, Replayer, replay};
use super::reply::{ReplyBody, status_of, verdict_of};
use super::stay::Stay;
use crate::telemetry::{Kind, Span, is_recording, parent};
use crate::{deadline, trace};

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    /// The deadline of the whole call, which the server is told too.
    whole: Option<Instant>,
    /// The deadline of the head of the answer.
    head: Option<Instant>,
}

impl Time {
    pub(super) fn new(request: &Request<tonic::body::Body>, default: Option<Duration>) -> Time {
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

    fn is_all_but_over(self) -> bool {
        let moment = Duration::from_millis(5);
        self.whole
            .is_some_and(|whole| whole.saturating_duration_since(Instant::now()) < moment)
    }
}

/// The call's place in the trace of what it is made for, told to the server. What the caller set
/// itself stands where it makes the call for no request. A trace that would begin here is worth its
/// header only where somebody records it: otherwise the server begins its own.
fn begin_span(parts: &mut Parts) -> Option<Box<Span>> {
    let parent = parent().or_else(|| trace::Context::sent(&parts.headers));
    let context = match &parent {
        Some(parent) => parent.child(),
        None if is_recording() => trace::Context::root(),
        None => return None,
    };
    context.send(&mut parts.headers);
    let path = parts.uri.path();
    Span::begin(Kind::Client, &context, parent.as_ref(), path).map(Box::new)
}

/// A call. What is rarely needed stands in boxes: the future of every call is allocated anew, and
/// a large one costs more to allocate and to move than all else here.
pub(super) struct Call {
    balance: Arc<Balance>,
    parts: Parts,
    /// The body of the first attempt, until it is sent.
    body: Option<Replay>,
    replayer: Replayer,
    span: Option<Box<Span>>,
    time: Time,
    /// One timer for all attempts; it goes on to guard the body.
    head: Option<Pin<Box<Sleep>>>,
    attempt: u32,
    /// Attempts that came back unsent.
    returned: u32,
}

/// A call that came back unsent so often meets a fleet in which nothing stays connected.
const MOST_RETURNED: u32 = 32;

type Sent = Result<Response<Incoming>, TrySendError<Request<Replay>>>;

/// An attempt under way.
struct Flight<F> {
    stay: Stay,
    link: Arc<Link>,
    sent: F,
}

/// An attempt that came to something.
struct Landed {
    stay: Stay,
    link: Arc<Link>,
    result: Sent,
}

impl Landed {
    /// Whether this is what the caller is to get, whatever another attempt may bring.
    fn is_final(&self) -> bool {
        match &self.result {
            Ok(response) => code_of(response) != Some(Code::Unavailable),
            Err(_) => false,
        }
    }
}

enum Settled {
    Reply(Response<ReplyBody>),
    /// With the body where it is at hand.
    Again(Option<Replay>),
    Failed(Status),
}

impl Call {
    pub(super) fn begin(balance: Arc<Balance>, request: Request<tonic::body::Body>) -> Box<Call> {
        let time = Time::new(&request, balance.options.timeout);
        balance.begin();
        let (mut parts, body) = request.into_parts();
        let span = begin_span(&mut parts);
        let (body, replayer) = replay(body);
        Box::new(Call {
            balance,
            parts,
            body: Some(body),
            replayer,
            span,
            time,
            head: time.head.map(|head| Box::pin(sleep_until(head.into()))),
            attempt: 1,
            returned: 0,
        })
    }

    /// Until there is an answer.
    pub(super) async fn run(mut self: Box<Call>) -> Result<Response<ReplyBody>, Status> {
        let outcome = self.answer().await;
        let code = match &outcome {
            Ok(response) => status_of(response.headers()),
            Err(status) => Some(status.code()),
        };
        if let (Some(span), Some(code)) = (&mut self.span, code) {
            span.end(code);
        }
        let mut response = outcome?;
        response.body_mut().carry(self.span);
        Ok(response)
    }

    async fn answer(&mut self) -> Result<Response<ReplyBody>, Status> {
        loop {
            let stay = match self.balance.choose() {
                Ok(stay) => stay,
                Err(_) => Box::pin(self.wait_for_one()).await?,
            };
            let Some(link) = stay.node.link() else {
                // The connection was lost between choosing and sending.
                stay.end(Verdict::Neutral, "");
                tokio::task::yield_now().await;
                continue;
            };
            let Some(view) = self.body.take().or_else(|| self.replayer.again()) else {
                return Err(Status::unavailable(
                    "the request is too large to be sent again",
                ));
            };
            let flight = self.launch(stay, link, view)?;
            let landed = match self.patience() {
                Some(patience) => Box::pin(self.race(flight, patience)).await?,
                None => self.land(flight).await?,
            };
            match self.settle(landed) {
                Settled::Reply(response) => return Ok(response),
                Settled::Again(view) => self.body = view,
                Settled::Failed(status) => return Err(status),
            }
            self.attempt += 1;
            self.balance.meters.retries.increment(1);
        }
    }

    /// An endpoint once one is connected or looked up; never waits for one that failed.
    async fn wait_for_one(&mut self) -> Result<Stay, Status> {
        let balance = &self.balance;
        let mut changes = balance.changes();
        let options = &balance.options;
        let patience = options.discovery_timeout.max(options.connect_timeout);
        let until = tokio::time::Instant::now() + patience;
        loop {
            let text = match balance.choose() {
                Ok(stay) => return Ok(stay),
                Err(Nothing::Ready(text)) => text,
                Err(Nothing::Yet) => {
                    let waited = tokio::select! {
                        waited = timeout_at(until, changes.changed()) => waited,
                        () = over(&mut self.head) => {
                            balance.meters.refused.increment(1);
                            let (path, text) = (self.parts.uri.path(), balance.reason());
                            return Err(Status::deadline_exceeded(format!("{path} was not sent in time: {text}")));
                        }
                    };
                    if waited.is_ok() {
                        continue;
                    }
                    balance.reason()
                }
            };
            balance.meters.refused.increment(1);
            // A caller that tries again at once, and for ever, must not keep the thread from those
            // who would connect.
            tokio::task::yield_now().await;
            return Err(Status::unavailable(text));
        }
    }

    fn launch(
        &self,
        stay: Stay,
        link: Arc<Link>,
        body: Replay,
    ) -> Result<Flight<impl Future<Output = Sent> + use<>>, Status> {
        let request = self.prepare(&stay, body)?;
        let sent = link.sender.clone().try_send_request(request);
        Ok(Flight { stay, link, sent })
    }

    fn prepare(&self, stay: &Stay, body: Replay) -> Result<Request<Replay>, Status> {
        let parts = &self.parts;
        let uri = stay.node.uri(&parts.uri)?;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = parts.headers.clone();
        if let Some(whole) = self.time.whole {
            let left = whole.saturating_duration_since(Instant::now());
            request
                .headers_mut()
                .insert(deadline::GRPC_TIMEOUT, deadline::header(left));
        }
        Ok(request)
    }

    /// Waits for an attempt alone.
    async fn land<F: Future<Output = Sent>>(
        &mut self,
        flight: Flight<F>,
    ) -> Result<Landed, Status> {
        let Flight { stay, link, sent } = flight;
        tokio::select! {
            biased;
            result = sent => Ok(Landed { stay, link, result }),
            () = over(&mut self.head) => Err(self.late(stay)),
        }
    }

    /// How long the attempt has before a second one runs beside it; `None` where none may.
    fn patience(&self) -> Option<Duration> {
        let is_first = self.attempt == 1 && self.balance.options.attempts > 1;
        is_first.then(|| self.balance.patience(&self.parts.uri))?
    }

    /// Waits for an attempt and, when it is late, for whichever of it and a second one answers first.
    async fn race<F: Future<Output = Sent>>(
        &mut self,
        first: Flight<F>,
        patience: Duration,
    ) -> Result<Landed, Status> {
        let balance = self.balance.clone();
        let Flight { stay, link, sent } = first;
        let mut sent = pin!(sent);
        let early = tokio::select! {
            biased;
            result = &mut sent => Some(result),
            () = over(&mut self.head) => return Err(self.late(stay)),
            () = sleep(patience) => None,
        };
        let second = match early {
            Some(result) => {
                balance.learn(&self.parts.uri, stay.elapsed());
                return Ok(Landed { stay, link, result });
            }
            None => self.second(&stay),
        };
        let Some(second) = second else {
            let landed = self.land(Flight { stay, link, sent }).await?;
            balance.learn(&self.parts.uri, landed.stay.elapsed());
            return Ok(landed);
        };
        self.attempt += 1;
        balance.meters.hedges.increment(1);
        let mut other = pin!(second.sent);
        let first_is_back = tokio::select! {
            biased;
            result = &mut sent => Ok(result),
            result = &mut other => Err(result),
            () = over(&mut self.head) => return Err(self.late(stay)),
        };
        balance.learn(&self.parts.uri, stay.elapsed());
        match first_is_back {
            Ok(result) => {
                let landed = Landed { stay, link, result };
                if landed.is_final() {
                    return Ok(landed);
                }
                fail(landed);
                self.land(Flight {
                    stay: second.stay,
                    link: second.link,
                    sent: other,
                })
                .await
            }
            Err(result) => {
                let landed = Landed {
                    stay: second.stay,
                    link: second.link,
                    result,
                };
                if landed.is_final() {
                    balance.meters.hedges_won.increment(1);
                    drop(stay);
                    return Ok(landed);
                }
                fail(landed);
                self.land(Flight { stay, link, sent }).await
            }
        }
    }

    /// A second attempt elsewhere, where there is an endpoint and a budget for it, and the first one
    /// has read the request to its end: both cannot read what is still coming.
    fn second(&self, first: &Stay) -> Option<Flight<impl Future<Output = Sent> + use<>>> {
        if !self.replayer.is_complete() {
            return None;
        }
        let stay = self.balance.choose_beside(&first.node)?;
        let link = stay.node.link()?;
        if !self.balance.afford_one_more() {
            return None;
        }
        self.launch(stay, link, self.replayer.again()?).ok()
    }

    fn settle(&mut self, landed: Landed) -> Settled {
        let Landed { stay, link, result } = landed;
        match result {
            Ok(response) => self.answered(stay, response),
            Err(failure) => self.unanswered(stay, &link, failure),
        }
    }

    fn answered(&mut self, mut stay: Stay, response: Response<Incoming>) -> Settled {
        let deadline = self.time.whole.and_then(|_| self.head.take());
        let Some(code) = code_of(&response) else {
            stay.answered();
            return Settled::Reply(response.map(|body| ReplyBody::new(body, Some(stay), deadline)));
        };
        // Servers word the end of their caller's deadline differently (tonic's says CANCELLED) and may
        // be a moment ahead of our own timer.
        if code == Code::Cancelled && self.time.is_all_but_over() {
            return Settled::Failed(self.late(stay));
        }
        let verdict = verdict_of(code, stay.elapsed());
        if verdict == Verdict::Success {
            stay.answered();
        }
        stay.end(verdict, code.description());
        if code == Code::Unavailable
            && self.attempt < self.balance.options.attempts
            && Fate::Unknown.may_repeat(&self.balance, &self.parts.uri)
            && let Some(view) = self.replayer.again()
        {
            self.head = deadline.or(self.head.take());
            return Settled::Again(Some(view));
        }
        Settled::Reply(response.map(|body| ReplyBody::new(body, None, deadline)))
    }

    fn unanswered(
        &mut self,
        stay: Stay,
        link: &Link,
        failure: TrySendError<Request<Replay>>,
    ) -> Settled {
        let address = stay.node.target.endpoint.address.clone();
        let lost = lose(stay, link, failure);
        let fate = lost.fate;
        let body = match lost.unsent {
            Some(request) => {
                let (given, view) = request.into_parts();
                self.parts.headers = given.headers;
                Some(view)
            }
            None => self.replayer.again(),
        };
        // A call that was not even sent is no attempt, and each connection gives it back
        // once at most.
        self.attempt -= u32::from(fate == Fate::Unsent);
        self.returned += u32::from(fate == Fate::Unsent);
        let again = body.is_some()
            && self.returned < MOST_RETURNED
            && self.attempt < self.balance.options.attempts
            && fate.may_repeat(&self.balance, &self.parts.uri);
        if again {
            return Settled::Again(body);
        }
        let (service, path) = (&self.balance.service, self.parts.uri.path());
        Settled::Failed(Status::unavailable(format!(
            "{service} {path}: {address}: {}; {}",
            lost.text,
            fate.effect()
        )))
    }

    fn late(&self, stay: Stay) -> Status {
        let elapsed = Duration::from_nanos(stay.elapsed());
        let address = stay.node.target.endpoint.address.clone();
        let verdict = verdict_of(Code::DeadlineExceeded, stay.elapsed());
        let (service, path) = (&self.balance.service, self.parts.uri.path());
        let text = format!("{service} {path}: no answer from {address} within {elapsed:.0?}");
        stay.end(verdict, "no answer in time");
        Status::deadline_exceeded(text)
    }
}

/// Ends when the time is over; never where there is no end.
async fn over(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.as_mut().await,
        None => std::future::pending().await,
    }
}

/// The status of an answer that is over with its head.
fn code_of(response: &Response<Incoming>) -> Option<Code> {
    status_of(response.headers()).or_else(|| {
        // A proxy in between answers in HTTP's own words.
        let is_error = response.status().is_server_error();
        is_error.then_some(Code::Unavailable)
    })
}

/// An attempt without an answer, after its endpoint was told.
struct Lost {
    fate: Fate,
    text: String,
    unsent: Option<Request<Replay>>,
}

fn lose(stay: Stay, link: &Link, mut failure: TrySendError<Request<Replay>>) -> Lost {
    let unsent = failure.take_message();
    let error = failure.into_error();
    let fate = match unsent {
        Some(_) => Fate::Unsent,
        None => Fate::of(&error),
    };
    if matches!(fate, Fate::Unsent | Fate::Goodbye) {
        // This connection is over: no other call shall try it.
        stay.node.give_up(link);
    }
    let text = reason(&error);
    let verdict = match fate {
        Fate::Unknown => Verdict::Failure,
        Fate::Unsent | Fate::Refused | Fate::Goodbye => Verdict::Neutral,
    };
    stay.end(verdict, &text);
    Lost { fate, text, unsent }
}

/// One of two attempts brought nothing: its endpoint is told, the other attempt goes on.
fn fail(landed: Landed) {
    let Landed { stay, link, result } = landed;
    match result {
        Ok(response) => {
            let code = code_of(&response).unwrap_or(Code::Unknown);
            let verdict = verdict_of(code, stay.elapsed());
            stay.end(verdict, code.description());
        }
        Err(failure) => drop(lose(stay, &link, failure)),
    }
}
