//! HEAD is answered as GET would be, without the body. It is seen to outside all that answers: over HTTP/2 nobody
//! else strips a body, and no refusal, probe or layer of a service's own can forget it.

use futures::TryFutureExt as _;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use tonic::body::Body;

use super::layer::{Answer, Layer, Next};

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Head;

impl<S: Next> Layer<S> for Head {
    fn answer(&self, request: Request<Body>, next: &mut S) -> Answer {
        let is_head = request.method() == Method::HEAD;
        let answer = next.call(request);
        if is_head {
            Box::pin(answer.map_ok(without_body))
        } else {
            Box::pin(answer)
        }
    }
}

/// The headers of the answer to GET, its length among them.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}
