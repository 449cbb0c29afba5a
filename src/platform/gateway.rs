//! HTTP/JSON in front of gRPC servers of others: what they serve is read by reflection, kept true while they
//! change, and called through the library's channels. Invariant: a gateway starts whatever is down, and says
//! "not found" only once everything that may have the path is known.
//! Deliberately absent: credentials of its own for calls (callers' pass through), and gRPC to gRPC.

mod front;
mod keep;
mod learn;

use std::{net::SocketAddr, time::Duration};

pub use fleet::Endpoint;
use fleet::Prefix;
use tokio::net::ToSocketAddrs;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    channel::ChannelOptions,
    server::{Handle, JsonOptions, Server, ServerError, Service},
};
use front::Front;
use keep::keep;

/// Whom a gateway stands in front of.
#[derive(Clone, Debug)]
pub enum Upstreams {
    /// Servers at known addresses. Each inner list holds the replicas of one server, which share its calls; where
    /// several servers have one service, the first has it.
    Addresses(Vec<Vec<Endpoint>>),
    /// Every service with a gRPC endpoint in a registry, followed as it changes. Where several have one gRPC
    /// service, the first by name has it.
    Registry {
        /// The link to etcd.
        client: etcd::Client,
        /// Where services register.
        services: Prefix,
    },
}

/// How a gateway does its work. Every field has a default.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// How JSON is read and written, and how large bodies may be.
    pub json: JsonOptions,
    /// How servers are called.
    pub channel: ChannelOptions,
    /// How often a server is asked again what it serves, at least 100 ms; a registered one also whenever its
    /// instances change. Default 30 s.
    pub refresh: Duration,
    /// Sent with what is asked of a server's reflection, and with nothing else: a credential of the gateway's own.
    pub reflection: reflect::Metadata,
    /// What servers without reflection serve: each is taken to serve every service in it.
    pub fallback: Option<reflect::Schema>,
    /// A service without an instance answers 503 for so long, and 404 after that. Default 10 minutes: longer than
    /// a restart.
    pub forget_after: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        let mut json = JsonOptions::default();
        // How deep its servers read is theirs to say.
        json.parse.max_nesting = usize::MAX;
        Self {
            json,
            channel: ChannelOptions::default(),
            refresh: Duration::from_secs(30),
            reflection: reflect::Metadata::default(),
            fallback: None,
            forget_after: Duration::from_secs(600),
        }
    }
}

/// A listening gateway. Dropping it closes the port and ends everything it runs.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    _keeper: AbortOnDropHandle<()>,
}

impl Gateway {
    /// Listens on `addr` and serves what is known of the upstreams, which need not be there yet.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(
        addr: impl ToSocketAddrs + ToString,
        upstreams: Upstreams,
        options: GatewayOptions,
    ) -> Result<Self, ServerError> {
        Self::bind_with(addr, upstreams, options, Service::new()).await
    }

    /// As [`Gateway::bind`], with the layers of `service`: its authentication, rates, CORS, TLS and the rest see every
    /// request first. Its own JSON options and API over HTTP give way to the gateway's.
    ///
    /// # Errors
    /// The address is taken or not ours, or a setting of the service cannot be used.
    pub async fn bind_with(
        addr: impl ToSocketAddrs + ToString,
        upstreams: Upstreams,
        options: GatewayOptions,
        service: Service,
    ) -> Result<Self, ServerError> {
        let front = Front::new(options.json.clone(), service.is_guarded());
        let server = Server::bind(addr, service.in_front_of(front.routing())).await?;
        let keeper = AbortOnDropHandle::new(tokio::spawn(keep(front, upstreams, options)));
        server.handle().ready();
        Ok(Self {
            server,
            _keeper: keeper,
        })
    }

    /// The address with the port that the system chose, if it was to choose.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Whether its port speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.server.is_secure()
    }

    /// Drains and stops it.
    pub fn handle(&self) -> Handle {
        self.server.handle()
    }
}
