//! TLS: the server's certificate is checked, and ours is shown where the server asks for it.

use std::path::PathBuf;

use etcd::{Client, Error, Settings, TlsSettings};
use fleet::LeaseRule;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tests::realetcd::RealEtcd;

use crate::observer::Observer;
use crate::world::{PATIENCE, prefix, put};

/// An authority, a server that it vouches for, and a client that it vouches for.
struct Certificates {
    directory: tempfile::TempDir,
    authority: String,
    identity: (String, String),
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let sign = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let params = CertificateParams::new(names).unwrap();
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let made = Self {
            directory: tempfile::tempdir().unwrap(),
            identity: sign(&["client"]),
            authority,
        };
        let (certificate, key) = sign(&["127.0.0.1", "etcd.test"]);
        std::fs::write(made.path("ca"), &made.authority).unwrap();
        std::fs::write(made.path("certificate"), certificate).unwrap();
        std::fs::write(made.path("key"), key).unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn server(&self, extra: &[&str]) -> RealEtcd {
        let (certificate, key) = (self.path("certificate"), self.path("key"));
        RealEtcd::start_tls(&certificate, &key, extra).await
    }

    fn trust(&self) -> TlsSettings {
        TlsSettings {
            ca: Some(self.authority.clone().into_bytes()),
            ..TlsSettings::default()
        }
    }
}

fn client(etcd: &RealEtcd, tls: TlsSettings) -> Client {
    let mut settings = Settings::new([etcd.endpoint()]);
    settings.tls = Some(tls);
    settings.request_timeout = PATIENCE;
    settings.connect_timeout = PATIENCE;
    Client::new(settings).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_the_authority_vouches_for_is_trusted() {
    let certificates = Certificates::new();
    let etcd = certificates.server(&[]).await;
    let trusting = client(&etcd, certificates.trust());
    put(&trusting, "/t/a", "1", LeaseRule::None).await;
    let mut seen = Observer::new(&trusting, &prefix("/t/"));
    seen.until_fresh().await;
    let members = trusting.members().await.unwrap();
    trusting.status(&members[0]).await.unwrap();

    let other = client(&etcd, Certificates::new().trust());
    let error = other.get(&"/t/a".into()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { cause, .. } if cause.contains("certificate")),
        "{error}"
    );

    let mut named = certificates.trust();
    named.server_name = Some("etcd.test".to_owned());
    client(&etcd, named.clone())
        .get(&"/t/a".into())
        .await
        .unwrap();
    named.server_name = Some("another.test".to_owned());
    let error = client(&etcd, named).get(&"/t/a".into()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_certificate_is_shown_ours() {
    let certificates = Certificates::new();
    let authority = format!("--trusted-ca-file={}", certificates.path("ca").display());
    let etcd = certificates
        .server(&["--client-cert-auth", &authority])
        .await;
    let nobody = client(&etcd, certificates.trust());
    let error = nobody.get(&"/t/a".into()).await.unwrap_err();
    assert!(error.is_absence(), "{error}");
    let (certificate, key) = &certificates.identity;
    let mut tls = certificates.trust();
    tls.identity = Some((certificate.clone().into_bytes(), key.clone().into_bytes()));
    let known = client(&etcd, tls);
    put(&known, "/t/a", "1", LeaseRule::None).await;
}

#[test]
fn a_certificate_that_cannot_be_read_is_named_when_the_client_is_made() {
    let mut settings = Settings::new(["127.0.0.1:2379"]);
    settings.tls = Some(TlsSettings {
        identity: Some((b"no certificate".to_vec(), b"no key".to_vec())),
        ..TlsSettings::default()
    });
    let error = Client::new(settings).unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[test]
fn an_authority_without_a_certificate_is_refused_when_the_client_is_made() {
    let mut settings = Settings::new(["https://127.0.0.1:2379"]);
    settings.tls = Some(TlsSettings {
        ca: Some(b"no certificate".to_vec()),
        ..TlsSettings::default()
    });
    let error = Client::new(settings).unwrap_err();
    assert!(
        error.to_string().contains("holds no certificate"),
        "{error}"
    );
}
