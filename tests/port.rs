//! A loopback port of one's own, whether something listens there at the moment or not.
//!
//! A socket that is bound and does not listen keeps the port from being given to anybody who asks
//! for a free one, and lets those in who ask for this one: our listener, a restarted etcd.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A port that stays ours until dropped.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _guard: Option<TcpSocket>,
}

impl Port {
    /// Takes a free port on the loopback address.
    #[must_use]
    pub fn reserve() -> Self {
        let guard = bound(([127, 0, 0, 1], 0).into());
        let address = guard.local_addr().expect("a bound socket's address");
        Self {
            address,
            // Elsewhere a bound socket keeps everybody out; there the port is only likely free.
            _guard: cfg!(target_os = "linux").then_some(guard),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens on it. Must be called within a tokio runtime.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        bound(self.address).listen(1024).expect("a port of our own")
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket's option");
    socket.bind(address).expect("a loopback port");
    socket
}
