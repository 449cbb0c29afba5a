//! Transcoding (early).
use crate::server::{Answered, ServerError, Stack};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use std::sync::Arc;
use tonic::{Code, Status, body::Body};

/// How JSON is read and written, and how large bodies may be.
#[derive(Clone, Debug, Default)]
pub struct JsonOptions {}

pub(crate) struct Found;
impl Found {
    pub(crate) fn method(&self) -> Option<&str> {
        None
    }
}
pub(crate) struct Transcoder;
impl Transcoder {
    pub(crate) fn new(
        _set: &[u8],
        _served: &[String],
        _options: JsonOptions,
    ) -> Result<Self, ServerError> {
        Ok(Self)
    }
    pub(crate) fn methods(&self) -> Vec<String> {
        Vec::new()
    }
    pub(crate) fn openapi(&self) -> Bytes {
        Bytes::new()
    }
    pub(crate) fn find(&self, _verb: &Method, _path: &str) -> Found {
        Found
    }
    pub(crate) async fn call(
        self: &Arc<Self>,
        _found: &Found,
        request: Request<Body>,
        _grpc: Stack,
    ) -> Response<Body> {
        refusal(&JsonStatus::bare(&Status::not_found(request.uri().path())))
    }
}
pub(crate) struct JsonStatus {
    code: Code,
    http: StatusCode,
    json: Vec<u8>,
}
impl JsonStatus {
    pub(crate) fn bare(status: &Status) -> Self {
        let http = match status.code() {
            Code::Unauthenticated => 401,
            Code::NotFound => 404,
            _ => 500,
        };
        Self { code: status.code(), http: StatusCode::from_u16(http).unwrap_or_default(), json: serde_json::json!({"code": status.code() as i32, "message": status.message(), "details": []}).to_string().into_bytes() }
    }
}
pub(crate) fn refusal(status: &JsonStatus) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::copy_from_slice(&status.json))));
    *response.status_mut() = status.http;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response.extensions_mut().insert(Answered(status.code));
    response
}
pub(crate) fn wrong_verb(_allowed: &[Method]) -> Response<Body> {
    refusal(&JsonStatus::bare(&Status::unimplemented("")))
}
