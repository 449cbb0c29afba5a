//! Whom secure endpoints must be signed by, and who we are to them: what the system trusts, bytes, or
//! files that are looked at anew for every connection. What files hold is used as a whole or not at
//! all: in the middle of a renewal the last good ones stay in use.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use etcd::{TlsFiles, TlsSettings};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::Error;

/// See the module.
#[derive(Clone)]
pub(super) enum Trust {
    System,
    Given(Arc<ClientConfig>),
    Files(Arc<Followed>),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::System => f.write_str("System"),
            Trust::Given(_) => f.write_str("Given"),
            Trust::Files(followed) => followed.files.fmt(f),
        }
    }
}

impl Trust {
    pub(super) fn given(settings: &TlsSettings) -> Result<Trust, Error> {
        Ok(Trust::Given(Arc::new(client_config(settings)?)))
    }

    pub(super) fn files(files: TlsFiles) -> Result<Trust, Error> {
        let settings = read(&files)?;
        let config = Arc::new(client_config(&settings)?);
        let in_use = Mutex::new(InUse { settings, config });
        Ok(Trust::Files(Arc::new(Followed { files, in_use })))
    }

    /// What a connection that is made now goes by.
    pub(super) async fn now(&self) -> io::Result<Arc<ClientConfig>> {
        match self {
            Trust::System => system_tls(),
            Trust::Given(config) => Ok(config.clone()),
            Trust::Files(followed) => {
                let followed = followed.clone();
                // Files may lie on a disk that is slow.
                let looked = tokio::task::spawn_blocking(move || followed.look());
                looked.await.map_err(io::Error::other)
            }
        }
    }
}

/// Files with what they held when they last were of use.
pub(super) struct Followed {
    files: TlsFiles,
    in_use: Mutex<InUse>,
}

struct InUse {
    settings: TlsSettings,
    config: Arc<ClientConfig>,
}

impl Followed {
    fn look(&self) -> Arc<ClientConfig> {
        let read = read(&self.files);
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = read.and_then(|settings| {
            let same =
                settings.ca == in_use.settings.ca && settings.identity == in_use.settings.identity;
            if same {
                return Ok(None);
            }
            Ok(Some((client_config(&settings)?, settings)))
        });
        match renewed {
            Ok(None) => {}
            Ok(Some((config, settings))) => {
                tracing::info!(files = ?self.files, "trust and identity for calls read again");
                *in_use = InUse {
                    settings,
                    config: Arc::new(config),
                };
            }
            Err(error) => {
                metrics::counter!("platform_channel_tls_reload_failures_total").increment(1);
                tracing::warn!(%error, "changed files for calls over TLS cannot be used; the last good ones stay in use");
            }
        }
        in_use.config.clone()
    }
}

/// The files as they are now. Blocks for as long as the disk does.
fn read(files: &TlsFiles) -> Result<TlsSettings, Error> {
    files.read().map_err(|error| Error::Tls {
        what: "the files for calls over TLS",
        cause: error.to_string(),
    })
}

/// Trust in what the system trusts, read when it is first needed.
fn system_tls() -> io::Result<Arc<ClientConfig>> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(config.clone());
    }
    let config = client_config(&TlsSettings::default()).map_err(io::Error::other)?;
    Ok(SYSTEM.get_or_init(|| Arc::new(config)).clone())
}

pub(crate) fn client_config(settings: &TlsSettings) -> Result<ClientConfig, Error> {
    let tls = |what: &'static str| move |cause: String| Error::Tls { what, cause };
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(pem) => {
            for certificate in certificates(pem).map_err(tls("the CA certificates"))? {
                let added = roots.add(certificate).map_err(|error| error.to_string());
                added.map_err(tls("the CA certificates"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let next = "there are none; install ca-certificates, or give a CA file".to_owned();
                return Err(tls("the system's trusted certificates")(next));
            }
        }
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let trusting = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls("TLS")(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &settings.identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate).map_err(tls("the client certificate"))?;
            // Nothing of a key's content may get into an error.
            let key = PrivateKeyDer::from_pem_slice(key);
            let key = key.map_err(|_| tls("the client key")("it is no PEM private key".into()))?;
            let config = trusting.with_client_auth_cert(chain, key);
            config.map_err(|error| tls("the client certificate")(error.to_string()))?
        }
        None => trusting.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no PEM certificate in it".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}
