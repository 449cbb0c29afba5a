//! The end of the layers: hands a request to the gRPC services, to the transcoder in front of them, or to a probe.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{Status, body::Body, service::Routes};
use tower::{Service, ServiceExt as _};

use super::{
    Stack,
    call::Protocol,
    deadline::{Place, Timely},
    guard::Guard,
    health::Health,
    route::Target,
};
use crate::transcode::Found;

/// The gRPC services, as both protocols reach them.
pub(crate) fn grpc_stack(routes: Routes) -> Stack {
    let routes = routes.into_axum_router();
    let plain = tower::service_fn(move |request: Request<Body>| {
        let routes = routes.clone();
        async move {
            let response = routes.oneshot(request).await?;
            Ok::<_, Infallible>(response.map(Body::new))
        }
    });
    inner(plain)
}

/// Guard and deadline around what answers gRPC calls, as well as outside, so that a JSON stream gets the status
/// of its call in place of being cut off.
pub(crate) fn inner<S>(grpc: S) -> Stack
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    Stack::new(Timely {
        inner: Guard(grpc),
        place: Place::Inside,
    })
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pub(crate) grpc: Stack,
    pub(crate) health: Health,
}

impl Service<Request<Body>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The parts are asked when it is known which of them is needed.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request.extensions().get::<Target>().cloned() {
            Some(Target::Grpc) => Box::pin(self.grpc.clone().oneshot(request)),
            Some(Target::Probe(probe, api)) => {
                let openapi = || api.transcoder.openapi();
                let response = probe.answer(request.method(), request.uri(), &self.health, openapi);
                Box::pin(async move { Ok(response) })
            }
            Some(Target::Http(found, api)) => {
                if let (Found::Nowhere, Some(cause)) = (&*found, &api.pending) {
                    let status = Status::unavailable(format!(
                        "no known method answers to {}, and not all are known yet: {cause}",
                        request.uri().path()
                    ));
                    return Box::pin(async move { Ok(Protocol::Http.refuse(&status)) });
                }
                let grpc = api.grpc.clone();
                Box::pin(async move { Ok(api.transcoder.call(&found, request, grpc).await) })
            }
            None => {
                // Only a layer that makes requests of its own gets here.
                let status =
                    Status::internal("the request lost its target on the way through the layers");
                let response = Protocol::of(&request).refuse(&status);
                Box::pin(async move { Ok(response) })
            }
        }
    }
}
