//! The choice among endpoints.

use proptest::prelude::*;

use super::*;
use crate::channel::breaker::{Breaker, Policy, Role, Verdict};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

struct Peer {
    load: Load,
    admission: Admission,
}

impl Candidate for Peer {
    fn admission(&self, _now: u64) -> Admission {
        self.admission
    }
    fn claim_probe(&self, _now: u64) -> bool {
        true
    }
    fn cost(&self, now: u64) -> f64 {
        self.load.cost(now)
    }
}

fn peer(rtt: u64, pending: u32, admission: Admission) -> Peer {
    let load = Load::new(100);
    load.measure(SECOND, rtt);
    (0..pending).for_each(|_| load.begin());
    Peer { load, admission }
}

fn draws(peers: &[Peer]) -> Vec<usize> {
    let mut hits = vec![0; peers.len()];
    let mut random = 1u64;
    for _ in 0..10_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        match pick(peers, SECOND, random ^ (random >> 29)) {
            Some(Picked::Ordinary(index) | Picked::Probe(index)) => hits[index] += 1,
            None => {}
        }
    }
    hits
}

#[test]
fn the_slowest_of_three_is_never_chosen_over_another() {
    use Admission::Closed;
    let hits = draws(&[
        peer(MS, 0, Closed),
        peer(MS, 0, Closed),
        peer(100 * MS, 0, Closed),
    ]);
    assert_eq!(hits[2], 0);
    assert!(hits[0] > 3_000 && hits[1] > 3_000, "{hits:?}");
}

#[test]
fn calls_held_count_as_cost() {
    use Admission::Closed;
    let hits = draws(&[peer(MS, 50, Closed), peer(2 * MS, 0, Closed)]);
    assert_eq!(hits, [0, 10_000]);
}

#[test]
fn an_ejected_one_is_passed_over_wherever_it_stands() {
    use Admission::{Closed, Open};
    let hits = draws(&[
        peer(MS, 0, Open),
        peer(MS, 0, Open),
        peer(900 * MS, 9, Closed),
    ]);
    assert_eq!(hits, [0, 0, 10_000]);
}

#[test]
fn a_due_probe_wins_over_cost() {
    use Admission::{Closed, Probe};
    let peers = [peer(900 * MS, 0, Probe), peer(MS, 0, Closed)];
    assert_eq!(pick(&peers, SECOND, 7), Some(Picked::Probe(0)));
}

#[test]
fn a_failure_counts_as_a_slow_answer() {
    let failing = Load::new(100);
    let slow = Load::new(100);
    failing.penalise(SECOND, 10);
    slow.measure(SECOND, 50 * MS);
    assert!(failing.cost(SECOND) > slow.cost(SECOND));
    (0..1000).for_each(|_| failing.penalise(SECOND, 10));
    assert!(
        failing.cost(SECOND) <= 5_000.0 * MS as f64,
        "failures in a row do not lift it for ever"
    );
}

#[test]
fn a_peak_counts_at_once_and_is_forgotten_slowly() {
    let load = Load::new(100);
    load.measure(SECOND, MS);
    load.measure(SECOND, 100 * MS);
    assert!(load.cost(SECOND) >= 100.0 * MS as f64);
    load.measure(SECOND + 10 * MS, MS);
    assert!(
        load.cost(SECOND + 10 * MS) > 90.0 * MS as f64,
        "one fast answer does not clear it"
    );
    assert!(load.cost(60 * SECOND) < 2.0 * MS as f64, "a minute does");
}

#[test]
fn an_unknown_endpoint_is_explored_by_one_call() {
    let new = Load::new(100);
    let known = Load::new(100);
    known.measure(SECOND, MS);
    assert!(new.cost(SECOND) < known.cost(SECOND));
    new.begin();
    assert!(new.cost(SECOND) > known.cost(SECOND));
}

#[test]
fn a_new_endpoint_warms_up() {
    let load = Load::new(100);
    load.forget(SECOND);
    load.measure(SECOND, MS);
    let cold = load.cost(SECOND);
    load.measure(SECOND + 10 * SECOND, MS);
    let warm = load.cost(SECOND + 10 * SECOND);
    assert!(cold > 5.0 * warm, "{cold} then {warm}");
}

#[test]
fn twice_the_weight_costs_half() {
    let one = Load::new(100);
    let two = Load::new(200);
    one.measure(SECOND, MS);
    two.measure(SECOND, MS);
    assert!((one.cost(SECOND) / two.cost(SECOND) - 2.0).abs() < 1e-9);
}

#[test]
fn a_breaker_lets_one_probe_through_the_pick() {
    struct Guarded(Breaker);
    impl Candidate for Guarded {
        fn admission(&self, now: u64) -> Admission {
            self.0.admission(now)
        }
        fn claim_probe(&self, now: u64) -> bool {
            self.0.claim(now)
        }
        fn cost(&self, _now: u64) -> f64 {
            1.0
        }
    }
    let one = Guarded(Breaker::new(Policy {
        consecutive: 1,
        ..Policy::default()
    }));
    one.0.report(0, Role::Ordinary, Verdict::Failure, 1.0);
    let all = [one];
    assert_eq!(pick(&all, MS, 1), None);
    assert_eq!(pick(&all, 2 * SECOND, 1), Some(Picked::Probe(0)));
    assert_eq!(pick(&all, 2 * SECOND, 1), None, "the probe is under way");
}

proptest! {
    #[test]
    fn two_draws_are_different_and_in_range(count in 2usize..5000, random: u64) {
        let (first, second) = two_of(count, random);
        prop_assert!(first < count && second < count && first != second);
    }

    #[test]
    fn whoever_can_take_a_call_is_found(open in proptest::collection::vec(any::<bool>(), 0..20), random: u64) {
        let peers: Vec<Peer> = open
            .iter()
            .map(|&open| peer(MS, 0, if open { Admission::Open } else { Admission::Closed }))
            .collect();
        match pick(&peers, SECOND, random) {
            Some(Picked::Ordinary(index)) => prop_assert!(!open[index]),
            Some(Picked::Probe(_)) => prop_assert!(false, "nobody offered a probe"),
            None => prop_assert!(open.iter().all(|open| *open)),
        }
    }

    #[test]
    fn a_cost_is_always_a_number(steps in proptest::collection::vec((0u64..100 * SECOND, 0u64..100 * SECOND), 1..50)) {
        let load = Load::new(0);
        let mut now = 0;
        for (wait, took) in steps {
            now += wait;
            load.measure(now, took);
            let cost = load.cost(now + took);
            prop_assert!(cost.is_finite() && cost > 0.0);
        }
    }
}

/// Its callers give up, each by itself, before it has ever answered anybody.
#[test]
fn what_never_answered_is_not_as_good_as_new_for_ever() {
    let (silent, well) = (Load::new(100), Load::new(100));
    let now = 1_000_000_000;
    well.measure(now, 5_000_000);
    assert!(silent.cost(now) < well.cost(now), "explored");
    silent.begin();
    silent.measure_at_least(now + 150_000_000, 150_000_000);
    silent.end();
    let later = now + 200_000_000;
    assert!(silent.cost(later) > well.cost(later), "and found wanting");
}
