//! What every layer wants to know of a request, whichever protocol it came by: worked out once, kept in the
//! request's extensions. And the one place that refuses a request in the words of its protocol.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tonic::{
    Code, Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

use super::certificate::PeerCertificate;
use super::port::Peer;
use crate::transcode::{self, JsonStatus};

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// JSON, or a probe, over HTTP/1.1 or HTTP/2.
    Http,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// The service's own methods, and whatever nobody knows.
    Api,
    /// `grpc.health.v1`, `/healthz` and `/readyz`.
    Health,
    /// `grpc.reflection` and `/openapi.json`.
    Reflection,
    /// `/metrics`.
    Metrics,
}

/// A request as layers see it.
#[derive(Clone, Debug)]
pub struct Call {
    protocol: Protocol,
    surface: Surface,
    method: Arc<str>,
    peer: Option<SocketAddr>,
    certificates: Option<Arc<Vec<CertificateDer<'static>>>>,
    certificate: Option<PeerCertificate>,
}

impl Call {
    pub(crate) fn new<B>(
        request: &Request<B>,
        protocol: Protocol,
        surface: Surface,
        method: Arc<str>,
    ) -> Self {
        let extensions = request.extensions();
        Self {
            protocol,
            surface,
            method,
            peer: extensions.get::<Peer>().map(|peer| peer.0),
            certificates: extensions
                .get::<TlsConnectInfo<TcpConnectInfo>>()
                .and_then(TlsConnectInfo::peer_certs),
            certificate: extensions.get::<PeerCertificate>().cloned(),
        }
    }

    /// Where it came from: the other end of the connection, which may be a proxy. `None` without a port.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The certificates (DER) that the caller has shown, its own first, and that an authority of
    /// [`Tls::clients`](super::Tls::clients) vouches for. None without mutual TLS.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates
            .iter()
            .flat_map(|chain| chain.iter().map(|certificate| &**certificate))
    }

    /// The caller's own certificate, in words. `None` without mutual TLS.
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref()
    }

    /// How it came.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What it is for.
    pub fn surface(&self) -> Surface {
        self.surface
    }

    /// The gRPC method it ends in, `/pkg.Service/Method`, or the path of a probe. `unknown` when there is no
    /// such method, so that made-up paths cannot grow the metrics.
    pub fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn method_label(&self) -> Arc<str> {
        Arc::clone(&self.method)
    }
}

impl Protocol {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        if request.method() == Method::POST && is_grpc(request.headers()) {
            Self::Grpc
        } else {
            Self::Http
        }
    }

    /// The answer that says `status` to a caller of this protocol.
    pub fn refuse(self, status: &Status) -> Response<Body> {
        match self {
            Self::Grpc => {
                let mut response = Response::new(Body::empty());
                let headers = response.headers_mut();
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/grpc"),
                );
                if status.add_header(headers).is_err() {
                    headers.insert("grpc-status", code_value(status.code()));
                }
                response.extensions_mut().insert(Answered(status.code()));
                response
            }
            Self::Http => transcode::refusal(&JsonStatus::bare(status)),
        }
    }
}

/// The gRPC code of an answer whose code is known before its body has been read; for log and metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered(pub(crate) Code);

/// The code that a JSON stream ends with, which its headers could not know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome(Arc<OnceLock<Code>>);

impl Outcome {
    /// Only the first word counts.
    pub(crate) fn set(&self, code: Code) {
        let _ = self.0.set(code);
    }

    pub(crate) fn get(&self) -> Option<Code> {
        self.0.get().copied()
    }
}

/// The decimal code, as the header `grpc-status` has it.
pub(crate) fn code_value(code: Code) -> HeaderValue {
    HeaderValue::from(code as i32)
}

/// The code in the headers of a finished gRPC answer or in its trailers.
pub(crate) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// The nearest gRPC code for an HTTP status that no gRPC status stands behind.
pub(crate) fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        200..=399 => Code::Ok,
        400 | 413 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        405 | 501 => Code::Unimplemented,
        408 | 504 => Code::DeadlineExceeded,
        429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        503 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    match kind.as_bytes().strip_prefix(b"application/grpc") {
        // `application/grpc-web` is another protocol, and ours to refuse as HTTP.
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';' | b' ')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_told_by_verb_and_content_type() {
        for (verb, kind, expected) in [
            ("POST", "application/grpc", Protocol::Grpc),
            ("POST", "application/grpc+proto", Protocol::Grpc),
            ("POST", "application/grpc;x=y", Protocol::Grpc),
            ("GET", "application/grpc", Protocol::Http),
            ("POST", "application/grpc-web", Protocol::Http),
            ("POST", "application/json", Protocol::Http),
            ("POST", "", Protocol::Http),
        ] {
            let request = Request::builder()
                .method(verb)
                .header("content-type", kind)
                .body(())
                .unwrap();
            assert_eq!(Protocol::of(&request), expected, "{verb} {kind}");
        }
    }
}
