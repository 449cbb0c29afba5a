//! The lease table, its clock in hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Refusal;
use crate::lease::{Leases, MAX_TTL};

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_grant_is_raised_to_the_minimum_and_refused_beyond_the_maximum() {
    let now = Instant::now();
    for (ttl, granted) in [
        (i64::MIN, Ok(2)),
        (-1, Ok(2)),
        (0, Ok(2)),
        (2, Ok(2)),
        (3, Ok(3)),
        (MAX_TTL, Ok(MAX_TTL)),
        (MAX_TTL + 1, Err(Refusal::LeaseTtlTooLarge)),
        (i64::MAX, Err(Refusal::LeaseTtlTooLarge)),
    ] {
        assert_eq!(Leases::new(2).grant(1, ttl, now), granted, "ttl {ttl}");
    }
}

#[test]
fn a_lease_counts_down_in_whole_seconds_and_renews_to_the_full_time() {
    let start = Instant::now();
    let mut leases = Leases::new(2);
    leases.grant(7, 10, start).unwrap();
    assert_eq!(leases.grant(7, 10, start), Err(Refusal::LeaseExists));
    let left = |leases: &Leases, now| leases.remaining(7, now).map(|remaining| remaining.ttl);
    assert_eq!(left(&leases, start + Duration::from_millis(1)), Some(9));
    assert_eq!(left(&leases, after(start, 9)), Some(1));
    assert_eq!(leases.renew(7, after(start, 9)), Some(10));
    assert_eq!(leases.expired(after(start, 18)), None);
    assert_eq!(leases.expired(after(start, 19)), Some(7));
    assert_eq!(leases.renew(7, after(start, 19)), None, "its time is over");
    assert_eq!(left(&leases, after(start, 30)), Some(0));
}

#[test]
fn leases_expire_in_the_order_of_their_time_whatever_the_order_of_grants() {
    let start = Instant::now();
    let mut leases = Leases::new(1);
    for (id, ttl) in [(1, 30), (2, 10), (3, 20)] {
        leases.grant(id, ttl, start).unwrap();
    }
    assert_eq!(leases.ids(), [2, 3, 1]);
    assert_eq!(leases.next_expiry(), Some(after(start, 10)));
    assert!(leases.expire(1, start));
    assert!(!leases.expire(99, start));
    assert_eq!(leases.ids(), [1, 2, 3]);
    assert_eq!(leases.expired(start), Some(1));
}

#[test]
fn a_revoked_lease_hands_over_its_keys_in_order() {
    let mut leases = Leases::new(2);
    leases.grant(1, 10, Instant::now()).unwrap();
    let key = |key: &str| -> Arc<[u8]> { Arc::from(key.as_bytes()) };
    for name in ["c", "a", "b"] {
        leases.attach(1, &key(name));
    }
    leases.detach(1, b"b");
    leases.attach(2, &key("of no lease"));
    let keys = leases.revoke(1).unwrap();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), [key("a"), key("c")]);
    assert_eq!(leases.revoke(1), Err(Refusal::LeaseNotFound));
    assert_eq!(leases.next_expiry(), None);
}
