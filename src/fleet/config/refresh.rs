//! Keeps an [`Effective`] in step with its layers at the price of what changed, not of what there
//! is: a service with ten thousand keys takes one change in as fast as one with ten.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde_yaml::Value;

use super::{Effective, Layer, Layers, Origin, Source};

impl Layers {
    /// What a layer holds under exactly this key.
    #[must_use]
    pub fn value(&self, layer: Layer, path: &str) -> Option<(&Value, &Origin)> {
        let source = self.layers[layer as usize].get(path)?;
        Some((&source.value, &source.origin))
    }

    /// Brings `effective`, which was that of these layers, up to date after one key was put,
    /// removed, hidden or shown in any of them.
    pub fn refresh(&self, effective: &mut Effective, path: &str) {
        // Keys that meet stand one below the other. Above the topmost of them nothing can hide,
        // or be hidden by, anything below it.
        let ancestors = path.match_indices('.').map(|(end, _)| &path[..end]);
        let is_key = |path: &&str| self.layers.iter().any(|layer| layer.contains_key(*path));
        let root = ancestors.into_iter().find(is_key).unwrap_or(path);
        let gone: Vec<_> = effective.below(root).map(|(at, _)| at.clone()).collect();
        effective.leaves.remove(root);
        for at in gone {
            effective.leaves.remove(&at);
        }
        for layer in Layer::ALL {
            let sources = within(&self.layers[layer as usize], root);
            effective.lay_over(sources, self.hidden_in(layer));
        }
    }
}

/// The keys at and below a path.
fn within<'a>(
    sources: &'a BTreeMap<Arc<str>, Source>,
    root: &str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Source)> {
    let start = format!("{root}.");
    let below = sources.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
    let below: Vec<_> = below.take_while(|(at, _)| at.starts_with(&start)).collect();
    sources.get_key_value(root).into_iter().chain(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Act {
        Put(Layer, String, &'static str),
        Remove(Layer, String),
        Hide(String),
        Unhide(String),
    }

    fn act() -> impl Strategy<Value = Act> {
        // Few names, so that keys meet: above, below and beside each other.
        let path = || "[ab](\\.[ab]|-x){0,3}";
        let layer = || prop::sample::select(Layer::ALL.to_vec());
        let value = prop::sample::select(vec!["1", "2", "[1]", "{}", "{a: 1}", "{a: {b: 2}}"]);
        prop_oneof![
            4 => (layer(), path(), value).prop_map(|(layer, path, value)| Act::Put(layer, path, value)),
            2 => (layer(), path()).prop_map(|(layer, path)| Act::Remove(layer, path)),
            1 => path().prop_map(Act::Hide),
            1 => path().prop_map(Act::Unhide),
        ]
    }

    proptest! {
        #[test]
        fn what_is_refreshed_equals_what_is_folded_anew(acts in prop::collection::vec(act(), 1..40)) {
            let mut layers = Layers::new();
            let mut effective = Effective::default();
            for act in acts {
                let path = match act {
                    Act::Put(layer, path, value) => {
                        layers.put(layer, &path, serde_yaml::from_str(value).unwrap(), Origin::Default);
                        path
                    }
                    Act::Remove(layer, path) => {
                        layers.remove(layer, &path);
                        path
                    }
                    Act::Hide(path) => {
                        layers.hide(&path);
                        path
                    }
                    Act::Unhide(path) => {
                        layers.unhide(&path);
                        path
                    }
                };
                layers.refresh(&mut effective, &path);
                prop_assert_eq!(&effective, &layers.effective(), "after {}", path);
            }
        }
    }
}
