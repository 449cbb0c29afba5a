//! The server: a TCP port, connections without a socket, and the task that ends leases.
//! Invariant: everything started here ends with the `Server`: dropping it stops at once, `shutdown`
//! first lets requests in flight finish. The data is gone either way.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpIncoming};
use tonic::transport::{Channel, Endpoint};

use crate::Faults;
use crate::engine::{Engine, Identity};
use crate::fault::Switches;
use crate::rpc::{self, Context, Front};

/// How a server behaves. The defaults are etcd's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The member's name in the member list.
    pub name: String,
    /// The shortest lease in seconds; shorter grants are raised to it. etcd's 2 follows from its
    /// election timeout of one second.
    pub min_lease_ttl: i64,
    /// How many revisions of history to keep at least, like etcd's
    /// `--auto-compaction-mode=revision`; up to twice as many are held. `None`, as in etcd, keeps all
    /// until someone compacts: memory then grows with every change.
    pub auto_compact_revisions: Option<u64>,
    /// How long a watch that asked for progress notices may be quiet before it gets one; between a
    /// millisecond and a year.
    pub progress_notify_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "etcdlite".to_owned(),
            min_lease_ttl: 2,
            auto_compact_revisions: None,
            progress_notify_interval: Duration::from_secs(600),
        }
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process listens there.
    #[error("{addr} is in use. Stop what listens there, or choose another address")]
    AddressInUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    engine: Arc<Engine>,
    switches: Arc<Switches>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    local_addr: Option<SocketAddr>,
    dial: mpsc::Sender<DuplexStream>,
}

/// A timer takes neither nothing nor for ever.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long `shutdown` waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(2);

/// Bytes in flight on a connection without a socket, each way.
const PIPE_BYTES: usize = 256 << 10;

impl Server {
    /// Listens on `addr` (port 0 picks a free one) and serves from then on. Nothing is left behind
    /// when this is cancelled.
    ///
    /// # Errors
    /// When the address is in use or cannot be listened on.
    pub async fn bind(addr: SocketAddr, options: Options) -> Result<Self, Error> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::AddressInUse { addr },
            _ => Error::Listen { addr, source },
        };
        let listener = TcpListener::bind(addr).await.map_err(refused)?;
        let local_addr = listener.local_addr().map_err(refused)?;
        Ok(Self::start(options, Some((listener, local_addr))))
    }

    /// Serves without a socket, with a channel to it. Call it inside a tokio runtime.
    #[must_use]
    pub fn in_process(options: Options) -> (Self, Channel) {
        let server = Self::start(options, None);
        let channel = server.channel();
        (server, channel)
    }

    /// Where it listens; `None` without a socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Who it says it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.engine.identity()
    }

    /// A channel to it without a socket, for any tonic client. Calls fail with `Unavailable` once the
    /// server has stopped.
    #[must_use]
    pub fn channel(&self) -> Channel {
        let dial = self.dial.clone();
        let connect = tower::service_fn(move |_| {
            let dial = dial.clone();
            async move {
                let (client, server) = tokio::io::duplex(PIPE_BYTES);
                let stopped =
                    |_| io::Error::new(io::ErrorKind::ConnectionRefused, "server stopped");
                dial.send(server).await.map_err(stopped)?;
                Ok::<_, io::Error>(TokioIo::new(client))
            }
        });
        Endpoint::from_static("http://in-process").connect_with_connector_lazy(connect)
    }

    /// A handle to make it misbehave.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.engine), Arc::clone(&self.switches))
    }

    /// Stops: listens no more, ends watches and keep-alives, lets requests in flight finish (at most
    /// two seconds), and closes connections.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("connections did not drain in time and are dropped");
        }
    }

    fn start(options: Options, tcp: Option<(TcpListener, SocketAddr)>) -> Self {
        let local_addr = tcp.as_ref().map(|(_, addr)| *addr);
        let mut identity = Identity::new(options.name);
        identity.client_urls = local_addr
            .iter()
            .map(|addr| format!("http://{addr}"))
            .collect();
        let engine = Arc::new(Engine::new(
            identity,
            options.min_lease_ttl,
            options.auto_compact_revisions,
        ));
        let context = Context {
            engine: Arc::clone(&engine),
            switches: Arc::default(),
            stop: CancellationToken::new(),
            progress_notify_interval: options.progress_notify_interval.clamp(SHORTEST, LONGEST),
        };
        let (dial, dialled) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        let dialled = ReceiverStream::new(dialled).map(Ok::<_, io::Error>);
        tasks.spawn(serve(context.clone(), dialled));
        if let Some((listener, _)) = tcp {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tasks.spawn(serve(context.clone(), incoming));
        }
        let (expiring, stop) = (Arc::clone(&engine), context.stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = expiring.revoke_expired() => {}
                () = stop.cancelled() => {}
            }
        });
        let Context { switches, stop, .. } = context;
        Self {
            engine,
            switches,
            stop,
            tasks,
            local_addr,
            dial,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the streams of connections that outlive the tasks aborted with the set.
        self.stop.cancel();
    }
}

async fn serve<I, C>(context: Context, incoming: I)
where
    I: Stream<Item = io::Result<C>>,
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Unpin + Send + 'static,
{
    let front = Front {
        switches: Arc::clone(&context.switches),
        stop: context.stop.clone(),
    };
    let served = tonic::transport::Server::builder()
        // etcd sets no limit, and hyper's 200 would hold back whoever keeps more leases than that.
        .max_concurrent_streams(u32::MAX)
        .http2_max_pending_accept_reset_streams(Some(1_000))
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .layer(front)
        .add_routes(rpc::routes(&context))
        .serve_with_incoming_shutdown(incoming, context.stop.clone().cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "etcdlite stopped serving");
    }
}
