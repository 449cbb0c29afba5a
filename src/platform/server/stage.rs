//! The life of a server as one value that only moves forward: starting, ready, leaving, draining, stopping,
//! stopped. Everything that differs between them watches it; nobody keeps a flag of their own.

use tokio::{sync::watch, time::Instant};

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The port is open; health says NOT_SERVING until the service is ready.
    Starting,
    /// Health says SERVING.
    Ready,
    /// Health says NOT_SERVING; calls are still taken while the news spreads.
    Leaving,
    /// No new connection; GOAWAY has been sent, calls in flight finish.
    Draining {
        /// When those that have not finished are cut off.
        until: Instant,
    },
    /// Every connection is cut.
    Stopping,
    /// Nothing is left.
    Stopped {
        /// Requests that were cut off.
        cut_off: usize,
    },
}

impl Stage {
    fn rank(self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Ready => 1,
            Self::Leaving => 2,
            Self::Draining { .. } => 3,
            Self::Stopping => 4,
            Self::Stopped { .. } => 5,
        }
    }

    /// Whether no further call should come here.
    pub fn is_draining(self) -> bool {
        self.rank() >= 3
    }
}

/// The one copy of a server's stage.
#[derive(Clone, Debug)]
pub(crate) struct Life(watch::Sender<Stage>);

impl Life {
    pub(crate) fn new() -> Self {
        Self(watch::channel(Stage::Starting).0)
    }

    /// Moves forward to `to`; going back, or standing still, changes nothing.
    pub(crate) fn advance(&self, to: Stage) {
        self.0.send_if_modified(|now| {
            let is_forward = to.rank() > now.rank();
            if is_forward {
                *now = to;
            }
            is_forward
        });
    }

    pub(crate) fn now(&self) -> Stage {
        *self.0.borrow()
    }

    /// Ends when the stage is one that `is_it` wants, at once if it is already.
    pub(crate) async fn reaches(&self, is_it: impl FnMut(&Stage) -> bool) {
        // The sender is ours, so the channel cannot close.
        let _ = self.watch().wait_for(is_it).await;
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Stage> {
        self.0.subscribe()
    }
}

/// Found in the extensions of every request: lets a call that would never end by itself, such as a watch, end
/// when its server goes away instead of being cut off.
#[derive(Clone, Debug)]
pub struct Draining(pub(crate) watch::Receiver<Stage>);

impl Draining {
    /// Ends when the server begins to drain, at once if it already has.
    pub async fn begun(&self) {
        let mut stage = self.0.clone();
        // An error means that the server is gone, which is more than drained.
        let _ = stage.wait_for(|stage| stage.is_draining()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_only_moves_forward() {
        let until = Instant::now();
        let all = [
            Stage::Starting,
            Stage::Ready,
            Stage::Leaving,
            Stage::Draining { until },
            Stage::Stopping,
            Stage::Stopped { cut_off: 0 },
        ];
        for (from_rank, from) in all.into_iter().enumerate() {
            for (to_rank, to) in all.into_iter().enumerate() {
                let life = Life::new();
                life.advance(from);
                life.advance(to);
                assert_eq!(life.now(), all[from_rank.max(to_rank)]);
            }
        }
    }

    #[tokio::test]
    async fn a_second_drain_does_not_move_the_deadline() {
        let life = Life::new();
        let first = Stage::Draining {
            until: Instant::now(),
        };
        life.advance(first);
        life.advance(Stage::Draining {
            until: Instant::now() + std::time::Duration::from_secs(9),
        });
        assert_eq!(life.now(), first);
    }

    #[tokio::test]
    async fn draining_is_seen_by_who_waits_and_by_who_comes_late() {
        let life = Life::new();
        let early = Draining(life.watch());
        let waiting = tokio::spawn(async move { early.begun().await });
        life.advance(Stage::Draining {
            until: Instant::now(),
        });
        waiting.await.unwrap();
        Draining(life.watch()).begun().await;
    }
}
