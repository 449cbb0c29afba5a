//! How much CPU time threads take while nothing is to be done. Linux tells; elsewhere it is not
//! measured.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long is looked at.
const WINDOW: Duration = Duration::from_secs(1);

/// The kernel counts in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// CPU time over a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    used: Duration,
    window: Duration,
}

impl Idle {
    /// Of this process's threads with this name.
    pub(crate) async fn of_threads(name: &str) -> Option<Idle> {
        Self::over(|| threads(name)).await
    }

    /// Of a whole other process.
    pub(crate) async fn of_process(id: u32) -> Option<Idle> {
        Self::over(|| ticks(&Path::new("/proc").join(id.to_string()))).await
    }

    async fn over(read: impl Fn() -> Option<u64>) -> Option<Idle> {
        let (begun, before) = (Instant::now(), read()?);
        tokio::time::sleep(WINDOW).await;
        let used = u32::try_from(read()?.saturating_sub(before)).unwrap_or(u32::MAX);
        Some(Idle {
            used: TICK * used,
            window: begun.elapsed(),
        })
    }

    /// The share of one core.
    pub(crate) fn share(&self) -> f64 {
        self.used.as_secs_f64() / self.window.as_secs_f64()
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} % of a core", 100.0 * self.share())
    }
}

fn threads(name: &str) -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let mut sum = 0;
    for task in tasks.flatten() {
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            sum += ticks(&task.path()).unwrap_or(0);
        }
    }
    Some(sum)
}

/// User and system time from `stat`: the fields after the name, which may hold anything.
fn ticks(folder: &Path) -> Option<u64> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}
