//! Writes of many calls on one connection as few: while many are under way, what they send goes out
//! in one piece when nobody else on the thread has something to do. Each call alone would wake the
//! connection, and be a write of its own. Nothing is held back by a timer, and few calls by nothing.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
pub(super) struct Gather<T, F> {
    io: T,
    /// How many calls are under way.
    calls: F,
    /// Others had their turn since the last flush.
    turn_given: bool,
}

/// So many calls are few: to wait for others' would cost them more than it saves.
const FEW: u32 = 4;

impl<T, F: Fn() -> u32> Gather<T, F> {
    pub(super) fn new(io: T, calls: F) -> Gather<T, F> {
        Gather {
            io,
            calls,
            turn_given: false,
        }
    }

    /// Ready when others had their turn, where there are others.
    fn give_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.turn_given || (self.calls)() <= FEW {
            return Poll::Ready(());
        }
        self.turn_given = true;
        // Polled once: it has the runtime wake us behind those who are ready now.
        pin!(tokio::task::yield_now()).poll(cx)
    }
}

impl<T: AsyncRead + Unpin, F: Unpin> AsyncRead for Gather<T, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl<T: AsyncWrite + Unpin, F: Fn() -> u32 + Unpin> AsyncWrite for Gather<T, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.give_turn(cx));
        Pin::new(&mut self.io).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.give_turn(cx));
        Pin::new(&mut self.io).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn_given = false;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::io::AsyncWriteExt as _;
    use tokio::task::yield_now;

    use super::*;

    /// What happens in which order, on one thread, when a connection writes while others are ready.
    async fn order(calls: u32) -> Vec<&'static str> {
        let seen = RefCell::new(Vec::new());
        let mut connection = Gather::new(tokio::io::sink(), || calls);
        let write = async {
            for _ in 0..2 {
                connection.write_all(b"frames").await.unwrap();
                connection.flush().await.unwrap();
                seen.borrow_mut().push("written");
            }
        };
        let others = async {
            seen.borrow_mut().push("call");
            yield_now().await;
            seen.borrow_mut().push("call");
        };
        tokio::join!(biased; write, others);
        seen.into_inner()
    }

    #[tokio::test]
    async fn many_calls_are_gathered_before_a_write_and_few_wait_for_nobody() {
        assert_eq!(order(FEW).await, ["written", "written", "call", "call"]);
        assert_eq!(order(FEW + 1).await, ["call", "written", "call", "written"]);
    }
}
