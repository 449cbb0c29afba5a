//! A service's live config: layers folded into one view, values that change under running code.
//! `platform.config().live::<Duration>("timeout.write")?` gives a handle that follows its key.
//! The invariant: what a reader gets was readable as what it asked for; a value of etcd's that is
//! not is refused for its key alone, reported, and the last good one stays.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use fleet::config::{Layer, Origin, Resolved, check_path, environment_path, value};
use fleet::status::{Overridden, Rejected};
use fleet::{InstanceId, Revision, ServiceName};
use metrics::{counter, gauge};
use serde::de::DeserializeOwned;
use serde_yaml::Value;
use tokio::sync::watch;

use crate::Error;
use cache::Cached;
use file::ConfigFile;
use live::guarded;
use schema::{Described, SchemaWatcher};
use secrets::Secrets;
use state::{Edit, State, Step};

mod cache;
mod feed;
pub(crate) mod file;
pub(crate) mod follow;
pub mod live;
pub(crate) mod publish;
pub(crate) mod schema;
mod secrets;
mod snapshot;
mod state;

pub use live::{Changes, ConfigValue, Live, Size, Subscription, Typed};
pub use snapshot::Snapshot;

/// See the module. Clones share everything.
#[derive(Clone)]
pub struct Config(Arc<Shared>);

struct Shared {
    service: ServiceName,
    state: Mutex<State>,
    snapshot: ArcSwap<Snapshot>,
    changed: watch::Sender<Arc<Snapshot>>,
    standing: watch::Sender<Standing>,
    /// Who this process is, once it knows: canaries name instances. It may be several.
    instances: watch::Sender<Vec<InstanceId>>,
    secrets: Secrets,
    cache: Option<PathBuf>,
}

/// How the config stands with etcd: what `/status` reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The newest config revision taken in, whatever its scope.
    pub applied: Revision,
    /// The newest change of the service's own keys that was taken in.
    pub service: Revision,
    /// The newest change of the global keys that was taken in.
    pub global: Revision,
    /// The canary that this instance runs.
    pub canary: Option<Revision>,
    /// The newest revision etcd proved.
    pub proved: Revision,
    /// Why the view may be old; `None` while it is fresh.
    pub stale: Option<String>,
    /// The values refused now.
    pub rejected: Vec<Rejected>,
    /// The paths that the environment or a canary gives, whatever etcd's ordinary values are.
    pub overridden: Vec<Overridden>,
}

/// What a config is made of before etcd is heard.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) defaults: Vec<(String, Value)>,
    pub(crate) described: Option<Described>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) environment: Vec<(String, String)>,
    /// Why the local layers alone may not be all; `None` where there is no etcd to be asked.
    pub(crate) doubt: Option<String>,
}

/// The doubt of a config that etcd has not said anything to yet.
pub(crate) const WAITING: &str = "etcd has not answered yet";

const DURATION: u8 = 1;
const BOOL: u8 = 2;
const U64: u8 = 4;
const F64: u8 = 8;
const SIZE: u8 = 16;
const STRING: u8 = 32;

impl Config {
    /// The local layers. Returns the file as well, for its watcher.
    pub(crate) fn local(
        service: ServiceName,
        local: Local,
    ) -> Result<(Config, Option<ConfigFile>), Error> {
        let schema = local.described.as_ref().map(|of| of.schema.clone());
        let secrets = Secrets::new(schema);
        let mut state = State::new(service.as_str(), secrets.clone());
        // What is set by name goes over what the schema's type says.
        let described = local.described.as_ref().map(|of| of.defaults.clone());
        let defaults = described
            .into_iter()
            .flatten()
            .chain(local.defaults)
            .map(|(path, value)| (path.into(), Edit::Put(Ok(value), Origin::Default)));
        state.step(Layer::Default, defaults.collect());
        let mut file = local.file.map(ConfigFile::new);
        if let Some(file) = &mut file {
            let document = file.read().map_err(|cause| Error::ConfigFile {
                path: file.path().into(),
                cause,
            })?;
            let edits = file.edits(&state, document);
            state.step(Layer::File, edits);
        }
        if let Some(path) = &local.cache {
            match cache::load(path, service.as_str()) {
                Ok(keys) => {
                    let edit = |key: &Cached| {
                        let (value, origin) = key.read()?;
                        Some((key.path.as_str().into(), Edit::Put(Ok(value), origin)))
                    };
                    state.step(Layer::Cache, keys.iter().filter_map(edit).collect());
                }
                Err(reason) => {
                    tracing::warn!(path = %path.display(), %reason, "the config cache is not used");
                }
            }
        }
        let known: Vec<String> = state
            .effective()
            .leaves()
            .map(|(path, _)| path.to_string())
            .collect();
        let variables = local.environment.into_iter().filter_map(|(name, text)| {
            let path = environment_path(&service, &name, known.iter().map(String::as_str))?;
            // A variable that is no YAML is taken as the text it is.
            let value = value::parse(text.as_bytes()).unwrap_or(Value::String(text));
            Some((
                path.into(),
                Edit::Put(Ok(value), Origin::Environment(name.into())),
            ))
        });
        state.step(Layer::Environment, variables.collect());
        if let Some(described) = &local.described {
            for (path, watcher) in SchemaWatcher::all(&described.schema) {
                let watched = state.watch(&path, Box::new(watcher));
                watched.map_err(|(origin, cause)| bad(&service, &path, origin, cause))?;
            }
        }
        state.tell();
        let snapshot = Arc::new(Snapshot::default().next(state.effective(), state.version()));
        let config = Config(Arc::new(Shared {
            service,
            snapshot: ArcSwap::new(snapshot.clone()),
            changed: watch::Sender::new(snapshot),
            standing: watch::Sender::new(Standing {
                stale: local.doubt,
                rejected: state.rejected(),
                overridden: state.overridden(),
                ..Standing::default()
            }),
            state: Mutex::new(state),
            instances: watch::Sender::new(Vec::new()),
            secrets,
            cache: local.cache,
        }));
        Ok((config, file))
    }

    /// A handle that follows a key. Once made it always holds a good value: one that cannot be read
    /// later is refused, and the last good one stays.
    ///
    /// # Errors
    /// [`Error::NoValue`] when no layer has a value, [`Error::BadValue`] when a local layer's value
    /// cannot be read as `T`. A bad value in etcd is no error: the layer below counts.
    pub fn live<T: ConfigValue>(&self, key: &str) -> Result<Live<T>, Error> {
        self.handle(key, None)
    }

    /// A handle that holds `default` while no layer has a value.
    ///
    /// # Errors
    /// [`Error::BadValue`] as [`Config::live`].
    pub fn live_or<T: ConfigValue>(&self, key: &str, default: T) -> Result<Live<T>, Error> {
        self.handle(key, Some(default))
    }

    /// A handle of any serde type: a mapping is assembled from all keys below `key`.
    ///
    /// # Errors
    /// As [`Config::live`].
    pub fn live_as<T: DeserializeOwned + Clone + Send + Sync + 'static>(
        &self,
        key: &str,
    ) -> Result<Live<Typed<T>>, Error> {
        self.handle(key, None)
    }

    fn handle<T: ConfigValue>(&self, key: &str, default: Option<T>) -> Result<Live<T>, Error> {
        check_path(key).map_err(|error| self.bad(key, Origin::Default, error.to_string()))?;
        let path: Arc<str> = key.into();
        let mut state = self.state();
        // The lowest readable value is only a start; watching publishes the one in force.
        let readable = |found: Resolved| guarded(|| T::read(&found.value)).ok();
        let start = match state.effective().get(key) {
            None => default.clone(),
            Some(found) => readable(found).or_else(|| {
                state
                    .layers()
                    .explain(key)
                    .into_iter()
                    .find_map(|(_, found)| readable(found))
                    .or(default.clone())
            }),
        };
        let Some(start) = start else {
            // Say what is wrong with the value where there is one.
            return Err(match state.effective().get(key) {
                Some(found) => {
                    let read = guarded(|| T::read(&found.value));
                    let cause = self.shown(key, &found, read.err().unwrap_or_default());
                    self.bad(key, found.origin, cause)
                }
                None => Error::NoValue {
                    service: self.0.service.to_string(),
                    key: key.into(),
                },
            });
        };
        let live = Live::new(path.clone(), start, default);
        let step = state
            .watch(&path, live.watcher())
            .map_err(|(origin, cause)| self.bad(key, origin, cause))?;
        self.publish(&state, &step, |_| {});
        Ok(live)
    }

    fn shown(&self, path: &str, found: &Resolved, error: String) -> String {
        let value = Some(&found.value);
        self.0.secrets.shown(path, &found.key, value, error)
    }

    fn bad(&self, key: &str, origin: Origin, cause: String) -> Error {
        bad(&self.0.service, key, origin, cause)
    }

    /// A duration by name. A hot loop should hold a [`Live`] instead.
    ///
    /// # Errors
    /// [`Error::NoValue`] and [`Error::BadValue`].
    pub fn duration(&self, key: &str) -> Result<Duration, Error> {
        self.scalar(key, DURATION, |leaf| leaf.duration)
    }

    /// A truth value by name.
    ///
    /// # Errors
    /// As [`Config::duration`].
    pub fn bool(&self, key: &str) -> Result<bool, Error> {
        self.scalar(key, BOOL, |leaf| leaf.boolean)
    }

    /// A whole number by name.
    ///
    /// # Errors
    /// As [`Config::duration`].
    pub fn u64(&self, key: &str) -> Result<u64, Error> {
        self.scalar(key, U64, |leaf| leaf.u64)
    }

    /// A number by name.
    ///
    /// # Errors
    /// As [`Config::duration`].
    pub fn f64(&self, key: &str) -> Result<f64, Error> {
        self.scalar(key, F64, |leaf| leaf.f64)
    }

    /// A size in bytes by name.
    ///
    /// # Errors
    /// As [`Config::duration`].
    pub fn size(&self, key: &str) -> Result<u64, Error> {
        self.scalar(key, SIZE, |leaf| leaf.size)
    }

    /// A text by name.
    ///
    /// # Errors
    /// As [`Config::duration`].
    pub fn string(&self, key: &str) -> Result<String, Error> {
        self.scalar(key, STRING, |leaf| String::read(&leaf.resolved.value).ok())
    }

    /// Any type by name: lists, and serde types as [`Typed`].
    ///
    /// # Errors
    /// As [`Config::duration`].
    pub fn read<T: ConfigValue>(&self, key: &str) -> Result<T, Error> {
        match self.snapshot().get(key) {
            Some(found) => T::read(&found.value).map_err(|cause| {
                let cause = self.shown(key, &found, cause);
                self.bad(key, found.origin, cause)
            }),
            None => Err(Error::NoValue {
                service: self.0.service.to_string(),
                key: key.into(),
            }),
        }
    }

    #[inline]
    fn scalar<T>(
        &self,
        key: &str,
        kind: u8,
        of: impl Fn(&snapshot::Leaf) -> Option<T>,
    ) -> Result<T, Error> {
        let snapshot = self.snapshot();
        let Some(leaf) = snapshot.leaf(key) else {
            return Err(Error::NoValue {
                service: self.0.service.to_string(),
                key: key.into(),
            });
        };
        match of(leaf) {
            Some(value) => {
                if leaf.first_use(kind) {
                    self.guard(key, kind);
                }
                Ok(value)
            }
            None => {
                let found = &leaf.resolved;
                let cause = read_as(kind)(&found.value).err().unwrap_or_default();
                let cause = self.shown(key, found, cause);
                Err(self.bad(key, found.origin.clone(), cause))
            }
        }
    }

    /// From now on the key must stay readable as what it was read as.
    #[cold]
    fn guard(&self, key: &str, kind: u8) {
        let mut state = self.state();
        // It was readable a moment ago; should it just have changed, the next step judges it.
        if let Ok(step) = state.watch(&key.into(), Box::new(live::KindWatcher(read_as(kind)))) {
            self.publish(&state, &step, |_| {});
        }
    }

    /// All values of one moment; they belong together. One atomic load.
    #[inline]
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.0.snapshot.load()
    }

    /// Each new snapshot, the newest at least.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.changed.subscribe()
    }

    /// What each layer says of a key, the highest first.
    pub fn explain(&self, key: &str) -> Vec<(Layer, Resolved)> {
        self.state().layers().explain(key)
    }

    /// How the config stands with etcd.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Tells who this process is. Until then a canary is another's.
    pub(crate) fn name_instance(&self, id: InstanceId) {
        self.0.instances.send_if_modified(|known| {
            let is_new = !known.contains(&id);
            if is_new {
                known.push(id);
            }
            is_new
        });
    }

    /// Takes in edits of one layer as one step.
    #[cfg(test)]
    fn step(&self, layer: Layer, edits: Vec<(Arc<str>, Edit)>) {
        let mut state = self.state();
        let step = state.step(layer, edits);
        self.publish(&state, &step, |_| {});
    }

    /// Makes the state visible, and what `stand` says of how it stands with etcd. Called with the
    /// state locked, so that snapshots come in order.
    fn publish(&self, state: &State, step: &Step, stand: impl FnOnce(&mut Standing)) {
        for one in &step.refused {
            tracing::warn!(key = %one.key, revision = one.revision, error = %one.error, "config value refused; the last good one stays");
            counter!("platform_config_rejected_total").increment(1);
        }
        let before = self.0.snapshot.load();
        if before.version() != state.version() {
            let next = Arc::new(before.next(state.effective(), state.version()));
            self.0.snapshot.store(next.clone());
            self.0.changed.send_replace(next);
        }
        let rejected = state.rejected();
        gauge!("platform_config_rejected").set(rejected.len() as f64);
        self.0.standing.send_if_modified(|standing| {
            let mut now = Standing {
                rejected,
                overridden: state.overridden(),
                ..standing.clone()
            };
            stand(&mut now);
            let differs = *standing != now;
            *standing = now;
            differs
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        write!(f, "Config({})", self.0.service)
    }
}

fn bad(service: &ServiceName, key: &str, origin: Origin, cause: String) -> Error {
    Error::BadValue {
        service: service.to_string(),
        key: key.into(),
        origin,
        cause,
    }
}

fn read_as(kind: u8) -> fn(&Value) -> Result<(), String> {
    match kind {
        DURATION => |value| Duration::read(value).map(drop),
        BOOL => |value| bool::read(value).map(drop),
        U64 => |value| u64::read(value).map(drop),
        F64 => |value| f64::read(value).map(drop),
        SIZE => |value| Size::read(value).map(drop),
        _ => |value| String::read(value).map(drop),
    }
}

#[cfg(test)]
mod tests;
