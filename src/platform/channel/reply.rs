//! The body of an answer: it holds the call's place at its endpoint until the last frame, tells
//! the endpoint's fate from the trailers, and ends with DEADLINE_EXCEEDED when time is up.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status};

use super::breaker::Verdict;
use super::connect::reason;
use super::stay::Stay;
use crate::telemetry::Span;

/// A deadline that shorter than this says more of the caller's patience than of the endpoint.
const PATIENCE: u64 = 250_000_000;

/// See the module.
#[derive(Debug)]
pub struct ReplyBody {
    incoming: Option<Incoming>,
    stay: Option<Stay>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Of the whole call, for a collector; boxed, as there mostly is none.
    span: Option<Box<Span>>,
}

impl ReplyBody {
    /// The rest of an answer whose head is here; `over` when the head already held the status.
    pub(super) fn new(
        incoming: Incoming,
        stay: Option<Stay>,
        deadline: Option<Pin<Box<Sleep>>>,
    ) -> ReplyBody {
        ReplyBody {
            incoming: Some(incoming),
            stay,
            deadline,
            span: None,
        }
    }

    /// Ends the span of the call with the answer.
    pub(super) fn carry(&mut self, span: Option<Box<Span>>) {
        self.span = span;
    }

    fn late(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // Dropping the rest resets the stream, so that the server stops too.
        self.incoming = None;
        // The head was in time: how long a stream may last says nothing of its endpoint.
        let code = Code::DeadlineExceeded;
        self.end(code, Verdict::Neutral, code.description());
        Poll::Ready(Some(Err(Status::deadline_exceeded(
            "the deadline passed while the answer was coming in",
        ))))
    }

    fn end(&mut self, code: Code, verdict: Verdict, error: &str) {
        if let Some(mut span) = self.span.take() {
            span.end(code);
        }
        if let Some(stay) = self.stay.take() {
            stay.end(verdict, error);
        }
        self.deadline = None;
    }
}

/// The status that trailers (or the head of an answer without a body) carry.
pub(super) fn status_of(headers: &HeaderMap) -> Option<Code> {
    headers
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// What a status says of the endpoint. Only what a broken process answers counts against it: an
/// application error (even INTERNAL) is the same on every instance, and ejecting all of them for
/// one method's bug would take the others down with it.
pub(super) fn verdict_of(code: Code, elapsed: u64) -> Verdict {
    match code {
        Code::Unavailable => Verdict::Failure,
        Code::ResourceExhausted => Verdict::Busy,
        Code::DeadlineExceeded if elapsed >= PATIENCE => Verdict::Failure,
        Code::Cancelled | Code::DeadlineExceeded => Verdict::Neutral,
        _ => Verdict::Success,
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        // The clock is asked for what is ready as well: a stream that always has more would go on
        // for ever. An answer that is complete is delivered.
        if let (Poll::Ready(Some(Ok(frame))), Some(deadline)) = (&polled, &this.deadline)
            && frame.is_data()
            && Instant::now() >= deadline.deadline()
        {
            return this.late();
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = status_of(trailers).unwrap_or(Code::Unknown);
                    let verdict = match code {
                        // The head was in time, as in `late`.
                        Code::DeadlineExceeded => Verdict::Neutral,
                        code => verdict_of(code, 0),
                    };
                    this.end(code, verdict, code.description());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let text = reason(&error);
                let address = this
                    .stay
                    .as_ref()
                    .map(|stay| stay.node.target.endpoint.address.clone());
                this.incoming = None;
                this.end(Code::Unavailable, Verdict::Failure, &text);
                let whence = address.as_deref().unwrap_or("the server");
                Poll::Ready(Some(Err(Status::unavailable(format!(
                    "{whence}: the answer broke off: {text}"
                )))))
            }
            Poll::Ready(None) => {
                this.incoming = None;
                this.end(Code::Unknown, Verdict::Success, "");
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(deadline) = &mut this.deadline
                    && deadline.as_mut().poll(cx).is_ready()
                {
                    return this.late();
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_broken_endpoint_answers_counts_as_failure() {
        use Verdict::{Busy, Failure, Neutral, Success};
        for (code, millis, verdict) in [
            (Code::Ok, 1, Success),
            (Code::NotFound, 1, Success),
            (Code::Internal, 1, Success),
            (Code::Unavailable, 1, Failure),
            (Code::ResourceExhausted, 1, Busy),
            (Code::DeadlineExceeded, 20, Neutral),
            (Code::DeadlineExceeded, 300, Failure),
            (Code::Cancelled, 300, Neutral),
        ] {
            assert_eq!(verdict_of(code, millis * 1_000_000), verdict, "{code:?}");
        }
    }
}
