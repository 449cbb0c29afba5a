//! TLS on the one port, with certificates from PEM files that are read again when they change. What is read is
//! used as a whole or not at all: a pair that does not fit, as in the middle of a renewal, leaves the last good
//! one in use. Deliberately absent: sessions that outlive a change of the files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tokio_util::task::AbortOnDropHandle;

use super::ServerError;
use crate::running::supervise;

/// How often the files are compared with what is in use. Renewals come hours ahead of the end.
const CHECK: Duration = Duration::from_secs(10);
/// A handshake must be done within this time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A file beyond this size is no certificate, and is not read to its end.
const MOST: u64 = 1 << 20;

/// TLS for a server: a certificate, its key, and, for mutual TLS, whose callers are let in.
///
/// ```
/// use platform::server::{Service, Tls};
///
/// let tls = Tls::files("/etc/order/tls.crt", "/etc/order/tls.key").clients("/etc/order/callers.crt");
/// let service = Service::new().tls(tls);
/// # let _ = service;
/// ```
///
/// Handlers find who the caller is in the request's extensions as a [`PeerCertificate`](super::PeerCertificate), and
/// the bytes of all certificates that it has shown by `tonic::Request::peer_certs`.
#[derive(Clone, Debug)]
pub struct Tls {
    certificates: PathBuf,
    key: PathBuf,
    clients: Option<PathBuf>,
    check: Duration,
}

impl Tls {
    /// The chain, the server's own certificate first, and its private key, both as PEM files. They are read when
    /// the server is bound, and again when they change.
    pub fn files(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificates: certificates.into(),
            key: key.into(),
            clients: None,
            check: CHECK,
        }
    }

    /// Mutual TLS: only callers with a certificate from one of the authorities in this PEM file get through the
    /// handshake; probes as well.
    #[must_use]
    pub fn clients(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.clients = Some(authorities.into());
        self
    }

    /// Looks for changed files this often; 10 s by default, at least 10 ms.
    #[must_use]
    pub fn check_every(mut self, every: Duration) -> Self {
        self.check = every.max(Duration::from_millis(10));
        self
    }

    /// Reads the files, and goes on doing so until the answer is dropped.
    pub(super) async fn start(self) -> Result<Handshakes, ServerError> {
        let files = self.read().await?;
        let in_use = Arc::new(ArcSwap::new(self.config(&files)?));
        let renewed = Arc::clone(&in_use);
        let begin = move || self.clone().reload(files.clone(), Arc::clone(&renewed));
        let reload = supervise("certificates", |_| {}, begin);
        Ok(Handshakes {
            in_use,
            _reload: AbortOnDropHandle::new(tokio::spawn(reload)),
        })
    }

    async fn reload(self, mut seen: Files, in_use: Arc<ArcSwap<ServerConfig>>) {
        let failures = metrics::counter!("server_tls_reload_failures_total");
        let mut last_complaint = None;
        loop {
            tokio::time::sleep(self.check).await;
            let read = match self.read().await {
                Ok(files) if files == seen => continue,
                Ok(files) => self.config(&files).map(|config| (files, config)),
                Err(error) => Err(error),
            };
            match read {
                Ok((files, config)) => {
                    seen = files;
                    in_use.store(config);
                    last_complaint = None;
                    tracing::info!(certificates = %self.certificates.display(), "certificates read again");
                }
                Err(error) => {
                    failures.increment(1);
                    let complaint = error.to_string();
                    // Once is enough for a file that stays as it is.
                    if last_complaint.as_ref() != Some(&complaint) {
                        tracing::warn!(%error, "the changed certificates cannot be used; the last good ones stay in use");
                        last_complaint = Some(complaint);
                    }
                }
            }
        }
    }

    async fn read(&self) -> Result<Files, ServerError> {
        Ok(Files {
            certificates: read(&self.certificates).await?,
            key: read(&self.key).await?,
            clients: match &self.clients {
                Some(file) => Some(read(file).await?),
                None => None,
            },
        })
    }

    fn config(&self, files: &Files) -> Result<Arc<ServerConfig>, ServerError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&self.certificates, error.to_string()))?;
        let builder = match (&self.clients, &files.clients) {
            (Some(file), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(file, pem)? {
                    roots
                        .add(authority)
                        .map_err(|error| wrong(file, error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| wrong(file, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.certificates, &files.certificates)?;
        // Nothing of a key's content may get into an error.
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|_| wrong(&self.key, "it holds no PEM private key".to_owned()))?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let key = self.key.display();
            wrong(&self.certificates, format!("with the key {key}: {error}"))
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// What the files held. Two readings are compared by it.
#[derive(Clone, PartialEq)]
struct Files {
    certificates: Vec<u8>,
    key: Vec<u8>,
    clients: Option<Vec<u8>>,
}

async fn read(file: &Path) -> Result<Vec<u8>, ServerError> {
    let about = |error: std::io::Error| wrong(file, error.to_string());
    let length = tokio::fs::metadata(file).await.map_err(about)?.len();
    if length > MOST {
        let cause = format!("{length} bytes are too many for certificates");
        return Err(wrong(file, cause));
    }
    tokio::fs::read(file).await.map_err(about)
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if found.is_empty() => Err(wrong(file, "it holds no PEM certificate".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(file, error.to_string())),
    }
}

fn wrong(file: &Path, cause: String) -> ServerError {
    ServerError::Tls {
        file: file.to_owned(),
        cause,
    }
}

/// Shakes hands with the certificates of the moment. Dropping it ends the watch over the files.
#[derive(Debug)]
pub(crate) struct Handshakes {
    in_use: Arc<ArcSwap<ServerConfig>>,
    _reload: AbortOnDropHandle<()>,
}

impl Handshakes {
    /// The handshake on one connection, bounded in time.
    pub(crate) fn shake(
        &self,
        stream: TcpStream,
    ) -> impl Future<Output = std::io::Result<TlsStream<TcpStream>>> + Send + use<> {
        let acceptor = TlsAcceptor::from(self.in_use.load_full());
        async move {
            tokio::time::timeout(HANDSHAKE, acceptor.accept(stream))
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        }
    }
}
