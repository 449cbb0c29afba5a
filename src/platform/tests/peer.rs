//! A gRPC server that misbehaves on demand, in a runtime of its own so that it can die like a
//! process does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet::Endpoint;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How calls are answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    Well,
    After(Duration),
    With(Code),
    Never,
}

#[derive(Debug, Clone)]
struct Api {
    manner: Arc<Mutex<Manner>>,
    calls: Arc<AtomicU64>,
    /// The `grpc-timeout` of the last call.
    timeout: Arc<Mutex<Option<String>>>,
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
        let timeout = request
            .metadata()
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok());
        *self.timeout.lock().unwrap() = timeout.map(ToOwned::to_owned);
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Well => {}
            Manner::After(wait) => tokio::time::sleep(wait).await,
            Manner::With(code) => return Err(Status::new(code, "as told")),
            Manner::Never => std::future::pending().await,
        }
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }
}

impl Peer {
    pub(crate) fn start() -> Peer {
        Peer::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// A peer that speaks TLS with this certificate and key.
    pub(crate) fn start_secure(certificate: String, key: String) -> Peer {
        let identity = Identity::from_pem(certificate, key);
        let tls = ServerTlsConfig::new().identity(identity);
        let server = Server::builder().tls_config(tls).unwrap();
        Peer::run("127.0.0.1:0".parse().unwrap(), server)
    }

    pub(crate) fn start_at(address: SocketAddr) -> Peer {
        Peer::run(address, Server::builder())
    }

    fn run(address: SocketAddr, mut server: Server) -> Peer {
        let api = Api {
            manner: Arc::new(Mutex::new(Manner::Well)),
            calls: Arc::default(),
            timeout: Arc::default(),
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

    /// Calls taken so far.
    pub(crate) fn calls(&self) -> u64 {
        self.api.calls.load(Ordering::Relaxed)
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
