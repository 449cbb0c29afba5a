//! A two-way stream on one member that ends as soon as that member is lost, or the token renewed.
//!
//! It never reconnects: resuming is its owner's, who knows where it stood.

use std::pin::pin;
use std::sync::Arc;

use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::auth::Pass;
use super::call::{self, Method};
use super::link::{Link, MAX_REQUEST, Trouble};
use super::member::{Connection, StreamGuard, ask_status};
use super::patience::Patience;
use crate::error::{Error, Subject, Verdict, judge};

/// Requests that wait to be sent. More would be a flood.
const OUTBOX: usize = 16;

/// Why a stream ended.
#[derive(Debug)]
pub(crate) enum End {
    /// There is a newer token, and this stream is still on the old one: open it again.
    Renewed,
    /// It failed.
    Failed(Error),
}

/// An open stream. Dropping it closes it.
pub(crate) struct Stream<Req, Res> {
    pub(crate) index: usize,
    link: Arc<Link>,
    method: &'static Method,
    endpoint: Arc<str>,
    requests: mpsc::Sender<Req>,
    responses: Streaming<Res>,
    connection: Connection,
    pass: Pass,
    generations: watch::Receiver<u64>,
    _count: StreamGuard,
}

impl<Req, Res> Stream<Req, Res>
where
    Req: Message + Send + Sync + 'static,
    Res: Message + Default + Send + Sync + 'static,
{
    /// Opens a stream on the best member, the one to avoid last, and sends the first request.
    /// etcd answers the opening together with the first request, so there has to be one.
    pub(crate) async fn open(
        link: &Arc<Link>,
        method: &'static Method,
        first: Req,
        avoid: Option<usize>,
    ) -> Result<Self, Error>
    where
        Req: Clone,
    {
        let within = link.settings.request_timeout;
        let deadline = Instant::now() + within;
        let mut patience = Patience::new(within);
        let mut unreached = Vec::new();
        let mut last = None;
        for index in link.candidates(avoid) {
            let attempt = Self::open_on(link, method, first.clone(), index, deadline);
            let ended = patience.wait(pin!(attempt)).await;
            match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(Ok(cause))) => unreached.push(cause),
                Some(Err(Err(error))) => {
                    if !error.is_absence() && !matches!(error, Error::Auth { .. }) {
                        return Err(error);
                    }
                    last = Some(error);
                }
                None => {
                    return Err(Error::Deadline {
                        endpoint: link.endpoints().join(", "),
                        method: method.name,
                        after: within,
                        cause: last.map(|error: Error| error.to_string()),
                    });
                }
            }
        }
        Err(last.unwrap_or_else(|| link.unreachable(&unreached)))
    }

    async fn open_on(
        link: &Arc<Link>,
        method: &'static Method,
        first: Req,
        index: usize,
        deadline: Instant,
    ) -> Result<Self, Result<(usize, String), Error>> {
        let (endpoint, connection, pass) = link.connect_for_stream(index, deadline).await?;
        // Before the first answer already, so that a silent member is noticed while opening.
        let count = connection.open_stream();
        let generations = link.auth.generations();
        let (requests, outbox) = mpsc::channel(OUTBOX);
        let _ = requests.try_send(first);
        let exchange = call::streaming(
            &connection.transport,
            method,
            call::request(ReceiverStream::new(outbox), pass.token.as_ref()),
            link.settings.max_response,
        );
        let opened = tokio::select! {
            opened = exchange => opened,
            () = connection.lost.cancelled() => Err(Status::from_error(Box::new(
                tonic::ConnectError("the member stopped answering".into()),
            ))),
        };
        match opened {
            Ok(responses) => {
                connection.hear();
                Ok(Self {
                    index,
                    link: Arc::clone(link),
                    method,
                    endpoint,
                    requests,
                    responses,
                    connection,
                    pass,
                    generations,
                    _count: count,
                })
            }
            Err(status) => {
                if let Some(cause) = call::broken_by(&status) {
                    link.report(index, &connection, Trouble::Broken(&cause));
                    return Err(Ok((index, cause)));
                }
                connection.hear();
                Err(Err(refusal(link, method, &endpoint, &pass, &status)))
            }
        }
    }

    /// The next response. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Res, End> {
        let ended = |cause: &str| {
            End::Failed(Error::Lost {
                endpoint: self.endpoint.to_string(),
                method: self.method.name,
                cause: cause.to_owned(),
            })
        };
        let received = tokio::select! {
            biased;
            received = self.responses.message() => received,
            () = self.connection.lost.cancelled() => {
                return Err(ended("the member stopped answering"));
            }
            Ok(()) = renewed(&mut self.generations, self.pass.generation) => {
                return Err(End::Renewed);
            }
        };
        match received {
            Ok(Some(response)) => {
                self.connection.hear();
                Ok(response)
            }
            Ok(None) => Err(ended("etcd closed the stream")),
            Err(status) => {
                if let Some(cause) = call::broken_by(&status) {
                    self.link
                        .report(self.index, &self.connection, Trouble::Broken(&cause));
                    return Err(ended(&cause));
                }
                let error = refusal(&self.link, self.method, &self.endpoint, &self.pass, &status);
                self.suspect();
                Err(End::Failed(error))
            }
        }
    }

    /// Queues a request; `false` when the outbox is full, which a member that takes nothing causes.
    pub(crate) fn send(&self, request: Req) -> bool {
        self.requests.try_send(request).is_ok()
    }

    /// Queues a request, once there is room for it; `false` when the stream has ended.
    pub(crate) async fn queue(&self, request: Req) -> bool {
        let room = tokio::time::timeout(
            self.link.settings.request_timeout,
            self.requests.send(request),
        );
        matches!(room.await, Ok(Ok(())))
    }

    /// The version of the member that serves the stream; `None` when it does not say.
    pub(crate) async fn server_version(&self) -> Option<String> {
        let asked = tokio::time::timeout(
            self.link.settings.probe_timeout,
            ask_status(&self.connection.transport),
        );
        Some(asked.await.ok()?.ok()?.version)
    }

    /// Has the member's task see whether it still answers.
    pub(crate) fn suspect(&self) {
        self.link
            .report(self.index, &self.connection, Trouble::Silent);
    }

    /// The member that serves the stream.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Notes that etcd refused what the stream's token was to allow, so that the next is fetched.
    pub(crate) fn refuse_pass(&self) {
        if self.link.auth.has_user() {
            self.link.auth.refuse(&self.pass);
        }
    }
}

/// Ends when there is a token newer than this generation.
async fn renewed(
    generations: &mut watch::Receiver<u64>,
    than: u64,
) -> Result<(), watch::error::RecvError> {
    generations
        .wait_for(|generation| *generation > than)
        .await
        .map(|_| ())
}

fn refusal(
    link: &Link,
    method: &'static Method,
    endpoint: &str,
    pass: &Pass,
    status: &Status,
) -> Error {
    let subject = Subject {
        endpoint,
        method: method.name,
        lease: None,
        revision: fleet::Revision::ZERO,
        bytes: 0,
        limit: MAX_REQUEST,
    };
    let (error, verdict) = judge(status, subject);
    if link.auth.consider(verdict, pass) == Verdict::Reauthenticate {
        tracing::debug!(endpoint, "etcd no longer takes the token of a stream");
    }
    error
}
