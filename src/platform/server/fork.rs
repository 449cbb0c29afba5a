//! Two ways through the layers, and the choice between them for each request.

use http::Request;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::Stack;

/// The way through a layer for the requests that are its own, and past it for the others. The way is asked when it is
/// known which of them it is.
pub(super) fn fork(is_through: fn(&Request<Body>) -> bool, through: Stack, past: Stack) -> Stack {
    Stack::new(tower::service_fn(move |request| {
        let way = if is_through(&request) {
            &through
        } else {
            &past
        };
        way.clone().oneshot(request)
    }))
}
