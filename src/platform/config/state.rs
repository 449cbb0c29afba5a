//! The rules of live config, pure: a step of edits to one layer is taken in as a whole, except for
//! the keys whose values somebody cannot read. Those keep their last good value and are reported.
//! The invariant: whatever is published passed the check of everyone who uses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::Revision;
use fleet::config::secret::is_secret;
use fleet::config::value::ValueError;
use fleet::config::{Effective, Layer, Layers, Origin, Resolved};
use fleet::status::{Overridden, Rejected};
use serde_yaml::Value;

use super::live::Watcher;

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

/// A refused key: which layer, which path.
type Refused = (Layer, Arc<str>);

/// See the module.
#[derive(Default)]
pub(super) struct State {
    /// The accepted values.
    layers: Layers,
    effective: Effective,
    rejected: BTreeMap<Refused, Rejected>,
    watched: BTreeMap<Arc<str>, Vec<Watched>>,
    service: Arc<str>,
}

struct Watched {
    watcher: Box<dyn Watcher>,
    /// What was published last.
    last: Option<Value>,
}

/// What a step did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Keys refused by this step.
    pub(super) refused: Vec<Rejected>,
}

impl State {
    pub(super) fn new(service: &str) -> State {
        State {
            service: service.into(),
            ..State::default()
        }
    }

    /// The values in force.
    pub(super) fn effective(&self) -> &Effective {
        &self.effective
    }

    /// The accepted values of all layers.
    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// What is refused now.
    pub(super) fn rejected(&self) -> Vec<Rejected> {
        self.rejected.values().cloned().collect()
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

    /// Takes in edits of one layer as one step.
    pub(super) fn step(&mut self, layer: Layer, edits: Vec<(Arc<str>, Edit)>) -> Step {
        let mut undo: BTreeMap<Refused, Option<(Value, Origin)>> = BTreeMap::new();
        let mut touched: Vec<Arc<str>> = Vec::new();
        let mut step = Step::default();
        for (path, edit) in edits {
            let place = (layer, path.clone());
            self.rejected.remove(&place);
            match edit {
                Edit::Put(Ok(value), origin) => {
                    let before = self.accepted(layer, &path);
                    self.layers.put(layer, &path, value, origin);
                    undo.insert(place, before);
                    touched.push(path);
                }
                Edit::Put(Err(error), origin) => {
                    self.refuse(place, &origin, &error.to_string(), &mut step);
                }
                Edit::Remove => {
                    self.layers.remove(layer, &path);
                    if layer == Layer::Canary {
                        self.layers.unhide(&path);
                    }
                    touched.push(path);
                }
                Edit::Hide => {
                    self.layers.remove(layer, &path);
                    self.layers.hide(&path);
                    touched.push(path);
                }
            }
        }
        self.settle(&touched, &mut undo, &mut step);
        self.publish();
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
            match layer_of(&found.origin) {
                Some(layer) => {
                    self.layers.remove(layer, &found.key);
                    self.refuse((layer, found.key.clone()), &found.origin, &error, &mut step);
                    self.effective = self.layers.effective();
                }
                None => return Err((found.origin, error)),
            }
        }
        self.watched.entry(path.clone()).or_default().push(Watched {
            watcher,
            last: None,
        });
        self.publish();
        Ok(step)
    }

    /// Refuses what the watchers of touched paths cannot read, until the rest can stand.
    fn settle(
        &mut self,
        touched: &[Arc<str>],
        undo: &mut BTreeMap<Refused, Option<(Value, Origin)>>,
        step: &mut Step,
    ) {
        self.effective = self.layers.effective();
        while let Some((found, error)) = self.first_unreadable(touched) {
            // The key that gave the value is at fault; a part of a mapping may be any key of the
            // step below it, of which the newest is named.
            let Some(layer) = layer_of(&found.origin).or_else(|| local_layer_of(&found.origin))
            else {
                break;
            };
            let place = (layer, found.key.clone());
            match undo.remove(&place).flatten() {
                Some((value, origin)) => self.layers.put(layer, &found.key, value, origin),
                // Nothing good below in this layer, or the last good one is bad as well.
                None => self.layers.remove(layer, &found.key),
            }
            self.refuse(place, &found.origin, &error, step);
            self.effective = self.layers.effective();
        }
    }

    fn first_unreadable(&self, touched: &[Arc<str>]) -> Option<(Resolved, String)> {
        self.watched
            .iter()
            .filter(|(path, _)| touched.iter().any(|one| related(one, path)))
            .find_map(|(path, watched)| {
                let found = self.effective.get(path)?;
                let error = watched
                    .iter()
                    .find_map(|one| one.watcher.check(&found.value).err())?;
                Some((found, error))
            })
    }

    fn publish(&mut self) {
        for (path, watched) in &mut self.watched {
            watched.retain(|one| one.watcher.alive());
            let found = self.effective.get(path);
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
        self.watched.retain(|_, watched| !watched.is_empty());
    }

    fn accepted(&self, layer: Layer, path: &str) -> Option<(Value, Origin)> {
        self.layers
            .keys(layer)
            .find(|(at, _, _)| &***at == path)
            .map(|(_, value, origin)| (value.clone(), origin.clone()))
    }

    fn refuse(&mut self, place: Refused, origin: &Origin, error: &str, step: &mut Step) {
        let (layer, path) = &place;
        // The error quotes the value: never a secret's.
        let error = if is_secret(path) {
            "the value is refused (a secret: not shown)".into()
        } else {
            error.to_owned()
        };
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

/// Whether a change of one path can change what is read at the other.
fn related(one: &str, other: &str) -> bool {
    let within = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    within(one, other) || within(other, one)
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
