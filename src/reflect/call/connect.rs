//! A connection to one named server: address, TLS, authority, and plain words when it fails.
//! Invariant: connecting is bounded in time, and a refused port says so at once.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::error::Error;

/// TLS material, in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate chain and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name that the server's certificate must have; the address's host by default.
    pub server_name: Option<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// A server to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`, or `unix:/path`.
    pub address: String,
    /// `None` is plain text.
    pub tls: Option<Tls>,
    /// The `:authority` to send instead of the address.
    pub authority: Option<String>,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// HTTP/2 pings on a connection that is in use, at this interval.
    pub keepalive: Option<Duration>,
}

/// A connection, and how long it took to get.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The channel; it reconnects by itself.
    pub channel: Channel,
    /// Name resolution, TCP and TLS.
    pub took: Duration,
}

impl Target {
    /// A plain-text target with a connect timeout of five seconds.
    pub fn new(address: impl Into<String>) -> Target {
        Target {
            address: address.into(),
            tls: None,
            authority: None,
            connect_timeout: Duration::from_secs(5),
            keepalive: None,
        }
    }

    /// Connects now.
    ///
    /// # Errors
    /// [`Error::Target`] for an address or material that cannot be used, [`Error::Connect`] with
    /// the innermost cause otherwise.
    pub async fn connect(&self) -> Result<Connected, Error> {
        let endpoint = self.endpoint()?;
        let began = Instant::now();
        let connect = tokio::time::timeout(self.connect_timeout, endpoint.connect());
        let cause = match connect.await {
            Ok(Ok(channel)) => {
                return Ok(Connected {
                    channel,
                    took: began.elapsed(),
                });
            }
            Ok(Err(cause)) => plain(&cause),
            Err(_) => format!("no connection within {:?}", self.connect_timeout),
        };
        Err(Error::Connect {
            target: self.address.clone(),
            cause,
        })
    }

    /// A channel that connects when it is first used.
    ///
    /// # Errors
    /// [`Error::Target`] for an address or material that cannot be used.
    pub fn lazy(&self) -> Result<Channel, Error> {
        Ok(self.endpoint()?.connect_lazy())
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let wrong = |cause: String| Error::Target {
            target: self.address.clone(),
            cause,
        };
        if self.address.starts_with("unix:") {
            let endpoint = Endpoint::from_shared(self.address.clone())
                .map_err(|cause| wrong(plain(&cause)))?;
            return self.tuned(endpoint, wrong);
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://{}", self.address);
        let parsed: http::Uri = uri
            .parse()
            .map_err(|_| wrong("not a host:port address".to_owned()))?;
        if parsed.port_u16().is_none() || parsed.path() != "/" {
            return Err(wrong("not a host:port address".to_owned()));
        }
        let mut endpoint = Endpoint::from_shared(uri).map_err(|cause| wrong(plain(&cause)))?;
        if let Some(tls) = &self.tls {
            let mut config = ClientTlsConfig::new();
            config = match &tls.ca {
                Some(pem) => config.ca_certificate(Certificate::from_pem(pem)),
                None => config.with_native_roots(),
            };
            if let Some((chain, key)) = &tls.identity {
                config = config.identity(Identity::from_pem(chain, key));
            }
            if let Some(name) = &tls.server_name {
                config = config.domain_name(name);
            }
            endpoint = endpoint
                .tls_config(config)
                .map_err(|cause| wrong(plain(&cause)))?;
        }
        self.tuned(endpoint, wrong)
    }

    fn tuned(
        &self,
        mut endpoint: Endpoint,
        wrong: impl Fn(String) -> Error,
    ) -> Result<Endpoint, Error> {
        endpoint = endpoint.connect_timeout(self.connect_timeout);
        if let Some(interval) = self.keepalive {
            endpoint = endpoint.http2_keep_alive_interval(interval);
        }
        if let Some(authority) = &self.authority {
            let scheme = if self.tls.is_some() { "https" } else { "http" };
            let origin = format!("{scheme}://{authority}")
                .parse()
                .map_err(|_| wrong(format!("'{authority}' is no authority")))?;
            endpoint = endpoint.origin(origin);
        }
        Ok(endpoint)
    }
}

/// The innermost cause, in words rather than errno's.
pub(crate) fn plain(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if let Some(io) = innermost.downcast_ref::<std::io::Error>() {
        match io.kind() {
            std::io::ErrorKind::ConnectionRefused => return "connection refused".to_owned(),
            std::io::ErrorKind::ConnectionReset => {
                return "connection reset: does the server speak TLS, or not?".to_owned();
            }
            std::io::ErrorKind::TimedOut => return "timed out".to_owned(),
            _ => {}
        }
    }
    innermost.to_string()
}
