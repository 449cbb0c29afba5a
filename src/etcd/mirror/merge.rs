//! Several watches become one sequence of whole revisions.
//!
//! Pure. What one watch says of a revision waits until every other one is known to have said what
//! it has to say up to there: by a later event of its own, or because etcd was asked. A single
//! watch never waits.

use std::collections::BTreeMap;

use fleet::{Change, Revision};

use super::batch::Batch;

/// What a revision did to each watch's prefix.
pub(super) type Parts = Vec<(usize, Vec<Change>)>;

/// See the module.
#[derive(Debug)]
pub(super) struct Merge {
    /// Up to where each watch is known to have given everything.
    through: Vec<Revision>,
    waiting: BTreeMap<Revision, Parts>,
    bytes: usize,
}

impl Merge {
    /// Watches that begin behind these revisions.
    pub(super) fn new(positions: impl IntoIterator<Item = Revision>) -> Self {
        Self {
            through: positions.into_iter().collect(),
            waiting: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes what a watch says of one revision, all of it.
    pub(super) fn push(&mut self, watch: usize, (revision, changes): Batch) {
        self.settle(watch, revision);
        self.bytes += changes.iter().map(weight).sum::<usize>();
        let parts = self.waiting.entry(revision).or_default();
        parts.push((watch, changes));
    }

    /// Notes that a watch has nothing more to say up to this revision.
    pub(super) fn settle(&mut self, watch: usize, revision: Revision) {
        if let Some(through) = self.through.get_mut(watch) {
            *through = revision.max(*through);
        }
    }

    /// The same of all watches.
    pub(super) fn prove(&mut self, revision: Revision) {
        for through in &mut self.through {
            *through = revision.max(*through);
        }
    }

    /// The next revision that is whole, in the order of revisions.
    pub(super) fn next(&mut self) -> Option<(Revision, Parts)> {
        let through = self.through.iter().min()?;
        let first = self.waiting.first_entry()?;
        if first.key() > through {
            return None;
        }
        let (revision, mut parts) = first.remove_entry();
        parts.sort_by_key(|(watch, _)| *watch);
        let changes = parts.iter().flat_map(|(_, changes)| changes);
        self.bytes -= changes.map(weight).sum::<usize>();
        Some((revision, parts))
    }

    /// The first revision that waits, and the watches it waits for, each with how far it is known.
    pub(super) fn unsettled(&self) -> Option<(Revision, Vec<(usize, Revision)>)> {
        let (revision, _) = self.waiting.first_key_value()?;
        let through = self.through.iter().copied().enumerate();
        let behind: Vec<_> = through.filter(|(_, at)| at < revision).collect();
        (!behind.is_empty()).then_some((*revision, behind))
    }

    /// Roughly how much memory waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a change takes, with the allocations around it.
fn weight(change: &Change) -> usize {
    let value = match change {
        Change::Put(entry) => entry.value.len(),
        Change::Delete { .. } => 0,
    };
    change.key().as_bytes().len() + value + 128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(key: &str, revision: i64) -> Batch {
        let revision = Revision(revision);
        let key = key.into();
        (revision, vec![Change::Delete { key, revision }])
    }

    /// What is ready: each revision with the watches that have a part in it.
    fn ready(merge: &mut Merge) -> Vec<(i64, Vec<usize>)> {
        std::iter::from_fn(|| merge.next())
            .map(|(revision, parts)| (revision.0, parts.iter().map(|(watch, _)| *watch).collect()))
            .collect()
    }

    fn two() -> Merge {
        Merge::new([Revision(4), Revision(4)])
    }

    #[test]
    fn a_single_watch_never_waits() {
        let mut merge = Merge::new([Revision(4)]);
        merge.push(0, delete("/a", 5));
        merge.push(0, delete("/a", 9));
        assert_eq!(merge.unsettled(), None);
        assert_eq!(ready(&mut merge), [(5, vec![0]), (9, vec![0])]);
        assert_eq!(merge.bytes(), 0);
    }

    #[test]
    fn a_revision_waits_for_its_other_half() {
        let mut merge = two();
        merge.push(1, delete("/b", 5));
        assert_eq!(ready(&mut merge), []);
        assert_eq!(
            merge.unsettled(),
            Some((Revision(5), vec![(0, Revision(4))]))
        );
        assert!(merge.bytes() > 0);
        merge.push(0, delete("/a", 5));
        assert_eq!(ready(&mut merge), [(5, vec![0, 1])]);
        assert_eq!((merge.unsettled(), merge.bytes()), (None, 0));
    }

    #[test]
    fn a_later_event_of_the_other_watch_settles_an_earlier_revision() {
        let mut merge = two();
        merge.push(0, delete("/a", 5));
        merge.push(1, delete("/b", 7));
        assert_eq!(ready(&mut merge), [(5, vec![0])]);
        merge.push(0, delete("/a", 6));
        assert_eq!(ready(&mut merge), [(6, vec![0])]);
        merge.push(0, delete("/a", 8));
        assert_eq!(ready(&mut merge), [(7, vec![1])]);
    }

    #[test]
    fn a_proof_settles_what_is_at_or_below_it_and_nothing_above() {
        let mut merge = two();
        merge.push(0, delete("/a", 5));
        merge.push(0, delete("/a", 8));
        merge.prove(Revision(7));
        assert_eq!(ready(&mut merge), [(5, vec![0])]);
        assert_eq!(
            merge.unsettled(),
            Some((Revision(8), vec![(1, Revision(7))]))
        );
        merge.settle(1, Revision(8));
        assert_eq!(ready(&mut merge), [(8, vec![0])]);
    }

    #[test]
    fn what_comes_after_a_proof_that_was_too_early_is_given_all_the_same() {
        let mut merge = two();
        merge.push(0, delete("/a", 5));
        merge.prove(Revision(9));
        assert_eq!(ready(&mut merge), [(5, vec![0])]);
        merge.push(1, delete("/b", 5));
        assert_eq!(ready(&mut merge), [(5, vec![1])]);
    }
}
