//! The server over real sockets: tonic and raw HTTP clients against a service that echoes what it was asked.
#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic fails the test that asked"
)]

mod auth;
mod compressed;
mod contract;
mod depth;
mod drain;
mod echo;
mod faults;
mod followed;
mod gateway;
mod head;
mod hostile;
mod json;
mod load;
mod metadata;
mod observed;
mod pages;
mod probes;
mod raw;
mod reference;
mod secure;
mod streams;
mod tokens;
mod world;
