//! Traces, logs and metrics of several servers, in a binary of its own: subscribers and the exporter are the process's,
//! and what another test does beside would switch them on and off.
#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(dead_code, reason = "not everything shared is needed here")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic fails the test that asked"
)]

mod collector;
#[path = "../server/echo.rs"]
mod echo;
mod metrics;
mod stories;
#[path = "../server/world.rs"]
mod world;
