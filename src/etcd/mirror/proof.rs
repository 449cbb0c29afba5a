//! When a watch is made to prove that it is up to date, and when its silence means that the member
//! is gone.
//!
//! Pure. etcd answers only once every watch of the stream has caught up, so a request is repeated
//! until its time is over. Time in which nobody listened, as the reader was slow or the process
//! stood still, is not the member's silence. A proof moves no position.

use std::time::Duration;

use tokio::time::Instant;

use super::MirrorOptions;

/// How soon an answer to the first request for progress is asked for again: etcd gives none while
/// a watch still catches up.
const FIRST_REPEAT: Duration = Duration::from_millis(100);

/// A request that comes later than this was held up here.
const HELD_UP: Duration = Duration::from_millis(100);

/// When to ask for a proof of progress, and when its absence means that the member is gone.
#[derive(Debug)]
pub(super) struct Proof {
    next: Instant,
    repeat: Duration,
    /// When the watch was last known to live, while a proof is awaited.
    awaited_since: Option<Instant>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A request.
    Ask,
    /// The time for an answer is over.
    Over,
}

impl Proof {
    /// Nothing is due until the interval is over.
    pub(super) fn given(options: &MirrorOptions) -> Self {
        Self {
            next: Instant::now() + options.progress_interval,
            repeat: FIRST_REPEAT,
            awaited_since: None,
        }
    }

    /// A request was just sent.
    pub(super) fn asked(options: &MirrorOptions) -> Self {
        let mut proof = Self::given(options);
        proof.ask(options);
        proof
    }

    /// When to come back.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    fn ask(&mut self, options: &MirrorOptions) {
        let now = Instant::now();
        let since = *self.awaited_since.get_or_insert(now);
        self.next = (now + self.repeat).min(since + options.progress_timeout);
        self.repeat = self.repeat.saturating_mul(2);
    }

    /// Asks, or asks again, unless the time for an answer is over.
    pub(super) fn press(&mut self, options: &MirrorOptions) -> Due {
        let late = self.next.elapsed();
        if let (Some(since), true) = (&mut self.awaited_since, late > HELD_UP) {
            *since += late;
        }
        let over = self
            .awaited_since
            .is_some_and(|since| since.elapsed() >= options.progress_timeout);
        if over {
            return Due::Over;
        }
        self.ask(options);
        Due::Ask
    }

    /// A proof is needed now; `true` when there is none under way and one is to be asked for.
    pub(super) fn want(&mut self, options: &MirrorOptions) -> bool {
        let idle = self.awaited_since.is_none();
        if idle {
            self.ask(options);
        }
        idle
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lives from one due moment to the next until the time is over, and gives how often was asked.
    async fn silence(proof: &mut Proof, options: &MirrorOptions) -> usize {
        for asked in 0..1_000 {
            tokio::time::sleep_until(proof.next()).await;
            if proof.press(options) == Due::Over {
                return asked;
            }
        }
        panic!("silence without end");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_a_few_times_and_then_means_that_the_member_is_gone() {
        let options = MirrorOptions::default();
        let begun = Instant::now();
        let mut proof = Proof::asked(&options);
        let asked = silence(&mut proof, &options).await;
        assert!((3..8).contains(&asked), "{asked}");
        assert_eq!(
            begun.elapsed().as_secs(),
            options.progress_timeout.as_secs()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_watch_is_asked_after_the_interval() {
        let options = MirrorOptions::default();
        let begun = Instant::now();
        let mut proof = Proof::given(&options);
        tokio::time::sleep_until(proof.next()).await;
        assert_eq!(proof.press(&options), Due::Ask);
        assert_eq!(
            begun.elapsed().as_secs(),
            options.progress_interval.as_secs()
        );
    }

    /// The reader blocked, or the process was stopped: nobody was there to hear the answer.
    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_listened_is_not_silence() {
        let options = MirrorOptions::default();
        let mut proof = Proof::asked(&options);
        tokio::time::advance(options.progress_timeout * 10).await;
        assert_eq!(proof.press(&options), Due::Ask, "asked again, not given up");
        let again = Instant::now();
        silence(&mut proof, &options).await;
        assert!(again.elapsed() >= options.progress_timeout - FIRST_REPEAT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wanted_proof_is_asked_for_once() {
        let options = MirrorOptions::default();
        let mut proof = Proof::given(&options);
        assert!(proof.want(&options));
        assert!(!proof.want(&options), "one is under way");
        proof = Proof::given(&options);
        assert!(proof.want(&options));
    }
}
