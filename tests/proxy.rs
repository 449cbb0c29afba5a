//! A TCP proxy that fails on demand: delays, holds, cuts or refuses what passes through it.
//!
//! What is held is not lost: as in a network that comes back, it arrives late. Dropping the proxy
//! ends all its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the proxy treats what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Forward,
    /// Passes everything on, each way later by this much.
    Delay(Duration),
    /// Accepts connections and passes nothing on, as a dead network or a frozen host does.
    BlackHole,
    /// Passes requests on and holds the answers: what was asked for happens, and nobody hears.
    HoldAnswers,
    /// Listens no more and closes what was open, as a dead process does.
    Refuse,
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    mode: Mode,
    /// Connections of an earlier generation are closed.
    generation: u64,
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
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket's address");
        let (orders, follow) = watch::channel(Orders {
            mode,
            generation: 0,
        });
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(run(
            listener,
            address,
            target,
            follow,
            Arc::clone(&accepted),
        ));
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
        self.orders.send_modify(|orders| {
            orders.mode = mode;
            if mode == Mode::Refuse {
                orders.generation += 1;
            }
        });
    }

    /// Closes every open connection at once; new ones are treated as before.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.generation += 1);
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
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    accepted: Arc<AtomicUsize>,
) {
    let mut listener = Some(listener);
    loop {
        let refusing = orders.borrow_and_update().mode == Mode::Refuse;
        if refusing {
            listener = None;
        } else if listener.is_none() {
            listener = Some(
                TcpListener::bind(address)
                    .await
                    .expect("the proxy's own port"),
            );
        }
        let Some(open) = &listener else {
            if orders.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            connection = open.accept() => {
                if let Ok((client, _)) = connection {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(connect(client, target, orders.clone()));
                }
            }
            changed = orders.changed() => if changed.is_err() { return },
        }
    }
}

async fn connect(client: TcpStream, target: SocketAddr, orders: watch::Receiver<Orders>) {
    let generation = orders.borrow().generation;
    let mut ended = orders.clone();
    let exchange = async {
        let mut gate = orders.clone();
        if passed(&mut gate, Way::There).await.is_none() {
            return;
        }
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = pump(from_client, to_server, orders.clone(), Way::There) => {}
            () = pump(from_server, to_client, orders.clone(), Way::Back) => {}
        }
    };
    tokio::select! {
        () = exchange => {}
        _ = ended.wait_for(|orders| orders.generation != generation) => {}
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// Ends when bytes may pass; gives how much later.
async fn passed(orders: &mut watch::Receiver<Orders>, way: Way) -> Option<Duration> {
    let now = orders
        .wait_for(|orders| match orders.mode {
            Mode::BlackHole => false,
            Mode::HoldAnswers => way == Way::There,
            Mode::Forward | Mode::Delay(_) | Mode::Refuse => true,
        })
        .await
        .ok()?;
    match now.mode {
        Mode::Delay(delay) => Some(delay),
        _ => Some(Duration::ZERO),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut orders: watch::Receiver<Orders>,
    way: Way,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let Some(delay) = passed(&mut orders, way).await else {
            return;
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
