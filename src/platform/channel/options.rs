//! What a channel's owner can set. Every field has a default that suits a service calling its peers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::Policy;
use super::connect::Connector;
use super::hedge::Hedge;
use crate::Error;

/// See the module.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    /// How long a call that names no deadline, and inherits none, may wait for the head of its
    /// answer. Streams run on after that. `None` waits for ever.
    pub timeout: Option<Duration>,
    /// How long one connection attempt may take.
    pub connect_timeout: Duration,
    /// How long a call waits for the first word of discovery.
    pub discovery_timeout: Duration,
    /// The first wait after a failed connection attempt…
    pub reconnect: Duration,
    /// …and the longest.
    pub reconnect_longest: Duration,
    /// How connections are made.
    pub connector: Connector,
    /// Each endpoint is asked, over its connection and for as long as it stands, for the health of
    /// this service (`grpc.health.v1`; `""`, the default, is the whole server). One that says
    /// NOT_SERVING gets no calls until it says otherwise, and one that says nothing within 300 ms
    /// only where no other can take them. One that has no health service, or does not let us ask,
    /// is taken to serve. `None` asks nobody.
    pub health: Option<Arc<str>>,
    /// When an endpoint is taken out of the choice.
    pub breaker: Policy,
    /// Calls of these paths (`/pkg.Service/Method`) may be repeated although the first attempt may
    /// have had its effect. A call that provably never reached a server is always repeated. Added
    /// to by [`ChannelOptions::descriptors`]; a list says so of methods that do not say it
    /// themselves.
    pub idempotent: Arc<BTreeSet<String>>,
    /// Sends a call of these paths a second time, to another instance, when its answer is late; the
    /// answer that comes first counts, and the other attempt is cancelled. Paid from the budget of
    /// retries; `None` never does. Streams of requests are not sent twice.
    pub hedge_after: Option<Hedge>,
    /// At most so many attempts for one call.
    pub attempts: u32,
    /// At most so many connections to one service, chosen by hash, those of the own zone first; 0
    /// means all instances.
    pub subset: usize,
    /// Who this client is, for the choice of the subset.
    pub client: Arc<str>,
    /// Instances of this zone (their metadata's `zone`) are preferred while one of them is usable and
    /// does not answer much more slowly than others would.
    pub zone: Option<Arc<str>>,
    /// Sent as `:authority` in place of the endpoint's address.
    pub authority: Option<Arc<str>>,
}

impl Default for ChannelOptions {
    fn default() -> ChannelOptions {
        ChannelOptions {
            timeout: Some(Duration::from_secs(15)),
            connect_timeout: Duration::from_secs(1),
            discovery_timeout: Duration::from_secs(1),
            reconnect: Duration::from_millis(50),
            reconnect_longest: Duration::from_secs(5),
            connector: Connector::default(),
            health: Some("".into()),
            breaker: Policy::default(),
            idempotent: Arc::default(),
            hedge_after: None,
            attempts: 3,
            subset: 64,
            client: "".into(),
            zone: None,
            authority: None,
        }
    }
}

impl ChannelOptions {
    /// Lets calls be repeated of every method in a serialised `FileDescriptorSet` that promises to
    /// be safe to repeat: whose `idempotency_level` is NO_SIDE_EFFECTS or IDEMPOTENT.
    ///
    /// # Errors
    /// [`Error::Descriptors`] where it is none, or not complete.
    pub fn descriptors(mut self, set: &[u8]) -> Result<ChannelOptions, Error> {
        let schema =
            reflect::Schema::from_descriptor_set(set).map_err(|cause| Error::Descriptors {
                cause: cause.to_string(),
            })?;
        let methods = schema
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>());
        Arc::make_mut(&mut self.idempotent).extend(
            methods
                .filter(reflect::Method::idempotent)
                .map(|method| method.path().to_owned()),
        );
        Ok(self)
    }
}
