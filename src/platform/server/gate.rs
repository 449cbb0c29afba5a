//! The gates before every call, of either protocol: outside authentication the rate of each address, so that those who
//! are refused are bounded too; inside it the bounds on calls in flight and on how fast they come, and the service's own
//! say on whether a call may pass now. For more than yes or no there are tower layers.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body};

use super::{
    auth::Auth,
    call::{Call, Protocol, Surface},
    layer::{Answer, Layer, Next, asked_by, at_once},
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
pub(super) struct Doorstep {
    pub(super) limiters: Arc<[Limiter]>,
    pub(super) auth: Option<Arc<Auth>>,
}

impl<S: Next> Layer<S> for Doorstep {
    fn answer(&self, request: Request<Body>, next: &mut S) -> Answer {
        if let Some(call) = request.extensions().get::<Call>() {
            let asked = self.auth.as_ref();
            let is_bounded = call.surface() == Surface::Api
                || asked.is_some_and(|auth| auth.guards(call.surface()));
            if is_bounded && let Some(response) = paced(&self.limiters, call, &request) {
                return at_once(response);
            }
        }
        Box::pin(next.call(request))
    }
}

/// The layer inside authentication.
#[derive(Clone)]
pub(super) struct Gated {
    pub(super) gates: Arc<[Box<dyn Gate>]>,
    /// One for each call of the API that may be in flight. Watches of health and the like take none.
    pub(super) room: Arc<Semaphore>,
    pub(super) most: usize,
    pub(super) limiters: Arc<[Limiter]>,
}

impl<S: Next + Clone + Send + 'static> Layer<S> for Gated {
    fn answer(&self, request: Request<Body>, next: &mut S) -> Answer {
        let Some(call) = request.extensions().get::<Call>().cloned() else {
            return Box::pin(next.call(request));
        };
        let mut place = None;
        if call.surface() == Surface::Api {
            place = Arc::clone(&self.room).try_acquire_owned().ok();
            if place.is_none() {
                let most = self.most;
                let why = format!("{most} calls are in flight already. Try again later");
                return at_once(shed(&call, "in_flight", why, SOON));
            }
            if let Some(response) = paced(&self.limiters, &call, &request) {
                return at_once(response);
            }
        }
        if self.gates.is_empty() {
            let answer = next.call(request);
            return Box::pin(async move { Ok(held(answer.await?, place)) });
        }
        let gates = Arc::clone(&self.gates);
        // The service that was polled ready is the one to call; its clone takes its place.
        let clone = next.clone();
        let mut next = std::mem::replace(next, clone);
        Box::pin(async move {
            for gate in gates.iter() {
                if let Err(status) = gate.admit(&call).await {
                    return Ok(call.protocol().refuse(&status));
                }
            }
            Ok(held(next.call(request).await?, place))
        })
    }
}

/// The answer keeps the call's place until it has ended.
fn held(response: Response<Body>, place: Option<OwnedSemaphorePermit>) -> Response<Body> {
    let Some(place) = place else {
        return response;
    };
    response.map(|body| {
        asked_by(body, move |body, cx| {
            let _place = &place;
            Pin::new(body).poll_frame(cx)
        })
    })
}
