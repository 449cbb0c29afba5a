//! The frame that the server's layers share. A layer says what it does with a request, and with the frames of its
//! answer where it has a say in them; what makes it a tower service, and a body a body, is here.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};
use tower::Service;

/// The answer to a request, on its way.
pub(super) type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// What stands behind a layer.
pub(crate) trait Next:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
{
}

impl<S> Next for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        >
{
}

/// What a layer does.
pub(super) trait Layer<S>: Sized {
    /// Answers a request, mostly by `next`, which is ready for it.
    fn answer(&self, request: Request<Body>, next: &mut S) -> Answer;

    /// The service that it makes with what stands behind it.
    fn before(self, next: S) -> Layered<Self, S> {
        Layered { layer: self, next }
    }
}

/// A layer and what stands behind it.
#[derive(Clone)]
pub(super) struct Layered<L, S> {
    layer: L,
    next: S,
}

impl<L: Layer<S>, S: Next> Service<Request<Body>> for Layered<L, S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.layer.answer(request, &mut self.next)
    }
}

/// An answer that is there already.
pub(super) fn at_once(response: Response<Body>) -> Answer {
    Box::pin(std::future::ready(Ok(response)))
}

/// What comes when a body is asked for its next frame.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// The body, asked for its frames by `ask`, which lives as long as it does.
pub(super) fn asked_by<F>(body: Body, ask: F) -> Body
where
    F: FnMut(&mut Body, &mut Context<'_>) -> Polled + Send + Unpin + 'static,
{
    Body::new(AskedBy { body, ask })
}

struct AskedBy<F> {
    body: Body,
    ask: F,
}

impl<F> http_body::Body for AskedBy<F>
where
    F: FnMut(&mut Body, &mut Context<'_>) -> Polled + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Self { body, ask } = &mut *self;
        ask(body, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    // Without it, every answer of known length would be sent in chunks.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
