//! The background loops of the library: each is watched by who started it, says whether it runs, and
//! begins anew where it ended by a fault. None ends by itself while its owner lives: what such a loop
//! kept would just never change again. Deliberately absent: mending what made it fail.

use std::future::Future;
use std::time::{Duration, Instant};

use etcd::backoff::Backoff;
use metrics::{Gauge, counter, gauge};

/// How long a loop waits, by chance, before it begins anew: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// A loop that ran for so long failed by something new.
const WELL: Duration = Duration::from_secs(60);

/// Runs a loop for ever, until dropped: `begin` makes it, at first and after each fault, of which
/// `failed` is told before it is waited. A loop that just returns has failed as well.
pub(crate) async fn supervise<F: Future<Output = ()>>(
    name: impl Into<String>,
    failed: impl Fn(&str),
    mut begin: impl FnMut() -> F,
) {
    let name = name.into();
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let running = Running::new(name.as_str());
        let begun = Instant::now();
        // A loop may be large, and whoever starts it need not be.
        let work = Box::pin(begin());
        #[cfg(test)]
        let work = fault::exposed(&name, work);
        let ended = etcd::running::caught(work).await;
        drop(running);
        let cause = match ended {
            Ok(()) => "it ended by itself".to_owned(),
            Err(cause) => cause,
        };
        counter!("platform_loop_faults_total", "loop" => name.clone()).increment(1);
        tracing::error!(%name, %cause, "a background loop ended by a fault, which is a bug; it begins anew");
        failed(&cause);
        if begun.elapsed() > WELL {
            backoff.reset();
        }
        backoff.wait().await;
    }
}

/// Counts a loop as running until it is dropped.
pub(crate) struct Running {
    name: String,
    gauge: Gauge,
}

impl Running {
    /// A loop begins.
    pub(crate) fn new(name: impl Into<String>) -> Running {
        let name = name.into();
        let gauge = gauge!("platform_loop_running", "loop" => name.clone());
        gauge.increment(1.0);
        Running { name, gauge }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        if std::thread::panicking() {
            tracing::error!(name = %self.name, "a background loop ended by a panic; this is a bug, and only a restart of the process mends it");
        }
    }
}

#[cfg(test)]
pub(crate) mod fault;
#[cfg(test)]
mod tests;
