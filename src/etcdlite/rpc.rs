//! The gRPC face: thin adapters from messages to the engine.
//! Invariant: nothing is decided here but the shape of an answer. Sizes are checked before the engine
//! sees a request.

mod auth;
mod cluster;
mod front;
mod keep_alive;
mod kv;
mod lease;
mod maintenance;
mod session;
mod watch;

pub(crate) use front::Front;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{
    PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer,
};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::Refusal;
use crate::engine::Engine;
use crate::fault::Switches;

/// etcd's `max-request-bytes`, and what its gRPC server takes on top of it.
const MAX_REQUEST_BYTES: usize = 3 << 19;
pub(crate) const MAX_MESSAGE_BYTES: usize = MAX_REQUEST_BYTES + (512 << 10);

/// What etcd's log entry adds to a request: its field, its length, and a header with an id.
const ENTRY_BYTES: usize = 18;

/// What every service holds.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) engine: Arc<Engine>,
    pub(crate) switches: Arc<Switches>,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
    pub(crate) progress_notify_interval: Duration,
}

/// Every service of the server.
pub(crate) fn routes(context: &Context) -> Routes {
    let mut routes = Routes::builder();
    let context = || context.clone();
    routes
        .add_service(
            PbKvServer::new(kv::Kv(context())).max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            PbWatchServer::new(watch::Watch(context()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            PbLeaseServer::new(lease::Lease(context()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            PbClusterServer::new(cluster::Cluster(context()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            PbMaintenanceServer::new(maintenance::Maintenance(context()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(auth::Auth(context()))
        .add_service(tonic_health::server::health_reporter().1);
    routes.routes()
}

/// Refuses what etcd would not put into its log.
fn check_size(request: &impl Message) -> Result<(), Refusal> {
    if request.encoded_len() + ENTRY_BYTES > MAX_REQUEST_BYTES {
        return Err(Refusal::RequestTooLarge);
    }
    Ok(())
}
