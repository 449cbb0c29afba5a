//! HEAD is answered as GET would be, without the body. It is seen to outside all that answers: over HTTP/2 nobody
//! else strips a body, and no refusal, probe or layer of a service's own can forget it.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use tonic::body::Body;
use tower::Service;

/// See the module.
#[derive(Clone)]
pub(super) struct Headed<S>(pub(super) S);

impl<S> Service<Request<Body>> for Headed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_head = request.method() == Method::HEAD;
        let answer = self.0.call(request);
        if !is_head {
            return Box::pin(answer);
        }
        Box::pin(async move { Ok(without_body(answer.await?)) })
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
