//! A gate before every call, of either protocol: the bounds on calls in flight and on how fast they come, and the
//! service's own say on whether a call may pass now. For more than yes or no there are tower layers.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use tonic::{Status, body::Body};
use tower::Service;

use super::{
    call::{Call, Protocol, Surface},
    observe::InFlight,
    rate::Limiter,
};

/// Lets calls pass, makes them wait, or refuses them.
#[tonic::async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Ends when `call` may pass; an error refuses it. Dropped when the caller goes away.
    async fn admit(&self, call: &Call) -> Result<(), Status>;
}

/// When to come again after calls in flight were too many: nobody knows, but not at once.
const SOON: Duration = Duration::from_secs(1);

/// Refuses a call that is too much, and says when to come again as each protocol has it.
fn shed(call: &Call, reason: &'static str, why: String, wait: Duration) -> Response<Body> {
    metrics::counter!("server_shed_total", "reason" => reason).increment(1);
    let mut response = call.protocol().refuse(&Status::resource_exhausted(why));
    let (name, number) = match call.protocol() {
        Protocol::Http => ("retry-after", wait.as_millis().div_ceil(1000)),
        Protocol::Grpc => ("grpc-retry-pushback-ms", wait.as_millis()),
    };
    let number = u64::try_from(number).unwrap_or(u64::MAX).max(1);
    response
        .headers_mut()
        .insert(name, HeaderValue::from(number));
    response
}

/// The layer.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    pub(crate) inner: S,
    pub(crate) gates: Arc<[Box<dyn Gate>]>,
    pub(crate) in_flight: InFlight,
    pub(crate) most: usize,
    pub(crate) limiters: Arc<[Limiter]>,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(call) = request.extensions().get::<Call>().cloned() else {
            return Box::pin(self.inner.call(request));
        };
        if call.surface() == Surface::Api && self.in_flight.count() > self.most {
            let most = self.most;
            let why = format!("{most} calls are in flight already. Try again later");
            let response = shed(&call, "in_flight", why, SOON);
            return Box::pin(async move { Ok(response) });
        }
        if call.surface() == Surface::Api {
            for limiter in self.limiters.iter() {
                if let Err(wait) = limiter.admit(&request) {
                    let why = format!("calls come too fast. Try again in {wait:.3?}");
                    let response = shed(&call, "rate", why, wait);
                    return Box::pin(async move { Ok(response) });
                }
            }
        }
        if self.gates.is_empty() {
            return Box::pin(self.inner.call(request));
        }
        let gates = Arc::clone(&self.gates);
        // The service that was polled ready is the one to call; its clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            for gate in gates.iter() {
                if let Err(status) = gate.admit(&call).await {
                    return Ok(call.protocol().refuse(&status));
                }
            }
            inner.call(request).await
        })
    }
}
