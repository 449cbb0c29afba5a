//! The mirror's task: list, watch, resume; list again where history has a hole.
//!
//! The position moves with the events given and with listings, never with anything else.

use std::time::Duration;

use etcd_client::proto as pb;
use fleet::{Prefix, Revision};
use tokio::sync::mpsc;

use super::batch::Batches;
use super::held::{Held, History};
use super::proof::Proof;
use super::{MirrorEvent, MirrorOptions};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::client::call;
use crate::client::range::ListOptions;
use crate::client::stream::{End, Stream};
use crate::error::Error;
use crate::wire;

pub(super) type Watch = Stream<pb::PbWatchRequest, pb::PbWatchResponse>;

pub(super) struct Session {
    client: Client,
    prefix: Prefix,
    options: MirrorOptions,
    events: mpsc::Sender<MirrorEvent>,
    /// `None` until the first listing.
    held: Option<Held>,
    /// The last revision given; the watch resumes behind it.
    position: Revision,
    /// The cluster that was listed.
    cluster: u64,
    /// The reader was told that its data may be out of date.
    stale: bool,
    /// The next connection has to list, and this is how the listing relates to what is held.
    relist: Option<History>,
    avoid: Option<usize>,
}

/// Why a stretch of mirroring ended.
enum Stop {
    /// Nobody reads any more.
    Unread,
    /// To be tried again, after a wait.
    Failed(String),
    /// To be tried again at once, nothing being wrong.
    Again,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Session {
    pub(super) fn new(
        client: Client,
        prefix: Prefix,
        options: MirrorOptions,
        events: mpsc::Sender<MirrorEvent>,
    ) -> Self {
        Self {
            client,
            prefix,
            options,
            events,
            held: None,
            position: Revision::ZERO,
            cluster: 0,
            stale: false,
            relist: None,
            avoid: None,
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
                Stop::Failed(cause) => {
                    tracing::debug!(prefix = %self.prefix, %cause, "mirror interrupted");
                    if !self.stale {
                        self.stale = true;
                        if self.give(MirrorEvent::Stale { cause }).await.is_err() {
                            return;
                        }
                    }
                }
            }
            // Even a harmless end waits a little, so that none of them can make a hot loop.
            tokio::select! {
                () = pause.wait() => {}
                () = self.events.closed() => return,
            }
        }
    }

    async fn give(&self, event: MirrorEvent) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Unread)
    }

    /// Lists if need be, then watches until something happens.
    async fn stretch(&mut self, resuming: bool, proven: &mut bool) -> Stop {
        let events = self.events.clone();
        let prepared = async {
            if self.held.is_none() {
                return self.list_first().await;
            }
            if resuming && self.relist.is_none() {
                self.relist = self.compare_history().await?;
            }
            match self.relist {
                Some(history) => self.list_again(history).await,
                None => Ok(()),
            }
        };
        let prepared = tokio::select! {
            prepared = prepared => prepared,
            () = events.closed() => return Stop::Unread,
        };
        if let Err(stop) = prepared {
            return stop;
        }
        match self.watch(proven).await {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    fn list_options(&self) -> ListOptions {
        ListOptions {
            page: self.options.page,
            revision: None,
        }
    }

    async fn list_first(&mut self) -> Result<(), Stop> {
        let listing = self.client.list(&self.prefix, self.list_options()).await?;
        self.held = Some(Held::of(&listing.entries));
        self.position = listing.revision;
        self.relist = None;
        let (revision, entries) = (listing.revision, listing.entries);
        self.give(MirrorEvent::Listed { revision, entries }).await
    }

    async fn list_again(&mut self, history: History) -> Result<(), Stop> {
        let listing = self.client.list(&self.prefix, self.list_options()).await?;
        let revision = listing.revision;
        let held = self.held.get_or_insert_default();
        let changes = held.replace(listing.entries, revision, history);
        self.position = revision;
        self.relist = None;
        if history == History::Broken {
            self.cluster = 0;
            tracing::warn!(prefix = %self.prefix, %revision, "etcd was wiped or replaced");
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.give(MirrorEvent::Changed { revision, changes }).await
    }

    /// Whether the store we come back to is the one we left, seen at our position. A store that
    /// was wiped and has grown past it again would otherwise be followed as if nothing had been.
    async fn compare_history(&self) -> Result<Option<History>, Stop> {
        let anchor = self.held.as_ref().and_then(Held::anchor);
        let key = match anchor {
            Some((key, _)) => key.clone(),
            // No key to compare: reading at our position still shows a store that is behind it.
            None => fleet::Key::from(self.prefix.as_bytes()),
        };
        match self.client.get_at(&key, self.position).await {
            Ok((found, _)) => match (anchor, found) {
                (Some((_, written)), Some(found)) if found.mod_revision == *written => Ok(None),
                (None, _) => Ok(None),
                _ => Ok(Some(History::Broken)),
            },
            Err(Error::Future { .. }) => Ok(Some(History::Broken)),
            Err(Error::Compacted { .. }) => Ok(Some(History::Continued)),
            Err(error) => Err(error.into()),
        }
    }

    async fn watch(&mut self, proven: &mut bool) -> Result<std::convert::Infallible, Stop> {
        let mut watch = self.open().await?;
        let mut batches = Batches::default();
        let mut proof = Proof::asked(&watch, &self.options);
        loop {
            let received = tokio::select! {
                received = watch.next() => received,
                () = tokio::time::sleep_until(proof.next()) => {
                    if !proof.press(&watch, &self.options) {
                        watch.suspect();
                        self.avoid = Some(watch.index);
                        return Err(Stop::Failed(format!(
                            "etcd {}: no proof of progress within {:.1} s",
                            watch.endpoint(),
                            self.options.progress_timeout.as_secs_f64(),
                        )));
                    }
                    continue;
                }
                () = self.events.closed() => return Err(Stop::Unread),
            };
            let response = match received {
                Ok(response) => response,
                Err(End::Renewed) => return Err(Stop::Again),
                Err(End::Failed(error)) => {
                    self.avoid = Some(watch.index);
                    return Err(error.into());
                }
            };
            self.check_cluster(response.header.as_ref())?;
            if response.canceled {
                return Err(self.canceled(&watch, &response));
            }
            if response.created {
                continue;
            }
            let revision = wire::revision(response.header.as_ref());
            if response.events.is_empty() && !response.fragment {
                *proven = true;
                self.avoid = None;
                self.stale = false;
                self.give(MirrorEvent::Fresh { revision }).await?;
                proof = Proof::given(&self.options);
                continue;
            }
            self.take(&mut batches, response).await?;
            *proven = true;
            proof.heard(&self.options);
        }
    }

    /// Gives what a response holds, one revision at a time.
    async fn take(
        &mut self,
        batches: &mut Batches,
        response: pb::PbWatchResponse,
    ) -> Result<(), Stop> {
        let whole = batches
            .push(response.events, response.fragment, self.position)
            .map_err(|unknown| {
                self.relist = Some(History::Continued);
                Stop::Failed(format!(
                    "an event of unknown kind {} at revision {}; listing again",
                    unknown.kind, unknown.revision
                ))
            })?;
        for (revision, changes) in whole {
            let held = self.held.get_or_insert_default();
            for change in &changes {
                held.apply(change);
            }
            self.give(MirrorEvent::Changed { revision, changes })
                .await?;
            self.position = revision;
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Watch, Stop> {
        let first = create(&self.prefix, self.position.next());
        let opening = Watch::open(&self.client.link, &call::WATCH, first, self.avoid);
        tokio::select! {
            opened = opening => Ok(opened?),
            () = self.events.closed() => Err(Stop::Unread),
        }
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
        self.relist = Some(History::Broken);
        Err(Stop::Failed(format!(
            "another cluster answers: {cluster:x}, it was {known:x}"
        )))
    }

    fn canceled(&mut self, watch: &Watch, response: &pb::PbWatchResponse) -> Stop {
        if response.compact_revision != 0 {
            self.relist = Some(History::Continued);
            return Stop::Again;
        }
        // etcd gives one reason for a stale token and for a missing right.
        watch.refuse_pass();
        Stop::Failed(format!(
            "etcd {}: watch of {} refused: {}",
            watch.endpoint(),
            self.prefix,
            response.cancel_reason
        ))
    }
}

/// The request for a watch. Without previous values: hundreds of watches that ask for them starve
/// etcd, and whoever needs them holds them. In fragments, so that no message grows without bound.
fn create(prefix: &Prefix, from: Revision) -> pb::PbWatchRequest {
    let mut union = pb::PbWatchRequestUnion::CreateRequest(Default::default());
    if let pb::PbWatchRequestUnion::CreateRequest(create) = &mut union {
        create.key = prefix.as_bytes().to_vec();
        create.range_end = prefix.range_end();
        create.start_revision = from.0;
        create.fragment = true;
    }
    pb::PbWatchRequest {
        request_union: Some(union),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_asks_for_its_prefix_and_for_no_previous_values() {
        let request = create(&Prefix::new("/a/").unwrap(), Revision(8));
        let Some(pb::PbWatchRequestUnion::CreateRequest(create)) = request.request_union else {
            panic!("not a create request");
        };
        assert_eq!(
            (&*create.key, &*create.range_end),
            (b"/a/".as_slice(), b"/a0".as_slice())
        );
        assert_eq!(create.start_revision, 8);
        assert!(create.fragment && !create.prev_kv);
    }
}
