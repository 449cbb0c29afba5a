//! What an instance and a lease answered when they were asked, and when that was. An answer is
//! never carried further than it can be trusted.

use std::time::Duration;

use fleet::{Health, Key};

/// What an instance answered when it was asked for its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSeen {
    /// The answer.
    pub health: Health,
    /// What was said beside it, or why there was no answer.
    pub detail: String,
    /// How long the answer took.
    pub latency: Option<Duration>,
    /// When it was asked last.
    pub at: Duration,
    /// Since when the answer has been the same.
    pub since: Duration,
}

/// For so long a lease's time is counted down from etcd's last answer. Its holder keeps it alive all
/// the while, so a number counted further would show a lease as ending that is not.
const TRUSTED: Duration = Duration::from_secs(6);

/// What etcd said of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Seconds it was granted for.
    pub granted: i64,
    /// Seconds left when etcd was asked; `None`: there is no such lease any longer.
    pub ttl: Option<i64>,
    /// When it was asked.
    pub at: Duration,
    /// The keys it takes with it, where they were asked for.
    pub keys: Option<Vec<Key>>,
}

impl LeaseSeen {
    /// Whether less than a quarter of it was left: it was not renewed when it should have been.
    pub(super) fn runs_out(&self) -> bool {
        self.ttl.is_some_and(|ttl| ttl * 4 < self.granted)
    }

    /// Seconds left now, if nobody has kept it alive since it was asked. `None` where that was too
    /// long ago to tell, or there is no such lease.
    pub fn left(&self, now: Duration) -> Option<f64> {
        let ttl = self.ttl?;
        let since = now.saturating_sub(self.at);
        (since <= TRUSTED).then(|| (ttl as f64 - since.as_secs_f64()).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_runs_down_between_two_answers_and_is_not_guessed_for_long() {
        let lease = LeaseSeen {
            granted: 10,
            ttl: Some(7),
            at: Duration::from_secs(100),
            keys: None,
        };
        assert_eq!(lease.left(Duration::from_secs(102)), Some(5.0));
        let short = LeaseSeen {
            ttl: Some(1),
            ..lease.clone()
        };
        assert_eq!(short.left(Duration::from_secs(104)), Some(0.0));
        assert_eq!(lease.left(Duration::from_secs(200)), None);
        assert_eq!(
            LeaseSeen { ttl: None, ..lease }.left(Duration::from_secs(100)),
            None
        );
    }
}
