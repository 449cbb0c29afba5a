//! What a channel calls: one instance, or one address that nobody gave a name.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use fleet::{Endpoint, Instance};
use tokio::sync::watch;

use crate::discover::ServiceView;

/// One instance as a channel sees it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The instance, or the address where nobody gave it a name.
    pub id: Arc<str>,
    /// Where it speaks gRPC.
    pub endpoint: Endpoint,
    /// Its share of the calls, relative to 100.
    pub weight: u32,
    /// Where it runs.
    pub zone: Option<Arc<str>>,
}

/// A target is the same while instance and address are: weight and zone may change meanwhile.
impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        self.id == other.id && self.endpoint == other.endpoint
    }
}

impl Eq for Target {}

impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        self.endpoint.hash(state);
    }
}

impl Target {
    /// The instance's first gRPC endpoint; `None` when it has none.
    pub fn of(instance: &Instance) -> Option<Target> {
        Some(Target {
            id: instance.record.id.as_str().into(),
            endpoint: instance.record.grpc()?.clone(),
            weight: instance.record.weight,
            zone: instance.record.zone().map(Into::into),
        })
    }

    /// An endpoint that is in no registry.
    pub fn at(endpoint: Endpoint) -> Target {
        Target {
            id: endpoint.address.clone(),
            endpoint,
            weight: 100,
            zone: None,
        }
    }
}

/// Where a channel's targets come from.
#[derive(Debug)]
pub(super) enum Source {
    Fixed(Vec<Target>),
    Discovered(watch::Receiver<Arc<ServiceView>>),
}
