//! A gRPC server that misbehaves on demand, in a runtime of its own so that it can die like a
//! process does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet::Endpoint;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How calls are answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    Well,
    After(Duration),
    /// The next call alone; those after it are answered well.
    OnceAfter(Duration),
    With(Code),
    Never,
    /// Streams without end, as fast as it is read.
    Flood,
}

/// What it says of its health to those who watch it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Says {
    /// This status, until it says another.
    Status(ServingStatus),
    /// Nothing at all.
    Nothing,
    /// It refuses to say.
    Refuses(Code),
    /// That it serves, and then no more: the watch is over at once.
    Ends,
}

#[derive(Debug, Clone)]
struct Api {
    manner: Arc<Mutex<Manner>>,
    calls: Arc<AtomicU64>,
    /// The `grpc-timeout` of the last call.
    timeout: Arc<Mutex<Option<String>>>,
    /// Calls that hang now.
    hanging: Arc<AtomicU64>,
    /// Calls that name a service, which those of strayed channels do not: ports are used again.
    named: Arc<AtomicU64>,
    says: Arc<watch::Sender<Says>>,
    /// Watches of its health that began.
    watches: Arc<AtomicU64>,
}

/// Counts a call that hangs until it is answered or given up.
struct Hanging(Arc<AtomicU64>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Api {
    async fn hang<T>(&self, until: impl Future<Output = T>) -> T {
        self.hanging.fetch_add(1, Ordering::Relaxed);
        let _hanging = Hanging(self.hanging.clone());
        until.await
    }
}

#[derive(Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    api: Api,
    runtime: Option<Runtime>,
}

#[tonic::async_trait]
impl Health for Api {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.named.fetch_add(
            u64::from(!request.get_ref().service.is_empty()),
            Ordering::Relaxed,
        );
        let timeout = request
            .metadata()
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok());
        *self.timeout.lock().unwrap() = timeout.map(ToOwned::to_owned);
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Well | Manner::Flood => {}
            Manner::After(wait) => self.hang(tokio::time::sleep(wait)).await,
            Manner::OnceAfter(wait) => {
                *self.manner.lock().unwrap() = Manner::Well;
                self.hang(tokio::time::sleep(wait)).await;
            }
            Manner::With(code) => return Err(Status::new(code, "as told")),
            Manner::Never => self.hang(std::future::pending()).await,
        }
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.watches.fetch_add(1, Ordering::Relaxed);
        let answer = |status: ServingStatus| HealthCheckResponse {
            status: status.into(),
        };
        let serving = answer(ServingStatus::Serving);
        let manner = *self.manner.lock().unwrap();
        if matches!(manner, Manner::Flood) {
            return Ok(Response::new(stream::repeat(Ok(serving)).boxed()));
        }
        let mut says = self.says.subscribe();
        let now = *says.borrow_and_update();
        match now {
            Says::Status(_) => {}
            Says::Nothing => self.hang(std::future::pending()).await,
            Says::Refuses(code) => return Err(Status::new(code, "as told")),
            Says::Ends => return Ok(Response::new(stream::iter([Ok(serving)]).boxed())),
        }
        let told = WatchStream::new(says).filter_map(move |says| {
            let told = match says {
                Says::Status(status) => Some(Ok(answer(status))),
                _ => None,
            };
            std::future::ready(told)
        });
        Ok(Response::new(told.boxed()))
    }
}

impl Peer {
    pub(crate) fn start() -> Peer {
        Peer::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// A peer that says goodbye on each connection after so long.
    pub(crate) fn start_with_age(age: Duration) -> Peer {
        let server = Server::builder().max_connection_age(age);
        Peer::run("127.0.0.1:0".parse().unwrap(), server)
    }

    /// A peer that speaks TLS with this certificate and key.
    pub(crate) fn start_secure(certificate: String, key: String) -> Peer {
        Peer::start_secure_at("127.0.0.1:0".parse().unwrap(), certificate, key)
    }

    pub(crate) fn start_secure_at(address: SocketAddr, certificate: String, key: String) -> Peer {
        let identity = Identity::from_pem(certificate, key);
        let tls = ServerTlsConfig::new().identity(identity);
        let server = Server::builder().tls_config(tls).unwrap();
        Peer::run(address, server)
    }

    pub(crate) fn start_at(address: SocketAddr) -> Peer {
        Peer::run(address, Server::builder())
    }

    fn run(address: SocketAddr, mut server: Server) -> Peer {
        let api = Api {
            manner: Arc::new(Mutex::new(Manner::Well)),
            calls: Arc::default(),
            timeout: Arc::default(),
            hanging: Arc::default(),
            named: Arc::default(),
            says: Arc::new(watch::Sender::new(Says::Status(ServingStatus::Serving))),
            watches: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = HealthServer::new(api.clone());
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            server
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Peer {
            address,
            api,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        at(self.address)
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.api.manner.lock().unwrap() = manner;
    }

    pub(crate) fn say(&self, says: Says) {
        self.api.says.send_replace(says);
    }

    /// Watches of its health so far.
    pub(crate) fn watches(&self) -> u64 {
        self.api.watches.load(Ordering::Relaxed)
    }

    /// Calls taken so far.
    pub(crate) fn calls(&self) -> u64 {
        self.api.calls.load(Ordering::Relaxed)
    }

    /// Calls that named a service so far.
    pub(crate) fn named(&self) -> u64 {
        self.api.named.load(Ordering::Relaxed)
    }

    /// Calls that hang now.
    pub(crate) fn hanging(&self) -> u64 {
        self.api.hanging.load(Ordering::Relaxed)
    }

    pub(crate) fn last_timeout(&self) -> Option<String> {
        self.api.timeout.lock().unwrap().clone()
    }

    /// Gone at once, connections and all.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            // In the background means a moment later.
            while std::net::TcpStream::connect(self.address).is_ok() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn at(address: SocketAddr) -> Endpoint {
    Endpoint::parse(&format!("grpc://{address}")).unwrap()
}
