//! The mirror's listings: the first, and those that heal a hole in history by the difference.
//!
//! Whatever the reason, all prefixes are listed at one revision, and the position moves there.

use fleet::{Entry, Prefix, Revision};

use super::MirrorEvent;
use super::held::Held;
use super::history::{self, History, Relist};
use super::outlet::Pages;
use super::session::{Session, Stop};
use crate::ListOptions;
use crate::error::Error;

impl Session {
    async fn list(&self) -> Result<(Vec<Vec<Entry>>, Revision), Error> {
        let prefixes: Vec<Prefix> = self.tracks.iter().map(|one| one.prefix.clone()).collect();
        let page = self.options.page;
        self.client.list_together(&prefixes, page).await
    }

    pub(super) async fn list_first(&mut self) -> Result<(), Stop> {
        let (held, revision, entries) = match self.outlet.pages() {
            Some(pages) => {
                let (held, revision) = self.list_by_page(pages).await?;
                (held, revision, Vec::new())
            }
            None => {
                let (listed, revision) = self.list().await?;
                let held = listed.iter().map(|entries| Held::of(entries)).collect();
                (held, revision, together(listed))
            }
        };
        for (track, held) in self.tracks.iter_mut().zip::<Vec<Held>>(held) {
            track.held = held;
            track.position = revision;
        }
        self.listed = true;
        self.relist = None;
        self.give(MirrorEvent::Listed { revision, entries }).await
    }

    /// Lists all prefixes and hands each page on as it arrives.
    async fn list_by_page(&self, mut pages: Pages) -> Result<(Vec<Held>, Revision), Stop> {
        let mut all = Vec::with_capacity(self.tracks.len());
        let mut revision = None;
        for track in &self.tracks {
            let mut held = Held::default();
            let page = self.options.page;
            let options = ListOptions { page, revision };
            let listed = self.client.list_pages(&track.prefix, options, |entries| {
                held.add(&entries);
                pages.give(entries)
            });
            match listed.await {
                Ok(Some(at)) => revision = Some(at),
                Ok(None) => return Err(Stop::Unread),
                // A large listing while much is written: from the start, as it stands now.
                Err(Error::Compacted { .. }) => return Err(Stop::Again),
                Err(error) => return Err(error.into()),
            }
            all.push(held);
        }
        Ok((all, revision.unwrap_or(Revision::ZERO)))
    }

    pub(super) async fn list_again(&mut self, reason: Relist) -> Result<(), Stop> {
        let (listed, revision) = self.list().await?;
        let history = self.judge(reason, &listed);
        let mut changes = Vec::new();
        for (track, entries) in self.tracks.iter_mut().zip(listed) {
            changes.extend(track.held.replace(entries, revision, history));
            track.position = revision;
        }
        self.relist = None;
        self.figures.listed_again();
        if history == History::Another {
            self.cluster = 0;
            self.figures.replaced();
            let certain = reason == Relist::Another;
            tracing::warn!(scope = %self.scope(), %revision, certain, "etcd was wiped or replaced");
        }
        if changes.is_empty() {
            return Ok(());
        }
        let changed = MirrorEvent::Changed {
            revision,
            changes,
            history,
        };
        self.give(changed).await
    }

    /// A store whose history is compacted is taken for the one we left by what is left in it.
    fn judge(&self, reason: Relist, listed: &[Vec<Entry>]) -> History {
        let mut both = self.tracks.iter().zip(listed);
        let held_any = self.tracks.iter().any(|track| track.held.len() > 0);
        let knows_one =
            both.any(|(track, entries)| entries.iter().any(|one| track.held.knows_or_knew(one)));
        match reason {
            Relist::Gap => History::Same,
            Relist::Unsure if !held_any || knows_one => History::Same,
            Relist::Unsure | Relist::Another => History::Another,
        }
    }

    /// Whether the store we come back to is the one we left, seen at our position. A store that
    /// was wiped and has grown past it again would otherwise be followed as if nothing had been.
    pub(super) async fn compare_history(&self) -> Result<Option<Relist>, Stop> {
        let compared = self.tracks.iter();
        let compared = compared.map(|track| history::compare(&self.client, track));
        let reasons = futures::future::try_join_all(compared).await?;
        let reason = reasons.into_iter().flatten().max();
        if reason == Some(Relist::Unsure) {
            self.figures.compacted();
        }
        Ok(reason)
    }
}

/// The entries of all prefixes; those of a single one are not moved about.
fn together(mut listed: Vec<Vec<Entry>>) -> Vec<Entry> {
    match listed.len() {
        1 => listed.swap_remove(0),
        _ => listed.into_iter().flatten().collect(),
    }
}
