//! What etcd's keys mean: services, instances, config and its layers, edits as plans, findings.
//!
//! Pure: no I/O, no clock, no async. What the console and the platform library both need to know
//! about a fleet stands here once.

pub mod config;
pub mod drain;
pub mod filter;
pub mod finding;
pub mod health;
pub mod kv;
pub mod plan;
pub mod prefixes;
pub mod registry;
pub mod release;
pub mod rollout;
pub mod safe;
pub mod service;
pub mod status;
pub mod suggest;

pub use finding::{Finding, Severity};
pub use health::Health;
pub use kv::{Change, EmptyPrefix, Entry, Key, LeaseId, Prefix, Revision};
pub use plan::{Conflict, Edit, LeaseRule, Outcome, Plan, PlanError, Seen, Write};
pub use prefixes::Prefixes;
pub use registry::{Found, Poison, Registry, Service};
pub use service::{
    Endpoint, EndpointError, Format, Instance, InstanceId, InstanceRecord, NameError, ServiceName,
};
