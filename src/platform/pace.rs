//! How often something may be made anew that costs more the larger the whole is: at once after a
//! quiet time and in a burst, and under a flood only so often that it takes a tenth of a core.

use std::time::{Duration, Instant};

/// The part of the time that making may take in the long run: one in so many.
const SHARE: u32 = 10;

/// What may be saved up for a burst.
const BURST: Duration = Duration::from_millis(10);

/// The longest wait. A making that was slow by no fault of its own, in a process that was stopped
/// or got no CPU, must not leave its readers with old news for ten times as long.
const LONGEST: Duration = Duration::from_secs(1);

/// See the module. Pure: the clock is handed in.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the time that is spent is earned again; in the past while something is saved.
    even: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Pace {
        Pace { even: now }
    }

    /// How long to wait before it is made again.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.even.saturating_duration_since(now)
    }

    /// It was made, and took this long.
    pub(crate) fn spent(&mut self, now: Instant, took: Duration) {
        let saved = now.checked_sub(BURST * SHARE);
        let even = saved.map_or(self.even, |saved| self.even.max(saved)) + took * SHARE;
        self.even = even.min(now + LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_after_a_quiet_time_waits_for_nothing_and_a_flood_takes_a_tenth() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let took = Duration::from_millis(1);
        let mut now = begun + Duration::from_secs(60);
        let mut at_once = 0;
        while pace.wait(now).is_zero() {
            now += took;
            pace.spent(now, took);
            at_once += 1;
        }
        assert!((10..=13).contains(&at_once), "{at_once}");
        let (from, mut made) = (now, 0);
        while now - from < Duration::from_secs(10) {
            now += pace.wait(now) + took;
            pace.spent(now, took);
            made += 1;
        }
        assert!((900..=1010).contains(&made), "{made}");
    }

    #[test]
    fn one_that_took_an_hour_delays_the_next_by_a_second() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let took = Duration::from_secs(3600);
        pace.spent(begun + took, took);
        assert_eq!(pace.wait(begun + took), LONGEST);
    }
}
