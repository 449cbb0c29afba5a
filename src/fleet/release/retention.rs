//! How much history is kept. Old records go in the transaction of a new change, so that nothing
//! else has to run for it and a service that never changes never loses its history.

use crate::kv::Entry;

/// How many records of a scope are kept where nobody says.
pub const DEFAULT: usize = 500;

/// The records that a new one pushes out, the oldest first. `records` are those of one scope; their
/// values do not matter and damaged ones count too. A `keep` of 0 keeps the new record alone.
#[must_use]
pub fn expired(mut records: Vec<Entry>, keep: usize) -> Vec<Entry> {
    records.sort_by(|a, b| {
        a.create_revision
            .cmp(&b.create_revision)
            .then_with(|| a.key.cmp(&b.key))
    });
    // One place is the new record's.
    let kept = keep.saturating_sub(1);
    let excess = records.len().saturating_sub(kept);
    records.truncate(excess);
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Revision;
    use proptest::prelude::*;

    fn records(revisions: &[i64]) -> Vec<Entry> {
        revisions
            .iter()
            .map(|revision| Entry {
                key: format!("/r/order/{revision}").into(),
                value: [].into(),
                create_revision: Revision(*revision),
                mod_revision: Revision(*revision),
                version: 1,
                lease: None,
            })
            .collect()
    }

    #[test]
    fn the_oldest_records_make_room_for_the_new_one() {
        for (there, keep, gone) in [
            (vec![5, 3, 9], 3, vec![3]),
            (vec![5, 3, 9], 4, vec![]),
            (vec![5, 3, 9], 1, vec![3, 5, 9]),
            (vec![5, 3, 9], 0, vec![3, 5, 9]),
            (vec![], 3, vec![]),
        ] {
            let found: Vec<_> = expired(records(&there), keep)
                .iter()
                .map(|entry| entry.create_revision.0)
                .collect();
            assert_eq!(found, gone, "{there:?} keep {keep}");
        }
    }

    proptest! {
        #[test]
        fn no_kept_record_is_older_than_one_that_goes(
            there in prop::collection::btree_set(1..1000i64, 0..30), keep in 0..20usize,
        ) {
            let there: Vec<_> = there.into_iter().collect();
            let gone: Vec<_> = expired(records(&there), keep).iter().map(|e| e.create_revision.0).collect();
            prop_assert!(there.len() - gone.len() < keep.max(1));
            prop_assert_eq!(&there[..gone.len()], &gone[..]);
        }
    }
}
