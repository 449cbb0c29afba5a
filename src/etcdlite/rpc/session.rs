//! What ends or holds up a stream from the server's side.
//! Invariant: every stream ends when the server stops or its streams are dropped, and tells why.

use tokio::sync::watch;
use tonic::Status;

use super::Context;
use crate::Refusal;

/// The server's hold on one open stream.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) context: Context,
    drops: watch::Receiver<u64>,
    pauses: watch::Receiver<bool>,
}

impl Session {
    pub(super) fn new(context: Context) -> Self {
        let drops = context.switches.drops();
        let pauses = context.switches.pauses();
        Self {
            context,
            drops,
            pauses,
        }
    }

    /// Waits for what ends the stream.
    pub(super) async fn ended(&mut self) -> Status {
        tokio::select! {
            () = self.context.stop.cancelled() => Refusal::Stopped.into(),
            _ = self.drops.changed() => Status::unavailable("the connection was lost"),
        }
    }

    /// Returns at once unless the server is paused; then once it runs again, or with what ended the
    /// stream meanwhile.
    pub(super) async fn go_on(&mut self) -> Result<(), Status> {
        if self.context.stop.is_cancelled() {
            return Err(Refusal::Stopped.into());
        }
        if !*self.pauses.borrow() {
            return Ok(());
        }
        let mut pauses = self.pauses.clone();
        tokio::select! {
            _ = pauses.wait_for(|paused| !paused) => Ok(()),
            status = self.ended() => Err(status),
        }
    }
}
