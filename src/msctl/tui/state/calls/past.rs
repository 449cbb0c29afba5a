//! The requests sent before, over all methods: the newest stay. A request sent again is one entry,
//! with what came of it last.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::{Progress, TreeKey};

/// At most so many requests are kept,
const KEPT: usize = 500;

/// of at most so many bytes together; the oldest go first.
const KEPT_BYTES: usize = 4 << 20;

/// A request that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The call's number.
    pub id: u64,
    /// Which method.
    pub method: TreeKey,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// What was sent.
    pub request: String,
    /// What came of it, once it ended.
    pub outcome: Option<Outcome>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `OK`, `NOT_FOUND`, … or `FAILED` where there is no status.
    pub code: String,
    /// Whether that is good.
    pub ok: bool,
    /// How long it took, where it came to a status.
    pub took: Option<Duration>,
}

/// The requests, the newest last.
#[derive(Debug, Default)]
pub struct Past {
    sent: VecDeque<Sent>,
    bytes: usize,
}

impl Past {
    /// Keeps a request that is being sent.
    pub fn note(&mut self, sent: Sent) {
        let same = |before: &Sent| before.method == sent.method && before.request == sent.request;
        if let Some(at) = self.sent.iter().position(same)
            && let Some(before) = self.sent.remove(at)
        {
            self.bytes -= before.request.len();
        }
        self.bytes += sent.request.len();
        self.sent.push_back(sent);
        while self.sent.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.sent.pop_front() else {
                break;
            };
            self.bytes -= oldest.request.len();
        }
    }

    /// Takes in how a call ended.
    pub fn ended(&mut self, id: u64, progress: &Progress) {
        let outcome = match progress {
            Progress::Ended(ended) => Outcome {
                code: ended.code.clone(),
                ok: ended.ok,
                took: Some(ended.took),
            },
            Progress::Failed(_) => Outcome {
                code: "FAILED".into(),
                ok: false,
                took: None,
            },
            Progress::Sent { .. } | Progress::Headers(_) | Progress::Message(_) => return,
        };
        if let Some(sent) = self.sent.iter_mut().rev().find(|sent| sent.id == id) {
            sent.outcome = Some(outcome);
        }
    }

    /// Those of a method, the newest first.
    pub fn of(&self, method: &TreeKey) -> Vec<&Sent> {
        let all = self.sent.iter().rev();
        all.filter(|sent| sent.method == *method).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleet::ServiceName;

    use super::*;

    fn key(method: &str) -> TreeKey {
        let service = ServiceName::new("user").unwrap();
        (service, Arc::from("user.v1.UserService"), Arc::from(method))
    }

    fn sent(id: u64, method: &str, request: String) -> Sent {
        Sent {
            id,
            method: key(method),
            at: Timestamp::UNIX_EPOCH,
            request,
            outcome: None,
        }
    }

    fn ids(past: &Past, method: &str) -> Vec<u64> {
        past.of(&key(method)).iter().map(|sent| sent.id).collect()
    }

    #[test]
    fn each_method_has_its_own_past_and_a_request_stands_in_it_once() {
        let mut past = Past::default();
        for (id, method, request) in [
            (1, "Get", "{1}"),
            (2, "List", "{}"),
            (3, "Get", "{2}"),
            (4, "Get", "{1}"),
        ] {
            past.note(sent(id, method, request.into()));
        }
        assert_eq!(ids(&past, "Get"), [4, 3]);
        assert_eq!(ids(&past, "List"), [2]);
        past.ended(3, &Progress::Failed("no instance".into()));
        let outcome = past.of(&key("Get"))[1].outcome.clone().unwrap();
        assert_eq!((outcome.code.as_str(), outcome.ok), ("FAILED", false));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large_ones() {
        let mut past = Past::default();
        for id in 0..2 * KEPT as u64 {
            past.note(sent(id, "Get", id.to_string()));
        }
        assert_eq!(ids(&past, "Get").len(), KEPT);
        for id in 2_000..2_010 {
            let large = format!("{id}{}", "x".repeat(KEPT_BYTES / 4));
            past.note(sent(id, "Get", large));
        }
        assert_eq!(ids(&past, "Get"), [2_009, 2_008, 2_007]);
    }
}
