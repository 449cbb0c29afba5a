//! Who runs what, for many keys at once: instances that say the same are counted together, so that a
//! key is not asked of each of them. It agrees with [`super::rollout`].

use std::collections::HashMap;

use super::{Answer, answer};
use crate::kv::Revision;
use crate::service::{Format, Instance, InstanceId};
use crate::status::StatusRecord;

/// What the instances of a scope say.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    total: usize,
    groups: Vec<Group>,
}

/// Instances that say the same of their config.
#[derive(Debug, Clone)]
struct Group {
    said: StatusRecord,
    first: InstanceId,
    count: usize,
}

/// How many run a key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// They run it.
    pub applied: usize,
    /// All that read it, also those that do not say.
    pub total: usize,
    /// One that does not run it by its own word, refusals first, and what it says.
    pub otherwise: Option<(InstanceId, Answer)>,
}

impl Tally {
    /// Hears what instances say.
    #[must_use]
    pub fn of<'a>(
        instances: impl IntoIterator<Item = &'a Instance>,
        mut status: impl FnMut(&Instance) -> Option<&'a StatusRecord>,
    ) -> Self {
        let mut tally = Self::default();
        // What differs in numbers is told apart without looking further.
        let mut places: HashMap<_, Vec<usize>> = HashMap::new();
        for instance in instances {
            tally.total += 1;
            let said = status(instance).filter(|_| instance.format == Format::Native);
            let Some(said) = said else { continue };
            let taken = (said.taken_of("global"), said.taken_of(""), said.canary);
            let places = places.entry((said.revision, taken)).or_default();
            let same = |at: &&usize| says_the_same(&tally.groups[**at].said, said);
            match places.iter().find(same).copied() {
                Some(at) => tally.groups[at].count += 1,
                None => {
                    places.push(tally.groups.len());
                    tally.groups.push(Group {
                        said: said.clone(),
                        first: instance.record.id.clone(),
                        count: 1,
                    });
                }
            }
        }
        tally
    }

    /// How many run what this revision made of a key, named `order/timeout.write`; `None` where
    /// nobody says what it runs.
    #[must_use]
    pub fn count(&self, key: &str, revision: Revision) -> Option<Count> {
        if self.groups.is_empty() {
            return None;
        }
        let mut count = Count {
            applied: 0,
            total: self.total,
            otherwise: None,
        };
        for group in &self.groups {
            let answer = answer(&group.said, std::iter::once((key, revision.0)));
            if answer == Answer::Applied {
                count.applied += group.count;
                continue;
            }
            let known = count.otherwise.as_ref();
            if known.is_none_or(|(_, known)| weight(&answer) > weight(known)) {
                count.otherwise = Some((group.first.clone(), answer));
            }
        }
        Some(count)
    }
}

fn says_the_same(one: &StatusRecord, other: &StatusRecord) -> bool {
    (&one.rejected, &one.overridden, &one.liveness)
        == (&other.rejected, &other.overridden, &other.liveness)
        && one.watch.stale == other.watch.stale
}

fn weight(answer: &Answer) -> u8 {
    match answer {
        Answer::Applied => 0,
        Answer::Silent => 1,
        Answer::Waiting { .. } => 2,
        Answer::Overridden { .. } => 3,
        Answer::Refused { .. } => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::tests::{instance, status};
    use super::*;
    use crate::config::ConfigKey;
    use crate::status::Overridden;

    proptest! {
        #[test]
        fn a_tally_counts_as_a_rollout_does(
            fleet in prop::collection::btree_map(
                "o-[a-h]",
                prop::option::of((810i64..814, prop::option::of(810i64..814), any::<bool>())),
                1..8,
            ),
            revision in 810i64..814,
        ) {
            let key = "order/timeout.write";
            let records: BTreeMap<_, _> = fleet
                .iter()
                .filter_map(|(id, said)| {
                    let (runs, refused, own) = (*said)?;
                    let refused: Vec<_> = refused.map(|of| (key, of)).into_iter().collect();
                    let mut said = status(runs, &refused);
                    said.overridden = own.then(|| Overridden { path: "timeout".into(), variable: None }).into_iter().collect();
                    Some((id.as_str(), said))
                })
                .collect();
            let instances: Vec<_> = fleet.keys().map(|id| instance(id)).collect();
            let said = |instance: &Instance| records.get(instance.record.id.as_str());
            let found = Tally::of(&instances, said).count(key, Revision(revision));
            let changes = [(ConfigKey::parse(key).unwrap(), Revision(revision))];
            let wanted = super::super::rollout(&changes, &instances, said);
            match found {
                None => prop_assert!(records.is_empty()),
                Some(count) => {
                    prop_assert_eq!(count.applied, wanted.applied());
                    prop_assert_eq!(count.total, wanted.instances.len());
                    let refused = matches!(count.otherwise, Some((_, Answer::Refused { .. })));
                    prop_assert_eq!(refused, wanted.refused().next().is_some());
                }
            }
        }
    }
}
