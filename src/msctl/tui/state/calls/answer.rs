//! The answer of a call as it comes in: who got it, headers, messages, the end.

use std::time::Duration;

/// An answer keeps at most this much text; the oldest messages of a stream go first.
pub const ANSWER_BYTES: usize = 4 << 20;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `OK`, `NOT_FOUND`, …
    pub code: String,
    /// Whether that is good.
    pub ok: bool,
    /// What was said beside it.
    pub message: String,
    /// Error details as JSON.
    pub details: Vec<String>,
    /// Trailers.
    pub trailers: Vec<(String, String)>,
    /// From the send to the end.
    pub took: Duration,
}

/// News of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes to this instance.
    Sent {
        /// Its id or address.
        to: String,
    },
    /// Response headers.
    Headers(Vec<(String, String)>),
    /// One message as JSON.
    Message(String),
    /// The end.
    Ended(Ended),
    /// It never came to a status: no instance, a request that does not fit, …
    Failed(String),
}

/// A call and its answer so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which call; older news are dropped.
    pub id: u64,
    /// What was called.
    pub method: String,
    /// When it was sent, since the console started.
    pub sent_at: Duration,
    /// Who got it.
    pub to: Option<String>,
    /// Response headers.
    pub headers: Vec<(String, String)>,
    /// The messages' lines.
    pub lines: Vec<String>,
    pub(super) bytes: usize,
    /// How many messages came.
    pub messages: usize,
    /// Whether the oldest lines were dropped.
    pub cut: bool,
    /// How it ended.
    pub ended: Option<Ended>,
    /// Why there is no status.
    pub failed: Option<String>,
    /// First line that shows.
    pub scroll: usize,
    /// Whether the newest line is kept in sight.
    pub following: bool,
}

impl Answer {
    pub(super) fn new(id: u64, method: String, sent_at: Duration) -> Self {
        Self {
            id,
            method,
            sent_at,
            to: None,
            headers: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            messages: 0,
            cut: false,
            ended: None,
            failed: None,
            scroll: 0,
            following: true,
        }
    }

    /// Whether more may come.
    pub fn is_running(&self) -> bool {
        self.ended.is_none() && self.failed.is_none()
    }

    pub(super) fn take(&mut self, progress: Progress) {
        match progress {
            Progress::Sent { to } => self.to = Some(to),
            Progress::Headers(headers) => self.headers = headers,
            Progress::Message(text) => {
                self.messages += 1;
                self.bytes += text.len();
                self.lines.extend(text.lines().map(str::to_owned));
                let mut dropped = 0;
                while self.bytes > ANSWER_BYTES && dropped + 1 < self.lines.len() {
                    self.bytes -= self.lines[dropped].len().min(self.bytes);
                    dropped += 1;
                }
                self.cut |= dropped > 0;
                self.lines.drain(..dropped);
            }
            Progress::Ended(ended) => self.ended = Some(ended),
            Progress::Failed(why) => self.failed = Some(why),
        }
    }
}
