//! Which endpoint gets the next call: the cheaper of two drawn at random, where the cost is the
//! peak-EWMA of its answer times multiplied by the calls it already holds.
//! Time is handed in as nanoseconds since the channel's start, randomness as one number, so the
//! choice is pure. Deliberately absent: any knowledge of connections; a candidate says whether it
//! can take a call.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::breaker::Admission;

/// What a list member must tell to be chosen.
pub trait Candidate {
    /// Whether a call may go there now: no connection counts as `Open`.
    fn admission(&self, now: u64) -> Admission;
    /// Takes the single probe slot; `false` when another call has it.
    fn claim_probe(&self, now: u64) -> bool;
    /// What a call would cost there, in any unit that is the same for all.
    fn cost(&self, now: u64) -> f64;
}

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picked {
    /// This index, an ordinary call.
    Ordinary(usize),
    /// This index, whose breaker is open: the call is its one probe and must be reported as such.
    Probe(usize),
}

/// Chooses among `candidates`; `None` when not one of them can take a call. A due probe wins over
/// cost, as only real calls can re-admit an ejected endpoint.
pub fn pick<C: Candidate>(candidates: &[C], now: u64, random: u64) -> Option<Picked> {
    let count = candidates.len();
    if count == 0 {
        return None;
    }
    if count > 1 {
        let (first, second) = two_of(count, random);
        let (one, other) = (&candidates[first], &candidates[second]);
        let choice = match (admit(one, now), admit(other, now)) {
            (Some(Admission::Probe), _) => Some(Picked::Probe(first)),
            (_, Some(Admission::Probe)) => Some(Picked::Probe(second)),
            (Some(_), Some(_)) if other.cost(now) < one.cost(now) => Some(Picked::Ordinary(second)),
            (Some(_), _) => Some(Picked::Ordinary(first)),
            (None, Some(_)) => Some(Picked::Ordinary(second)),
            (None, None) => None,
        };
        if choice.is_some() {
            return choice;
        }
    }
    // Neither draw can take it: any other that can is better than a failed call.
    let start = usize::try_from(random % count as u64).unwrap_or(0);
    (0..count)
        .map(|step| (start + step) % count)
        .find_map(|index| match admit(&candidates[index], now)? {
            Admission::Probe => Some(Picked::Probe(index)),
            _ => Some(Picked::Ordinary(index)),
        })
}

/// `Some(Closed)` or, having claimed it, `Some(Probe)`; `None` when the candidate takes nothing.
fn admit<C: Candidate>(candidate: &C, now: u64) -> Option<Admission> {
    match candidate.admission(now) {
        Admission::Closed => Some(Admission::Closed),
        Admission::Probe if candidate.claim_probe(now) => Some(Admission::Probe),
        Admission::Probe | Admission::Open => None,
    }
}

/// Two different indexes below `count` (at least 2) out of one random number.
pub(super) fn two_of(count: usize, random: u64) -> (usize, usize) {
    let scale = |bits: u64, below: usize| (((bits & 0xffff_ffff) * below as u64) >> 32) as usize;
    let first = scale(random, count);
    let second = scale(random >> 32, count - 1);
    (first, if second >= first { second + 1 } else { second })
}

/// The decay of old measurements: a slow answer is mostly forgotten after this.
pub const DECAY: Duration = Duration::from_secs(5);

/// What a failed call counts as having taken at least, so that failing fast never looks like being
/// fast. Next to answers of a millisecond it is forgotten after some 25 s.
pub const FAILURE_COST: Duration = Duration::from_millis(200);

/// …and at least so many times the endpoint's usual answer.
const FAILURE_FACTOR: f64 = 4.0;

/// The assumed answer time of an endpoint that holds calls but has answered none yet: one call
/// explores it, the next ones wait for that answer.
const UNKNOWN: f64 = 1e9;

/// A new endpoint's cost starts this many times higher and falls to its own over [`WARM_UP`].
const COLD_FACTOR: f64 = 10.0;

/// How long a new endpoint takes to get its full share, so that caches can fill.
pub const WARM_UP: Duration = Duration::from_secs(10);

/// The most that failures alone make an endpoint cost.
const WORST: Duration = Duration::from_secs(5);

/// About so many of the last answers make up the mean.
const MEAN_OF: f64 = 8.0;

const NEVER: u64 = u64::MAX;

/// One endpoint's running cost. All updates are single relaxed atomics: two calls that end in the
/// same instant may lose one measurement, which the next one corrects.
#[derive(Debug)]
pub struct Load {
    /// Peak-EWMA of the answer time, f64 bits, nanoseconds.
    rtt: AtomicU64,
    /// Mean of the last answer times, f64 bits, nanoseconds; it begins at nothing.
    usual: AtomicU64,
    /// When `rtt` was last measured; [`NEVER`] before the first answer.
    measured: AtomicU64,
    pending: AtomicU32,
    weight: AtomicU32,
    /// When this endpoint became usable, for the warm-up; [`NEVER`] switches it off.
    since: AtomicU64,
}

impl Load {
    /// A load with no history. `weight` is relative to 100; 0 counts as 1.
    pub fn new(weight: u32) -> Load {
        Load {
            rtt: AtomicU64::new(0),
            usual: AtomicU64::new(0),
            measured: AtomicU64::new(NEVER),
            pending: AtomicU32::new(0),
            weight: AtomicU32::new(weight.max(1)),
            since: AtomicU64::new(NEVER),
        }
    }

    /// The cost of one more call: decayed answer time × (calls held + 1) × 100 / weight.
    pub fn cost(&self, now: u64) -> f64 {
        let pending = f64::from(self.pending.load(Ordering::Relaxed));
        let weight = f64::from(self.weight.load(Ordering::Relaxed));
        let measured = self.measured.load(Ordering::Relaxed);
        if measured == NEVER {
            return UNKNOWN * pending / weight;
        }
        let rtt = f64::from_bits(self.rtt.load(Ordering::Relaxed));
        let decayed = rtt * decay(now.saturating_sub(measured));
        // One nanosecond at least, so that the calls held still count when all is forgotten.
        decayed.max(1.0) * (pending + 1.0) * 100.0 / weight * self.coldness(now)
    }

    /// As [`Load::cost`] by the mean of recent answers in place of their peak, warm-up left out: one
    /// slow answer says nothing yet of how an endpoint does. At least `least` is assumed.
    pub fn usual_cost(&self, now: u64, least: Duration) -> f64 {
        let pending = f64::from(self.pending.load(Ordering::Relaxed));
        let weight = f64::from(self.weight.load(Ordering::Relaxed));
        self.usual(now).max(least.as_nanos() as f64) * (pending + 1.0) * 100.0 / weight
    }

    fn usual(&self, now: u64) -> f64 {
        match self.measured.load(Ordering::Relaxed) {
            NEVER => 0.0,
            measured => {
                f64::from_bits(self.usual.load(Ordering::Relaxed))
                    * decay(now.saturating_sub(measured))
            }
        }
    }

    /// A call begins.
    pub fn begin(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is over, however it went.
    pub fn end(&self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    /// An answer came after `took` nanoseconds. A slower one counts at once, a faster one bit by bit.
    pub fn measure(&self, now: u64, took: u64) {
        let took = took as f64;
        let measured = self.measured.load(Ordering::Relaxed);
        let next = if measured == NEVER {
            took
        } else {
            let old = f64::from_bits(self.rtt.load(Ordering::Relaxed));
            let keep = decay(now.saturating_sub(measured));
            if took > old {
                took
            } else {
                old * keep + took * (1.0 - keep)
            }
        };
        let usual = self.usual(now);
        let usual = usual + (took - usual) / MEAN_OF;
        self.usual.store(usual.to_bits(), Ordering::Relaxed);
        self.rtt.store(next.to_bits(), Ordering::Relaxed);
        self.measured.store(now, Ordering::Relaxed);
    }

    /// A call was given up after `took` nanoseconds without an answer, which would have taken longer.
    /// It counts where that says more than what is known.
    pub fn measure_at_least(&self, now: u64, took: u64) {
        let measured = self.measured.load(Ordering::Relaxed);
        let known = f64::from_bits(self.rtt.load(Ordering::Relaxed));
        // One that never answered would else stay as good as new, and get every call.
        if measured == NEVER || took as f64 > known * decay(now.saturating_sub(measured)) {
            self.measure(now, took);
        }
    }

    /// A call failed after `took` nanoseconds: it counts as a slow answer.
    pub fn penalise(&self, now: u64, took: u64) {
        let usual = f64::from_bits(self.rtt.load(Ordering::Relaxed)) * FAILURE_FACTOR;
        // A peak stands until it decays: failures in a row must not multiply it.
        let usual = usual.min(WORST.as_nanos() as f64);
        let least = usual.max(FAILURE_COST.as_nanos() as f64);
        self.measure(now, took.max(least as u64));
    }

    /// Forgets the history: the endpoint was ejected and is back, or connected anew.
    pub fn forget(&self, now: u64) {
        self.measured.store(NEVER, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    /// A changed weight from the registry.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Calls held now.
    pub fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    fn coldness(&self, now: u64) -> f64 {
        let since = self.since.load(Ordering::Relaxed);
        if since == NEVER {
            return 1.0;
        }
        let age = now.saturating_sub(since) as f64 / WARM_UP.as_nanos() as f64;
        if age >= 1.0 {
            1.0
        } else {
            COLD_FACTOR - (COLD_FACTOR - 1.0) * age
        }
    }
}

/// e^(-elapsed / DECAY), cut short where the answer is next to 1 or next to 0.
fn decay(elapsed: u64) -> f64 {
    let ratio = elapsed as f64 / DECAY.as_nanos() as f64;
    if ratio < 1e-3 {
        1.0 - ratio
    } else if ratio > 30.0 {
        0.0
    } else {
        (-ratio).exp()
    }
}

#[cfg(test)]
mod tests;
