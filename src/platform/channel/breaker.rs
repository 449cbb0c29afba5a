//! One endpoint's breaker: closed until it fails too often, then open for a jittered while, then
//! one probe call decides. Reading it on the way of a call is one atomic load; the rules are pure
//! and time is handed in. Deliberately absent: what counts as a failure (the channel says).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When an endpoint is taken out of the choice and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// So many failures in a row eject.
    pub consecutive: u32,
    /// Below this share of successes within `window` it is ejected too…
    pub success_rate: f64,
    /// …provided that so many calls ended within `window`.
    pub minimum: u32,
    /// The length of the sliding window.
    pub window: Duration,
    /// The first ejection lasts about this long; each one that follows a failed probe twice as long.
    pub ejection: Duration,
    /// The longest ejection.
    pub longest: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            consecutive: 5,
            success_rate: 0.5,
            minimum: 20,
            window: Duration::from_secs(10),
            ejection: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        }
    }
}

/// Whether a call may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Calls pass.
    Closed,
    /// None passes.
    Open,
    /// The ejection is over: one call may claim the probe.
    Probe,
}

/// How a call ended, as the breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint did its work.
    Success,
    /// The endpoint did not.
    Failure,
    /// The endpoint answers, but would not do this: it is busy, or this caller asks too much of it.
    /// No reason to leave it out: a limit per caller is met at every endpoint alike.
    Busy,
    /// Nothing is known of the endpoint: the caller went away.
    Neutral,
}

/// In what role the call passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// While the breaker was closed.
    Ordinary,
    /// As the one probe.
    Probe,
}

/// What a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// The breaker opened (or stays open after a failed probe).
    Ejected {
        /// Until when, nanoseconds since the channel's start.
        until: u64,
    },
    /// The breaker closed.
    Readmitted,
}

const CLOSED: u64 = 0;
const PROBING: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    /// [`CLOSED`], [`PROBING`], or open until this time.
    gate: AtomicU64,
    record: Mutex<Record>,
    policy: Policy,
}

#[derive(Debug, Default)]
struct Record {
    consecutive: u32,
    /// Ejections since the last success: the exponent of the back-off.
    ejections: u32,
    window: Window,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: Policy) -> Breaker {
        Breaker {
            gate: AtomicU64::new(CLOSED),
            record: Mutex::default(),
            policy,
        }
    }

    /// Whether a call may pass at `now`.
    pub fn admission(&self, now: u64) -> Admission {
        match self.gate.load(Ordering::Acquire) {
            CLOSED => Admission::Closed,
            PROBING => Admission::Open,
            until if now >= until => Admission::Probe,
            _ => Admission::Open,
        }
    }

    /// Whether its endpoint is left out, or about to be tried.
    pub fn is_open(&self) -> bool {
        self.gate.load(Ordering::Acquire) != CLOSED
    }

    /// Takes the probe: exactly one caller gets `true` per ejection. The winner must report with
    /// [`Role::Probe`], even if its call is dropped.
    pub fn claim(&self, now: u64) -> bool {
        let gate = self.gate.load(Ordering::Acquire);
        gate != CLOSED
            && gate != PROBING
            && now >= gate
            && self
                .gate
                .compare_exchange(gate, PROBING, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// A call ended. `jitter` is uniform in 0..1 and spreads the probes of many clients.
    pub fn report(&self, now: u64, role: Role, verdict: Verdict, jitter: f64) -> Turn {
        let mut record = self.record();
        match (role, verdict) {
            (Role::Probe, Verdict::Success | Verdict::Busy) => {
                *record = Record::default();
                self.gate.store(CLOSED, Ordering::Release);
                Turn::Readmitted
            }
            (Role::Probe, Verdict::Failure) => self.eject(&mut record, now, jitter),
            // The probe proved nothing: the next call may try.
            (Role::Probe, Verdict::Neutral) => {
                self.gate.store(now.max(1), Ordering::Release);
                Turn::None
            }
            // Calls that were under way when it opened say nothing new.
            (Role::Ordinary, _) if self.gate.load(Ordering::Acquire) != CLOSED => Turn::None,
            (Role::Ordinary, Verdict::Neutral | Verdict::Busy) => Turn::None,
            (Role::Ordinary, Verdict::Success) => {
                record.consecutive = 0;
                record.window.bucket(now, self.policy.window).0 += 1;
                Turn::None
            }
            (Role::Ordinary, Verdict::Failure) => {
                record.consecutive = record.consecutive.saturating_add(1);
                record.window.bucket(now, self.policy.window).1 += 1;
                if record.consecutive >= self.policy.consecutive.max(1)
                    || record
                        .window
                        .below(self.policy.success_rate, self.policy.minimum)
                {
                    self.eject(&mut record, now, jitter)
                } else {
                    Turn::None
                }
            }
        }
    }

    /// Closes it and forgets all: the endpoint is connected anew.
    pub fn reset(&self) {
        let mut record = self.record();
        *record = Record::default();
        self.gate.store(CLOSED, Ordering::Release);
    }

    fn eject(&self, record: &mut Record, now: u64, jitter: f64) -> Turn {
        let doubled =
            self.policy.ejection.as_nanos() as f64 * 2f64.powi(record.ejections.min(30) as i32);
        let length = doubled.min(self.policy.longest.as_nanos() as f64);
        // Between half and the whole, so that a thousand clients do not probe in one instant.
        let length = length * (0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        let until = now.saturating_add(length as u64).clamp(1, PROBING - 1);
        record.ejections = record.ejections.saturating_add(1);
        record.consecutive = 0;
        record.window = Window::default();
        self.gate.store(until, Ordering::Release);
        Turn::Ejected { until }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const BUCKETS: usize = 10;

/// Successes and failures of the last [`BUCKETS`] parts of the window.
#[derive(Debug, Default)]
struct Window {
    buckets: [(u32, u32); BUCKETS],
    /// The number of the newest bucket since the start of time.
    newest: u64,
}

impl Window {
    /// The bucket of `now`, with those that are too old emptied.
    fn bucket(&mut self, now: u64, window: Duration) -> &mut (u32, u32) {
        let width = (window.as_nanos() as u64 / BUCKETS as u64).max(1);
        // A clock that was read on another core may be behind: it counts as the newest.
        let number = (now / width).max(self.newest);
        for old in 1..=(number - self.newest).min(BUCKETS as u64) {
            self.buckets[((self.newest + old) % BUCKETS as u64) as usize] = (0, 0);
        }
        self.newest = number;
        &mut self.buckets[(number % BUCKETS as u64) as usize]
    }

    fn below(&self, rate: f64, minimum: u32) -> bool {
        let (good, bad) = self
            .buckets
            .iter()
            .fold((0u64, 0u64), |(good, bad), bucket| {
                (good + u64::from(bucket.0), bad + u64::from(bucket.1))
            });
        let all = good + bad;
        all >= u64::from(minimum.max(1)) && (good as f64) < rate * all as f64
    }
}

#[cfg(test)]
mod tests;
