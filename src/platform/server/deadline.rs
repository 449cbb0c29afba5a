//! The deadline that a caller sets with `grpc-timeout`, kept on both protocols: the call is answered
//! DEADLINE_EXCEEDED and dropped when it is over, also in mid-stream. Handlers find it in their extensions, and
//! the channels they call by inherit it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Status, body::Body};
use tower::Service;

use super::{call::Protocol, guard};
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

/// See the module.
#[derive(Clone)]
pub(crate) struct Timely<S> {
    pub(crate) inner: S,
    pub(crate) place: Place,
}

/// Where a [`Timely`] stands. Both protocols pass both places; the deadline is worked out once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Around the transcoder: a call over HTTP is bounded from here, its request's body included.
    Outside {
        /// For callers that set none; `None` lets them wait for ever.
        default: Option<Duration>,
    },
    /// Around the gRPC services, where streams are ended in good form.
    Inside,
}

impl<S> Service<Request<Body>> for Timely<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let protocol = Protocol::of(&request);
        let deadline = match self.deadline(&mut request) {
            Ok(deadline) => deadline,
            Err(status) => return Box::pin(async move { Ok(protocol.refuse(&status)) }),
        };
        let is_here = matches!(
            (self.place, protocol),
            (Place::Outside { .. }, Protocol::Http) | (Place::Inside, _)
        );
        let Some(deadline) = deadline.filter(|_| is_here) else {
            return Box::pin(self.inner.call(request));
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(deadline, deadline::within(deadline.into_std(), answer))
                .await
            {
                Ok(Ok(response)) if response.body().is_end_stream() => Ok(response),
                // An answer over HTTP is cut at the inner gRPC call, which ends it in good form.
                Ok(Ok(response)) if protocol == Protocol::Http => Ok(response),
                Ok(Ok(response)) => Ok(response.map(|body| {
                    Body::new(Timed {
                        body,
                        deadline,
                        over: Box::pin(sleep_until(deadline)),
                        ended: false,
                    })
                })),
                Err(_) => Ok(protocol.refuse(&over())),
            }
        })
    }
}

impl<S> Timely<S> {
    fn deadline(&self, request: &mut Request<Body>) -> Result<Option<Instant>, Status> {
        let Place::Outside { default } = self.place else {
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

struct Timed {
    body: Body,
    deadline: Instant,
    over: Pin<Box<Sleep>>,
    ended: bool,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        // The clock is read first: a stream that always has more would never let the timer be asked.
        if Instant::now() < this.deadline {
            // Handlers make their streams here, and the calls that they make for them inherit the deadline.
            let polled = deadline::enter(this.deadline.into_std(), || {
                Pin::new(&mut this.body).poll_frame(cx)
            });
            if polled.is_ready() {
                return polled;
            }
            std::task::ready!(this.over.as_mut().poll(cx));
        }
        self.ended = true;
        // The handler's stream is dropped here, not when the caller lets go of the answer.
        self.body = Body::empty();
        Poll::Ready(Some(Ok(Frame::trailers(guard::trailers(&over())))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
