//! From a gRPC answer to an HTTP one. A unary answer is one JSON value; a stream is a line of JSON for each
//! message, written together while more are at hand and sent as soon as the service pauses.

use std::{
    borrow::Cow,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use prost::Message as _;
use reflect::{Match, PrintOptions, Schema};
use tonic::{Code, Status, body::Body};

use super::{
    headers,
    incoming::Incoming,
    status::{JsonStatus, refusal},
};
use crate::server::{Answered, Outcome};

/// Lines are sent when so much has been written, even if more are at hand.
const CHUNK: usize = 32 << 10;

/// How answers of one method are written.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) found: Arc<Match>,
    pub(crate) print: Arc<PrintOptions>,
    /// The largest message that is taken from the service, bytes.
    pub(crate) most: usize,
    /// Whether the answer's body is bytes of a type of their own.
    pub(crate) is_raw: bool,
    /// How the caller asked for a stream.
    pub(crate) lines: Lines,
    /// Whether the caller takes trailers behind a stream.
    pub(crate) trailers: Trailers,
}

/// What becomes of the trailing metadata of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trailers {
    /// `Grpc-Trailer-…`, behind the last line.
    Wanted,
    Dropped,
}

/// What a stream of JSON lines is called, and what stands around each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// `application/json`, as the reference has it.
    Json,
    /// `application/x-ndjson`, when the caller accepts that.
    NdJson,
    /// `text/event-stream`, as a browser's `EventSource` asks for it: each line is the data of an event.
    Events,
}

impl Lines {
    fn kind(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Events => "text/event-stream",
        })
    }

    /// A line of what `opening` begins and `write` appends; nothing where that fails.
    fn line<E>(
        self,
        out: &mut Vec<u8>,
        opening: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = out.len();
        let (name, end): (&[u8], &[u8]) = match self {
            Self::Json | Self::NdJson => (b"", b"}\n"),
            Self::Events => (b"data: ", b"}\n\n"),
        };
        out.extend_from_slice(name);
        out.extend_from_slice(opening.as_bytes());
        write(out).inspect_err(|_| out.truncate(before))?;
        out.extend_from_slice(end);
        Ok(())
    }
}

/// `google.api.HttpBody`: bytes of a type of their own, not to be written as JSON.
#[derive(Clone, PartialEq, prost::Message)]
struct HttpBody {
    #[prost(string, tag = "1")]
    content_type: String,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

impl Form {
    /// The HTTP answer for a gRPC one.
    pub(crate) async fn answer(self, response: Response<Body>) -> Response<Body> {
        let (parts, body) = response.into_parts();
        // A refused call has its status where others have their metadata.
        if let Some(status) = Status::from_header_map(&parts.headers)
            && status.code() != Code::Ok
        {
            return self.failed(&parts.headers, &status, None);
        }
        let incoming = Incoming::new(body, self.most);
        if self.found.method().server_streaming() {
            self.stream(parts, incoming).await
        } else {
            self.unary(parts, incoming).await
        }
    }

    async fn unary(self, parts: Parts, mut incoming: Incoming) -> Response<Body> {
        let (message, extra) = match incoming.message().await {
            Ok(Some(message)) => (message, incoming.message().await),
            Ok(None) => {
                let fault = Status::internal("the service answered without a message");
                return self.failed(&parts.headers, &fault, None);
            }
            Err(status) => return self.failed(&parts.headers, &status, Some(&incoming)),
        };
        match extra {
            Ok(None) => {}
            Ok(Some(_)) => {
                let fault = Status::internal("the service answered a unary call with two messages");
                return self.failed(&parts.headers, &fault, None);
            }
            Err(status) => return self.failed(&parts.headers, &status, Some(&incoming)),
        }
        let mut json = Vec::with_capacity(message.len() * 3 + 64);
        let kind = match self.write_bare(&message, &mut json) {
            Ok(kind) => kind,
            Err(status) => return self.failed(&parts.headers, &status, None),
        };
        let mut response = Response::new(Body::new(Full::new(Bytes::from(json))));
        let into = response.headers_mut();
        headers::to_http(&parts.headers, into);
        if let Some(trailers) = &incoming.end {
            headers::trailers_to_http(trailers, into);
        }
        into.insert(header::CONTENT_TYPE, kind);
        response.extensions_mut().insert(Answered(Code::Ok));
        response
    }

    async fn stream(self, parts: Parts, mut incoming: Incoming) -> Response<Body> {
        // Waiting for the first message lets a call that fails at once be a real HTTP error.
        let first = match incoming.message().await {
            Ok(first) => first,
            Err(status) => return self.failed(&parts.headers, &status, Some(&incoming)),
        };
        let mut chunk = Vec::with_capacity(256);
        let mut kind = self.lines.kind();
        if let Some(message) = &first {
            if self.is_raw
                && let Ok(body) = self.bytes(message)
            {
                kind = raw_kind(&body);
            }
            if let Err(status) = self.write_line(message, &mut chunk) {
                return self.failed(&parts.headers, &status, None);
            }
        }
        let outcome = Outcome::default();
        if first.is_none() {
            outcome.set(Code::Ok);
        }
        let body = Streamed {
            form: self,
            incoming,
            chunk,
            ended: first.is_none(),
            broken: None,
            paused: false,
            outcome: outcome.clone(),
        };
        let mut response = Response::new(Body::new(body));
        response.extensions_mut().insert(outcome);
        let into = response.headers_mut();
        headers::to_http(&parts.headers, into);
        into.insert(header::CONTENT_TYPE, kind);
        // A proxy that holds lines back would make a watch look dead.
        into.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    fn failed(
        &self,
        metadata: &HeaderMap,
        status: &Status,
        incoming: Option<&Incoming>,
    ) -> Response<Body> {
        let mut json = JsonStatus::new(status, self.schema());
        if incoming.is_some_and(|incoming| incoming.over_limit) {
            json = json.with_http(StatusCode::BAD_GATEWAY);
        }
        let mut response = refusal(&json);
        let kind = response.headers_mut().remove(header::CONTENT_TYPE);
        headers::to_http(metadata, response.headers_mut());
        if let Some(trailers) = incoming.and_then(|incoming| incoming.end.as_ref()) {
            headers::trailers_to_http(trailers, response.headers_mut());
        }
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    }

    fn schema(&self) -> &Schema {
        self.found.method().schema()
    }

    /// A message by itself, and its content type.
    fn write_bare(&self, message: &Bytes, out: &mut Vec<u8>) -> Result<HeaderValue, Status> {
        if self.is_raw {
            let body = self.bytes(message)?;
            out.extend_from_slice(&body.data);
            return Ok(raw_kind(&body));
        }
        self.write(message, out)?;
        Ok(HeaderValue::from_static("application/json"))
    }

    fn write_line(&self, message: &Bytes, out: &mut Vec<u8>) -> Result<(), Status> {
        if self.is_raw {
            // Bytes of a type of their own are passed on untouched, without a wrapping or newlines.
            return self.write_bare(message, out).map(|_| ());
        }
        self.lines
            .line(out, r#"{"result":"#, |out| self.write(message, out))
    }

    /// The bytes that are the answer's body.
    fn bytes(&self, message: &Bytes) -> Result<HttpBody, Status> {
        let found = self.found.response_bytes(message);
        let wire = found.map_err(|cause| unreadable(&cause.to_string()))?;
        match wire {
            // Where the message is all of it, its bytes are not copied.
            Cow::Borrowed(wire) => HttpBody::decode(message.slice_ref(wire)),
            Cow::Owned(wire) => HttpBody::decode(Bytes::from(wire)),
        }
        .map_err(|cause| unreadable(&cause.to_string()))
    }

    fn write(&self, message: &Bytes, out: &mut Vec<u8>) -> Result<(), Status> {
        self.found
            .response(message, &self.print, out)
            .map_err(|cause| unreadable(&cause.to_string()))
    }

    fn write_error(&self, status: &Status, out: &mut Vec<u8>) {
        let json = JsonStatus::new(status, self.schema()).json;
        let Ok(()) = self.lines.line(out, r#"{"error":"#, |out| {
            out.extend_from_slice(&json);
            Ok::<_, Infallible>(())
        });
    }
}

fn unreadable(cause: &str) -> Status {
    Status::internal(format!(
        "the service's answer cannot be written as JSON: {cause}"
    ))
}

fn raw_kind(body: &HttpBody) -> HeaderValue {
    let fallback = HeaderValue::from_static("application/octet-stream");
    if body.content_type.is_empty() {
        fallback
    } else {
        HeaderValue::from_str(&body.content_type).unwrap_or(fallback)
    }
}

/// A stream of JSON lines.
struct Streamed {
    form: Form,
    incoming: Incoming,
    /// Lines that wait to be sent.
    chunk: Vec<u8>,
    ended: bool,
    /// What breaks the answer off once the chunk is sent.
    broken: Option<Status>,
    /// Whether there was a moment to send it in.
    paused: bool,
    outcome: Outcome,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        while !this.ended && this.chunk.len() < CHUNK {
            match this.incoming.poll_message(cx) {
                Poll::Ready(Ok(Some(message))) => {
                    if let Err(status) = this.form.write_line(&message, &mut this.chunk) {
                        this.end(&status);
                    }
                }
                Poll::Ready(Ok(None)) => {
                    this.outcome.set(Code::Ok);
                    this.ended = true;
                }
                Poll::Ready(Err(status)) => this.end(&status),
                Poll::Pending if this.chunk.is_empty() => return Poll::Pending,
                // The service pauses: its caller must not wait for what it has said already.
                Poll::Pending => break,
            }
        }
        if this.chunk.is_empty() {
            if let Some(trailers) = this.trailers() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if this.broken.is_some() && !std::mem::replace(&mut this.paused, true) {
                // An error throws away what the connection holds back; while waiting, it sends that.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(this.broken.take().map(Err));
        }
        let next = Vec::with_capacity(this.chunk.len().min(CHUNK));
        let chunk = std::mem::replace(&mut this.chunk, next);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
            && self.chunk.is_empty()
            && self.broken.is_none()
            && self.form.trailers == Trailers::Dropped
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Streamed {
    /// Once, and only where there are any.
    fn trailers(&mut self) -> Option<HeaderMap> {
        if self.broken.is_some() || self.form.trailers == Trailers::Dropped {
            return None;
        }
        self.form.trailers = Trailers::Dropped;
        let mut trailers = HeaderMap::new();
        headers::trailers_to_http(self.incoming.end.as_ref()?, &mut trailers);
        (!trailers.is_empty()).then_some(trailers)
    }

    fn end(&mut self, status: &Status) {
        self.outcome.set(status.code());
        if self.form.is_raw {
            // The bytes so far are not JSON; an error among them would be read as more of them, and a proper end
            // as all of them.
            self.broken = Some(status.clone());
        } else {
            self.form.write_error(status, &mut self.chunk);
        }
        self.ended = true;
        // The call ends now, not when the caller lets go of the answer.
        self.incoming.cancel();
    }
}
