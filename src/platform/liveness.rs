//! Whether this process is alive enough to be called: its runtime turns, and the service's own
//! checks pass. A dedicated thread looks, since a hung runtime cannot look at itself; the lease is
//! kept only while it says yes, so a hung process falls out of the registry by itself.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::join_all;
use metrics::gauge;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::Error;
use crate::running::{Running, supervise};

/// How often the runtime shows that it turns, and the checks run.
const BEAT: Duration = Duration::from_millis(500);

/// How often the thread looks.
const LOOK: Duration = Duration::from_millis(250);

/// How long a check may take.
const CHECK: Duration = Duration::from_secs(2);

/// So many failures of a check in a row count: one may be a hiccup.
const FAILURES: u32 = 2;

/// A check's answer: nothing, or what is wrong.
pub type CheckResult = Result<(), String>;

type Check = Box<dyn Fn() -> Pin<Box<dyn Future<Output = CheckResult> + Send>> + Send + Sync>;

/// What the probe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alive {
    /// The process may be called.
    Yes,
    /// It may not.
    No {
        /// Which check failed, and how.
        detail: String,
    },
}

/// See the module. Dropping it closes the gate for good.
#[derive(Debug)]
pub struct Liveness {
    shared: Arc<Shared>,
    _beating: AbortOnDropHandle<()>,
}

struct Shared {
    epoch: Instant,
    /// The last beat, milliseconds since the epoch.
    beat: AtomicU64,
    /// A runtime that was silent for this long hangs.
    limit: Duration,
    checks: Mutex<Vec<Checked>>,
    alive: watch::Sender<Alive>,
    gate: watch::Sender<bool>,
}

struct Checked {
    name: String,
    check: Arc<Check>,
    failures: u32,
    error: String,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("alive", &*self.alive.borrow())
            .finish_non_exhaustive()
    }
}

impl Liveness {
    /// Starts to watch this runtime, which counts as hung after `limit` without a turn. Must be
    /// called within it.
    ///
    /// # Errors
    /// [`Error::System`] when the system gives no thread.
    pub fn start(limit: Duration) -> Result<Liveness, Error> {
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            beat: AtomicU64::new(0),
            limit: limit.max(BEAT * 2),
            checks: Mutex::default(),
            alive: watch::Sender::new(Alive::Yes),
            gate: watch::Sender::new(true),
        });
        let observed = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("liveness".into())
            .spawn(move || observe(&observed))
            .map_err(|cause| Error::System {
                what: "the liveness thread",
                cause,
            })?;
        let beating = AbortOnDropHandle::new(tokio::spawn(beat(shared.clone())));
        Ok(Liveness {
            shared,
            _beating: beating,
        })
    }

    /// Adds a check of the service's own, run twice a second. It fails by its answer or by taking
    /// longer than 2 s; after two failures in a row the process counts as not alive.
    pub fn check<F, R>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = CheckResult> + Send + 'static,
    {
        let check: Check = Box::new(move || Box::pin(check()));
        let checked = Checked {
            name: name.into(),
            check: Arc::new(check),
            failures: 0,
            error: String::new(),
        };
        self.shared.checks().push(checked);
    }

    /// What the probe says, live.
    pub fn state(&self) -> watch::Receiver<Alive> {
        self.shared.alive.subscribe()
    }

    /// `true` while the process may keep its lease.
    pub(crate) fn gate(&self) -> watch::Receiver<bool> {
        self.shared.gate.subscribe()
    }
}

impl Shared {
    fn checks(&self) -> MutexGuard<'_, Vec<Checked>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn look(&self) {
        let silent =
            Duration::from_millis(self.now().saturating_sub(self.beat.load(Ordering::Relaxed)));
        let alive = if silent > self.limit {
            Alive::No {
                detail: format!("the runtime has not turned for {silent:.0?}"),
            }
        } else {
            let checks = self.checks();
            match checks.iter().find(|one| one.failures >= FAILURES) {
                Some(failed) => Alive::No {
                    detail: format!("{}: {}", failed.name, failed.error),
                },
                None => Alive::Yes,
            }
        };
        let may = alive == Alive::Yes;
        gauge!("platform_alive").set(if may { 1.0 } else { 0.0 });
        let turned = self
            .gate
            .send_if_modified(|gate| std::mem::replace(gate, may) != may);
        if turned {
            match &alive {
                Alive::Yes => tracing::info!("alive again"),
                Alive::No { detail } => {
                    tracing::error!(%detail, "not alive: the lease is not kept any longer");
                }
            }
        }
        self.alive.send_if_modified(|now| match (&*now, &alive) {
            // "not turned for 4 s", then 5 s: the same state, so no news.
            (Alive::No { .. }, Alive::No { .. }) | (Alive::Yes, Alive::Yes) => false,
            _ => {
                *now = alive;
                true
            }
        });
    }
}

fn observe(shared: &Weak<Shared>) {
    let _running = Running::new("liveness thread");
    while let Some(shared) = shared.upgrade() {
        shared.look();
        drop(shared);
        std::thread::sleep(LOOK);
    }
}

async fn beat(shared: Arc<Shared>) {
    supervise("liveness", |_| {}, || beat_on(&shared)).await;
}

async fn beat_on(shared: &Shared) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let turning = async {
        loop {
            ticks.tick().await;
            shared.beat.store(shared.now(), Ordering::Relaxed);
        }
    };
    // Beside it, not in it: a check that takes its time must not stop the beat.
    let checking = async {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            run_checks(shared).await;
        }
    };
    tokio::join!(turning, checking);
}

/// A check's answer; one that panics has failed, and must not end the loop that asks.
async fn answer(check: Arc<Check>) -> CheckResult {
    let asked = std::panic::catch_unwind(AssertUnwindSafe(|| check()));
    let answered = async { AssertUnwindSafe(asked.ok()?).catch_unwind().await.ok() };
    match timeout(CHECK, answered).await {
        Ok(Some(result)) => result,
        Ok(None) => Err("the check panicked".into()),
        Err(_) => Err(format!("no answer within {CHECK:?}")),
    }
}

async fn run_checks(shared: &Shared) {
    let checks: Vec<Arc<Check>> = shared
        .checks()
        .iter()
        .map(|one| one.check.clone())
        .collect();
    let results = join_all(checks.into_iter().map(answer)).await;
    for (one, result) in shared.checks().iter_mut().zip(results) {
        match result {
            Ok(()) => one.failures = 0,
            Err(error) => {
                one.failures = one.failures.saturating_add(1);
                one.error = error;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    async fn reaches(liveness: &Liveness, alive: bool) -> Alive {
        let mut state = liveness.state();
        let wait = state.wait_for(|state| (*state == Alive::Yes) == alive);
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .unwrap()
            .unwrap()
            .clone()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failing_check_closes_the_gate_and_a_passing_one_opens_it() {
        let liveness = Liveness::start(Duration::from_secs(3)).unwrap();
        let broken = Arc::new(AtomicBool::new(false));
        let flag = broken.clone();
        liveness.check("database", move || {
            let broken = flag.load(Ordering::Relaxed);
            async move {
                if broken {
                    Err("gone".to_owned())
                } else {
                    Ok(())
                }
            }
        });
        broken.store(true, Ordering::Relaxed);
        assert_eq!(
            reaches(&liveness, false).await,
            Alive::No {
                detail: "database: gone".into()
            }
        );
        assert!(!*liveness.gate().borrow());
        broken.store(false, Ordering::Relaxed);
        reaches(&liveness, true).await;
        assert!(*liveness.gate().borrow());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_check_that_panics_has_failed_and_is_asked_again() {
        let liveness = Liveness::start(Duration::from_secs(3)).unwrap();
        let broken = Arc::new(AtomicBool::new(true));
        for (name, within) in [("at once", false), ("within", true)] {
            let broken = broken.clone();
            liveness.check(name, move || {
                let broken = broken.load(Ordering::Relaxed);
                assert!(!broken || within, "the service's own fault");
                async move {
                    assert!(!broken || !within, "the service's own fault");
                    Ok(())
                }
            });
        }
        assert!(
            matches!(reaches(&liveness, false).await, Alive::No { detail } if detail.contains("panicked"))
        );
        broken.store(false, Ordering::Relaxed);
        reaches(&liveness, true).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_check_that_never_answers_counts_as_failed() {
        let liveness = Liveness::start(Duration::from_secs(3)).unwrap();
        liveness.check("stuck", std::future::pending);
        assert!(
            matches!(reaches(&liveness, false).await, Alive::No { detail } if detail.contains("stuck"))
        );
    }

    #[test]
    fn a_runtime_that_does_not_turn_is_noticed_from_outside() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let liveness = runtime.block_on(async { Liveness::start(Duration::from_secs(1)).unwrap() });
        // Nobody drives the runtime any more: the thread must notice.
        let mut gate = liveness.gate();
        let other = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        other.block_on(async {
            let closed = gate.wait_for(|open| !*open);
            tokio::time::timeout(Duration::from_secs(20), closed)
                .await
                .unwrap()
                .unwrap();
        });
    }
}
