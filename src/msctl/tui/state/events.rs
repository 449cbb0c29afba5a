//! The journal: what changed in etcd while the console looked, newest last, in a bounded ring. What
//! was there before it looked is not news and stands nowhere here.

use std::collections::VecDeque;
use std::time::Duration;

use fleet::config::secret::MASK;
use fleet::filter::{Field, Row};
use fleet::{Key, LeaseId, Revision};
use jiff::Timestamp;

use super::list::List;
use super::table::Sort;

/// The columns, in the order of sorting.
pub const COLUMNS: [&str; 4] = ["TIME", "REVISION", "WHAT", "SUBJECT"];

/// How many events are kept.
pub const KEPT: usize = 10_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A key came to be.
    Created,
    /// A key was written again.
    Changed,
    /// A key without lease was deleted.
    Deleted,
    /// A key went, and its lease with it: it ended or was revoked.
    LeaseEnded,
    /// A key with a lease was deleted while the lease lives on.
    DeletedByHand,
    /// A key with a lease is gone; why is being asked.
    Gone,
    /// An instance's state changed.
    Health,
    /// The link to etcd changed.
    Link,
}

impl What {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::LeaseEnded => "lease ended",
            Self::DeletedByHand => "deleted by hand",
            Self::Gone => "gone",
            Self::Health => "health",
            Self::Link => "link",
        }
    }
}

/// One event.
#[derive(Clone, Debug)]
pub struct Happened {
    /// Its place in the order of things; never reused.
    pub number: u64,
    /// When the console saw it.
    pub at: Timestamp,
    /// etcd's revision, where it has one.
    pub revision: Option<Revision>,
    /// What.
    pub what: What,
    /// To which key.
    pub key: Option<Key>,
    /// `order/order-7f3a-1`, `order/timeout.write`, …
    pub subject: String,
    /// One line of what is different, safe to show.
    pub text: String,
    /// The lease the key had.
    pub lease: Option<LeaseId>,
}

/// The page and its ring.
#[derive(Debug)]
pub struct EventsPage {
    ring: VecDeque<Happened>,
    numbers: u64,
    /// The rows that pass the filter, as numbers.
    pub list: List<u64, u64>,
    /// Whether the cursor stays on the newest.
    pub following: bool,
}

impl Default for EventsPage {
    fn default() -> Self {
        Self {
            ring: VecDeque::new(),
            numbers: 0,
            list: List::default(),
            following: true,
        }
    }
}

impl EventsPage {
    /// Notes an event; the oldest makes room.
    pub fn note(&mut self, mut happened: Happened) {
        happened.number = self.numbers;
        self.numbers += 1;
        if self.ring.len() == KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back(happened);
        self.list.outdate();
    }

    /// Masks the values of keys that are secrets' by a word that came later.
    pub fn veil(&mut self, secret: impl Fn(&Key) -> bool) {
        for event in &mut self.ring {
            let values = matches!(event.what, What::Created | What::Changed | What::Deleted);
            if values && event.key.as_ref().is_some_and(&secret) {
                MASK.clone_into(&mut event.text);
            }
        }
    }

    /// The event of a number, while it is kept.
    pub fn get(&self, number: u64) -> Option<&Happened> {
        let first = self.ring.front()?.number;
        self.ring
            .get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The newest events, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Happened> {
        self.ring.iter().rev()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Says why keys went, once their lease's end is known.
    pub fn explain(&mut self, lease: LeaseId, ended: bool) -> bool {
        let what = if ended {
            What::LeaseEnded
        } else {
            What::DeletedByHand
        };
        let mut told = false;
        for happened in &mut self.ring {
            if happened.what == What::Gone && happened.lease == Some(lease) {
                happened.what = what;
                told = true;
            }
        }
        told
    }

    /// Whether the cursor is on the newest of the events that pass the filter, wherever it stands.
    pub fn at_newest(&self) -> bool {
        self.list.rows().iter().max() == self.list.current()
    }

    /// Makes the rows anew where it is time.
    pub fn rebuild(&mut self, now: Duration) -> bool {
        if !self.list.wants_build(now) {
            return false;
        }
        let filter = self.list.filter();
        let mut rows: Vec<&Happened> = self
            .ring
            .iter()
            .filter(|happened| filter.is_empty() || filter.matches(*happened))
            .collect();
        let newest = rows.last().map(|happened| happened.number);
        // They happened in this order, and the sorts are stable.
        let Sort { column, descending } = self.list.table.sort;
        match column {
            1 => rows.sort_by_key(|happened| happened.revision),
            2 => rows.sort_by_key(|happened| happened.what.word()),
            3 => rows.sort_by(|a, b| a.subject.cmp(&b.subject)),
            _ => {}
        }
        if descending {
            rows.reverse();
        }
        let rows = rows.into_iter().map(|happened| happened.number).collect();
        if let Some(newest) = newest.filter(|_| self.following) {
            self.list.table.select_key(newest);
        }
        self.list.fill(now, rows, self.ring.len(), |number| *number);
        true
    }
}

impl Row for Happened {
    fn contains(&self, word: &str) -> bool {
        self.subject.to_lowercase().contains(word)
            || self.what.word().contains(word)
            || self.text.to_lowercase().contains(word)
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        match name {
            "revision" => Some(Field::Number(self.revision?.0 as f64)),
            "what" => Some(Field::Text(self.what.word())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(subject: &str) -> Happened {
        Happened {
            number: 0,
            at: Timestamp::UNIX_EPOCH,
            revision: Some(Revision(4)),
            what: What::Gone,
            key: None,
            subject: subject.into(),
            text: String::new(),
            lease: LeaseId::new(7),
        }
    }

    #[test]
    fn the_ring_is_bounded_and_numbers_stay_true() {
        let mut page = EventsPage::default();
        for index in 0..KEPT + 5 {
            page.note(gone(&format!("k{index}")));
        }
        assert_eq!(page.len(), KEPT);
        assert!(page.get(4).is_none());
        assert_eq!(page.get(5).unwrap().subject, "k5");
    }

    #[test]
    fn a_vanished_key_is_explained_when_its_lease_is_known() {
        let mut page = EventsPage::default();
        page.note(gone("order/o-1"));
        assert!(page.explain(LeaseId::new(7).unwrap(), true));
        assert_eq!(page.get(0).unwrap().what, What::LeaseEnded);
        assert!(!page.explain(LeaseId::new(7).unwrap(), false));
    }
}
