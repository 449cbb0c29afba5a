//! What comes in from either side: the messages of a gRPC answer, and the body of a request as a whole. Both are
//! bounded before anything is kept.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tonic::{Code, Status, body::Body};

use super::{
    frame::{FrameError, Frames},
    status::JsonStatus,
};

/// The messages of a gRPC answer.
pub(crate) struct Incoming {
    body: Body,
    frames: Frames,
    /// The trailers, once they have come.
    pub(crate) end: Option<HeaderMap>,
    /// Set when a message was over our limit, which is no fault of the caller's: 502.
    pub(crate) over_limit: bool,
}

impl Incoming {
    /// Takes messages of at most `most` bytes.
    pub(crate) fn new(body: Body, most: usize) -> Self {
        Self {
            body,
            frames: Frames::new(most),
            end: None,
            over_limit: false,
        }
    }

    /// Ends the call.
    pub(crate) fn cancel(&mut self) {
        self.body = Body::empty();
    }

    pub(crate) async fn message(&mut self) -> Result<Option<Bytes>, Status> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next message; `None` after the last one of a call that succeeded.
    pub(crate) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            match self.frames.next() {
                Ok(Some(message)) => return Poll::Ready(Ok(Some(message))),
                Ok(None) => {}
                Err(error) => {
                    self.over_limit = matches!(error, FrameError::TooLarge { .. });
                    return Poll::Ready(Err(error.into()));
                }
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(Err(status)),
                None => return Poll::Ready(self.ended()),
            };
            match frame.into_data() {
                Ok(data) => self.frames.push(&data),
                Err(frame) => self.end = frame.into_trailers().ok().or(self.end.take()),
            }
        }
    }

    fn ended(&self) -> Result<Option<Bytes>, Status> {
        match self.end.as_ref().and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => Err(status),
            Some(_) if self.frames.is_cut_off() => {
                Err(Status::internal("the service's last message was cut off"))
            }
            Some(_) => Ok(None),
            None => Err(Status::unknown(
                "the service's answer ended without a status",
            )),
        }
    }
}

/// The whole body of a request, or its status: 413 over `most` bytes.
pub(crate) async fn collect(mut body: Body, most: usize) -> Result<Bytes, JsonStatus> {
    let too_large = || {
        let status = Status::resource_exhausted(format!(
            "the request's body is over the limit of {most} bytes"
        ));
        JsonStatus::bare(&status).with_http(StatusCode::PAYLOAD_TOO_LARGE)
    };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|status| {
            let cut = Status::invalid_argument(format!(
                "the request's body was cut off: {}",
                status.message()
            ));
            JsonStatus::bare(&cut)
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        match first.take() {
            // Nearly every body comes in one piece, which then need not be copied.
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(first) => {
                whole.extend_from_slice(&first);
                whole.extend_from_slice(&data);
            }
        }
        if whole.len() + first.as_ref().map_or(0, Bytes::len) > most {
            return Err(too_large());
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}
