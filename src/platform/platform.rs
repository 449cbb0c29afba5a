//! A process in the fleet: what it is called, what it needs from etcd, and its life from start to
//! drain. The invariant: nothing here waits for etcd longer than a moment; a service starts on what
//! it has and joins when etcd comes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd::Client;
use fleet::{InstanceId, Prefixes, ServiceName};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::channel::{Channel, ChannelOptions};
use crate::config::Config;
use crate::discover::{Discovery, Instances, Knowledge, ServiceView};
use crate::error::Error;
use crate::liveness::{CheckResult, Liveness};
use crate::server::{Service, Upkeep};
use crate::spread::FleetSize;
use crate::telemetry::Exporter;

mod builder;
mod lease;
mod serving;

pub use builder::Builder;
pub use serving::Serving;

/// See the module. Clones are the same process; when the last one and every [`Serving`] is gone,
/// all background work ends.
#[derive(Clone)]
pub struct Platform(Arc<Inner>);

struct Inner {
    service: ServiceName,
    id: Option<InstanceId>,
    version: String,
    metadata: BTreeMap<String, String>,
    weight: u32,
    started_at: Timestamp,
    listen: String,
    advertise: Vec<fleet::Endpoint>,
    times: Times,
    prefixes: Prefixes,
    config: Config,
    client: Option<Client>,
    discovery: Option<Discovery>,
    lease: lease::OneLease,
    fleet: FleetSize,
    liveness: Liveness,
    channels: Mutex<HashMap<String, Channel>>,
    options: ChannelOptions,
    _follower: Option<AbortOnDropHandle<()>>,
    _file_follower: Option<AbortOnDropHandle<()>>,
    _publisher: Option<AbortOnDropHandle<()>>,
    telemetry: Option<Exporter>,
    _upkeep: Option<Upkeep>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    lease: Duration,
    spread: Duration,
    drain: Duration,
}

impl Platform {
    /// Begins a platform for the service of this name.
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder::new(service.into())
    }

    /// The name it registers under.
    pub fn service(&self) -> &ServiceName {
        &self.0.service
    }

    /// Its live config.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// A channel to a service, for any generated client. All channels to one service share
    /// connections. Never fails and never waits: a call for which nothing is ready fails, saying
    /// why, as does every call where `service` is no name.
    pub fn channel(&self, service: &str) -> Channel {
        let mut channels = self
            .0
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(service) {
            return channel.clone();
        }
        let views = match (ServiceName::new(service), &self.0.discovery) {
            (Ok(name), Some(discovery)) => discovery.view(&name),
            (Ok(name), None) => {
                nowhere(name, "no etcd endpoint is set; name one with etcd()".into())
            }
            (Err(error), _) => nowhere(
                self.0.service.clone(),
                format!("not a service's name: {error}"),
            ),
        };
        let channel = Channel::discovered(service, views, self.0.options.clone());
        channels.insert(service.to_owned(), channel.clone());
        channel
    }

    /// The instances of a service as they are known, live; `None` without etcd.
    pub fn instances(&self, service: &ServiceName) -> Option<watch::Receiver<Arc<ServiceView>>> {
        self.0
            .discovery
            .as_ref()
            .map(|discovery| discovery.view(service))
    }

    /// Adds a check of the service's own to the liveness probe: while it fails the lease is not
    /// kept, and the instance falls out of the registry. See [`Liveness::check`].
    pub fn liveness_check<F, R>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = CheckResult> + Send + 'static,
    {
        self.0.liveness.check(name, check);
    }

    /// What the liveness probe says, live.
    pub fn liveness(&self) -> &Liveness {
        &self.0.liveness
    }

    /// The etcd client it uses, for what the library does not do; `None` without etcd.
    pub fn etcd(&self) -> Option<&Client> {
        self.0.client.as_ref()
    }

    /// Binds the port, answers, and registers; see [`Serving`] for how it ends. It may be called
    /// again, for further ports: each is an instance of its own, and all hang on one lease.
    ///
    /// # Errors
    /// [`Error::Listen`] when the port cannot be had, [`Error::Serve`] for unusable descriptors and
    /// for an instance id that this process serves under already.
    pub async fn bind(&self, service: Service) -> Result<Serving, Error> {
        Serving::bind(self.clone(), service).await
    }

    /// Binds, is ready, registers, runs until SIGTERM or ctrl-c, and drains: NotServing,
    /// deregistered, a wait for the news to spread, GOAWAY, what runs finishes, stop. A second
    /// signal stops at once.
    ///
    /// # Errors
    /// As [`Platform::bind`].
    pub async fn serve(&self, service: Service) -> Result<(), Error> {
        self.bind(service).await?.run().await
    }
}

fn nowhere(service: ServiceName, cause: String) -> watch::Receiver<Arc<ServiceView>> {
    let knowledge = Knowledge::Waiting { cause: Some(cause) };
    // The channel keeps the last view when the sender is gone.
    watch::channel(Arc::new(ServiceView {
        service,
        instances: Instances::default(),
        quarantined: 0,
        knowledge,
    }))
    .1
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Platform({})", self.0.service)
    }
}
