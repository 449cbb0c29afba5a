//! How long a fleet takes to agree with etcd again, part by part, and what else a fault must not
//! leave behind.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, PATIENCE, eventually};
use crate::idle::Idle;
use crate::ledger::History;
use crate::truth::PARTS;

/// Tasks more than before that are no leak: timers, calls under way.
const SPARE_TASKS: usize = 4;

/// A connection to a member that was not asked before stays: three tasks for each of four clients.
const TASKS_OF_A_MEMBER: usize = 12;

/// A whole core for a third of the time is a loop that runs hot; rest takes a hundredth of it.
const HOT: f64 = 0.3;

/// How often it is told what is not as it should be yet.
const TELL: Duration = Duration::from_secs(5);

/// How long each part took to agree with etcd for good.
#[derive(Debug, Clone)]
pub(crate) struct Converged {
    pub(crate) whole: Duration,
    parts: [Duration; PARTS.len()],
}

impl fmt::Display for Converged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s (", self.whole.as_secs_f64())?;
        for (place, (name, took)) in PARTS.iter().zip(self.parts).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {:.2}", took.as_secs_f64())?;
        }
        f.write_str(")")
    }
}

impl Fleet {
    /// Waits until it has converged and come to rest, and begins new books.
    pub(crate) async fn settle(&self) {
        self.converges(Instant::now(), "the start").await;
        let mut most = 0;
        let mut same = 0;
        eventually("tasks at rest", async || {
            let now = self.tasks();
            same = if now == most { same + 1 } else { 0 };
            most = now;
            (same == 30).then_some(())
        })
        .await;
        self.tasks_at_rest.store(most, Ordering::Relaxed);
        let wrong = self.ledger.audit(&self.take_written(), History::Gapped);
        assert_eq!(wrong, None, "at the start");
        self.forget_heard();
    }

    fn forget_heard(&self) {
        for user in &self.users {
            let mut heard = user.heard.lock().unwrap();
            let last = heard.pop();
            *heard = last.into_iter().collect();
        }
    }

    /// Waits until everything agrees with etcd; gives how long after `since` that was.
    pub(crate) async fn converges(&self, since: Instant, fault: &str) -> Converged {
        let begun = Instant::now();
        let mut parts = [None; PARTS.len()];
        let mut told = TELL;
        loop {
            let compared = self.compare().await;
            let at = since.elapsed();
            for (part, compared) in parts.iter_mut().zip(&compared) {
                match compared {
                    Ok(()) => *part = part.or(Some(at)),
                    Err(_) => *part = None,
                }
            }
            let Some(difference) = compared.into_iter().find_map(Result::err) else {
                let parts = parts.map(Option::unwrap_or_default);
                return Converged { whole: at, parts };
            };
            let waited = begun.elapsed();
            assert!(
                waited < PATIENCE,
                "no convergence after {fault}: {difference}"
            );
            if waited > told {
                println!("{fault}: not yet after {waited:.1?}: {difference}");
                told = waited + TELL;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// After a fault, or its end, which was at `since`: it converges, goes on following, and nothing
    /// is left behind. Gives how long converging took.
    pub(crate) async fn survives(&self, since: Instant, fault: &str, history: History) -> Duration {
        let converged = self.converges(since, fault).await;
        let begun = Instant::now();
        self.change().await;
        let next = self.converges(begun, fault).await.whole;
        let wrong = self.ledger.audit(&self.take_written(), history);
        assert_eq!(wrong, None, "after {fault}");
        for user in &self.users {
            let heard = user.heard.lock().unwrap();
            let in_order = heard.is_sorted_by(|one, other| one < other);
            assert!(in_order || history == History::Broken, "{fault}: {heard:?}");
            assert_eq!(heard.last(), Some(&self.number()), "{fault}");
        }
        self.forget_heard();
        let before = self.tasks_at_rest.load(Ordering::Relaxed);
        let most = before + SPARE_TASKS + TASKS_OF_A_MEMBER * (self.members - 1);
        let begun = Instant::now();
        let tasks = loop {
            let tasks = self.tasks();
            if tasks <= most {
                break tasks;
            }
            let waited = begun.elapsed() < PATIENCE;
            assert!(waited, "after {fault}: {tasks} tasks, {before} before");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let idle = Idle::of_threads(&self.threads).await;
        if let Some(idle) = &idle {
            assert!(idle.share() < HOT, "after {fault}: {idle}");
        }
        let idle = idle.map_or("not measured".into(), |idle| idle.to_string());
        println!(
            "{fault}: converged in {converged}, the next change in {next:.2?}; \
             tasks {before} before, {tasks} after; at rest {idle}"
        );
        converged.whole
    }
}
