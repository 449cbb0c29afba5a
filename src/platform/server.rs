//! One port for gRPC and for HTTP/JSON, health, reflection and metrics: the same layers see them all.
//! Invariant: a server is in exactly one [`Stage`], which only moves forward; dropping it ends everything it
//! runs. Deliberately absent: the registry. Whoever drives the drain deregisters between its steps.

mod auth;
mod call;
mod certificate;
mod compress;
mod cors;
mod deadline;
mod dispatch;
mod fork;
mod gate;
mod guard;
mod head;
mod health;
mod jwt;
mod keys;
mod layer;
mod metrics;
mod observe;
mod port;
mod preface;
mod probe;
mod rate;
mod reflection;
mod route;
mod stage;
mod tls;
mod trace;

use std::{convert::Infallible, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use reflect::Schema;
use tokio::{
    net::{TcpListener, ToSocketAddrs},
    sync::Semaphore,
    task::JoinHandle,
    time::Instant,
};
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::pb::{
    v1::server_reflection_server::ServerReflectionServer as ReflectionV1,
    v1alpha::server_reflection_server::ServerReflectionServer as ReflectionV1Alpha,
};
use tower::util::BoxCloneSyncService;

use self::layer::Layer as _;
pub use self::{
    auth::{Auth, Authenticate, Credential, Identity},
    call::{Call, Protocol, Surface},
    certificate::PeerCertificate,
    cors::Cors,
    deadline::Deadline,
    gate::Gate,
    health::{Health, Serving},
    jwt::{Algorithm, Jwt, Tokens},
    keys::ApiKeys,
    port::Peer,
    rate::Rate,
    stage::{Draining, Stage},
    tls::Tls,
};
pub(crate) use self::{
    call::{Answered, Outcome},
    dispatch::inner as inner_stack,
    metrics::{Recorded, Upkeep, recorder},
    route::{Api, Routing},
};
use crate::transcode::Transcoder;
pub use crate::transcode::{Allowed, JsonOptions};
pub use reflect::UnknownFields;

/// Installs the process's recorder, for what counts before the first server is bound, and keeps it small.
pub(crate) fn install_metrics() -> Option<Upkeep> {
    metrics::Upkeep::start()
}

/// A request's way through the layers.
pub type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What a server serves, and how.
pub struct Service {
    routes: RoutesBuilder,
    names: Vec<String>,
    descriptors: Vec<Bytes>,
    health: Health,
    auth: Option<Auth>,
    gates: Vec<Box<dyn Gate>>,
    layers: Vec<Box<dyn FnOnce(Stack) -> Stack + Send>>,
    json: JsonOptions,
    default_timeout: Option<Duration>,
    most_in_flight: usize,
    fronted: Option<Arc<Routing>>,
    tls: Option<Tls>,
    cors: Option<Cors>,
    gzip_from: Option<usize>,
    rates: Vec<Rate>,
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl Service {
    /// Health, reflection and probes, and no API yet.
    pub fn new() -> Self {
        Self {
            routes: RoutesBuilder::default(),
            names: Vec::new(),
            descriptors: Vec::new(),
            health: Health::new(),
            auth: None,
            gates: Vec::new(),
            layers: Vec::new(),
            json: JsonOptions::default(),
            default_timeout: None,
            most_in_flight: 10_000,
            fronted: None,
            tls: None,
            cors: None,
            gzip_from: None,
            rates: Vec::new(),
        }
    }

    /// Adds a gRPC service, as tonic generates it.
    #[must_use]
    pub fn grpc<S>(mut self, service: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.health.report(S::NAME, Serving::Yes);
        self.names.push(S::NAME.to_owned());
        self.routes.add_service(service);
        self
    }

    /// Adds a serialised `FileDescriptorSet`: reflection, HTTP rules and `/openapi.json` come from it. Files
    /// that come twice count once.
    #[must_use]
    pub fn descriptors(mut self, set: &[u8]) -> Self {
        self.descriptors.push(Bytes::copy_from_slice(set));
        self
    }

    /// Asks every caller for a credential. Off by default.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Asks `gate` before every call, after authentication; several are asked in order.
    #[must_use]
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gates.push(Box::new(gate));
        self
    }

    /// Adds a tower layer that sees the requests of both protocols, after authentication; the one added last
    /// sees them first.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: tower::Layer<Stack> + Send + 'static,
        L::Service: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as tower::Service<Request<Body>>>::Future: Send + 'static,
    {
        self.layers
            .push(Box::new(move |stack| Stack::new(layer.layer(stack))));
        self
    }

    /// How JSON is read and written, and how large bodies may be.
    #[must_use]
    pub fn json(mut self, json: JsonOptions) -> Self {
        self.json = json;
        self
    }

    /// A deadline for callers that set none. Without it they may wait for ever; it ends streams as well.
    #[must_use]
    pub fn default_timeout(mut self, timeout: Duration) -> Self {
        self.default_timeout = Some(timeout);
        self
    }

    /// API calls beyond so many at a time are refused with RESOURCE_EXHAUSTED (429). Default 10,000. Probes and
    /// watches of health are not counted.
    #[must_use]
    pub fn most_in_flight(mut self, calls: usize) -> Self {
        self.most_in_flight = calls;
        self
    }

    /// Whether callers of the API need a credential.
    pub(crate) fn is_guarded(&self) -> bool {
        let auth = self.auth.as_ref();
        auth.is_some_and(|auth| auth.guards(Surface::Api))
    }

    /// Serves over HTTP an API that lies elsewhere and may change, in place of its own.
    pub(crate) fn in_front_of(mut self, api: Arc<Routing>) -> Self {
        self.fronted = Some(api);
        self
    }

    /// API calls that come faster are refused with RESOURCE_EXHAUSTED (429), after authentication but for
    /// [`Rate::each_address`]; several rates all hold. Without one, calls may come as they like.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rates.push(rate);
        self
    }

    /// Lets web pages of other origins read answers over HTTP/JSON. Off by default.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = Some(cors);
        self
    }

    /// Compresses JSON answers of at least so many bytes with gzip, for callers that accept it; never streams.
    /// Off by default: it costs about as much time as making the answer.
    #[must_use]
    pub fn gzip_from(mut self, bytes: usize) -> Self {
        self.gzip_from = Some(bytes);
        self
    }

    /// Speaks TLS on the port, and nothing else. Without it the port is plain.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The service without a port: its layers and all, to be called in this process. What a port adds,
    /// connections, TLS and their drain, is not there; health follows the handle as ever.
    ///
    /// # Errors
    /// The descriptors are no descriptors, or a setting cannot be used.
    pub fn in_process(self) -> Result<(Stack, Handle), ServerError> {
        assemble(self)
    }

    /// The health of the server-to-be, for services that have their own say in it.
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("{addr}: {source}. Listen on another address, or stop what listens there")]
    Bind {
        /// The address as it was given.
        addr: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The descriptors given to [`Service::descriptors`] cannot be used.
    #[error("descriptors: {cause}. Build them with protoc --include_imports")]
    Descriptors {
        /// What is wrong with them.
        cause: String,
    },
    /// A setting of a layer is missing, unsafe or makes no sense.
    #[error("{what}: {cause}")]
    Setting {
        /// Which layer.
        what: &'static str,
        /// What is wrong with it, and what would be right.
        cause: String,
    },
    /// A file given to [`Tls`] cannot be used.
    #[error("TLS, {file}: {cause}. Give PEM files that fit together", file = file.display())]
    Tls {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it; nothing of its content.
        cause: String,
    },
}

/// A listening server. Dropping it closes the port and cuts every connection.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    is_secure: bool,
    handle: Handle,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `addr` and answers at once, as not serving until [`Handle::ready`].
    ///
    /// # Errors
    /// The address is taken or not ours, or the service's settings cannot be used.
    pub async fn bind(
        addr: impl ToSocketAddrs + ToString,
        mut service: Service,
    ) -> Result<Self, ServerError> {
        let name = addr.to_string();
        let bind_error = |source| ServerError::Bind {
            addr: name.clone(),
            source,
        };
        let tls = service.tls.take();
        let (stack, handle) = assemble(service)?;
        let tls = match tls {
            Some(tls) => Some(tls.start().await?),
            None => None,
        };
        let is_secure = tls.is_some();
        let listener = TcpListener::bind(addr).await.map_err(bind_error)?;
        let addr = listener.local_addr().map_err(bind_error)?;
        let task = tokio::spawn(port::serve(
            listener,
            tls,
            stack,
            handle.health.life().clone(),
            handle.in_flight.clone(),
        ));
        Ok(Self {
            addr,
            is_secure,
            handle,
            task,
        })
    }

    /// The address with the port that the system chose, if it was to choose.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether the port speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Steers the server. Keeps nothing alive.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let cut_off = self.handle.in_flight.count();
        self.handle
            .health
            .life()
            .advance(Stage::Stopped { cut_off });
    }
}

/// Steers a server through its stages. Clones steer the same one; no call here can go back.
#[derive(Clone, Debug)]
pub struct Handle {
    health: Health,
    in_flight: observe::InFlight,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Calls that were cut off because they did not finish in time.
    pub cut_off: usize,
}

impl Handle {
    /// Health says SERVING from now on.
    pub fn ready(&self) {
        self.health.life().advance(Stage::Ready);
    }

    /// Health says NOT_SERVING from now on; calls are still answered. The first step of a drain: deregister
    /// next, and wait for the news to spread.
    pub fn not_serving(&self) {
        self.health.life().advance(Stage::Leaving);
    }

    /// Closes the port, sends GOAWAY on every connection, lets calls finish for at most `deadline`, and cuts
    /// off what is left. Ends when nothing is left. Dropping the future does not stop the drain.
    pub async fn shutdown(&self, deadline: Duration) -> Drained {
        let life = self.health.life();
        // A deadline beyond the clock's end is as good as a day.
        let now = Instant::now();
        let until = now
            .checked_add(deadline)
            .unwrap_or(now + Duration::from_secs(86_400));
        life.advance(Stage::Draining { until });
        life.reaches(|stage| matches!(stage, Stage::Stopped { .. }))
            .await;
        match life.now() {
            Stage::Stopped { cut_off } => Drained { cut_off },
            _ => Drained { cut_off: 0 },
        }
    }

    /// Cuts every connection at once: the answer to a second signal.
    pub fn stop(&self) {
        self.health.life().advance(Stage::Stopping);
    }

    /// Where the server is in its life.
    pub fn stage(&self) -> Stage {
        self.health.life().now()
    }

    /// How many requests are being answered, streams included.
    pub fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// The health that the server tells.
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

/// Puts the layers together: each sees what the one before it let through.
fn assemble(service: Service) -> Result<(Stack, Handle), ServerError> {
    if service.most_in_flight == 0 {
        return Err(ServerError::Setting {
            what: "most_in_flight",
            cause: "0 calls in flight let none in. Give at least 1".to_owned(),
        });
    }
    let is_guarded = service.is_guarded();
    let (early, rates): (Vec<_>, Vec<_>) = service.rates.iter().partition(|rate| rate.is_early());
    let start = |rates: Vec<Rate>| rates.into_iter().map(Rate::start).collect();
    let (early, limiters): (Result<Arc<[_]>, _>, Result<Arc<[_]>, _>) =
        (start(early), start(rates));
    let (early, limiters) = (early?, limiters?);
    let mut names = service.names;
    let mut sets = service.descriptors;
    for (name, set) in [
        (
            "grpc.health.v1.Health",
            tonic_health::pb::FILE_DESCRIPTOR_SET,
        ),
        (
            "grpc.reflection.v1.ServerReflection",
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ),
        (
            "grpc.reflection.v1alpha.ServerReflection",
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ),
    ] {
        names.push(name.to_owned());
        sets.push(Bytes::from_static(set));
    }
    let files = Arc::new(reflection::Files::new(&sets, names.iter().cloned())?);
    let schema =
        Schema::from_descriptor_set(&files.set()).map_err(|cause| ServerError::Descriptors {
            cause: cause.to_string(),
        })?;
    // Installed before the first request, so that nothing goes uncounted.
    let upkeep = metrics::Upkeep::start();
    let in_flight = observe::InFlight::new();

    let mut routes = service.routes;
    routes
        .add_service(HealthServer::new(service.health.clone()))
        .add_service(ReflectionV1::new(reflection::Reflection(Arc::clone(
            &files,
        ))))
        .add_service(ReflectionV1Alpha::new(reflection::Reflection(files)));
    let routes: Routes = routes.routes().prepare();
    let grpc = dispatch::grpc_stack(routes);
    let routing = service.fronted.unwrap_or_else(|| {
        let methods = schema.services().flat_map(|one| {
            let methods = one.methods().map(|method| method.path().to_owned());
            methods.collect::<Vec<_>>()
        });
        let transcoder = Transcoder::new(&schema, &names, service.json).guarded(is_guarded);
        Arc::new(Routing::from_pointee(Api::new(
            methods,
            transcoder,
            grpc.clone(),
        )))
    });
    let health = service.health.clone();
    let end = tower::service_fn(move |request| dispatch::dispatch(&grpc, &health, request));
    let timely = deadline::Timely::Outside {
        default: service.default_timeout,
    };
    let mut stack = Stack::new(timely.before(end));
    for layer in service.layers {
        stack = layer(stack);
    }
    let gated = gate::Gated {
        gates: service.gates.into(),
        // More than a semaphore counts is as good as no bound.
        room: Arc::new(Semaphore::new(
            service.most_in_flight.min(Semaphore::MAX_PERMITS),
        )),
        most: service.most_in_flight,
        limiters,
    };
    let auth = service.auth.map(Arc::new);
    let checked = auth::Checked(auth.clone());
    let doorstep = gate::Doorstep {
        limiters: early,
        auth,
    };
    let mut stack = Stack::new(doorstep.before(checked.before(gated.before(stack))));
    if let Some(least) = service.gzip_from {
        stack = compress::before(stack, least)?;
    }
    if let Some(cors) = service.cors {
        stack = cors.before(stack)?;
    }
    let observed = observe::Observe {
        routing,
        life: service.health.life().clone(),
        in_flight: in_flight.clone(),
        _upkeep: upkeep,
    };
    Ok((
        Stack::new(observed.before(head::Head.before(guard::Guard.before(stack)))),
        Handle {
            health: service.health,
            in_flight,
        },
    ))
}
