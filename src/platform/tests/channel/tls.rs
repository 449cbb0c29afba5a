//! Calls over TLS: whom they trust, and what they say of files that cannot be used.

use etcd::TlsSettings;
use fleet::Endpoint;
use platform::channel::{Connector, TlsFiles};
use platform::{Channel, ChannelOptions};

use super::options;
use super::ready;
use crate::peer::Peer;
use crate::world::check;

fn endpoint(scheme: &str, peer: &Peer) -> Endpoint {
    Endpoint::parse(&format!("{scheme}://{}", peer.address())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secure_endpoint_is_called_over_tls_and_only_when_trusted() {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let peer = Peer::start_secure(signed.cert.pem(), signed.signing_key.serialize_pem());
    let trust = |ca: Vec<u8>| {
        let settings = TlsSettings {
            ca: Some(ca),
            ..TlsSettings::default()
        };
        let connector = Connector::default().tls(&settings).unwrap();
        Channel::fixed(
            "user",
            [endpoint("grpcs", &peer)],
            ChannelOptions {
                connector,
                ..options()
            },
        )
    };
    check(&trust(signed.cert.pem().into_bytes())).await.unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let status = check(&trust(stranger.cert.pem().into_bytes()))
        .await
        .unwrap_err();
    assert!(
        status.message().contains("certificate"),
        "{}",
        status.message()
    );
}

#[test]
fn a_bad_certificate_is_named_and_a_key_never_shown() {
    let tls = |ca: Option<&str>, identity: Option<(&str, &str)>| {
        let settings = TlsSettings {
            ca: ca.map(|ca| ca.as_bytes().to_vec()),
            identity: identity
                .map(|(one, other)| (one.as_bytes().to_vec(), other.as_bytes().to_vec())),
            server_name: None,
        };
        Connector::default().tls(&settings).unwrap_err().to_string()
    };
    assert!(tls(Some("nothing"), None).contains("CA certificates"));
    let signed = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let error = tls(Some(&certificate), Some((&certificate, "s3cret")));
    assert!(
        error.contains("client key") && !error.contains("s3cret"),
        "{error}"
    );
    let error = tls(Some(&certificate), Some(("nothing", &key)));
    assert!(error.contains("client certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_files_are_in_use_from_the_next_connection_on() {
    let make = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (old, new) = (make(), make());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, old.cert.pem()).unwrap();
    let files = TlsFiles {
        ca: Some(ca.clone()),
        ..TlsFiles::default()
    };
    let connector = Connector::default().tls_files(files).unwrap();
    let mut peer = Peer::start_secure(old.cert.pem(), old.signing_key.serialize_pem());
    let address = peer.address();
    let options = ChannelOptions {
        connector,
        ..options()
    };
    let channel = Channel::fixed("user", [endpoint("grpcs", &peer)], options);
    ready(&channel).await;
    check(&channel).await.unwrap();
    peer.kill();
    let peer = Peer::start_secure_at(address, new.cert.pem(), new.signing_key.serialize_pem());
    crate::world::eventually("the new server is not trusted yet", || async {
        let status = check(&channel).await.unwrap_err();
        status.message().contains("certificate").then_some(())
    })
    .await;
    // A half written file is no reason to trust nobody, and the next one is.
    std::fs::write(&ca, "-----BEGIN").unwrap();
    check(&channel).await.unwrap_err();
    std::fs::write(&ca, new.cert.pem()).unwrap();
    ready(&channel).await;
    check(&channel).await.unwrap();
    assert_eq!(peer.calls(), 1);
    let missing = TlsFiles {
        ca: Some(folder.path().join("nowhere.crt")),
        ..TlsFiles::default()
    };
    let error = Connector::default()
        .tls_files(missing)
        .unwrap_err()
        .to_string();
    assert!(error.contains("nowhere.crt"), "{error}");
}
