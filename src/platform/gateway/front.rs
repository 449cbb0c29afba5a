//! What is known of all upstreams as the one API of a gateway: rules from their schemas, calls through their
//! channels. Replaced as a whole, so that a request ends in the API that it began with.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::Arc,
};

use http::{Request, Response, StatusCode, header};
use tonic::{Status, body::Body};
use tower::Service as _;

use super::learn::Known;
use crate::{
    channel::Channel,
    server::{Api, JsonOptions, Protocol, Routing, Stack, inner_stack},
    transcode::Transcoder,
};

/// See the module. Clones show in one place.
#[derive(Clone)]
pub(super) struct Front {
    routing: Arc<Routing>,
    json: JsonOptions,
    /// Whether callers need a credential.
    is_guarded: bool,
    /// Services that more than one upstream has, as they were last told of.
    shared: BTreeSet<String>,
}

/// One upstream whose services are known.
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) known: &'a Known,
    pub(super) channel: &'a Channel,
}

impl Front {
    /// An API of nothing.
    pub(super) fn new(json: JsonOptions, is_guarded: bool) -> Self {
        let transcoder = Transcoder::of_methods([], json.clone());
        let mut api = api(transcoder, HashMap::new());
        api.pending = Some("the gateway is starting".to_owned());
        Self {
            routing: Arc::new(Routing::from_pointee(api)),
            json,
            is_guarded,
            shared: BTreeSet::new(),
        }
    }

    pub(super) fn routing(&self) -> Arc<Routing> {
        Arc::clone(&self.routing)
    }

    /// Shows these upstreams from now on; of two that have one service, the first has it. `pending` says what is
    /// not known yet.
    pub(super) fn show<'a>(
        &mut self,
        parts: impl IntoIterator<Item = Part<'a>>,
        pending: Option<String>,
    ) {
        let mut methods = Vec::new();
        let mut channels: HashMap<String, Channel> = HashMap::new();
        let mut shared = BTreeSet::new();
        for part in parts {
            for service in part.known.services() {
                let name = service.full_name();
                if channels.contains_key(name) {
                    let told = format!("{name} of {}", part.name);
                    if !self.shared.contains(&told) {
                        tracing::warn!(
                            service = ?name,
                            upstream = part.name,
                            "another upstream has this service already and keeps it"
                        );
                    }
                    shared.insert(told);
                    continue;
                }
                channels.insert(name.to_owned(), part.channel.clone());
                methods.extend(service.methods());
            }
        }
        self.shared = shared;
        metrics::gauge!("gateway_services").set(channels.len() as f64);
        let transcoder = Transcoder::of_methods(methods, self.json.clone());
        let mut api = api(transcoder.guarded(self.is_guarded), channels);
        api.pending = pending;
        self.routing.store(Arc::new(api));
    }

    /// What is not known yet.
    #[cfg(test)]
    pub(super) fn pending(&self) -> Option<String> {
        self.routing.load().pending.clone()
    }
}

fn api(transcoder: Transcoder, channels: HashMap<String, Channel>) -> Api {
    let paths: BTreeSet<String> = transcoder.reachable().map(str::to_owned).collect();
    Api::new(paths, transcoder, callers(channels))
}

/// Calls each service through its channel.
fn callers(channels: HashMap<String, Channel>) -> Stack {
    let channels = Arc::new(channels);
    inner_stack(tower::service_fn(move |request: Request<Body>| {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let channel = channels.get(service).cloned();
        async move {
            let Some(channel) = channel else {
                let lost = Status::internal("the method's service has no channel");
                return Ok::<_, Infallible>(Protocol::Grpc.refuse(&lost));
            };
            Ok(call(channel, request).await)
        }
    }))
}

async fn call(mut channel: Channel, request: Request<Body>) -> Response<Body> {
    match channel.call(request).await {
        Ok(response) => match not_grpc(&response) {
            None => response.map(Body::new),
            Some(status) => Protocol::Grpc.refuse(&status),
        },
        Err(status) => Protocol::Grpc.refuse(&status),
    }
}

/// What a proxy, or a server of something else, says in HTTP's own words, as gRPC's specification translates it.
fn not_grpc<B>(response: &Response<B>) -> Option<Status> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let http = response.status();
    if http == StatusCode::OK && (is_grpc || response.headers().contains_key("grpc-status")) {
        return None;
    }
    let message = format!("the server answered HTTP {http} in place of gRPC");
    Some(match http.as_u16() {
        400 => Status::internal(message),
        401 => Status::unauthenticated(message),
        403 => Status::permission_denied(message),
        404 => Status::unimplemented(message),
        429 | 502 | 503 | 504 => Status::unavailable(message),
        _ => Status::unknown(message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_grpc_is_translated() {
        use tonic::Code;
        let grpc = Some("application/grpc+proto");
        for (http, kind, code) in [
            (200, grpc, None),
            (200, Some("text/html"), Some(Code::Unknown)),
            (200, None, Some(Code::Unknown)),
            (401, None, Some(Code::Unauthenticated)),
            (404, Some("text/html"), Some(Code::Unimplemented)),
            (502, None, Some(Code::Unavailable)),
            (503, grpc, Some(Code::Unavailable)),
            (500, None, Some(Code::Unknown)),
        ] {
            let mut response = Response::builder().status(http);
            if let Some(kind) = kind {
                response = response.header(header::CONTENT_TYPE, kind);
            }
            let status = not_grpc(&response.body(()).unwrap());
            assert_eq!(status.map(|status| status.code()), code, "{http} {kind:?}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_knows_nothing_says_so() {
        let mut front = Front::new(JsonOptions::default(), false);
        assert!(front.pending().is_some());
        front.show([], None);
        assert!(front.pending().is_none());
    }
}
