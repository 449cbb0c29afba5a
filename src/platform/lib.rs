//! The library that a service embeds to be a citizen of the fleet: registered while it is alive,
//! configured live, calling its peers by name, answering gRPC and HTTP on one port.

pub mod channel;
pub mod config;
pub mod deadline;
pub mod discover;
mod error;
pub mod liveness;
pub mod platform;
pub mod register;
pub mod server;
mod status;
mod transcode;

pub use channel::{Channel, ChannelOptions};
pub use config::{Config, Live};
pub use error::Error;
pub use fleet::Prefixes;
pub use platform::{Builder, Platform};
pub use server::{Server, Service};
