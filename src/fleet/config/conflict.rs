//! Two people changed one key: what was there, what the other one wrote, what I wanted, and the
//! plan that follows from a choice.
//!
//! Nothing is merged by itself: a choice is made per key, and the plan that carries it is guarded
//! by what was seen of the other's change, so that a third change conflicts again.

use std::sync::Arc;

use serde_yaml::Value;

use super::value;
use crate::kv::{Entry, Key};
use crate::plan::{Conflict, Edit, Plan, PlanError, Seen, Write};

/// One key in its three versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreeWay {
    /// The key.
    pub key: Key,
    /// What both started from; `None` where there was no such key.
    pub base: Option<Arc<[u8]>>,
    /// What stands there now.
    pub theirs: Option<Entry>,
    /// What was to be written; `None` where the key was to go.
    pub mine: Option<Arc<[u8]>>,
}

/// How two changes of one key relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Both came to the same value: nothing is left to write.
    Agree,
    /// The other's change was taken back meanwhile: the value is the base again.
    Restored,
    /// Both are mappings, and no member was changed by both: they can be merged.
    Mergeable,
    /// One of them has to give way.
    Disagree,
}

/// What becomes of a key in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// What stands there stays.
    Theirs,
    /// What was wanted is written on top.
    Mine,
    /// Something else is written.
    Value(Arc<[u8]>),
}

/// The three versions of every key of a plan that stood in its way.
#[must_use]
pub fn three_ways(plan: &Plan, conflicts: &[Conflict]) -> Vec<ThreeWay> {
    conflicts
        .iter()
        .filter_map(|conflict| {
            let edit = plan.edits().iter().find(|edit| edit.key == conflict.key)?;
            Some(ThreeWay {
                key: conflict.key.clone(),
                base: value_of(&edit.seen),
                theirs: conflict.current.clone(),
                mine: written(&edit.write).cloned(),
            })
        })
        .collect()
}

/// The plan again, on the new state: keys without a conflict as they were, the others as chosen.
///
/// # Errors
/// [`PlanError`] when a chosen value makes the plan too large.
pub fn replan(
    plan: &Plan,
    conflicts: &[Conflict],
    mut choose: impl FnMut(&ThreeWay) -> Take,
) -> Result<Plan, PlanError> {
    let ways = three_ways(plan, conflicts);
    let edits =
        plan.edits()
            .iter()
            .filter_map(|edit| match ways.iter().find(|way| way.key == edit.key) {
                None => Some(edit.clone()),
                Some(way) => way.edit(choose(way)),
            });
    Plan::new(edits.collect::<Vec<_>>())
}

impl ThreeWay {
    /// How the two changes relate.
    #[must_use]
    pub fn relation(&self) -> Relation {
        let theirs = self.theirs.as_ref().map(|entry| &*entry.value);
        if means_the_same(theirs, self.mine.as_deref()) {
            Relation::Agree
        } else if theirs == self.base.as_deref() {
            Relation::Restored
        } else if self.merged().is_some() {
            Relation::Mergeable
        } else {
            Relation::Disagree
        }
    }

    /// Both changes in one value, where both are mappings and no member was changed by both.
    /// Comments are not kept: there is no text that both wrote.
    #[must_use]
    pub fn merged(&self) -> Option<Arc<[u8]>> {
        let base = value::parse(self.base.as_deref()?).ok()?;
        let theirs = value::parse(&self.theirs.as_ref()?.value).ok()?;
        let mine = value::parse(self.mine.as_deref()?).ok()?;
        if !(base.is_mapping() && theirs.is_mapping() && mine.is_mapping()) {
            return None;
        }
        let merged = merge(Some(&base), Some(&theirs), Some(&mine))??;
        Some(serde_yaml::to_string(&merged).ok()?.into_bytes().into())
    }

    /// The edit that follows from a choice, guarded by what stands there now; `None` where nothing
    /// is to be written.
    #[must_use]
    pub fn edit(&self, take: Take) -> Option<Edit> {
        let value = match take {
            Take::Theirs => return None,
            Take::Mine => self.mine.clone(),
            Take::Value(value) => Some(value),
        };
        let seen = Seen::from(self.theirs.clone());
        let edit = match value {
            Some(value) => Edit::put(self.key.clone(), seen, value),
            None => Edit {
                key: self.key.clone(),
                seen,
                write: Write::Delete,
            },
        };
        Some(edit)
    }
}

fn value_of(seen: &Seen) -> Option<Arc<[u8]>> {
    match seen {
        Seen::Absent => None,
        Seen::At(entry) => Some(entry.value.clone()),
    }
}

/// Whether a service would notice a difference between two values.
pub(crate) fn means_the_same(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            one == other
                || matches!((value::parse(one), value::parse(other)), (Ok(a), Ok(b)) if a == b)
        }
        _ => false,
    }
}

/// The value a write leaves behind.
#[must_use]
pub fn written(write: &Write) -> Option<&Arc<[u8]>> {
    match write {
        Write::Put { value, .. } => Some(value),
        Write::Delete => None,
    }
}

/// The member that follows from both changes: `None` when they collide, `Some(None)` when it goes.
#[allow(
    clippy::option_option,
    reason = "collision and removal are two answers"
)]
fn merge(
    base: Option<&Value>,
    theirs: Option<&Value>,
    mine: Option<&Value>,
) -> Option<Option<Value>> {
    if mine == base || mine == theirs {
        return Some(theirs.cloned());
    }
    if theirs == base {
        return Some(mine.cloned());
    }
    let (Some(Value::Mapping(theirs)), Some(Value::Mapping(mine))) = (theirs, mine) else {
        return None;
    };
    let empty = serde_yaml::Mapping::new();
    let base = base.and_then(Value::as_mapping).unwrap_or(&empty);
    let mut merged = serde_yaml::Mapping::new();
    let added = mine.keys().filter(|key| !theirs.contains_key(*key));
    for key in theirs.keys().chain(added) {
        if let Some(member) = merge(base.get(key), theirs.get(key), mine.get(key))? {
            merged.insert(key.clone(), member);
        }
    }
    Some(Some(Value::Mapping(merged)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{LeaseId, Revision};
    use crate::plan::LeaseRule;
    use proptest::prelude::*;

    fn entry(value: &str, revision: i64) -> Entry {
        Entry {
            key: "/config/order/a".into(),
            value: value.as_bytes().into(),
            create_revision: Revision(1),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn way(base: Option<&str>, theirs: Option<&str>, mine: Option<&str>) -> ThreeWay {
        ThreeWay {
            key: "/config/order/a".into(),
            base: base.map(|text| text.as_bytes().into()),
            theirs: theirs.map(|text| entry(text, 9)),
            mine: mine.map(|text| text.as_bytes().into()),
        }
    }

    #[test]
    fn two_changes_agree_merge_or_disagree() {
        for (base, theirs, mine, wanted) in [
            (Some("1"), Some("2"), Some("2"), Relation::Agree),
            (Some("1"), Some("5s"), Some("\"5s\""), Relation::Agree),
            (Some("1"), None, None, Relation::Agree),
            (Some("1"), Some("1"), Some("2"), Relation::Restored),
            (Some("1"), Some("3"), Some("2"), Relation::Disagree),
            (Some("1"), None, Some("2"), Relation::Disagree),
            (None, Some("1"), Some("2"), Relation::Disagree),
            (Some("1"), Some("2"), None, Relation::Disagree),
            (
                Some("{a: 1, b: 1}"),
                Some("{a: 2, b: 1}"),
                Some("{a: 1, b: 2}"),
                Relation::Mergeable,
            ),
            (
                Some("{a: 1, b: 1}"),
                Some("{a: 2, b: 1}"),
                Some("{a: 3, b: 1}"),
                Relation::Disagree,
            ),
            (
                Some("{a: 1, b: 1}"),
                Some("{a: 1}"),
                Some("{a: 1, b: 2}"),
                Relation::Disagree,
            ),
        ] {
            assert_eq!(
                way(base, theirs, mine).relation(),
                wanted,
                "{base:?} {theirs:?} {mine:?}"
            );
        }
    }

    #[test]
    fn a_choice_is_written_on_top_of_what_the_other_wrote() {
        let mine = Edit::put("/config/order/a".into(), Seen::At(entry("1", 4)), *b"2");
        let other = Edit::put("/config/order/b".into(), Seen::Absent, *b"7");
        let plan = Plan::new([mine, other.clone()]).unwrap();
        let conflicts = [Conflict {
            key: "/config/order/a".into(),
            seen: Seen::At(entry("1", 4)),
            current: Some(entry("3", 9)),
        }];
        let taken = |take: Take| replan(&plan, &conflicts, |_| take.clone()).unwrap();
        assert_eq!(taken(Take::Theirs).edits(), [other]);
        let on_top = taken(Take::Mine);
        assert_eq!(on_top.edits().len(), 2);
        assert_eq!(on_top.edits()[0].seen.revision(), Revision(9));
        let merged = taken(Take::Value((*b"5").into()));
        assert!(matches!(&merged.edits()[0].write, Write::Put { value, .. } if **value == *b"5"));
    }

    #[test]
    fn the_lease_of_a_key_survives_its_conflict() {
        let mut leased = entry("3", 9);
        leased.lease = LeaseId::new(7);
        let mut way = way(Some("1"), None, Some("2"));
        way.theirs = Some(leased);
        let edit = way.edit(Take::Mine).unwrap();
        assert!(matches!(
            edit.write,
            Write::Put {
                lease: LeaseRule::Keep,
                ..
            }
        ));
    }

    proptest! {
        #[test]
        fn a_merge_holds_both_changes(
            base in prop::collection::btree_map("[a-d]", 0..3i64, 1..4),
            theirs in prop::collection::btree_map("[a-d]", 3..6i64, 0..3),
            mine in prop::collection::btree_map("[e-h]", 3..6i64, 1..3),
        ) {
            let text = |members: &std::collections::BTreeMap<String, i64>| serde_yaml::to_string(members).unwrap();
            let over = |changes: &std::collections::BTreeMap<String, i64>| {
                let mut all = base.clone();
                all.extend(changes.clone());
                all
            };
            let both = { let mut all = over(&theirs); all.extend(mine.clone()); all };
            let (b, t, m) = (text(&base), text(&over(&theirs)), text(&over(&mine)));
            let merged = way(Some(&b), Some(&t), Some(&m)).merged().unwrap();
            prop_assert_eq!(value::parse(&merged).unwrap(), value::parse(text(&both).as_bytes()).unwrap());
        }
    }
}
