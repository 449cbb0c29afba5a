//! Near endpoints first, and others when the near ones are overloaded: a near one is left for one
//! further away when it usually costs more than twice as much. Pure, as the choice among equals is.
//! Deliberately absent: which endpoints are near (the channel says).

use std::time::Duration;

use super::breaker::Admission;
use super::pick::{Candidate, Picked, pick, two_of};

/// What an endpoint further away is taken to need at least. So nothing is sent away to learn how
/// fast those are while the near ones answer well, and enough to find out when they do not.
pub const FAR_LEAST: Duration = Duration::from_millis(25);

/// How much dearer a near endpoint may be before one further away is taken.
pub const FAR_FACTOR: f64 = 2.0;

/// A candidate that may stand further away.
pub trait Distant: Candidate {
    /// As [`Candidate::cost`], by what is usual in place of the worst, with at least `least` as its
    /// answer time: one slow answer must not send all calls away for seconds.
    fn usual_cost(&self, now: u64, least: Duration) -> f64;
}

/// Which list an endpoint was chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's own zone.
    Near,
    /// Everywhere else.
    Far,
}

/// Chooses among both; `None` when not one of them can take a call. `random` is used as in [`pick`].
pub fn pick_near<C: Distant>(
    near: &[C],
    far: &[C],
    now: u64,
    random: u64,
) -> Option<(Side, Picked)> {
    let Some(choice) = pick(near, now, random) else {
        return pick(far, now, random).map(|choice| (Side::Far, choice));
    };
    if let Picked::Ordinary(index) = choice
        && let Some((other, cost)) = cheaper_of_two(far, now, random.rotate_left(16))
        && near[index].usual_cost(now, Duration::ZERO) > cost * FAR_FACTOR
    {
        return Some((Side::Far, Picked::Ordinary(other)));
    }
    Some((Side::Near, choice))
}

/// Without a claim to a probe: who is not needed is not tried.
fn cheaper_of_two<C: Distant>(far: &[C], now: u64, random: u64) -> Option<(usize, f64)> {
    let (first, second) = match far.len() {
        0 => return None,
        1 => (0, 0),
        count => two_of(count, random),
    };
    let cost = |index: usize| {
        (far[index].admission(now) == Admission::Closed)
            .then(|| (index, far[index].usual_cost(now, FAR_LEAST)))
    };
    match (cost(first), cost(second)) {
        (Some(one), Some(other)) if other.1 < one.1 => Some(other),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pick::Load;
    use super::*;

    const MS: u64 = 1_000_000;
    const NOW: u64 = 60_000 * MS;

    struct Peer {
        load: Load,
        open: bool,
    }

    impl Candidate for Peer {
        fn admission(&self, _now: u64) -> Admission {
            if self.open {
                Admission::Open
            } else {
                Admission::Closed
            }
        }
        fn claim_probe(&self, _now: u64) -> bool {
            false
        }
        fn cost(&self, now: u64) -> f64 {
            self.load.cost(now)
        }
    }

    impl Distant for Peer {
        fn usual_cost(&self, now: u64, least: Duration) -> f64 {
            self.load.usual_cost(now, least)
        }
    }

    fn peer(answer: Option<u64>, pending: u32) -> Peer {
        let load = Load::new(100);
        if let Some(answer) = answer {
            (0..50).for_each(|_| load.measure(NOW, answer));
        }
        (0..pending).for_each(|_| load.begin());
        Peer { load, open: false }
    }

    #[track_caller]
    fn check(near: &[Peer], far: &[Peer], expected: Option<Side>) {
        for random in 0..1_000u64 {
            let random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let side = pick_near(near, far, NOW, random).map(|(side, _)| side);
            assert_eq!(side, expected, "{random}");
        }
    }

    #[test]
    fn what_is_near_is_taken_while_it_answers_well() {
        let near = || vec![peer(Some(MS), 4), peer(Some(2 * MS), 2)];
        check(&near(), &[peer(None, 0)], Some(Side::Near));
        check(&near(), &[peer(Some(MS / 10), 0)], Some(Side::Near));
        check(&near(), &[], Some(Side::Near));
    }

    #[test]
    fn one_slow_answer_sends_nothing_away() {
        let near = peer(Some(MS), 1);
        near.load.measure(NOW, 150 * MS);
        check(&[near], &[peer(None, 0)], Some(Side::Near));
        let cold = peer(None, 0);
        cold.load.forget(NOW);
        cold.load.measure(NOW, 150 * MS);
        check(&[cold], &[peer(Some(MS), 0)], Some(Side::Near));
    }

    #[test]
    fn what_is_new_in_the_zone_is_taken_before_what_is_far() {
        check(&[peer(None, 0)], &[peer(Some(MS), 0)], Some(Side::Near));
    }

    #[test]
    fn an_overloaded_zone_spills_over_and_a_loaded_one_does_not() {
        let slow = || vec![peer(Some(300 * MS), 3)];
        check(&slow(), &[peer(Some(5 * MS), 0)], Some(Side::Far));
        check(&slow(), &[peer(None, 0)], Some(Side::Far));
        // Slow here, and as slow there.
        check(&slow(), &[peer(Some(300 * MS), 3)], Some(Side::Near));
        // It does not take everything: each call sent away makes the next one dearer.
        check(&slow(), &[peer(Some(5 * MS), 200)], Some(Side::Near));
    }

    #[test]
    fn others_stand_in_when_nothing_near_takes_calls() {
        let shut = || Peer {
            open: true,
            ..peer(Some(MS), 0)
        };
        check(&[shut()], &[peer(Some(900 * MS), 9)], Some(Side::Far));
        check(&[], &[peer(None, 0)], Some(Side::Far));
        check(&[shut()], &[shut()], None);
        // An overloaded zone is better than nothing.
        check(&[peer(Some(900 * MS), 9)], &[shut()], Some(Side::Near));
    }
}
