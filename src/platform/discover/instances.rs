//! The instances of one service in the order of their keys. What a change does not touch is shared
//! from one list to the next: of a hundred thousand instances, one that comes or goes costs a few
//! microseconds and no copy of the others.

use std::sync::Arc;

use fleet::{Instance, Key};

/// So many stand together in one piece at most; half as many after a piece was split.
const PIECE: usize = 256;

/// See the module. Cheap to clone; a clone stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Instances {
    /// None is empty; in order, as are those within.
    pieces: Vec<Arc<Vec<Arc<Instance>>>>,
    len: usize,
}

impl Instances {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Instance>> + Clone {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// The one under a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Instance>> {
        let (piece, place) = self.find(key);
        self.pieces.get(piece)?.get(place.ok()?)
    }

    /// Puts one, in place of the one under its key.
    pub(super) fn put(&mut self, instance: Arc<Instance>) {
        let (at, place) = self.find(&instance.key);
        let Some(piece) = self.pieces.get_mut(at) else {
            self.pieces.push(Arc::new(vec![instance]));
            self.len += 1;
            return;
        };
        let piece = Arc::make_mut(piece);
        match place {
            Ok(place) => piece[place] = instance,
            Err(place) => {
                piece.insert(place, instance);
                self.len += 1;
            }
        }
        if piece.len() > PIECE {
            let rest = piece.split_off(PIECE / 2);
            self.pieces.insert(at + 1, Arc::new(rest));
        }
    }

    /// Takes the one under a key out.
    pub(super) fn remove(&mut self, key: &Key) {
        let (at, Ok(place)) = self.find(key) else {
            return;
        };
        let piece = Arc::make_mut(&mut self.pieces[at]);
        piece.remove(place);
        self.len -= 1;
        if piece.is_empty() {
            self.pieces.remove(at);
        }
    }

    /// The piece that a key stands in, or would, and its place there.
    fn find(&self, key: &Key) -> (usize, Result<usize, usize>) {
        let before =
            |piece: &Arc<Vec<Arc<Instance>>>| piece.last().is_some_and(|last| last.key < *key);
        // What comes after all others belongs to the last piece.
        let last = self.pieces.len().saturating_sub(1);
        let at = self.pieces.partition_point(before).min(last);
        let place = self.pieces.get(at).map_or(Err(0), |piece| {
            piece.binary_search_by(|one| one.key.cmp(key))
        });
        (at, place)
    }
}

impl FromIterator<Arc<Instance>> for Instances {
    fn from_iter<I: IntoIterator<Item = Arc<Instance>>>(instances: I) -> Instances {
        let mut all: Vec<Arc<Instance>> = instances.into_iter().collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.dedup_by(|later, kept| later.key == kept.key);
        let len = all.len();
        let mut rest = all.into_iter();
        let piece = || Some(rest.by_ref().take(PIECE / 2).collect::<Vec<_>>());
        let pieces = std::iter::from_fn(piece).take(len.div_ceil(PIECE / 2));
        Instances {
            len,
            pieces: pieces.map(Arc::new).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet::{Format, InstanceId, InstanceRecord, Revision, ServiceName};
    use proptest::prelude::*;

    use super::*;

    fn instance(number: u16, revision: i64) -> Arc<Instance> {
        let id = InstanceId::new(format!("o-{number}")).unwrap();
        Arc::new(Instance {
            record: InstanceRecord::new(ServiceName::new("order").unwrap(), id),
            key: format!("/services/order/o-{number}").into(),
            lease: None,
            mod_revision: Revision(revision),
            create_revision: Revision(1),
            format: Format::Native,
        })
    }

    fn shape<'a>(all: impl Iterator<Item = &'a Arc<Instance>>) -> Vec<(Key, i64)> {
        all.map(|one| (one.key.clone(), one.mod_revision.0))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_sorted_map_and_earlier_lists_stay_as_they_were(
            acts in prop::collection::vec((0..900u16, any::<bool>()), 1..1_500),
        ) {
            let mut model: BTreeMap<Key, Arc<Instance>> = BTreeMap::new();
            let mut list = Instances::default();
            let mut earlier = (list.clone(), Vec::new());
            for (step, (number, put)) in acts.iter().enumerate() {
                let one = instance(*number, step as i64);
                if *put {
                    model.insert(one.key.clone(), one.clone());
                    list.put(one.clone());
                } else {
                    model.remove(&one.key);
                    list.remove(&one.key);
                }
                prop_assert_eq!(list.get(&one.key), model.get(&one.key));
                prop_assert_eq!(list.len(), model.len());
                if step % 100 == 0 {
                    prop_assert_eq!(&shape(earlier.0.iter()), &earlier.1);
                    earlier = (list.clone(), shape(list.iter()));
                }
            }
            prop_assert_eq!(shape(list.iter()), shape(model.values()));
            let anew: Instances = model.values().rev().cloned().collect();
            prop_assert_eq!(shape(anew.iter()), shape(list.iter()));
        }
    }
}
