//! What every request passes first: the pause of a fault, and etcd's words for a message too large.
//! Invariant: a paused server reads requests and answers none; a stopping one answers all.

use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::fault::Switches;

/// The layer in front of all services.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) switches: Arc<Switches>,
    pub(crate) stop: CancellationToken,
}

impl<S> tower::Layer<S> for Front {
    type Service = Fronted<S>;

    fn layer(&self, inner: S) -> Fronted<S> {
        Fronted {
            front: self.clone(),
            inner,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Fronted<S> {
    front: Front,
    inner: S,
}

impl<S, Q, B> tower::Service<http::Request<Q>> for Fronted<S>
where
    S: tower::Service<http::Request<Q>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    Q: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        // The service that was polled ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let Front { switches, stop } = self.front.clone();
        async move {
            tokio::select! {
                () = switches.until_running() => {}
                () = stop.cancelled() => {}
            }
            let mut response = inner.call(request).await?;
            say_too_large_as_etcd(response.headers_mut());
            Ok(response)
        }
        .boxed()
    }
}

/// tonic refuses a message beyond the limit with `OutOfRange`; etcd's server says
/// `ResourceExhausted`, and clients tell that from the `OutOfRange` of a revision.
fn say_too_large_as_etcd(headers: &mut http::HeaderMap) {
    let too_large = Status::from_header_map(headers)
        .filter(|status| status.code() == Code::OutOfRange)
        .and_then(|status| {
            let sizes = status
                .message()
                .strip_prefix("Error, decoded message length too large: ")?;
            let mut numbers = sizes
                .split(|c: char| !c.is_ascii_digit())
                .filter(|n| !n.is_empty());
            let (found, limit) = (numbers.next()?, numbers.next()?);
            Some(format!(
                "grpc: received message larger than max ({found} vs. {limit})"
            ))
        });
    if let Some(message) = too_large {
        // A status of plain words always fits into headers.
        let _ = Status::resource_exhausted(message).add_header(headers);
    }
}
