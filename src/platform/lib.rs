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
//! What an operator can alarm on, beside the server's own metrics:
//!
//! | metric | kind | says |
//! |---|---|---|
//! | `platform_alive` | gauge | 0 while the liveness probe fails and the lease is not kept |
//! | `platform_registered` | gauge | 1 while the record stands in the registry |
//! | `platform_registrations_total` | counter | times the record was written; more than one is a loss |
//! | `platform_registration_failures_total` | counter | attempts that failed |
//! | `platform_status_reports_total` | counter | reports written under `/status/` |
//! | `platform_config_revision` | gauge | the newest config revision taken in |
//! | `platform_config_stale` | gauge | 1 while the config may be old |
//! | `platform_config_rejected` | gauge | values refused now |
//! | `platform_config_rejected_total` | counter | values refused since the start |
//! | `platform_config_panics_total` | counter | times the service's own code for a value panicked |
//! | `platform_loop_running{loop}` | gauge | background loops that run: each below what it was after the start ended by a fault |
//! | `platform_schema_published_total` | counter | times this instance wrote the config's schema |
//! | `platform_schema_failures_total` | counter | attempts to publish it that failed |
//! | `platform_discovery_instances{service}` | gauge | instances known |
//! | `platform_discovery_quarantined{service}` | gauge | records that cannot be read |
//! | `platform_discovery_stale{service}` | gauge | 1 while the list may be old |
//! | `platform_channel_endpoints{service}` | gauge | endpoints connected to, or tried |
//! | `platform_channel_calls_total{service}` | counter | calls begun |
//! | `platform_channel_failures_total{service}` | counter | attempts that speak against their endpoint |
//! | `platform_channel_retries_total{service}` | counter | attempts beyond the first |
//! | `platform_channel_ejections_total{service}` | counter | times a breaker opened |
//! | `platform_channel_unavailable_total{service}` | counter | calls refused as nothing was ready |
//! | `gateway_upstreams` | gauge | servers that the gateway stands in front of |
//! | `gateway_upstreams_unknown` | gauge | those of which it does not know yet what they serve |
//! | `gateway_services` | gauge | gRPC services that it serves |
//! | `gateway_reflections_total{outcome}` | counter | times a server was asked what it serves |

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

pub use channel::{Channel, ChannelOptions};
pub use config::{Config, Live};
pub use error::Error;
/// How to reach etcd with TLS or a user, for [`Builder::etcd_settings`].
pub use etcd::{Credentials, Settings as EtcdSettings, TlsSettings};
pub use fleet::{Prefixes, ServiceName};
pub use gateway::Gateway;
pub use platform::{Builder, Platform};
pub use server::{Server, Service};
