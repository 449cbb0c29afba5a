//! The server over real sockets: tonic and raw HTTP clients against a service that echoes what it was asked.
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod auth;
mod drain;
mod echo;
mod faults;
mod json;
mod probes;
mod world;
