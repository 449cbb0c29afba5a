//! The network between the members of a cluster: proxies that know who speaks, so that a member
//! can be cut off from the others both ways.
//!
//! All members must name one address for each, so the address does not tell who calls; etcd's own
//! header does. What is cut off is held, not closed, as by a network that drops packets.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::port::Port;
use crate::proxy::Mode;
use crate::proxy::exchange::{Orders, exchange};

/// Which member, by the place among its peers and by etcd's id in hex.
type Isolated = Vec<(usize, String)>;

/// The proxies of a cluster. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Peers {
    isolated: watch::Sender<Isolated>,
    tasks: Vec<JoinHandle<()>>,
}

impl Peers {
    /// A proxy in front of each of these; gives their addresses, too.
    pub(crate) fn start(members: &[SocketAddr]) -> (Self, Vec<SocketAddr>) {
        let (isolated, follow) = watch::channel(Vec::new());
        let mut peers = Self {
            isolated,
            tasks: Vec::new(),
        };
        let mut addresses = Vec::new();
        for (to, target) in members.iter().enumerate() {
            let port = Port::reserve();
            addresses.push(port.address());
            let run = run(port, to, *target, follow.clone());
            peers.tasks.push(tokio::spawn(run));
        }
        (peers, addresses)
    }

    /// From now on nothing passes between these members and the others.
    pub(crate) fn isolate(&self, members: Isolated) {
        self.isolated.send_replace(members);
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn run(port: Port, to: usize, target: SocketAddr, isolated: watch::Receiver<Isolated>) {
    let listener = port.listen();
    loop {
        if let Ok((member, _)) = listener.accept().await {
            tokio::spawn(carry(member, to, target, isolated.clone()));
        }
    }
}

async fn carry(
    member: TcpStream,
    to: usize,
    target: SocketAddr,
    mut isolated: watch::Receiver<Isolated>,
) {
    let from: Mutex<Option<String>> = Mutex::new(None);
    let (orders, obeyed) = watch::channel(Orders::new(Mode::Forward));
    let follow = isolated.clone();
    let decide = || {
        let from = from.lock().unwrap_or_else(PoisonError::into_inner);
        let isolated = follow.borrow();
        let there = isolated.iter().any(|(place, _)| *place == to);
        let here = isolated.iter().any(|(_, id)| from.as_ref() == Some(id));
        let mode = if there == here {
            Mode::Forward
        } else {
            Mode::BlackHole
        };
        orders.send_if_modified(|orders| {
            let differs = orders.mode() != mode;
            orders.set(mode);
            differs
        });
    };
    decide();
    let listen = |piece: &[u8]| {
        if let Some(id) = sender(piece) {
            *from.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
            decide();
        }
    };
    let follow = async {
        while isolated.changed().await.is_ok() {
            decide();
        }
    };
    tokio::select! {
        () = exchange(member, target, obeyed, listen) => {}
        // The cluster is gone.
        () = follow => {}
    }
}

/// Whom a request between members comes from, where it says so.
fn sender(piece: &[u8]) -> Option<String> {
    const HEADER: &[u8] = b"X-Server-From: ";
    let at = piece
        .windows(HEADER.len())
        .position(|window| window.eq_ignore_ascii_case(HEADER))?;
    let rest = &piece[at + HEADER.len()..];
    let id: Vec<u8> = rest
        .iter()
        .copied()
        .take_while(u8::is_ascii_hexdigit)
        .collect();
    String::from_utf8(id).ok()
}
