//! The retry budget: a channel may repeat a fifth of its calls, plus a few a second, and no more,
//! so that retries never multiply an outage. Deliberately absent: which call may be repeated.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A thousand of these buy one retry.
const PRICE: i64 = 1000;
/// What each call pays in: one retry for five calls.
const DEPOSIT: i64 = 200;
/// What each second pays in, so that a quiet channel may retry as well.
const PER_SECOND: i64 = 2 * PRICE;
/// The most that can be saved.
const CEILING: i64 = 100 * PRICE;
/// The level is told when it has risen by so much.
const NEWS: i64 = 5 * PRICE;
/// What a new channel may spend.
const OPENING: i64 = 10 * PRICE;

/// A token bucket that calls and time fill. All atomics are relaxed: it is an estimate by nature.
#[derive(Debug)]
pub struct Budget {
    balance: AtomicI64,
    /// When time last paid in, nanoseconds since the channel's start.
    paid: AtomicU64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            balance: AtomicI64::new(OPENING),
            paid: AtomicU64::new(0),
        }
    }
}

impl Budget {
    /// A first attempt was made. Says how many more are affordable, once in a while: as often as is
    /// good for a gauge.
    pub fn deposit(&self) -> Option<f64> {
        let before = self.pay(DEPOSIT)?;
        (before / NEWS != (before + DEPOSIT) / NEWS).then(|| self.level())
    }

    /// How many attempts are affordable now, apart from what time has yet to pay in.
    pub fn level(&self) -> f64 {
        (self.balance.load(Ordering::Relaxed) / PRICE) as f64
    }

    /// Whether one more attempt is affordable at `now`; it is paid for if so.
    pub fn withdraw(&self, now: u64) -> bool {
        self.accrue(now);
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                (balance >= PRICE).then_some(balance - PRICE)
            })
            .is_ok()
    }

    fn accrue(&self, now: u64) {
        let paid = self.paid.load(Ordering::Relaxed);
        let seconds = now.saturating_sub(paid) as f64 / 1e9;
        let earned = (seconds * PER_SECOND as f64).min(CEILING as f64) as i64;
        let won = earned > 0
            && self
                .paid
                .compare_exchange(paid, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if won {
            self.pay(earned);
        }
    }

    /// What there was before; `None` when nothing more can be saved.
    fn pay(&self, amount: i64) -> Option<i64> {
        // Over the ceiling by a few under contention is harmless.
        (self.balance.load(Ordering::Relaxed) < CEILING)
            .then(|| self.balance.fetch_add(amount, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn spend(budget: &Budget, now: u64) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let budget = Budget::default();
        assert_eq!(spend(&budget, 0), 10, "the opening balance");
        (0..100).for_each(|_| _ = budget.deposit());
        assert_eq!(spend(&budget, 0), 20, "a fifth of the calls");
        assert_eq!(spend(&budget, 0), 0);
    }

    #[test]
    fn a_quiet_channel_may_retry_a_little() {
        let budget = Budget::default();
        spend(&budget, 0);
        assert_eq!(spend(&budget, 3 * SECOND), 6);
    }

    #[test]
    fn savings_are_bounded() {
        let budget = Budget::default();
        (0..1_000_000).for_each(|_| _ = budget.deposit());
        assert!(
            spend(&budget, u64::MAX / 2) <= 201,
            "calls and time together stay bounded"
        );
    }
}
