//! gzip for JSON answers whose length is known and worth it. Streams are left alone: a line held back in a
//! compressor would make a watch look dead. gRPC compresses by itself, message by message.

use http::{HeaderMap, Request, Response, header};
use tonic::body::Body;
use tower::ServiceBuilder;
use tower_http::compression::{CompressionBody, CompressionLayer, Predicate};

use super::{ServerError, Stack, call::Protocol, fork::fork};

/// Below this the headers of compression weigh more than it saves.
const LEAST: usize = 256;

/// Which answers are compressed.
#[derive(Clone, Copy)]
struct Worth {
    least: u64,
}

impl Predicate for Worth {
    fn should_compress<B: http_body::Body>(&self, response: &Response<B>) -> bool {
        is_json(response.headers())
            && response
                .body()
                .size_hint()
                .exact()
                .is_some_and(|length| length >= self.least)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// Compresses answers of at least `least` bytes for callers that accept it.
pub(super) fn before(stack: Stack, least: usize) -> Result<Stack, ServerError> {
    if least < LEAST {
        return Err(ServerError::Setting {
            what: "gzip",
            cause: format!("answers of {least} bytes would grow. Start from {LEAST} or more"),
        });
    }
    let layer = CompressionLayer::new().compress_when(Worth {
        least: least as u64,
    });
    let through = ServiceBuilder::new()
        .map_response(|response: Response<CompressionBody<Body>>| response.map(Body::new))
        .layer(layer)
        .service(stack.clone());
    let is_http = |request: &Request<Body>| Protocol::of(request) == Protocol::Http;
    Ok(fork(is_http, Stack::new(through), stack))
}
