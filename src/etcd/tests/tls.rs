//! TLS: the server's certificate is checked, and ours is shown where the server asks for it.

use std::path::PathBuf;

use etcd::{Client, Error, Settings, TlsFiles, TlsSettings};
use fleet::LeaseRule;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tests::realetcd::RealEtcd;

use crate::observer::Observer;
use crate::world::{PATIENCE, prefix, put, until};

/// An authority, a server that it vouches for, and a client that it vouches for; the client's files
/// lie beside the server's.
struct Certificates {
    directory: tempfile::TempDir,
    authority: String,
    identity: (String, String),
}

const CLIENT: [&str; 3] = ["client-ca", "client-certificate", "client-key"];

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
        made.give_client(&made);
        made
    }

    /// Replaces the client's files by those of other certificates.
    fn give_client(&self, other: &Self) {
        let (certificate, key) = &other.identity;
        for (name, content) in CLIENT.iter().zip([&other.authority, certificate, key]) {
            std::fs::write(self.path(name), content).unwrap();
        }
    }

    /// Replaces the server's files, in place.
    fn give_server(&self, other: &Self) {
        for name in ["ca", "certificate", "key"] {
            std::fs::copy(other.path(name), self.path(name)).unwrap();
        }
    }

    fn files(&self) -> TlsFiles {
        let [ca, certificate, key] = CLIENT.map(|name| self.path(name));
        TlsFiles {
            ca: Some(ca),
            identity: Some((certificate, key)),
            server_name: None,
        }
    }

    /// A server that asks for its clients' certificates.
    async fn asking_server(&self) -> RealEtcd {
        let authority = format!("--trusted-ca-file={}", self.path("ca").display());
        self.server(&["--client-cert-auth", &authority]).await
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
    let etcd = certificates.asking_server().await;
    let nobody = client(&etcd, certificates.trust());
    let error = nobody.get(&"/t/a".into()).await.unwrap_err();
    assert!(error.is_absence(), "{error}");
    let (certificate, key) = &certificates.identity;
    let mut tls = certificates.trust();
    tls.identity = Some((certificate.clone().into_bytes(), key.clone().into_bytes()));
    let known = client(&etcd, tls);
    put(&known, "/t/a", "1", LeaseRule::None).await;
}

fn from_files(etcd: &RealEtcd, files: TlsFiles) -> Result<Client, Error> {
    let mut settings = Settings::new([etcd.endpoint()]);
    settings.tls_files = Some(files);
    settings.request_timeout = PATIENCE;
    settings.connect_timeout = PATIENCE;
    Client::new(settings)
}

/// Everything is replaced under a process that goes on: the authority, the servers' certificate and
/// ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificates_are_taken_from_their_files() {
    let (first, second) = (Certificates::new(), Certificates::new());
    let etcd = first.asking_server().await;
    let client = from_files(&etcd, first.files()).unwrap();
    let mut seen = Observer::new(&client, &prefix("/t/"));
    // Listed before the first write, or that is no change to it.
    seen.until_fresh().await;
    let written = put(&client, "/t/a", "1", LeaseRule::None).await;
    seen.until_at(written).await;
    seen.until_fresh().await;

    first.give_server(&second);
    etcd.revive();
    etcd.ready().await;
    // The old authority does not vouch for the new server.
    until("the new server is not trusted", async || {
        let state = client.link_state();
        let state = state.borrow();
        let error = state.members[0].last_error.as_deref().unwrap_or_default();
        error.contains("certificate")
    })
    .await;
    assert!(!seen.fresh || !client.link_state().borrow().is_up());

    first.give_client(&second);
    // An attempt with the old files may still be under way.
    until("the new server is trusted", async || {
        client.get(&"/t/a".into()).await.is_ok()
    })
    .await;
    let written = put(&client, "/t/a", "2", LeaseRule::None).await;
    seen.until_at(written).await;
    seen.until_fresh().await;
    assert_eq!(seen.batches.len(), 2);
}

/// Half of a renewal, or a fault in it, costs no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_leave_the_last_good_ones_in_use() {
    let certificates = Certificates::new();
    let etcd = certificates.asking_server().await;
    let client = from_files(&etcd, certificates.files()).unwrap();
    put(&client, "/t/a", "1", LeaseRule::None).await;
    for (round, name) in CLIENT.iter().enumerate() {
        let good = std::fs::read(certificates.path(name)).unwrap();
        std::fs::write(certificates.path(name), "not what it should be").unwrap();
        etcd.revive();
        etcd.ready().await;
        put(
            &client,
            "/t/a",
            &format!("without {round}"),
            LeaseRule::None,
        )
        .await;
        std::fs::remove_file(certificates.path(name)).unwrap();
        etcd.revive();
        etcd.ready().await;
        put(&client, "/t/a", &format!("gone {round}"), LeaseRule::None).await;
        std::fs::write(certificates.path(name), good).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_named_when_the_client_is_made() {
    let mut settings = Settings::new(["127.0.0.1:2379"]);
    settings.tls_files = Some(TlsFiles {
        ca: Some("/no/such/ca.pem".into()),
        ..TlsFiles::default()
    });
    let error = Client::new(settings).unwrap_err().to_string();
    assert!(error.contains("/no/such/ca.pem: No such file"), "{error}");
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
