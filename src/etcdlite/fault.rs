//! Faults on demand, for tests of those who use etcd.
//! Invariant: a fault does what the real mishap does to a client, and nothing lasts that was not asked
//! for: dropping the handle leaves the server as it is.

use std::sync::Arc;

use etcd_client::proto::PbCompactionRequest;
use tokio::sync::watch;

use crate::Refusal;
use crate::engine::Engine;

/// A handle to make a server misbehave; clones steer the same server.
#[derive(Debug, Clone)]
pub struct Faults {
    engine: Arc<Engine>,
    switches: Arc<Switches>,
}

/// What requests and streams look at.
#[derive(Debug)]
pub(crate) struct Switches {
    paused: watch::Sender<bool>,
    drops: watch::Sender<u64>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            paused: watch::Sender::new(false),
            drops: watch::Sender::new(0),
        }
    }
}

impl Switches {
    /// Returns once nothing is paused.
    pub(crate) async fn until_running(&self) {
        let mut paused = self.paused.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = paused.wait_for(|paused| !paused).await;
    }

    /// News of each time that streams are dropped.
    pub(crate) fn drops(&self) -> watch::Receiver<u64> {
        self.drops.subscribe()
    }

    pub(crate) fn pauses(&self) -> watch::Receiver<bool> {
        self.paused.subscribe()
    }
}

impl Faults {
    pub(crate) fn new(engine: Arc<Engine>, switches: Arc<Switches>) -> Self {
        Self { engine, switches }
    }

    /// Compacts at `revision`, or at the present one; returns where.
    ///
    /// # Errors
    /// When that is compacted already or lies in the future.
    pub fn compact(&self, revision: Option<i64>) -> Result<i64, Refusal> {
        let revision = revision.unwrap_or_else(|| self.engine.revision());
        self.engine.compact(PbCompactionRequest {
            revision,
            physical: true,
        })?;
        Ok(revision)
    }

    /// Lets a lease's time be over: it is revoked as if it had run out. Whether it exists.
    #[must_use = "an unknown lease does not expire"]
    pub fn expire_lease(&self, id: i64) -> bool {
        self.engine.lease_expire(id)
    }

    /// Stops answering: requests and streams hang, connections stay, as with a frozen process.
    pub fn pause(&self) {
        self.switches.paused.send_replace(true);
    }

    /// Answers again, what waited included.
    pub fn resume(&self) {
        self.switches.paused.send_replace(false);
    }

    /// Ends every open watch and keep-alive stream with `Unavailable`.
    pub fn drop_streams(&self) {
        self.switches.drops.send_modify(|drops| *drops += 1);
    }
}
