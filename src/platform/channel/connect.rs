//! One HTTP/2 connection to one endpoint, plain or TLS. The handshake sends our settings and does
//! not wait for the peer's, so that a cold call costs two round trips. Deliberately absent:
//! reconnecting (the node does).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use etcd::{TlsFiles, TlsSettings};
use fleet::Endpoint;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::gather::Gather;
use super::node::Node;
use super::replay::Replay;
use super::trust::Trust;
use crate::Error;

/// The way to hand a request to a connection.
pub(super) type Sender = http2::SendRequest<Replay>;

/// How connections are made. Clones share trust and identity.
#[derive(Clone)]
pub struct Connector {
    trust: Trust,
    server_name: Option<Arc<str>>,
    ping_every: Option<Duration>,
    ping_timeout: Duration,
}

impl Default for Connector {
    fn default() -> Connector {
        Connector {
            trust: Trust::System,
            server_name: None,
            ping_every: Some(Duration::from_secs(10)),
            ping_timeout: Duration::from_secs(3),
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("trust", &self.trust)
            .field("server_name", &self.server_name)
            .field("ping_every", &self.ping_every)
            .finish()
    }
}

/// Why a connection takes no more calls.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// `None` after an orderly GOAWAY.
    pub(super) reason: Option<String>,
    /// The server counted our pings as abuse, as grpc-go's does by default.
    pub(super) too_many_pings: bool,
}

impl Lost {
    fn of(error: &hyper::Error) -> Lost {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        let mut too_many_pings = false;
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                too_many_pings |= error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
            }
            cause = error.source();
        }
        Lost {
            reason: Some(reason(error)),
            too_many_pings,
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connector {
    /// Connects secure endpoints with this trust and identity. Without it they are connected with
    /// the system's trust and no identity.
    ///
    /// # Errors
    /// [`Error::Tls`] when a certificate or key cannot be read.
    pub fn tls(mut self, settings: &TlsSettings) -> Result<Connector, Error> {
        self.trust = Trust::given(settings)?;
        self.server_name = settings.server_name.as_deref().map(Into::into);
        Ok(self)
    }

    /// As [`Connector::tls`], with trust and identity from files, which are read now and looked at
    /// again for every connection: renewed ones are in use from the next one on. Ones that cannot
    /// be used leave the last good ones in use; that is logged and counted.
    ///
    /// # Errors
    /// [`Error::Tls`] when a certificate or key cannot be read.
    pub fn tls_files(mut self, files: TlsFiles) -> Result<Connector, Error> {
        self.server_name = files.server_name.as_deref().map(Into::into);
        self.trust = Trust::files(files)?;
        Ok(self)
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

    /// Connects and shakes hands. The receiver resolves when the connection takes no more calls;
    /// after a GOAWAY calls under way still finish. The
    /// connection lives as long as a sender or a call of it does.
    pub(super) async fn connect(
        &self,
        node: &Arc<Node>,
    ) -> io::Result<(Sender, oneshot::Receiver<Lost>)> {
        let endpoint = &node.target.endpoint;
        let stream = TcpStream::connect(&*endpoint.address).await?;
        stream.set_nodelay(true)?;
        let io: Pin<Box<dyn Io>> = if endpoint.secure {
            Box::pin(self.shake_hands(endpoint, stream).await?)
        } else {
            Box::pin(stream)
        };
        let pending = Arc::downgrade(node);
        let pending = move || pending.upgrade().map_or(0, |node| node.load.pending());
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
            .handshake(TokioIo::new(Gather::new(io, pending)))
            .await
            .map_err(io::Error::other)?;
        let (closed, lost) = oneshot::channel();
        // Not aborted by anyone: it ends by itself when the last sender and the last call are gone,
        // which is what lets calls of a removed endpoint finish.
        tokio::spawn(async move {
            let lost = connection.await.err().map(|error| Lost::of(&error));
            // Nobody listens any more when the endpoint was removed.
            let _ = closed.send(lost.unwrap_or_default());
        });
        Ok((sender, lost))
    }

    async fn shake_hands(
        &self,
        endpoint: &Endpoint,
        stream: TcpStream,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let config = self.trust.now().await?;
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
