//! One keep-alive stream: requests answered in order.
//! Invariant: the header's revision is read before the lease is renewed, so that it is never newer than
//! a revocation the renewal missed.

use etcd_client::proto::{PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Status, Streaming};

use super::Context;
use super::session::Session;

type Answer = Result<PbLeaseKeepAliveResponse, Status>;

/// The answers to `requests`; the stream ends with them, or when the server ends it.
pub(super) fn answers(
    context: Context,
    requests: Streaming<PbLeaseKeepAliveRequest>,
) -> BoxStream<'static, Answer> {
    let state = Some((Session::new(context), requests));
    stream::unfold(state, |state| async move {
        let (mut session, mut requests) = state?;
        match next(&mut session, &mut requests).await {
            Ok(Some(answer)) => Some((Ok(answer), Some((session, requests)))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
    .boxed()
}

async fn next(
    session: &mut Session,
    requests: &mut Streaming<PbLeaseKeepAliveRequest>,
) -> Result<Option<PbLeaseKeepAliveResponse>, Status> {
    let request = tokio::select! {
        request = requests.message() => request?,
        status = session.ended() => return Err(status),
    };
    session.go_on().await?;
    Ok(request.map(|request| {
        let engine = &session.context.engine;
        PbLeaseKeepAliveResponse {
            header: Some(engine.header(engine.revision())),
            id: request.id,
            ttl: engine.lease_renew(request.id).unwrap_or(0),
        }
    }))
}
