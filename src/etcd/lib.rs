//! Bytes in and out of etcd, surviving faults.
//!
//! A call that can be repeated costs no failure while one member answers; a mirror neither misses
//! nor doubles an event; a lease that is lost is granted anew; a write is applied, refused or said
//! to be unknown. What the keys mean is `fleet`'s: nothing here reads a value.
//!
//! What an operator can alarm on:
//!
//! | metric | kind | says |
//! |---|---|---|
//! | `etcd_watch_fresh{prefix}` | gauge | 0 while what is mirrored may be out of date |
//! | `etcd_watch_proof_timestamp_seconds{prefix}` | gauge | when it was last proved to be up to date, in Unix time |
//! | `etcd_watch_revision{prefix}` | gauge | the last revision given to the reader |
//! | `etcd_watch_unread{prefix}` | gauge | events that wait for a slow reader |
//! | `etcd_watch_interruptions_total{prefix}` | counter | times the watch or etcd was lost |
//! | `etcd_watch_resumes_total{prefix}` | counter | times it went on behind the last event |
//! | `etcd_watch_compactions_total{prefix}` | counter | times the history behind the last event was gone |
//! | `etcd_watch_relists_total{prefix}` | counter | times all was listed again |
//! | `etcd_watch_wipes_total{prefix}` | counter | times etcd came back without its data |
//! | `etcd_lease_held` | gauge | 1 while the process's lease is held |
//! | `etcd_lease_deadline_timestamp_seconds` | gauge | until when it is, unless kept alive, in Unix time |
//! | `etcd_lease_grants_total` | counter | leases granted; more than one is a loss |
//! | `etcd_lease_losses_total` | counter | leases lost |
//! | `etcd_lease_grant_failures_total` | counter | attempts to get one that failed |
//! | `etcd_member_up{endpoint}` | gauge | 1 while this member of etcd answers |
//! | `etcd_failovers_total` | counter | times another member was turned to |
//! | `etcd_tokens_total` | counter | tokens fetched; more than one is a renewal |
//! | `etcd_no_space_total` | counter | writes refused as etcd's database is full |

pub mod backoff;
pub mod client;
mod commit;
pub mod error;
mod figures;
pub mod lease;
pub mod mirror;
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
pub use mirror::{History, Mirror, MirrorEvent, MirrorOptions, Scope};
pub use settings::{Credentials, Settings, TlsSettings};
pub use tls::TlsFiles;
