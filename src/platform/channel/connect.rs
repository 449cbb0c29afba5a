//! One HTTP/2 connection to one endpoint, plain or TLS. The handshake sends our settings and does
//! not wait for the peer's, so that a cold call costs two round trips. Deliberately absent:
//! reconnecting (the node does).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fleet::Endpoint;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::replay::Replay;

/// The way to hand a request to a connection.
pub(super) type Sender = http2::SendRequest<Replay>;

/// How connections are made. Clones share the TLS configuration.
#[derive(Clone)]
pub struct Connector {
    tls: Option<Arc<ClientConfig>>,
    server_name: Option<Arc<str>>,
    ping_every: Option<Duration>,
    ping_timeout: Duration,
}

impl Default for Connector {
    fn default() -> Connector {
        Connector {
            tls: None,
            server_name: None,
            ping_every: Some(Duration::from_secs(10)),
            ping_timeout: Duration::from_secs(3),
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("tls", &self.tls.is_some())
            .field("server_name", &self.server_name)
            .field("ping_every", &self.ping_every)
            .finish()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connector {
    /// Connects secure endpoints with this configuration. ALPN is set to `h2` here.
    #[must_use]
    pub fn tls(mut self, config: ClientConfig) -> Connector {
        let mut config = config;
        config.alpn_protocols = vec![b"h2".to_vec()];
        self.tls = Some(Arc::new(config));
        self
    }

    /// Expects this name in certificates in place of the endpoint's host.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Connector {
        self.server_name = Some(name.into());
        self
    }

    /// Asks a connection that was silent for `every` for a sign of life, and gives it up when none
    /// comes within `timeout`. By default 10 s and 3 s.
    #[must_use]
    pub fn pings(mut self, every: Duration, timeout: Duration) -> Connector {
        self.ping_every = Some(every);
        self.ping_timeout = timeout;
        self
    }

    /// Never asks: for servers that count pings as abuse.
    #[must_use]
    pub fn no_pings(mut self) -> Connector {
        self.ping_every = None;
        self
    }

    /// Connects and shakes hands. The receiver resolves when the connection takes no more calls:
    /// with the reason, or with `None` after a GOAWAY; calls under way then still finish. The
    /// connection lives as long as a sender or a call of it does.
    pub(super) async fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> io::Result<(Sender, oneshot::Receiver<Option<String>>)> {
        let stream = TcpStream::connect(&*endpoint.address).await?;
        stream.set_nodelay(true)?;
        let io: Pin<Box<dyn Io>> = if endpoint.secure {
            Box::pin(self.shake_hands(endpoint, stream).await?)
        } else {
            Box::pin(stream)
        };
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            // Large enough for fast bulk answers; the default of 64 KiB stalls at a 50 ms round trip.
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_timeout(self.ping_timeout)
            .keep_alive_while_idle(true);
        if let Some(every) = self.ping_every {
            builder.keep_alive_interval(every);
        }
        let (sender, connection) = builder
            .handshake(TokioIo::new(io))
            .await
            .map_err(io::Error::other)?;
        let (closed, lost) = oneshot::channel();
        // Not aborted by anyone: it ends by itself when the last sender and the last call are gone,
        // which is what lets calls of a removed endpoint finish.
        tokio::spawn(async move {
            let reason = connection.await.err().map(|error| reason(&error));
            // Nobody listens any more when the endpoint was removed.
            let _ = closed.send(reason);
        });
        Ok((sender, lost))
    }

    async fn shake_hands(
        &self,
        endpoint: &Endpoint,
        stream: TcpStream,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let config = match &self.tls {
            Some(config) => config.clone(),
            None => system_tls()?,
        };
        let host = match &self.server_name {
            Some(name) => name,
            None => host_of(&endpoint.address),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{host}: {error}"))
        })?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other(
                "the server speaks TLS but not HTTP/2 (no ALPN h2)",
            ));
        }
        Ok(stream)
    }
}

/// Trust in what the system trusts, read when it is first needed.
fn system_tls() -> io::Result<Arc<ClientConfig>> {
    static SYSTEM: std::sync::OnceLock<Arc<ClientConfig>> = std::sync::OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "this system has no trusted certificates; install ca-certificates or give a CA file",
        ));
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(SYSTEM.get_or_init(|| Arc::new(config)).clone())
}

fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// An error with its causes in one line: hyper's own text alone says "connection error".
pub(super) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_certificates_name() {
        for (address, host) in [
            ("a.b:1", "a.b"),
            ("[::1]:443", "::1"),
            ("10.0.0.1:9", "10.0.0.1"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }
}
