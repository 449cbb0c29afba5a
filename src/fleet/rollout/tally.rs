//! Who runs what, for many keys at once: what instances say is put in order once, and each key is
//! counted without asking them one by one. It agrees with [`super::rollout`].

use std::collections::BTreeMap;

use crate::kv::Revision;
use crate::safe::escape;
use crate::service::{Format, Instance, InstanceId};
use crate::status::StatusRecord;

/// What the instances of a scope say.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    total: usize,
    /// The revisions that instances run, in order.
    runs: Vec<i64>,
    /// The refusals of each key.
    refusals: BTreeMap<String, Vec<Refusal>>,
}

#[derive(Debug, Clone)]
struct Refusal {
    instance: InstanceId,
    of: i64,
    runs: i64,
    error: String,
}

/// How many run a key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// They run it.
    pub applied: usize,
    /// All that read it, also those that do not say.
    pub total: usize,
    /// One that refused it, and why.
    pub refused: Option<(InstanceId, String)>,
}

impl Tally {
    /// Hears what instances say.
    #[must_use]
    pub fn of<'a>(
        instances: impl IntoIterator<Item = &'a Instance>,
        mut status: impl FnMut(&Instance) -> Option<&'a StatusRecord>,
    ) -> Self {
        let mut tally = Self::default();
        for instance in instances {
            tally.total += 1;
            let Some(record) = status(instance).filter(|_| instance.format == Format::Native)
            else {
                continue;
            };
            tally.runs.push(record.revision);
            for rejected in &record.rejected {
                let refusals = tally.refusals.entry(rejected.key.clone()).or_default();
                refusals.push(Refusal {
                    instance: instance.record.id.clone(),
                    of: rejected.revision,
                    runs: record.revision,
                    error: escape(&rejected.error).into_owned(),
                });
            }
        }
        tally.runs.sort_unstable();
        tally
    }

    /// How many run what this revision wrote to a key, named `order/timeout.write`; `None` where
    /// nobody says what it runs.
    #[must_use]
    pub fn count(&self, key: &str, revision: Revision) -> Option<Count> {
        if self.runs.is_empty() {
            return None;
        }
        let behind = self.runs.partition_point(|runs| *runs < revision.0);
        let refusals = self.refusals.get(key).into_iter().flatten();
        let mut refusals: Vec<_> = refusals
            .filter(|refusal| refusal.of >= revision.0)
            .collect();
        refusals.dedup_by(|a, b| a.instance == b.instance);
        let refused = refusals.iter().filter(|refusal| refusal.runs >= revision.0);
        Some(Count {
            applied: (self.runs.len() - behind).saturating_sub(refused.count()),
            total: self.total,
            refused: refusals
                .first()
                .map(|refusal| (refusal.instance.clone(), refusal.error.clone())),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{instance, status};
    use super::*;
    use crate::config::ConfigKey;

    proptest! {
        #[test]
        fn a_tally_counts_as_a_rollout_does(
            fleet in prop::collection::btree_map("o-[a-h]", prop::option::of((805i64..815, prop::option::of(805i64..815))), 1..8),
            revision in 805i64..815,
        ) {
            let key = "order/timeout.write";
            let records: BTreeMap<_, _> = fleet
                .iter()
                .filter_map(|(id, said)| {
                    let (runs, refused) = (*said)?;
                    let refused: Vec<_> = refused.map(|of| (key, of)).into_iter().collect();
                    Some((id.as_str(), status(runs, &refused)))
                })
                .collect();
            let instances: Vec<_> = fleet.keys().map(|id| instance(id)).collect();
            let said = |instance: &Instance| records.get(instance.record.id.as_str());
            let found = Tally::of(&instances, said).count(key, Revision(revision));
            let keys = [ConfigKey::parse(key).unwrap()];
            let wanted = super::super::rollout(Revision(revision), &keys, &instances, said);
            match found {
                None => prop_assert_eq!(wanted.applied(), 0),
                Some(count) => {
                    prop_assert_eq!(count.applied, wanted.applied());
                    prop_assert_eq!(count.total, wanted.instances.len());
                    prop_assert_eq!(count.refused.is_some(), wanted.refused().next().is_some());
                }
            }
        }
    }
}
