//! The mirror's listings: the first, and those that heal a hole in history by the difference.
//!
//! Whatever the reason, all prefixes are listed at one revision, and the position moves there.

use fleet::{Entry, Prefix, Revision};

use super::MirrorEvent;
use super::held::Held;
use super::history::{self, History, Relist};
use super::session::{Session, Stop};
use crate::error::Error;

impl Session {
    async fn list(&self) -> Result<(Vec<Vec<Entry>>, Revision), Error> {
        let prefixes: Vec<Prefix> = self.tracks.iter().map(|one| one.prefix.clone()).collect();
        let page = self.options.page;
        self.client.list_together(&prefixes, page).await
    }

    pub(super) async fn list_first(&mut self) -> Result<(), Stop> {
        let (listed, revision) = self.list().await?;
        for (track, entries) in self.tracks.iter_mut().zip(&listed) {
            track.held = Held::of(entries);
            track.position = revision;
        }
        self.listed = true;
        self.relist = None;
        let entries = together(listed);
        self.give(MirrorEvent::Listed { revision, entries }).await
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
