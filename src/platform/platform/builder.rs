//! What a process says about itself before it starts. Bad settings are errors here; a bad world
//! (etcd down, slow, refusing) is not.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd::{Client, Settings};
use fleet::{Endpoint, InstanceId, Prefixes, ServiceName};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_yaml::Value;
use tokio_util::task::AbortOnDropHandle;

use super::lease::OneLease;
use super::{Inner, Platform, Times};
use crate::channel::ChannelOptions;
use crate::config::schema::{Described, describe};
use crate::config::{Config, Local, WAITING, file, follow, publish};
use crate::discover::Discovery;
use crate::error::Error;
use crate::liveness::Liveness;
use crate::spread::FleetSize;
use crate::telemetry::Exporter;

/// How long a start gives etcd to say what the config is, where it answers at all: enough for a
/// healthy one, and nothing anybody notices.
const FIRST_WORD: Duration = Duration::from_millis(300);

/// See the module. Every setting has a default.
#[derive(Debug)]
#[must_use = "a builder does nothing until start()"]
pub struct Builder {
    service: String,
    id: Option<String>,
    version: String,
    metadata: BTreeMap<String, String>,
    weight: u32,
    listen: String,
    advertise: Vec<String>,
    etcd: Option<Settings>,
    prefixes: Prefixes,
    local: Local,
    described: Result<Option<Described>, Error>,
    cache: Cache,
    environment: Option<Vec<(String, String)>>,
    lease: Duration,
    spread: Duration,
    drain: Duration,
    hang: Duration,
    options: ChannelOptions,
    telemetry: Option<Exporter>,
}

#[derive(Debug)]
enum Cache {
    Usual,
    At(PathBuf),
    Off,
}

impl Builder {
    pub(super) fn new(service: String) -> Builder {
        Builder {
            service,
            id: None,
            version: String::new(),
            metadata: BTreeMap::new(),
            weight: 100,
            listen: "127.0.0.1:0".into(),
            advertise: Vec::new(),
            etcd: None,
            prefixes: Prefixes::default(),
            local: Local::default(),
            described: Ok(None),
            cache: Cache::Usual,
            environment: None,
            lease: Duration::from_secs(10),
            spread: Duration::from_millis(500),
            drain: Duration::from_secs(20),
            hang: Duration::from_secs(3),
            options: ChannelOptions::default(),
            telemetry: None,
        }
    }

    /// The local `config.yaml`. It must exist and be a mapping; changes are taken in within a second.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Builder {
        self.local.file = Some(path.into());
        self
    }

    /// A default for a config key, below every other layer.
    pub fn default(mut self, key: &str, value: impl Into<Value>) -> Builder {
        self.local.defaults.push((key.into(), value.into()));
        self
    }

    /// What the config of this service is: `T`'s fields are the keys, joined by dots (or dotted in
    /// one `#[serde(rename = "page.size")]`), its `Default` their defaults, its doc comments their
    /// descriptions, its enums the values a key may have. A `Duration` is written `5s`, a
    /// [`Size`](crate::config::Size) `10MiB`. More is said in attributes: `#[schemars(range(min = 1,
    /// max = 500))]`, and `#[schemars(extend("x-minimum" = "100ms", "x-maximum" = "30s"))]` for
    /// durations and sizes, `"x-unit" = "rows"`, `"x-secret" = true`.
    ///
    /// The defaults rank below [`Builder::default`] and every layer. A value that breaks the schema
    /// is refused for its key alone. The schema is published under `/schema/<service>` in the
    /// background, where it differs from what stands there; the start does not wait for it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use platform::Platform;
    /// use schemars::JsonSchema;
    /// use serde::Serialize;
    ///
    /// #[derive(Serialize, JsonSchema)]
    /// struct Settings {
    ///     timeout: Timeout,
    /// }
    ///
    /// #[derive(Serialize, JsonSchema)]
    /// struct Timeout {
    ///     /// How long a write may take.
    ///     #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1m"))]
    ///     write: Duration,
    /// }
    ///
    /// impl Default for Settings {
    ///     fn default() -> Settings {
    ///         let write = Duration::from_secs(3);
    ///         Settings { timeout: Timeout { write } }
    ///     }
    /// }
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let platform = Platform::builder("order").schema::<Settings>().start().await?;
    /// let write = platform.config().live::<Duration>("timeout.write")?;
    /// assert_eq!(write.get(), Duration::from_secs(3));
    /// # Ok::<_, platform::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn schema<T: JsonSchema + Serialize + Default>(mut self) -> Builder {
        self.described = describe::<T>().map(Some).map_err(|cause| Error::Schema {
            name: std::any::type_name::<T>(),
            cause,
        });
        self
    }

    /// Where the last-good cache of etcd's config lies; by default
    /// `$XDG_CACHE_HOME/platform/<service>.json`, `~/.cache/…` without that variable.
    pub fn config_cache(mut self, path: impl Into<PathBuf>) -> Builder {
        self.cache = Cache::At(path.into());
        self
    }

    /// Keeps no cache of etcd's config on disk.
    pub fn no_config_cache(mut self) -> Builder {
        self.cache = Cache::Off;
        self
    }

    /// The environment in place of the process's own.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Builder {
        self.environment = Some(variables.into_iter().collect());
        self
    }

    /// The members of the etcd cluster: `host:port` or `https://host:port`.
    pub fn etcd(self, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        self.etcd_settings(Settings::new(endpoints))
    }

    /// The etcd cluster with user, TLS and times.
    pub fn etcd_settings(mut self, settings: Settings) -> Builder {
        self.etcd = (!settings.endpoints.is_empty()).then_some(settings);
        self
    }

    /// The instance's name, stable over restarts; by default `<host>-<port>`.
    pub fn instance_id(mut self, id: impl Into<String>) -> Builder {
        self.id = Some(id.into());
        self
    }

    /// The version of the software, for people and for rollouts.
    pub fn version(mut self, version: impl Into<String>) -> Builder {
        self.version = version.into();
        self
    }

    /// A fact for people and for routing; `zone` is used by channels.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Builder {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Its share of the calls relative to 100.
    pub fn weight(mut self, weight: u32) -> Builder {
        self.weight = weight;
        self
    }

    /// Where to listen; by default a free port on loopback.
    pub fn listen(mut self, address: impl Into<String>) -> Builder {
        self.listen = address.into();
        self
    }

    /// An endpoint to register, such as `grpc://10.0.0.4:9000`; may be given again. By default the
    /// address it listens on, as gRPC and as HTTP.
    pub fn advertise(mut self, endpoint: impl Into<String>) -> Builder {
        self.advertise.push(endpoint.into());
        self
    }

    /// Where the fleet keeps what in etcd.
    pub fn prefixes(mut self, prefixes: Prefixes) -> Builder {
        self.prefixes = prefixes;
        self
    }

    /// How long the registration outlives the process's last sign of life; default 10 s.
    pub fn lease_ttl(mut self, ttl: Duration) -> Builder {
        self.lease = ttl;
        self
    }

    /// How long a drain waits between deregistering and GOAWAY; default 500 ms.
    pub fn drain_spread(mut self, spread: Duration) -> Builder {
        self.spread = spread;
        self
    }

    /// How long calls that run may take to finish in a drain; default 20 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Builder {
        self.drain = timeout;
        self
    }

    /// A runtime that did not turn for this long counts as hung; default 3 s.
    pub fn hang_limit(mut self, limit: Duration) -> Builder {
        self.hang = limit;
        self
    }

    /// How the channels of this process behave.
    pub fn channel_options(mut self, options: ChannelOptions) -> Builder {
        self.options = options;
        self
    }

    /// The spans of this process end with it: the last ones are sent at the end of the drain, for
    /// which the collector has 2 s.
    pub fn telemetry(mut self, exporter: Exporter) -> Builder {
        self.telemetry = Some(exporter);
        self
    }

    /// Starts: local config is read, etcd is asked in the background. Waits at most 300 ms for
    /// etcd's config, so that a service starts on the present one where etcd answers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Settings that cannot be used: names, the config file, endpoints.
    pub async fn start(self) -> Result<Platform, Error> {
        // Counters made before there is a recorder would count into nothing.
        let upkeep = crate::server::install_metrics();
        let service = ServiceName::new(&self.service).map_err(|cause| Error::Name {
            what: "the service's name",
            cause,
        })?;
        let id = self.id.map(InstanceId::new).transpose();
        let id = id.map_err(|cause| Error::Name {
            what: "the instance id",
            cause,
        })?;
        let advertise = self
            .advertise
            .iter()
            .map(|text| Endpoint::parse(text))
            .collect::<Result<_, _>>()?;
        let client = self
            .etcd
            .map(Client::new)
            .transpose()
            .map_err(Error::Etcd)?;
        let described = self.described?;
        let schema = described.as_ref().map(|described| described.json.clone());
        let local = Local {
            described,
            cache: match self.cache {
                Cache::Usual => client.as_ref().and_then(|_| usual_cache(&service)),
                Cache::At(path) => Some(path),
                Cache::Off => None,
            },
            environment: self.environment.unwrap_or_else(process_environment),
            doubt: client.as_ref().map(|_| WAITING.to_owned()),
            ..self.local
        };
        let (config, file) = Config::local(service.clone(), local)?;
        let follower = client.clone().map(|client| {
            let task = follow::follow(config.clone(), client, self.prefixes.config.clone());
            AbortOnDropHandle::new(tokio::spawn(task))
        });
        let file_follower = file
            .map(|file| AbortOnDropHandle::new(tokio::spawn(file::follow(config.clone(), file))));
        let publisher = client.clone().zip(schema).map(|(client, schema)| {
            let key = self.prefixes.schema.join(service.as_str());
            let task = publish::publish(client, key, schema, config.standing());
            AbortOnDropHandle::new(tokio::spawn(task))
        });
        if client.is_some() {
            first_word(&config).await;
        }
        let mut options = self.options;
        if options.client.is_empty() {
            options.client = id.as_ref().map_or_else(
                || uuid::Uuid::new_v4().to_string().into(),
                |id| id.as_str().into(),
            );
        }
        if options.zone.is_none() {
            options.zone = self
                .metadata
                .get("zone")
                .map(|zone| Arc::from(zone.as_str()));
        }
        Ok(Platform(Arc::new(Inner {
            id,
            version: self.version,
            metadata: self.metadata,
            weight: self.weight,
            started_at: Timestamp::now(),
            listen: self.listen,
            advertise,
            times: Times {
                lease: self.lease,
                spread: self.spread,
                drain: self.drain,
            },
            discovery: client
                .clone()
                .map(|client| Discovery::new(client, self.prefixes.services.clone())),
            lease: OneLease::default(),
            fleet: FleetSize::default(),
            prefixes: self.prefixes,
            config,
            client,
            liveness: Liveness::start(self.hang)?,
            channels: Mutex::new(HashMap::new()),
            options,
            service,
            _follower: follower,
            _file_follower: file_follower,
            _publisher: publisher,
            telemetry: self.telemetry,
            _upkeep: upkeep,
        })))
    }
}

/// Waits until etcd said what the config is, or is known to be away, or took too long.
async fn first_word(config: &Config) {
    let mut standing = config.standing();
    let heard = standing.wait_for(|standing| standing.stale.as_deref() != Some(WAITING));
    match tokio::time::timeout(FIRST_WORD, heard).await {
        Ok(Ok(standing)) => match &standing.stale {
            None => tracing::info!(revision = standing.applied.0, "config from etcd"),
            Some(cause) => {
                tracing::warn!(%cause, "starting without etcd, on local config; joining when it comes");
            }
        },
        _ => tracing::warn!("starting without etcd, which does not answer; joining when it does"),
    }
}

fn usual_cache(service: &ServiceName) -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|base| !base.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => {
            PathBuf::from(std::env::var_os("HOME").filter(|home| !home.is_empty())?).join(".cache")
        }
    };
    Some(base.join("platform").join(format!("{service}.json")))
}

fn process_environment() -> Vec<(String, String)> {
    // Variables that are no text cannot be config.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
