//! The library that a service embeds to be a citizen of the fleet: registered while it is alive,
//! configured live, calling its peers by name.

pub mod channel;
pub mod deadline;
pub mod discover;
pub mod server;
mod transcode;

pub use server::{Server, Service};
