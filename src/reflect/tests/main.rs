//! The crate's tests: tables over the codec and the rules, properties against the descriptor
//! library as the oracle, calls over a real connection, and servers that nobody here wrote.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail as tests do"
)]

mod call;
mod describe;
mod fixture;
mod foreign;
mod json_print;
mod json_property;
mod json_read;
mod reference;
mod rule;
mod schema;
