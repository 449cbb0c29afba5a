//! One connection through the proxy: two pumps that obey the orders of the moment, each a queue of
//! pieces with the time from which they may be passed on.

use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Mode;

/// Pieces under way in one direction: more than a long way holds at the speed of loopback.
const UNDER_WAY: usize = 256;

/// What connections have to do now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    mode: Mode,
    /// Counts the modes: the bytes that may still pass are counted from each anew.
    serial: u64,
    /// Connections of an earlier generation are ended.
    generation: u64,
    how: End,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order: what was passed on arrives.
    Close,
    /// By a reset.
    Reset,
}

impl Orders {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            serial: 0,
            generation: 0,
            how: End::Close,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn set(&mut self, mode: Mode) {
        self.mode = mode;
        self.serial += 1;
        if mode == Mode::Refuse {
            self.end(End::Close);
        }
    }

    pub(crate) fn end(&mut self, how: End) {
        self.generation += 1;
        self.how = how;
    }

    /// When what is read now may be passed on.
    fn due(&self) -> Instant {
        let now = Instant::now();
        match self.mode {
            Mode::Delay { each_way, jitter } => {
                now + each_way + rand::rng().random_range(Duration::ZERO..=jitter)
            }
            _ => now,
        }
    }

    fn holds(&self, way: Way) -> bool {
        match self.mode {
            // What was held before a refusal must not slip through its beginning.
            Mode::BlackHole | Mode::Refuse => true,
            Mode::HoldAnswers => way == Way::Back,
            Mode::Forward | Mode::Delay { .. } | Mode::CutAfter(_) => false,
        }
    }
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// Carries a connection to `target` until either side or the orders end it. `listen` sees each
/// piece of the requests before it is passed on.
pub(crate) async fn exchange(
    mut client: TcpStream,
    target: SocketAddr,
    orders: watch::Receiver<Orders>,
    listen: impl Fn(&[u8]) + Send + Sync,
) {
    let Orders {
        mode, generation, ..
    } = *orders.borrow();
    // Taken in while the listener was about to close: it is of the newest generation, and nothing
    // would end it.
    if mode == Mode::Refuse {
        return;
    }
    let mut ordered = orders.clone();
    let ended = async move {
        let ended = ordered.wait_for(|orders| orders.generation != generation);
        ended.await.map_or(End::Close, |orders| orders.how)
    };
    tokio::pin!(ended);
    let connected = tokio::select! {
        connected = connect(target, orders.clone()) => connected,
        how = &mut ended => return end(how, &[&client]),
    };
    let Some(mut server) = connected else {
        return;
    };
    let _ = client.set_nodelay(true);
    let how = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = pump(from_client, to_server, &orders, generation, Way::There, &listen) => End::Close,
            () = pump(from_server, to_client, &orders, generation, Way::Back, &|_: &[u8]| ()) => End::Close,
            how = &mut ended => how,
        }
    };
    end(how, &[&client, &server]);
}

fn end(how: End, streams: &[&TcpStream]) {
    if how == End::Reset {
        for stream in streams {
            let _ = stream.set_zero_linger();
        }
    }
}

async fn connect(target: SocketAddr, mut orders: watch::Receiver<Orders>) -> Option<TcpStream> {
    orders
        .wait_for(|orders| !orders.holds(Way::There))
        .await
        .ok()?;
    let server = TcpStream::connect(target).await.ok()?;
    let _ = server.set_nodelay(true);
    Some(server)
}

async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    orders: &watch::Receiver<Orders>,
    generation: u64,
    way: Way,
    listen: &impl Fn(&[u8]),
) {
    let (queue, queued) = mpsc::channel(UNDER_WAY);
    let taken = async {
        take(from, queue, orders, listen).await;
        // What is under way still arrives.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = taken => {}
        _ = give(to, queued, orders.clone(), generation, way) => {}
    }
}

/// Reads until the end, and says of each piece when it may go on.
async fn take(
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    orders: &watch::Receiver<Orders>,
    listen: &impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 16 << 10];
    let mut last = Instant::now();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let piece = buffer[..read].to_vec();
        listen(&piece);
        // Never before an earlier piece.
        last = orders.borrow().due().max(last);
        if queue.send((last, piece)).await.is_err() {
            return;
        }
    }
}

/// Passes pieces on, each in its time and only while the orders let it; `None` when that ended.
async fn give(
    mut to: WriteHalf<'_>,
    mut queued: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut orders: watch::Receiver<Orders>,
    generation: u64,
    way: Way,
) -> Option<()> {
    let mut left: Option<(u64, usize)> = None;
    while let Some((due, piece)) = queued.recv().await {
        tokio::time::sleep_until(due).await;
        let now = orders
            .wait_for(|orders| orders.generation != generation || !orders.holds(way))
            .await;
        let now = *now.ok()?;
        if now.generation != generation {
            // The connection is over, and whoever carries it says how.
            std::future::pending::<()>().await;
        }
        let Mode::CutAfter(bytes) = now.mode else {
            to.write_all(&piece).await.ok()?;
            continue;
        };
        if way == Way::There {
            to.write_all(&piece).await.ok()?;
            continue;
        }
        let (_, may) = left
            .filter(|(serial, _)| *serial == now.serial)
            .unwrap_or((now.serial, bytes));
        let passed = may.min(piece.len());
        to.write_all(&piece[..passed]).await.ok()?;
        if passed == may {
            return None;
        }
        left = Some((now.serial, may - passed));
    }
    Some(())
}
