//! A service's config as layers: which value counts, and where it came from.
//!
//! Layers rank as [`Layer`] orders them. Where two keys of one layer meet (`a: {b: 1}` beside
//! `a.b`), the longer key wins, whatever the order in which they came; where two layers meet, the
//! higher one wins leaf by leaf, and a scalar above hides a mapping below.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use crate::kv::Revision;

pub mod apply;
pub mod canary;
pub mod conflict;
pub mod diff;
pub mod edit;
pub mod effect;
mod environment;
pub mod explain;
pub mod import;
mod key;
mod published;
mod refresh;
pub mod schema;
pub mod secret;
pub mod tree;
pub mod value;

pub use environment::{environment_path, environment_prefix};
pub use key::{ConfigKey, ConfigKeyError, Scope, check_path};
pub use published::Published;

/// Where values come from, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// What the program brings with it.
    Default,
    /// The local `config.yaml`.
    File,
    /// What etcd said when it was last heard; emptied when etcd is heard again.
    Cache,
    /// etcd, for all services.
    Global,
    /// etcd, for this service.
    Service,
    /// etcd, for this instance and a few others: a change being tried.
    Canary,
    /// An environment variable.
    Environment,
}

impl Layer {
    /// All, the lowest first.
    pub const ALL: [Self; 7] = [
        Self::Default,
        Self::File,
        Self::Cache,
        Self::Global,
        Self::Service,
        Self::Canary,
        Self::Environment,
    ];
}

/// Where one value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// What the program brings with it.
    Default,
    /// A local file.
    File(Arc<str>),
    /// The last-good cache, written at this revision.
    Cache {
        /// The revision of the cached value.
        revision: Revision,
    },
    /// etcd's `global` keys.
    Global {
        /// The revision that wrote it.
        revision: Revision,
    },
    /// etcd's keys of the service.
    Service {
        /// The revision that wrote it.
        revision: Revision,
    },
    /// A change being tried on chosen instances.
    Canary {
        /// The revision that began it.
        revision: Revision,
    },
    /// An environment variable of this name.
    Environment(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(path),
            Self::Cache { revision } => write!(f, "cache r{revision}"),
            Self::Global { revision } => write!(f, "global r{revision}"),
            Self::Service { revision } => write!(f, "service r{revision}"),
            Self::Canary { revision } => write!(f, "canary r{revision}"),
            Self::Environment(name) => write!(f, "${name}"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The value: a scalar, a list, or an empty mapping. Other mappings are taken apart.
    pub value: Value,
    /// The key that gave it: longer or shorter than its path where a mapping was taken apart.
    pub key: Arc<str>,
    /// Where it came from.
    pub origin: Origin,
}

/// Leaves by their dotted path. No path is the parent of another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effective {
    leaves: BTreeMap<Arc<str>, Resolved>,
}

/// All layers of one service's config.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    layers: [BTreeMap<Arc<str>, Source>; Layer::ALL.len()],
    /// Keys of the service that a canary takes away.
    hidden: BTreeSet<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Source {
    value: Value,
    origin: Origin,
}

impl Layers {
    /// Nothing in any layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts one key's value into a layer.
    pub fn put(&mut self, layer: Layer, path: &str, value: Value, origin: Origin) {
        self.layers[layer as usize].insert(path.into(), Source { value, origin });
    }

    /// Takes one key out of a layer.
    pub fn remove(&mut self, layer: Layer, path: &str) {
        self.layers[layer as usize].remove(path);
    }

    /// Empties a layer.
    pub fn clear(&mut self, layer: Layer) {
        self.layers[layer as usize].clear();
    }

    /// Leaves one key of [`Layer::Service`] out of [`Layers::effective`], as if it were not there:
    /// a canary tries how the service does without it.
    pub fn hide(&mut self, path: &str) {
        self.hidden.insert(path.into());
    }

    /// Takes back a [`Layers::hide`].
    pub fn unhide(&mut self, path: &str) {
        self.hidden.remove(path);
    }

    /// The keys that are left out.
    pub fn hidden(&self) -> impl Iterator<Item = &Arc<str>> {
        self.hidden.iter()
    }

    /// Replaces a layer by a document: each member of its top mapping becomes a key.
    pub fn set_document(&mut self, layer: Layer, document: Mapping, origin: &Origin) {
        self.clear(layer);
        for (name, value) in document {
            if let Value::String(name) = name {
                self.put(layer, &name, value, origin.clone());
            }
        }
    }

    /// The keys of a layer with their values as they were put.
    pub fn keys(&self, layer: Layer) -> impl Iterator<Item = (&Arc<str>, &Value, &Origin)> {
        self.layers[layer as usize]
            .iter()
            .map(|(path, source)| (path, &source.value, &source.origin))
    }

    /// One layer alone, as if the others were empty.
    #[must_use]
    pub fn alone(&self, layer: Layer) -> Effective {
        let mut effective = Effective::default();
        effective.lay_over(self.layers[layer as usize].iter(), None);
        effective
    }

    /// All layers, the higher over the lower.
    #[must_use]
    pub fn effective(&self) -> Effective {
        let mut effective = Effective::default();
        for layer in Layer::ALL {
            let sources = self.layers[layer as usize].iter();
            effective.lay_over(sources, self.hidden_in(layer));
        }
        effective
    }

    fn hidden_in(&self, layer: Layer) -> Option<&BTreeSet<Arc<str>>> {
        (layer == Layer::Service).then_some(&self.hidden)
    }

    /// What each layer says of a path, the highest first; the first one counts unless a layer
    /// above gives only a part of a mapping.
    #[must_use]
    pub fn explain(&self, path: &str) -> Vec<(Layer, Resolved)> {
        Layer::ALL
            .into_iter()
            .rev()
            .filter_map(|layer| Some((layer, self.alone(layer).get(path)?)))
            .collect()
    }
}

impl Effective {
    /// The value at a path: a leaf, or the mapping of all leaves below it. The origin of a mapping
    /// is that of its newest leaf.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Resolved> {
        if let Some(leaf) = self.leaves.get(path) {
            return Some(leaf.clone());
        }
        let mut whole = Mapping::new();
        let mut newest: Option<&Resolved> = None;
        for (at, leaf) in self.below(path) {
            insert(&mut whole, &at[path.len() + 1..], leaf.value.clone());
            if newest.is_none_or(|so_far| revision_of(&leaf.origin) >= revision_of(&so_far.origin))
            {
                newest = Some(leaf);
            }
        }
        newest.map(|leaf| Resolved {
            value: Value::Mapping(whole),
            key: leaf.key.clone(),
            origin: leaf.origin.clone(),
        })
    }

    /// Every leaf, in the order of the paths.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Resolved)> {
        self.leaves.iter()
    }

    /// The whole as one tree.
    #[must_use]
    pub fn to_mapping(&self) -> Mapping {
        let mut whole = Mapping::new();
        for (path, leaf) in &self.leaves {
            insert(&mut whole, path, leaf.value.clone());
        }
        whole
    }

    fn below(&self, path: &str) -> impl Iterator<Item = (&Arc<str>, &Resolved)> {
        let start = format!("{path}.");
        let range = (Bound::Included(start.as_str()), Bound::Unbounded);
        let found: Vec<_> = self
            .leaves
            .range::<str, _>(range)
            .take_while(|(at, _)| at.starts_with(&start))
            .collect();
        found.into_iter()
    }

    /// Lays the keys of one layer over what is there, the shorter keys first.
    fn lay_over<'a>(
        &mut self,
        sources: impl Iterator<Item = (&'a Arc<str>, &'a Source)>,
        hidden: Option<&BTreeSet<Arc<str>>>,
    ) {
        let mut by_length: Vec<_> = sources
            .filter(|(path, _)| hidden.is_none_or(|hidden| !hidden.contains(*path)))
            .collect();
        by_length.sort_by_key(|(path, _)| path.split('.').count());
        for (path, source) in by_length {
            let mut leaves = Vec::new();
            flatten(path, &source.value, &mut leaves);
            for (at, value) in leaves {
                self.insert(
                    at.into(),
                    Resolved {
                        value,
                        key: path.clone(),
                        origin: source.origin.clone(),
                    },
                );
            }
        }
    }

    fn insert(&mut self, path: Arc<str>, leaf: Resolved) {
        // A leaf hides what stands above and below it.
        for (end, _) in path.match_indices('.') {
            self.leaves.remove(&path[..end]);
        }
        let hidden: Vec<_> = self.below(&path).map(|(at, _)| at.clone()).collect();
        for at in hidden {
            self.leaves.remove(&at);
        }
        self.leaves.insert(path, leaf);
    }
}

fn revision_of(origin: &Origin) -> Revision {
    match origin {
        Origin::Cache { revision }
        | Origin::Global { revision }
        | Origin::Service { revision }
        | Origin::Canary { revision } => *revision,
        Origin::Default | Origin::File(_) | Origin::Environment(_) => Revision::ZERO,
    }
}

/// Takes a mapping apart into leaves. A mapping with a key that is no text is a leaf: no path
/// could name its members.
pub(crate) fn flatten(path: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Mapping(members)
            if !members.is_empty()
                && members
                    .keys()
                    .all(|key| key.as_str().is_some_and(|k| !k.is_empty())) =>
        {
            for (key, member) in members {
                if let Some(key) = key.as_str() {
                    flatten(&format!("{path}.{key}"), member, leaves);
                }
            }
        }
        leaf => leaves.push((path.into(), leaf.clone())),
    }
}

fn insert(whole: &mut Mapping, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            whole.insert(path.into(), value);
        }
        Some((first, rest)) => {
            let member = whole
                .entry(first.into())
                .or_insert_with(|| Value::Mapping(Mapping::new()));
            if let Value::Mapping(member) = member {
                insert(member, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn yaml(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    fn layers(puts: &[(Layer, &str, &str)]) -> Layers {
        let mut layers = Layers::new();
        for (layer, path, value) in puts {
            layers.put(*layer, path, yaml(value), Origin::Default);
        }
        layers
    }

    #[test]
    fn the_higher_layer_wins_leaf_by_leaf() {
        use Layer::{Default, Environment, File, Global, Service};
        for (puts, path, wanted) in [
            (
                vec![(Default, "a", "1"), (Global, "a", "2")],
                "a",
                Some("2"),
            ),
            (
                vec![(Service, "a", "3"), (Global, "a", "2")],
                "a",
                Some("3"),
            ),
            (
                vec![(Service, "a", "3"), (Environment, "a", "4")],
                "a",
                Some("4"),
            ),
            (
                vec![(File, "r", "{n: 1, b: 2}"), (Service, "r.n", "5")],
                "r",
                Some("{b: 2, n: 5}"),
            ),
            (
                vec![(File, "r", "{n: 1, b: 2}"), (Service, "r", "{n: 5}")],
                "r.b",
                Some("2"),
            ),
            (
                vec![(File, "r", "{n: 1}"), (Service, "r", "off")],
                "r",
                Some("off"),
            ),
            (
                vec![(File, "r", "{n: 1}"), (Service, "r", "off")],
                "r.n",
                None,
            ),
            (
                vec![(File, "r", "off"), (Service, "r.n", "1")],
                "r",
                Some("{n: 1}"),
            ),
            (
                vec![(File, "l", "[1, 2]"), (Service, "l", "[3]")],
                "l",
                Some("[3]"),
            ),
            (vec![(File, "a.b", "1")], "a.bc", None),
            (
                vec![(File, "a-b", "1"), (File, "a.b", "2")],
                "a",
                Some("{b: 2}"),
            ),
        ] {
            let found = layers(&puts).effective().get(path).map(|found| found.value);
            assert_eq!(found, wanted.map(yaml), "{puts:?} {path}");
        }
    }

    #[test]
    fn in_one_layer_the_longer_key_wins() {
        let meeting = [
            (Layer::Service, "a.b", "2"),
            (Layer::Service, "a", "{b: 1, c: 3}"),
        ];
        assert_eq!(
            layers(&meeting).effective().get("a").unwrap().value,
            yaml("{b: 2, c: 3}")
        );
    }

    #[test]
    fn a_deleted_key_falls_back_to_the_layer_below() {
        let mut layers = layers(&[(Layer::File, "a", "1"), (Layer::Service, "a", "2")]);
        layers.remove(Layer::Service, "a");
        assert_eq!(layers.effective().get("a").unwrap().value, yaml("1"));
    }

    #[test]
    fn explain_names_every_layer_the_highest_first() {
        let layers = layers(&[(Layer::File, "a", "1"), (Layer::Service, "a", "2")]);
        let said: Vec<_> = layers
            .explain("a")
            .into_iter()
            .map(|(layer, found)| (layer, found.value))
            .collect();
        assert_eq!(
            said,
            [(Layer::Service, yaml("2")), (Layer::File, yaml("1"))]
        );
    }

    proptest! {
        #[test]
        fn no_leaf_is_the_parent_of_another_and_order_does_not_matter(
            puts in prop::collection::btree_map(("[ab](\\.[ab]){0,2}", 0..7usize), prop_oneof![Just("1"), Just("{a: 2}"), Just("{a: {b: 3}}")], 0..8),
        ) {
            let put = |order: &mut dyn Iterator<Item = (&(String, usize), &&str)>| {
                let mut layers = Layers::new();
                for ((path, layer), value) in order {
                    layers.put(Layer::ALL[*layer], path, yaml(value), Origin::Default);
                }
                layers.effective()
            };
            let effective = put(&mut puts.iter());
            prop_assert_eq!(&effective, &put(&mut puts.iter().rev()));
            let paths: Vec<_> = effective.leaves().map(|(path, _)| path.clone()).collect();
            for path in &paths {
                let child = format!("{path}.");
                prop_assert!(!paths.iter().any(|other| other.starts_with(&child)));
            }
        }
    }
}
