//! The demo services as an operator meets them: on a real etcd, over real sockets, by both protocols.
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
