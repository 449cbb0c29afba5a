//! Everything the console can do to the world, closed. `update` asks for it; `run` is the only place
//! that does it. An effect carries all it needs: it never sees state.

use std::sync::Arc;
use std::time::Duration;

use fleet::config::canary::Standing;
use fleet::config::{ConfigKey, Scope};
use fleet::drain::Turn;
use fleet::release::Action;
use fleet::{Instance, InstanceId, Key, LeaseId, Plan, Revision, ServiceName};

use super::event::Deed;
use super::state::calls::Method;
use crate::change::rollback::Target;

pub mod run;

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// End the console.
    Quit,
    /// Go to the background.
    Suspend,
    /// Go to another context of the settings file.
    SwitchContext(String),
    /// Forget what the terminal shows and draw it all.
    Redraw,
    /// Put a text on the clipboard.
    Copy(String),
    /// Hand a text to the user's editor; `suffix` names the file's kind.
    EditOutside {
        /// The text.
        text: String,
        /// `.yaml`, `.json`
        suffix: &'static str,
    },
    /// Ask instances for their health.
    ProbeHealth(Vec<Arc<Instance>>),
    /// Ask etcd for the time leases have.
    ProbeLeases {
        /// Which.
        ids: Vec<LeaseId>,
        /// With their keys or without.
        keys: Keys,
    },
    /// Ask etcd for all leases.
    ListLeases,
    /// Ask the cluster's members.
    AskCluster,
    /// List raw keys below the context's prefixes.
    ListKeys,
    /// Read one key.
    Read(Key),
    /// Write config, with its release record.
    Save {
        /// Its number; the answer carries it.
        id: u64,
        /// What to write.
        plan: Plan,
        /// What kind of change, for its record.
        action: Action,
        /// Why.
        message: String,
        /// The newest revision that was seen: orders the record among the others.
        revision: Revision,
    },
    /// Watch a canary until it is plain what becomes of it.
    WatchCanary {
        /// Which.
        standing: Box<Standing>,
        /// How long it has to be without trouble.
        quiet: Duration,
        /// Instances that could not be reached before.
        unreached: Vec<InstanceId>,
    },
    /// Watch no canary any longer.
    LeaveCanary,
    /// Read what changed a scope's config, or one key of it.
    ReadHistory {
        /// Whose.
        scope: Scope,
        /// Only of this key.
        only: Option<ConfigKey>,
    },
    /// Read who wrote what stands in these scopes.
    ReadRecords(Vec<Scope>),
    /// Find the way back.
    FindWayBack {
        /// Whose.
        scope: Scope,
        /// How far.
        target: Target,
    },
    /// Write anything else.
    Commit {
        /// What to write.
        plan: Plan,
        /// What for.
        deed: Deed,
    },
    /// Take instances out of the calls, or give them back, as long as their records stand as shown.
    Turn {
        /// As they were shown.
        instances: Vec<Arc<Instance>>,
        /// Which way.
        turn: Turn,
        /// How they are called.
        what: String,
    },
    /// Revoke a lease.
    Revoke(LeaseId),
    /// Ask a service for its methods.
    AskMethods {
        /// The service.
        service: ServiceName,
        /// Who may be asked, the best first.
        instances: Vec<Arc<Instance>>,
    },
    /// Call a method.
    Call(Call),
    /// End the call that is running.
    CancelCall,
}

/// Whether a lease's keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They are.
    With,
    /// They are not.
    Without,
}

/// A call to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its number; news carry it.
    pub id: u64,
    /// The registered service.
    pub service: ServiceName,
    /// Which method.
    pub method: Arc<Method>,
    /// JSON documents, one after the other.
    pub request: String,
    /// Headers that go with it, as `name: value`.
    pub headers: Vec<String>,
    /// Who may be called, the best first.
    pub instances: Vec<Arc<Instance>>,
}
