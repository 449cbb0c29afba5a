//! HTTP/JSON in front of gRPC, by the `google.api.http` rules of the descriptors. Requests become wire bytes
//! and answers JSON without a tree in between, and no socket lies between the two sides.
//! Deliberately absent: what the gRPC side is. In a server it is the services themselves, in a gateway
//! channels to those of others.

mod answer;
mod frame;
mod headers;
mod incoming;
mod openapi;
mod request;
mod status;

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use reflect::{
    Lookup, Match, ParseOptions, PrintOptions, Router, Schema, UnknownFields, rule::Unbound,
};
use tonic::{Code, Status, body::Body};
use tower::ServiceExt as _;

use crate::server::{Peer, Stack};
use answer::{Form, Lines, Trailers};
pub(crate) use status::{JsonStatus, refusal, wrong_verb};

/// A request's body must have come within this time when the caller set no deadline.
const BODY: Duration = Duration::from_secs(60);

/// How JSON is read and written, and how large bodies may be.
#[derive(Clone, Debug)]
pub struct JsonOptions {
    /// How answers are written. By default in lowerCamelCase with unpopulated fields, `null` among them.
    pub print: PrintOptions,
    /// How requests are read. By default unknown fields are dropped, and only they; `Reject` answers
    /// 400 and names them. Messages may nest 100 levels deep, as far as the services of this process read them;
    /// a gateway's servers have limits of their own.
    pub parse: ParseOptions,
    /// The largest request, or message of a stream of requests, in bytes; more is answered 413.
    pub max_request: usize,
    /// The largest message taken from a service, in bytes; more is answered 502.
    pub max_response: usize,
    /// Which metadata callers may set by `Grpc-Metadata-NAME` headers. Any by default, but for credentials and what
    /// the protocol, proxies and tracing say of themselves: no list opens these.
    pub metadata: Allowed,
}

/// Names that are let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Every one.
    #[default]
    Any,
    /// These, in lower case; one that ends in `*` is every name that begins so.
    Only(BTreeSet<String>),
}

impl Allowed {
    /// These names alone, in whatever case; one that ends in `*` is every name that begins so.
    pub fn only<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter();
        Self::Only(names.map(|name| name.into().to_ascii_lowercase()).collect())
    }

    fn lets(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.iter().any(|one| match one.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => one == name,
            }),
        }
    }
}

impl Default for JsonOptions {
    fn default() -> Self {
        // gRPC's own default limit.
        const MOST: usize = 4 << 20;
        // Where prost stops, without which one deep message could end the process: it recurses.
        const NESTING: usize = 100;
        Self {
            print: PrintOptions {
                emit_defaults: true,
                emit_null: true,
                ..PrintOptions::default()
            },
            parse: ParseOptions {
                unknown_fields: UnknownFields::DropFields,
                max_nesting: NESTING,
                ..ParseOptions::default()
            },
            max_request: MOST,
            max_response: MOST,
            metadata: Allowed::Any,
        }
    }
}

/// What the rules say of a verb and a path.
pub(crate) enum Found {
    Method(Arc<Match>),
    Nowhere,
    /// The path exists, for these verbs.
    WrongVerb(Vec<Method>),
    /// The path cannot be read; the text says why.
    Malformed(String),
}

impl Found {
    /// The gRPC method that it leads to.
    pub(crate) fn method(&self) -> Option<&str> {
        match self {
            Self::Method(found) => Some(found.method().path()),
            _ => None,
        }
    }
}

/// Whether a service is there for the fleet and its tools, not for callers: it speaks gRPC alone, and /healthz is for
/// the rest. Named one by one, as anybody may call a package of his own `grpc.something`.
pub(crate) fn is_plumbing(service: &str) -> bool {
    [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.channelz.v1.Channelz",
    ]
    .contains(&service)
}

/// Every rule of a server's services.
pub(crate) struct Transcoder {
    router: Router,
    parse: Arc<ParseOptions>,
    print: Arc<PrintOptions>,
    /// As `print`, and never on more lines than one.
    print_line: Arc<PrintOptions>,
    max_request: usize,
    max_response: usize,
    metadata: Allowed,
    /// Whether callers need a credential, for the document alone.
    is_guarded: bool,
    openapi: OnceLock<Bytes>,
}

impl Transcoder {
    /// The rules of the services named in `served`, those with none reachable by their gRPC path.
    pub(crate) fn new(schema: &Schema, served: &[String], options: JsonOptions) -> Self {
        let api = served
            .iter()
            .filter(|name| !is_plumbing(name))
            .filter_map(|name| schema.service(name));
        let methods: Vec<_> = api
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .collect();
        Self::of_methods(methods, options)
    }

    /// The rules of chosen methods, which may come from several schemas. Of two equal rules the last one counts.
    pub(crate) fn of_methods(
        methods: impl IntoIterator<Item = reflect::Method>,
        options: JsonOptions,
    ) -> Self {
        let (router, faults) = Router::of_methods(methods, Unbound::Post);
        for fault in faults {
            tracing::warn!(%fault, "an HTTP rule is left out");
        }
        Self {
            router,
            parse: Arc::new(options.parse),
            print_line: Arc::new(PrintOptions {
                indent: None,
                ..options.print
            }),
            print: Arc::new(options.print),
            max_request: options.max_request,
            max_response: options.max_response,
            metadata: options.metadata,
            is_guarded: false,
            openapi: OnceLock::new(),
        }
    }

    /// Whether callers need a credential, as the document is to say.
    pub(crate) fn guarded(mut self, is_guarded: bool) -> Self {
        self.is_guarded = is_guarded;
        self
    }

    /// The path of every method that can be reached.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = &str> {
        self.router.rules().map(|(method, _, _)| method.path())
    }

    /// The OpenAPI document of every rule.
    pub(crate) fn openapi(&self) -> Bytes {
        self.openapi
            .get_or_init(|| openapi::document(&self.router, &self.print, self.is_guarded).into())
            .clone()
    }

    pub(crate) fn find(&self, verb: &Method, path: &str) -> Found {
        match self.router.lookup(verb.as_str(), path) {
            Lookup::Found(found) => Found::Method(Arc::from(found)),
            Lookup::NotFound => Found::Nowhere,
            Lookup::MethodNotAllowed { allow } => {
                Found::WrongVerb(allow.iter().filter_map(|verb| verb.parse().ok()).collect())
            }
            Lookup::Malformed(cause) => Found::Malformed(cause),
        }
    }

    /// Answers a request by a call of `grpc`.
    pub(crate) async fn call(
        &self,
        found: &Found,
        request: Request<Body>,
        grpc: Stack,
    ) -> Response<Body> {
        match found {
            Found::Method(found) => self
                .transcode(found, request, grpc)
                .await
                .unwrap_or_else(|status| refusal(&status)),
            Found::Nowhere => status::no_such_path(request.uri().path()),
            Found::WrongVerb(allowed) => wrong_verb(allowed),
            Found::Malformed(cause) => {
                refusal(&JsonStatus::bare(&Status::invalid_argument(cause.as_str())))
            }
        }
    }

    async fn transcode(
        &self,
        found: &Arc<Match>,
        request: Request<Body>,
        grpc: Stack,
    ) -> Result<Response<Body>, JsonStatus> {
        let (parts, body) = request.into_parts();
        if let Some(coding) = parts.headers.get(header::CONTENT_ENCODING)
            && coding != "identity"
        {
            let status = Status::invalid_argument(
                "content-encoding: a compressed request cannot be read here",
            );
            return Err(JsonStatus::bare(&status).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let origin = headers::Origin {
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0),
            authority: parts.uri.authority().map(|authority| authority.as_str()),
        };
        let metadata = headers::to_grpc(&parts.headers, origin, &self.metadata)
            .map_err(|status| JsonStatus::bare(&status))?;
        let query = parts.uri.query().unwrap_or_default();
        let raw = found.takes_bytes().then(|| {
            let kind = parts.headers.get(header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok());
            kind.unwrap_or_default().to_owned()
        });
        let fault = Arc::new(OnceLock::new());
        let body = if found.method().client_streaming() {
            let reading = request::Reading {
                found: Arc::clone(found),
                query: query.to_owned(),
                parse: Arc::clone(&self.parse),
                most: self.max_request,
                raw,
            };
            Body::new(request::Requests::new(body, reading, Arc::clone(&fault)))
        } else {
            let body = read(body, self.max_request).await?;
            let mut wire = Vec::with_capacity(body.len() + 64);
            let start = frame::open(&mut wire);
            let bound = match &raw {
                Some(kind) => found.bind_bytes(query, kind, &body, &self.parse, &mut wire),
                None => found.bind(query, &body, &self.parse, &mut wire),
            };
            bound
                .map_err(|error| JsonStatus::bare(&Status::invalid_argument(error.to_string())))?;
            frame::close(&mut wire, start).map_err(|status| JsonStatus::bare(&status))?;
            Body::new(Full::new(Bytes::from(wire)))
        };
        let mut call = Request::new(body);
        *call.method_mut() = Method::POST;
        *call.version_mut() = Version::HTTP_2;
        *call.headers_mut() = metadata;
        *call.uri_mut() = found
            .method()
            .path()
            .parse()
            .map_err(|_| JsonStatus::bare(&Status::internal("the method's name is no path")))?;
        // Identity, deadline, peer and what layers have left there reach the handler as they do over gRPC.
        *call.extensions_mut() = parts.extensions;
        let Ok(response) = grpc.oneshot(call).await;
        let form = Form {
            found: Arc::clone(found),
            print: Arc::clone(if found.method().server_streaming() {
                &self.print_line
            } else {
                &self.print
            }),
            is_raw: found.gives_bytes(),
            most: self.max_response,
            lines: lines(parts.headers.get(header::ACCEPT)),
            trailers: trailers(parts.version, parts.headers.get(header::TE)),
        };
        let response = form.answer(response).await;
        if let Some(fault) = fault.get() {
            // What was wrong with the stream of requests says more than what the service made of it.
            if !found.method().server_streaming() {
                let status = JsonStatus::bare(fault);
                let is_large = fault.code() == Code::ResourceExhausted;
                return Err(if is_large {
                    status.with_http(StatusCode::PAYLOAD_TOO_LARGE)
                } else {
                    status
                });
            }
        }
        Ok(response)
    }
}

async fn read(body: Body, most: usize) -> Result<Bytes, JsonStatus> {
    tokio::time::timeout(BODY, incoming::collect(body, most))
        .await
        .unwrap_or_else(|_| {
            let late = Status::deadline_exceeded("the request's body did not come in time");
            Err(JsonStatus::bare(&late).with_http(StatusCode::REQUEST_TIMEOUT))
        })
}

/// Whether the answer to a stream may end in trailers. HTTP/1 would have to name them before they are known.
fn trailers(version: Version, te: Option<&HeaderValue>) -> Trailers {
    let accepted = te.and_then(|te| te.to_str().ok()).is_some_and(|te| {
        te.split(',')
            .any(|one| one.trim().eq_ignore_ascii_case("trailers"))
    });
    if accepted && version == Version::HTTP_2 {
        Trailers::Wanted
    } else {
        Trailers::Dropped
    }
}

fn lines(accept: Option<&HeaderValue>) -> Lines {
    let accepts = accept
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    if accepts.contains("application/x-ndjson") {
        Lines::NdJson
    } else if accepts.contains("text/event-stream") {
        Lines::Events
    } else {
        Lines::Json
    }
}
