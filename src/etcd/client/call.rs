//! One attempt of one call on one connection, and what its failure means.
//!
//! Whether a request left this process decides whether a write may be repeated, so every failure
//! says so. No retry here.

use std::error::Error as _;

use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::dial::{Transport, TransportError};
use crate::error::root_cause;

/// A method of etcd's API.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
}

macro_rules! methods {
    ($($constant:ident = $service:literal $name:literal;)*) => {
        $(pub(crate) const $constant: Method = Method {
            name: $name,
            path: concat!("/etcdserverpb.", $service, "/", $name),
        };)*
    };
}

methods! {
    RANGE = "KV" "Range";
    TXN = "KV" "Txn";
    WATCH = "Watch" "Watch";
    LEASE_GRANT = "Lease" "LeaseGrant";
    LEASE_REVOKE = "Lease" "LeaseRevoke";
    LEASE_KEEP_ALIVE = "Lease" "LeaseKeepAlive";
    LEASE_TIME_TO_LIVE = "Lease" "LeaseTimeToLive";
    LEASE_LEASES = "Lease" "LeaseLeases";
    MEMBER_LIST = "Cluster" "MemberList";
    STATUS = "Maintenance" "Status";
    ALARM = "Maintenance" "Alarm";
    AUTHENTICATE = "Auth" "Authenticate";
}

/// The token that etcd gave for our password.
pub(crate) type Token = MetadataValue<Ascii>;

/// Enough for a status, a token and the like.
const DEFAULT_RESPONSE: usize = 4 << 20;

/// A request with what etcd reads beside the message. With `hasleader`, a member cut off from its
/// cluster refuses instead of keeping us waiting or serving a standstill.
pub(crate) fn request<T>(message: T, token: Option<&Token>) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("hasleader", MetadataValue::from_static("true"));
    if let Some(token) = token {
        metadata.insert("token", token.clone());
    }
    request
}

/// A call outside the link's rules: no token, no leader required, the caller's deadline.
pub(crate) fn plain<Req, Res>(
    transport: &Transport,
    method: &Method,
    message: Req,
) -> BoxFuture<'static, Result<Res, Status>>
where
    Req: Message + Send + Sync + 'static,
    Res: Message + Default + Send + Sync + 'static,
{
    unary(transport, method, Request::new(message), DEFAULT_RESPONSE)
}

/// One request, one answer of at most `limit` bytes. Boxed, as are streams: the transport's own
/// future has a type of many layers.
pub(crate) fn unary<Req, Res>(
    transport: &Transport,
    method: &Method,
    request: Request<Req>,
    limit: usize,
) -> BoxFuture<'static, Result<Res, Status>>
where
    Req: Message + Send + Sync + 'static,
    Res: Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(transport.handle()).max_decoding_message_size(limit);
    let path = PathAndQuery::from_static(method.path);
    Box::pin(async move {
        grpc.ready().await.map_err(|error| not_ready(&error))?;
        let codec = ProstCodec::<Req, Res>::default();
        let response = grpc.unary(request, path, codec).await?;
        Ok(response.into_inner())
    })
}

/// Requests one way, responses the other.
pub(crate) fn streaming<Req, Res>(
    transport: &Transport,
    method: &Method,
    requests: Request<ReceiverStream<Req>>,
    limit: usize,
) -> BoxFuture<'static, Result<Streaming<Res>, Status>>
where
    Req: Message + Send + Sync + 'static,
    Res: Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(transport.handle()).max_decoding_message_size(limit);
    let path = PathAndQuery::from_static(method.path);
    Box::pin(async move {
        grpc.ready().await.map_err(|error| not_ready(&error))?;
        let codec = ProstCodec::<Req, Res>::default();
        let response = grpc.streaming(requests, path, codec).await?;
        Ok(response.into_inner())
    })
}

/// The status for a transport that would not take a request.
fn not_ready(error: &TransportError) -> Status {
    let cause = root_cause(error);
    Status::from_error(Box::new(tonic::ConnectError(cause.into())))
}

/// The cause, when it was the connection that failed and not etcd that answered.
pub(crate) fn broken_by(status: &Status) -> Option<String> {
    // Only what arose in this process has a source; what etcd sent is code and text.
    status.source().map(root_cause)
}

/// Whether the request surely never left this process.
pub(crate) fn never_sent(status: &Status) -> bool {
    let mut at = status.source();
    while let Some(error) = at {
        if error.downcast_ref::<tonic::ConnectError>().is_some() {
            return true;
        }
        // hyper cancels what still waited in its queue when the connection closed.
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_canceled();
        }
        at = error.source();
    }
    false
}
