//! What is answered over plain HTTP beside the API: `/healthz`, `/readyz`, `/metrics` and `/openapi.json`.
//! Paths here win over rules of the API; a service that needs one of them for itself has a bad idea.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::Full;
use tonic::body::Body;

use super::{
    call::Surface,
    health::{Health, Serving},
    metrics,
};

/// A path that is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Is the process, or one of its services, well?
    Healthz,
    /// May it get calls?
    Readyz,
    Metrics,
    OpenApi,
}

impl Probe {
    pub(crate) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::OpenApi,
            _ => return None,
        })
    }

    pub(crate) fn surface(self) -> Surface {
        match self {
            Self::Healthz | Self::Readyz => Surface::Health,
            Self::Metrics => Surface::Metrics,
            Self::OpenApi => Surface::Reflection,
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
        }
    }

    pub(crate) fn answer(
        self,
        verb: &Method,
        uri: &Uri,
        health: &Health,
        openapi: impl FnOnce() -> Bytes,
    ) -> Response<Body> {
        if verb != Method::GET && verb != Method::HEAD {
            return allow_only_get();
        }
        match self {
            Self::Healthz => healthz(uri, health),
            Self::Readyz => state(health.check("")),
            Self::Metrics => match metrics::recorder() {
                Some(recorder) => text(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    recorder.text(),
                ),
                None => text(
                    StatusCode::NOT_FOUND,
                    "text/plain; charset=utf-8",
                    "metrics go elsewhere\n",
                ),
            },
            Self::OpenApi => text(StatusCode::OK, "application/json", openapi()),
        }
    }
}

/// As grpc-gateway answers it: `{"status":"SERVING"}`, 503 when not, 404 for a service that is not here.
fn healthz(uri: &Uri, health: &Health) -> Response<Body> {
    let query = uri.query().unwrap_or_default();
    let service = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("service="))
        .unwrap_or_default();
    let service = percent_encoding::percent_decode_str(service).decode_utf8_lossy();
    state(health.check(&service))
}

fn state(serving: Option<Serving>) -> Response<Body> {
    let (status, body) = match serving {
        Some(Serving::Yes) => (StatusCode::OK, r#"{"status":"SERVING"}"#),
        Some(Serving::No) => (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"status":"NOT_SERVING"}"#,
        ),
        None => (StatusCode::NOT_FOUND, r#"{"status":"SERVICE_UNKNOWN"}"#),
    };
    text(status, "application/json", body)
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn allow_only_get() -> Response<Body> {
    let mut response = crate::transcode::wrong_verb(&[Method::GET, Method::HEAD]);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
