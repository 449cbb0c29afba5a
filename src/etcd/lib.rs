//! Bytes in and out of etcd, surviving faults.
//!
//! A call that can be repeated costs no failure while one member answers; a mirror neither misses
//! nor doubles an event; a lease that is lost is granted anew; a write is applied, refused or said
//! to be unknown. What the keys mean is `fleet`'s: nothing here reads a value.
//!
//! What it counts is told in `docs/metrics.md`, with everything else that a service counts.

pub mod backoff;
pub mod client;
mod commit;
pub mod error;
mod figures;
pub mod lease;
pub mod mirror;
pub mod replay;
pub mod running;
pub mod settings;
pub mod tls;
mod wire;

pub use client::cluster::{Alarm, AlarmKind, Member, MemberStatus};
pub use client::leases::{GrantedLease, LeaseInfo, LeaseKeys};
pub use client::range::{KeyHead, KeyListing, ListOptions, Listing};
pub use client::state::{Condition, LinkState, MemberState};
pub use client::{Client, Transport};
pub use error::Error;
pub use lease::{Gate, LeaseKeeper, LeaseOptions, LeaseState};
pub use mirror::{History, Mirror, MirrorEvent, MirrorOptions, PagedEvent, Scope};
pub use replay::{Lost, Replay, ReplayOptions};
pub use settings::{Credentials, Settings, TlsSettings};
pub use tls::TlsFiles;
