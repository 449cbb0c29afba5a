//! What the user does at the terminal, read by a task of its own and handed on through a bounded
//! channel. Dropping it ends the reading, so that an editor can have the terminal.
//!
//! The reader is polled by nobody else: crossterm's stream keeps the first waker it is given, and a
//! look at it in passing would lose the key that comes next.

use std::io;

use crossterm::event::EventStream;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::event::Event;
use super::term::{Screen, translate};

/// More than anyone types between two frames; beyond it a paste waits.
const WAITING: usize = 1_024;

/// The terminal's events.
pub struct Input {
    events: mpsc::Receiver<io::Result<Event>>,
    reader: Option<AbortOnDropHandle<()>>,
}

impl Input {
    /// Begins to read.
    #[must_use]
    pub fn start() -> Self {
        let (told, events) = mpsc::channel(WAITING);
        let reader = AbortOnDropHandle::new(tokio::spawn(read(told)));
        Self {
            events,
            reader: Some(reader),
        }
    }

    /// Reads nothing: someone else has the terminal.
    fn none() -> Self {
        let (_, events) = mpsc::channel(1);
        Self {
            events,
            reader: None,
        }
    }

    /// Reads no more: when this returns, someone else may.
    pub async fn stop(&mut self) {
        let stopped = std::mem::replace(self, Self::none());
        if let Some(reader) = stopped.reader {
            reader.abort();
            // It was aborted: that it did not end by itself is no news.
            let _ = reader.await;
        }
    }

    /// The next event; `None` when the terminal is gone.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub async fn next(&mut self) -> Option<io::Result<Event>> {
        self.events.recv().await
    }

    /// An event that is there already.
    pub fn waiting(&mut self) -> Option<io::Result<Event>> {
        self.events.try_recv().ok()
    }
}

async fn read(told: mpsc::Sender<io::Result<Event>>) {
    let mut stream = EventStream::new();
    // Only from here on is a change of size told of. What it became before that is asked for, or a
    // terminal that grew while the console started would be drawn in its old size for good.
    let (width, height) = Screen::size();
    if told.send(Ok(Event::Resize(width, height))).await.is_err() {
        return;
    }
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => match translate(event) {
                Some(event) => Ok(event),
                None => continue,
            },
            Err(error) => Err(error),
        };
        if told.send(event).await.is_err() {
            return;
        }
    }
}
