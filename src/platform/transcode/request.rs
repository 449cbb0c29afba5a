//! A stream of requests over HTTP: JSON documents one after the other, each on its way as soon as it is whole.
//! Time is linear in what comes, and a document over the limit ends the call before it is kept.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use reflect::{Match, ParseOptions};
use tonic::{Status, body::Body};

use super::frame;

/// How each document becomes a message.
pub(crate) struct Reading {
    pub(crate) found: Arc<Match>,
    pub(crate) query: String,
    pub(crate) parse: Arc<ParseOptions>,
    /// The largest document, bytes.
    pub(crate) most: usize,
    /// The content type, where the body is bytes and not documents: each piece is then a message as it comes.
    pub(crate) raw: Option<String>,
}

/// The gRPC side of an HTTP request's body.
pub(crate) struct Requests {
    source: Body,
    reading: Reading,
    text: BytesMut,
    splitter: Splitter,
    count: usize,
    source_ended: bool,
    /// Why the stream broke, for the answer: the service may make something else of it.
    fault: Arc<OnceLock<Status>>,
}

impl Requests {
    pub(crate) fn new(source: Body, reading: Reading, fault: Arc<OnceLock<Status>>) -> Self {
        Self {
            source,
            reading,
            text: BytesMut::new(),
            splitter: Splitter::default(),
            count: 0,
            source_ended: false,
            fault,
        }
    }

    /// Turns every whole document that is here into a frame.
    fn encode(&mut self) -> Result<Vec<u8>, Status> {
        let mut out = Vec::new();
        if let Some(kind) = &self.reading.raw {
            let piece = self.text.split();
            if !piece.is_empty() {
                self.check(piece.len())?;
                let start = frame::open(&mut out);
                let Reading {
                    found,
                    query,
                    parse,
                    ..
                } = &self.reading;
                found
                    .bind_bytes(query, kind, &piece, parse, &mut out)
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                frame::close(&mut out, start)?;
                self.count += 1;
            }
            return Ok(out);
        }
        while let Some(end) = self.splitter.next_end(&self.text, self.source_ended) {
            let document = self.text.split_to(end);
            if document.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.check(document.len())?;
            let start = frame::open(&mut out);
            let Reading {
                found,
                query,
                parse,
                ..
            } = &self.reading;
            found
                .bind(query, &document, parse, &mut out)
                .map_err(|error| {
                    Status::invalid_argument(format!("message {} of the body: {error}", self.count))
                })?;
            frame::close(&mut out, start)?;
            self.count += 1;
        }
        self.check(self.text.len())?;
        Ok(out)
    }

    fn check(&self, length: usize) -> Result<(), Status> {
        let (count, most) = (self.count, self.reading.most);
        if length > most {
            return Err(Status::resource_exhausted(format!(
                "message {count} of the body is over the limit of {most} bytes"
            )));
        }
        Ok(())
    }

    fn broken(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // Set once, by the first fault.
        let _ = self.fault.set(status.clone());
        self.source_ended = true;
        self.source = Body::empty();
        self.text.clear();
        Poll::Ready(Some(Err(status)))
    }
}

impl http_body::Body for Requests {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            match this.encode() {
                Ok(frames) if !frames.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(frames.into()))));
                }
                Ok(_) if this.source_ended => return Poll::Ready(None),
                Ok(_) => {}
                Err(status) => return this.broken(status),
            }
            match ready!(Pin::new(&mut this.source).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        this.text.extend_from_slice(&data);
                    }
                }
                Some(Err(cause)) => {
                    let status = Status::cancelled(format!(
                        "the request's body was cut off: {}",
                        cause.message()
                    ));
                    return this.broken(status);
                }
                None => this.source_ended = true,
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Finds where JSON documents end. It looks at each byte once and leaves it to the codec whether what is
/// between two ends is JSON at all.
#[derive(Debug, Default)]
struct Splitter {
    /// Bytes of the text that have been looked at.
    seen: usize,
    depth: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between documents.
    #[default]
    Between,
    /// In a number or a word, which only what follows ends.
    Word,
    /// In an object or an array.
    Nested,
    String,
    /// After a backslash in a string.
    Escape,
}

impl Splitter {
    /// How many bytes of `text` the next document takes, the white space before it included. `None` until more
    /// has come; at the end of the source everything left is the last document.
    fn next_end(&mut self, text: &[u8], source_ended: bool) -> Option<usize> {
        while let Some(&byte) = text.get(self.seen) {
            if self.place == Place::Word && (byte.is_ascii_whitespace() || b"{[\"".contains(&byte))
            {
                return Some(self.end_at(self.seen));
            }
            self.seen += 1;
            let is_end = match (self.place, byte) {
                (Place::Escape, _) => {
                    self.place = Place::String;
                    false
                }
                (Place::String, b'\\') => {
                    self.place = Place::Escape;
                    false
                }
                (Place::String, b'"') => {
                    self.place = Place::Nested;
                    self.depth == 0
                }
                (Place::String, _) => false,
                (_, b'"') => {
                    self.place = Place::String;
                    false
                }
                (_, b'{' | b'[') => {
                    self.depth += 1;
                    self.place = Place::Nested;
                    false
                }
                (Place::Nested, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.depth == 0
                }
                (Place::Between, byte) if !byte.is_ascii_whitespace() => {
                    self.place = Place::Word;
                    false
                }
                _ => false,
            };
            if is_end {
                return Some(self.end_at(self.seen));
            }
        }
        (source_ended && !text.is_empty()).then(|| self.end_at(text.len()))
    }

    fn end_at(&mut self, end: usize) -> usize {
        *self = Self::default();
        end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str, cut: usize) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut held = BytesMut::new();
        let mut documents = Vec::new();
        let chunks: Vec<_> = text.as_bytes().chunks(cut).collect();
        for at in 0..=chunks.len() {
            held.extend_from_slice(chunks.get(at).copied().unwrap_or_default());
            while let Some(end) = splitter.next_end(&held, at == chunks.len()) {
                let document = held.split_to(end);
                let text = std::str::from_utf8(&document).unwrap().trim().to_owned();
                if !text.is_empty() {
                    documents.push(text);
                }
            }
        }
        documents
    }

    #[test]
    fn documents_are_told_apart_however_they_stand() {
        for (text, expected) in [
            ("", &[][..]),
            ("  \n ", &[]),
            ("{}", &["{}"]),
            ("{}{}", &["{}", "{}"]),
            (
                "{\"a\":1}\n{\"a\":[2,{}]}\n",
                &["{\"a\":1}", "{\"a\":[2,{}]}"],
            ),
            ("{\"a\":\"}\\\"{\"} {}", &["{\"a\":\"}\\\"{\"}", "{}"]),
            ("1 2\n\"x y\"null", &["1", "2", "\"x y\"", "null"]),
            ("true{}", &["true", "{}"]),
            ("{\"a\":", &["{\"a\":"]),
            ("}{}", &["}", "{}"]),
        ] {
            for cut in 1..=text.len().max(1) {
                assert_eq!(split(text, cut), expected, "{text:?} in pieces of {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_comes(text in "[{}\\[\\]\"\\\\a1 \n]{0,40}", cut in 1_usize..9) {
            let joined: String = split(&text, cut).concat();
            let bare = |text: &str| text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>();
            prop_assert_eq!(bare(&joined), bare(&text));
        }
    }
}
