//! What keeps a [`Config`] current: the mirrors of etcd's two prefixes, the local file, and the
//! cache on disk. One task, which ends when it is dropped; each revision is one step.

use std::sync::Arc;
use std::time::Duration;

use etcd::{Client, Mirror, MirrorEvent, MirrorOptions};
use fleet::config::canary::{Canary, NAME as CANARY};
use fleet::config::value;
use fleet::config::{Layer, Origin, Scope, check_path};
use fleet::{Change, Entry, Key, Prefix, Revision};
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::file::ConfigFile;
use super::state::Edit;
use super::{Config, Standing, cache};

/// How often the file is looked at.
const FILE_EVERY: Duration = Duration::from_secs(1);

/// How long the cache lags behind, so that a burst of changes is written once.
const CACHE_AFTER: Duration = Duration::from_millis(500);

/// One prefix of etcd as a layer.
#[derive(Debug)]
struct Feed {
    layer: Layer,
    prefix: Prefix,
    _mirror: Mirror,
    events: mpsc::Receiver<MirrorEvent>,
    applied: Revision,
    proved: Revision,
    stale: Option<String>,
    heard: bool,
    /// The change being tried on some instances, this one or others.
    canary: Option<(Canary, Revision)>,
    /// The revision of the canary that this instance runs.
    laid: Option<Revision>,
}

/// Follows etcd and the file until dropped.
pub(crate) async fn follow(
    config: Config,
    client: Client,
    prefix: Prefix,
    mut file: Option<ConfigFile>,
) {
    let service = Scope::Service(config.0.service.clone());
    let mut global = Feed::new(&client, Scope::Global.prefix(&prefix), Layer::Global);
    let mut own = Feed::new(&client, service.prefix(&prefix), Layer::Service);
    let mut named = config.0.instance.subscribe();
    let mut look = interval(FILE_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut write_cache: Option<Instant> = None;
    loop {
        let due = async {
            match write_cache {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = global.events.recv() => match event {
                Some(event) => global.take(&config, event),
                None => return,
            },
            event = own.events.recv() => match event {
                Some(event) => own.take(&config, event),
                None => return,
            },
            Ok(()) = named.changed() => own.try_canary(&config),
            _ = look.tick(), if file.is_some() => {
                if let Some(file) = &mut file {
                    reread(&config, file);
                }
                continue;
            }
            () = due => {
                write_cache = None;
                store(&config).await;
                continue;
            }
        }
        if global.heard && own.heard {
            forget_cache(&config);
            if config.0.cache.is_some() {
                write_cache.get_or_insert_with(|| Instant::now() + CACHE_AFTER);
            }
        }
        stand(&config, &global, &own);
    }
}

impl Feed {
    fn new(client: &Client, prefix: Prefix, layer: Layer) -> Feed {
        let (mirror, events) =
            Mirror::spawn(client.clone(), prefix.clone(), MirrorOptions::default());
        Feed {
            layer,
            prefix,
            _mirror: mirror,
            events,
            applied: Revision::ZERO,
            proved: Revision::ZERO,
            stale: None,
            heard: false,
            canary: None,
            laid: None,
        }
    }

    fn take(&mut self, config: &Config, event: MirrorEvent) {
        match event {
            MirrorEvent::Listed { revision, entries } => {
                let canary = entries.iter().find(|entry| self.is_canary(&entry.key));
                self.canary = canary.and_then(read_canary);
                let mut edits: Vec<_> =
                    entries.iter().filter_map(|entry| self.put(entry)).collect();
                let state = config.state();
                let gone = state
                    .layers()
                    .keys(self.layer)
                    .filter(|(path, _, _)| !edits.iter().any(|(at, _)| at == *path));
                let gone: Vec<_> = gone
                    .map(|(path, _, _)| (path.clone(), Edit::Remove))
                    .collect();
                drop(state);
                edits.extend(gone);
                self.step(config, revision, edits);
            }
            MirrorEvent::Changed {
                revision, changes, ..
            } => {
                if let Some(change) = changes.iter().find(|one| self.is_canary(one.key())) {
                    self.canary = match change {
                        Change::Put(entry) => read_canary(entry),
                        Change::Delete { .. } => None,
                    };
                }
                let edits = changes.into_iter().filter_map(|change| match change {
                    Change::Put(entry) => self.put(&entry),
                    Change::Delete { key, .. } => Some((self.path(&key)?, Edit::Remove)),
                });
                let edits = edits.collect();
                self.step(config, revision, edits);
            }
            MirrorEvent::Fresh { revision } => {
                self.proved = revision;
                self.stale = None;
            }
            MirrorEvent::Stale { cause } => self.stale = Some(cause),
        }
    }

    fn step(&mut self, config: &Config, revision: Revision, edits: Vec<(Arc<str>, Edit)>) {
        config.step(self.layer, edits);
        // After the service's own values: where a canary becomes everyone's, nothing flickers.
        self.try_canary(config);
        self.applied = revision;
        self.proved = revision;
        self.stale = None;
        self.heard = true;
    }

    fn put(&self, entry: &Entry) -> Option<(Arc<str>, Edit)> {
        let path = self.path(&entry.key)?;
        let revision = entry.mod_revision;
        let origin = match self.layer {
            Layer::Global => Origin::Global { revision },
            _ => Origin::Service { revision },
        };
        Some((path, Edit::Put(value::parse(&entry.value), origin)))
    }

    fn is_canary(&self, key: &Key) -> bool {
        self.layer == Layer::Service && self.prefix.strip(key) == Some(CANARY.as_bytes())
    }

    /// Makes the canary layer what the canary says of this instance: nothing, where it names others.
    fn try_canary(&mut self, config: &Config) {
        let instance = config.0.instance.borrow().clone();
        let tried = self.canary.as_ref();
        let tried = tried.filter(|(canary, _)| instance.is_some_and(|id| canary.names(&id)));
        let laid = tried.map(|(_, revision)| *revision);
        if laid == self.laid {
            return;
        }
        let mut edits: Vec<(Arc<str>, Edit)> = Vec::new();
        if let Some((canary, revision)) = tried {
            let origin = Origin::Canary {
                revision: *revision,
            };
            let values = canary.values();
            edits.extend(
                values.map(|(path, value)| (path.into(), Edit::Put(value, origin.clone()))),
            );
            edits.extend(canary.removed().map(|path| (path.into(), Edit::Hide)));
        }
        let state = config.state();
        let layers = state.layers();
        let standing = layers.keys(Layer::Canary).map(|(path, _, _)| path);
        let refused = state.refused(Layer::Canary);
        let gone: Vec<_> = standing
            .chain(layers.hidden())
            .chain(refused)
            .filter(|path| !edits.iter().any(|(at, _)| at == *path))
            .map(|path| (path.clone(), Edit::Remove))
            .collect();
        drop(state);
        edits.extend(gone);
        self.laid = laid;
        config.step(Layer::Canary, edits);
    }

    /// The dotted path of a key; `None` for a key that is none.
    fn path(&self, key: &Key) -> Option<Arc<str>> {
        if self.is_canary(key) {
            return None;
        }
        let path = std::str::from_utf8(self.prefix.strip(key)?).ok();
        match path.filter(|path| check_path(path).is_ok()) {
            Some(path) => Some(path.into()),
            None => {
                tracing::warn!(%key, "not a config key; it is left out");
                None
            }
        }
    }
}

fn read_canary(entry: &Entry) -> Option<(Canary, Revision)> {
    match Canary::from_json(&entry.value) {
        Ok(canary) => Some((canary, entry.mod_revision)),
        Err(error) => {
            tracing::warn!(key = %entry.key, %error, "the canary is left out");
            None
        }
    }
}

/// What the cache stood in for is known now. Keys whose values are refused keep their cached one:
/// it is the last good value.
fn forget_cache(config: &Config) {
    let mut state = config.state();
    let rejected = state.rejected();
    let refused = |path: &str| {
        rejected
            .iter()
            .any(|one| one.key.split_once('/').is_some_and(|(_, at)| at == path))
    };
    let gone: Vec<_> = state
        .layers()
        .keys(Layer::Cache)
        .filter(|(path, _, _)| !refused(path))
        .map(|(path, _, _)| (path.clone(), Edit::Remove))
        .collect();
    if !gone.is_empty() {
        let step = state.step(Layer::Cache, gone);
        config.publish(&state, &step);
    }
}

fn reread(config: &Config, file: &mut ConfigFile) {
    if !file.changed() {
        return;
    }
    match file.read() {
        Ok(document) => {
            let edits = file.edits(config.state().layers(), document);
            config.step(Layer::File, edits);
            tracing::info!(path = %file.path().display(), "config file read again");
        }
        Err(cause) => {
            counter!("platform_config_rejected_total").increment(1);
            tracing::warn!(path = %file.path().display(), %cause, "config file refused; its last good content stays");
        }
    }
}

async fn store(config: &Config) {
    let Some(path) = config.0.cache.clone() else {
        return;
    };
    let service = config.0.service.to_string();
    let keys = cache::collect(config.state().layers());
    let written = tokio::task::spawn_blocking(move || cache::store(&path, &service, keys)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "the config cache cannot be written");
    }
}

fn stand(config: &Config, global: &Feed, own: &Feed) {
    let applied = global.applied.max(own.applied);
    let proved = global.proved.min(own.proved).max(applied);
    let waiting = (!global.heard || !own.heard).then(|| super::WAITING.to_owned());
    let stale = own
        .stale
        .clone()
        .or_else(|| global.stale.clone())
        .or(waiting);
    gauge!("platform_config_revision").set(applied.0 as f64);
    gauge!("platform_config_stale").set(if stale.is_some() { 1.0 } else { 0.0 });
    config.0.standing.send_if_modified(|standing| {
        match (&standing.stale, &stale) {
            (None, Some(cause)) => tracing::warn!(%cause, "config may be old"),
            (Some(_), None) => tracing::info!(revision = applied.0, "config is fresh"),
            _ => {}
        }
        let now = Standing {
            applied,
            service: own.applied,
            global: global.applied,
            canary: own.laid,
            proved,
            stale,
            ..standing.clone()
        };
        let differs = *standing != now;
        *standing = now;
        differs
    });
}
