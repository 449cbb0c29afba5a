//! An etcd API server in memory, for development and tests: `Server::bind` serves it over TCP,
//! `Server::in_process` without a socket. One member, no raft, nothing on disk.
//! Invariant: every answer is what a one-member etcd would give, its errors word for word; where
//! etcd 3.4 and 3.6 disagree, 3.6 is followed. Absent on purpose: persistence, snapshots, auth, TLS.

mod auto_compact;
mod engine;
mod fault;
mod lease;
mod range;
mod refusal;
mod rpc;
mod server;
mod store;
mod txn;
mod watch;

pub use engine::{Identity, VERSION};
pub use fault::Faults;
pub use refusal::Refusal;
pub use server::{Error, Options, Server};

#[cfg(test)]
mod tests;
