//! A gate before every call, of either protocol: the service's own say on whether a call may pass now, and the
//! bound on calls in flight. For more than yes or no there are tower layers.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::Service;

use super::{
    call::{Call, Surface},
    observe::InFlight,
};

/// Lets calls pass, makes them wait, or refuses them.
#[tonic::async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Ends when `call` may pass; an error refuses it. Dropped when the caller goes away.
    async fn admit(&self, call: &Call) -> Result<(), Status>;
}

/// The layer.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    pub(crate) inner: S,
    pub(crate) gates: Arc<[Box<dyn Gate>]>,
    pub(crate) in_flight: InFlight,
    pub(crate) most: usize,
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
            let status = Status::resource_exhausted(format!(
                "{most} calls are in flight already. Try again later"
            ));
            return Box::pin(async move { Ok(call.protocol().refuse(&status)) });
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
