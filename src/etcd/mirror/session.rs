//! The mirror's task: list, watch, resume; list again where history has a hole.
//!
//! The position moves with the events given and with listings, never with anything else.

use std::mem::Discriminant;
use std::time::Duration;

use etcd_client::proto as pb;
use fleet::{Change, Prefix, Revision};

use super::batch::Batches;
use super::held::Held;
use super::history::{self, History, Relist};
use super::merge::{Merge, Parts};
use super::outlet::{Outlet, Unread};
use super::proof::{Due, Proof};
use super::scope::Scope;
use super::watching::Watching;
use super::{MirrorEvent, MirrorOptions};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::client::stream::End;
use crate::error::Error;
use crate::figures;
use crate::wire;

/// How much may wait for the other half of its revision; beyond it all is listed again.
const MAX_WAITING: usize = 64 << 20;

/// One prefix and how far it was given.
pub(super) struct Track {
    pub(super) prefix: Prefix,
    pub(super) held: Held,
    /// The last revision given that touched the prefix; its watch resumes behind it.
    pub(super) position: Revision,
}

pub(super) struct Session {
    pub(super) client: Client,
    pub(super) options: MirrorOptions,
    pub(super) outlet: Outlet,
    pub(super) figures: figures::Watch,
    pub(super) tracks: Vec<Track>,
    /// The first listing was given.
    pub(super) listed: bool,
    /// The cluster that was listed.
    pub(super) cluster: u64,
    /// The reader was told that its data may be out of date, for such a reason.
    stale: Option<Reason>,
    /// The next connection has to list, for this reason.
    pub(super) relist: Option<Relist>,
    avoid: Option<usize>,
    /// The last watch was refused, and a new token was asked for.
    denied: bool,
}

/// Why a stretch of mirroring ended.
pub(super) enum Stop {
    /// Nobody reads any more.
    Unread,
    /// To be tried again, after a wait.
    Failed(Reason, String),
    /// To be tried again at once, nothing being wrong.
    Again,
}

/// What kind of loss it is: another kind is news to who was told of one, another wording of the
/// same is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// etcd is away or silent. Which of its members is, and how, changes with every attempt.
    Away,
    /// It is there and refuses.
    Refused(Discriminant<Error>),
    /// It cancelled a watch.
    Cancelled,
    /// What it says cannot be used.
    Unusable,
}

impl From<Unread> for Stop {
    fn from(_: Unread) -> Self {
        Self::Unread
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let reason = match error.is_absence() {
            true => Reason::Away,
            false => Reason::Refused(std::mem::discriminant(&error)),
        };
        Self::Failed(reason, error.to_string())
    }
}

/// A connection's watches with what has come through them.
struct Stretch {
    watching: Watching,
    batches: Vec<Batches>,
    merge: Merge,
    proof: Proof,
}

impl Session {
    pub(super) fn new(
        client: Client,
        scope: &Scope,
        options: MirrorOptions,
        outlet: Outlet,
    ) -> Self {
        let prefixes = scope.prefixes().iter();
        let tracks = prefixes.map(|prefix| Track {
            prefix: prefix.clone(),
            held: Held::default(),
            position: Revision::ZERO,
        });
        Self {
            client,
            options,
            outlet,
            figures: figures::Watch::of(scope),
            tracks: tracks.collect(),
            listed: false,
            cluster: 0,
            stale: None,
            relist: None,
            avoid: None,
            denied: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut pause = Backoff::new(Duration::from_millis(50), self.options.retry_ceiling);
        let mut resuming = false;
        loop {
            let mut proven = false;
            let stop = Box::pin(self.stretch(resuming, &mut proven)).await;
            if proven {
                pause.reset();
            }
            resuming = true;
            match stop {
                Stop::Unread => return,
                Stop::Again => {}
                Stop::Failed(reason, cause) => {
                    tracing::debug!(scope = %self.scope(), %cause, "mirror interrupted");
                    self.figures.interrupted();
                    self.figures.stale();
                    if self.stale != Some(reason) {
                        if self.give(MirrorEvent::Stale { cause }).await.is_err() {
                            return;
                        }
                        self.stale = Some(reason);
                    }
                }
            }
            // Even a harmless end waits a little, so that none of them can make a hot loop.
            tokio::select! {
                () = pause.wait() => {}
                () = self.outlet.closed() => return,
            }
        }
    }

    pub(super) fn scope(&self) -> String {
        let prefixes = self.tracks.iter().map(|track| track.prefix.to_string());
        prefixes.collect::<Vec<_>>().join(", ")
    }

    /// The last revision given.
    fn position(&self) -> Revision {
        let positions = self.tracks.iter().map(|track| track.position);
        positions.max().unwrap_or(Revision::ZERO)
    }

    /// Readers take whatever comes for news of an etcd that is there: a loss behind it is told
    /// again, also where no proof has come in between.
    pub(super) async fn give(&mut self, event: MirrorEvent) -> Result<(), Stop> {
        self.stale = None;
        self.outlet.give(event).await.map_err(Stop::from)
    }

    /// Lists if need be, then watches until something happens.
    async fn stretch(&mut self, resuming: bool, proven: &mut bool) -> Stop {
        let outlet = self.outlet.clone();
        let prepared = async {
            if !self.listed {
                return self.list_first().await;
            }
            if resuming && self.relist.is_none() {
                self.relist = self.compare_history().await?;
            }
            match self.relist {
                Some(reason) => self.list_again(reason).await,
                None if resuming => {
                    self.figures.resumed();
                    Ok(())
                }
                None => Ok(()),
            }
        };
        let prepared = tokio::select! {
            prepared = prepared => prepared,
            () = outlet.closed() => return Stop::Unread,
        };
        if let Err(stop) = prepared {
            return stop;
        }
        match self.watch(proven).await {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    async fn watch(&mut self, proven: &mut bool) -> Result<std::convert::Infallible, Stop> {
        let mut stretch = self.open().await?;
        loop {
            let received = tokio::select! {
                // What has come is taken before anything is said about what has not.
                biased;
                received = stretch.watching.next() => received,
                () = self.outlet.closed() => return Err(Stop::Unread),
                () = tokio::time::sleep_until(stretch.proof.next()) => {
                    match stretch.proof.press(&self.options) {
                        Due::Ask => stretch.watching.ask_progress(),
                        Due::Over => return Err(self.silent(&stretch.watching)),
                    }
                    continue;
                }
            };
            let response = match received {
                Ok(response) => response,
                Err(End::Renewed) => return Err(Stop::Again),
                Err(End::Failed(error)) => {
                    self.avoid = Some(stretch.watching.member());
                    return Err(error.into());
                }
            };
            self.check_cluster(response.header.as_ref())?;
            if response.canceled {
                return Err(self.canceled(&stretch.watching, &response));
            }
            let revision = wire::revision(response.header.as_ref());
            if response.created {
                stretch.watching.created(response.watch_id);
                // A member that lags, or a store that was wiped since it was asked: it would be
                // silent until it has grown past us.
                if revision < self.position() {
                    self.relist = self.compare_history().await?;
                    if self.relist.is_some() {
                        return Err(Stop::Again);
                    }
                }
                continue;
            }
            if response.events.is_empty() && !response.fragment {
                // A member that lags proves nothing: asked again, until its time is over.
                if revision >= self.position() {
                    *proven = true;
                    self.prove(&mut stretch, revision).await?;
                }
                continue;
            }
            *proven = true;
            self.denied = false;
            self.take(&mut stretch, response).await?;
            stretch.proof.heard(&self.options);
        }
    }

    async fn open(&mut self) -> Result<Stretch, Stop> {
        let tracks = self.tracks.iter();
        let from = tracks.map(|track| (track.prefix.clone(), track.position));
        let watching = tokio::select! {
            opened = Watching::open(&self.client, from, self.avoid) => opened?,
            () = self.outlet.closed() => return Err(Stop::Unread),
        };
        watching.ask_progress();
        Ok(Stretch {
            watching,
            batches: self.tracks.iter().map(|_| Batches::default()).collect(),
            merge: Merge::new(self.tracks.iter().map(|track| track.position)),
            proof: Proof::asked(&self.options),
        })
    }

    fn silent(&mut self, watching: &Watching) -> Stop {
        watching.suspect();
        self.avoid = Some(watching.member());
        let silent = format!(
            "etcd {}: no proof of progress within {:.1} s",
            watching.endpoint(),
            self.options.progress_timeout.as_secs_f64(),
        );
        Stop::Failed(Reason::Away, silent)
    }

    /// Takes a proof that everything up to this revision has come.
    async fn prove(&mut self, stretch: &mut Stretch, revision: Revision) -> Result<(), Stop> {
        if stretch.watching.honest {
            stretch.merge.prove(revision);
            self.give_whole(stretch).await?;
        }
        self.avoid = None;
        self.denied = false;
        self.figures.fresh();
        self.give(MirrorEvent::Fresh { revision }).await?;
        stretch.proof = Proof::given(&self.options);
        self.settle(stretch).await
    }

    /// Takes what a response holds, and gives each revision that is whole.
    async fn take(
        &mut self,
        stretch: &mut Stretch,
        response: pb::PbWatchResponse,
    ) -> Result<(), Stop> {
        let place = stretch.watching.place(&response);
        let found = place.and_then(|place| {
            let batches = stretch.batches.get_mut(place)?;
            Some((place, batches, self.tracks.get(place)?))
        });
        let Some((place, batches, track)) = found else {
            let endpoint = stretch.watching.endpoint();
            let unasked = format!("etcd {endpoint}: events of a watch that was not asked for");
            return Err(Stop::Failed(Reason::Unusable, unasked));
        };
        let whole = batches
            .push(response.events, response.fragment, track.position)
            .map_err(|unknown| {
                self.relist = Some(Relist::Gap);
                let unknown = format!(
                    "an event of unknown kind {} at revision {}; listing again",
                    unknown.kind, unknown.revision
                );
                Stop::Failed(Reason::Unusable, unknown)
            })?;
        for batch in whole {
            stretch.merge.push(place, batch);
        }
        self.give_whole(stretch).await?;
        if stretch.merge.bytes() > MAX_WAITING {
            tracing::warn!(scope = %self.scope(), "too much waits for its revision; listing again");
            self.relist = Some(Relist::Gap);
            return Err(Stop::Again);
        }
        self.settle(stretch).await
    }

    async fn give_whole(&mut self, stretch: &mut Stretch) -> Result<(), Stop> {
        while let Some((revision, parts)) = stretch.merge.next() {
            let changes = self.note(revision, parts);
            let changed = MirrorEvent::Changed {
                revision,
                changes,
                history: History::Same,
            };
            self.give(changed).await?;
            self.figures.given(revision, self.outlet.unread());
        }
        Ok(())
    }

    /// Notes what a revision did to each prefix, as the reader is about to get it.
    fn note(&mut self, revision: Revision, parts: Parts) -> Vec<Change> {
        let mut all = Vec::new();
        for (place, changes) in parts {
            if let Some(track) = self.tracks.get_mut(place) {
                for change in &changes {
                    track.held.apply(change);
                }
                track.position = revision.max(track.position);
            }
            if all.is_empty() {
                all = changes;
            } else {
                all.extend(changes);
            }
        }
        all
    }

    /// Sees to it that what waits for the other half of its revision does not wait for long: a
    /// proof is asked for, or the store where proofs cannot be relied on.
    async fn settle(&mut self, stretch: &mut Stretch) -> Result<(), Stop> {
        while let Some((revision, behind)) = stretch.merge.unsettled() {
            if stretch.watching.honest {
                if stretch.proof.want(&self.options) {
                    stretch.watching.ask_progress();
                }
                return Ok(());
            }
            let (client, tracks) = (&self.client, &self.tracks);
            let asked = behind.into_iter().filter_map(|(place, through)| {
                let track = tracks.get(place)?;
                Some(async move {
                    let asked = history::is_untouched(client, track, through, revision);
                    asked.await.map(|untouched| untouched.then_some(place))
                })
            });
            let untouched = match futures::future::try_join_all(asked).await {
                Err(Error::Compacted { .. }) => {
                    self.figures.compacted();
                    self.relist = Some(Relist::Gap);
                    return Err(Stop::Again);
                }
                answers => answers?,
            };
            for place in untouched.iter().flatten() {
                stretch.merge.settle(*place, revision);
            }
            self.give_whole(stretch).await?;
            if untouched.contains(&None) {
                // The other half is under way.
                return Ok(());
            }
        }
        Ok(())
    }

    fn check_cluster(&mut self, header: Option<&pb::PbResponseHeader>) -> Result<(), Stop> {
        let cluster = header.map_or(0, |header| header.cluster_id);
        if cluster == 0 || cluster == self.cluster {
            return Ok(());
        }
        let known = std::mem::replace(&mut self.cluster, cluster);
        if known == 0 {
            return Ok(());
        }
        self.relist = Some(Relist::Another);
        let another = format!("another cluster answers: {cluster:x}, it was {known:x}");
        Err(Stop::Failed(Reason::Unusable, another))
    }

    fn canceled(&mut self, watching: &Watching, response: &pb::PbWatchResponse) -> Stop {
        if response.compact_revision != 0 {
            self.figures.compacted();
            self.relist = Some(Relist::Gap);
            return Stop::Again;
        }
        // etcd gives one reason for a stale token and for a missing right. A new token is tried
        // once: each has all streams of the client opened again.
        if !self.denied {
            self.denied = true;
            watching.refuse_pass();
        }
        let scope = watching
            .place(response)
            .and_then(|place| self.tracks.get(place))
            .map_or_else(|| self.scope(), |track| track.prefix.to_string());
        let refused = format!(
            "etcd {}: watch of {scope} refused: {}",
            watching.endpoint(),
            response.cancel_reason
        );
        Stop::Failed(Reason::Cancelled, refused)
    }
}
