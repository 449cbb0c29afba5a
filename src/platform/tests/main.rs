//! The stories that a service library must withstand, against a real etcd and real sockets. Each
//! fails when the behaviour it names is taken out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the test that called them"
)]

mod channel;
mod config;
mod discovery;
mod life;
mod peer;
mod registry;
mod schema;
mod world;
