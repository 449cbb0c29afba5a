//! When a watch is made to prove that it is up to date, and when its silence means that the member
//! is gone.
//!
//! etcd answers only once every watch of the stream has caught up, so a request is repeated until
//! its time is over. A proof moves no position.

use std::time::Duration;

use etcd_client::proto as pb;
use tokio::time::Instant;

use super::MirrorOptions;
use super::session::Watch;

/// How soon an answer to the first request for progress is asked for again: etcd gives none while
/// a watch still catches up.
const FIRST_REPEAT: Duration = Duration::from_millis(100);

/// When to ask for a proof of progress, and when its absence means that the member is gone.
pub(super) struct Proof {
    next: Instant,
    repeat: Duration,
    /// When the watch was last known to live, while a proof is awaited.
    awaited_since: Option<Instant>,
}

impl Proof {
    pub(super) fn asked(watch: &Watch, options: &MirrorOptions) -> Self {
        let mut proof = Self::given(options);
        proof.ask(watch, options);
        proof
    }

    pub(super) fn given(options: &MirrorOptions) -> Self {
        Self {
            next: Instant::now() + options.progress_interval,
            repeat: FIRST_REPEAT,
            awaited_since: None,
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    fn ask(&mut self, watch: &Watch, options: &MirrorOptions) {
        let progress = pb::PbWatchRequestUnion::ProgressRequest(Default::default());
        watch.send(pb::PbWatchRequest {
            request_union: Some(progress),
        });
        let now = Instant::now();
        let since = *self.awaited_since.get_or_insert(now);
        self.next = (now + self.repeat).min(since + options.progress_timeout);
        self.repeat = self.repeat.saturating_mul(2);
    }

    /// Asks, or asks again; `false` when the time for an answer is over.
    pub(super) fn press(&mut self, watch: &Watch, options: &MirrorOptions) -> bool {
        let over = self
            .awaited_since
            .is_some_and(|since| since.elapsed() >= options.progress_timeout);
        if !over {
            self.ask(watch, options);
        }
        !over
    }

    /// Events came: the watch lives, yet only a reply proves that nothing is behind them.
    pub(super) fn heard(&mut self, options: &MirrorOptions) {
        let now = Instant::now();
        match &mut self.awaited_since {
            Some(since) => *since = now,
            None => self.next = now + options.progress_interval,
        }
    }
}
