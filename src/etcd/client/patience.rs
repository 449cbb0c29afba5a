//! How long somebody is waited for, counted in time in which this process could have heard them.
//!
//! A process that was stopped, or that has too much to do, hears nobody. To take that for their
//! silence would cut off who answers and begin anew what was under way: more to do, for ever. So a
//! wait has parts, and none counts for more than its length, however late the process comes back.

use std::future::Future;
use std::time::Duration;

/// The parts of a wait. A process that is too busy goes round all it has to do in each of them.
const PARTS: u32 = 5;

/// A time to wait that is used up by waiting alone.
#[derive(Debug)]
pub(crate) struct Patience {
    part: Duration,
    left: Duration,
}

impl Patience {
    pub(crate) fn new(within: Duration) -> Self {
        Self {
            part: (within / PARTS).max(Duration::from_millis(1)),
            left: within,
        }
    }

    /// What comes of `what`, or `None` where that is not known when all is used up.
    pub(crate) async fn wait<F: Future>(&mut self, what: F) -> Option<F::Output> {
        tokio::pin!(what);
        while !self.left.is_zero() {
            let part = self.part.min(self.left);
            let begun = tokio::time::Instant::now();
            let done = tokio::time::timeout(part, &mut what).await;
            self.left = self.left.saturating_sub(begun.elapsed().min(part));
            if let Ok(done) = done {
                return Some(done);
            }
        }
        None
    }
}

/// Waits once.
pub(crate) async fn within<F: Future>(time: Duration, what: F) -> Option<F::Output> {
    Patience::new(time).wait(what).await
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_waited_for_so_long_and_no_longer() {
        let begun = Instant::now();
        let mut patience = Patience::new(WITHIN);
        let pause = Duration::from_secs(2);
        assert!(patience.wait(tokio::time::sleep(pause)).await.is_some());
        assert!(patience.wait(std::future::pending::<()>()).await.is_none());
        let took = begun.elapsed();
        assert!(
            took >= WITHIN && took < WITHIN + PARTS * Duration::from_millis(2),
            "{took:?}"
        );
        assert!(patience.wait(std::future::pending::<()>()).await.is_none());
        assert_eq!(begun.elapsed(), took, "all is used up");
    }

    /// An answer that takes four turns of a process in which each turn takes a minute.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_comes_back_late_has_not_waited_all_that_time() {
        let answer = async {
            for _ in 0..4 {
                advance(Duration::from_secs(60)).await;
                tokio::task::yield_now().await;
            }
        };
        assert!(within(WITHIN, answer).await.is_some());
    }
}
