//! A TCP proxy that fails on demand: delays, holds, cuts, resets or refuses what passes through it.
//!
//! What is held is not lost: as in a network that comes back, it arrives late. Dropping the proxy
//! ends all its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::port::Port;
use exchange::{End, Orders, exchange};

pub(crate) mod exchange;

/// How the proxy treats what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Forward,
    /// Passes everything on later, in order and at full bandwidth, as a long way does.
    Delay {
        /// How much later, each way.
        each_way: Duration,
        /// Up to so much later still, drawn anew for each piece.
        jitter: Duration,
    },
    /// Accepts connections and passes nothing on, as a dead network or a frozen host does.
    BlackHole,
    /// Passes requests on and holds the answers: what was asked for happens, and nobody hears.
    HoldAnswers,
    /// Each connection, open or new, passes on so many further bytes of answers and is then closed,
    /// in the middle of whatever message that is.
    CutAfter(usize),
    /// Listens no more and closes what was open, as a dead process does.
    Refuse,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `target`, which need not exist yet.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_in(target, Mode::Forward).await
    }

    /// The same, in a mode from the beginning.
    pub async fn start_in(target: SocketAddr, mode: Mode) -> Self {
        let port = Port::reserve();
        let address = port.address();
        let (orders, follow) = watch::channel(Orders::new(mode));
        let accepted = Arc::new(AtomicUsize::new(0));
        // It listens by the time that somebody is told where.
        let listener = (mode != Mode::Refuse).then(|| port.listen());
        let run = run(port, listener, target, follow, Arc::clone(&accepted));
        let task = tokio::spawn(run);
        Self {
            address,
            orders,
            accepted,
            task,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as an endpoint: `127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// From now on, treats connections like this.
    pub fn set(&self, mode: Mode) {
        self.orders.send_modify(|orders| orders.set(mode));
    }

    /// Closes every open connection at once; new ones are treated as before.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.end(End::Close));
    }

    /// Resets every open connection at once, as a host that knows nothing of them does.
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.end(End::Reset));
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn run(
    port: Port,
    mut listener: Option<TcpListener>,
    target: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    accepted: Arc<AtomicUsize>,
) {
    loop {
        if orders.borrow_and_update().mode() == Mode::Refuse {
            listener = None;
            if orders.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = listener.get_or_insert_with(|| port.listen());
        tokio::select! {
            connection = open.accept() => {
                if let Ok((client, _)) = connection {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(exchange(client, target, orders.clone(), |_| ()));
                }
            }
            changed = orders.changed() => if changed.is_err() { return },
        }
    }
}
