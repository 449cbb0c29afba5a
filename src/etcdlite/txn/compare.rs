//! The comparisons of a txn.
//! Invariant: a value compare on a missing key is false; any other target of a missing key is zero;
//! over a range, every key must satisfy it.

use std::cmp::Ordering;

use etcd_client::proto::{PbCompare, PbCompareTarget, PbTargetUnion};

use crate::store::{KeyRange, Record, Store};

/// Whether the comparison holds at the present revision.
pub(super) fn holds(store: &Store, compare: &PbCompare) -> bool {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let mut records = store.range(&range, store.current()).peekable();
    if records.peek().is_none() {
        return target(compare) != Some(PbCompareTarget::Value) && satisfied(compare, None);
    }
    records.all(|record| satisfied(compare, Some(record)))
}

fn target(compare: &PbCompare) -> Option<PbCompareTarget> {
    PbCompareTarget::try_from(compare.target).ok()
}

fn satisfied(compare: &PbCompare, record: Option<&Record>) -> bool {
    let wanted = compare.target_union.as_ref();
    // What is compared is the target's; a union of another kind counts as empty.
    let number = |held: fn(&Record) -> i64, wanted: Option<i64>| {
        record.map_or(0, held).cmp(&wanted.unwrap_or(0))
    };
    let ordering = match target(compare) {
        Some(PbCompareTarget::Version) => number(
            |r| r.version,
            match wanted {
                Some(PbTargetUnion::Version(version)) => Some(*version),
                _ => None,
            },
        ),
        Some(PbCompareTarget::Create) => number(
            |r| r.created,
            match wanted {
                Some(PbTargetUnion::CreateRevision(revision)) => Some(*revision),
                _ => None,
            },
        ),
        Some(PbCompareTarget::Mod) => number(
            |r| r.main,
            match wanted {
                Some(PbTargetUnion::ModRevision(revision)) => Some(*revision),
                _ => None,
            },
        ),
        Some(PbCompareTarget::Lease) => number(
            |r| r.lease,
            match wanted {
                Some(PbTargetUnion::Lease(lease)) => Some(*lease),
                _ => None,
            },
        ),
        Some(PbCompareTarget::Value) => {
            let wanted: &[u8] = match wanted {
                Some(PbTargetUnion::Value(value)) => value,
                _ => &[],
            };
            record.map_or(&[][..], |record| &record.value).cmp(wanted)
        }
        // etcd compares an unknown target as equal.
        None => Ordering::Equal,
    };
    match compare.result {
        0 => ordering == Ordering::Equal,
        1 => ordering == Ordering::Greater,
        2 => ordering == Ordering::Less,
        3 => ordering != Ordering::Equal,
        // And an unknown relation as true.
        _ => true,
    }
}
