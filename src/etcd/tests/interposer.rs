//! A service before a real server that does what was asked and answers something else, as an etcd
//! does that fails between applying a write and saying so.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use etcd::{Client, Settings, Transport};
use etcd_client::proto as pb;
use etcdlite::{Options, Server};
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use prost::Message;
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

/// A client whose first watch is opened only after the server has moved on and compacted what the
/// watch is to resume from.
pub(crate) fn compacted_before_the_watch(key: &'static str) -> (Server, Client, Client) {
    let (server, channel) = Server::in_process(Options::default());
    let honest = Client::from_service(Settings::new([""; 0]), Transport::new(channel.clone()));
    let (faults, writer) = (server.faults(), honest.clone());
    let watches = Arc::new(AtomicUsize::new(0));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (channel, faults, writer) = (channel.clone(), faults.clone(), writer.clone());
        let first =
            request.uri().path().ends_with("/Watch") && watches.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                for value in ["later", "last"] {
                    crate::world::put(&writer, key, value, fleet::LeaseRule::None).await;
                }
                faults.compact(None).unwrap();
            }
            channel.oneshot(request).await
        }
    });
    let client = Client::from_service(Settings::new([""; 0]), Transport::new(service));
    (server, client, honest)
}

/// A client whose watches begin with a proof of progress far ahead of the store, as an etcd gives
/// that is not done sending (etcd#15220).
pub(crate) fn ahead_of_itself(revision: i64) -> (Server, Client, Client) {
    let (server, channel) = Server::in_process(Options::default());
    let honest = Client::from_service(Settings::new([""; 0]), Transport::new(channel.clone()));
    let service = tower::service_fn(move |request: Request<Body>| {
        let channel = channel.clone();
        let watch = request.uri().path().ends_with("/Watch");
        async move {
            let response = channel.oneshot(request).await?;
            Ok::<_, tonic::transport::Error>(response.map(|rest| Prefixed {
                first: watch.then(|| progress(revision)),
                rest,
            }))
        }
    });
    let client = Client::from_service(Settings::new([""; 0]), Transport::new(service));
    (server, client, honest)
}

/// A client with a password whose every watch is refused, as etcd does where a right is missing; how
/// many watches it has asked for so far, and how many tokens.
pub(crate) fn without_the_right_to_watch() -> (Server, Client, [Arc<AtomicUsize>; 2]) {
    let (server, channel) = Server::in_process(Options::default());
    let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let [watches, tokens] = counts.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let channel = channel.clone();
        let watch = request.uri().path().ends_with("/Watch");
        if watch {
            watches.fetch_add(1, Ordering::SeqCst);
        }
        if request.uri().path().ends_with("/Authenticate") {
            tokens.fetch_add(1, Ordering::SeqCst);
        }
        async move {
            let response = channel.oneshot(request).await?;
            Ok::<_, tonic::transport::Error>(response.map(|rest| Prefixed {
                first: watch.then(refusal),
                rest,
            }))
        }
    });
    let mut settings = Settings::new([""; 0]);
    settings.user = Some(etcd::Credentials::new("reader", "secret"));
    let client = Client::from_service(settings, Transport::new(service));
    (server, client, counts)
}

fn refusal() -> Bytes {
    framed(&pb::PbWatchResponse {
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: "etcdserver: permission denied".to_owned(),
        ..pb::PbWatchResponse::default()
    })
}

/// A proof of progress.
fn progress(revision: i64) -> Bytes {
    framed(&pb::PbWatchResponse {
        header: Some(pb::PbResponseHeader {
            revision,
            ..pb::PbResponseHeader::default()
        }),
        watch_id: -1,
        ..pb::PbWatchResponse::default()
    })
}

/// As gRPC frames it: a flag, the length, the message.
fn framed(message: &pb::PbWatchResponse) -> Bytes {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    frame.extend(message.encode_to_vec());
    frame.into()
}

/// A body that begins with a frame of ours.
struct Prefixed {
    first: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for Prefixed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}
