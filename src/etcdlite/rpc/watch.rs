//! The Watch service: one stream, many watches.
//! Invariant: an answer is made only when the client has room for it, so a slow client holds a place in
//! history and nothing else. `created` precedes the watch's events. Requests are read while few
//! control answers wait, so a client that only asks is slowed down too.

use std::collections::VecDeque;

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Request, Response, Status, Streaming};

use super::Context;
use super::session::Session;
use crate::watch::{FRAGMENT_BYTES, NO_WATCH, Step, Watches, Wish};

/// Control answers that may wait before requests do.
const MAX_PENDING: usize = 64;

#[derive(Debug)]
pub(super) struct Watch(pub(super) Context);

#[tonic::async_trait]
impl PbWatchService for Watch {
    type WatchStream = BoxStream<'static, Result<PbWatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let conversation = Conversation::new(self.0.clone(), request.into_inner());
        let answers = stream::unfold(Some(conversation), |conversation| async move {
            let mut conversation = conversation?;
            match conversation.next().await {
                Ok(response) => Some((Ok(response), Some(conversation))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// One watch stream. Owned by its answers: dropping those ends it.
struct Conversation {
    session: Session,
    requests: Streaming<PbWatchRequest>,
    /// The client said that it asks for nothing more; its watches go on.
    requests_ended: bool,
    watches: Watches,
    commits: watch::Receiver<i64>,
    ticks: Interval,
    pending: VecDeque<PbWatchResponse>,
    progress_asked: bool,
}

impl Conversation {
    fn new(context: Context, requests: Streaming<PbWatchRequest>) -> Self {
        let period = context.progress_notify_interval;
        let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            commits: context.engine.commits(),
            session: Session::new(context),
            requests,
            requests_ended: false,
            watches: Watches::default(),
            ticks,
            pending: VecDeque::new(),
            progress_asked: false,
        }
    }

    async fn next(&mut self) -> Result<PbWatchResponse, Status> {
        loop {
            self.session.go_on().await?;
            self.take_waiting_requests()?;
            if let Some(response) = self.pending.pop_front() {
                return Ok(response);
            }
            self.commits.mark_unchanged();
            match self.look() {
                Step::News(news) => {
                    let engine = &self.session.context.engine;
                    let header = |revision| engine.header(revision);
                    self.pending
                        .extend(news.into_messages(header, FRAGMENT_BYTES));
                }
                Step::More => tokio::task::yield_now().await,
                Step::Idle if self.pending.is_empty() => self.wait().await?,
                Step::Idle => {}
            }
        }
    }

    /// Looks for news, and answers a question for progress once there is none.
    fn look(&mut self) -> Step {
        let engine = &self.session.context.engine;
        let (watches, asked) = (&mut self.watches, self.progress_asked);
        let (step, known) = engine.read(|store| {
            let step = watches.step(store);
            let current = store.current();
            (
                step,
                (asked && watches.all_know(current)).then_some(current),
            )
        });
        if let (Step::Idle, Some(revision)) = (&step, known) {
            self.progress_asked = false;
            self.pending.push_back(PbWatchResponse {
                header: Some(engine.header(revision)),
                watch_id: NO_WATCH,
                ..PbWatchResponse::default()
            });
        }
        step
    }

    /// Waits for anything to do.
    async fn wait(&mut self) -> Result<(), Status> {
        tokio::select! {
            request = self.requests.message(), if !self.requests_ended => {
                let request = request?;
                self.take(request);
            }
            changed = self.commits.changed() => {
                changed.map_err(|_| Status::from(crate::Refusal::Stopped))?;
            }
            _ = self.ticks.tick() => self.tick(),
            status = self.session.ended() => return Err(status),
        }
        Ok(())
    }

    fn take_waiting_requests(&mut self) -> Result<(), Status> {
        while !self.requests_ended && self.pending.len() < MAX_PENDING {
            let Some(request) = self.requests.message().now_or_never() else {
                break;
            };
            self.take(request?);
        }
        Ok(())
    }

    fn take(&mut self, request: Option<PbWatchRequest>) {
        let Some(request) = request else {
            self.requests_ended = true;
            return;
        };
        match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(create)) => self.create(Wish {
                key: create.key,
                range_end: create.range_end,
                start_revision: create.start_revision,
                filters: create.filters,
                prev_kv: create.prev_kv,
                progress_notify: create.progress_notify,
                fragment: create.fragment,
                watch_id: create.watch_id,
            }),
            Some(PbWatchRequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            // A stream without watches has no progress to speak of; etcd is silent too.
            Some(PbWatchRequestUnion::ProgressRequest(_)) => {
                self.progress_asked = !self.watches.is_empty();
            }
            None => {}
        }
    }

    fn create(&mut self, wish: Wish) {
        let engine = &self.session.context.engine;
        let watches = &mut self.watches;
        let (created, revision) =
            engine.read(|store| (watches.create(wish, store), store.current()));
        let mut response = PbWatchResponse {
            header: Some(engine.header(revision)),
            created: true,
            ..PbWatchResponse::default()
        };
        match created {
            Ok(id) => response.watch_id = id,
            Err(reason) => {
                response.watch_id = NO_WATCH;
                response.canceled = true;
                response.cancel_reason = reason;
            }
        }
        self.pending.push_back(response);
    }

    fn cancel(&mut self, id: i64) {
        if self.watches.cancel(id) {
            let engine = &self.session.context.engine;
            self.pending.push_back(PbWatchResponse {
                header: Some(engine.header(engine.revision())),
                watch_id: id,
                canceled: true,
                ..PbWatchResponse::default()
            });
        }
    }

    fn tick(&mut self) {
        let engine = &self.session.context.engine;
        let revision = engine.revision();
        for id in self.watches.tick(revision) {
            self.pending.push_back(PbWatchResponse {
                header: Some(engine.header(revision)),
                watch_id: id,
                ..PbWatchResponse::default()
            });
        }
    }
}
