//! gRPC's framing: a byte for compression, four for the length, the message. Pure. A length over the limit is
//! refused before anything is kept for it.

use bytes::{Buf as _, Bytes, BytesMut};
use tonic::Status;

const HEAD: usize = 5;

/// Messages out of the bytes of an answer, wherever these are cut.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: BytesMut,
    most: usize,
}

impl Frames {
    /// Takes messages of at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            most,
        }
    }

    pub(crate) fn push(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until more bytes come.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *head;
        if compressed != 0 {
            // We never say that we accept compression, so nobody may use it.
            return Err(FrameError::Compressed);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.most {
            return Err(FrameError::TooLarge {
                length,
                most: self.most,
            });
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether bytes are left that make no whole message: the answer was cut off.
    pub(crate) fn is_cut_off(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// Why bytes are not messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the service answered with a compressed message, which nobody asked for")]
    Compressed,
    #[error("the service answered with a message of {length} bytes; the limit is {most}")]
    TooLarge { length: usize, most: usize },
}

impl From<FrameError> for Status {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Compressed => Status::internal(error.to_string()),
            FrameError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        }
    }
}

/// Room for the head of a message that is then written behind it; `close` fills the head in.
pub(crate) fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; HEAD]);
    out.len()
}

/// Fills in the head of the message that began at `start`, as [`open`] answered it.
pub(crate) fn close(out: &mut [u8], start: usize) -> Result<(), Status> {
    let length = u32::try_from(out.len() - start).map_err(|_| {
        Status::resource_exhausted("the message is larger than 4 GiB, which gRPC cannot carry")
    })?;
    if let Some(head) = out.get_mut(start - 4..start) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            let start = open(&mut out);
            out.extend_from_slice(message);
            close(&mut out, start).unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_wherever_the_bytes_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 1_usize..17,
        ) {
            let mut frames = Frames::new(40);
            let mut seen = Vec::new();
            for chunk in framed(&messages).chunks(cut) {
                frames.push(&Bytes::copy_from_slice(chunk));
                while let Some(message) = frames.next().unwrap() {
                    seen.push(message.to_vec());
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(!frames.is_cut_off());
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_head_alone() {
        let mut frames = Frames::new(10);
        frames.push(&Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]));
        assert_eq!(
            frames.next(),
            Err(FrameError::TooLarge {
                length: 0xffff_ffff,
                most: 10
            })
        );
        let mut frames = Frames::new(10);
        frames.push(&Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert_eq!(frames.next(), Err(FrameError::Compressed));
    }
}
