//! The outermost layer: works out what a request is for, counts and times it per method, and writes the access
//! log when its answer has ended, with the ids of its trace. Neither queries, headers nor bodies are logged: they may hold secrets.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{Request, Response};
use http_body::Body as _;
use tonic::{Code, body::Body};

use super::{
    call::{self, Answered, Call, Outcome, Protocol, Surface},
    layer::{Answer, Layer, Next, Polled, asked_by},
    metrics::Upkeep,
    port::Peer,
    route::Routing,
    stage::{Draining, Life},
    trace::Traced,
};

/// How many requests are being answered, watches of health left out: every client keeps one open.
/// Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    count: Arc<AtomicUsize>,
    gauge: ::metrics::Gauge,
}

impl InFlight {
    /// The recorder must be there: gauges made before it count into nothing.
    pub(crate) fn new() -> Self {
        Self {
            count: Arc::default(),
            gauge: ::metrics::gauge!("server_requests_in_flight"),
        }
    }

    /// One more, until it is dropped.
    fn begin(self) -> Counted {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.gauge.increment(1.0);
        Counted(self)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// A request that is being answered.
struct Counted(InFlight);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.decrement(1.0);
    }
}

/// See the module.
#[derive(Clone)]
pub(super) struct Observe {
    pub(super) routing: Arc<Routing>,
    pub(super) life: Life,
    pub(super) in_flight: InFlight,
    /// What is counted here is summed up as long as there is somebody to count.
    pub(super) _upkeep: Option<Upkeep>,
}

impl<S: Next> Layer<S> for Observe {
    fn answer(&self, mut request: Request<Body>, next: &mut S) -> Answer {
        let (call, target) = self.routing.load().resolve(&request);
        let traced = Traced::begin(&call, request.headers());
        let mut record = Record::begin(call.clone(), &request, self.in_flight.clone(), traced);
        let extensions = request.extensions_mut();
        extensions.insert(call);
        extensions.insert(target);
        extensions.insert(Draining(self.life.watch()));
        let answer = record.traced.enter(|| next.call(request));
        Box::pin(async move {
            // Should the caller go away first, dropping the record logs that.
            let mut answer = std::pin::pin!(answer);
            let response = poll_fn(|cx| record.traced.enter(|| answer.as_mut().poll(cx))).await?;
            record.headers(&response);
            Ok(response.map(|body| asked_by(body, move |body, cx| record.ask(body, cx))))
        })
    }
}

/// One request, from its first byte to the end of its answer; logged and counted when dropped.
struct Record {
    call: Call,
    verb: http::Method,
    path: String,
    peer: Option<Peer>,
    began: Instant,
    code: Option<Code>,
    outcome: Option<Outcome>,
    http_status: u16,
    sent: u64,
    _counted: Option<Counted>,
    traced: Traced,
}

impl Record {
    fn begin(call: Call, request: &Request<Body>, in_flight: InFlight, traced: Traced) -> Self {
        let is_counted = call.surface() != Surface::Health;
        Self {
            call,
            verb: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer: request.extensions().get::<Peer>().copied(),
            began: Instant::now(),
            code: None,
            outcome: None,
            http_status: 0,
            sent: 0,
            _counted: is_counted.then(|| in_flight.begin()),
            traced,
        }
    }

    fn headers(&mut self, response: &Response<Body>) {
        self.http_status = response.status().as_u16();
        self.outcome = response.extensions().get::<Outcome>().cloned();
        let answered = response
            .extensions()
            .get::<Answered>()
            .map(|answered| answered.0);
        self.code = match self.call.protocol() {
            // Without a code yet it is still to come, in the trailers.
            Protocol::Grpc => answered.or_else(|| call::code_in(response.headers())),
            Protocol::Http => answered.or_else(|| Some(call::code_of_http(response.status()))),
        };
    }

    /// Asks the answer for its next frame, and notes what comes.
    fn ask(&mut self, body: &mut Body, cx: &mut Context<'_>) -> Polled {
        let frame = ready!(self.traced.enter(|| Pin::new(body).poll_frame(cx)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.sent += data.len() as u64;
                } else if let Some(code) = frame.trailers_ref().and_then(call::code_in) {
                    self.code = Some(code);
                }
            }
            Some(Err(status)) => self.code = Some(status.code()),
            None => {}
        }
        Poll::Ready(frame)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // An answer that ends without a code was given up by its caller.
        let code = match &self.outcome {
            Some(outcome) => outcome.get(),
            None => self.code,
        };
        let code = code.unwrap_or(Code::Cancelled);
        let took = self.began.elapsed();
        let protocol = match self.call.protocol() {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        };
        let code_name = name_of(code);
        let method = ::metrics::SharedString::from(self.call.method_label());
        let labels = [
            ::metrics::Label::new("method", method),
            ::metrics::Label::from_static_parts("protocol", protocol),
            ::metrics::Label::from_static_parts("code", code_name),
        ];
        ::metrics::counter!("server_requests_total", labels[..].iter()).increment(1);
        ::metrics::histogram!("server_request_seconds", labels[..2].iter())
            .record(took.as_secs_f64());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (method, peer) = (self.call.method(), self.peer.map(|peer| peer.0));
        let (verb, path) = (&self.verb, &self.path);
        let over_http =
            (self.call.protocol() == Protocol::Http).then_some((&self.verb, self.http_status));
        self.traced.end(code, over_http);
        // Probes come every few seconds for ever; they would drown the calls.
        if self.call.surface() == Surface::Api {
            tracing::info!(target: "access", protocol, method, %verb, path, code = code_name, status = self.http_status, took_us, sent = self.sent, peer = ?peer, trace_id = self.traced.context.trace_id(), span_id = self.traced.context.span_id());
        } else {
            tracing::debug!(target: "access", protocol, method, %verb, path, code = code_name, status = self.http_status, took_us, sent = self.sent, peer = ?peer, trace_id = self.traced.context.trace_id(), span_id = self.traced.context.span_id());
        }
    }
}

/// The name of a code as the specification writes it.
pub(crate) fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
