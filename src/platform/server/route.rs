//! Where a request goes, decided once, before any layer: a gRPC method, a rule of the API, a probe, or nowhere.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use http::Request;
use tonic::body::Body;

use super::{
    Stack,
    call::{Call, Protocol, Surface},
    probe::Probe,
};
use crate::transcode::{Found, Transcoder};

/// What a request was found to ask for. In its extensions, for the end of the stack.
#[derive(Clone)]
pub(crate) enum Target {
    /// A gRPC call; the service itself answers for a method that does not exist.
    Grpc,
    Probe(Probe, Arc<Api>),
    /// A request over HTTP, and what the rules say of it. It ends in the API that it began with.
    Http(Arc<Found>, Arc<Api>),
}

/// The API of a server as it is now: its own services' for ever, those of others until they change.
pub(crate) type Routing = ArcSwap<Api>;

/// Knows every method and path of a server, and who answers them.
pub(crate) struct Api {
    methods: HashMap<String, (Surface, Arc<str>)>,
    unknown: Arc<str>,
    pub(crate) transcoder: Transcoder,
    /// Answers the calls that requests over HTTP become.
    pub(crate) grpc: Stack,
    /// What may have paths that nobody knows yet, and why; a path that is not found may be one of them.
    pub(crate) pending: Option<String>,
}

impl Api {
    pub(crate) fn new(
        methods: impl IntoIterator<Item = String>,
        transcoder: Transcoder,
        grpc: Stack,
    ) -> Self {
        let methods = methods
            .into_iter()
            .map(|path| {
                let label: Arc<str> = path.as_str().into();
                (path, (surface_of(&label), label))
            })
            .collect();
        Self {
            methods,
            unknown: "unknown".into(),
            transcoder,
            grpc,
            pending: None,
        }
    }

    pub(crate) fn resolve(self: &Arc<Self>, request: &Request<Body>) -> (Call, Target) {
        let protocol = Protocol::of(request);
        let path = request.uri().path();
        if protocol == Protocol::Grpc {
            let (surface, label) = match self.methods.get(path) {
                Some((surface, label)) => (*surface, Arc::clone(label)),
                None => (surface_of(path), Arc::clone(&self.unknown)),
            };
            return (Call::new(request, protocol, surface, label), Target::Grpc);
        }
        if let Some(probe) = Probe::of(path) {
            return (
                Call::new(request, protocol, probe.surface(), probe.path().into()),
                Target::Probe(probe, Arc::clone(self)),
            );
        }
        let found = self.transcoder.find(request.method(), path);
        let label = match found.method().and_then(|path| self.methods.get(path)) {
            Some((_, label)) => Arc::clone(label),
            None => Arc::clone(&self.unknown),
        };
        (
            Call::new(request, protocol, Surface::Api, label),
            Target::Http(Arc::new(found), Arc::clone(self)),
        )
    }
}

fn surface_of(path: &str) -> Surface {
    match path.split('/').nth(1) {
        Some("grpc.health.v1.Health") => Surface::Health,
        Some(
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
        ) => Surface::Reflection,
        _ => Surface::Api,
    }
}
