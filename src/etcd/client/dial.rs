//! How a member is connected to: by address, with or without TLS, or as a service in this process.
//!
//! HTTP/2 pings go out only while a call or stream is open: etcd closes connections that ping it
//! idle, and those that ping more often than every five seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tower::ServiceExt;
use tower::util::BoxCloneService;

use super::secure::Secure;
use crate::error::{Error, root_cause};
use crate::settings::{Settings, TlsSettings};

/// Above the five seconds that etcd takes for an attack.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A boxed error of a transport.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service's error as one type, whatever the service.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TransportError(#[source] BoxError);

type Service = BoxCloneService<Request<Body>, Response<Body>, TransportError>;

/// A connection, or a service in this process: takes gRPC requests. Clones share it.
#[derive(Clone)]
pub struct Transport(Arc<Mutex<Service>>);

impl Transport {
    /// Wraps any service that speaks gRPC, such as the routes of an in-process server.
    pub fn new<S, B>(service: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service
            .map_response(|response: Response<B>| response.map(Body::new))
            .map_err(|error| TransportError(error.into()));
        Self(Arc::new(Mutex::new(BoxCloneService::new(service))))
    }

    /// A handle of its own for one call.
    pub(crate) fn handle(&self) -> Service {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

/// How to come by a transport.
pub(crate) enum Dial {
    Address(Box<Endpoint>),
    Secure(Box<Secure>),
    Fixed(Transport),
}

impl Dial {
    /// Reads one endpoint of the settings.
    pub(crate) fn parse(settings: &Settings, endpoint: &str) -> Result<(Arc<str>, Self), Error> {
        let trimmed = endpoint.trim().trim_end_matches('/');
        let wrong = |why: &str| Error::Settings(format!("endpoint {trimmed:?}: {why}"));
        let (secure, address) = match trimmed.split_once("://") {
            None => (settings.is_secure(), trimmed),
            Some(("http", address)) => (false, address),
            Some(("https", address)) => (true, address),
            Some(_) => return Err(wrong("the scheme is neither http nor https")),
        };
        if address.is_empty() || address.contains(['/', '@', '?', '#', ' ']) {
            return Err(wrong("expected host:port"));
        }
        let port = address.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse::<u16>().ok()?;
            (!host.is_empty() && port != 0).then_some(port)
        });
        if port.is_none() {
            return Err(wrong("expected host:port, such as 127.0.0.1:2379"));
        }
        let scheme = if secure { "https" } else { "http" };
        let mut dial = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|error| wrong(&root_cause(&error)))?
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(15)))
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(false)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        if secure {
            let handshake = settings.connect_timeout;
            if let Some(files) = &settings.tls_files {
                let secure = Secure::new(dial, files.clone(), handshake);
                return Ok((trimmed.into(), Self::Secure(Box::new(secure))));
            }
            let tls = settings.tls.clone().unwrap_or_default();
            dial =
                with_tls(dial, tls, handshake).map_err(|cause| wrong(&format!("TLS: {cause}")))?;
        }
        Ok((trimmed.into(), Self::Address(Box::new(dial))))
    }

    /// Connects, within the connect timeout. In process there is nothing to connect.
    pub(crate) async fn connect(&self, within: Duration) -> Result<Transport, String> {
        let connecting = async {
            let channel = match self {
                Self::Fixed(transport) => return Ok(transport.clone()),
                Self::Address(endpoint) => endpoint.connect().await,
                Self::Secure(secure) => secure.endpoint().await?.connect().await,
            };
            channel
                .map(Transport::new)
                .map_err(|error| root_cause(&error))
        };
        let connected = tokio::time::timeout(within, connecting).await;
        connected.unwrap_or_else(|_| {
            Err(format!(
                "no answer to the connection within {:.1} s",
                within.as_secs_f64()
            ))
        })
    }

    /// Looks that what it takes to connect can be read; blocks for as long as the disk does.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Secure(secure) => secure.check(),
            Self::Address(_) | Self::Fixed(_) => Ok(()),
        }
    }
}

/// An endpoint that speaks TLS.
pub(crate) fn with_tls(
    endpoint: Endpoint,
    tls: TlsSettings,
    handshake: Duration,
) -> Result<Endpoint, String> {
    // A file without a certificate would be taken as trust in nobody: no server could be reached,
    // and each would seem to be at fault.
    if tls.ca.as_ref().is_some_and(|ca| !holds_certificate(ca)) {
        return Err("the certificate authority's file holds no certificate in PEM".to_owned());
    }
    endpoint
        .tls_config(tls_config(tls, handshake))
        .map_err(|error| root_cause(&error))
}

fn holds_certificate(pem: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    pem.windows(BEGIN.len()).any(|part| part == BEGIN)
}

fn tls_config(tls: TlsSettings, handshake: Duration) -> ClientTlsConfig {
    let mut config = ClientTlsConfig::new().timeout(handshake);
    config = match tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
        None => config.with_enabled_roots(),
    };
    if let Some((certificate, key)) = tls.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = tls.server_name {
        config = config.domain_name(name);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str) -> Result<Arc<str>, String> {
        Dial::parse(&Settings::new([endpoint]), endpoint)
            .map(|(name, _)| name)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for good in [
            "127.0.0.1:2379",
            "http://etcd.local:2379",
            "http://[::1]:2379/",
            "https://etcd:2379",
        ] {
            check(good).unwrap();
        }
        for bad in [
            "",
            "localhost",
            ":2379",
            "h:0",
            "h:99999",
            "ftp://h:1",
            "http://u:p@h:1",
            "h:1/path",
            "a b:1",
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains("etcd settings: endpoint"), "{bad}: {error}");
        }
    }
}
