//! TLS on the one port, with certificates that an authority of the test signs and renews.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper_util::rt::TokioIo;
use platform::server::{Auth, Call, Credential, Server, ServerError, Service, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::world::{Answer, World, soon};

/// An authority, and a folder with what it has signed.
struct Authority {
    folder: tempfile::TempDir,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let made = Self {
            folder: tempfile::tempdir().unwrap(),
            pem,
            issuer: Issuer::new(params, key),
        };
        std::fs::write(made.path("ca"), &made.pem).unwrap();
        made.renew();
        made
    }

    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A new certificate for the server, with a new key.
    fn renew(&self) -> (String, String) {
        let (certificate, key) = self.sign("127.0.0.1");
        std::fs::write(self.path("certificate"), &certificate).unwrap();
        std::fs::write(self.path("key"), &key).unwrap();
        (certificate, key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tls(&self) -> Tls {
        Tls::files(self.path("certificate"), self.path("key"))
            .check_every(Duration::from_millis(10))
    }

    async fn channel(
        &self,
        addr: SocketAddr,
        identity: Option<(String, String)>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.pem));
        if let Some((certificate, key)) = identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{addr}")).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }

    /// One GET over HTTP/1.1, and the certificate that the server showed.
    async fn get(
        &self,
        addr: SocketAddr,
        path: &str,
        identity: Option<(String, String)>,
    ) -> std::io::Result<(Answer, CertificateDer<'static>)> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(addr).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", "t")
            .body(Full::<bytes::Bytes>::default())
            .unwrap();
        let answer = sender.send_request(request).await;
        Ok((
            Answer::of(answer.map_err(std::io::Error::other)?).await,
            shown,
        ))
    }
}

async fn check(channel: Channel) -> Result<(), tonic::Status> {
    let mut health = HealthClient::new(channel);
    health
        .check(HealthCheckRequest::default())
        .await
        .map(|_| ())
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls_on_the_one_port_and_nothing_is_plain() {
    let authority = Authority::new();
    let world = World::with(|service| service.tls(authority.tls())).await;
    assert!(world.server.is_secure());
    check(authority.channel(world.addr(), None).await.unwrap())
        .await
        .unwrap();
    let (answer, _) = authority
        .get(world.addr(), "/v1/all/1", None)
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let plain = Endpoint::from_shared(format!("http://{}", world.addr())).unwrap();
    let plain = soon(async { check(plain.connect_lazy()).await }).await;
    assert!(plain.is_err(), "a plain caller is not answered");
    let drained = soon(world.handle.shutdown(Duration::from_secs(60))).await;
    assert_eq!(
        drained.cut_off, 0,
        "an idle TLS connection does not hold a drain up"
    );
}

#[tokio::test]
async fn mutual_tls_lets_in_only_whom_its_authority_vouches_for() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let tls = ours.tls().clients(ours.path("ca"));
    let world = World::with(|service| service.tls(tls)).await;
    for (identity, is_in) in [
        (None, false),
        (Some(theirs.sign("stranger")), false),
        (Some(ours.sign("friend")), true),
    ] {
        let answer = soon(ours.get(world.addr(), "/healthz", identity.clone())).await;
        assert_eq!(answer.is_ok_and(|(answer, _)| answer.status == 200), is_in);
        let grpc = soon(async {
            match ours.channel(world.addr(), identity).await {
                Ok(channel) => check(channel).await.is_ok(),
                Err(_) => false,
            }
        })
        .await;
        assert_eq!(grpc, is_in);
    }
}

#[tokio::test]
async fn a_handler_sees_whose_certificate_the_caller_has_shown() {
    let authority = Authority::new();
    let tls = authority.tls().clients(authority.path("ca"));
    let world = World::with(|service| service.tls(tls)).await;
    let friend = authority.sign("friend");
    let (answer, _) = authority
        .get(world.addr(), "/v1/all/1", Some(friend))
        .await
        .unwrap();
    assert_eq!(answer.header("grpc-metadata-certificates"), Some("1"));
    assert_eq!(answer.header("grpc-metadata-caller-names"), Some("friend"));
}

#[tokio::test]
async fn a_check_knows_callers_by_their_certificate() {
    let authority = Authority::new();
    let tls = authority.tls().clients(authority.path("ca"));
    let (friend, stranger) = (authority.sign("friend"), authority.sign("stranger"));
    let known = CertificateDer::from_pem_slice(friend.0.as_bytes()).unwrap();
    let check = move |_: Credential<'_>, call: &Call| match (
        call.certificates().next(),
        call.certificate(),
    ) {
        (Some(bytes), Some(shown)) if bytes == &*known => Ok(platform::server::Identity {
            subject: shown.dns_names().collect(),
            ..Default::default()
        }),
        _ => Err(tonic::Status::permission_denied("friends alone")),
    };
    let world = World::with(|service| service.tls(tls).auth(Auth::new(check))).await;
    for (shown, status, caller) in [(friend, 200, Some("friend")), (stranger, 403, None)] {
        let got = authority.get(world.addr(), "/v1/all/1", Some(shown)).await;
        let (answer, _) = got.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("grpc-metadata-caller"), caller);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_leaves_the_last_in_use() {
    let authority = Authority::new();
    let world = World::with(|service| service.tls(authority.tls())).await;
    let shown = async || {
        let got = authority.get(world.addr(), "/readyz", None).await;
        got.unwrap().1
    };
    let first = shown().await;
    // A certificate whose key has not come yet.
    let (certificate, key) = authority.sign("127.0.0.1");
    std::fs::write(authority.path("certificate"), &certificate).unwrap();
    soon(async {
        loop {
            let (metrics, _) = authority.get(world.addr(), "/metrics", None).await.unwrap();
            if metrics.text().contains("server_tls_reload_failures_total ")
                && !metrics
                    .text()
                    .contains("server_tls_reload_failures_total 0")
            {
                break;
            }
        }
    })
    .await;
    assert_eq!(shown().await, first);
    std::fs::write(authority.path("key"), key).unwrap();
    let second = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    soon(async { while shown().await != second {} }).await;
    std::fs::write(authority.path("certificate"), "no certificate").unwrap();
    std::fs::remove_file(authority.path("key")).unwrap();
    assert_eq!(shown().await, second);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_before_the_port_is_open() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    std::fs::write(ours.path("text"), "text").unwrap();
    for (tls, named, said) in [
        (
            Tls::files(ours.path("none"), ours.path("key")),
            "none",
            "No such file",
        ),
        (
            Tls::files(ours.path("text"), ours.path("key")),
            "text",
            "no PEM certificate",
        ),
        (
            Tls::files(ours.path("certificate"), ours.path("ca")),
            "ca",
            "no PEM private key",
        ),
        (
            Tls::files(ours.path("certificate"), theirs.path("key")),
            "certificate",
            "with the key",
        ),
        (ours.tls().clients(ours.path("text")), "text", "no PEM"),
    ] {
        let error = Server::bind("127.0.0.1:0", Service::new().tls(tls))
            .await
            .unwrap_err();
        let ServerError::Tls { file, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(file.file_name().unwrap(), named);
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.to_string().contains("PRIVATE KEY-"), "{error}");
    }
}
