//! The demo services as an operator meets them: over real sockets, by both protocols, on a real etcd and, where
//! etcd itself takes part, on the embedded one too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic fails the test that asked"
)]

mod config;
mod faults;
mod orders;
mod process;
mod streams;
mod world;
