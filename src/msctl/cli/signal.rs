//! The signals that end a command in order: interrupt, terminate, hang-up.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::report::Failure;

/// Listens from the moment it is made, so that no signal falls between two waits.
pub(crate) struct Stop([Signal; 3]);

impl Stop {
    /// Takes the signals over from the system's default, which would end the process at once.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let take = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("signals cannot be handled: {error}")))
        };
        Ok(Self([
            take(SignalKind::interrupt())?,
            take(SignalKind::terminate())?,
            take(SignalKind::hangup())?,
        ]))
    }

    /// Until one of them comes. May be cancelled and waited for again.
    pub(crate) async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
