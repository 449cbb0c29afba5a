//! The library that a service embeds to be a citizen of the fleet: registered while it is alive,
//! configured live, calling its peers by name, answering gRPC and HTTP on one port.
//!
//! ```no_run
//! # async fn service() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use platform::{Platform, Service};
//!
//! let platform = Platform::builder("order")
//!     .default("timeout.write", "2s")
//!     .etcd(["127.0.0.1:2379"])
//!     .start() // etcd may be down: it joins when it comes
//!     .await?;
//! let write_timeout = platform.config().live::<Duration>("timeout.write")?;
//! let users = platform.channel("user"); // UserServiceClient::new(users)
//! # let _ = (write_timeout.get(), users);
//! platform.serve(Service::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
#![doc = include_str!("../../docs/metrics.md")]

pub mod channel;
pub mod config;
pub mod deadline;
pub mod discover;
mod error;
pub mod gateway;
pub mod liveness;
mod pace;
pub mod platform;
pub mod register;
mod running;
pub mod server;
mod spread;
mod status;
pub mod telemetry;
pub mod trace;
mod transcode;
mod watched;

pub use channel::{Channel, ChannelOptions};
pub use config::{Config, Live};
pub use error::Error;
/// How to reach etcd with TLS or a user, for [`Builder::etcd_settings`].
pub use etcd::{Credentials, Settings as EtcdSettings, TlsSettings};
pub use fleet::{Prefixes, ServiceName};
pub use gateway::Gateway;
pub use platform::{Builder, Platform};
pub use server::{Server, Service};
