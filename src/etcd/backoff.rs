//! How long to wait before trying again: exponential, jittered, without end.
//!
//! The only back-off of the project. A wait is never shorter than half the base, so that a loop
//! around it cannot run hot; it never gives up, since giving up is its owner's decision.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The shortest base: below it a loop would be a busy one.
const FLOOR: Duration = Duration::from_millis(2);

/// A sequence of waits that doubles from `base` to `ceiling`; each is drawn from the upper half of
/// its step, so that clients that failed together do not return together.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    ceiling: Duration,
    step: u32,
    rng: StdRng,
}

impl Backoff {
    /// Waits between half of `base` and `ceiling`.
    #[must_use]
    pub fn new(base: Duration, ceiling: Duration) -> Self {
        Self::with_rng(base, ceiling, StdRng::from_os_rng())
    }

    /// The same waits on every run, for tests.
    #[must_use]
    pub fn seeded(base: Duration, ceiling: Duration, seed: u64) -> Self {
        Self::with_rng(base, ceiling, StdRng::seed_from_u64(seed))
    }

    fn with_rng(base: Duration, ceiling: Duration, rng: StdRng) -> Self {
        let base = base.max(FLOOR);
        Self {
            base,
            ceiling: ceiling.max(base),
            step: 0,
            rng,
        }
    }

    /// The next wait. It grows with every call until [`Backoff::reset`].
    pub fn next_wait(&mut self) -> Duration {
        let full = self
            .base
            .saturating_mul(2u32.saturating_pow(self.step))
            .min(self.ceiling);
        self.step = self.step.saturating_add(1);
        full.mul_f64(self.rng.random_range(0.5..=1.0))
    }

    /// A wait drawn evenly from nothing to `over`, for what many have to do after the same fault. It
    /// is no step of the sequence.
    pub fn spread(&mut self, over: Duration) -> Duration {
        over.mul_f64(self.rng.random_range(0.0..=1.0))
    }

    /// Sleeps for the next wait. Cancelling it still counts as a step.
    pub async fn wait(&mut self) {
        let wait = self.next_wait();
        tokio::time::sleep(wait).await;
    }

    /// Starts over: what was tried has worked.
    pub fn reset(&mut self) {
        self.step = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::seeded(Duration::from_millis(100), Duration::from_secs(5), seed)
    }

    #[test]
    fn every_wait_lies_in_the_upper_half_of_its_step_and_none_is_too_short() {
        for seed in 0..50 {
            let mut backoff = backoff(seed);
            for step in 0..200u32 {
                let full = Duration::from_millis(100)
                    .saturating_mul(2u32.saturating_pow(step))
                    .min(Duration::from_secs(5));
                let wait = backoff.next_wait();
                assert!(wait >= full / 2 && wait <= full, "step {step}: {wait:?}");
            }
        }
    }

    #[test]
    fn two_clients_that_fail_together_do_not_return_together() {
        let (mut one, mut other) = (backoff(1), backoff(2));
        let equal = (0..20)
            .filter(|_| one.next_wait() == other.next_wait())
            .count();
        assert_eq!(equal, 0);
    }

    #[test]
    fn a_success_starts_the_sequence_over() {
        let mut backoff = backoff(3);
        for _ in 0..10 {
            backoff.next_wait();
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }

    #[test]
    fn a_base_of_nothing_is_still_no_hot_loop() {
        let mut backoff = Backoff::seeded(Duration::ZERO, Duration::ZERO, 4);
        assert!((0..100).all(|_| backoff.next_wait() >= Duration::from_millis(1)));
    }

    /// A thousand clients that lost something at the same moment: no tenth of the time sees more
    /// than its share, give or take a half.
    #[test]
    fn many_that_lost_the_same_come_back_evenly() {
        for over in [Duration::from_secs(1), Duration::from_secs(30)] {
            let mut tenths = [0; 10];
            for seed in 0..1_000 {
                let wait = backoff(seed).spread(over);
                assert!(wait <= over, "{wait:?}");
                let tenth = wait.as_nanos() * 10 / (over.as_nanos() + 1);
                tenths[usize::try_from(tenth).unwrap()] += 1;
            }
            assert!(
                tenths.iter().all(|count| (50..=150).contains(count)),
                "{tenths:?}"
            );
        }
        assert_eq!(backoff(1).spread(Duration::ZERO), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_slept() {
        let begun = tokio::time::Instant::now();
        backoff(5).wait().await;
        assert!(begun.elapsed() >= Duration::from_millis(50));
    }
}
