//! A second attempt for a call whose first is late: the answer that comes first counts, the other
//! attempt is cancelled. Only for calls that may be repeated, and within the retry budget.
//! Deliberately absent: sending, and who pays (the call does both).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::options::ChannelOptions;

/// When a call is late enough for a second attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hedge {
    /// After this time.
    After(Duration),
    /// When so large a share of the calls of its method would have been answered: 0.95 sends at
    /// most one call in twenty twice. Needs a hundred answers before it begins.
    Percentile(f64),
}

/// Answers in less time than this are not worth a second attempt.
const LEAST: Duration = Duration::from_millis(1);

/// When a call of each method is late.
#[derive(Debug)]
pub(super) enum Lateness {
    Never,
    After(Duration),
    Measured {
        percentile: f64,
        methods: BTreeMap<String, Answers>,
    },
}

impl Lateness {
    pub(super) fn of(options: &ChannelOptions) -> Lateness {
        match options.hedge_after {
            None => Lateness::Never,
            Some(Hedge::After(time)) => Lateness::After(time),
            Some(Hedge::Percentile(percentile)) => Lateness::Measured {
                percentile: percentile.clamp(0.0, 1.0),
                methods: options
                    .idempotent
                    .iter()
                    .map(|path| (path.clone(), Answers::default()))
                    .collect(),
            },
        }
    }

    /// How long a call of this method, which may be repeated, waits for its first answer.
    pub(super) fn of_method(&self, path: &str) -> Option<Duration> {
        match self {
            Lateness::Never => None,
            Lateness::After(time) => Some(*time),
            Lateness::Measured { methods, .. } => methods.get(path)?.late(),
        }
    }

    /// The first attempt took this long, or at least this long when the second one won.
    pub(super) fn learn(&self, path: &str, took: Duration) {
        if let Lateness::Measured {
            percentile,
            methods,
        } = self
            && let Some(answers) = methods.get(path)
        {
            answers.learn(took, *percentile);
        }
    }
}

/// Four buckets for each doubling, from 1 ns to over two minutes.
const BUCKETS: usize = 150;
/// The percentile is worked out anew after so many answers.
const EVERY: u32 = 50;
/// And not before so many.
const ENOUGH: u32 = 100;
/// Beyond so many answers the old ones count half.
const MOST: u32 = 2_000;

/// How long the recent calls of one method took. All atomics are relaxed: it is an estimate.
#[derive(Debug)]
pub(super) struct Answers {
    buckets: [AtomicU32; BUCKETS],
    /// Answers in the buckets.
    count: AtomicU32,
    /// The percentile in nanoseconds; 0 while it is unknown.
    late: AtomicU64,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers {
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
            count: AtomicU32::new(0),
            late: AtomicU64::new(0),
        }
    }
}

impl Answers {
    fn late(&self) -> Option<Duration> {
        match self.late.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos).max(LEAST)),
        }
    }

    fn learn(&self, took: Duration, percentile: f64) {
        self.buckets[bucket(took.as_nanos() as u64)].fetch_add(1, Ordering::Relaxed);
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if count < ENOUGH || !count.is_multiple_of(EVERY) {
            return;
        }
        self.late
            .store(self.quantile(percentile), Ordering::Relaxed);
        if count >= MOST {
            let mut left = 0;
            for one in &self.buckets {
                let half = one.load(Ordering::Relaxed) / 2;
                one.store(half, Ordering::Relaxed);
                left += half;
            }
            self.count.store(left, Ordering::Relaxed);
        }
    }

    /// The upper end of the bucket that holds the percentile.
    fn quantile(&self, percentile: f64) -> u64 {
        let counts = self.buckets.iter().map(|one| one.load(Ordering::Relaxed));
        let all: u64 = counts.clone().map(u64::from).sum();
        let wanted = (percentile * all as f64).ceil() as u64;
        let mut below = 0;
        for (index, count) in counts.enumerate() {
            below += u64::from(count);
            if below >= wanted {
                return upper(index);
            }
        }
        upper(BUCKETS - 1)
    }
}

/// The doubling, and which quarter of it.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(4);
    let doubling = nanos.ilog2();
    let quarter = (nanos >> (doubling - 2)) & 3;
    ((doubling as usize) * 4 + quarter as usize).min(BUCKETS - 1)
}

fn upper(bucket: usize) -> u64 {
    let (doubling, quarter) = (bucket / 4, bucket as u64 % 4);
    let doubling = doubling.max(2);
    (4 + quarter + 1) << (doubling - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lies_below_the_end_of_its_bucket_and_not_by_much() {
        for nanos in (2..36).flat_map(|power| [1u64 << power, (3 << power) / 2, (2 << power) - 1]) {
            let end = upper(bucket(nanos));
            assert!(nanos < end && end <= nanos * 5 / 4 + 1, "{nanos}: {end}");
        }
    }

    #[test]
    fn what_is_late_is_learnt_from_most_answers_and_follows_them() {
        let answers = Answers::default();
        let learn = |millis: u64| answers.learn(Duration::from_millis(millis), 0.9);
        for call in 0..99 {
            assert_eq!(answers.late(), None, "too few: {call}");
            learn(10);
        }
        for call in 0..901 {
            learn(if call % 20 == 0 { 500 } else { 10 });
        }
        let late = answers.late().unwrap();
        assert!((10..15).contains(&late.as_millis()), "{late:?}");
        (0..10_000).for_each(|_| learn(100));
        let late = answers.late().unwrap();
        assert!((100..140).contains(&late.as_millis()), "{late:?}");
    }

    #[test]
    fn only_the_methods_that_are_listed_are_measured() {
        let lateness = Lateness::of(&ChannelOptions {
            hedge_after: Some(Hedge::Percentile(0.5)),
            idempotent: std::sync::Arc::new(["/a/Get".to_owned()].into()),
            ..ChannelOptions::default()
        });
        for path in ["/a/Get", "/a/Put"] {
            (0..200).for_each(|_| lateness.learn(path, Duration::from_millis(20)));
        }
        assert!(lateness.of_method("/a/Get").is_some());
        assert_eq!(lateness.of_method("/a/Put"), None);
    }
}
