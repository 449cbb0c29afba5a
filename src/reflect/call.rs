//! Calls by descriptor: all four kinds, bytes in and bytes out, over any channel.
//! Invariant: a [`Call`] ends in exactly one [`Event::End`], whatever fails, and dropping it
//! cancels the call on the server. JSON is made of messages only when somebody asks.

mod codec;
pub mod connect;
mod hello;
mod metadata;
mod status;

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{CompressionEncoding, Streaming};
use tonic::codegen::StdError;

pub use hello::speaks_tls;
pub use metadata::{Metadata, Value};
pub use status::{Detail, Status};

use crate::error::Error;
use crate::schema::Method;
pub use codec::BytesCodec;

/// What calls can travel over: tonic's channel, a balancer, or a service in the same process.
pub trait Transport:
    GrpcService<
        Body,
        ResponseBody: tonic::codegen::Body<Data = Bytes, Error: Into<StdError>> + Send + 'static,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
}

impl<T> Transport for T where
    T: GrpcService<
            Body,
            ResponseBody: tonic::codegen::Body<Data = Bytes, Error: Into<StdError>>
                              + Send
                              + 'static,
            Future: Send,
        > + Clone
        + Send
        + 'static
{
}

/// How a call is made.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Sent with the request.
    pub metadata: Metadata,
    /// From now to the last byte; sent as `grpc-timeout` and enforced here as well.
    pub deadline: Option<Duration>,
    /// The largest message that is accepted or sent, in bytes.
    pub max_message_size: usize,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions {
            metadata: Metadata::default(),
            deadline: None,
            max_message_size: DEFAULT_MESSAGE_SIZE,
        }
    }
}

/// Four times gRPC's customary 4 MiB, which replies of lists outgrow.
const DEFAULT_MESSAGE_SIZE: usize = 16 << 20;

/// What happens during a call, in order: headers, messages, the end.
#[derive(Clone, Debug)]
pub enum Event {
    /// The response began.
    Headers {
        /// Response metadata.
        headers: Metadata,
        /// Since the call began.
        after: Duration,
    },
    /// A response message, as wire bytes.
    Message {
        /// The message.
        bytes: Bytes,
        /// Since the call began.
        after: Duration,
    },
    /// Nothing follows.
    End(End),
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct End {
    /// The status; `Ok` for success.
    pub status: Status,
    /// Metadata behind the last message; of a response without messages, all there was.
    pub trailers: Metadata,
    /// When what happened.
    pub timings: Timings,
}

/// Times since the call began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Until the response's headers.
    pub headers: Option<Duration>,
    /// Until the first message.
    pub first_message: Option<Duration>,
    /// Until the end.
    pub total: Duration,
}

/// A call under way: a stream of events. Dropping it cancels the call.
pub struct Call {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    // Only for its drop.
    _reset: ResetOnDrop,
}

/// Resets the HTTP/2 stream. Dropping the response alone would leave a request stream that waits
/// for its caller open for ever, and ending that one would tell the server that it is complete.
struct ResetOnDrop(Option<tonic::CancellationHandle>);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}

impl Call {
    /// The next event; `None` after [`Event::End`].
    pub async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }
}

impl Stream for Call {
    type Item = Event;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Event>> {
        self.events.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

/// Begins a call. `requests` are wire messages; methods that take one get a stream of one, and
/// the stream's end half-closes the call. Nothing is sent before the first event is awaited.
///
/// # Errors
/// [`Error::Header`] for metadata that HTTP/2 cannot carry. What goes wrong later is the status
/// of [`Event::End`].
pub fn call<T: Transport>(
    transport: T,
    method: &Method,
    requests: impl Stream<Item = Bytes> + Send + 'static,
    options: CallOptions,
) -> Result<Call, Error> {
    let path: PathAndQuery = method.path().parse().map_err(|_| Error::Rule {
        method: method.full_name(),
        cause: "no valid path".into(),
    })?;
    let CallOptions {
        metadata,
        deadline,
        max_message_size,
    } = options;
    let mut request = tonic::Request::new(requests);
    *request.metadata_mut() = metadata.to_tonic()?;
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    let reset = ResetOnDrop(Some(request.cancellation_handle()));
    let start = async move {
        let mut grpc = Grpc::new(transport)
            .max_decoding_message_size(max_message_size)
            .max_encoding_message_size(max_message_size)
            .accept_compressed(CompressionEncoding::Gzip);
        if let Err(cause) = grpc.ready().await {
            return Err(status::unavailable(cause.into().as_ref()));
        }
        grpc.streaming(request, path, BytesCodec).await
    };
    let clock = Clock {
        began: None,
        deadline,
        timings: Timings::default(),
    };
    let state = State::Starting(Box::pin(start));
    let events = futures::stream::unfold((state, clock), |(state, mut clock)| async move {
        let (event, state) = step(state, &mut clock).await?;
        Some((event, (state, clock)))
    });
    Ok(Call {
        events: Box::pin(events),
        _reset: reset,
    })
}

type Started = Result<tonic::Response<Streaming<Bytes>>, tonic::Status>;

enum State {
    Starting(Pin<Box<dyn Future<Output = Started> + Send>>),
    Streaming(Box<Streaming<Bytes>>),
    Done,
}

struct Clock {
    began: Option<Instant>,
    deadline: Option<Duration>,
    timings: Timings,
}

impl Clock {
    fn elapsed(&mut self) -> Duration {
        self.began.get_or_insert_with(Instant::now).elapsed()
    }

    /// Waits no longer than the deadline allows.
    async fn bounded<T>(
        &mut self,
        work: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, tonic::Status> {
        let spent = self.elapsed();
        let Some(deadline) = self.deadline else {
            return work.await;
        };
        match tokio::time::timeout(deadline.saturating_sub(spent), work).await {
            Ok(result) => result,
            Err(_) => Err(tonic::Status::deadline_exceeded(format!(
                "no answer within the deadline of {deadline:?}"
            ))),
        }
    }

    fn end(&mut self, status: &tonic::Status, trailers: Metadata) -> (Event, State) {
        self.timings.total = self.elapsed();
        let status = Status::from_tonic(status);
        (
            Event::End(End {
                status,
                trailers,
                timings: self.timings,
            }),
            State::Done,
        )
    }
}

async fn step(state: State, clock: &mut Clock) -> Option<(Event, State)> {
    match state {
        State::Starting(start) => Some(match clock.bounded(start).await {
            Ok(response) => {
                let after = clock.elapsed();
                clock.timings.headers = Some(after);
                let headers = Metadata::from_tonic(response.metadata());
                let state = State::Streaming(Box::new(response.into_inner()));
                (Event::Headers { headers, after }, state)
            }
            Err(status) => {
                let trailers = Metadata::from_tonic(status.metadata());
                clock.end(&status, trailers)
            }
        }),
        State::Streaming(mut messages) => Some(match clock.bounded(messages.message()).await {
            Ok(Some(bytes)) => {
                let after = clock.elapsed();
                clock.timings.first_message.get_or_insert(after);
                (Event::Message { bytes, after }, State::Streaming(messages))
            }
            Ok(None) => {
                let trailers = match clock.bounded(messages.trailers()).await {
                    Ok(trailers) => trailers.unwrap_or_default(),
                    Err(_) => tonic::metadata::MetadataMap::new(),
                };
                clock.end(&tonic::Status::ok(""), Metadata::from_tonic(&trailers))
            }
            Err(status) => {
                let trailers = Metadata::from_tonic(status.metadata());
                clock.end(&status, trailers)
            }
        }),
        State::Done => None,
    }
}
