//! The panic guard: a panic in a handler, a layer or the stream of an answer costs that one call, answered as
//! Internal, and never the connection with the other calls on it. What the panic said stays in the log.

use std::{any::Any, panic::AssertUnwindSafe, pin::Pin, task::Poll};

use futures::FutureExt as _;
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame};
use tonic::{Code, Status, body::Body};

use super::{
    call::{Protocol, code_value},
    layer::{Answer, Layer, Next, asked_by},
};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Guard;

impl<S: Next> Layer<S> for Guard {
    fn answer(&self, request: Request<Body>, next: &mut S) -> Answer {
        let protocol = Protocol::of(&request);
        let path = request.uri().path().to_owned();
        // A handler may panic before its first await, which is while its future is made.
        let answer = std::panic::catch_unwind(AssertUnwindSafe(|| next.call(request)));
        Box::pin(async move {
            let outcome = match answer {
                Ok(answer) => AssertUnwindSafe(answer).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            match outcome {
                Ok(Ok(response)) => Ok(response.map(|body| guarded(body, protocol, path))),
                Err(panic) => Ok(protocol.refuse(&report(&*panic, &path))),
            }
        })
    }
}

fn guarded(body: Body, protocol: Protocol, path: String) -> Body {
    asked_by(body, move |body, cx| {
        let asked = AssertUnwindSafe(|| Pin::new(&mut *body).poll_frame(cx));
        std::panic::catch_unwind(asked).unwrap_or_else(|panic| {
            // What panicked is not asked again.
            *body = Body::empty();
            let status = report(&*panic, &path);
            Poll::Ready(Some(match protocol {
                Protocol::Grpc => Ok(Frame::trailers(trailers(&status))),
                Protocol::Http => Err(status),
            }))
        })
    })
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

/// The trailers that end a gRPC answer with `status`.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", code_value(Code::Internal));
    }
    trailers
}
