//! The panic guard: a panic in a handler, a layer or the stream of an answer costs that one call, answered as
//! Internal, and never the connection with the other calls on it. What the panic said stays in the log.

use std::{
    any::Any,
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::call::{Protocol, code_value};

/// See the module.
#[derive(Clone)]
pub(crate) struct Guard<S>(pub(crate) S);

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let protocol = Protocol::of(&request);
        let path = request.uri().path().to_owned();
        // A handler may panic before its first await, which is while its future is made.
        let answer = std::panic::catch_unwind(AssertUnwindSafe(|| self.0.call(request)));
        Box::pin(async move {
            let outcome = match answer {
                Ok(answer) => AssertUnwindSafe(answer).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            match outcome {
                Ok(Ok(response)) => Ok(response.map(|body| {
                    Body::new(Guarded {
                        body: Some(body),
                        protocol,
                        path,
                    })
                })),
                Err(panic) => Ok(protocol.refuse(&report(&*panic, &path))),
            }
        })
    }
}

/// Logs a panic, and the status that the caller gets to see: no detail of ours.
fn report(panic: &(dyn Any + Send), path: &str) -> Status {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    metrics::counter!("server_panics_total").increment(1);
    tracing::error!(
        path,
        panic = said,
        "a handler panicked; the call was answered as INTERNAL"
    );
    Status::internal("the service failed inside; its log says why")
}

struct Guarded {
    /// None after a panic: what panicked is not asked again.
    body: Option<Body>,
    protocol: Protocol,
    path: String,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            Ok(frame) => frame,
            Err(panic) => {
                this.body = None;
                let status = report(&*panic, &this.path);
                Poll::Ready(Some(match this.protocol {
                    Protocol::Grpc => Ok(Frame::trailers(trailers(&status))),
                    Protocol::Http => Err(status),
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    // Without it, every answer of known length would be sent in chunks.
    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map_or_else(
            || http_body::SizeHint::with_exact(0),
            http_body::Body::size_hint,
        )
    }
}

/// The trailers that end a gRPC answer with `status`.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", code_value(Code::Internal));
    }
    trailers
}
