//! What etcd's own history still tells of a prefix: a watch from the oldest revision that is not
//! compacted up to the present one, and then no further.
//!
//! Bounded in changes, bytes and time. What is not told is said: never a gap that looks like quiet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use etcd_client::proto as pb;
use fleet::{Change, Entry, Key, Prefix, Revision};
use tokio::time::Instant;

use crate::client::Client;
use crate::client::range::ListOptions;
use crate::client::stream::End;
use crate::error::Error;
use crate::mirror::batch::Batches;
use crate::mirror::watching::Watching;
use crate::wire;

/// How often a server that has not shown that it is done is asked again.
const ASK: Duration = Duration::from_millis(100);

/// An old server says that it is done before it has looked (etcd#15220). One that has sent nothing
/// is believed when it has said so for this long; it looks ten times a second.
const OLD_SERVER: Duration = Duration::from_secs(2);

/// History may be compacted, the stream lost or the token renewed under way.
const ATTEMPTS: usize = 4;

/// How much of history to take.
#[derive(Debug, Clone, Copy)]
pub struct ReplayOptions {
    /// So many changes are kept, the newest.
    pub changes: usize,
    /// So many bytes of keys and values are kept, of the newest changes.
    pub bytes: usize,
    /// What has not come after this is not waited for.
    pub time: Duration,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            changes: 10_000,
            bytes: 32 << 20,
            time: Duration::from_secs(10),
        }
    }
}

/// The history of a prefix, as far as it is told.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// The changes, the oldest first. Of the time before `after` only what still stood then, and
    /// that only where history was compacted rather than cut.
    pub changes: Vec<Change>,
    /// Every change behind this revision is told, up to `through`; zero where nothing is missing.
    pub after: Revision,
    /// Why changes up to `after` are not told.
    pub lost: Option<Lost>,
    /// How far it goes.
    pub through: Revision,
    /// Where the store stood when it was asked; later than `through` when time ran out.
    pub current: Revision,
}

/// Why the beginning of a history is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// etcd no longer has it.
    Compacted,
    /// It was more than was to be kept.
    Cut,
}

impl Client {
    /// Replays what happened to a prefix. Takes up to the time of the options and one request
    /// timeout; may be cancelled at any time.
    ///
    /// # Errors
    /// When etcd cannot be read or watched.
    pub async fn replay(&self, prefix: &Prefix, options: ReplayOptions) -> Result<Replay, Error> {
        let deadline = Instant::now() + options.time;
        let (_, mut current) = self.count(prefix).await?;
        let mut compacted = Revision::ZERO;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let standing = match self.standing(prefix, compacted).await {
                Err(Error::Compacted { .. }) => None,
                other => Some(other?),
            };
            let now = ListOptions {
                revision: Some(current),
                ..ListOptions::default()
            };
            let goal = match self.keys(prefix, now).await {
                Ok(listing) => listing.keys,
                Err(Error::Compacted { .. }) => {
                    (_, current) = self.count(prefix).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let goal = goal.into_iter().map(|head| (head.key, head.mod_revision));
            let mut told = Told::new(options, compacted, current);
            told.goal = goal.collect();
            // A second compaction under way took the state away; the watch will say where it is.
            if let Some(standing) = standing {
                told.begin(standing);
            }
            if compacted >= current {
                return Ok(told.end());
            }
            let watched = self.watch_through(prefix, &mut told, deadline).await;
            match watched {
                Ok(()) => return Ok(told.end()),
                Err(Break::Compacted(at)) => compacted = at,
                Err(Break::Again) => {}
                Err(Break::Failed(error @ Error::Lost { .. })) => last = Some(error),
                Err(Break::Failed(error)) => return Err(error),
            }
        }
        Err(last.unwrap_or(Error::Compacted {
            revision: compacted,
        }))
    }

    /// What stood when history was compacted; nothing where it was not.
    async fn standing(&self, prefix: &Prefix, compacted: Revision) -> Result<Vec<Entry>, Error> {
        if compacted == Revision::ZERO {
            return Ok(Vec::new());
        }
        let then = ListOptions {
            revision: Some(compacted),
            ..ListOptions::default()
        };
        Ok(self.list(prefix, then).await?.entries)
    }

    /// Watches until everything up to the current revision has come, or the time is over.
    async fn watch_through(
        &self,
        prefix: &Prefix,
        told: &mut Told,
        deadline: Instant,
    ) -> Result<(), Break> {
        let from = std::iter::once((prefix.clone(), told.after.next()));
        let mut watching = Watching::open(self, from, None)
            .await
            .map_err(Break::Failed)?;
        let honest = watching.is_honest().await;
        let mut batches = Batches::default();
        let mut heard = false;
        let quiet = Instant::now() + OLD_SERVER;
        watching.ask_progress();
        loop {
            let received = tokio::select! {
                biased;
                received = watching.next() => received,
                () = tokio::time::sleep_until(deadline) => return Ok(()),
                () = tokio::time::sleep(ASK) => {
                    watching.ask_progress();
                    continue;
                }
            };
            let response = match received {
                Ok(response) => response,
                Err(End::Renewed) => return Err(Break::Again),
                Err(End::Failed(error)) => return Err(Break::Failed(error)),
            };
            if response.canceled {
                return Err(refused(&watching, prefix, &response));
            }
            if response.created {
                continue;
            }
            let revision = wire::revision(response.header.as_ref());
            if response.events.is_empty() && !response.fragment {
                let looked = honest || heard || Instant::now() >= quiet;
                if revision >= told.current && looked && told.is_whole() {
                    return Ok(());
                }
                continue;
            }
            heard = true;
            let whole = batches
                .push(response.events, response.fragment, told.reached)
                .map_err(|unknown| {
                    Break::Failed(Error::Lost {
                        endpoint: watching.endpoint().to_owned(),
                        method: crate::client::call::WATCH.name,
                        cause: format!(
                            "an event of unknown kind {} at revision {}",
                            unknown.kind, unknown.revision
                        ),
                    })
                })?;
            for (revision, changes) in whole {
                if revision > told.current {
                    return Ok(());
                }
                told.take(revision, changes);
                if revision == told.current {
                    return Ok(());
                }
            }
        }
    }
}

/// Why a watch ended before its end.
enum Break {
    /// History begins behind this revision.
    Compacted(Revision),
    /// Nothing is wrong; it is to be opened anew.
    Again,
    Failed(Error),
}

fn refused(watching: &Watching, prefix: &Prefix, response: &pb::PbWatchResponse) -> Break {
    if response.compact_revision != 0 {
        return Break::Compacted(Revision(response.compact_revision));
    }
    // The prefix could be read a moment ago: it is the token that is stale, not a right that lacks.
    watching.refuse_pass();
    Break::Failed(Error::Lost {
        endpoint: watching.endpoint().to_owned(),
        method: crate::client::call::WATCH.name,
        cause: format!("watch of {prefix} refused: {}", response.cancel_reason),
    })
}

/// What has come so far.
struct Told {
    options: ReplayOptions,
    changes: VecDeque<Change>,
    bytes: usize,
    after: Revision,
    lost: Option<Lost>,
    /// The last revision that was taken.
    reached: Revision,
    current: Revision,
    /// What stands after the changes so far, and what is to stand at the current revision.
    state: BTreeMap<Key, Revision>,
    goal: BTreeMap<Key, Revision>,
}

impl Told {
    fn new(options: ReplayOptions, compacted: Revision, current: Revision) -> Self {
        Self {
            options,
            changes: VecDeque::new(),
            bytes: 0,
            after: compacted,
            lost: (compacted > Revision::ZERO).then_some(Lost::Compacted),
            reached: compacted,
            current,
            state: BTreeMap::new(),
            goal: BTreeMap::new(),
        }
    }

    /// Takes what stood where history begins.
    fn begin(&mut self, mut standing: Vec<Entry>) {
        standing.sort_by_key(|entry| entry.mod_revision);
        for entry in standing {
            self.keep(Change::Put(entry));
        }
    }

    fn take(&mut self, revision: Revision, changes: Vec<Change>) {
        for change in changes {
            self.keep(change);
        }
        self.reached = revision;
        while self.changes.len() > self.options.changes || self.bytes > self.options.bytes {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(weight(&oldest));
            // What only still stood at the beginning was no part of what is told in full.
            if oldest.revision() > self.after {
                self.after = oldest.revision();
                self.lost = Some(Lost::Cut);
            }
        }
    }

    fn keep(&mut self, change: Change) {
        match &change {
            Change::Put(entry) => self.state.insert(entry.key.clone(), entry.mod_revision),
            Change::Delete { key, .. } => self.state.remove(key),
        };
        self.bytes += weight(&change);
        self.changes.push_back(change);
    }

    /// Whether what has come leads to what stands.
    fn is_whole(&self) -> bool {
        self.state == self.goal
    }

    fn end(self) -> Replay {
        let through = if self.is_whole() {
            self.current
        } else {
            self.reached
        };
        Replay {
            changes: self.changes.into(),
            after: self.after,
            lost: self.lost,
            through,
            current: self.current,
        }
    }
}

fn weight(change: &Change) -> usize {
    match change {
        Change::Put(entry) => entry.key.as_bytes().len() + entry.value.len(),
        Change::Delete { key, .. } => key.as_bytes().len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, revision: i64) -> Change {
        Change::Put(Entry {
            key: key.into(),
            value: b"0123456789".as_slice().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        })
    }

    fn revisions(replay: &Replay) -> Vec<i64> {
        let all = replay.changes.iter();
        all.map(|change| change.revision().0).collect()
    }

    #[test]
    fn the_newest_changes_are_kept_and_it_is_said_where_they_begin() {
        for (changes, bytes, kept, after) in [
            (10, 1_000, vec![3, 4, 5], 0),
            (2, 1_000, vec![4, 5], 3),
            (10, 25, vec![4, 5], 3),
        ] {
            let options = ReplayOptions {
                changes,
                bytes,
                ..ReplayOptions::default()
            };
            let mut told = Told::new(options, Revision::ZERO, Revision(5));
            for at in 3..=5 {
                told.take(Revision(at), vec![put("a", at)]);
            }
            let replay = told.end();
            assert_eq!((revisions(&replay), replay.after), (kept, Revision(after)));
            assert_eq!(replay.lost, (after > 0).then_some(Lost::Cut));
        }
    }

    #[test]
    fn what_has_come_is_whole_when_it_leads_to_what_stands() {
        let mut told = Told::new(ReplayOptions::default(), Revision(2), Revision(9));
        told.goal = BTreeMap::from([("a".into(), Revision(5))]);
        told.begin(vec![]);
        assert!(!told.is_whole());
        told.take(Revision(5), vec![put("a", 5)]);
        assert!(told.is_whole());
        told.take(Revision(6), vec![put("b", 6)]);
        assert!(!told.is_whole());
        let replay = told.end();
        assert_eq!(
            (replay.after, replay.through, replay.lost),
            (Revision(2), Revision(6), Some(Lost::Compacted))
        );
    }
}
