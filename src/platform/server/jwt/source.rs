//! Where keys come from: a file, or one GET over HTTP/1.1. Bounded in size and time. Deliberately absent:
//! redirects and proxies; the URL is where the keys are.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use etcd::TlsSettings;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_util::{either::Either, task::AbortOnDropHandle};

use super::{Place, keys::Keys};
use crate::{channel::client_config, server::ServerError};

/// The largest key set that is read, bytes.
const MOST: usize = 256 << 10;
/// From the connection to the last byte.
const TIME: Duration = Duration::from_secs(5);

/// See the module.
pub(super) enum Source {
    File(PathBuf),
    Url(Box<Url>),
}

pub(super) struct Url {
    text: Uri,
    address: String,
    secure: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Url(url) => url.text.fmt(f),
        }
    }
}

impl Source {
    pub(super) fn new(place: Place, trust: &TlsSettings) -> Result<Self, ServerError> {
        let text = match place {
            Place::File(file) => return Ok(Self::File(file)),
            Place::Url(text) => text,
        };
        let wrong = |cause: &str| ServerError::Setting {
            what: "JWT",
            cause: format!("keys from {text}: {cause}"),
        };
        let uri: Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
        if uri
            .authority()
            .is_some_and(|all| all.as_str().contains('@'))
        {
            return Err(ServerError::Setting {
                what: "JWT",
                cause: "keys from a URL: it has a password in it, which would get into logs".into(),
            });
        }
        let host = uri
            .host()
            .map(|host| host.trim_start_matches('[').trim_end_matches(']'))
            .filter(|host| !host.is_empty())
            .ok_or_else(|| wrong("there is no host in it"))?;
        let secure = match uri.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|error| wrong(&error.to_string()))?;
                let mut config: ClientConfig =
                    client_config(trust).map_err(|error| wrong(&error.to_string()))?;
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some((TlsConnector::from(Arc::new(config)), name))
            }
            Some("http") if is_here(host) => None,
            Some("http") => {
                return Err(wrong(
                    "over plain HTTP anybody on the way could put in keys of their own. Use https",
                ));
            }
            _ => return Err(wrong("its scheme is neither https nor http")),
        };
        let port = uri
            .port_u16()
            .unwrap_or(if secure.is_some() { 443 } else { 80 });
        let address = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Ok(Self::Url(Box::new(Url {
            text: uri,
            address,
            secure,
        })))
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// An error says where and why, without anything of the content.
    pub(super) async fn read(&self) -> Result<Keys, String> {
        let read = async {
            match self {
                Self::File(file) => {
                    let metadata = tokio::fs::metadata(file).await;
                    let length = metadata.map_err(|error| error.to_string())?.len();
                    if length > MOST as u64 {
                        return Err(format!("{length} bytes are too many for keys"));
                    }
                    let read = tokio::fs::read(file).await;
                    Ok(Bytes::from(read.map_err(|error| error.to_string())?))
                }
                Self::Url(url) => url.get().await,
            }
        };
        tokio::time::timeout(TIME, read)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {TIME:?}")))
            .and_then(|json| Keys::parse(&json))
            .map_err(|cause| format!("keys from {self}: {cause}"))
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

impl Url {
    async fn get(&self) -> Result<Bytes, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect(&*self.address)
            .await
            .map_err(|error| text(&error))?;
        let stream = match &self.secure {
            Some((connector, name)) => {
                let shaken = connector.connect(name.clone(), stream).await;
                Either::Left(shaken.map_err(|error| text(&error))?)
            }
            None => Either::Right(stream),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| text(&error))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let path = self.text.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, &*self.address)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| text(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| text(&error))?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("the answer was {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MOST).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    }
}
