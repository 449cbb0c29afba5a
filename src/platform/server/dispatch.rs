//! The end of the layers: hands a request to the gRPC services, to the transcoder in front of them, or to a probe.

use std::convert::Infallible;

use http::Request;
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt as _;

use super::{
    Stack,
    call::Protocol,
    deadline::Timely,
    guard::Guard,
    health::Health,
    layer::{Answer, Layer as _, Next, at_once},
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
pub(crate) fn inner(grpc: impl Next + Clone + Send + Sync + 'static) -> Stack {
    Stack::new(Timely::Inside.before(Guard.before(grpc)))
}

/// See the module. The parts are asked whether they are ready when it is known which of them is needed.
pub(super) fn dispatch(grpc: &Stack, health: &Health, request: Request<Body>) -> Answer {
    match request.extensions().get::<Target>().cloned() {
        Some(Target::Grpc) => Box::pin(grpc.clone().oneshot(request)),
        Some(Target::Probe(probe, api)) => {
            let openapi = || api.transcoder.openapi();
            at_once(probe.answer(request.method(), request.uri(), health, openapi))
        }
        Some(Target::Http(found, api)) => {
            if let (Found::Nowhere, Some(cause)) = (&*found, &api.pending) {
                let status = Status::unavailable(format!(
                    "no known method answers to {}, and not all are known yet: {cause}",
                    request.uri().path()
                ));
                return at_once(Protocol::Http.refuse(&status));
            }
            let grpc = api.grpc.clone();
            Box::pin(async move { Ok(api.transcoder.call(&found, request, grpc).await) })
        }
        None => {
            // Only a layer that makes requests of its own gets here.
            let status =
                Status::internal("the request lost its target on the way through the layers");
            at_once(Protocol::of(&request).refuse(&status))
        }
    }
}
