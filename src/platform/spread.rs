//! How long an instance waits before it does what the whole fleet does at the same moment: tell that
//! it has taken a global change in, get a lease and register again after etcd lost its data. A small
//! fleet answers at once; a large one spreads, so that etcd is never asked by all of it together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::watch;

/// So many instances may begin in one second: a fifth of what a small etcd cluster writes.
const PER_SECOND: u64 = 2_000;

/// The longest window: who watches a rollout of a huge fleet wants an end all the same.
const LONGEST: Duration = Duration::from_secs(30);

/// A lost lease is asked for again over this at least: whatever took it is seldom over at once.
const LEASES: Duration = Duration::from_secs(1);

/// Signs of life that a whole fleet asks etcd for in one second while nothing else happens.
const BEATS_PER_SECOND: u64 = 1_000;

/// The longest time without one: what watches prove and leases ask for comes as often.
const LONGEST_BEAT: Duration = Duration::from_secs(10);

/// How many instances the fleet has, as far as this one knows. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct FleetSize(Arc<Known>);

#[derive(Debug)]
struct Known {
    instances: AtomicU64,
    leases: watch::Sender<Duration>,
}

impl Default for FleetSize {
    fn default() -> FleetSize {
        FleetSize(Arc::new(Known {
            instances: AtomicU64::new(0),
            leases: watch::Sender::new(LEASES),
        }))
    }
}

impl FleetSize {
    /// The fleet was counted. One that seems to have shrunk may only be on its way back, and those
    /// that still come must not come at once: it is believed to have lost half of it at most.
    pub(crate) fn set(&self, instances: u64) {
        let instances = instances.max(self.0.instances.load(Ordering::Relaxed) / 2);
        self.0.instances.store(instances, Ordering::Relaxed);
        self.0.leases.send_replace(window(instances).max(LEASES));
    }

    /// Over how long leases that were lost are to be granted anew, live.
    pub(crate) fn leases(&self) -> watch::Receiver<Duration> {
        self.0.leases.subscribe()
    }

    /// How often one of this fleet asks a silent etcd for a sign of life, at most.
    pub(crate) fn heartbeat(&self) -> Duration {
        let instances = self.0.instances.load(Ordering::Relaxed);
        let every = Duration::from_millis(instances.saturating_mul(1_000 / BEATS_PER_SECOND));
        every.min(LONGEST_BEAT)
    }

    /// A moment by chance in the window that a fleet of this size needs, or in `least` where that is
    /// longer.
    pub(crate) fn moment(&self, least: Duration) -> Duration {
        let window = window(self.0.instances.load(Ordering::Relaxed)).max(least);
        if window.is_zero() {
            return window;
        }
        rand::rng().random_range(Duration::ZERO..window)
    }
}

fn window(instances: u64) -> Duration {
    Duration::from_micros(instances.saturating_mul(1_000_000 / PER_SECOND)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that begin within any `span`, of a fleet that hears of something at one moment.
    fn peak(instances: u64, least: Duration, span: Duration) -> u64 {
        let fleet = FleetSize::default();
        fleet.set(instances);
        let mut buckets = std::collections::BTreeMap::new();
        for _ in 0..instances {
            let bucket = fleet.moment(least).as_nanos() / span.as_nanos();
            *buckets.entry(bucket).or_insert(0) += 1;
        }
        buckets.values().copied().max().unwrap_or_default()
    }

    #[test]
    fn a_large_fleet_never_asks_all_at_once() {
        let least = Duration::from_millis(20);
        for instances in [2_000, 10_000, 50_000] {
            let span = Duration::from_millis(100);
            let most = peak(instances, least, span);
            println!("{instances} instances: at most {most} begin in the same 100 ms");
            // 200 by the rate; chance makes some 60 more of it, and never twice as many.
            assert!(most < 2 * PER_SECOND / 10, "{instances}: {most}");
        }
    }

    #[test]
    fn a_large_fleet_asks_for_fewer_signs_of_life_each() {
        let fleet = FleetSize::default();
        for (instances, millis) in [(0, 0), (40, 40), (3_000, 3_000), (100_000, 10_000)] {
            fleet.set(instances);
            assert_eq!(
                fleet.heartbeat(),
                Duration::from_millis(millis),
                "{instances}"
            );
        }
    }

    #[test]
    fn a_small_fleet_answers_at_once() {
        let fleet = FleetSize::default();
        for instances in [0, 1, 4, 40] {
            fleet.set(instances);
            let least = Duration::from_millis(20);
            assert!(
                (0..1_000).all(|_| fleet.moment(least) <= least),
                "{instances}"
            );
        }
        let fleet = FleetSize::default();
        assert_eq!(fleet.moment(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn leases_are_spread_by_the_size_and_a_fleet_on_its_way_back_is_not_taken_for_a_small_one() {
        let fleet = FleetSize::default();
        let leases = fleet.leases();
        let told = |instances| {
            fleet.set(instances);
            leases.borrow().as_secs_f64()
        };
        for (counted, seconds) in [
            (0, 1.0),
            (1_000, 1.0),
            (10_000, 5.0),
            (3, 2.5),
            (3, 1.25),
            (3, 1.0),
            (200_000, 30.0),
        ] {
            assert_eq!(told(counted), seconds, "{counted}");
        }
    }

    #[test]
    fn even_the_largest_fleet_comes_to_an_end() {
        assert_eq!(window(u64::MAX), LONGEST);
    }
}

#[cfg(test)]
mod stampede;
