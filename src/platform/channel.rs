//! Calls to a service by its name, for any generated tonic client:
//! `UserServiceClient::new(platform.channel("user"))`. Endpoints come from discovery or a fixed
//! list; each call goes to the cheaper of two, calls that never reached a server are repeated,
//! and a call for which nothing is ready fails at once saying why.
//! A `Channel` is always ready: `poll_ready` says nothing about the fleet.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fleet::Endpoint;
use http::{Request, Response};
use tokio::sync::watch;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::discover::ServiceView;
use balance::Balance;
use call::Call;
use target::Source;

mod balance;
pub mod breaker;
pub mod budget;
mod call;
mod connect;
mod fate;
mod gather;
mod health;
mod hedge;
mod members;
mod meters;
mod node;
mod options;
pub mod pick;
mod replay;
mod reply;
mod stay;
pub mod subset;
mod target;
mod trust;
pub mod zone;

pub use connect::Connector;
/// Trust and identity in files, for [`Connector::tls_files`].
pub use etcd::TlsFiles;
pub use hedge::Hedge;
pub use options::ChannelOptions;
pub use reply::ReplyBody;
pub use target::Target;
pub(crate) use trust::client_config;

/// See the module. Clones share connections; the last one dropped ends the reconnecting, while
/// answers that are still coming in finish.
#[derive(Clone)]
pub struct Channel {
    balance: Arc<Balance>,
    _follower: Arc<AbortOnDropHandle<()>>,
}

impl Channel {
    /// A channel to endpoints that are known. `service` names them in errors and metrics.
    /// Must be called within a tokio runtime; connects in the background at once.
    pub fn fixed(
        service: impl Into<Arc<str>>,
        endpoints: impl IntoIterator<Item = Endpoint>,
        options: ChannelOptions,
    ) -> Channel {
        let targets = endpoints.into_iter().map(Target::at).collect();
        Channel::start(service.into(), Source::Fixed(targets), options)
    }

    /// A channel that follows discovery. Must be called within a tokio runtime.
    pub fn discovered(
        service: impl Into<Arc<str>>,
        views: watch::Receiver<Arc<ServiceView>>,
        options: ChannelOptions,
    ) -> Channel {
        Channel::start(service.into(), Source::Discovered(views), options)
    }

    fn start(service: Arc<str>, source: Source, options: ChannelOptions) -> Channel {
        let balance = Arc::new(Balance::new(service, options));
        let follower = tokio::spawn(balance.clone().follow(source));
        Channel {
            balance,
            _follower: Arc::new(AbortOnDropHandle::new(follower)),
        }
    }

    /// Waits until a call could be sent, at most for `patience`.
    ///
    /// # Errors
    /// UNAVAILABLE with what is known when nothing is ready, as a call would get it.
    pub async fn ready(&self, patience: Duration) -> Result<(), Status> {
        let until = tokio::time::Instant::now() + patience;
        let mut changes = self.balance.changes();
        loop {
            match self.balance.choose() {
                Ok(_) => return Ok(()),
                Err(_) => match timeout_at(until, changes.changed()).await {
                    Ok(Ok(())) => {}
                    _ => return Err(Status::unavailable(self.balance.reason())),
                },
            }
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.balance.service)
    }
}

impl tower::Service<Request<tonic::body::Body>> for Channel {
    type Response = Response<ReplyBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ReplyBody>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(Call::begin(self.balance.clone(), request).run())
    }
}
