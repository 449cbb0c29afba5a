//! Runs a sequence on both servers and compares as it goes.
//! Invariant: both see the same requests in the same order. Before a compaction and at the end every
//! watch is flushed: a change it must see is made, and its events are read up to there on both sides,
//! so that nothing is compared before it is complete.

use etcd_client::proto::*;
use futures::future::join;
use proptest::test_runner::TestCaseError;

use super::answer::{Answer, Place, settled};
use super::operation::{LEASES, Operation, Revision, Watch};
use crate::store::KeyRange;
use crate::tests::client::{Api, WatchStream, mod_revision};
use crate::tests::peer::Peer;
use crate::watch::Wish;
use crate::{Options, Server};

type Outcome = Result<(), TestCaseError>;

/// The server under test and the one it is compared with.
pub(super) struct Pair {
    _server: Server,
    lite: Api,
    peer: Peer,
    place: Place,
}

/// The same watch on both sides.
struct Watched {
    id: i64,
    range: KeyRange,
    events: [Vec<PbEvent>; 2],
}

macro_rules! both {
    ($pair:expr, $method:ident($request:expr)) => {{
        let request = $request;
        let what = format!("{} {request:?}", stringify!($method));
        let call = join(
            $pair.lite.$method(request.clone()),
            $pair.peer.api.$method(request),
        );
        let (lite, peer) = call.await;
        $pair.compare(&what, settled(lite), &settled(peer))
    }};
}

impl Pair {
    pub(super) async fn start() -> Self {
        let (server, channel) = Server::in_process(Options::default());
        let peer = Peer::start().await;
        Self {
            _server: server,
            lite: Api::new(channel),
            peer,
            place: Place {
                current: 1,
                compacted: -1,
            },
        }
    }

    pub(super) async fn run(&mut self, sequence: &[Operation]) -> Outcome {
        let mut streams = [self.lite.watch(), self.peer.api.watch()];
        let mut watched = Vec::new();
        for operation in sequence {
            self.step(operation, &mut streams, &mut watched).await?;
        }
        self.flush(&mut streams, &mut watched).await?;
        self.clean().await
    }

    async fn step(
        &mut self,
        operation: &Operation,
        streams: &mut [WatchStream; 2],
        watched: &mut Vec<Watched>,
    ) -> Outcome {
        let place = self.place;
        match operation {
            Operation::Put(put) => both!(self, put(place.put(put))),
            Operation::Delete(range, prev) => both!(self, delete(place.delete(range, *prev))),
            Operation::Get(get) => both!(self, range(place.get(get))),
            Operation::Txn(txn) => both!(self, txn(place.txn(txn))),
            Operation::Compact(revision) => self.compact(*revision, streams, watched).await,
            Operation::Grant { id, ttl } => {
                both!(self, grant(PbLeaseGrantRequest { id: *id, ttl: *ttl }))
            }
            Operation::Revoke(id) => both!(self, revoke(PbLeaseRevokeRequest { id: *id })),
            Operation::TimeToLive(id) => {
                both!(
                    self,
                    time_to_live(PbLeaseTimeToLiveRequest {
                        id: *id,
                        keys: true
                    })
                )
            }
            Operation::Leases => both!(self, leases(PbLeaseLeasesRequest {})),
            Operation::KeepAlive(id) => both!(self, keep_alive(*id)),
            Operation::Watch(watch) => self.watch(watch, streams, watched).await,
            Operation::CancelWatch(index) => self.cancel(*index, streams, watched).await,
        }
    }

    fn compare<A: Answer>(
        &mut self,
        what: &str,
        lite: Result<A, String>,
        peer: &Result<A, String>,
    ) -> Outcome {
        if let (Err(ours), Err(theirs)) = (&lite, peer)
            && self.peer.is_3_4()
            && what.starts_with("txn")
        {
            // Of two reasons to refuse a txn, 3.4 names a put's before any range's, 3.6 (and
            // etcdlite) the first in order.
            let checked = ["compacted", "future", "key not found", "lease not found"];
            let either = |error: &str| checked.iter().any(|reason| error.contains(reason));
            if either(ours) && either(theirs) {
                return Ok(());
            }
        }
        if lite != *peer {
            return Err(TestCaseError::fail(format!(
                "{what}:\netcdlite {lite:?}\netcd {} {peer:?}",
                self.peer.version
            )));
        }
        if let Ok(mut answer) = lite
            && let Some(header) = answer.header()
        {
            self.place.current = self.place.current.max(header.revision);
        }
        Ok(())
    }

    async fn compact(
        &mut self,
        revision: Revision,
        streams: &mut [WatchStream; 2],
        watched: &mut [Watched],
    ) -> Outcome {
        // A watch that etcd has not yet brought up to date would be cancelled by chance.
        self.flush(streams, watched).await?;
        let revision = self.place.resolve(revision);
        let request = PbCompactionRequest {
            revision,
            physical: true,
        };
        both!(self, compact(request))?;
        if revision > self.place.compacted && revision <= self.place.current {
            self.place.compacted = revision;
        }
        Ok(())
    }

    async fn watch(
        &mut self,
        watch: &Watch,
        streams: &mut [WatchStream; 2],
        watched: &mut Vec<Watched>,
    ) -> Outcome {
        let start = self.place.resolve(watch.start);
        if start == self.place.compacted && self.peer.is_3_4() {
            // 3.4 loses deletions at the compacted revision, 3.6 (and etcdlite) shows them.
            return Ok(());
        }
        let wish = Wish {
            key: watch.range.key.clone(),
            range_end: watch.range.end.clone(),
            start_revision: start,
            filters: watch.filters.clone(),
            prev_kv: watch.prev_kv,
            watch_id: watch.id,
            ..Wish::default()
        };
        let mut answers = Vec::new();
        for (side, stream) in streams.iter_mut().enumerate() {
            stream.create(wish.clone()).await;
            let mut answer = until(stream, side, watched, |answer| answer.created).await?;
            answer.header = answer.header.map(|header| PbResponseHeader {
                revision: header.revision,
                ..PbResponseHeader::default()
            });
            answers.push(answer);
        }
        same("a watch's creation", &answers[0], &answers[1])?;
        if answers[0].canceled {
            return Ok(());
        }
        let id = answers[0].watch_id;
        if start > 0 && start < self.place.compacted {
            let mut ends = Vec::new();
            for (side, stream) in streams.iter_mut().enumerate() {
                let end = until(stream, side, watched, |answer| answer.canceled).await?;
                ends.push((end.watch_id, end.compact_revision, end.events));
            }
            same("a watch from before the compaction", &ends[0], &ends[1])?;
            // etcd keeps the id taken until it is cancelled once more.
            streams[1].cancel(id).await;
            until(&mut streams[1], 1, watched, |answer| answer.canceled).await?;
            return Ok(());
        }
        let key = if watch.range.key.is_empty() {
            vec![0]
        } else {
            watch.range.key.clone()
        };
        watched.push(Watched {
            id,
            range: KeyRange::new(key, watch.range.end.clone()),
            events: [Vec::new(), Vec::new()],
        });
        Ok(())
    }

    async fn cancel(
        &mut self,
        index: usize,
        streams: &mut [WatchStream; 2],
        watched: &mut Vec<Watched>,
    ) -> Outcome {
        self.flush(streams, watched).await?;
        if index >= watched.len() {
            return Ok(());
        }
        let id = watched[index].id;
        let mut answers = Vec::new();
        for (side, stream) in streams.iter_mut().enumerate() {
            stream.cancel(id).await;
            let answer = until(stream, side, watched, |answer| answer.canceled).await?;
            let revision = answer.header.map(|header| header.revision);
            answers.push((answer.watch_id, revision, answer.compact_revision));
        }
        same("a watch's cancellation", &answers[0], &answers[1])?;
        watched.remove(index);
        Ok(())
    }

    /// Makes a change that each watch must see, reads its events up to there, compares them.
    async fn flush(&mut self, streams: &mut [WatchStream; 2], watched: &mut [Watched]) -> Outcome {
        let mut marks = Vec::new();
        for watch in watched.iter() {
            let (KeyRange::One(key) | KeyRange::Span(key, _) | KeyRange::From(key)) = &watch.range;
            // Three changes: one passes either filter, and a start just ahead is reached.
            let put = PbPutRequest {
                key: key.clone(),
                ..PbPutRequest::default()
            };
            let delete = PbDeleteRequest {
                key: key.clone(),
                ..PbDeleteRequest::default()
            };
            both!(self, put(put.clone()))?;
            both!(self, delete(delete))?;
            both!(self, put(put))?;
            marks.push((watch.id, self.place.current - 1));
        }
        for (side, stream) in streams.iter_mut().enumerate() {
            for (id, mark) in &marks {
                loop {
                    let watch = watched.iter().find(|watch| watch.id == *id);
                    let last = watch.and_then(|watch| watch.events[side].last());
                    if last.is_some_and(|event| mod_revision(event) >= *mark) {
                        break;
                    }
                    let answer = stream.next().await;
                    note(answer, side, watched)?;
                }
            }
        }
        for watch in watched.iter_mut() {
            // What came after the mark on one side may not have come on the other yet.
            let shared = watch.events[0].len().min(watch.events[1].len());
            let [lite, peer] = &mut watch.events;
            let (lite, peer): (Vec<_>, Vec<_>) = (
                lite.drain(..shared).collect(),
                peer.drain(..shared).collect(),
            );
            same("a watch's events", &lite, &peer)?;
        }
        Ok(())
    }

    /// Leaves no key and no lease to the next sequence.
    async fn clean(&mut self) -> Outcome {
        for id in &LEASES[1..] {
            both!(self, revoke(PbLeaseRevokeRequest { id: *id }))?;
        }
        let request = PbDeleteRequest {
            key: vec![0],
            range_end: vec![0],
            ..PbDeleteRequest::default()
        };
        both!(self, delete(request))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, lite: &T, peer: &T) -> Outcome {
    if lite == peer {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "{what}:\netcdlite {lite:?}\netcd {peer:?}"
    )))
}

/// Reads up to an answer of a kind, keeping the events before it.
async fn until(
    stream: &mut WatchStream,
    side: usize,
    watched: &mut [Watched],
    wanted: impl Fn(&PbWatchResponse) -> bool,
) -> Result<PbWatchResponse, TestCaseError> {
    loop {
        let answer = stream.next().await;
        if wanted(&answer) {
            return Ok(answer);
        }
        note(answer, side, watched)?;
    }
}

fn note(answer: PbWatchResponse, side: usize, watched: &mut [Watched]) -> Outcome {
    let Some(watch) = watched.iter_mut().find(|watch| watch.id == answer.watch_id) else {
        return Err(TestCaseError::fail(format!(
            "side {side}: unexpected {answer:?}"
        )));
    };
    if answer.canceled || answer.created {
        return Err(TestCaseError::fail(format!(
            "side {side}: unexpected {answer:?}"
        )));
    }
    watch.events[side].extend(answer.events);
    Ok(())
}
