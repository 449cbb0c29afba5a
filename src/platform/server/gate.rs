//! The gates before every call, of either protocol: outside authentication the rate of each address, so that those who
//! are refused are bounded too; inside it the bounds on calls in flight and on how fast they come, and the service's own
//! say on whether a call may pass now. For more than yes or no there are tower layers.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body};
use tower::Service;

use super::{
    auth::Auth,
    call::{Call, Protocol, Surface},
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

/// Refuses a call that comes faster than one of these lets it.
fn paced(limiters: &[Limiter], call: &Call, request: &Request<Body>) -> Option<Response<Body>> {
    limiters.iter().find_map(|limiter| {
        let wait = limiter.admit(request).err()?;
        let why = format!("calls come too fast. Try again in {wait:.3?}");
        Some(shed(call, "rate", why, wait))
    })
}

/// The layer outside authentication: bounds each address in calls of the API, and in tries of a credential.
#[derive(Clone)]
pub(crate) struct Doorstep<S> {
    pub(crate) inner: S,
    pub(crate) limiters: Arc<[Limiter]>,
    pub(crate) auth: Option<Arc<Auth>>,
}

impl<S> Service<Request<Body>> for Doorstep<S>
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(call) = request.extensions().get::<Call>() {
            let asked = self.auth.as_ref();
            let is_bounded = call.surface() == Surface::Api
                || asked.is_some_and(|auth| auth.guards(call.surface()));
            if is_bounded && let Some(response) = paced(&self.limiters, call, &request) {
                return Box::pin(async move { Ok(response) });
            }
        }
        Box::pin(self.inner.call(request))
    }
}

/// The layer inside authentication.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    pub(crate) inner: S,
    pub(crate) gates: Arc<[Box<dyn Gate>]>,
    /// One for each call of the API that may be in flight. Watches of health and the like take none.
    pub(crate) room: Arc<Semaphore>,
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
        let mut place = None;
        if call.surface() == Surface::Api {
            place = Arc::clone(&self.room).try_acquire_owned().ok();
            if place.is_none() {
                let most = self.most;
                let why = format!("{most} calls are in flight already. Try again later");
                let response = shed(&call, "in_flight", why, SOON);
                return Box::pin(async move { Ok(response) });
            }
            if let Some(response) = paced(&self.limiters, &call, &request) {
                return Box::pin(async move { Ok(response) });
            }
        }
        if self.gates.is_empty() {
            let answer = self.inner.call(request);
            return Box::pin(async move { Ok(held(answer.await?, place)) });
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
            Ok(held(inner.call(request).await?, place))
        })
    }
}

/// The answer keeps the call's place until it has ended.
fn held(response: Response<Body>, place: Option<OwnedSemaphorePermit>) -> Response<Body> {
    match place {
        Some(place) => response.map(|body| {
            Body::new(Held {
                body,
                _place: place,
            })
        }),
        None => response,
    }
}

struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
