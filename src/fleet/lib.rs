//! What etcd's keys mean: services, instances, config and its layers, edits as plans, findings.
//!
//! Pure: no I/O, no clock, no async. What the console and the platform library both need to know
//! about a fleet stands here once.

pub mod kv;
pub mod plan;
pub mod safe;

pub use kv::{Change, EmptyPrefix, Entry, Key, LeaseId, Prefix, Revision};
pub use plan::{Conflict, Edit, LeaseRule, Outcome, Plan, PlanError, Seen, Write};
