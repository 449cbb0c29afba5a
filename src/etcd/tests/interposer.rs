//! A service before a real server that does what was asked and answers something else, as an etcd
//! does that fails between applying a write and saying so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd::{Client, Settings, Transport};
use etcdlite::{Options, Server};
use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tower::ServiceExt;

/// What is answered in place of the truth.
#[derive(Clone, Copy)]
pub(crate) struct Lie {
    /// The end of the method's path.
    pub(crate) method: &'static str,
    pub(crate) code: u8,
    pub(crate) message: &'static str,
    /// Whether the request reaches the server at all.
    pub(crate) done: bool,
}

/// A server in this process whose first `times` answers to a method are this lie, and the client
/// that hears them; the other client hears the truth.
pub(crate) fn lying(lie: Lie, times: usize) -> (Server, Client, Client, Arc<AtomicUsize>) {
    let (server, channel) = Server::in_process(Options::default());
    let honest = Client::from_service(Settings::new([""; 0]), Transport::new(channel.clone()));
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let service = tower::service_fn(move |request: Request<Body>| {
        let channel = channel.clone();
        let counter = Arc::clone(&counter);
        async move {
            let lies = request.uri().path().ends_with(lie.method)
                && counter.fetch_add(1, Ordering::SeqCst) < times;
            if lies && !lie.done {
                return Ok(answer(lie));
            }
            let response = channel.oneshot(request).await;
            if lies {
                response.map(|_| answer(lie))
            } else {
                response
            }
        }
    });
    let client = Client::from_service(Settings::new([""; 0]), Transport::new(service));
    (server, client, honest, told)
}

fn answer(lie: Lie) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(lie.code)));
    headers.insert("grpc-message", HeaderValue::from_static(lie.message));
    response
}
