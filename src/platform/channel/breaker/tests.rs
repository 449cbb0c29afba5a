//! The breaker, with its clock handed in.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn breaker() -> Breaker {
    Breaker::new(Policy::default())
}

fn fail(breaker: &Breaker, now: u64, times: u32) -> Turn {
    (0..times)
        .map(|_| breaker.report(now, Role::Ordinary, Verdict::Failure, 1.0))
        .last()
        .unwrap_or(Turn::None)
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
    let one = breaker();
    assert_eq!(fail(&one, 0, 4), Turn::None);
    one.report(0, Role::Ordinary, Verdict::Success, 0.0);
    assert_eq!(fail(&one, 0, 4), Turn::None);
    assert_eq!(fail(&one, 0, 1), Turn::Ejected { until: SECOND });
    assert_eq!(one.admission(SECOND - 1), Admission::Open);
}

#[test]
fn a_bad_share_within_the_window_ejects_once_enough_was_seen() {
    let one = breaker();
    let mut turn = Turn::None;
    // One success to three failures, never five in a row.
    for call in 0..40u64 {
        let verdict = if call % 4 == 0 {
            Verdict::Success
        } else {
            Verdict::Failure
        };
        turn = one.report(call, Role::Ordinary, verdict, 1.0);
        if turn != Turn::None {
            assert!(call >= 19, "ejected after {call} calls");
            break;
        }
    }
    assert!(matches!(turn, Turn::Ejected { .. }));
}

#[test]
fn failures_that_left_the_window_do_not_count() {
    let one = breaker();
    for call in 0..100u64 {
        let verdict = if call % 4 == 0 {
            Verdict::Success
        } else {
            Verdict::Failure
        };
        // Never twenty within ten seconds.
        assert_eq!(
            one.report(call * SECOND, Role::Ordinary, verdict, 1.0),
            Turn::None
        );
    }
}

#[test]
fn one_caller_gets_the_probe_and_its_success_closes() {
    let one = breaker();
    fail(&one, 0, 5);
    assert!(!one.claim(SECOND - 1), "too early");
    assert_eq!(one.admission(SECOND), Admission::Probe);
    assert!(one.claim(SECOND));
    assert!(!one.claim(SECOND), "one only");
    assert_eq!(one.admission(SECOND), Admission::Open);
    assert_eq!(
        one.report(SECOND, Role::Probe, Verdict::Success, 0.0),
        Turn::Readmitted
    );
    assert_eq!(one.admission(SECOND), Admission::Closed);
}

#[test]
fn failed_probes_wait_longer_each_time_up_to_the_longest() {
    let one = breaker();
    fail(&one, 0, 5);
    let mut now = SECOND;
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert!(one.claim(now));
        match one.report(now, Role::Probe, Verdict::Failure, 1.0) {
            Turn::Ejected { until } => {
                waits.push((until - now) / SECOND);
                now = until;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waits, [2, 4, 8, 16, 30, 30, 30, 30]);
}

#[test]
fn jitter_spreads_the_probes() {
    let until = |jitter| {
        let one = breaker();
        (0..4).for_each(|_| {
            one.report(0, Role::Ordinary, Verdict::Failure, jitter);
        });
        one.report(0, Role::Ordinary, Verdict::Failure, jitter)
    };
    assert_eq!(until(0.0), Turn::Ejected { until: SECOND / 2 });
    assert_eq!(until(1.0), Turn::Ejected { until: SECOND });
}

#[test]
fn a_probe_that_was_dropped_frees_its_place() {
    let one = breaker();
    fail(&one, 0, 5);
    assert!(one.claim(SECOND));
    one.report(SECOND, Role::Probe, Verdict::Neutral, 0.0);
    assert!(one.claim(SECOND));
}

#[test]
fn an_endpoint_that_is_busy_is_neither_left_out_nor_kept_out() {
    let one = breaker();
    for call in 0..100 {
        let turn = one.report(call, Role::Ordinary, Verdict::Busy, 0.0);
        assert_eq!(turn, Turn::None);
    }
    fail(&one, 100, 5);
    assert!(one.claim(2 * SECOND));
    let turn = one.report(2 * SECOND, Role::Probe, Verdict::Busy, 0.0);
    assert_eq!(turn, Turn::Readmitted);
}

#[test]
fn calls_that_were_under_way_neither_close_nor_prolong_it() {
    let one = breaker();
    fail(&one, 0, 5);
    assert_eq!(fail(&one, SECOND / 2, 20), Turn::None);
    one.report(SECOND / 2, Role::Ordinary, Verdict::Success, 0.0);
    assert_eq!(one.admission(SECOND / 2), Admission::Open);
    assert_eq!(one.admission(SECOND), Admission::Probe);
}

proptest! {
    /// Whatever happens in whatever order, an endpoint is never lost: once time has passed and no
    /// probe is out, it is closed or offers a probe.
    #[test]
    fn an_endpoint_always_comes_back(steps in proptest::collection::vec((0u64..5 * SECOND, 0u8..4, 0.0f64..1.0), 0..200)) {
        let one = breaker();
        let mut now = 0;
        let mut probing = false;
        for (wait, what, jitter) in steps {
            now += wait;
            let verdict = [Verdict::Success, Verdict::Failure, Verdict::Neutral][usize::from(what % 3)];
            if what == 3 {
                let claimed = one.claim(now);
                prop_assert!(!(claimed && probing), "two probes at once");
                probing |= claimed;
            } else if probing && what % 2 == 0 {
                one.report(now, Role::Probe, verdict, jitter);
                probing = false;
            } else {
                one.report(now, Role::Ordinary, verdict, jitter);
            }
        }
        if probing {
            one.report(now, Role::Probe, Verdict::Neutral, 0.0);
        }
        prop_assert!(one.admission(now + 31 * SECOND) != Admission::Open);
    }
}
