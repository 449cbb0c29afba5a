//! A bound on how fast calls come, for all callers together or for each: what is too much is refused at once with
//! RESOURCE_EXHAUSTED (429) and told when to come again. The arithmetic is pure: the time is handed in.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::Request;

use super::{Identity, Peer, ServerError};

/// Callers that are told apart at a time. Beyond it those that have rested make room, and when none has, new ones
/// share one allowance: memory is bounded, whoever calls.
const MOST: usize = 10_000;

/// A full table is searched for those that have rested no more often than this.
const SWEEP: Duration = Duration::from_millis(100);

/// How fast calls may come.
///
/// ```
/// use platform::server::{Rate, Service};
///
/// let service = Service::new()
///     .rate(Rate::per_second(2_000.0))
///     .rate(Rate::per_second(50.0).burst(200).each_caller());
/// # let _ = service;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    per_second: f64,
    burst: Option<u32>,
    each: Each,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Each {
    Server,
    Caller,
    Address,
}

impl Rate {
    /// So many calls a second in the long run, and as many at once after a rest.
    pub fn per_second(calls: f64) -> Self {
        Self {
            per_second: calls,
            burst: None,
            each: Each::Server,
        }
    }

    /// At most so many at once after a rest, in place of one second's worth.
    #[must_use]
    pub fn burst(mut self, calls: u32) -> Self {
        self.burst = Some(calls);
        self
    }

    /// For each caller by itself: by the subject of its identity, or, without authentication, by its address.
    #[must_use]
    pub fn each_caller(mut self) -> Self {
        self.each = Each::Caller;
        self
    }

    /// For each address by itself (for IPv6 each /64, which one caller may have to itself), asked before
    /// authentication: bounds those who try credentials as well. Of no use behind a proxy that hides addresses.
    #[must_use]
    pub fn each_address(mut self) -> Self {
        self.each = Each::Address;
        self
    }

    /// Whether it is asked before authentication.
    pub(super) fn is_early(self) -> bool {
        self.each == Each::Address
    }

    pub(super) fn start(self) -> Result<Limiter, ServerError> {
        let refuse = |cause: String| {
            Err(ServerError::Setting {
                what: "rate",
                cause,
            })
        };
        let per_second = self.per_second;
        if !(per_second.is_finite() && (0.001..=1e6).contains(&per_second)) {
            return refuse(format!(
                "{per_second} calls a second. Give 0.001 to 1,000,000"
            ));
        }
        if self.burst == Some(0) {
            return refuse("a burst of 0 lets no call in. Give at least 1".to_owned());
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 1,000,000"
        )]
        let burst = self.burst.unwrap_or(per_second.ceil() as u32);
        let pace = Duration::from_secs_f64(1.0 / per_second);
        Ok(Limiter {
            pace,
            reach: pace.saturating_mul(burst - 1),
            each: self.each,
            began: Instant::now(),
            hasher: RandomState::new(),
            callers: Mutex::default(),
        })
    }
}

/// The allowances of one [`Rate`]. Each is the time at which it will have rested: a call moves it on by the pace,
/// and is refused when that is further ahead than the burst reaches.
pub(super) struct Limiter {
    pace: Duration,
    reach: Duration,
    each: Each,
    began: Instant,
    hasher: RandomState,
    callers: Mutex<Callers>,
}

#[derive(Default)]
struct Callers {
    rested: HashMap<u64, Duration>,
    /// When to look again for those that have rested.
    sweep: Duration,
}

impl Limiter {
    /// How long the caller has to wait, if at all.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Duration> {
        let who = match self.each {
            Each::Server => 0,
            Each::Caller => self.who(request),
            Each::Address => self.whence(request),
        };
        self.take(who, self.began.elapsed())
    }

    /// Callers are told apart by a keyed hash, so that a table of them is small and cannot be steered.
    fn who<B>(&self, request: &Request<B>) -> u64 {
        let extensions = request.extensions();
        if let Some(identity) = extensions.get::<Identity>() {
            return self.hasher.hash_one(("identity", &identity.subject));
        }
        self.whence(request)
    }

    fn whence<B>(&self, request: &Request<B>) -> u64 {
        let peer = request.extensions().get::<Peer>();
        let address = peer.map(|peer| match peer.0.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::from(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        });
        self.hasher.hash_one(("address", address))
    }

    fn take(&self, who: u64, now: Duration) -> Result<(), Duration> {
        // Nothing that holds the lock can panic half-way.
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let Callers { rested, sweep } = &mut *callers;
        let mut who = who;
        if rested.len() >= MOST && !rested.contains_key(&who) {
            if now >= *sweep {
                rested.retain(|_, rested| *rested > now);
                *sweep = now + SWEEP;
            }
            if rested.len() >= MOST {
                who = 0;
            }
        }
        let rested = rested.entry(who).or_default();
        let from = (*rested).max(now);
        let ahead = from - now;
        if ahead > self.reach {
            return Err(ahead - self.reach);
        }
        *rested = from + self.pace;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn limiter(rate: Rate) -> Limiter {
        rate.start().unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_calls_keep_the_pace() {
        let limiter = limiter(Rate::per_second(10.0).burst(3));
        for (at, expected) in [
            (0, Ok(())),
            (0, Ok(())),
            (0, Ok(())),
            (0, Err(ms(100))),
            (40, Err(ms(60))),
            (100, Ok(())),
            (100, Err(ms(100))),
            // After a rest there is the burst again and no more.
            (60_000, Ok(())),
            (60_000, Ok(())),
            (60_000, Ok(())),
            (60_000, Err(ms(100))),
        ] {
            assert_eq!(limiter.take(1, ms(at)), expected, "at {at} ms");
        }
    }

    #[test]
    fn callers_do_not_use_up_each_others_allowance_and_their_number_is_bounded() {
        let limiter = limiter(Rate::per_second(1.0).burst(1).each_caller());
        for who in 1..=MOST as u64 {
            assert_eq!(limiter.take(who, ms(0)), Ok(()));
        }
        assert_eq!(limiter.take(5, ms(0)), Err(ms(1000)));
        // Those that find no room share one allowance.
        assert_eq!(limiter.take(u64::MAX, ms(0)), Ok(()));
        assert!(limiter.take(u64::MAX - 1, ms(0)).is_err());
        assert!(limiter.callers.lock().unwrap().rested.len() <= MOST + 1);
        // Those that have rested make room.
        assert_eq!(limiter.take(u64::MAX - 1, ms(1001)), Ok(()));
        assert!(limiter.callers.lock().unwrap().rested.len() <= 2);
    }

    #[test]
    fn settings_that_let_nothing_or_everything_in_are_refused() {
        for rate in [
            Rate::per_second(0.0),
            Rate::per_second(-1.0),
            Rate::per_second(f64::NAN),
            Rate::per_second(f64::INFINITY),
            Rate::per_second(2e6),
            Rate::per_second(1.0).burst(0),
        ] {
            assert!(rate.start().is_err(), "{rate:?}");
        }
    }

    proptest! {
        #[test]
        fn no_more_pass_than_the_burst_and_the_pace_allow(
            burst in 1u32..20,
            per_second in 1u32..1000,
            gaps in prop::collection::vec(0u64..50, 1..300),
        ) {
            let limiter = limiter(Rate::per_second(f64::from(per_second)).burst(burst));
            let mut now = 0;
            let mut passed = 0u32;
            for gap in gaps {
                now += gap;
                match limiter.take(0, ms(now)) {
                    Ok(()) => passed += 1,
                    Err(wait) => prop_assert!(limiter.take(0, ms(now) + wait - Duration::from_nanos(1)).is_err()),
                }
            }
            let most = f64::from(burst) + f64::from(per_second) * Duration::from_millis(now).as_secs_f64();
            prop_assert!(f64::from(passed) <= most + 1.0, "{} of {}", passed, most);
        }
    }
}
