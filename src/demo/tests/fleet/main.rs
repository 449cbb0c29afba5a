//! The demo services as an operator meets them: on a real etcd, over real sockets, by both protocols.

mod config;
mod faults;
mod orders;
mod process;
mod streams;
mod world;
