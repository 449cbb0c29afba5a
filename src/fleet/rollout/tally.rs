//! Who runs what, for many keys at once: what instances say is put in order once, and each key is
//! counted without asking them one by one. It agrees with [`super::rollout`].

use crate::config::Scope;
use crate::kv::Revision;
use crate::safe::escape;
use crate::service::{Format, Instance, InstanceId};
use crate::status::{Applied, StatusRecord};

/// What the instances of a scope say of its keys.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    total: usize,
    /// The revisions that instances run, in order: of those that refused and override nothing.
    runs: Vec<i64>,
    /// The others, asked key by key.
    special: Vec<(InstanceId, StatusRecord)>,
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
    /// Hears what instances say of the keys of a scope.
    #[must_use]
    pub fn of<'a>(
        scope: &Scope,
        instances: impl IntoIterator<Item = &'a Instance>,
        mut status: impl FnMut(&Instance) -> Option<&'a StatusRecord>,
    ) -> Self {
        let scope = scope.to_string();
        let mut tally = Self::default();
        for instance in instances {
            tally.total += 1;
            let Some(record) = status(instance).filter(|_| instance.format == Format::Native)
            else {
                continue;
            };
            if record.rejected.is_empty() && record.overridden.is_empty() {
                tally.runs.push(record.taken_of(&scope));
            } else {
                let special = (instance.record.id.clone(), record.clone());
                tally.special.push(special);
            }
        }
        tally.runs.sort_unstable();
        tally
    }

    /// How many run what this revision wrote to a key, named `order/timeout.write`; `None` where
    /// nobody says what it runs.
    #[must_use]
    pub fn count(&self, key: &str, revision: Revision) -> Option<Count> {
        if self.runs.is_empty() && self.special.is_empty() {
            return None;
        }
        let behind = self.runs.partition_point(|runs| *runs < revision.0);
        let mut count = Count {
            applied: self.runs.len() - behind,
            total: self.total,
            refused: None,
        };
        for (instance, record) in &self.special {
            match record.applied(key, revision.0) {
                Applied::Yes => count.applied += 1,
                Applied::Refused(why) => {
                    count
                        .refused
                        .get_or_insert_with(|| (instance.clone(), escape(&why.error).into_owned()));
                }
                Applied::NotYet | Applied::Overridden(_) => {}
            }
        }
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::collections::BTreeMap;

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
            let name = ConfigKey::parse(key).unwrap();
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
            let found = Tally::of(&name.scope, &instances, said).count(key, Revision(revision));
            let asked = [(name, Revision(revision))];
            let wanted = super::super::rollout(&asked, &instances, said);
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
