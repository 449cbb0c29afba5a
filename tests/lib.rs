//! What tests stand on: a real etcd of their own, or a cluster that can be torn apart, and a proxy
//! that fails on demand.
//!
//! Nothing of ours is imported here, so that every crate can use it in its tests. It panics where
//! a test could not go on, and says what is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "only tests link this; a panic fails the test that asked"
)]

mod peers;
pub mod port;
pub mod proxy;
pub mod realetcd;
