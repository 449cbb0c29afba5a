//! What the console says: briefly as a toast, and for good in the list of messages.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

/// How long a toast stays.
pub const SHOWN: Duration = Duration::from_secs(6);

/// How many messages are kept.
pub const KEPT: usize = 500;

/// How a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Done.
    Good,
    /// For your information.
    Plain,
    /// Something needs care.
    Warn,
    /// It did not work.
    Bad,
}

/// Something the console said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// How it is meant.
    pub tone: Tone,
    /// What.
    pub text: String,
    /// How often in a row.
    pub times: usize,
}

/// Everything said.
#[derive(Debug, Default)]
pub struct Messages {
    all: VecDeque<Message>,
    until: Option<Duration>,
    /// The first message that shows on the page, from the newest.
    pub scroll: usize,
}

impl Messages {
    /// Says something. The same thing twice is counted, not repeated.
    pub fn say(&mut self, now: Duration, at: Timestamp, tone: Tone, text: impl Into<String>) {
        let text = text.into();
        self.until = Some(now + SHOWN);
        if let Some(last) = self.all.back_mut()
            && last.text == text
        {
            last.times += 1;
            last.at = at;
            return;
        }
        if self.all.len() == KEPT {
            self.all.pop_front();
        }
        self.all.push_back(Message {
            at,
            tone,
            text,
            times: 1,
        });
    }

    /// The toast that shows.
    pub fn toast(&self, now: Duration) -> Option<&Message> {
        self.until.filter(|until| now < *until)?;
        self.all.back()
    }

    /// When it goes.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Takes an old toast away. Returns whether one went.
    pub fn expire(&mut self, now: Duration) -> bool {
        self.until.take_if(|until| now >= *until).is_some()
    }

    /// Takes the toast away at once.
    pub fn dismiss(&mut self) {
        self.until = None;
    }

    /// All that is kept, the newest first.
    pub fn newest(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.all.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toast_goes_and_its_message_stays() {
        let mut messages = Messages::default();
        let at = Timestamp::UNIX_EPOCH;
        messages.say(Duration::ZERO, at, Tone::Good, "saved as revision 812");
        messages.say(Duration::ZERO, at, Tone::Good, "saved as revision 812");
        assert!(messages.toast(Duration::from_secs(5)).is_some());
        assert!(messages.expire(SHOWN));
        assert!(messages.toast(SHOWN).is_none());
        let kept: Vec<_> = messages.newest().map(|message| message.times).collect();
        assert_eq!(kept, [2]);
    }
}
