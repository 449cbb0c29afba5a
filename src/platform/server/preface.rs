//! Which protocol a connection speaks, as its first bytes say. They are read within a time: whoever sends one byte
//! and no more would otherwise hold a connection for ever, since neither protocol's own timer runs yet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::timeout,
};

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1, or nothing that anybody knows, which its parser then says.
    Http1,
    Http2,
}

/// Reads until the protocol is known: the first byte within `first`, what is left of a preface within `rest`.
pub(super) async fn read<S: AsyncRead + Unpin>(
    mut stream: S,
    first: Duration,
    rest: Duration,
) -> io::Result<(Spoken, Rewound<S>)> {
    let mut head = [0; PREFACE.len()];
    let mut length = match timeout(first, stream.read(&mut head)).await? {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        read => read?,
    };
    let more = async {
        while length < head.len() && head[..length] == PREFACE[..length] {
            match stream.read(&mut head[length..]).await? {
                0 => break,
                read => length += read,
            }
        }
        Ok::<_, io::Error>(())
    };
    timeout(rest, more).await??;
    let spoken = if head == *PREFACE {
        Spoken::Http2
    } else {
        Spoken::Http1
    };
    let rewound = Rewound {
        head,
        at: 0,
        length,
        stream,
    };
    Ok((spoken, rewound))
}

/// A stream whose first bytes, though read, come once more.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    head: [u8; PREFACE.len()],
    /// How much of it has come once more.
    at: usize,
    length: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = &this.head[this.at..this.length];
        if left.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let taken = left.len().min(buf.remaining());
        buf.put_slice(&left[..taken]);
        this.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const FIRST: Duration = Duration::from_secs(60);
    const REST: Duration = Duration::from_secs(15);

    #[tokio::test]
    async fn the_protocol_is_told_by_the_first_bytes_which_come_once_more() {
        for (said, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Spoken::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand more", Spoken::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx", Spoken::Http1),
            (b"PUT / HTTP/1.1\r\n\r\n", Spoken::Http1),
            (b"PRI", Spoken::Http1),
        ] {
            for cut in [1, 5, said.len()] {
                let (mut ours, theirs) = tokio::io::duplex(cut);
                let said = said.to_vec();
                let writing = tokio::spawn({
                    let said = said.clone();
                    async move { ours.write_all(&said).await.unwrap() }
                });
                let (spoken, mut rewound) = read(theirs, FIRST, REST).await.unwrap();
                let mut heard = Vec::new();
                rewound.read_to_end(&mut heard).await.unwrap();
                writing.await.unwrap();
                assert_eq!((spoken, heard), (expected, said), "in pieces of {cut}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_in_the_preface_is_not_waited_for() {
        for (said, wait) in [(&b""[..], FIRST), (b"P", REST), (&PREFACE[..23], REST)] {
            let (mut ours, theirs) = tokio::io::duplex(64);
            ours.write_all(said).await.unwrap();
            let began = tokio::time::Instant::now();
            let error = read(theirs, FIRST, REST).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            // The clock stands still but for the wait itself.
            assert_eq!(began.elapsed().as_secs(), wait.as_secs(), "after {said:?}");
        }
    }
}
