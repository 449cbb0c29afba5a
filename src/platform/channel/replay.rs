//! A request body that can be sent again as long as little of it was used: what passed is kept
//! (frames share memory) up to 64 KiB, which covers nearly every unary call. Past that the call
//! cannot be repeated, which is said and not guessed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// The most that is kept of a body.
const KEPT: usize = 64 << 10;

/// One attempt's view of the body. Only the newest attempt may read.
#[derive(Debug)]
pub(super) struct Replay {
    source: Arc<Mutex<Source>>,
    attempt: u32,
    position: usize,
}

/// Makes further attempts' views.
#[derive(Debug)]
pub(super) struct Replayer(Arc<Mutex<Source>>);

#[derive(Debug)]
struct Source {
    body: tonic::body::Body,
    frames: Vec<Bytes>,
    kept: usize,
    /// Something passed that was not kept.
    lost: bool,
    ended: bool,
    attempt: u32,
}

/// The view of the first attempt and the maker of the next ones.
pub(super) fn replay(body: tonic::body::Body) -> (Replay, Replayer) {
    let source = Arc::new(Mutex::new(Source {
        body,
        frames: Vec::new(),
        kept: 0,
        lost: false,
        ended: false,
        attempt: 0,
    }));
    (
        Replay {
            source: source.clone(),
            attempt: 0,
            position: 0,
        },
        Replayer(source),
    )
}

impl Replayer {
    /// Whether the newest attempt has read the body to its end, and all of it is kept.
    pub(super) fn is_complete(&self) -> bool {
        let source = lock(&self.0);
        !source.lost && (source.ended || source.body.is_end_stream())
    }

    /// The body from its start; `None` when part of it is gone.
    pub(super) fn again(&self) -> Option<Replay> {
        let mut source = lock(&self.0);
        if source.lost {
            return None;
        }
        source.attempt += 1;
        Some(Replay {
            source: self.0.clone(),
            attempt: source.attempt,
            position: 0,
        })
    }
}

fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for Replay {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let shared = self.source.clone();
        let mut source = lock(&shared);
        if source.attempt != self.attempt {
            return Poll::Ready(Some(Err(Status::cancelled(
                "a newer attempt took the body over",
            ))));
        }
        if let Some(frame) = source.frames.get(self.position) {
            let frame = frame.clone();
            self.position += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        if source.ended {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut source.body).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {
                source.ended = true;
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => {
                source.lost = true;
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        let size = frame.data_ref().map(Bytes::len);
        match frame.data_ref() {
            Some(data) if !source.lost && source.kept + size.unwrap_or(0) <= KEPT => {
                source.kept += data.len();
                let data = data.clone();
                source.frames.push(data);
                self.position += 1;
            }
            _ => {
                source.lost = true;
                source.frames = Vec::new();
                self.position = 0;
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let source = lock(&self.source);
        self.position >= source.frames.len() && (source.ended || source.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    fn chunks(chunks: Vec<Vec<u8>>) -> tonic::body::Body {
        let frames = chunks
            .into_iter()
            .map(|data| Ok::<_, Status>(Frame::data(Bytes::from(data))));
        tonic::body::Body::new(StreamBody::new(futures::stream::iter(frames)))
    }

    async fn read(body: Replay) -> Result<Vec<u8>, Status> {
        Ok(body.collect().await?.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_small_body_is_sent_again_as_it_was() {
        let (first, replayer) = replay(chunks(vec![b"ab".to_vec(), b"cd".to_vec()]));
        assert_eq!(read(first).await.unwrap(), b"abcd");
        assert_eq!(read(replayer.again().unwrap()).await.unwrap(), b"abcd");
    }

    #[tokio::test]
    async fn a_body_that_was_read_in_part_is_continued() {
        let (mut first, replayer) = replay(chunks(vec![b"ab".to_vec(), b"cd".to_vec()]));
        first.frame().await.unwrap().unwrap();
        let second = replayer.again().unwrap();
        assert_eq!(read(second).await.unwrap(), b"abcd");
        assert!(
            first.frame().await.unwrap().is_err(),
            "the old attempt may not steal frames"
        );
    }

    #[tokio::test]
    async fn a_large_body_says_that_it_cannot() {
        let (first, replayer) = replay(chunks(vec![vec![1; KEPT], vec![2; 1], vec![3; 9]]));
        assert_eq!(read(first).await.unwrap().len(), KEPT + 10);
        assert!(replayer.again().is_none());
    }

    #[tokio::test]
    async fn an_empty_body_ends_at_once() {
        let (first, _) = replay(tonic::body::Body::new(Full::new(Bytes::new())));
        assert!(first.is_end_stream());
    }
}
