//! Two ways through the layers, and the choice between them for each request.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use super::Stack;

/// See the module.
#[derive(Clone)]
pub(super) struct Fork {
    /// Whether a request takes the way through the layer.
    pub(super) is_through: fn(&Request<Body>) -> bool,
    pub(super) through: Stack,
    pub(super) past: Stack,
}

impl Service<Request<Body>> for Fork {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The way is asked when it is known which of them it is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = if (self.is_through)(&request) {
            &self.through
        } else {
            &self.past
        };
        Box::pin(way.clone().oneshot(request))
    }
}
