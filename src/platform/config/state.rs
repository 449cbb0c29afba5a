//! The rules of live config, pure: a step of edits is taken in as a whole, except for the keys whose
//! values somebody cannot read. Those keep their last good value and are reported. The invariant:
//! whatever is told passed the check of everyone who uses it. What a step costs depends on what it
//! changes, not on how much there is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use fleet::Revision;
use fleet::config::value::ValueError;
use fleet::config::{Effective, Layer, Layers, Origin, Resolved};
use fleet::status::{Overridden, Rejected};
use serde_yaml::Value;

use super::live::Watcher;
use super::secrets::Secrets;

/// What one key becomes.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// This value, or the reason why it is none.
    Put(Result<Value, ValueError>, Origin),
    /// Nothing.
    Remove,
    /// Nothing in the service's own layer either: a canary tries to do without it.
    Hide,
}

/// What becomes of keys, each in its layer.
pub(super) type Edits = Vec<(Layer, Arc<str>, Edit)>;

/// A key in its layer.
type Place = (Layer, Arc<str>);

/// See the module.
#[derive(Default)]
pub(super) struct State {
    /// The accepted values.
    layers: Layers,
    effective: Effective,
    rejected: BTreeMap<Place, Rejected>,
    /// The whole file, where it cannot be read.
    rejected_file: Option<Rejected>,
    watched: BTreeMap<Arc<str>, Vec<Watched>>,
    /// The paths whose users have not been told yet.
    untold: BTreeSet<Arc<str>>,
    /// Another one each time that something was told.
    version: u64,
    service: Arc<str>,
    secrets: Secrets,
}

struct Watched {
    watcher: Box<dyn Watcher>,
    /// What was told last.
    last: Option<Value>,
}

/// What a step did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Keys refused by this step.
    pub(super) refused: Vec<Rejected>,
}

impl State {
    pub(super) fn new(service: &str, secrets: Secrets) -> State {
        State {
            service: service.into(),
            secrets,
            ..State::default()
        }
    }

    /// The values in force.
    pub(super) fn effective(&self) -> &Effective {
        &self.effective
    }

    /// Which state of the values in force this is.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The accepted values of all layers.
    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// What is refused now.
    pub(super) fn rejected(&self) -> Vec<Rejected> {
        let keys = self.rejected.values();
        keys.chain(&self.rejected_file).cloned().collect()
    }

    /// The paths that something above etcd's ordinary values gives, or takes away.
    pub(super) fn overridden(&self) -> Vec<Overridden> {
        let environment = self.layers.keys(Layer::Environment);
        let variables = environment.filter_map(|(path, _, origin)| match origin {
            Origin::Environment(name) => Some(Overridden {
                path: path.to_string(),
                variable: Some(name.to_string()),
            }),
            _ => None,
        });
        let tried = self.layers.keys(Layer::Canary).map(|(path, _, _)| path);
        let tried = tried.chain(self.layers.hidden()).map(|path| Overridden {
            path: path.to_string(),
            variable: None,
        });
        variables.chain(tried).collect()
    }

    /// The keys of a layer that are refused now.
    pub(super) fn refused(&self, layer: Layer) -> impl Iterator<Item = &Arc<str>> {
        let of_layer = move |(of, path)| (of == layer).then_some(path);
        self.rejected
            .keys()
            .map(|(of, path)| (*of, path))
            .filter_map(of_layer)
    }

    /// The file as a whole is refused, or no longer.
    pub(super) fn refuse_file(&mut self, rejected: Option<Rejected>) {
        self.rejected_file = rejected;
    }

    /// Takes in edits of one layer as one step, and tells those who use them.
    pub(super) fn step(&mut self, layer: Layer, edits: Vec<(Arc<str>, Edit)>) -> Step {
        let edits = edits.into_iter().map(|(path, edit)| (layer, path, edit));
        let step = self.take(edits.collect());
        self.tell();
        step
    }

    /// Takes in edits of any layers as one step. Nobody is told before [`State::tell`].
    pub(super) fn take(&mut self, edits: Edits) -> Step {
        let mut undo: BTreeMap<Place, Option<(Value, Origin)>> = BTreeMap::new();
        let mut touched: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut step = Step::default();
        for (layer, path, edit) in edits {
            let place = (layer, path.clone());
            self.rejected.remove(&place);
            match edit {
                Edit::Put(Ok(value), origin) => {
                    let before = self.layers.value(layer, &path);
                    let before = before.map(|(value, origin)| (value.clone(), origin.clone()));
                    self.layers.put(layer, &path, value, origin);
                    undo.insert(place, before);
                }
                Edit::Put(Err(error), origin) => {
                    let error = self.secrets.shown(&path, &path, None, error.to_string());
                    self.refuse(place, &origin, error, &mut step);
                    continue;
                }
                Edit::Remove => {
                    self.layers.remove(layer, &path);
                    if layer == Layer::Canary {
                        self.layers.unhide(&path);
                    }
                }
                Edit::Hide => {
                    self.layers.remove(layer, &path);
                    self.layers.hide(&path);
                }
            }
            touched.insert(path);
        }
        for path in &touched {
            self.layers.refresh(&mut self.effective, path);
        }
        self.settle(touched, &mut undo, &mut step);
        step
    }

    /// Adds somebody who uses a path. A value of etcd's that they cannot read is refused.
    ///
    /// # Errors
    /// The origin and the reason when a value that is no etcd key's cannot be read.
    pub(super) fn watch(
        &mut self,
        path: &Arc<str>,
        watcher: Box<dyn Watcher>,
    ) -> Result<Step, (Origin, String)> {
        let mut step = Step::default();
        // Each round takes one bad key out, so it ends.
        while let Some(found) = self.effective.get(path) {
            let Err(error) = watcher.check(&found.value) else {
                break;
            };
            let value = Some(&found.value);
            let error = self.secrets.shown(path, &found.key, value, error);
            match layer_of(&found.origin) {
                Some(layer) => {
                    self.layers.remove(layer, &found.key);
                    self.layers.refresh(&mut self.effective, &found.key);
                    self.untold.insert(found.key.clone());
                    self.refuse((layer, found.key), &found.origin, error, &mut step);
                }
                None => return Err((found.origin, error)),
            }
        }
        self.watched.entry(path.clone()).or_default().push(Watched {
            watcher,
            last: None,
        });
        self.untold.insert(path.clone());
        self.tell();
        Ok(step)
    }

    /// Refuses what the users of touched paths cannot read, until the rest can stand.
    fn settle(
        &mut self,
        touched: BTreeSet<Arc<str>>,
        undo: &mut BTreeMap<Place, Option<(Value, Origin)>>,
        step: &mut Step,
    ) {
        let mut due: BTreeSet<Arc<str>> = BTreeSet::new();
        for path in &touched {
            due.extend(self.users(path));
        }
        self.untold.extend(touched);
        while let Some(path) = due.pop_first() {
            let Some((found, error)) = self.unreadable(&path) else {
                continue;
            };
            // The key that gave the value is at fault; a part of a mapping may be any key of the
            // step below it, of which the newest is named.
            let Some(layer) = layer_of(&found.origin).or_else(|| local_layer_of(&found.origin))
            else {
                continue;
            };
            let place = (layer, found.key.clone());
            match undo.remove(&place).flatten() {
                Some((value, origin)) => self.layers.put(layer, &found.key, value, origin),
                // Nothing good below in this layer, or the last good one is bad as well.
                None => self.layers.remove(layer, &found.key),
            }
            self.layers.refresh(&mut self.effective, &found.key);
            due.extend(self.users(&found.key));
            due.insert(path.clone());
            self.untold.insert(found.key.clone());
            let error = self.shown(&path, &found, error);
            self.refuse(place, &found.origin, error, step);
        }
    }

    /// The watched paths of which a key's value may be a part, or which may be a part of it.
    fn users(&self, key: &str) -> Vec<Arc<str>> {
        let ends = key.match_indices('.').map(|(end, _)| end);
        let above = ends.chain([key.len()]).map(|end| &key[..end]);
        let above = above.filter_map(|path| self.watched.get_key_value(path));
        let start = format!("{key}.");
        let range = (Bound::Included(start.as_str()), Bound::Unbounded);
        let below = self.watched.range::<str, _>(range);
        let below = below.take_while(|(path, _)| path.starts_with(&start));
        above.chain(below).map(|(path, _)| path.clone()).collect()
    }

    fn unreadable(&self, path: &str) -> Option<(Resolved, String)> {
        let watched = self.watched.get(path)?;
        let found = self.effective.get(path)?;
        let mut errors = watched
            .iter()
            .filter(|one| one.watcher.alive())
            .filter_map(|one| one.watcher.check(&found.value).err());
        let error = errors.next()?;
        Some((found, error))
    }

    /// Tells the users of everything that changed since the last time.
    pub(super) fn tell(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        self.version += u64::from(!untold.is_empty());
        let paths: BTreeSet<Arc<str>> = untold.iter().flat_map(|key| self.users(key)).collect();
        for path in paths {
            let Some(watched) = self.watched.get_mut(&path) else {
                continue;
            };
            watched.retain(|one| one.watcher.alive());
            if watched.is_empty() {
                self.watched.remove(&path);
                continue;
            }
            let found = self.effective.get(&path);
            for one in watched {
                match &found {
                    Some(found) if one.last.as_ref() != Some(&found.value) => {
                        one.watcher.publish(&found.value);
                        one.last = Some(found.value.clone());
                    }
                    None if one.last.is_some() => {
                        one.watcher.missing();
                        one.last = None;
                    }
                    _ => {}
                }
            }
        }
    }

    fn shown(&self, path: &str, found: &Resolved, error: String) -> String {
        let error = match local_layer_of(&found.origin) {
            // The key alone does not say where it stands.
            Some(_) => format!("{}: {error}", found.origin),
            None => error,
        };
        self.secrets
            .shown(path, &found.key, Some(&found.value), error)
    }

    fn refuse(&mut self, place: Place, origin: &Origin, error: String, step: &mut Step) {
        let (layer, path) = &place;
        let scope = match layer {
            Layer::Global => "global",
            _ => &*self.service,
        };
        let revision = match origin {
            Origin::Global { revision }
            | Origin::Service { revision }
            | Origin::Canary { revision }
            | Origin::Cache { revision } => *revision,
            _ => Revision::ZERO,
        };
        let rejected = Rejected {
            key: format!("{scope}/{path}"),
            revision: revision.0,
            error,
        };
        step.refused.push(rejected.clone());
        self.rejected.insert(place, rejected);
    }
}

/// The layer of a value that came through etcd.
fn layer_of(origin: &Origin) -> Option<Layer> {
    match origin {
        Origin::Service { .. } => Some(Layer::Service),
        Origin::Global { .. } => Some(Layer::Global),
        Origin::Canary { .. } => Some(Layer::Canary),
        Origin::Cache { .. } => Some(Layer::Cache),
        Origin::Default | Origin::File(_) | Origin::Environment(_) => None,
    }
}

/// The layer of a local value that changed while the process runs.
fn local_layer_of(origin: &Origin) -> Option<Layer> {
    match origin {
        Origin::File(_) => Some(Layer::File),
        Origin::Environment(_) => Some(Layer::Environment),
        Origin::Default => Some(Layer::Default),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
