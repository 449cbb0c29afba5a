//! The deadline that a caller sets with `grpc-timeout`, kept on both protocols: the call is answered
//! DEADLINE_EXCEEDED and dropped when it is over, also in mid-stream. Handlers find it in their extensions, and
//! the channels they call by inherit it.

use std::{
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use futures::stream;
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, body::Body};

use super::{
    call::Protocol,
    guard,
    layer::{Answer, Layer, Next, at_once},
};
use crate::deadline::{self, GRPC_TIMEOUT};

/// When the caller stops waiting. In the extensions of a request that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The time that is left, zero when it is over.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// See the module. Both protocols pass both places; the deadline is worked out once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timely {
    /// Around the transcoder: a call over HTTP is bounded from here, its request's body included.
    Outside {
        /// For callers that set none; `None` lets them wait for ever.
        default: Option<Duration>,
    },
    /// Around the gRPC services, where streams are ended in good form.
    Inside,
}

impl<S: Next> Layer<S> for Timely {
    fn answer(&self, mut request: Request<Body>, next: &mut S) -> Answer {
        let protocol = Protocol::of(&request);
        let deadline = match self.deadline(&mut request) {
            Ok(deadline) => deadline,
            Err(status) => return at_once(protocol.refuse(&status)),
        };
        let is_here = matches!(
            (self, protocol),
            (Self::Outside { .. }, Protocol::Http) | (Self::Inside, _)
        );
        let Some(deadline) = deadline.filter(|_| is_here) else {
            return Box::pin(next.call(request));
        };
        let answer = next.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(deadline, deadline::within(deadline.into_std(), answer))
                .await
            {
                Ok(Ok(response)) if response.body().is_end_stream() => Ok(response),
                // An answer over HTTP is cut at the inner gRPC call, which ends it in good form.
                Ok(Ok(response)) if protocol == Protocol::Http => Ok(response),
                Ok(Ok(response)) => Ok(response.map(|body| timed(body, deadline))),
                Err(_) => Ok(protocol.refuse(&over())),
            }
        })
    }
}

impl Timely {
    fn deadline(self, request: &mut Request<Body>) -> Result<Option<Instant>, Status> {
        let Self::Outside { default } = self else {
            return Ok(request
                .extensions()
                .get::<Deadline>()
                .map(|deadline| deadline.0));
        };
        let timeout = requested(request.headers())?.or(default);
        // A deadline beyond the clock's end is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline(deadline));
        }
        Ok(deadline)
    }
}

fn over() -> Status {
    Status::deadline_exceeded("the deadline that the caller set is over")
}

/// The caller's timeout. One that cannot be read is refused: ignoring it would let the call run for ever.
fn requested(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    match (headers.get(GRPC_TIMEOUT), deadline::requested(headers)) {
        (None, _) => Ok(None),
        (Some(_), Some(timeout)) => Ok(Some(timeout)),
        (Some(_), None) => Err(Status::invalid_argument(
            "grpc-timeout: must be 1 to 8 digits and one of H M S m u n, such as 500m",
        )),
    }
}

/// The body until the deadline. How long it is nobody may say: it may be cut.
fn timed(body: Body, deadline: Instant) -> Body {
    let mut left = Some((body, Box::pin(sleep_until(deadline))));
    Body::new(StreamBody::new(stream::poll_fn(move |cx| {
        let Some((body, over)) = &mut left else {
            return Poll::Ready(None);
        };
        // The clock is read first: a stream that always has more would never let the timer be asked.
        if Instant::now() < deadline {
            // Handlers make their streams here, and the calls that they make for them inherit the deadline.
            let polled = deadline::enter(deadline.into_std(), || Pin::new(body).poll_frame(cx));
            if polled.is_ready() {
                return polled;
            }
            ready!(over.as_mut().poll(cx));
        }
        // The handler's stream is dropped here, not when the caller lets go of the answer.
        left = None;
        Poll::Ready(Some(Ok(Frame::trailers(guard::trailers(&self::over())))))
    })))
}
