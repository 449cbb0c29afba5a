//! When history is compacted by itself, as etcd's `--auto-compaction-mode=revision` does. Pure.
//! Invariant: the last `keep` revisions always stay. Compacting waits until twice that many are held,
//! so that its cost spreads over as many writes.

/// The revision to compact at, if it is time.
pub(crate) fn due(current: i64, compacted: i64, keep: Option<u64>) -> Option<i64> {
    let keep = i64::try_from(keep?).ok()?.max(1);
    let held = current.saturating_sub(compacted.max(0));
    (held >= keep.saturating_mul(2)).then(|| current - keep)
}
